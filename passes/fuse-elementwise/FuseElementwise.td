def FuseElementwise : Pass<"fuse-elementwise", "::mlir::func::FuncOp"> {
  let summary = "Fuse elementwise operations into nn.map";
  let description = [{
    Elementwise operations (and `nn.map`) that compute tensors of the same dimensions become one
    `nn.map`, whose scalar body holds them all: each operand is read once and nothing between is
    stored. A cluster grows from its last operation backwards: a producer joins when all its users
    are in the cluster, or when it is cheap enough to compute again (a cast, a negation) and reads
    no more than it writes. Constants of one element become scalars of the body.

    Producers of other dimensions stay outside: fusing them would compute them once for every
    broadcast copy.

    Doctest: test/passes/fuse-elementwise/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
  let options = [Option<"maxInputs", "max-inputs", "unsigned", "12", "Most tensors a map reads">];
  let statistics = [
    Statistic<"numFused", "fused", "Elementwise operations that became part of a map">,
    Statistic<"numMaps", "maps", "Maps made">
  ];
}

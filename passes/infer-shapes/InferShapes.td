def InferShapes : Pass<"infer-shapes", "::mlir::func::FuncOp"> {
  let summary = "Set result types from the shape functions";
  let description = [{
    Runs the shape functions of all operations in order, with the dimensions of the function's
    arguments as symbols (named by the argument attribute `nn.dims`), and gives every result and the
    function itself the type that follows. An operation whose operand shapes contradict each other is
    an error.

    With `show` every operation of the nn dialect gets a remark with the symbolic dimensions of its
    results and, for small integer tensors, their elements where those are known.

    Doctest: test/passes/infer-shapes/doctest.mlir
  }];
  let options = [
    Option<"show", "show", "bool", "false", "Remark on the shape of every result">
  ];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
}

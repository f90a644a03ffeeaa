def MergeParallelConvs : Pass<"merge-parallel-convs", "::mlir::func::FuncOp"> {
  let summary = "Merge sums of convolutions of one value into one convolution";
  let description = [{
    Branches that are added and read the same value become one operation: convolutions (grouped,
    depthwise, dilated), batch normalizations and other affine maps of channels, the identity,
    average pooling, and sequences of these (1x1, then kxk; 1x1, then pooling; 1x1, then a constant
    depthwise edge filter), as structural re-parameterization trains them: RepVGG, ACNet, Diverse
    Branch Block, MobileOne, RepGhost, RepLKNet and UniRepLKNet, ECBSR. Matrix products of the same
    rows likewise (an adapter beside its weight). Sums may have further terms and subtractions.

    A branch with kernel K, padding p and dilation d reads `x[r * stride + j * d - p]` for result
    position r, zeros outside of x. So branches of equal strides unite by placing each kernel where
    its padding puts it in the smallest window that holds all: smaller kernels are filled with
    zeros, dilated ones with gaps, grouped ones become blocks of the greatest common divisor of the
    groups. A sequence composes exactly if padding inside of it holds what the first operation gives
    for zeros (its bias; batch normalization by its shift), and that operation has a 1-wide window
    along the padded dimensions.

    Conditions: weights and bias are constant, f32 or f64; values inside of a branch have no other
    user, and no operation an epilogue; average pooling counts its padding; all branches have the
    dimensions of the sum. The merged operation never takes more multiply-adds than the branches
    together. Weights are summed in double and rounded once. Near misses say why in a remark.

    Doctest: test/passes/merge-parallel-convs/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [
    Statistic<"numMerged", "merged", "Operations that replace several branches">,
    Statistic<"numBranches", "branches", "Branches that were merged">
  ];
}

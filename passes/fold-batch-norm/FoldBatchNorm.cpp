//===- FoldBatchNorm.cpp - batch normalization into contractions ----------===//
#include "passes/Passes.h"
#include "passes/common/ChannelFold.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDBATCHNORM
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fold-batch-norm";

/// A batch normalization, by itself or in a chain, or one that is spelled in several operations.
static bool isNormalization(const AffineChain &chain) {
  return chain.hasBatchNorm || chain.ops.size() > 1;
}

struct FoldBatchNormPass : impl::FoldBatchNormBase<FoldBatchNormPass> {
  using FoldBatchNormBase::FoldBatchNormBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    ChannelFolder folder(shapes, rewriter, kPass, maxBorderBytes);
    SmallVector<Operation *> ends = collectChains(getOperation());
    // Into what comes before first: it costs nothing there. All of these before any other, so that
    // two normalizations around one convolution both fold.
    SmallVector<std::pair<Operation *, std::string>> left;
    for (Operation *end : ends) {
      std::string why;
      AffineChain chain = readAffine(end->getResult(0), why);
      if (chain.ops.empty() && isa<nn::BatchNormOp>(end))
        missedRemark(end->getLoc(), kPass, "kept") << remark::reason("{0}", why);
      if (!isNormalization(chain))
        continue;
      why = folder.foldBack(chain);
      if (why.empty())
        ++numFolded;
      else
        left.push_back({end, why});
    }
    for (auto &[end, whyNotBack] : left) {
      std::string why;
      AffineChain chain = readAffine(end->getResult(0), why);
      why = folder.foldForward(chain);
      if (why.empty()) {
        ++numForward;
        continue;
      }
      if (chain.hasBatchNorm)
        missedRemark(end->getLoc(), kPass, "not-folded")
            << remark::reason("{0}; {1}", whyNotBack, why);
      int64_t needed = chain.map.isScaled() + chain.map.isShifted();
      if (!chain.hasBatchNorm && (int64_t)chain.ops.size() <= needed)
        continue;
      rewriter.setInsertionPoint(chain.ops.back());
      Value affine = makeAffine(rewriter, fusedLoc(chain.ops), chain.x, chain.map);
      rewriter.replaceAllUsesWith(chain.y, affine);
      for (Operation *op : llvm::reverse(chain.ops))
        rewriter.eraseOp(op);
      ++numAffine;
    }
    // Parameters may know a number of channels that the data did not.
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt

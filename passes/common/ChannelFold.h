//===- ChannelFold.h - channel maps into linear operations ------*- C++ -*-===//
//
// An affine map of channels disappears into the linear operations before it (their weights and
// bias), or into those behind it, through operations that let it pass (ChannelViews.h). A fold is
// planned completely before anything changes.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_CHANNELFOLD_H
#define NNOPT_PASSES_COMMON_CHANNELFOLD_H

#include "passes/common/ChannelMap.h"

namespace nnopt {

class ChannelFolder {
public:
  /// `pass` is the category of the remarks; a correction of the border of a convolution may take
  /// `maxBorderBytes`.
  ChannelFolder(FuncShapes &shapes, mlir::IRRewriter &rewriter, llvm::StringRef pass,
                int64_t maxBorderBytes)
      : shapes(shapes), rewriter(rewriter), pass(pass), maxBorderBytes(maxBorderBytes) {}

  /// Moves a chain into what computes its operand. Returns why not; empty when it is done.
  std::string foldBack(AffineChain &chain);
  /// Moves a chain into all that reads its result.
  std::string foldForward(AffineChain &chain);
  /// Moves a map into what computes v, which then is map(v).
  std::string foldInto(mlir::Value v, const ChannelMap &map, mlir::Location loc);

private:
  /// What a fold changes.
  struct Plan {
    llvm::SmallVector<std::pair<nn::LinearOp, ChannelMap>> linears;
    /// Normalizations before the map, recurrent cells behind it.
    llvm::SmallVector<std::pair<mlir::Operation *, ChannelMap>> norms, recurrents;
    llvm::SmallVector<std::pair<mlir::OpOperand *, ChannelMap>> constants;
    llvm::SmallVector<std::pair<nn::PadOp, double>> pads;
    /// Convolutions whose zero padding the map would change, in `linears` too.
    llvm::SmallVector<nn::ConvOp> borders;
  };

  std::string planBack(mlir::Value v, const ChannelMap &map, Plan &plan);
  std::string planForward(mlir::Value v, const ChannelMap &map, Plan &plan,
                          const AffineChain &chain);
  std::string planForwardInto(mlir::OpOperand &use, const ChannelMap &map, Plan &plan,
                              const AffineChain &chain);
  std::string whyNotCorrect(nn::ConvOp conv, const AffineChain &chain);
  void applyShared(Plan &plan);
  void applyBack(Plan &plan, mlir::Location mapLoc);
  mlir::Value correctBorder(nn::ConvOp conv, const ChannelMap &map, mlir::Location loc);

  FuncShapes &shapes;
  mlir::IRRewriter &rewriter;
  llvm::StringRef pass;
  int64_t maxBorderBytes;
};

} // namespace nnopt

#endif

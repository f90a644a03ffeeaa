//===- TokenStream.h - what follows merged tokens, on fewer of them -*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_TOKENS_TOKENSTREAM_H
#define NNOPT_LIB_COMPRESS_TOKENS_TOKENSTREAM_H

#include "passes/common/Rewrite.h"
#include "llvm/ADT/MapVector.h"

namespace nnopt::compress {

/// Rewrites a function behind merges of tokens. Operations that treat each token by itself, as their axes say (AxisDependency),
/// and attention are done again on the tokens that are left; all others get all tokens back.
class TokenStream {
public:
  /// A merge: behind the sum `add`, [batch, tokens, width], of a block whose attention has the keys `keys`, [batch, heads, tokens,
  /// any]: the mean of these over the heads says how much tokens are alike.
  struct Merge {
    nn::AddOp add;
    mlir::Value keys;
    int64_t count;
  };
  TokenStream(mlir::func::FuncOp main, FuncShapes &shapes, mlir::RewriterBase &rewriter) : main(main), shapes(shapes), rewriter(rewriter) {}

  /// Does all merges. Returns why that is not possible (the function is then half changed); empty when it is.
  std::string run(llvm::ArrayRef<Merge> merges);

private:
  /// The tokens behind some merges.
  struct Level {
    mlir::Value size, place, mask; // as in MergedTokens, of the original tokens; of attention, made when it is needed
    int64_t tokens;
    bool computes; // whether a layer follows
  };
  /// What stands for a value of the original graph: fewer indices along the dimension `axis`.
  struct Fewer {
    mlir::Value value;
    int64_t axis;
    unsigned level;
  };
  std::string merge(Merge merge);
  bool follow(mlir::Operation *op);
  bool followAttention(nn::AttentionOp op);
  bool passesThrough(mlir::Operation *op, const nn::AxisTies &ties, unsigned level, llvm::SmallVector<int64_t> &resultAxes);
  mlir::Value maskOf(unsigned level, mlir::Location loc);
  std::string giveBack();

  mlir::func::FuncOp main;
  FuncShapes &shapes;
  mlir::RewriterBase &rewriter;
  std::vector<Level> levels;
  llvm::MapVector<mlir::Value, Fewer> fewer;
  llvm::DenseSet<mlir::Operation *> done; // operations that were done again
};

} // namespace nnopt::compress

#endif

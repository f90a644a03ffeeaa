//===- ScoredExperts.h - mixtures by scores that are partly zero -*- C++ -*-===//
#ifndef NNOPT_PASSES_GROUP_EXPERTS_SCOREDEXPERTS_H
#define NNOPT_PASSES_GROUP_EXPERTS_SCOREDEXPERTS_H

#include "passes/group-experts/Routes.h"

namespace nnopt {

/// Rebuilds experts of two products, of which scores [tokens, experts] say who computes what, as one nn.moe.
class ScoredExperts {
public:
  ScoredExperts(FuncShapes &shapes, mlir::RewriterBase &rewriter, mlir::Value scores, int64_t experts, mlir::Location loc)
      : shapes(shapes), rewriter(rewriter), scores(scores), experts(experts), loc(loc) {}

  /// The experts' results by number, or, `batched`, one value [experts, tokens, width] for all of them. Null, with `why`, where they are
  /// something else.
  mlir::Value merge(llvm::ArrayRef<mlir::Value> results, bool batched);
  std::string why;

private:
  /// A product of each expert, perhaps with a bias.
  struct Layer {
    llvm::SmallVector<mlir::Value> activations;
    mlir::Value weights, bias; // [experts, out, in], [experts, out]
  };
  std::optional<Layer> layerOf(llvm::ArrayRef<mlir::Value> values);
  mlir::Value stacked(llvm::ArrayRef<mlir::Value> constants, llvm::ArrayRef<int64_t> shape);
  mlir::Value read(llvm::ArrayRef<mlir::Value> activations);
  bool findInner(llvm::ArrayRef<mlir::Value> values);
  mlir::Value scalarOfHidden(mlir::Value v, mlir::Block &block);
  template <typename T> T fail(const llvm::Twine &reason, T nothing = {}) {
    if (why.empty())
      why = reason.str();
    return nothing;
  }

  FuncShapes &shapes;
  mlir::RewriterBase &rewriter;
  mlir::Value scores;
  int64_t experts;
  mlir::Location loc;
  bool isBatched = false;
  llvm::SmallVector<std::pair<mlir::Value, Layer>> inner; // by the value of the first expert
};

} // namespace nnopt

#endif

//===- Match.h - matching scalar algebra ------------------------*- C++ -*-===//
#ifndef NNOPT_PASSES_RAISE_PATTERNS_MATCH_H
#define NNOPT_PASSES_RAISE_PATTERNS_MATCH_H

#include "passes/common/Rewrite.h"

namespace nnopt {

constexpr llvm::StringLiteral kRaisePass = "raise-patterns";

/// scale times the product of factors, read off a tree of mul, neg and div by numbers.
struct Product {
  double scale = 1;
  llvm::SmallVector<mlir::Value> factors;
  llvm::SmallVector<mlir::Operation *> ops;

  static Product of(mlir::Value v);
  bool hasScale(double expected) const;
  /// The factor besides x of a product of exactly two; null otherwise.
  mlir::Value besides(mlir::Value x) const;
  /// k where the factors are x^k, -1 otherwise.
  double powerOf(mlir::Value x) const;
};

/// a where v = a + c for a number c.
mlir::Value minusNumber(mlir::Value v, double c);

/// A pattern on one operation that sees symbolic shapes.
template <typename OpTy> struct RaisePattern : mlir::OpRewritePattern<OpTy> {
  RaisePattern(mlir::MLIRContext *ctx, FuncShapes &shapes)
      : mlir::OpRewritePattern<OpTy>(ctx), shapes(shapes) {}
  FuncShapes &shapes;
};

/// Replaces `op` by the recognized value and says so.
void replaceRaised(mlir::RewriterBase &rewriter, mlir::Operation *op, mlir::Value with);

void addActivationPatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);
void addNormalizationPatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);
void addGroupNormPatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);
void addRotaryPatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);
void addRearrangementPatterns(mlir::RewritePatternSet &patterns, FuncShapes &shapes);
/// Raises cells of LSTM and GRU, sequences of them, and loops over one.
void raiseRecurrent(mlir::func::FuncOp func, FuncShapes &shapes);
void raiseRecurrentLoops(mlir::func::FuncOp func, FuncShapes &shapes);
/// Raises attention in `func`; returns how many.
int64_t raiseAttention(mlir::func::FuncOp func, FuncShapes &shapes);

} // namespace nnopt

#endif

//===- Routes.h - how a graph spells the choice of experts ------*- C++ -*-===//
#ifndef NNOPT_PASSES_GROUP_EXPERTS_ROUTES_H
#define NNOPT_PASSES_GROUP_EXPERTS_ROUTES_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Which experts see which tokens: `choices`, [tokens, k], are indices of a topk, `scores` their weights. Where choices are null scores
/// are [tokens, experts], and 0 for what a threshold, or a topk over the tokens of each expert, left out.
struct Route {
  mlir::Value choices, scores;
  int64_t experts = 0;
  bool operator==(const Route &o) const {
    return choices == o.choices && scores == o.scores && experts == o.experts;
  }
};

/// What one expert adds to the mixture: score times `result`.
struct Term {
  Route route;
  int64_t expert = -1;
  mlir::Value result;
  /// The non_zero that finds the tokens that `result` is about; null: all tokens, in order.
  mlir::Value tokens;
};

/// Scores of [tokens, experts] that are 0 but for the chosen experts.
std::optional<Route> matchDenseScores(mlir::Value v, FuncShapes &shapes);
/// The same as [experts, tokens, 1].
std::optional<Route> matchScoresByExpert(mlir::Value v, FuncShapes &shapes);
/// A term of the sum over experts, one expert at a time.
std::optional<Term> matchTerm(mlir::Value v, FuncShapes &shapes);
/// Whether `v` are the tokens of `places`, the result of a non_zero.
bool isTokenRow(mlir::Value v, mlir::Value places);
bool isZeros(mlir::Value v);
/// x where v is x with other dimensions of one element.
mlir::Value withoutUnitDims(mlir::Value v);

} // namespace nnopt

#endif

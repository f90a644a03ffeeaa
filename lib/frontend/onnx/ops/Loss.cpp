//===- Loss.cpp - import rules of loss functions --------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

Value sumOf(Node &n, Value v) {
  Ints all;
  for (unsigned a = 0; a < n.rank(v); ++a)
    all.push_back(a);
  return all.empty() ? v : n.reduce(v, nn::ReduceKind::sum, all, false);
}

/// The mean, sum or tensor of -w[t] * x[.., t, ..] for x [batch, classes, ...] and classes t [batch, ...].
/// A target that is ignored counts as one of weight 0; so the mean is one over the weights.
Value negativeLogLikelihood(Node &n, Value x, Value target, Value weight) {
  std::string reduction = n.s("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    n.invalid("unknown reduction '" + reduction + "'");
  n.needFloat(x);
  n.needRank(x, 2);
  n.needInt(target);
  n.needRank(target, n.rank(x) - 1, n.rank(x) - 1);
  if (weight) {
    n.needRank(weight, 1, 1);
    n.needSameType({x, weight});
  }
  Value zero = n.number(0, n.elt(x)), ignored;
  if (n.hasAttr("ignore_index")) {
    ignored = n.make<nn::EqualOp>(target, n.number(n.i("ignore_index"), n.elt(target)));
    target = n.make<nn::WhereOp>(ignored, n.number(0, n.elt(target)), target);
  }
  Value picked = n.make<nn::GatherElementsOp>(x, n.unsqueeze(target, {1}), n.i64(1));
  Value loss = n.make<nn::NegOp>(n.squeeze(picked, {1}));
  Value weights = weight ? n.make<nn::GatherOp>(weight, target, n.i64(0)) : Value();
  if (weights)
    loss = n.make<nn::MulOp>(loss, weights);
  if (ignored) {
    // Not by a product: the loss may be infinite.
    loss = n.make<nn::WhereOp>(ignored, zero, loss);
    weights = n.make<nn::WhereOp>(ignored, zero, weights ? weights : n.number(1, n.elt(x)));
  }
  if (reduction == "none")
    return loss;
  if (reduction == "sum")
    return sumOf(n, loss);
  if (weights)
    return n.make<nn::DivOp>(sumOf(n, loss), sumOf(n, weights));
  Ints all;
  for (unsigned a = 0; a < n.rank(loss); ++a)
    all.push_back(a);
  return n.reduce(loss, nn::ReduceKind::mean, all, false);
}

void importNegativeLogLikelihood(Node &n) {
  n.out(0, negativeLogLikelihood(n, n.in(0), n.in(1), n.optIn(2)));
}

void importSoftmaxCrossEntropy(Node &n) {
  n.needFloat(n.in(0));
  n.needRank(n.in(0), 2);
  Value logProbability = n.make<nn::SoftmaxOp>(n.in(0), n.i64(1), n.flag(true));
  n.out(0, negativeLogLikelihood(n, logProbability, n.in(1), n.optIn(2)));
  n.out(1, logProbability);
}

} // namespace

void registerLoss(Registry &r) {
  r.add("NegativeLogLikelihoodLoss", 2, 3, importNegativeLogLikelihood, 1, 12);
  r.add("SoftmaxCrossEntropyLoss", 2, 3, importSoftmaxCrossEntropy, 2, 12);
}

} // namespace nnopt::onnx

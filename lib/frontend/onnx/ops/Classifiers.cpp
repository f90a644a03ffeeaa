//===- Classifiers.cpp - scores and labels, shared by ai.onnx.ml ----------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

/// sqrt(2) * erf^-1(2 p - 1) by the approximation of S. Winitzki, "A handy approximation for the error function
/// and its inverse" (2008), with a = 0.147.
static Value probit(Node &n, Value p) {
  Type type = n.elt(p);
  auto c = [&](double v) { return n.number(v, type); };
  Value x = n.make<nn::SubOp>(n.make<nn::MulOp>(p, c(2)), c(1));
  Value log = n.make<nn::LogOp>(n.make<nn::SubOp>(c(1), n.make<nn::MulOp>(x, x)));
  Value v = n.make<nn::AddOp>(n.make<nn::MulOp>(log, c(0.5)), c(2 / (M_PI * 0.147)));
  Value root = n.make<nn::SqrtOp>(n.make<nn::SubOp>(n.make<nn::MulOp>(v, v), n.make<nn::MulOp>(log, c(1 / 0.147))));
  Value magnitude = n.make<nn::SqrtOp>(n.make<nn::SubOp>(root, v));
  return n.make<nn::MulOp>(n.make<nn::MulOp>(n.make<nn::SignOp>(x), magnitude), c(1.41421356));
}

Value postTransform(Node &n, Value scores, StringRef transform) {
  if (transform == "NONE")
    return scores;
  if (transform == "LOGISTIC")
    return n.make<nn::SigmoidOp>(scores);
  if (transform == "SOFTMAX")
    return n.make<nn::SoftmaxOp>(scores, n.i64(n.rank(scores) - 1), UnitAttr());
  if (transform == "PROBIT")
    return probit(n, scores);
  if (transform != "SOFTMAX_ZERO")
    n.invalid("unknown post_transform '" + transform + "'");
  // Softmax in which a score of 0 counts 0.
  Type type = n.elt(scores);
  int64_t axis = n.rank(scores) - 1;
  Value largest = n.reduce(scores, nn::ReduceKind::max, {axis}, true);
  Value zero = n.number(0, type);
  Value isZero = n.make<nn::LessOrEqualOp>(n.make<nn::AbsOp>(scores), n.number(1e-7, type));
  Value shifted = n.make<nn::ExpOp>(n.make<nn::SubOp>(scores, largest));
  Value small = n.make<nn::MulOp>(scores, n.make<nn::ExpOp>(n.make<nn::NegOp>(largest)));
  Value e = n.make<nn::WhereOp>(isZero, small, shifted);
  Value sum = n.reduce(e, nn::ReduceKind::sum, {axis}, true);
  return n.make<nn::WhereOp>(n.make<nn::EqualOp>(sum, zero), n.number(0.5, type), n.make<nn::DivOp>(e, sum));
}

int64_t countLabels(Node &n, StringRef integers) {
  if (auto labels = n.ints(integers); labels && !labels->empty())
    return labels->size();
  auto labels = n.strings("classlabels_strings");
  return labels ? labels->size() : 0;
}

Value labelsAt(Node &n, Value indices, StringRef integers) {
  auto words = n.strings("classlabels_strings");
  auto labels = n.ints(integers);
  if (words && !words->empty())
    return n.make<nn::StringTakeOp>(stringsConstant(n, *words), indices);
  if (labels && !labels->empty())
    return n.make<nn::GatherOp>(n.intsConstant(*labels), indices, n.i64(0));
  return indices;
}

} // namespace nnopt::onnx

//===- LinearModels.cpp - import rules of linear and support vector models -===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

Value input(Node &n) {
  Value x = n.convert(n.in(0), n.b().getF32Type());
  if (n.rank(x) == 1)
    x = n.unsqueeze(x, {0});
  n.needRank(x, 2, 2);
  return x;
}

Value matrix(Node &n, ArrayRef<double> values, int64_t rows, int64_t columns) {
  std::vector<float> narrow(values.begin(), values.end());
  if (rows < 1 || int64_t(narrow.size()) != rows * columns)
    n.invalid("a list of coefficients has " + Twine(narrow.size()) + " entries for " + Twine(rows) + " rows");
  return n.constant(nn::makeFloats(n.ctx(), {rows, columns}, narrow, "coefficients"));
}

/// x w^T + bias for w of `rows` rows.
Value linear(Node &n, Value x, ArrayRef<double> coefficients, int64_t rows, ArrayRef<double> bias) {
  Value w = matrix(n, coefficients, rows, coefficients.size() / std::max<int64_t>(rows, 1));
  auto op = nn::MatMulOp::create(n.b(), n.location(), n.placeholder(), x, w, Value(), Value(), Value(), ValueRange{}, UnitAttr(),
                                 n.b().getUnitAttr());
  n.infer(op);
  Value y = op.getResult();
  return bias.empty() ? y : n.make<nn::AddOp>(y, n.numbersConstant(bias, n.b().getF32Type()));
}

std::vector<double> floats(Node &n, StringRef name) { return n.floats(name).value_or(std::vector<double>()); }

void importLinearRegressor(Node &n) {
  int64_t targets = n.i("targets", 1);
  std::vector<double> bias = floats(n, "intercepts");
  if (!bias.empty() && int64_t(bias.size()) != targets)
    n.invalid("intercepts has " + Twine(bias.size()) + " entries for " + Twine(targets) + " targets");
  Value y = linear(n, input(n), floats(n, "coefficients"), targets, bias);
  n.out(0, postTransform(n, y, n.s("post_transform", "NONE")));
}

Value argMax(Node &n, Value scores) {
  return n.make<nn::ArgReduceOp>(scores, n.i64(1), n.b().getBoolAttr(false), n.flag(true), UnitAttr());
}

/// A bool column as indices 0 and 1.
Value asIndex(Node &n, Value flags) { return n.squeeze(n.convert(flags, n.b().getI64Type()), {1}); }

void importLinearClassifier(Node &n) {
  std::vector<double> coefficients = floats(n, "coefficients"), bias = floats(n, "intercepts");
  int64_t labels = countLabels(n, "classlabels_ints"), rows = bias.empty() ? std::max<int64_t>(labels, 1) : bias.size();
  n.ignore({"multi_class"});
  std::string transform = n.s("post_transform", "NONE");
  Value scores = linear(n, input(n), coefficients, rows, bias), zero = n.number(0, n.b().getF32Type());
  if (rows > 1) {
    n.out(0, labelsAt(n, argMax(n, scores), "classlabels_ints"));
    n.out(1, postTransform(n, scores, transform));
    return;
  }
  Value index = asIndex(n, n.make<nn::GreaterOp>(scores, zero));
  if (labels == 2) {
    n.out(0, labelsAt(n, index, "classlabels_ints"));
    Value both = n.make<nn::ConcatOp>(Values{n.make<nn::NegOp>(scores), scores}, n.i64(1));
    n.out(1, postTransform(n, both, transform));
    return;
  }
  n.out(0, index);
  n.out(1, postTransform(n, scores, transform));
}

//===----------------------------------------------------------------------===//
// Support vector machines
//===----------------------------------------------------------------------===//

/// Kernel values [N, vectors] of x and the support vectors.
Value kernelMatrix(Node &n, Value x, ArrayRef<double> vectors, int64_t count) {
  std::string kind = n.s("kernel_type", "LINEAR");
  std::vector<double> parameters = floats(n, "kernel_params");
  parameters.resize(3);
  double gamma = parameters[0], coef0 = parameters[1], degree = parameters[2];
  Type f32 = n.b().getF32Type();
  Value dot = linear(n, x, vectors, count, {});
  if (kind == "LINEAR")
    return dot;
  if (kind == "RBF") {
    // e^(-gamma |x - v|^2), with the square expanded.
    std::vector<double> squares(count, 0);
    int64_t width = vectors.size() / count;
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < width; ++j)
        squares[i] += vectors[i * width + j] * vectors[i * width + j];
    Value own = n.reduce(x, nn::ReduceKind::sum_square, {1}, true);
    Value sum = n.make<nn::AddOp>(own, n.numbersConstant(squares, f32));
    Value distance = n.make<nn::SubOp>(sum, n.make<nn::MulOp>(dot, n.number(2, f32)));
    return n.make<nn::ExpOp>(n.make<nn::MulOp>(distance, n.number(-gamma, f32)));
  }
  Value affine = n.make<nn::AddOp>(n.make<nn::MulOp>(dot, n.number(gamma, f32)), n.number(coef0, f32));
  if (kind == "POLY")
    return n.make<nn::PowOp>(affine, n.number(degree, f32));
  if (kind == "SIGMOID")
    return n.make<nn::TanhOp>(affine);
  n.invalid("unknown kernel_type '" + kind + "'");
}

void importSVMRegressor(Node &n) {
  int64_t count = n.i("n_supports", 0);
  std::vector<double> coefficients = floats(n, "coefficients"), rho = floats(n, "rho");
  std::vector<double> vectors = floats(n, "support_vectors");
  bool oneClass = n.i("one_class", 0);
  n.ignore({"kernel_type", "kernel_params", "n_targets"});
  Value x = input(n);
  if (rho.size() > 1)
    rho.resize(1);
  Value y = linear(n, count > 0 ? kernelMatrix(n, x, vectors, count) : x, coefficients, 1, rho);
  if (oneClass) {
    Type f32 = n.b().getF32Type();
    y = n.make<nn::WhereOp>(n.make<nn::GreaterOp>(y, n.number(0, f32)), n.number(1, f32), n.number(-1, f32));
  }
  n.out(0, postTransform(n, y, n.s("post_transform", "NONE")));
}

/// The decision values of all pairs of classes, and the votes for each class.
Value pairScores(Node &n, Value x, const Ints &perClass, ArrayRef<double> coefficients, ArrayRef<double> rho,
                 Value &votes) {
  int64_t classes = perClass.size(), total = 0;
  Ints starts;
  for (int64_t c : perClass) {
    starts.push_back(total);
    total += c;
  }
  int64_t pairs = classes * (classes - 1) / 2;
  if (total < 1 || int64_t(coefficients.size()) != (classes - 1) * total || int64_t(rho.size()) != pairs)
    n.invalid("coefficients, rho and vectors_per_class do not fit together");
  Value kernel = kernelMatrix(n, x, floats(n, "support_vectors"), total);
  std::vector<double> w(pairs * total, 0), wins(pairs * classes, 0), losses(pairs * classes, 0);
  int64_t pair = 0;
  for (int64_t i = 0; i < classes; ++i)
    for (int64_t j = i + 1; j < classes; ++j, ++pair) {
      for (int64_t k = 0; k < perClass[i]; ++k)
        w[pair * total + starts[i] + k] = coefficients[(j - 1) * total + starts[i] + k];
      for (int64_t k = 0; k < perClass[j]; ++k)
        w[pair * total + starts[j] + k] = coefficients[i * total + starts[j] + k];
      wins[i * pairs + pair] = 1;   // [classes, pairs], as `linear` wants it
      losses[j * pairs + pair] = 1;
    }
  Type f32 = n.b().getF32Type();
  Value scores = linear(n, kernel, w, pairs, rho);
  Value won = n.convert(n.make<nn::GreaterOp>(scores, n.number(0, f32)), f32);
  Value lost = n.make<nn::SubOp>(n.number(1, f32), won);
  votes = n.make<nn::AddOp>(linear(n, won, wins, classes, {}), linear(n, lost, losses, classes, {}));
  return scores;
}

void importSVMClassifier(Node &n) {
  Ints perClass = n.ints("vectors_per_class").value_or(Ints());
  std::vector<double> coefficients = floats(n, "coefficients"), rho = floats(n, "rho");
  std::vector<double> probA = floats(n, "prob_a"), probB = floats(n, "prob_b");
  int64_t labels = countLabels(n, "classlabels_ints"), vectors = 0;
  for (int64_t c : perClass) {
    if (c < 0 || c > 1 << 28)
      n.invalid("vectors_per_class has an impossible entry");
    vectors += c;
  }
  std::string transform = n.s("post_transform", "NONE");
  Value x = input(n);
  Type f32 = n.b().getF32Type();
  auto number = [&](double v) { return n.number(v, f32); };
  if (!vectors) {
    n.ignore({"kernel_type", "kernel_params", "support_vectors", "prob_a", "prob_b"});
    int64_t rows = std::max<int64_t>(labels, 1);
    Value scores = n.make<nn::AddOp>(linear(n, x, coefficients, rows, {}), number(rho.empty() ? 0 : rho[0]));
    n.out(0, labelsAt(n, argMax(n, scores), "classlabels_ints"));
    n.out(1, postTransform(n, scores, transform));
    return;
  }
  if (perClass.size() < 2)
    n.unsupported("attribute 'vectors_per_class'", "fewer than two classes");
  Value votes;
  Value scores = pairScores(n, x, perClass, coefficients, rho, votes);
  Value best = argMax(n, votes);
  if (!probA.empty()) {
    if (perClass.size() != 2)
      n.unsupported("attribute 'prob_a'", "probabilities of more than two classes");
    // The chance of the first class; clamped as its pairwise estimate is.
    Value p = n.make<nn::AddOp>(n.make<nn::MulOp>(scores, number(probA[0])), number(probB.empty() ? 0 : probB[0]));
    p = n.make<nn::SubOp>(number(1), n.make<nn::SigmoidOp>(p));
    p = n.make<nn::ClipOp>(p, number(1e-7), number(1 - 1e-7));
    scores = n.make<nn::ConcatOp>(Values{p, n.make<nn::SubOp>(number(1), p)}, n.i64(1));
    n.out(0, labelsAt(n, best, "classlabels_ints"));
    n.out(1, postTransform(n, scores, transform));
    return;
  }
  if (rho.size() == 1 && labels == 2) {
    n.out(0, labelsAt(n, best, "classlabels_ints"));
    Value both = n.make<nn::ConcatOp>(Values{n.make<nn::NegOp>(scores), scores}, n.i64(1));
    n.out(1, transform == "PROBIT" ? postTransform(n, scores, transform) : postTransform(n, both, transform));
    return;
  }
  n.out(0, labelsAt(n, best, "classlabels_ints"));
  n.out(1, postTransform(n, scores, transform));
}

} // namespace

void registerLinearModels(Registry &r) {
  r.add("ai.onnx.ml.LinearRegressor", 1, 1, importLinearRegressor);
  r.add("ai.onnx.ml.LinearClassifier", 1, 1, importLinearClassifier, 2);
  r.add("ai.onnx.ml.SVMRegressor", 1, 1, importSVMRegressor);
  r.add("ai.onnx.ml.SVMClassifier", 1, 1, importSVMClassifier, 2);
}

} // namespace nnopt::onnx

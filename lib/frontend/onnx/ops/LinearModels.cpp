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

/// The probabilities [N, classes] that fit those of the pairs best, r_ij [N, pairs] that it is i rather than j: the
/// minimum of sum (r_ji p_i - r_ij p_j)^2 over p that sum up to 1. By the iteration of Wu, Lin and Weng (Probability
/// estimates for multi-class classification by pairwise coupling, 2004, algorithm 2) with the limits of LIBSVM, as models
/// were trained and are judged with its results.
Value coupled(Node &n, Value pairs, int64_t classes) {
  Type f32 = n.b().getF32Type();
  int64_t count = classes * (classes - 1) / 2, pair = 0;
  std::vector<double> pick(classes * classes * count, 0), offset(classes * classes, 0), eye(classes * classes, 0);
  for (int64_t i = 0; i < classes; ++i) {
    eye[i * classes + i] = 1;
    for (int64_t j = i + 1; j < classes; ++j, ++pair) {
      pick[(i * classes + j) * count + pair] = 1;
      pick[(j * classes + i) * count + pair] = -1; // r_ji = 1 - r_ij
      offset[j * classes + i] = 1;
    }
  }
  auto mul = [&](Value a, Value b) -> Value { return n.make<nn::MulOp>(a, b); };
  auto add = [&](Value a, Value b) -> Value { return n.make<nn::AddOp>(a, b); };
  auto sub = [&](Value a, Value b) -> Value { return n.make<nn::SubOp>(a, b); };
  auto div = [&](Value a, Value b) -> Value { return n.make<nn::DivOp>(a, b); };
  auto sum = [&](Value v, int64_t axis, bool keep) { return n.reduce(v, nn::ReduceKind::sum, {axis}, keep); };
  Value identity = n.constant(nn::makeFloats(n.ctx(), {classes, classes}, std::vector<float>(eye.begin(), eye.end()), "eye"));
  Value r = n.reshape(linear(n, pairs, pick, classes * classes, offset), {0, classes, classes});
  // Q: on the diagonal sum over j of r_jt^2, elsewhere -r_jt r_tj.
  Value diagonal = sum(mul(r, r), 1, false);
  Value q = sub(mul(n.unsqueeze(diagonal, {2}), identity), mul(r, n.transpose(r, {0, 2, 1})));
  Value start = add(mul(diagonal, n.number(0, f32)), n.number(1.0 / classes, f32));
  double tolerance = 0.005 / classes;
  return repeat(n, std::max<int64_t>(100, classes), {start}, [&](ArrayRef<Value> state) -> Values {
    Value p = state[0], qp = sum(mul(q, n.unsqueeze(p, {1})), 2, false), pqp = sum(mul(p, qp), 1, true);
    Value error = n.reduce(n.make<nn::AbsOp>(sub(qp, pqp)), nn::ReduceKind::max, {1}, true);
    Value active = n.make<nn::GreaterOrEqualOp>(error, n.number(tolerance, f32));
    for (int64_t t = 0; t < classes; ++t) {
      auto at = [&](Value v) { return n.slice(v, 1, t, t + 1); };
      Value step = div(sub(pqp, at(qp)), at(diagonal)), whole = add(step, n.number(1, f32));
      Value change = mul(step, add(mul(step, at(diagonal)), mul(at(qp), n.number(2, f32))));
      pqp = div(div(add(pqp, change), whole), whole);
      qp = div(add(qp, mul(step, n.squeeze(at(q), {1}))), whole);
      std::vector<double> unit(eye.begin() + t * classes, eye.begin() + (t + 1) * classes);
      p = div(add(p, mul(step, n.numbersConstant(unit, f32))), whole);
    }
    Value most = n.reduce(error, nn::ReduceKind::max, {0, 1}, false);
    Value again = n.make<nn::GreaterOrEqualOp>(most, n.number(tolerance, f32));
    return {again, n.make<nn::WhereOp>(active, p, state[0])};
  })[0];
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
    probB.resize(probA.size());
    if (probA.size() != rho.size())
      n.invalid("prob_a has " + Twine(probA.size()) + " entries for " + Twine(rho.size()) + " pairs of classes");
    Value p = n.make<nn::AddOp>(n.make<nn::MulOp>(scores, n.numbersConstant(probA, f32)), n.numbersConstant(probB, f32));
    p = n.make<nn::SubOp>(number(1), n.make<nn::SigmoidOp>(p));
    scores = coupled(n, n.make<nn::ClipOp>(p, number(1e-7), number(1 - 1e-7)), perClass.size());
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

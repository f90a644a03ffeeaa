//===- ContribMoE.cpp - com.microsoft: mixtures of experts ----------------===//
//
// Every expert sees every token, and what the router did not choose gets the weight 0: exact, and what
// group-experts makes sparse.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Quantized.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// One layer of all experts: weights [experts, out, in], bias [experts, out] or null.
struct Layer {
  Value weights, bias;
  explicit operator bool() const { return bool(weights); }
  /// [1 or experts, tokens, in] to [experts, tokens, out].
  Value apply(Node &n, Value x) const {
    Value y = n.matmul(x, n.convert(weights, n.elt(x)), {}, false, true);
    return bias ? n.make<nn::AddOp>(y, n.unsqueeze(bias, {1})) : y;
  }
};

/// min(x, limit), or x clamped to [-limit, limit].
Value limited(Node &n, Value x, std::optional<double> limit, bool both) {
  if (!limit)
    return x;
  Value high = n.number(*limit, n.elt(x));
  return both ? n.make<nn::ClipOp>(x, n.number(-*limit, n.elt(x)), high) : n.make<nn::MinOp>(x, high);
}

/// G sigmoid(alpha G) (L + beta) with G = min(gate, limit) and L = clamp(linear, limit).
Value swiglu(Node &n, Value gate, Value linear) {
  double alpha = n.f("activation_alpha", 1), beta = n.f("activation_beta", 0);
  std::optional<double> limit = n.optF("swiglu_limit");
  Type type = n.elt(gate);
  gate = limited(n, gate, limit, false);
  linear = limited(n, linear, limit, true);
  Value inner = alpha == 1 ? gate : n.make<nn::MulOp>(gate, n.number(alpha, type));
  Value swish = n.make<nn::MulOp>(gate, n.make<nn::SigmoidOp>(inner));
  if (beta != 0)
    linear = n.make<nn::AddOp>(linear, n.number(beta, type));
  return n.make<nn::MulOp>(swish, linear);
}

Value activate(Node &n, Value h) {
  std::string name = n.s("activation_type", "relu");
  if (name == "relu")
    return n.make<nn::ReluOp>(h);
  if (name == "gelu")
    return n.make<nn::GeluOp>(h, n.flag(false));
  if (name == "silu")
    return n.make<nn::SiluOp>(h, n.f64(1));
  if (name == "identity")
    return h;
  n.unsupported("attribute 'activation_type'", "activation '" + name + "' is not supported");
}

/// The hidden layer behind its activation; fc3 (may be null) gates it.
Value hidden(Node &n, Value x, const Layer &fc1, const Layer &fc3) {
  if (n.s("activation_type", "relu") != "swiglu") {
    n.ignore({"activation_alpha", "activation_beta", "swiglu_limit", "swiglu_fusion"});
    Value h = activate(n, fc1.apply(n, x));
    return fc3 ? n.make<nn::MulOp>(h, fc3.apply(n, x)) : h;
  }
  int64_t fusion = n.i("swiglu_fusion", 0);
  if (fusion == 0) {
    if (!fc3)
      n.invalid("swiglu without fusion needs the weights of fc3");
    return swiglu(n, fc1.apply(n, x), fc3.apply(n, x));
  }
  Dim size = n.dim(fc1.weights, 1);
  if (!size.isConst() || size.value() % 2 || fusion > 2)
    n.unsupported("attribute 'swiglu_fusion'", "must be 0 to 2, with a static, even size");
  int64_t all = size.value(), half = all / 2;
  // Rows of the weights in place of columns of the product: each half is a layer of experts.
  auto part = [&](int64_t from, int64_t to, int64_t step) {
    Layer layer = fc1;
    layer.weights = n.slice(fc1.weights, 1, from, to, step);
    if (fc1.bias)
      layer.bias = n.slice(fc1.bias, 1, from, to, step);
    return layer.apply(n, x);
  };
  if (fusion == 1)
    return swiglu(n, part(0, all, 2), part(1, all, 2));
  return swiglu(n, part(0, half, 1), part(half, all, 1));
}

/// [experts, tokens, 1]: softmax of the router's scores, 0 but for the best k. They are scaled to add
/// up to 1 if `normalize_routing_weights` is set. `other` (may be null) has the weights by themselves.
Value routing(Node &n, Value scores, Value other, Type type) {
  int64_t k = n.i("k", 1);
  bool normalize = n.i("normalize_routing_weights", 0);
  if (n.i("use_sparse_mixer", 0) != 0)
    n.unsupported("attribute 'use_sparse_mixer'", "not supported");
  n.needRank(scores, 2, 2);
  Type f32 = n.b().getF32Type();
  Value wide = n.convert(scores, f32);
  auto best = n.makeN<nn::TopKOp>(2, wide, n.intConstant(k), n.i64(1), n.flag(true), n.flag(true));
  Value chosen;
  if (other)
    chosen = n.make<nn::GatherElementsOp>(n.convert(other, f32), best[1], n.i64(1));
  else if (normalize) // the rest of the softmax cancels out
    chosen = n.make<nn::SoftmaxOp>(best[0], n.i64(1), n.flag(false));
  else
    chosen = n.make<nn::GatherElementsOp>(n.make<nn::SoftmaxOp>(wide, n.i64(1), n.flag(false)), best[1], n.i64(1));
  if (other && normalize)
    chosen = n.make<nn::DivOp>(chosen, n.reduce(chosen, nn::ReduceKind::sum, {1}, true));
  Value none = n.make<nn::ExpandOp>(n.number(0, f32), n.shapeOf(scores));
  Value all = n.make<nn::ScatterElementsOp>(
      none, best[1], chosen, n.i64(1), nn::ScatterReductionAttr::get(n.ctx(), nn::ScatterReduction::none));
  return n.unsqueeze(n.convert(n.transpose(all, {1, 0}), type), {2});
}

void mixture(Node &n, const Layer &fc1, const Layer &fc2, const Layer &fc3, Value routerWeights) {
  Value x = n.in(0);
  n.needFloat(x);
  n.needRank(x, 2, 3);
  if (n.i("swiglu_limit_after_activation", 0) != 0)
    n.unsupported("attribute 'swiglu_limit_after_activation'", "not supported");
  Dim size = n.dims(x).back();
  if (!size.isConst())
    n.unsupported("shape", "the hidden size must be static");
  Value tokens = n.reshape(x, {1, -1, size.value()});
  Value each = fc2.apply(n, hidden(n, tokens, fc1, fc3));
  Value weights = routing(n, n.in(1), routerWeights, n.elt(x));
  Value y = n.reduce(n.make<nn::MulOp>(each, weights), nn::ReduceKind::sum, {0}, false);
  n.out(0, n.rank(x) == 2 ? y : n.make<nn::ReshapeOp>(y, n.shapeOf(x), n.flag(true)));
}

/// input, router_probs, then weights and bias of fc1, fc2, fc3
void importMoE(Node &n) {
  mixture(n, {n.in(2), n.optIn(3)}, {n.in(4), n.optIn(5)}, {n.optIn(6), n.optIn(7)}, Value());
}

/// Weights [experts, out, in] of a layer of QMoE; see MatMulNBits for the packing.
Value unpackExperts(Node &n, Value packed, Value scales, Value zeros, int64_t bits) {
  n.needRank(packed, 3, 3);
  Value w = unpackBits(n, packed, bits);
  Dim experts = n.dim(w, 0), out = n.dim(w, 1), in = n.dim(w, 2);
  if (!scales || !experts.isConst() || !out.isConst() || !in.isConst())
    n.unsupported("weights", "they need scales and static shapes");
  int64_t e = experts.value(), rows = out.value(), columns = in.value();
  bool blocked = n.rank(scales) == 3 && !n.dim(scales, 2).isConst(1);
  int64_t blocks = 1;
  if (blocked) {
    if (!n.dim(scales, 2).isConst() || columns % n.dim(scales, 2).value())
      n.unsupported("weights", "blocks must divide the columns");
    blocks = n.dim(scales, 2).value();
  }
  w = n.reshape(w, {e, rows, blocks, columns / blocks});
  scales = n.reshape(scales, {e, rows, blocks, 1});
  Value zero = n.number(double(int64_t(1) << (bits - 1)), n.elt(w));
  if (zeros) {
    zero = unpackBits(n, zeros, bits);
    if (blocked) // a padded last byte
      zero = n.slice(zero, 2, 0, blocks);
    else if (n.rank(zero) == 2)
      zero = n.slice(zero, 1, 0, rows);
    zero = n.reshape(zero, {e, rows, blocks, 1});
  }
  return n.reshape(dequantize(n, w, scales, zero), {e, rows, columns});
}

/// input, router_probs, then weights, scales and bias of fc1, fc2, fc3, their zero points, router_weights
void importQMoE(Node &n) {
  if (std::string type = n.s("quant_type", "int"); type != "int")
    n.unsupported("attribute 'quant_type'", "only int is supported, not " + type);
  if (n.i("weights_prepacked", -1) == 1)
    n.unsupported("attribute 'weights_prepacked'", "packed weights are not supported");
  n.ignore({"accuracy_level", "block_size"}); // the scales tell the blocks
  for (unsigned i = 15; i < n.numInputs(); ++i)
    if (n.hasIn(i))
      n.unsupported("input " + Twine(i), "not supported with quant_type int");
  int64_t bits = n.i("expert_weight_bits", 4);
  auto layer = [&](unsigned first, unsigned zero, StringRef attribute) -> Layer {
    int64_t own = n.i(attribute, bits);
    if (!n.hasIn(first))
      return {};
    return {unpackExperts(n, n.in(first), n.optIn(first + 1), n.optIn(zero), own), n.optIn(first + 2)};
  };
  Layer fc1 = layer(2, 11, "fc1_expert_weight_bits"), fc2 = layer(5, 12, "fc2_expert_weight_bits"),
        fc3 = layer(8, 13, "fc3_expert_weight_bits");
  mixture(n, fc1, fc2, fc3, n.optIn(14));
}

} // namespace

void registerContribMoE(Registry &r) {
  r.add("com.microsoft.MoE", 5, 8, importMoE, 1, 1);
  r.add("com.microsoft.QMoE", 6, 21, importQMoE, 1, 1);
}

} // namespace nnopt::onnx

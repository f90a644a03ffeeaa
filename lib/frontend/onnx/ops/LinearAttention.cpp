//===- LinearAttention.cpp - import rules of stateful sequence layers -----===//
#include "lib/frontend/onnx/ops/Contraction.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

void importLinearAttention(Node &n) {
  Value q = n.in(0), k = n.in(1), v = n.in(2), past = n.optIn(3), decay = n.optIn(4), beta = n.optIn(5);
  n.ignore({"chunk_size"}); // how it may be computed, not what
  n.needFloat(q);
  n.needSameType({q, k, v});
  for (Value operand : {q, k, v, decay, beta})
    if (operand)
      n.needRank(operand, 3, 3);
  std::string rule = n.s("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta")
    n.invalid("unknown update_rule '" + rule + "'");
  if (bool(decay) != StringRef(rule).contains("gated") || bool(beta) != StringRef(rule).contains("delta"))
    n.invalid("decay belongs to the gated rules, beta to the delta rules, and this one is '" + rule + "'");
  int64_t heads = n.i("q_num_heads"), keyHeads = n.i("kv_num_heads");
  if (heads < 1 || keyHeads < 1 || heads % keyHeads)
    n.invalid("q_num_heads must be a positive multiple of kv_num_heads");
  double scale = n.f("scale", 0);
  if (Dim width = n.dim(q, 2); scale == 0 && width.isConst()) {
    scale = 1 / std::sqrt(double(width.value() / heads));
  } else if (scale == 0) {
    // The result is rounded once, as where the size is known: what is narrower than f32 is widened before.
    Type f32 = n.b().getF32Type();
    Value size = n.make<nn::DivOp>(n.convert(n.sizeOf(q, 2), f32), n.number(heads, f32));
    Value factor = n.make<nn::ReciprocalOp>(n.make<nn::SqrtOp>(size));
    q = n.make<nn::MulOp>(n.convert(q, f32), factor);
    k = n.convert(k, f32);
    v = n.convert(v, f32);
    for (Value *operand : {&past, &decay, &beta})
      if (*operand)
        *operand = n.convert(*operand, f32);
    scale = 1;
  }
  Type type = n.elt(n.in(0));
  auto results = n.makeN<nn::LinearAttentionOp>(2, q, k, v, past, decay, beta, n.i64(heads), n.i64(keyHeads), n.f64(scale));
  n.out(0, n.convert(results[0], type));
  n.out(1, n.convert(results[1], n.hasIn(3) ? n.elt(n.in(3)) : type));
}

/// A depthwise convolution along a sequence that continues behind the last k - 1 elements of the one before.
void importCausalConv(Node &n) {
  Value x = n.in(0), weight = n.in(1), bias = n.optIn(2), past = n.optIn(3);
  n.needFloat(x);
  n.needSameType({x, weight});
  n.needRank(x, 3, 3);
  n.needRank(weight, 3, 3);
  std::string activation = n.s("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    n.invalid("unknown activation '" + activation + "'");
  Dim channels = n.dim(weight, 0), size = n.dim(weight, 2);
  if (size.isConst(0))
    n.invalid("the weight has no elements");
  Value before = n.make<nn::SubOp>(n.shapeOf(weight, 2), n.intsConstant({1}));
  Value sequence = x;
  if (past) {
    n.needRank(past, 3, 3);
    n.needSameType({x, past});
    sequence = n.make<nn::ConcatOp>(ValueRange{past, x}, n.i64(2));
  } else if (!size.isConst(1)) {
    Value pads = n.make<nn::ConcatOp>(ValueRange{n.intsConstant({0, 0}), before, n.intsConstant({0, 0, 0})}, n.i64(0));
    sequence = n.make<nn::PadOp>(x, pads, n.number(0, n.elt(x)), Value(),
                                 nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
  }
  Value y = channels.isConst() && size.isConst()
                ? n.make<nn::ConvOp>(sequence, weight, bias, Value(), Value(), ValueRange(), n.i64s({1}), n.i64s({0, 0}),
                                     n.i64s({1}), n.i64(channels.value()))
                : generalConvolution(n, sequence, weight, bias, Value(), Value(), n.shapeOf(weight, 0, 1));
  n.out(0, activation == "none" ? y : n.make<nn::SiluOp>(y, n.f64(1)));
  // With a kernel of 1 nothing is carried on.
  n.out(1, n.make<nn::SliceOp>(sequence, n.make<nn::SubOp>(n.shapeOf(sequence, 2), before),
                               n.intsConstant({std::numeric_limits<int64_t>::max()}), n.intsConstant({2}), Value()));
}

} // namespace

void registerLinearAttention(Registry &r) {
  r.add("LinearAttention", 3, 6, importLinearAttention, 2, 27);
  r.add("CausalConvWithState", 2, 4, importCausalConv, 2, 27);
}

} // namespace nnopt::onnx

//===- Attention.cpp - export rule of attention ---------------------------===//
//
// Attention of opset 23, or softmax(scale q k^T + mask) v written out. Its causal form counts from the first
// key, unless it gets past keys of its own: counted from the last key it is a mask here. Neither a finite value of
// masked scores nor zeros for NaN are in ONNX: these are always written out.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Dimension `axis` of x as a scalar.
std::string dimOf(OpExport &e, Value x, int64_t axis) {
  if (int64_t size = tensorType(x).getDimSize(axis); !ShapedType::isDynamic(size))
    return e.scalar(size);
  return e.withAxes("Squeeze", e.shapeOf(e.name(x), rankOf(x), axis, axis + 1), {0});
}

/// [queries, keys], true where a query sees a key: j <= i + shift, the shift being the number of keys before
/// the first query when counted from the end.
std::string causalMask(OpExport &e, nn::AttentionOp op) {
  e.need(12);
  std::string zero = e.scalar(0), one = e.scalar(1);
  std::string queries = dimOf(e, op.getQ(), 2), keys = dimOf(e, op.getK(), 2);
  std::string last = e.step("Range", {zero, queries, one});
  if (op.getCausalFromEnd())
    last = e.step("Add", {last, e.step("Sub", {keys, queries})});
  return e.step("LessOrEqual", {e.step("Range", {zero, keys, one}), e.withAxes("Unsqueeze", last, {1})});
}

/// k or v with a copy for each head of q: [batch, kv heads, 1 -> share, keys, size] as [batch, heads, keys, size].
std::string repeated(OpExport &e, Value x, int64_t heads) {
  int64_t own = tensorType(x).getDimSize(1), size = tensorType(x).getDimSize(3);
  if (own == heads)
    return e.name(x);
  if (ShapedType::isDynamic(own) || ShapedType::isDynamic(heads) || ShapedType::isDynamic(size))
    e.unsupported("heads", "their numbers must be static where keys and values have fewer than queries");
  std::string wide = e.withAxes("Unsqueeze", e.name(x), {2});
  wide = e.step("Expand", {wide, e.ints({1, 1, heads / own, 1, 1})});
  return e.step("Reshape", {wide, e.ints({0, heads, -1, size})});
}

void exportAttention(OpExport &e, nn::AttentionOp op) {
  Type type = elementTypeOf(op.getQ());
  double scale = op.getScale().convertToDouble(), softcap = op.getSoftcap().convertToDouble();
  // Attention counts rows that see no key as zeros.
  bool zero = op.getEmptyRows() == nn::EmptyRows::zero, nanToZero = op.getEmptyRows() == nn::EmptyRows::nan_to_zero;
  if (zero)
    e.need(23);
  bool whole = e.opset() >= 23 && (!op.getMask() || zero) && !op.getMaskValue() && !nanToZero;
  std::string mask = e.name(op.getMask());
  bool logical = op.getMask() && elementTypeOf(op.getMask()).isInteger(1);
  auto added = [&](std::string m) {
    return e.step("Where", {m, e.number(0, type), e.number(-std::numeric_limits<double>::infinity(), type)});
  };
  // Which scores become the finite value; what lies after a query is left out all the same.
  std::string kept;
  if (logical && op.getMaskValue()) {
    std::swap(kept, mask);
    logical = false;
  }
  if (op.getCausal() && (!whole || op.getCausalFromEnd())) {
    std::string causal = causalMask(e, op);
    if (mask.empty()) {
      mask = causal;
      logical = true;
    } else if (logical) {
      mask = e.step("And", {mask, causal});
    } else {
      mask = e.step("Add", {mask, added(causal)});
    }
  }
  if (whole) {
    Attrs attrs = {floatAttr("scale", scale)};
    if (op.getCausal() && !op.getCausalFromEnd())
      attrs.push_back(intAttr("is_causal", 1));
    if (softcap > 0)
      attrs.push_back(floatAttr("softcap", softcap));
    if (op.getWideSoftmax())
      attrs.push_back(intAttr("softmax_precision", 1)); // f32
    e.finish("Attention", {e.name(op.getQ()), e.name(op.getK()), e.name(op.getV()), mask}, std::move(attrs));
    return;
  }
  int64_t heads = tensorType(op.getQ()).getDimSize(1);
  std::string keys = e.transpose(repeated(e, op.getK(), heads), {0, 1, 3, 2});
  std::string scores = e.step("MatMul", {e.name(op.getQ()), keys});
  if (scale != 1)
    scores = e.step("Mul", {scores, e.number(scale, type)});
  if (softcap > 0)
    scores = e.step("Mul", {e.step("Tanh", {e.step("Div", {scores, e.number(softcap, type)})}), e.number(softcap, type)});
  if (!kept.empty())
    scores = e.step("Where", {kept, scores, e.number(op.getMaskValue()->convertToDouble(), type)});
  if (!mask.empty())
    scores = e.step("Add", {scores, logical ? added(mask) : mask});
  std::string weights = e.step("Softmax", {scores}, {intAttr("axis", 3)});
  if (nanToZero) {
    e.need(9);
    weights = e.step("Where", {e.step("IsNaN", {weights}), e.number(0, type), weights});
  }
  e.finish("MatMul", {weights, repeated(e, op.getV(), heads)});
}

/// (a, b) as (a cos - b sin, b cos + a sin), written out.
void exportRotary(OpExport &e, nn::RotaryOp op) {
  int64_t rank = rankOf(op.getX()), size = tensorType(op.getX()).getDimSize(rank - 1);
  if (ShapedType::isDynamic(size))
    e.unsupported("shape", "the size of a head must be static");
  if (op.getInterleaved())
    e.need(10); // steps of slices
  auto part = [&](Value v, bool second) {
    Ints axes{rankOf(v) - 1};
    if (tensorType(v).getDimSize(axes[0]) != size)
      return e.name(v); // one angle for each pair
    int64_t half = size / 2, step = op.getInterleaved() ? 2 : 1;
    int64_t start = !second ? 0 : op.getInterleaved() ? 1 : half, end = op.getInterleaved() || second ? size : half;
    if (e.opset() >= 10)
      return e.step("Slice", {e.name(v), e.ints({start}), e.ints({end}), e.ints(axes), e.ints({step})});
    return e.step("Slice", {e.name(v)}, {intsAttr("axes", axes), intsAttr("starts", {start}), intsAttr("ends", {end})});
  };
  auto mul = [&](const std::string &a, const std::string &b) { return e.step("Mul", {a, b}); };
  std::string a = part(op.getX(), false), b = part(op.getX(), true);
  std::string first = e.step("Sub", {mul(a, part(op.getCos(), false)), mul(b, part(op.getSin(), false))});
  std::string second = e.step("Add", {mul(b, part(op.getCos(), true)), mul(a, part(op.getSin(), true))});
  if (!op.getInterleaved()) {
    e.finish("Concat", {first, second}, {intAttr("axis", rank - 1)});
    return;
  }
  std::string pairs = e.step("Concat", {e.withAxes("Unsqueeze", first, {rank}), e.withAxes("Unsqueeze", second, {rank})},
                             {intAttr("axis", rank)});
  Ints shape(rank, 0);
  shape.back() = size;
  e.finish("Reshape", {pairs, e.ints(shape)});
}

void exportLinearAttention(OpExport &e, nn::LinearAttentionOp op) {
  e.need(27);
  std::string rule = op.getDecay() ? op.getBeta() ? "gated_delta" : "gated" : op.getBeta() ? "delta" : "linear";
  e.finish("LinearAttention",
           {e.name(op.getQ()), e.name(op.getK()), e.name(op.getV()), e.name(op.getPast()), e.name(op.getDecay()),
            e.name(op.getBeta())},
           {intAttr("q_num_heads", op.getHeads()), intAttr("kv_num_heads", op.getKeyHeads()),
            floatAttr("scale", op.getScale().convertToDouble()), stringAttr("update_rule", rule)});
}

} // namespace

void addAttention(ExportRegistry &r) {
  r.add<nn::AttentionOp>(exportAttention);
  r.add<nn::RotaryOp>(exportRotary);
  r.add<nn::LinearAttentionOp>(exportLinearAttention);
}

} // namespace nnopt::onnx

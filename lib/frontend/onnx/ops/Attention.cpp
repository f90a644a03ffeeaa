//===- Attention.cpp - import rules of Attention, RotaryEmbedding ---------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// [batch, sequence, heads * size] as [batch, heads, sequence, size].
Value splitHeads(Node &n, Value v, int64_t heads) {
  Dim hidden = n.dim(v, 2);
  if (hidden.isConst() && hidden.value() % heads != 0)
    n.invalid(Twine(heads) + " heads do not divide a hidden size of " + Twine(hidden.value()));
  int64_t size = hidden.isConst() ? hidden.value() / heads : -1;
  return n.transpose(n.reshape(v, {0, 0, heads, size}), {0, 2, 1, 3});
}

/// [batch, heads, sequence, size] as [batch, sequence, heads * size].
Value mergeHeads(Node &n, Value v) {
  Dim heads = n.dim(v, 1), size = n.dim(v, 3);
  int64_t hidden = heads.isConst() && size.isConst() ? heads.value() * size.value() : -1;
  return n.reshape(n.transpose(v, {0, 2, 1, 3}), {0, 0, hidden});
}

void importAttention(Node &n) {
  Value q = n.in(0), k = n.in(1), v = n.in(2), mask = n.optIn(3), pastK = n.optIn(4),
        pastV = n.optIn(5);
  n.needFloat(q);
  n.needSameType({q, k});
  if (n.elt(v) != n.elt(q))
    n.unsupported("type", "V must have the element type of Q");
  if (n.hasIn(6))
    n.unsupported("input nonpad_kv_seqlen", "not supported");
  if (n.isUsed(3))
    n.unsupported("output qk_matmul_output", "not supported");
  n.ignore({"qk_matmul_output_mode", "softmax_precision"}); // ours is never below f32
  for (StringRef window : {"left_window_size", "right_window_size"})
    if (n.i(window, -1) != -1)
      n.unsupported("attribute '" + window + "'", "not supported");
  unsigned rank = n.rank(q);
  n.needRank(q, 3, 4);
  n.needRank(k, rank, rank);
  n.needRank(v, rank, rank);
  int64_t qHeads = n.i("q_num_heads", 0), kvHeads = n.i("kv_num_heads", 0);
  if (rank == 3) {
    if (qHeads < 1 || kvHeads < 1 || qHeads % kvHeads != 0)
      n.invalid("operands of rank 3 need q_num_heads, a multiple of kv_num_heads");
    q = splitHeads(n, q, qHeads);
    k = splitHeads(n, k, kvHeads);
    v = splitHeads(n, v, kvHeads);
  }
  if (bool(pastK) != bool(pastV))
    n.invalid("past_key and past_value must come together");
  if (pastK) {
    n.needRank(pastK, 4, 4);
    n.needRank(pastV, 4, 4);
    n.needSameType({q, pastK, pastV});
    k = n.make<nn::ConcatOp>(ValueRange{pastK, k}, n.i64(2));
    v = n.make<nn::ConcatOp>(ValueRange{pastV, v}, n.i64(2));
  }
  n.out(1, k);
  n.out(2, v);

  Dim size = n.dim(q, 3);
  std::optional<double> scale = n.optF("scale");
  if (!scale && !size.isConst())
    n.unsupported("attribute 'scale'", "the head size must be static, or the scale given");
  double factor = scale ? *scale : 1 / std::sqrt(double(size.value()));
  if (mask) {
    n.needRank(mask, 1, 4);
    if (!n.elt(mask).isInteger(1))
      n.needSameType({q, mask});
    // A mask may cover fewer keys; the rest does not take part.
    Dim covered = n.dims(mask).back(), keys = n.dim(k, 2);
    if (covered != keys && !covered.isConst(1)) {
      if (!covered.isConst() || !keys.isConst()) {
        if (n.version() >= 24)
          n.importer.warn("node '" + Twine(n.op()) + "': the mask is taken to cover all keys");
      } else if (covered.value() < keys.value()) {
        bool logical = n.elt(mask).isInteger(1);
        int64_t maskRank = n.rank(mask);
        Ints pads(2 * maskRank, 0);
        pads.back() = keys.value() - covered.value();
        Value fill = n.number(logical ? 0 : -std::numeric_limits<double>::infinity(), n.elt(mask));
        mask = n.make<nn::PadOp>(mask, n.intsConstant(pads), fill, Value(),
                                 nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
      } else {
        n.invalid("the mask covers more keys than there are");
      }
    }
  }
  // Position i of q sees keys up to i + (number of past keys).
  bool causal = n.i("is_causal", 0);
  Value y = n.make<nn::AttentionOp>(q, k, v, mask, n.f64(factor), n.flag(causal),
                                    n.flag(causal && pastK), n.f64(n.f("softcap", 0)),
                                    FloatAttr(), UnitAttr());
  n.out(0, rank == 3 ? mergeHeads(n, y) : y);
}

/// Rotation of pairs of elements by position-dependent angles, from primitive operations.
void importRotaryEmbedding(Node &n) {
  Value x = n.in(0), cos = n.in(1), sin = n.in(2), positions = n.optIn(3);
  n.needFloat(x);
  n.needSameType({x, cos, sin});
  n.needRank(x, 3, 4);
  bool merged = n.rank(x) == 3, interleaved = n.i("interleaved", 0);
  int64_t heads = n.i("num_heads", 0), part = n.i("rotary_embedding_dim", 0);
  if (merged) {
    if (heads < 1)
      n.invalid("operands of rank 3 need num_heads");
    x = splitHeads(n, x, heads);
  }
  if (!n.dim(x, 3).isConst())
    n.unsupported("shape", "the head size must be static");
  int64_t size = n.dim(x, 3).value();
  if (part == 0)
    part = size;
  if (part < 0 || part > size || part % 2 != 0)
    n.invalid("rotary_embedding_dim must be even and at most the head size");
  if (positions) {
    n.needRank(cos, 2, 2);
    n.needRank(sin, 2, 2);
    n.needInt(positions);
    n.needRank(positions, 2, 2);
    cos = n.make<nn::GatherOp>(cos, positions, n.i64(0));
    sin = n.make<nn::GatherOp>(sin, positions, n.i64(0));
  }
  n.needRank(cos, 3, 3);
  n.needRank(sin, 3, 3);
  // [batch, 1, sequence, part / 2] against x's [batch, heads, sequence, ...].
  cos = n.unsqueeze(cos, {1});
  sin = n.unsqueeze(sin, {1});
  Value rotated = part == size ? x : n.slice(x, 3, 0, part);
  int64_t half = part / 2;
  Value a = interleaved ? n.slice(rotated, 3, 0, part, 2) : n.slice(rotated, 3, 0, half);
  Value b = interleaved ? n.slice(rotated, 3, 1, part, 2) : n.slice(rotated, 3, half, part);
  Value real = n.make<nn::SubOp>(n.make<nn::MulOp>(cos, a), n.make<nn::MulOp>(sin, b));
  Value imaginary = n.make<nn::AddOp>(n.make<nn::MulOp>(sin, a), n.make<nn::MulOp>(cos, b));
  Value y;
  if (interleaved) {
    Value pairs = n.make<nn::ConcatOp>(
        ValueRange{n.unsqueeze(real, {4}), n.unsqueeze(imaginary, {4})}, n.i64(4));
    y = n.reshape(pairs, {0, 0, 0, part});
  } else {
    y = n.make<nn::ConcatOp>(ValueRange{real, imaginary}, n.i64(3));
  }
  if (part != size)
    y = n.make<nn::ConcatOp>(ValueRange{y, n.slice(x, 3, part, size)}, n.i64(3));
  n.out(0, merged ? mergeHeads(n, y) : y);
}

} // namespace

void registerAttention(Registry &r) {
  r.add("Attention", 3, 7, importAttention, 4, 23);
  r.add("RotaryEmbedding", 3, 4, importRotaryEmbedding, 1, 23);
}

} // namespace nnopt::onnx

//===- Attention.cpp - import rule of Attention ---------------------------===//
#include "lib/frontend/onnx/ops/Heads.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

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

} // namespace

void registerAttention(Registry &r) {
  r.add("Attention", 3, 7, importAttention, 4, 23);
}

} // namespace nnopt::onnx

//===- Attention.cpp - import rules of Attention, FlexAttention -----------===//
//
// nn.attention serves what only wants the result. Where scores or probabilities are wanted (as an output,
// by a subgraph, in another precision), attention is written in products and softmax.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Heads.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Attention of [batch, heads, sequence, size] operands as products and softmax.
struct Scores {
  Node &n;
  Value q, k, v;

  Scores(Node &n, Value q, Value k, Value v) : n(n), q(q), k(k), v(v) {
    Dim heads = n.dim(q, 1), keyHeads = n.dim(k, 1);
    if (heads.isConst() && keyHeads.isConst() &&
        (keyHeads.value() < 1 || heads.value() % keyHeads.value()))
      n.invalid("the heads of Q are no multiple of those of K");
  }
  Type type() { return n.elt(q); }
  /// a times the matrices of the key heads b. Neighbouring heads of a share one: their rows are one matrix.
  Value product(Value a, Value b, bool transposed) {
    if (n.dim(a, 1) == n.dim(b, 1))
      return n.matmul(a, b, {}, false, transposed);
    Value rows = n.reshapeTo(a, {n.shapeOf(b, 0, 2), n.intsConstant({-1}), n.shapeOf(a, 3)});
    Value y = n.matmul(rows, b, {}, false, transposed);
    return n.reshapeTo(y, {n.shapeOf(a, 0, 3), n.shapeOf(y, 3)});
  }
  /// q k^T. Both operands are scaled by the root, which keeps narrow types from overflowing.
  Value scores(double scale) {
    double root = std::sqrt(std::fabs(scale));
    auto scaled = [&](Value x, double factor) {
      return factor == 1 ? x : n.make<nn::MulOp>(x, n.number(factor, n.elt(x)));
    };
    return product(scaled(q, scale < 0 ? -root : root), scaled(k, root), true);
  }
  Value softmax(Value scores) {
    return n.make<nn::SoftmaxOp>(scores, n.i64(3), n.flag(false));
  }
};

std::optional<Type> softmaxType(Node &n) {
  if (!n.hasAttr("softmax_precision"))
    return std::nullopt;
  Type type = elementType(n.ctx(), n.i("softmax_precision"));
  if (!type || !isa<FloatType>(type))
    n.invalid("attribute 'softmax_precision' is no floating point type");
  return type;
}

/// The factor of the scores. Where it is the root of a head size that is not known, q and k are scaled here by the
/// root of the factor, as the function body does, and 1 is left.
double applyScale(Node &n, Value &q, Value &k) {
  if (auto given = n.optF("scale"))
    return *given;
  Dim size = n.dim(q, 3);
  if (size.isConst())
    return 1 / std::sqrt(double(size.value()));
  Type type = n.elt(q), wide = type.isF64() ? type : Type(n.b().getF32Type());
  Value width = n.convert(n.sizeOf(q, 3), wide);
  Value root = n.make<nn::SqrtOp>(n.make<nn::ReciprocalOp>(n.make<nn::SqrtOp>(width)));
  root = n.convert(root, type);
  q = n.make<nn::MulOp>(q, root);
  k = n.make<nn::MulOp>(k, root);
  return 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// What an Attention node lets take part.
struct Visibility {
  Node &n;
  Value q, k;                      // [batch, heads, sequence, size]
  Value mask;                      // bool, or added; null: none
  Value pastLength, nonpadLengths; // i64 scalar, i64 [batch]; null: none
  Dim pastDim;
  bool causal = false, causalFromEnd = false;

  Value both(Value a, Value b) { return a ? n.make<nn::LogicalAndOp>(a, b) : b; }

  /// A mask may cover fewer keys; the rest does not take part.
  void coverAllKeys() {
    Dim covered = n.dims(mask).back(), keys = n.dim(k, 2);
    if (covered == keys || (covered.isConst(1) && n.version() < 24))
      return;
    if (covered.isConst() && keys.isConst() && covered.value() > keys.value())
      n.invalid("the mask covers more keys than there are");
    if (!(covered.isConst() && keys.isConst()) && n.version() < 24)
      return;
    int64_t rank = n.rank(mask);
    Value missing = n.make<nn::SubOp>(n.shapeOf(k, 2, 3), n.shapeOf(mask, rank - 1, rank));
    Value pads = n.make<nn::ConcatOp>(ValueRange{n.intsConstant(Ints(2 * rank - 1, 0)), missing}, n.i64(0));
    Value fill = n.number(n.elt(mask).isInteger(1) ? 0 : -infinity, n.elt(mask));
    mask = n.make<nn::PadOp>(mask, pads, fill, Value(),
                             nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
  }

  /// Query i is at position i + offset, which sees the keys up to itself when causal, no more than
  /// `left` before and `right` behind it, and none of the padding. What nn.attention cannot do itself goes
  /// into the mask.
  void restrict(int64_t left, int64_t right, bool needsMask) {
    bool sameLength = !pastLength || n.dim(k, 2) == n.dim(q, 2) + pastDim;
    if (causal && !needsMask && !nonpadLengths && sameLength) {
      causalFromEnd = bool(pastLength);
      right = -1;
    } else if (causal) {
      causal = false;
      right = 0;
    }
    if (left < 0 && right < 0 && !nonpadLengths)
      return;
    Value keys = n.unsqueeze(n.countTo(n.sizeOf(k, 2)), {0});
    Value allowed;
    if (left >= 0 || right >= 0) {
      Value position = n.unsqueeze(n.countTo(n.sizeOf(q, 2)), {1});
      if (nonpadLengths) {
        Value offset = n.make<nn::SubOp>(nonpadLengths, n.sizeOf(q, 2));
        position = n.make<nn::AddOp>(position, n.unsqueeze(offset, {1, 2, 3}));
      } else if (pastLength) {
        position = n.make<nn::AddOp>(position, pastLength);
      }
      if (right >= 0)
        allowed = n.make<nn::LessOrEqualOp>(keys, n.make<nn::AddOp>(position, n.intConstant(right)));
      if (left >= 0)
        allowed = both(allowed, n.make<nn::GreaterOrEqualOp>(
                                    keys, n.make<nn::SubOp>(position, n.intConstant(left))));
    }
    if (nonpadLengths)
      allowed = both(allowed, n.make<nn::LessOp>(keys, n.unsqueeze(nonpadLengths, {1, 2, 3})));
    if (!mask || n.elt(mask).isInteger(1))
      mask = both(mask, allowed);
    else
      mask = n.make<nn::WhereOp>(allowed, mask, n.number(-infinity, n.elt(mask)));
  }
};

/// Everything by itself, with the fourth output.
Value composedAttention(Node &n, Scores s, Value mask, double scale, Type precision) {
  Type type = s.type();
  Value zero = n.number(0, type), lowest = n.number(-infinity, type);
  int64_t mode = n.i("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3)
    n.invalid("attribute 'qk_matmul_output_mode' must be 0 to 3");
  Value scores = s.scores(scale);
  Value wanted = scores;
  if (double softcap = n.f("softcap", 0); softcap > 0) {
    Value cap = n.number(softcap, type);
    scores = n.make<nn::MulOp>(n.make<nn::TanhOp>(n.make<nn::DivOp>(scores, cap)), cap);
  }
  if (mode == 1)
    wanted = scores;
  Value excluded; // bool; the rows that see nothing
  if (mask) {
    if (n.elt(mask).isInteger(1))
      mask = n.make<nn::WhereOp>(mask, zero, lowest);
    scores = n.make<nn::AddOp>(scores, mask);
    int64_t last = n.rank(mask) - 1;
    excluded = n.make<nn::EqualOp>(n.reduce(mask, nn::ReduceKind::max, {last}, true), lowest);
  }
  if (mode == 2)
    wanted = scores;
  Value probability = s.softmax(n.convert(scores, precision));
  if (excluded)
    probability = n.make<nn::WhereOp>(excluded, n.number(0, precision), probability);
  probability = n.convert(probability, type);
  n.out(3, mode == 3 ? probability : wanted);
  return s.product(probability, s.v, false);
}

void importAttention(Node &n) {
  Value q = n.in(0), k = n.in(1), v = n.in(2), pastK = n.optIn(4), pastV = n.optIn(5);
  n.needFloat(q);
  n.needSameType({q, k});
  n.needFloat(v);
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
  Visibility visible{n, q, k, n.optIn(3), {}, {}, {}};
  visible.causal = n.i("is_causal", 0);
  if (pastK) {
    n.needRank(pastK, 4, 4);
    n.needRank(pastV, 4, 4);
    n.needSameType({q, pastK});
    n.needSameType({v, pastV});
    k = n.make<nn::ConcatOp>(ValueRange{pastK, k}, n.i64(2));
    v = n.make<nn::ConcatOp>(ValueRange{pastV, v}, n.i64(2));
    visible.k = k;
    visible.pastLength = n.sizeOf(pastK, 2);
    visible.pastDim = n.dim(pastK, 2);
  }
  n.out(1, k);
  n.out(2, v);
  v = n.convert(v, n.elt(q));
  if (n.hasIn(6)) {
    if (pastK)
      n.invalid("nonpad_kv_seqlen and past_key exclude each other");
    n.needInt(n.in(6));
    n.needRank(n.in(6), 1, 1);
    visible.nonpadLengths = n.convert(n.in(6), n.b().getI64Type());
  }
  if (visible.mask) {
    n.needRank(visible.mask, 1, 4);
    if (isa<IntegerType>(n.elt(visible.mask)) && !n.elt(visible.mask).isInteger(1))
      visible.mask = n.convert(visible.mask, n.elt(q));
    if (!n.elt(visible.mask).isInteger(1))
      n.needSameType({q, visible.mask});
    visible.coverAllKeys();
  }
  Ints window;
  for (StringRef name : {"left_window_size", "right_window_size"}) {
    window.push_back(n.i(name, -1));
    if (window.back() < -1)
      n.invalid("attribute '" + name + "' must be -1 or more");
  }
  Type type = n.elt(q), f32 = n.b().getF32Type(), precision = softmaxType(n).value_or(type);
  bool narrow = type.getIntOrFloatBitWidth() < 32;
  bool fused = !n.isUsed(3) && (precision == type || (narrow && precision == f32));
  n.ignore({"qk_matmul_output_mode"});
  visible.restrict(window[0], window[1], !fused);
  double scale = applyScale(n, q, k);
  Value y = fused ? n.make<nn::AttentionOp>(q, k, v, visible.mask, n.f64(scale), n.flag(visible.causal),
                                            n.flag(visible.causalFromEnd), n.f64(n.f("softcap", 0)),
                                            FloatAttr(), nn::EmptyRowsAttr::get(n.ctx(), visible.mask ? nn::EmptyRows::zero : nn::EmptyRows::nan),
                                            n.flag(precision != type))
                  : composedAttention(n, Scores(n, q, k, v), visible.mask, scale, precision);
  n.out(0, rank == 3 ? mergeHeads(n, y) : y);
}

//===----------------------------------------------------------------------===//
// FlexAttention
//===----------------------------------------------------------------------===//

/// Runs a subgraph of one operand, where there is one.
Value modified(Node &n, StringRef name, Value v) {
  if (!n.hasAttr(name))
    return v;
  Values results = n.importer.importSubgraph(n, n.graph(name), {v});
  if (results.size() != 1)
    n.invalid("subgraph '" + name + "' must have one output");
  n.needSameType({v, results[0]});
  n.needRank(results[0], 4, 4);
  return results[0];
}

/// Softmax and the second product are in `softmax_precision`, by default f32 or wider.
void importFlexAttention(Node &n) {
  Value q = n.in(0), k = n.in(1), v = n.in(2);
  n.needFloat(q);
  n.needSameType({q, k, v});
  for (Value operand : {q, k, v})
    n.needRank(operand, 4, 4);
  Type type = n.elt(q), f32 = n.b().getF32Type();
  Type precision = softmaxType(n).value_or(type.isF64() ? type : Type(f32));
  double scale = applyScale(n, q, k);
  if (precision == type && !n.hasAttr("score_mod") && !n.hasAttr("prob_mod")) {
    n.out(0, n.make<nn::AttentionOp>(q, k, v, Value(), n.f64(scale), n.flag(false), n.flag(false), n.f64(0),
                                     FloatAttr(), nn::EmptyRowsAttr::get(n.ctx(), nn::EmptyRows::zero), n.flag(false)));
    return;
  }
  Scores s(n, q, k, v);
  Value scores = modified(n, "score_mod", n.convert(s.scores(scale), precision));
  Value probability = modified(n, "prob_mod", s.softmax(scores));
  n.out(0, n.convert(s.product(probability, n.convert(v, precision), false), type));
}

} // namespace

void registerAttention(Registry &r) {
  r.add("Attention", 3, 7, importAttention, 4, 23);
  r.add(ruleKey("ai.onnx.preview", "FlexAttention"), 3, 3, importFlexAttention, 1, 1);
}

} // namespace nnopt::onnx

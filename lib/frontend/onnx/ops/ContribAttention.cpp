//===- ContribAttention.cpp - com.microsoft: attention --------------------===//
//
// All of them become nn.attention; padding masks and local windows become a mask operand.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Heads.h"
#include "lib/frontend/onnx/ops/Quantized.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Operands [batch, heads, sequence, size]; `bias` is added to the scores (null: none).
struct Attention {
  Node &n;
  Value q, k, v, bias;
  bool causal = false, hasPast = false;

  Type type() { return n.elt(q); }

  double scale() {
    std::optional<double> given = n.optF("scale");
    if (given && *given != 0)
      return *given;
    if (!n.dim(q, 3).isConst())
      n.unsupported("shape", "the head size must be static, or the scale given");
    return 1 / std::sqrt(double(n.dim(q, 3).value()));
  }

  void addBias(Value more) {
    if (more)
      bias = bias ? n.make<nn::AddOp>(bias, more) : more;
  }

  /// Scores of what a padding mask (int32, in one of several forms) leaves out get `filter` added.
  void addPadding(Value mask, double filter) {
    if (!mask)
      return;
    n.needInt(mask);
    Type i64 = n.b().getI64Type();
    Value visible, wide = n.convert(mask, i64);
    Dim batch = n.dim(q, 0), size = n.dim(mask, 0);
    if (n.rank(mask) == 1) {
      Value keys = n.countTo(n.sizeOf(k, 2));
      auto perBatch = [&](Value v) { return n.unsqueeze(v, {1, 2, 3}); };
      if (size == batch) { // lengths
        visible = n.make<nn::LessOp>(keys, perBatch(wide));
      } else if (size == batch * 2 && batch.isConst()) { // ends, then starts
        int64_t b = batch.value();
        Value end = perBatch(n.slice(wide, 0, 0, b)), start = perBatch(n.slice(wide, 0, b, 2 * b));
        visible = n.make<nn::LogicalAndOp>(n.make<nn::LessOp>(keys, end),
                                           n.make<nn::GreaterOrEqualOp>(keys, start));
      } else {
        n.unsupported("mask", "a mask of one dimension needs one length, or an end and a start, for each "
                              "sequence of a static batch");
      }
    } else if (n.rank(mask) <= 3) { // [batch, keys] or [batch, queries, keys], 0 for padding
      Value given = n.make<nn::GreaterOp>(wide, n.number(0, i64));
      visible = n.unsqueeze(given, n.rank(mask) == 2 ? Ints{1, 2} : Ints{1});
    } else {
      n.unsupported("mask", "masks of rank 4 are not supported");
    }
    addBias(n.make<nn::WhereOp>(visible, n.number(0, type()), n.number(filter, type())));
  }

  /// Puts a stored past before the keys and values.
  void addPast(Value pastK, Value pastV) {
    if (bool(pastK) != bool(pastV))
      n.invalid("past keys and values must come together");
    if (!pastK)
      return;
    n.needRank(pastK, 4, 4);
    n.needRank(pastV, 4, 4);
    k = n.make<nn::ConcatOp>(ValueRange{pastK, k}, n.i64(2));
    v = n.make<nn::ConcatOp>(ValueRange{pastV, v}, n.i64(2));
    hasPast = true;
  }

  Value emit(double softcap = 0) {
    if (bias && n.rank(bias) != 4)
      n.needRank(bias, 4, 4);
    return n.make<nn::AttentionOp>(q, k, v, bias, n.f64(scale()), n.flag(causal), n.flag(causal && hasPast),
                                   n.f64(softcap), FloatAttr(), nn::EmptyRowsAttr::get(n.ctx(), nn::EmptyRows::nan), UnitAttr());
  }
};

int64_t headsOf(Node &n, StringRef attribute = "num_heads") {
  int64_t heads = n.i(attribute);
  if (heads < 1)
    n.invalid("attribute '" + attribute + "' must be positive");
  return heads;
}

void refuse(Node &n, StringRef attribute, const char *reason) {
  if (n.i(attribute, 0) != 0)
    n.unsupported("attribute '" + attribute + "'", reason);
}

/// Attention and QAttention behind the projection: `qkv` is [batch, sequence, q | k | v].
void selfAttention(Node &n, Value qkv, ArrayRef<int64_t> sizes, Value mask, Value past, Value bias) {
  int64_t heads = headsOf(n);
  refuse(n, "do_rotary", "rotary embedding inside is not supported");
  refuse(n, "past_present_share_buffer", "a shared buffer for past and present is not supported");
  n.ignore({"rotary_embedding_dim"});
  auto part = [&](unsigned i) {
    int64_t from = i == 0 ? 0 : i == 1 ? sizes[0] : sizes[0] + sizes[1];
    return splitHeads(n, n.slice(qkv, 2, from, from + sizes[i]), heads);
  };
  Attention a{n, part(0), part(1), part(2), Value()};
  if (past) { // [2, batch, heads, sequence, size]
    n.needRank(past, 5, 5);
    a.addPast(n.squeeze(n.slice(past, 0, 0, 1), {0}), n.squeeze(n.slice(past, 0, 1, 2), {0}));
  }
  if (n.isUsed(1))
    n.out(1, n.make<nn::ConcatOp>(ValueRange{n.unsqueeze(a.k, {0}), n.unsqueeze(a.v, {0})}, n.i64(0)));
  a.causal = n.i("unidirectional", 0);
  a.addBias(bias);
  a.addPadding(mask, n.f("mask_filter_value", -10000));
  n.out(0, mergeHeads(n, a.emit()));
}

/// The sizes of q, k and v in a projection of `all` columns.
Ints projectionSizes(Node &n, Dim all) {
  if (auto given = n.ints("qkv_hidden_sizes")) {
    if (given->size() != 3)
      n.invalid("attribute 'qkv_hidden_sizes' must have 3 entries");
    return *given;
  }
  if (!all.isConst() || all.value() % 3)
    n.unsupported("weights", "their number of columns must be static and a multiple of 3");
  return Ints(3, all.value() / 3);
}

/// input, weights, bias, mask_index, past, attention_bias, past_sequence_length
void importAttention(Node &n) {
  Value x = n.in(0), w = n.in(1);
  n.needFloat(x);
  n.needRank(x, 3, 3);
  n.needRank(w, 2, 2);
  if (n.hasIn(6))
    n.unsupported("input past_sequence_length", "a shared buffer for past and present is not supported");
  Value qkv = n.matmul(x, w, n.optIn(2));
  selfAttention(n, qkv, projectionSizes(n, n.dim(w, 1)), n.optIn(3), n.optIn(4), n.optIn(5));
}

/// input, weight, bias, their scales, mask_index, their zero points, past
void importQAttention(Node &n) {
  Value w = n.in(1);
  n.needRank(n.in(0), 3, 3);
  n.needRank(w, 2, 2);
  Value acc = integerProduct(n, n.in(0), w, n.optIn(6), n.optIn(7));
  Value scale = n.make<nn::MulOp>(n.scalar(n.in(3)), alongAxis(n, n.in(4), 0, 1));
  Value qkv = n.make<nn::AddOp>(n.make<nn::MulOp>(n.convert(acc, n.elt(scale)), scale), n.in(2));
  selfAttention(n, qkv, projectionSizes(n, n.dim(w, 1)), n.optIn(5), n.optIn(8), Value());
}

/// query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value
void importMultiHeadAttention(Node &n) {
  Value q = n.in(0), k = n.optIn(1), v = n.optIn(2), bias = n.optIn(3);
  int64_t heads = headsOf(n);
  n.needFloat(q);
  if (n.hasIn(8) || n.hasIn(9))
    n.unsupported("inputs past_sequence_length and cache_indirection", "shared buffers and beam search are not supported");
  if (n.isUsed(3))
    n.unsupported("output qk", "not supported");
  // [batch, sequence, heads, count, size]: one of `count` packed tensors, as [batch, heads, sequence, size].
  auto unpacked = [&](Value packed, int64_t i) {
    n.needRank(packed, 5, 5);
    return n.transpose(n.squeeze(n.slice(packed, 3, i, i + 1), {3}), {0, 2, 1, 3});
  };
  auto slice = [&](Value all, Dim from, Dim size) {
    if (!from.isConst() || !size.isConst())
      n.unsupported("shape", "hidden sizes must be static where there is a bias");
    return n.slice(all, 0, from.value(), from.value() + size.value());
  };
  auto split = [&](Value x, Value part) {
    return splitHeads(n, part ? n.make<nn::AddOp>(x, part) : x, heads);
  };
  Attention a{n, Value(), Value(), Value(), Value()};
  bool packed = n.rank(q) == 5 || (k && n.rank(k) == 5);
  if (packed && bias)
    n.unsupported("input bias", "not with packed operands");
  if (n.rank(q) == 5) {
    a.q = unpacked(q, 0);
    a.k = unpacked(q, 1);
    a.v = unpacked(q, 2);
  } else {
    n.needRank(q, 3, 3);
    if (!k)
      n.invalid("input key is missing");
    Dim hidden = n.dim(q, 2), zero = n.shapes().constant(0);
    a.q = split(q, bias ? slice(bias, zero, hidden) : Value());
    if (n.rank(k) == 5) {
      a.k = unpacked(k, 0);
      a.v = unpacked(k, 1);
    } else if (!v) {
      n.invalid("input value is missing");
    } else if (n.rank(k) == 4) { // a cache; a bias for it has been added
      a.k = k;
      a.v = v;
    } else {
      a.k = split(k, bias ? slice(bias, hidden, hidden) : Value());
      a.v = split(v, bias ? slice(bias, hidden * 2, n.dim(v, 2)) : Value());
    }
  }
  a.addPast(n.optIn(6), n.optIn(7));
  n.out(1, a.k);
  n.out(2, a.v);
  a.causal = n.i("unidirectional", 0);
  a.addBias(n.optIn(5));
  a.addPadding(n.optIn(4), n.f("mask_filter_value", -10000));
  n.out(0, mergeHeads(n, a.emit()));
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

/// query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache, sin_cache,
/// position_ids, attention_bias, head_sink, k_scale, v_scale, q_norm_weight, k_norm_weight, query_seqlens
struct GroupQuery {
  Node &n;
  Attention a;
  int64_t heads, keyHeads;
  Type i64;
  Value past; ///< i64 [batch] or [1]: how many keys each sequence has before these

  explicit GroupQuery(Node &n)
      : n(n), a{n, n.in(0), n.optIn(1), n.optIn(2), Value()}, heads(headsOf(n)),
        keyHeads(headsOf(n, "kv_num_heads")), i64(n.b().getI64Type()) {}

  void readOperands() {
    n.needFloat(a.q);
    n.needRank(a.q, 3, 3);
    if (heads % keyHeads)
      n.invalid("num_heads is no multiple of kv_num_heads");
    for (StringRef type : {"k_quant_type", "v_quant_type"})
      if (n.s(type, "NONE") != "NONE")
        n.unsupported("attribute '" + type + "'", "a quantized cache is not supported");
    n.ignore({"kv_cache_bit_width", "qk_norm_epsilon"});
    refuse(n, "sliding_window_cache", "a cache of the size of the window is not supported");
    refuse(n, "qk_output", "not supported");
    if (n.hasIn(12) || n.hasIn(13))
      n.unsupported("inputs k_scale and v_scale", "a quantized cache is not supported");
    if (n.hasIn(16))
      n.unsupported("input query_seqlens", "not supported");
    if (!a.k) { // packed: query | key | value
      Dim all = n.dim(a.q, 2);
      if (!all.isConst() || all.value() % (heads + 2 * keyHeads))
        n.unsupported("shape", "packed operands need a static hidden size");
      int64_t size = all.value() / (heads + 2 * keyHeads), q = heads * size, k = keyHeads * size;
      Value packed = a.q;
      a.q = n.slice(packed, 2, 0, q);
      a.k = n.slice(packed, 2, q, q + k);
      a.v = n.slice(packed, 2, q + k, q + 2 * k);
    }
    a.q = splitHeads(n, a.q, heads);
    a.k = splitHeads(n, a.k, keyHeads);
    a.v = splitHeads(n, a.v, keyHeads);
    if (n.hasIn(14)) {
      double epsilon = n.f("qk_norm_epsilon", 1e-6f);
      a.q = n.make<nn::RMSNormOp>(a.q, n.in(14), n.i64(3), n.f64(n.f("q_norm_epsilon", epsilon)));
      a.k = n.make<nn::RMSNormOp>(a.k, n.in(15), n.i64(3), n.f64(n.f("k_norm_epsilon", epsilon)));
    }
  }

  /// seqlens_k holds the number of keys minus 1. In the first step, where the whole is as long as the
  /// operands, there is no past; shorter sequences of the batch are padded at their end.
  void readLengths() {
    if (!n.hasIn(3)) {
      past = n.intsConstant({0});
      return;
    }
    n.needRank(n.in(5), 1, 2);
    Value lengths = n.reshape(n.convert(n.in(5), i64), {-1});
    Value total = n.convert(n.scalar(n.in(6)), i64), queries = n.sizeOf(a.q, 2);
    Value before = n.make<nn::SubOp>(n.make<nn::AddOp>(lengths, n.intConstant(1)), queries);
    Value zero = n.intConstant(0);
    past = n.make<nn::WhereOp>(n.make<nn::EqualOp>(total, queries), zero, before);
  }

  /// i64 [batch, queries].
  Value positions() {
    return n.make<nn::AddOp>(n.unsqueeze(past, {1}), n.countTo(n.sizeOf(a.q, 2)));
  }

  void applyRotary() {
    if (!n.i("do_rotary", 0)) {
      n.ignore({"rotary_interleaved"});
      return;
    }
    bool interleaved = n.i("rotary_interleaved", 0);
    Value cos = n.in(7), sin = n.in(8);
    n.needRank(cos, 2, 2);
    n.needRank(sin, 2, 2);
    if (!n.dim(cos, 1).isConst())
      n.unsupported("shape", "the rotary dimension must be static");
    Value at = n.hasIn(9) ? n.in(9) : positions();
    int64_t part = 2 * n.dim(cos, 1).value();
    cos = n.make<nn::GatherOp>(cos, at, n.i64(0));
    sin = n.make<nn::GatherOp>(sin, at, n.i64(0));
    a.q = rotate(n, a.q, cos, sin, part, interleaved);
    a.k = rotate(n, a.k, cos, sin, part, interleaved);
  }

  /// The cache with the new keys (values) behind the past of each sequence. Its length is the larger of
  /// that of the cache and the total.
  Value present(Value cache, Value fresh) {
    if (!cache)
      return fresh;
    n.needRank(cache, 4, 4);
    Value room = n.sizeOf(cache, 2), total = n.convert(n.scalar(n.in(6)), i64);
    Value keys = n.countTo(n.make<nn::MaxOp>(room, total)), own = n.unsqueeze(past, {1});
    // Key j is key j of the cache, or key j - past of the new ones, which lie behind the cache.
    Value behind = n.make<nn::AddOp>(n.make<nn::SubOp>(keys, own), room);
    Value from = n.make<nn::WhereOp>(n.make<nn::LessOp>(keys, own), keys, behind);
    // What lies behind the new keys is not defined: any key will do.
    Value last = n.make<nn::SubOp>(n.make<nn::AddOp>(room, n.sizeOf(fresh, 2)), n.intConstant(1));
    from = n.make<nn::MinOp>(from, last);
    Value all = n.make<nn::ConcatOp>(ValueRange{cache, fresh}, n.i64(2));
    Value bySequence = n.transpose(all, {0, 2, 1, 3});
    Value picked = n.make<nn::GatherNDOp>(bySequence, n.unsqueeze(from, {2}), n.i64(1));
    return n.transpose(picked, {0, 2, 1, 3});
  }

  /// What the queries may see, as a bool [batch, 1, queries, keys].
  Value visible() {
    int64_t window = n.i("local_window_size", -1);
    Value keys = n.countTo(n.sizeOf(a.k, 2)), at = n.unsqueeze(positions(), {1, 3});
    Value seen = n.make<nn::LessOrEqualOp>(keys, at);
    if (!n.i("causal", 1)) {
      Value end = n.make<nn::AddOp>(past, n.sizeOf(a.q, 2));
      seen = n.make<nn::LessOp>(keys, n.unsqueeze(end, {1, 2, 3}));
    }
    if (window >= 0)
      seen = n.make<nn::LogicalAndOp>(
          seen, n.make<nn::GreaterOp>(keys, n.make<nn::SubOp>(at, n.intConstant(window))));
    return seen;
  }

  /// A sink takes part in the softmax of its head but has no value: a key of zeros whose score is
  /// added.
  void addSink(Value sink) {
    if (!n.dim(a.k, 1).isConst() || !n.dim(a.k, 3).isConst())
      n.unsupported("shape", "a sink needs static heads");
    auto modeZero = nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant);
    Value pads = n.intsConstant({0, 0, 0, 0, 0, 0, 1, 0});
    a.k = n.make<nn::PadOp>(a.k, pads, Value(), Value(), modeZero);
    a.v = n.make<nn::PadOp>(a.v, pads, Value(), Value(), modeZero);
    // The mask, as large as the scores, with the sinks behind the last key.
    Value zero = n.number(0, a.type());
    Value rows = n.make<nn::ConcatOp>(ValueRange{n.shapeOf(a.q, 0, 3), n.intsConstant({1})}, n.i64(0));
    sink = n.make<nn::ExpandOp>(sink ? n.reshape(sink, {1, heads, 1, 1}) : zero, rows);
    Value keys = n.make<nn::SubOp>(n.shapeOf(a.k, 2, 3), n.intsConstant({1}));
    Value scores = n.make<nn::ConcatOp>(ValueRange{n.shapeOf(a.q, 0, 3), keys}, n.i64(0));
    Value others = n.make<nn::ExpandOp>(a.bias, scores);
    a.bias = n.make<nn::ConcatOp>(ValueRange{others, sink}, n.i64(3));
  }

  void run() {
    readOperands();
    readLengths();
    applyRotary();
    a.k = present(n.optIn(3), a.k);
    a.v = present(n.optIn(4), a.v);
    n.out(1, a.k);
    n.out(2, a.v);
    Value sink = n.optIn(11);
    bool smooth = n.i("smooth_softmax", 0) > 0;
    Value bias = n.optIn(10);
    if (!n.hasIn(3) && !bias && !sink && !smooth && n.i("local_window_size", -1) < 0) {
      a.causal = n.i("causal", 1);
      n.out(0, mergeHeads(n, a.emit(n.f("softcap", 0))));
      return;
    }
    Value mask = visible();
    if (bias || sink || smooth) {
      Value hidden = n.number(-std::numeric_limits<double>::infinity(), a.type());
      if (!bias)
        bias = n.number(0, a.type());
      // A bias covers the total, the cache may be longer.
      a.bias = n.make<nn::WhereOp>(mask, coverKeys(bias), hidden);
    } else {
      a.bias = mask;
    }
    if (sink || smooth)
      addSink(sink);
    n.out(0, mergeHeads(n, a.emit(n.f("softcap", 0))));
  }

  Value coverKeys(Value bias) {
    if (n.rank(bias) != 4 || n.dim(bias, 3) == n.dim(a.k, 2))
      return bias;
    Value missing = n.make<nn::SubOp>(n.shapeOf(a.k, 2, 3), n.shapeOf(bias, 3, 4));
    Value pads = n.make<nn::ConcatOp>(ValueRange{n.intsConstant(Ints(7, 0)), missing}, n.i64(0));
    return n.make<nn::PadOp>(bias, pads, Value(), Value(),
                             nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
  }
};

/// input, position_ids, cos_cache, sin_cache. Positions are an offset or one for each element.
void importRotaryEmbedding(Node &n) {
  Value x = n.in(0), positions = n.in(1), cos = n.in(2), sin = n.in(3);
  n.needFloat(x);
  n.needSameType({x, cos, sin});
  n.needRank(x, 3, 4);
  n.needRank(cos, 2, 2);
  n.needRank(sin, 2, 2);
  n.needInt(positions);
  refuse(n, "is_packed_batching", "not supported");
  if (n.f("scale", 1) != 1)
    n.unsupported("attribute 'scale'", "only 1 is supported");
  bool merged = n.rank(x) == 3;
  int64_t heads = n.i("num_heads", 0), part = n.i("rotary_embedding_dim", 0);
  if (!n.dim(cos, 1).isConst())
    n.unsupported("shape", "the rotary dimension must be static");
  int64_t rotary = 2 * n.dim(cos, 1).value();
  if (part && part != rotary)
    n.invalid("rotary_embedding_dim does not fit the caches");
  if (merged) {
    Dim hidden = n.dim(x, 2);
    if (part == 0) { // heads as large as what is rotated
      if (!hidden.isConst() || hidden.value() % rotary)
        n.unsupported("shape", "the hidden size must be static and a multiple of the head size");
      heads = hidden.value() / rotary;
    }
    if (heads < 1)
      n.invalid("rotary_embedding_dim needs num_heads");
    x = splitHeads(n, x, heads);
  }
  if (n.rank(positions) == 1)
    positions = n.unsqueeze(
        n.make<nn::AddOp>(n.convert(positions, n.b().getI64Type()), n.countTo(n.sizeOf(x, 2))), {0});
  cos = n.make<nn::GatherOp>(cos, positions, n.i64(0));
  sin = n.make<nn::GatherOp>(sin, positions, n.i64(0));
  Value y = rotate(n, x, cos, sin, rotary, n.i("interleaved", 0));
  n.out(0, merged ? mergeHeads(n, y) : y);
}

} // namespace

void registerContribAttention(Registry &r) {
  r.add("com.microsoft.Attention", 2, 7, importAttention, 2, 1);
  r.add("com.microsoft.QAttention", 5, 9, importQAttention, 2, 1);
  r.add("com.microsoft.MultiHeadAttention", 1, 10, importMultiHeadAttention, 4, 1);
  r.add("com.microsoft.GroupQueryAttention", 7, 17, [](Node &n) { GroupQuery(n).run(); }, 4, 1);
  r.add("com.microsoft.RotaryEmbedding", 4, 4, importRotaryEmbedding, 1, 1);
}

} // namespace nnopt::onnx

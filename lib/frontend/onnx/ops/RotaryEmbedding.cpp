//===- RotaryEmbedding.cpp - import rule of RotaryEmbedding ---------------===//
#include "lib/frontend/onnx/ops/Heads.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
/// From primitive operations.
Value rotate(Node &n, Value x, Value cos, Value sin, std::optional<int64_t> given, bool interleaved) {
  constexpr int64_t all = std::numeric_limits<int64_t>::max();
  // A size that is not known is more than any number: slices end where it does.
  int64_t size = n.dim(x, 3).isConst() ? n.dim(x, 3).value() : all, part = given.value_or(size);
  // [batch, 1, sequence, part / 2] against x's [batch, heads, sequence, ...].
  cos = n.unsqueeze(cos, {1});
  sin = n.unsqueeze(sin, {1});
  Value rotated = part == size ? x : n.slice(x, 3, 0, part);
  int64_t half = part / 2;
  Value a, b;
  if (interleaved) {
    a = n.slice(rotated, 3, 0, part, 2);
    b = n.slice(rotated, 3, 1, part, 2);
  } else if (part == all) {
    auto halves = n.makeN<nn::SplitOp>(2, rotated, Value(), n.i64(3));
    a = halves[0];
    b = halves[1];
  } else {
    a = n.slice(rotated, 3, 0, half);
    b = n.slice(rotated, 3, half, part);
  }
  Value real = n.make<nn::SubOp>(n.make<nn::MulOp>(cos, a), n.make<nn::MulOp>(sin, b));
  Value imaginary = n.make<nn::AddOp>(n.make<nn::MulOp>(sin, a), n.make<nn::MulOp>(cos, b));
  Value y;
  if (interleaved) {
    Value pairs = n.make<nn::ConcatOp>(
        ValueRange{n.unsqueeze(real, {4}), n.unsqueeze(imaginary, {4})}, n.i64(4));
    y = n.reshape(pairs, {0, 0, 0, part == all ? -1 : part});
  } else {
    y = n.make<nn::ConcatOp>(ValueRange{real, imaginary}, n.i64(3));
  }
  if (part != size)
    y = n.make<nn::ConcatOp>(ValueRange{y, n.slice(x, 3, part, size)}, n.i64(3));
  return y;
}

namespace {

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
  Dim size = n.dim(x, 3);
  int64_t turned = part == 0 && size.isConst() ? size.value() : part;
  if (turned < 0 || turned % 2 != 0 || (size.isConst() && turned > size.value()))
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
  Value y = rotate(n, x, cos, sin, part ? std::optional(part) : std::nullopt, interleaved);
  n.out(0, merged ? mergeHeads(n, y) : y);
}

} // namespace

void registerRotaryEmbedding(Registry &r) {
  r.add("RotaryEmbedding", 3, 4, importRotaryEmbedding, 1, 23);
}

} // namespace nnopt::onnx

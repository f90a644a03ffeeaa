//===- NarrowMatrix.cpp - weights in fewer bits, in registers ---------------===//

#include "lib/codegen/cuda/NarrowMatrix.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cuda {

constexpr double toFloatBase = 8388608; // 2^23
constexpr int64_t toFloatBits = 0x4b000000;

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

NarrowCodes::NarrowCodes(const nn::NarrowWeights &w) {
  Type type = nn::elementTypeOf(w.values.getType());
  bits = w.isFloat() ? 16 : type.getIntOrFloatBitWidth() <= 4 ? 4 : 8;
  offset = w.isFloat() || type.isUnsignedInteger() ? 0 : int64_t(1) << (bits - 1);
}

NarrowCodes::Parameters NarrowCodes::parameters(Lowering &l, const nn::NarrowWeights &w, int64_t count,
                                                function_ref<int64_t(int64_t, int64_t)> at) const {
  nn::ConstantData scale = *l.constant(w.scale);
  std::optional<nn::ConstantData> zero = w.zero ? l.constant(w.zero) : std::nullopt;
  Parameters p{std::vector<float>(count), std::vector<float>(count), true};
  std::optional<float> first;
  for (int64_t n = 0; n < w.columns; ++n)
    for (int64_t g = 0; g < w.groups(); ++g) {
      p.scales[at(g, n)] = float(scale.asDouble(w.scaleAt(g, n)));
      int64_t z = offset + (zero ? zero->asInt(w.zeroAt(g, n)) : 0);
      float base = float(toFloatBase + double(z)); // exact
      p.bases[at(g, n)] = base;
      first = first.value_or(base);
      p.equalBases &= base == *first;
    }
  return p;
}

Value NarrowCodes::widened(Kernel &k, Value word, Value base) const {
  auto constant = [&](int64_t v) -> Value { return arith::ConstantIntOp::create(k.b, k.loc, v, 32); };
  word = arith::AndIOp::create(k.b, k.loc, word, constant((1 << bits) - 1));
  word = arith::OrIOp::create(k.b, k.loc, word, constant(toFloatBits));
  return cpu::fsub(k, arith::BitcastOp::create(k.b, k.loc, k.b.getF32Type(), word), base);
}

//===----------------------------------------------------------------------===//
// The matrix
//===----------------------------------------------------------------------===//

NarrowMatrix::NarrowMatrix(Kernel &k, const nn::NarrowWeights &w)
    : k(k), codes(w), depth(w.depth), group(w.group), groups(w.groups()), padded(llvm::alignTo(depth, 32)) {
  w.isFloat() ? packFloats(w) : packIntegers(w);
}

void NarrowMatrix::packFloats(const nn::NarrowWeights &w) {
  nn::ConstantData data = *k.lowering.constant(w.values);
  std::vector<char> packed(w.columns * padded * 2);
  for (int64_t n = 0; n < w.columns; ++n)
    for (int64_t d = 0; d < depth; ++d)
      std::memcpy(&packed[(n * padded + d) * 2], data.bytes().data() + w.at(d, n) * 2, 2);
  matrix = k.weights(packed, nn::elementTypeOf(w.values.getType()), {w.columns * padded});
}

void NarrowMatrix::packIntegers(const nn::NarrowWeights &w) {
  nn::ConstantData data = *k.lowering.constant(w.values);
  std::vector<char> packed(w.columns * padded * codes.bits / 8);
  for (int64_t n = 0; n < w.columns; ++n)
    for (int64_t d = 0; d < depth; ++d) {
      int64_t at = n * padded + d;
      packed[at * codes.bits / 8] |= char(codes.code(data.bytes(), w.at(d, n)) << (codes.bits == 4 ? at % 2 * 4 : 0));
    }
  matrix = k.weights(packed, k.b.getI32Type(), {int64_t(packed.size()) / 4});
  NarrowCodes::Parameters p =
      codes.parameters(k.lowering, w, w.columns * groups, [&](int64_t g, int64_t n) { return n * groups + g; });
  scales = k.weights(p.scales);
  if (p.equalBases)
    base = k.f32(p.bases[0]);
  else
    bases = k.weights(p.bases);
}

int64_t NarrowMatrix::lanes() const {
  for (int64_t n = codes.bits == 16 ? 8 : 16; n > 1; n /= 2)
    if (depth % n == 0 && (group == depth || group % n == 0))
      return n;
  return 1;
}

NarrowMatrix::Parameters NarrowMatrix::parameters(Ix column, Ix position) {
  if (!scales)
    return {};
  Ix at = column * groups + (groups == 1 ? k.c(0) : position / group);
  return {k.load(*scales, at), bases ? k.load(*bases, at) : base};
}

SmallVector<Value> NarrowMatrix::load(Ix column, Ix position, int64_t count, const Parameters &p) {
  SmallVector<Value> values;
  Ix at = column * padded + position;
  if (!scales) {
    for (Value v : k.loadLanes(matrix, at, count))
      values.push_back(k.toFloat(v));
    return values;
  }
  int64_t perWord = 32 / codes.bits, words = std::max<int64_t>(1, count / perWord);
  // Fewer than a word's weights may be any of it.
  Value shift;
  if (count < perWord)
    shift = arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), Value(at % perWord * codes.bits));
  for (Value word : k.loadLanes(matrix, at / perWord, words)) {
    if (shift)
      word = arith::ShRUIOp::create(k.b, k.loc, word, shift);
    for (int64_t i = 0; i < std::min(count, perWord); ++i) {
      Value code = word;
      if (i)
        code = arith::ShRUIOp::create(k.b, k.loc, word, k.constant(k.b.getI32Type(), double(i * codes.bits)));
      values.push_back(codes.widened(k, code, p.base));
    }
  }
  return values;
}

SmallVector<Value> NarrowMatrix::loadScaled(Ix column, Ix position, int64_t count) {
  Parameters p = parameters(column, position);
  SmallVector<Value> values = load(column, position, count, p);
  for (Value &v : values)
    v = p.scale ? cpu::fmul(k, v, p.scale) : v;
  return values;
}

} // namespace nnopt::cuda

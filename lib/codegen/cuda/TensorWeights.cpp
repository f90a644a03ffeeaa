//===- TensorWeights.cpp - constant operands of tensor cores ----------------===//

#include "lib/codegen/cuda/TensorWeights.h"

using namespace mlir;
using NVVM::MMATypes;

namespace nnopt::cuda {

/// Unsigned weights with this zero point are moved by it, and are signed ones without.
static constexpr int64_t middle = 128;

static bool canMove(const MmaTypes &types, const nn::ConstantData &zero) {
  if (types.right != MMATypes::u8)
    return false;
  for (int64_t i = 0; i < zero.size(); ++i)
    if (zero.asInt(i) != middle)
      return false;
  return true;
}

bool needsRowSums(const MmaTypes &types, const nn::ConstantData &zero) {
  bool all = true;
  for (int64_t i = 0; i < zero.size(); ++i)
    all &= zero.asInt(i) == 0;
  return !all && !canMove(types, zero);
}

TensorWeights::TensorWeights(MmaTypes &types, const nn::ConstantData &data, int64_t products,
                             int64_t n, int64_t depth, const TensorTile &tile,
                             function_ref<int64_t(int64_t, int64_t, int64_t)> at,
                             const nn::ConstantData *zero)
    : elementBytes(types.elementBytes()), n(n),
      filledColumns(llvm::alignTo(n, tile.columns)),
      filledDepth(llvm::alignTo(depth * elementBytes, tile.depthBytes) / elementBytes) {
  bool moved = zero && canMove(types, *zero);
  if (moved)
    types.right = MMATypes::s8;
  if (types.isInteger()) {
    if (zero && !moved && needsRowSums(types, *zero))
      for (int64_t i = 0; i < products * n; ++i)
        zeros.push_back(zero->asInt(zero->size() == 1 ? 0 : i % zero->size()));
    sums.resize(products * n);
  }
  // At least what one copy reads, where there is nothing.
  bytes.resize(std::max<int64_t>(16, products * filledColumns * filledDepth * elementBytes));
  const char *from = data.bytes().data();
  for (int64_t product = 0; product < products; ++product)
    for (int64_t column = 0; column < n; ++column) {
      char *to = bytes.data() + (product * filledColumns + column) * filledDepth * elementBytes;
      for (int64_t d = 0; d < depth; ++d, to += elementBytes) {
        std::memcpy(to, from + at(product, column, d) * elementBytes, elementBytes);
        if (types.isTf32()) {
          uint32_t word;
          std::memcpy(&word, to, 4);
          word = roundedToTf32(word);
          std::memcpy(to, &word, 4);
        }
        if (!types.isInteger())
          continue;
        if (moved)
          *to ^= char(middle);
        int32_t value = types.right == MMATypes::s8 ? int32_t(int8_t(*to)) : int32_t(uint8_t(*to));
        sums[product * n + column] += value - (zeros.empty() ? 0 : zeros[product * n + column]);
      }
    }
}

TensorOperand TensorWeights::operand(Kernel &k, Ix index) const {
  TensorOperand operand;
  Type type = k.b.getIntegerType(8 * elementBytes);
  operand.buffer = k.weights(bytes, type, {int64_t(bytes.size()) / elementBytes});
  operand.piece = 16;
  int64_t depth = filledDepth;
  Ix first = index * filledColumns;
  operand.prepare = [depth, first](Ix x) -> SmallVector<Ix> { return {(first + x) * depth}; };
  operand.locate = [](ArrayRef<Ix> prepared, Ix depth) {
    return std::pair(prepared[0] + depth, Value());
  };
  return operand;
}

TensorWeights::Terms::Terms(Kernel &k, const TensorWeights &w, Value zero, bool ofRows,
                            bool ofColumns)
    : k(k), n(w.n) {
  auto table = [&](const std::vector<int32_t> &values) {
    return k.weights(ArrayRef(reinterpret_cast<const char *>(values.data()), values.size() * 4),
                     k.b.getI32Type(), {int64_t(values.size())});
  };
  if (ofRows && w.hasZeros())
    zeros = table(w.zeros);
  if (!ofColumns || !zero || w.sums.empty())
    return;
  std::vector<int32_t> terms = w.sums;
  if (std::optional<nn::ConstantData> known = k.lowering.constant(zero)) {
    if (known->asInt(0) == 0)
      return;
    for (int32_t &term : terms)
      term = int32_t(uint32_t(term) * uint32_t(-known->asInt(0)));
  } else {
    Buffer buffer = k.read(zero);
    Value v = k.load(buffer, k.c(0));
    Type i32 = k.b.getI32Type();
    v = buffer.isUnsigned ? arith::ExtUIOp::create(k.b, k.loc, i32, v).getResult()
                          : arith::ExtSIOp::create(k.b, k.loc, i32, v).getResult();
    xZero = arith::SubIOp::create(k.b, k.loc, k.constant(i32, 0), v);
  }
  columns = table(terms);
}

void TensorWeights::Terms::add(Ix index, Ix column, Value rowSum, MutableArrayRef<Value> sums) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Ix at = index * n + column + i;
    if (zeros) {
      Value product = arith::MulIOp::create(k.b, k.loc, k.load(*zeros, at), rowSum);
      sum = arith::SubIOp::create(k.b, k.loc, sum, product);
    }
    if (columns) {
      Value term = k.load(*columns, at);
      if (xZero)
        term = arith::MulIOp::create(k.b, k.loc, term, xZero);
      sum = arith::AddIOp::create(k.b, k.loc, sum, term);
    }
  }
}

} // namespace nnopt::cuda

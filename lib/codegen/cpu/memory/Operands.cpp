//===- Operands.cpp - elements of small integer operands --------------------===//

#include "lib/codegen/cpu/memory/Operands.h"

using namespace mlir;

namespace nnopt::cpu {

IntOperand::IntOperand(Kernel &k, Value v) : k(k), known(k.lowering.shapes.content(v)) {
  if (!known)
    buf = k.read(v);
}

Ix IntOperand::operator[](int64_t i) const {
  return known ? k.dim((*known)[i]) : k.toIndex(k.load(buf, k.c(i)), buf.isUnsigned);
}

std::optional<int64_t> operandSize(Lowering &l, Value v) {
  nn::Dim n = l.numElements(v);
  return n && n.isConst() ? std::optional<int64_t>(n.value()) : std::nullopt;
}

SmallVector<Ix> entriesByAxis(Kernel &k, Value axes, int64_t count, int64_t rank, Ix otherwise,
                              function_ref<Ix(int64_t)> entry) {
  SmallVector<Ix> result(rank, otherwise);
  if (!axes) {
    for (int64_t i = 0; i < std::min(count, rank); ++i)
      result[i] = entry(i);
    return result;
  }
  auto known = k.lowering.shapes.constantContent(axes);
  std::optional<IntOperand> operand;
  if (!known)
    operand.emplace(k, axes);
  for (int64_t i = 0; i < count; ++i) {
    Ix value = entry(i);
    if (known) {
      int64_t axis = (*known)[i] < 0 ? (*known)[i] + rank : (*known)[i];
      if (axis >= 0 && axis < rank)
        result[axis] = value;
      continue;
    }
    Ix axis = (*operand)[i];
    axis = k.selectIx(axis < 0, axis + rank, axis);
    for (int64_t d = 0; d < rank; ++d)
      result[d] = k.selectIx(axis == d, value, result[d]);
  }
  return result;
}

} // namespace nnopt::cpu

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

FailureOr<SmallVector<int64_t>> operandAxes(Operation *op, Lowering &l, Value axes, int64_t count, int64_t rank) {
  SmallVector<int64_t> result;
  if (!axes) {
    for (int64_t i = 0; i < count; ++i)
      result.push_back(i);
    return result;
  }
  auto content = l.shapes.constantContent(axes);
  if (!content) {
    op->emitError("axes that are known only at run time are not supported");
    return failure();
  }
  for (int64_t axis : *content)
    result.push_back(axis < 0 ? axis + rank : axis);
  return result;
}

} // namespace nnopt::cpu

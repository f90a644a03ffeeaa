//===- Movement.cpp - operations that move elements -----------------------===//
#include "passes/common/Movement.h"

using namespace mlir;

namespace nnopt {

SmallVector<OpOperand *> movedOperands(Operation *op) {
  if (auto concat = dyn_cast<nn::ConcatOp>(op))
    return llvm::map_to_vector(concat.getInputsMutable(), [](OpOperand &o) { return &o; });
  if (isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::FlattenOp>(op))
    return {&op->getOpOperand(0)};
  if (auto pool = dyn_cast<nn::MaxPoolOp>(op); pool && (!pool.getIndices() || pool.getIndices().use_empty()))
    return {&op->getOpOperand(0)};
  return {};
}

} // namespace nnopt

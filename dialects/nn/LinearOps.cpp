//===- LinearOps.cpp - the LinearOp interface of contractions -------------===//
#include "dialects/nn/NN.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nnopt::nn {

static int64_t rankOf(Value v) { return cast<RankedTensorType>(v.getType()).getRank(); }

/// Clones attributes and epilogue; operands are activation, weight, bias, zero points, epilogue
/// arguments.
template <typename Contraction>
static LinearOp cloneContraction(Contraction op, OpBuilder &b, Location loc, Value activation,
                                 Value weight, Value bias) {
  OperationState state(loc, op->getName());
  state.addOperands({activation, weight});
  if (bias)
    state.addOperands(bias);
  state.addOperands(op->getOperands().drop_front(op.getBias() ? 3 : 2));
  state.addTypes(op->getResultTypes());
  state.addAttributes(op->getDiscardableAttrDictionary().getValue());
  typename Contraction::Properties &properties =
      state.getOrAddProperties<typename Contraction::Properties>();
  properties = op.getProperties();
  properties.operandSegmentSizes[2] = bias ? 1 : 0;
  Region *epilogue = state.addRegion();
  IRMapping mapping;
  op.getEpilogue().cloneInto(epilogue, mapping);
  return cast<LinearOp>(b.create(state));
}

//===----------------------------------------------------------------------===//
// conv: x [N, C, ...] or [N, ..., C], w [M, C / group, ...]
//===----------------------------------------------------------------------===//

OpOperand &ConvOp::getActivationMutable() { return getXMutable(); }
OpOperand &ConvOp::getWeightMutable() { return getWMutable(); }
int64_t ConvOp::getInChannelAxis() { return getChannelsLast() ? rankOf(getX()) - 1 : 1; }
int64_t ConvOp::getOutChannelAxis() { return getInChannelAxis(); }
int64_t ConvOp::getWeightInAxis() { return 1; }
int64_t ConvOp::getWeightOutAxis() { return 0; }
int64_t ConvOp::getGroups() { return getGroup(); }
bool ConvOp::areGroupsAlongWeightOut() { return true; }
LinearOp ConvOp::cloneWith(OpBuilder &b, Location loc, Value activation, Value weight, Value bias) {
  return cloneContraction(*this, b, loc, activation, weight, bias);
}

//===----------------------------------------------------------------------===//
// conv_transpose: w [C, M / group, ...]
//===----------------------------------------------------------------------===//

OpOperand &ConvTransposeOp::getActivationMutable() { return getXMutable(); }
OpOperand &ConvTransposeOp::getWeightMutable() { return getWMutable(); }
int64_t ConvTransposeOp::getInChannelAxis() { return getChannelsLast() ? rankOf(getX()) - 1 : 1; }
int64_t ConvTransposeOp::getOutChannelAxis() { return getInChannelAxis(); }
int64_t ConvTransposeOp::getWeightInAxis() { return 0; }
int64_t ConvTransposeOp::getWeightOutAxis() { return 1; }
int64_t ConvTransposeOp::getGroups() { return getGroup(); }
bool ConvTransposeOp::areGroupsAlongWeightOut() { return false; }
LinearOp ConvTransposeOp::cloneWith(OpBuilder &b, Location loc, Value activation, Value weight,
                                    Value bias) {
  return cloneContraction(*this, b, loc, activation, weight, bias);
}

//===----------------------------------------------------------------------===//
// matmul: a [..., M, K], b [..., K, N], either with its last two dimensions swapped
//===----------------------------------------------------------------------===//

OpOperand &MatMulOp::getActivationMutable() { return getAMutable(); }
OpOperand &MatMulOp::getWeightMutable() { return getBMutable(); }
int64_t MatMulOp::getInChannelAxis() { return rankOf(getA()) - (getTransposeA() ? 2 : 1); }
int64_t MatMulOp::getOutChannelAxis() { return rankOf(getResult()) - 1; }
int64_t MatMulOp::getWeightInAxis() {
  int64_t rank = rankOf(getB());
  return rank < 2 ? 0 : rank - (getTransposeB() ? 1 : 2);
}
int64_t MatMulOp::getWeightOutAxis() {
  int64_t rank = rankOf(getB());
  return rank < 2 ? -1 : rank - (getTransposeB() ? 2 : 1);
}
int64_t MatMulOp::getGroups() { return 1; }
bool MatMulOp::areGroupsAlongWeightOut() { return true; }
LinearOp MatMulOp::cloneWith(OpBuilder &b, Location loc, Value activation, Value weight,
                             Value bias) {
  return cloneContraction(*this, b, loc, activation, weight, bias);
}

} // namespace nnopt::nn

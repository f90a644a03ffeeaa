//===- AxisDependencyContractions.cpp - axes of contractions and cells ----===//
#include "dialects/nn/NN.h"

using namespace mlir;

namespace nnopt::nn {

/// Ties dimension 0 of operands [first, first + count), vectors, to `axis`.
static void tieVectors(std::pair<unsigned, unsigned> operands, Axis axis, AxisTies &ties) {
  for (unsigned o = operands.first; o < operands.first + operands.second; ++o)
    if (ties.size(AxisTies::operand(o, 0)) != 1)
      ties.tie(AxisTies::operand(o, 0), axis);
}

/// Convolutions. Of one that is grouped whole groups can go: with them their in and their out channels.
template <typename Conv> static void tieConv(Conv op, AxisTies &ties) {
  int64_t channels = op.getInChannelAxis(), groups = op.getGroups();
  Axis x = AxisTies::operand(0, channels), y = AxisTies::result(0, channels);
  Axis in = AxisTies::operand(1, op.getWeightInAxis()), out = AxisTies::operand(1, op.getWeightOutAxis());
  auto epilogueArgs = op.getODSOperandIndexAndLength(Conv::odsIndex_epilogue_args);
  ties.tieBroadcast(epilogueArgs.first, epilogueArgs.second);
  ties.tie(AxisTies::operand(0, 0), AxisTies::result(0, 0));
  if (op.getSecond())
    for (int64_t d = 0, e = ties.rank(y); d < e; ++d)
      ties.tie(AxisTies::result(0, d), AxisTies::result(1, d));
  tieVectors(op.getODSOperandIndexAndLength(Conv::odsIndex_bias), y, ties);
  if constexpr (std::is_same_v<Conv, ConvOp>)
    tieVectors(op.getODSOperandIndexAndLength(Conv::odsIndex_w_zero), y, ties);
  if (groups == 1) {
    ties.contract(x, in);
    ties.tie(out, y);
    return;
  }
  Axis group = ties.own(groups), all = op.areGroupsAlongWeightOut() ? out : in;
  if (ShapedType::isDynamic(ties.size(x)) || ShapedType::isDynamic(ties.size(y)))
    return;
  ties.tieBlocks(x, group, ties.size(x) / groups);
  ties.tieBlocks(y, group, ties.size(y) / groups);
  ties.tieBlocks(all, group, ties.size(all) / groups);
}

/// The number of groups that is left.
template <typename Conv> static void narrowConv(Conv op, KeptIndices kept) {
  if (op.getGroups() != 1)
    op.setGroup(kept(Axis{Axis::Of::Own, 0, 0}).size());
}

void ConvOp::tieAxes(AxisTies &ties) { tieConv(*this, ties); }
void ConvOp::narrow(OpBuilder &, KeptIndices kept) { narrowConv(*this, kept); }
void ConvTransposeOp::tieAxes(AxisTies &ties) { tieConv(*this, ties); }
void ConvTransposeOp::narrow(OpBuilder &, KeptIndices kept) { narrowConv(*this, kept); }

void MatMulOp::tieAxes(AxisTies &ties) {
  int64_t aRank = ties.shapeContext().rank(getA()), bRank = ties.shapeContext().rank(getB());
  int64_t rank = ties.shapeContext().rank(getResult());
  ties.contract(AxisTies::operand(0, getInChannelAxis()), AxisTies::operand(1, getWeightInAxis()));
  Axis columns = AxisTies::result(0, rank - 1);
  if (bRank > 1) {
    ties.tie(AxisTies::operand(1, getWeightOutAxis()), columns);
    tieVectors(getODSOperandIndexAndLength(odsIndex_bias), columns, ties);
    tieVectors(getODSOperandIndexAndLength(odsIndex_b_zero), columns, ties);
  }
  if (aRank > 1) {
    Axis rows = AxisTies::result(0, rank - (bRank > 1 ? 2 : 1));
    ties.tie(AxisTies::operand(0, aRank - (getTransposeA() ? 1 : 2)), rows);
    tieVectors(getODSOperandIndexAndLength(odsIndex_a_zero), rows, ties);
  }
  // Batch dimensions, aligned from the right.
  int64_t batches = rank - (aRank > 1) - (bRank > 1);
  for (unsigned o = 0; o < 2; ++o)
    for (int64_t d = 0, e = (o ? bRank : aRank) - 2; d < e; ++d)
      if (ties.size(AxisTies::operand(o, d)) != 1)
        ties.tie(AxisTies::operand(o, d), AxisTies::result(0, batches - e + d));
  auto epilogueArgs = getODSOperandIndexAndLength(odsIndex_epilogue_args);
  ties.tieBroadcast(epilogueArgs.first, epilogueArgs.second);
  if (getSecond())
    for (int64_t d = 0; d < rank; ++d)
      ties.tie(AxisTies::result(0, d), AxisTies::result(1, d));
}
void MatMulOp::narrow(OpBuilder &, KeptIndices) {}

void GroupedMatMulOp::tieAxes(AxisTies &ties) {
  int64_t xRank = ties.shapeContext().rank(getX());
  ties.contract(AxisTies::operand(0, xRank - 1), AxisTies::operand(1, 2));
  ties.tie(AxisTies::operand(1, 1), AxisTies::result(0, 2));
}

/// Each letter is an axis; those that the result does not have are summed over.
void EinsumOp::tieAxes(AxisTies &ties) {
  StringRef equation = getEquation();
  auto [inputs, output] = equation.split("->");
  if (equation.contains('.'))
    return;
  llvm::DenseMap<char, Axis> first;
  for (auto [d, letter] : llvm::enumerate(output))
    first.try_emplace(letter, AxisTies::result(0, d));
  SmallVector<StringRef> terms;
  inputs.split(terms, ',');
  for (auto [o, term] : llvm::enumerate(terms))
    for (auto [d, letter] : llvm::enumerate(term)) {
      Axis axis = AxisTies::operand(o, d);
      auto [it, isNew] = first.try_emplace(letter, axis);
      if (isNew)
        continue;
      if (output.contains(letter))
        ties.tie(axis, it->second);
      else
        ties.contract(it->second, axis);
    }
}

/// Heads of q in blocks that share a head of k and v.
void AttentionOp::tieAxes(AxisTies &ties) {
  int64_t heads = ties.size(AxisTies::operand(0, 1)), shared = ties.size(AxisTies::operand(1, 1));
  if (!ShapedType::isDynamic(heads) && !ShapedType::isDynamic(shared)) {
    Axis head = ties.own(shared);
    ties.tieBlocks(AxisTies::operand(0, 1), head, heads / shared);
    ties.tieBlocks(AxisTies::result(0, 1), head, heads / shared);
    ties.tie(AxisTies::operand(1, 1), head);
    ties.tie(AxisTies::operand(2, 1), head);
    if (getMask())
      if (int64_t at = int64_t(ties.shapeContext().rank(getMask())) - 3; at >= 0 && ties.size(AxisTies::operand(3, at)) == heads)
        ties.tieBlocks(AxisTies::operand(3, at), head, heads / shared);
  }
  ties.contract(AxisTies::operand(0, 3), AxisTies::operand(1, 3));
  ties.tie(AxisTies::operand(2, 3), AxisTies::result(0, 3));
}

void RotaryOp::tieAxes(AxisTies &ties) {
  int64_t rank = ties.shapeContext().rank(getX());
  ties.tieAllBut({rank - 1});
  for (unsigned o : {1u, 2u})
    for (int64_t d = 0, own = ties.shapeContext().rank(getOperand(o)); d + 1 < own; ++d)
      if (ties.size(AxisTies::operand(o, d)) != 1)
        ties.tie(AxisTies::operand(o, d), AxisTies::result(0, rank - own + d));
}

//===----------------------------------------------------------------------===//
// Recurrent cells: hidden units, for all gates and directions at once
//===----------------------------------------------------------------------===//

template <typename Cell> static void tieCell(Cell op, AxisTies &ties) {
  ShapeContext &shapes = ties.shapeContext();
  auto single = [&](unsigned ods) -> std::optional<unsigned> {
    auto [first, count] = op.getODSOperandIndexAndLength(ods);
    return count ? std::optional<unsigned>(first) : std::nullopt;
  };
  ties.contract(AxisTies::operand(0, 2), AxisTies::operand(1, 2));
  int64_t size = shapes.dims(op.getR())[2].typeDim();
  if (ShapedType::isDynamic(size))
    return;
  Axis hidden = ties.own(size);
  ties.tieBlocks(AxisTies::operand(1, 1), hidden, 1);
  ties.tieBlocks(AxisTies::operand(2, 1), hidden, 1);
  ties.tie(AxisTies::operand(2, 2), hidden);
  if (auto o = single(Cell::odsIndex_bias))
    ties.tieBlocks(AxisTies::operand(*o, 1), hidden, 1);
  if (auto o = single(Cell::odsIndex_initial_h))
    ties.tie(AxisTies::operand(*o, 2), hidden);
  if constexpr (std::is_same_v<Cell, LSTMOp>) {
    if (auto o = single(Cell::odsIndex_initial_c))
      ties.tie(AxisTies::operand(*o, 2), hidden);
    if (auto o = single(Cell::odsIndex_peephole))
      ties.tieBlocks(AxisTies::operand(*o, 1), hidden, 1);
  }
  // Every unit sees all of them in the next step.
  ties.measure(AxisTies::result(0, 3));
  ties.tie(AxisTies::result(0, 3), hidden);
  for (unsigned r = 1; r < op->getNumResults(); ++r)
    ties.tie(AxisTies::result(r, 2), hidden);
}

void LSTMOp::tieAxes(AxisTies &ties) { tieCell(*this, ties); }
void GRUOp::tieAxes(AxisTies &ties) { tieCell(*this, ties); }
void RNNOp::tieAxes(AxisTies &ties) { tieCell(*this, ties); }

} // namespace nnopt::nn

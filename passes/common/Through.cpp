//===- Through.cpp - operations that parts can be taken before ------------===//
#include "passes/common/Through.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt {
namespace {

Through refuse(const Twine &why) {
  Through through;
  through.why = why.str();
  return through;
}

Through of(unsigned operand, int64_t axis) {
  Through through;
  through.operands.push_back({operand, axis});
  return through;
}

constexpr StringLiteral kMixes = "it combines elements along that dimension";

/// Adds operand `number`, which broadcasts to a result of `rank` dimensions of which `size` is the one at `axis`: in
/// part, or as it is where it has one element there. False where that is not known.
bool addBroadcast(Through &through, Operation *op, unsigned number, int64_t axis, int64_t rank, nn::Dim size,
                  FuncShapes &shapes) {
  Value v = op->getOperand(number);
  int64_t own = axis - (rank - rankOf(v));
  if (own < 0)
    return true;
  nn::Dim d = shapes.dims(v)[own];
  if (d == size)
    through.operands.push_back({number, own});
  return d == size || d.isConst(1);
}

Through throughElementwise(Operation *op, int64_t axis, FuncShapes &shapes) {
  Value result = op->getResult(0);
  Through through;
  for (unsigned i = 0; i < op->getNumOperands(); ++i)
    if (!addBroadcast(through, op, i, axis, rankOf(result), shapes.dims(result)[axis], shapes))
      return refuse("it is not known whether an operand broadcasts");
  return through;
}

/// [..., i, :] of A B is A[..., i, :] B, [..., :, j] is A B[..., :, j].
Through throughMatMul(nn::MatMulOp op, int64_t axis, FuncShapes &shapes) {
  if (!op.getEpilogue().empty())
    return refuse("it has an epilogue");
  for (Value zero : {op.getAZero(), op.getBZero()})
    if (zero && !shapes.isOneElement(zero))
      return refuse("its zero points differ");
  int64_t rank = rankOf(op.getResult()), rankA = rankOf(op.getA()), rankB = rankOf(op.getB());
  if (rankA < 2 || rankB < 2)
    return refuse("an operand is a vector");
  if (axis == rank - 2)
    return of(0, op.getTransposeA() ? rankA - 1 : rankA - 2);
  if (axis == rank - 1) {
    if (isConstant(op.getB()) && !op.getB().hasOneUse())
      return refuse("its weights are used elsewhere too");
    Through through = of(1, op.getTransposeB() ? rankB - 2 : rankB - 1);
    if (op.getBias() && !shapes.isOneElement(op.getBias()))
      through.operands.push_back({2, 0});
    return through;
  }
  Through through;
  for (unsigned i : {0u, 1u})
    if (!addBroadcast(through, op, i, axis, rank, shapes.dims(op.getResult())[axis], shapes))
      return refuse("it is not known whether an operand broadcasts");
  return through;
}

Through throughConv(nn::ConvOp op, int64_t axis, FuncShapes &shapes) {
  if (!op.getEpilogue().empty() || op.getXZero() || op.getWZero())
    return refuse("it has an epilogue or zero points");
  if (axis == 0)
    return of(0, 0);
  if (axis != nn::LinearOp(op).getOutChannelAxis())
    return refuse("its windows overlap");
  if (op.getGroup() != 1)
    return refuse("it has groups");
  if (isConstant(op.getW()) && !op.getW().hasOneUse())
    return refuse("its weights are used elsewhere too");
  Through through = of(1, 0);
  if (op.getBias())
    through.operands.push_back({2, 0});
  return through;
}

/// Rows choose their matrices independently of each other.
Through throughGroupedMatMul(int64_t axis) {
  if (axis != 0)
    return refuse(kMixes);
  Through through = of(0, 0);
  through.operands.push_back({2, 0});
  return through;
}

/// Queries are independent of each other, and so are heads and batch elements.
Through throughAttention(nn::AttentionOp op, const Positions &positions, FuncShapes &shapes) {
  int64_t axis = positions.axis;
  Through through;
  auto add = [&](std::initializer_list<unsigned> numbers) {
    for (unsigned i : numbers)
      through.operands.push_back({i, axis});
  };
  if (axis == 3) {
    add({2});
    return through;
  }
  if (axis == 2 && op.getCausal()) {
    // Query i sees keys up to i + keys - queries; the last queries stay the last.
    nn::Dim queries = shapes.dims(op.getQ())[2], keys = shapes.dims(op.getK())[2];
    bool areLast = positions.indices ? *positions.indices == SmallVector<int64_t>{-1}
                                     : positions.step == 1 && positions.start < 0 &&
                                           positions.end == std::numeric_limits<int64_t>::max();
    if (queries.isConst()) {
      auto at = positions.in(queries.value());
      areLast = !at.empty() && at.back() == queries.value() - 1;
      for (size_t i = 1; i < at.size(); ++i)
        areLast &= at[i] == at[i - 1] + 1;
    }
    if (!areLast || (!op.getCausalFromEnd() && queries != keys))
      return refuse("which keys its queries see follows from their positions");
    through.fromEnd = true;
  }
  if (axis == 1 && shapes.dims(op.getQ())[1] != shapes.dims(op.getK())[1])
    return refuse("several heads of queries share one of keys");
  add({0});
  if (axis < 2)
    add({1, 2});
  if (op.getMask() && !addBroadcast(through, op, 3, axis, 4, shapes.dims(op.getQ())[axis], shapes))
    return refuse("it is not known whether the mask broadcasts");
  return through;
}

/// The dimension of a reshape's operand with the same elements, and as many before it.
Through throughReshape(Operation *op, int64_t axis, FuncShapes &shapes) {
  auto from = shapes.dims(op->getOperand(0)), to = shapes.dims(op->getResult(0));
  nn::DimContext &ctx = to[axis].context();
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i] == to[axis] && product(ctx, from.take_front(i)) == product(ctx, to.take_front(axis))) {
      Through through = of(0, i);
      through.isReshape = true;
      return through;
    }
  return refuse("it takes that dimension apart");
}

Through throughReduce(nn::ReduceOp op, int64_t axis) {
  if (op.getDynamicAxes() || !op.getAxes())
    return refuse("its dimensions are not known");
  int64_t kept = 0;
  for (int64_t i = 0; i < rankOf(op.getX()); ++i) {
    bool isReduced = llvm::is_contained(*op.getAxes(), i);
    if (isReduced && !op.getKeepDims())
      continue;
    if (kept++ == axis)
      return isReduced ? refuse(kMixes) : of(0, i);
  }
  return refuse(kMixes);
}

/// Rows that are looked up: fewer indices.
Through throughGather(nn::GatherOp op, int64_t axis) {
  int64_t first = op.getAxis(), count = rankOf(op.getIndices());
  if (axis >= first && axis < first + count)
    return of(1, axis - first);
  if (isConstant(op.getX()))
    return refuse("a part of the table would be another constant");
  return of(0, axis < first ? axis : axis - count + 1);
}

Through throughConcat(nn::ConcatOp op, int64_t axis) {
  if (axis == int64_t(op.getAxis()))
    return refuse("it puts parts together along that dimension");
  Through through;
  for (unsigned i = 0; i < op.getInputs().size(); ++i)
    through.operands.push_back({i, axis});
  return through;
}

Through throughRotary(nn::RotaryOp op, int64_t axis, FuncShapes &shapes) {
  int64_t rank = rankOf(op.getX());
  if (axis == rank - 1)
    return refuse(kMixes);
  Through through = of(0, axis);
  for (unsigned i : {1u, 2u})
    if (!addBroadcast(through, op, i, axis, rank, shapes.dims(op.getX())[axis], shapes))
      return refuse("it is not known whether the angles broadcast");
  return through;
}

} // namespace

Through throughOf(Operation *op, const Positions &positions, FuncShapes &shapes) {
  int64_t axis = positions.axis;
  if (isa<nn::Elementwise>(op))
    return throughElementwise(op, axis, shapes);
  auto unless = [&](bool mixes) { return mixes ? refuse(kMixes) : of(0, axis); };
  return TypeSwitch<Operation *, Through>(op)
      .Case<nn::MatMulOp>([&](auto o) { return throughMatMul(o, axis, shapes); })
      .Case<nn::ConvOp>([&](auto o) { return throughConv(o, axis, shapes); })
      .Case<nn::GroupedMatMulOp>([&](auto) { return throughGroupedMatMul(axis); })
      .Case<nn::AttentionOp>([&](auto o) { return throughAttention(o, positions, shapes); })
      .Case<nn::LayerNormOp, nn::RMSNormOp>([&](auto o) { return unless(axis >= int64_t(o.getAxis())); })
      .Case<nn::SoftmaxOp, nn::LpNormOp>([&](auto o) { return unless(axis == int64_t(o.getAxis())); })
      .Case<nn::GroupNormOp, nn::BatchNormOp>([&](auto) { return unless(axis != 0); })
      .Case<nn::AvgPoolOp>([&](auto o) { return unless(axis != 0 && axis != (o.getChannelsLast() ? rankOf(o.getX()) - 1 : 1)); })
      .Case<nn::MaxPoolOp>([&](nn::MaxPoolOp o) {
        return unless((o.getIndices() && !o.getIndices().use_empty()) ||
                      (axis != 0 && axis != (o.getChannelsLast() ? rankOf(o.getX()) - 1 : 1)));
      })
      .Case<nn::TransposeOp>([&](nn::TransposeOp o) { return of(0, o.getPerm()[axis]); })
      .Case<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(
          [&](auto o) { return throughReshape(o, axis, shapes); })
      .Case<nn::ReduceOp>([&](auto o) { return throughReduce(o, axis); })
      .Case<nn::GatherOp>([&](auto o) { return throughGather(o, axis); })
      .Case<nn::ConcatOp>([&](auto o) { return throughConcat(o, axis); })
      .Case<nn::RotaryOp>([&](auto o) { return throughRotary(o, axis, shapes); })
      .Default([](Operation *) { return refuse("it does not let parts through"); });
}

Value emitThrough(Operation *op, const Through &through, ArrayRef<Value> operands, ArrayRef<nn::Dim> dims,
                  FuncShapes &shapes, RewriterBase &rewriter, Location loc) {
  if (through.isReshape)
    return reshapeTo(operands[0], dims, rewriter, shapes, loc);
  Operation *smaller = op->clone();
  smaller->setOperands(operands);
  smaller->setLoc(loc);
  if (through.fromEnd)
    cast<nn::AttentionOp>(smaller).setCausalFromEnd(true);
  rewriter.insert(smaller);
  return smaller->getResult(0);
}

} // namespace nnopt

//===- NNOps.cpp - verifiers and folders of nn operations -----------------===//
#include "dialects/nn/NN.h"

#include "dialects/nn/Constants.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;

namespace nnopt::nn {

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

/// The type of a scalar in a region: integers lose their signedness.
static Type scalarType(Type elementType) {
  if (auto integer = dyn_cast<IntegerType>(elementType))
    return IntegerType::get(integer.getContext(), integer.getWidth());
  return elementType;
}

static Type elementTypeOf(Value v) { return elementTypeOf(v.getType()); }

/// Checks that `block` ends in nn.yield of one scalar for each of `results`.
static LogicalResult verifyScalarYield(Operation *op, Block &block, ValueRange results) {
  if (block.empty() || !isa<YieldOp>(block.back()))
    return op->emitOpError("region must end in nn.yield");
  auto yield = cast<YieldOp>(block.back());
  if (yield.getValues().size() != results.size())
    return op->emitOpError("region yields ")
           << yield.getValues().size() << " values for " << results.size() << " results";
  for (auto [i, pair] : llvm::enumerate(llvm::zip(yield.getValues(), results))) {
    Type want = scalarType(elementTypeOf(std::get<1>(pair)));
    Type got = std::get<0>(pair).getType();
    if (got != want)
      return op->emitOpError("region yields ") << got << " as value " << i << ", expected " << want;
  }
  return success();
}

/// Checks the region arguments [first, first + values.size()) against the values' element types.
static LogicalResult verifyScalarArguments(Operation *op, Block &block, unsigned first,
                                           ValueRange values) {
  if (block.getNumArguments() != first + values.size())
    return op->emitOpError("region has ")
           << block.getNumArguments() << " arguments, expected " << first + values.size();
  for (auto [i, value] : llvm::enumerate(values)) {
    Type want = scalarType(elementTypeOf(value));
    Type got = block.getArgument(first + i).getType();
    if (got != want)
      return op->emitOpError("region argument ")
             << first + i << " is " << got << ", expected " << want;
  }
  return success();
}

LogicalResult MapOp::verify() {
  Block &block = getBody().front();
  if (failed(verifyScalarArguments(*this, block, 0, getInputs())))
    return failure();
  return verifyScalarYield(*this, block, getOutputs());
}

/// The epilogue of a contraction: empty, or one block of (accumulator, epilogue arguments...).
static LogicalResult verifyEpilogue(LinearOp op) {
  Region &epilogue = op.getEpilogue();
  ValueRange arguments = op.getEpilogueArgs();
  if (epilogue.empty()) {
    if (!arguments.empty() || op.getSecond())
      return op->emitOpError() << (op.getSecond() ? "second result" : "epilogue arguments") << " without an epilogue";
    return success();
  }
  if (!epilogue.hasOneBlock())
    return op->emitOpError("epilogue must be one block");
  Block &block = epilogue.front();
  if (failed(verifyScalarArguments(op, block, 1, arguments)))
    return failure();
  if (!block.getArgument(0).getType().isSignlessIntOrFloat())
    return op->emitOpError("epilogue accumulator must be a float or signless integer, got ")
           << block.getArgument(0).getType();
  return verifyScalarYield(op, block, op->getResults());
}

LogicalResult MoEOp::verify() {
  Type element = elementTypeOf(getX());
  for (Value v : getOperands())
    if (elementTypeOf(v) != element)
      return emitOpError("operands must have one element type");
  if (!isa<FloatType>(element) || elementTypeOf(getResult()) != element)
    return emitOpError("computes floats of one type");
  if (getBias3() && !getW3())
    return emitOpError("bias3 without w3");
  SmallVector<Value> arguments(getW3() ? 2 : 1, getX());
  Block &block = getActivation().front();
  if (failed(verifyScalarArguments(*this, block, 0, arguments)))
    return failure();
  return verifyScalarYield(*this, block, getX());
}

/// A zero point has the integer type of the operand that it belongs to.
static LogicalResult verifyZeroPoint(Operation *op, Value zero, Value operand) {
  if (!zero)
    return success();
  Type type = elementTypeOf(operand);
  if (!isa<IntegerType>(type) || elementTypeOf(zero) != type)
    return op->emitOpError("zero point of type ")
           << elementTypeOf(zero) << " for an operand of type " << type;
  return success();
}

/// Attributes that conv and conv_transpose share. `spatial` is the rank of x minus 2.
template <typename ConvLike> static LogicalResult verifyConvLike(ConvLike op, bool transposed) {
  int64_t rank = op.getX().getType().getRank();
  if (rank < 3)
    return op.emitOpError("x must have rank 3 or more, got ") << rank;
  if (op.getW().getType().getRank() != rank)
    return op.emitOpError("w must have the rank of x, got ")
           << op.getW().getType().getRank() << " and " << rank;
  size_t spatial = rank - 2;
  auto check = [&](StringRef name, ArrayRef<int64_t> values, size_t count, int64_t low) {
    if (values.size() != count)
      return LogicalResult(op.emitOpError()
                           << name << " must have " << count << " entries, got " << values.size());
    for (int64_t v : values)
      if (v < low)
        return LogicalResult(op.emitOpError()
                             << name << " must be at least " << low << ", got " << v);
    return success();
  };
  int64_t anyPad = transposed ? std::numeric_limits<int64_t>::min() : 0;
  if (failed(check("strides", op.getStrides(), spatial, 1)) ||
      failed(check("dilations", op.getDilations(), spatial, 1)) ||
      failed(check("pads", op.getPads(), 2 * spatial, anyPad)))
    return failure();
  if ((int64_t)op.getGroup() < 1)
    return op.emitOpError("group must be at least 1, got ") << (int64_t)op.getGroup();
  if (op.getBias() && op.getBias().getType().getRank() != 1)
    return op.emitOpError("bias must have rank 1, got ") << op.getBias().getType().getRank();
  return verifyEpilogue(cast<LinearOp>(op.getOperation()));
}

LogicalResult ConvOp::verify() {
  if (failed(verifyZeroPoint(*this, getXZero(), getX())) ||
      failed(verifyZeroPoint(*this, getWZero(), getW())))
    return failure();
  return verifyConvLike(*this, /*transposed=*/false);
}

LogicalResult ConvTransposeOp::verify() {
  if (getOutputPadding().size() + 2 != (size_t)getX().getType().getRank())
    return emitOpError("output_padding must have ")
           << getX().getType().getRank() - 2 << " entries, got " << getOutputPadding().size();
  return verifyConvLike(*this, /*transposed=*/true);
}

LogicalResult MatMulOp::verify() {
  int64_t rankA = getA().getType().getRank(), rankB = getB().getType().getRank();
  if (rankA < 1 || rankB < 1)
    return emitOpError("operands must have rank 1 or more");
  if ((getTransposeA() && rankA < 2) || (getTransposeB() && rankB < 2))
    return emitOpError("only operands of rank 2 or more can be transposed");
  if (getBias() && getBias().getType().getRank() != 1)
    return emitOpError("bias must have rank 1, got ") << getBias().getType().getRank();
  if (failed(verifyZeroPoint(*this, getAZero(), getA())) ||
      failed(verifyZeroPoint(*this, getBZero(), getB())))
    return failure();
  return verifyEpilogue(cast<LinearOp>(getOperation()));
}

/// Whether perm holds each of 0..rank-1 once.
static bool isPermutation(ArrayRef<int64_t> perm, size_t rank) {
  if (perm.size() != rank)
    return false;
  SmallVector<bool> seen(rank, false);
  for (int64_t p : perm) {
    if (p < 0 || p >= (int64_t)rank || seen[p])
      return false;
    seen[p] = true;
  }
  return true;
}

LogicalResult TransposeOp::verify() {
  if (!isPermutation(getPerm(), getX().getType().getRank()))
    return emitOpError("perm must hold each of 0..")
           << getX().getType().getRank() - 1 << " once, got [" << getPerm() << "]";
  return success();
}

/// Checks that `axes` are distinct and in [0, rank).
static LogicalResult verifyAxes(Operation *op, ArrayRef<int64_t> axes, int64_t rank) {
  SmallVector<bool> seen(rank, false);
  for (int64_t axis : axes) {
    if (axis < 0 || axis >= rank)
      return op->emitOpError("axis ") << axis << " is out of range for rank " << rank;
    if (seen[axis])
      return op->emitOpError("axis ") << axis << " is given twice";
    seen[axis] = true;
  }
  return success();
}

LogicalResult SqueezeOp::verify() {
  return verifyAxes(*this, getAxes(), getX().getType().getRank());
}

LogicalResult UnsqueezeOp::verify() {
  return verifyAxes(*this, getAxes(), getX().getType().getRank() + getAxes().size());
}

/// Checks that a region of if or loop ends in nn.yield of `first` leading tensors and one tensor
/// (or host value) of the right element type for each of `results`.
static LogicalResult verifyTensorYield(Operation *op, Region &region, StringRef name,
                                       unsigned first, ValueRange results) {
  Block &block = region.front();
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield)
    return op->emitOpError() << name << " must end in nn.yield";
  if (yield.getValues().size() != first + results.size())
    return op->emitOpError() << name << " yields " << yield.getValues().size()
                             << " values, expected " << first + results.size();
  for (auto [i, result] : llvm::enumerate(results)) {
    Type type = yield.getValues()[first + i].getType();
    bool fits = isa<RankedTensorType>(result.getType())
                    ? isa<RankedTensorType>(type) && elementTypeOf(type) == elementTypeOf(result)
                    : bool(joinTypes(type, result.getType()));
    if (!fits)
      return op->emitOpError() << name << " yields " << yield.getValues()[first + i].getType()
                               << " for result " << i << " of element type "
                               << elementTypeOf(result);
  }
  return success();
}

LogicalResult IfOp::verify() {
  if (!elementTypeOf(getCondition()).isInteger(1))
    return emitOpError("condition must be bool, got ") << elementTypeOf(getCondition());
  for (Region *branch : {&getThenBranch(), &getElseBranch()}) {
    StringRef name = branch == &getThenBranch() ? "then_branch" : "else_branch";
    if (branch->getNumArguments())
      return emitOpError() << name << " must not have arguments";
    if (failed(verifyTensorYield(*this, *branch, name, 0, getResults())))
      return failure();
  }
  return success();
}

LogicalResult LoopOp::verify() {
  unsigned carried = getCarried().size();
  Block &block = getBody().front();
  if (block.getNumArguments() != carried + 2)
    return emitOpError("body has ")
           << block.getNumArguments() << " arguments, expected " << carried + 2;
  auto isScalar = [&](unsigned i, unsigned width) {
    auto type = dyn_cast<RankedTensorType>(block.getArgument(i).getType());
    return type && type.getElementType().isSignlessInteger(width);
  };
  if (!isScalar(0, 64))
    return emitOpError("body argument 0 must be the i64 iteration number");
  if (!isScalar(1, 1))
    return emitOpError("body argument 1 must be the bool condition");
  if (getNumResults() < carried)
    return emitOpError("has ") << carried << " carried values but " << getNumResults()
                               << " results";
  for (auto [i, value] : llvm::enumerate(getCarried())) {
    Type type = block.getArgument(2 + i).getType();
    bool fits = isa<RankedTensorType>(value.getType())
                    ? isa<RankedTensorType>(type) && elementTypeOf(type) == elementTypeOf(value)
                    : bool(joinTypes(type, value.getType()));
    if (!fits)
      return emitOpError("body argument ") << 2 + i << " is " << block.getArgument(2 + i).getType()
                                           << " for a carried value " << value.getType();
  }
  return verifyTensorYield(*this, getBody(), "body", 1, getResults());
}

LogicalResult LinearAttentionOp::verify() {
  int64_t heads = getHeads(), keyHeads = getKeyHeads();
  if (keyHeads < 1 || heads < 1 || heads % keyHeads)
    return emitOpError("heads (") << heads << ") must be a positive multiple of key_heads ("
                                  << keyHeads << ")";
  return success();
}

LogicalResult RandomOp::verify() {
  if (!getElement().isF32() && !getElement().isF64())
    return emitOpError("element must be f32 or f64, got ") << getElement();
  return success();
}

//===----------------------------------------------------------------------===//
// Folders
//===----------------------------------------------------------------------===//

/// x where it may stand for a result of type `type`, else null.
static Value sameType(Value x, Type type) { return x.getType() == type ? x : Value(); }

/// As sameType, but only for static types: with `?` the types do not tell the shapes apart.
static Value sameStaticType(Value x, Type type) {
  return cast<RankedTensorType>(type).hasStaticShape() ? sameType(x, type) : Value();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

OpFoldResult CastOp::fold(FoldAdaptor) { return sameType(getX(), getType()); }

/// Static dimensions start..end as a constant.
OpFoldResult ShapeOp::fold(FoldAdaptor) {
  RankedTensorType type = getX().getType();
  int64_t rank = type.getRank();
  auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  int64_t start = clamp(getStart());
  int64_t end = std::max(start, clamp(getEnd().value_or(rank)));
  ArrayRef<int64_t> part = type.getShape().slice(start, end - start);
  if (ShapedType::isDynamicShape(part) || getType().getShape() != ArrayRef<int64_t>{end - start})
    return {};
  return makeInts(getContext(), {end - start}, part);
}

OpFoldResult SizeOp::fold(FoldAdaptor) {
  if (!getX().getType().hasStaticShape() || getType().getRank() != 0)
    return {};
  return makeInts(getContext(), {}, {getX().getType().getNumElements()});
}

/// reshape to the same static shape is x; reshape of reshape-like skips the inner one where the
/// outer shape operand does not refer to the inner dimensions (no zeros that copy).
OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  if (Value x = sameStaticType(getX(), getType()))
    return x;
  Operation *inner = getX().getDefiningOp();
  if (!isa_and_nonnull<ReshapeOp, FlattenOp, SqueezeOp, UnsqueezeOp>(inner))
    return {};
  auto shape = ConstantData::get(getShape());
  if (!shape)
    return {};
  for (int64_t i = 0; i < shape->size(); ++i)
    if (!getAllowZero() && shape->asInt(i) == 0)
      return {};
  getXMutable().assign(inner->getOperand(0));
  return getResult();
}

OpFoldResult FlattenOp::fold(FoldAdaptor) {
  // A matrix flattened at 1 is itself.
  if (getX().getType().getRank() == 2 && getAxis() == 1)
    return sameType(getX(), getType());
  return sameStaticType(getX(), getType());
}

static SmallVector<int64_t> sorted(ArrayRef<int64_t> values) {
  SmallVector<int64_t> copy(values);
  llvm::sort(copy);
  return copy;
}

OpFoldResult SqueezeOp::fold(FoldAdaptor) {
  if (getAxes().empty())
    return sameType(getX(), getType());
  if (auto inner = getX().getDefiningOp<UnsqueezeOp>())
    if (sorted(inner.getAxes()) == sorted(getAxes()))
      return sameType(inner.getX(), getType());
  return {};
}

OpFoldResult UnsqueezeOp::fold(FoldAdaptor) {
  if (getAxes().empty())
    return sameType(getX(), getType());
  if (auto inner = getX().getDefiningOp<SqueezeOp>())
    if (sorted(inner.getAxes()) == sorted(getAxes()))
      return sameType(inner.getX(), getType());
  return {};
}

/// The identity permutation is x; transposes of transposes become one.
OpFoldResult TransposeOp::fold(FoldAdaptor) {
  ArrayRef<int64_t> perm = getPerm();
  if (llvm::equal(perm, llvm::seq<int64_t>(0, perm.size())))
    return sameType(getX(), getType());
  auto inner = getX().getDefiningOp<TransposeOp>();
  if (!inner)
    return {};
  // Result dimension i is dimension perm[i] of the inner result: inner.perm[perm[i]] of inner.x.
  SmallVector<int64_t> composed;
  for (int64_t p : perm)
    composed.push_back(inner.getPerm()[p]);
  getXMutable().assign(inner.getX());
  setPerm(composed);
  return getResult();
}

OpFoldResult ExpandOp::fold(FoldAdaptor) { return sameStaticType(getX(), getType()); }

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  if (getInputs().size() == 1)
    return sameType(getInputs().front(), getType());
  return {};
}

/// Static shapes become a splat constant, which takes no memory.
OpFoldResult ConstantOfShapeOp::fold(FoldAdaptor) {
  auto value = dyn_cast<DenseElementsAttr>(getValue());
  if (!value || !getType().hasStaticShape() || value.getElementType() != getType().getElementType())
    return {};
  if (value.isSplat())
    return value.resizeSplat(getType());
  return {};
}

} // namespace nnopt::nn

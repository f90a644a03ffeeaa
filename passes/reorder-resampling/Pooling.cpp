//===- Pooling.cpp - what commutes with pooling ---------------------------===//
#include "passes/reorder-resampling/Rules.h"

using namespace mlir;

namespace nnopt::resampling {

bool isPointwise(nn::ConvOp op) {
  Type type = elementTypeOf(op.getX());
  auto are = [](ArrayRef<int64_t> values, int64_t v) { return llvm::all_of(values, [&](int64_t x) { return x == v; }); };
  return (type.isF32() || type.isF64()) && are(shapeOf(op.getW()).drop_front(2), 1) && are(op.getStrides(), 1) &&
         are(op.getPads(), 0) && op.getEpilogue().empty() && !op.getXZero() && !op.getWZero();
}

/// Whether the weights of each window add up to 1: only elements of the image are counted.
static bool countsElementsOnly(nn::AvgPoolOp pool) {
  bool padded = pool.getCeilMode() || llvm::any_of(pool.getPads(), [](int64_t p) { return p != 0; });
  return !padded || !pool.getCountIncludePad();
}

/// The positions that one result element is the mean of, and by how much there are fewer; nothing where it is no mean
/// of positions.
struct Mean {
  double window = 1, ratio = 1;
};
static std::optional<Mean> meanOf(Operation *op, bool channelsLast, FuncShapes &shapes) {
  Mean mean;
  if (auto pool = dyn_cast<nn::AvgPoolOp>(op)) {
    if (pool.getChannelsLast() != channelsLast)
      return std::nullopt;
    for (auto [k, s] : llvm::zip(pool.getKernel(), pool.getStrides())) {
      mean.window *= k;
      mean.ratio *= s;
    }
    return mean;
  }
  auto reduce = dyn_cast<nn::ReduceOp>(op);
  if (!reduce || reduce.getKind() != nn::ReduceKind::mean || !reduce.getKeepDims() || !reduce.getAxes())
    return std::nullopt;
  int64_t rank = rankOf(reduce.getX());
  ArrayRef<int64_t> axes = *reduce.getAxes();
  if (axes != ArrayRef<int64_t>(llvm::to_vector(llvm::seq<int64_t>(channelsLast ? 1 : 2, channelsLast ? rank - 1 : rank))))
    return std::nullopt;
  for (int64_t axis : axes) {
    nn::Dim d = shapes.dims(reduce.getX())[axis];
    if (!d.isConst())
      return std::nullopt;
    mean.window *= d.value();
  }
  mean.ratio = mean.window;
  return mean;
}

Value poolBeforeConv(Operation *pool, Rewriter &r) {
  auto conv = pool->getNumOperands() ? pool->getOperand(0).getDefiningOp<nn::ConvOp>() : nn::ConvOp();
  if (!conv || !isPointwise(conv))
    return {};
  auto mean = meanOf(pool, conv.getChannelsLast(), r.shapes);
  if (!mean)
    return {};
  if (!conv->hasOneUse())
    return r.refuse("the convolution before it has other users");
  auto average = dyn_cast<nn::AvgPoolOp>(pool);
  if (average && conv.getBias() && !countsElementsOnly(average))
    return r.refuse("it counts its padding, to which the bias would not be added");
  nn::LinearOp linear(conv);
  if (ShapedType::isDynamicShape(shapeOf(conv.getW())))
    return {};
  double in = linear.getInChannels(), out = linear.getOutChannels(), f = mean->ratio, macs = in * out / conv.getGroup();
  // For each position of the result: multiply-adds and additions; elements read and written.
  double workBefore = macs * f + mean->window * out, workAfter = macs + mean->window * in;
  double bytesBefore = in * f + 2 * out * f + out, bytesAfter = in * f + 2 * in + out;
  if (workAfter >= workBefore || bytesAfter > bytesBefore)
    return r.refuse(llvm::formatv("for each position, {0} operations and {1} elements would become {2} and {3}",
                                  int64_t(workBefore), int64_t(bytesBefore), int64_t(workAfter), int64_t(bytesAfter)).str());
  r.rewriter.setInsertionPoint(pool);
  Location loc = fusedLoc({conv, pool});
  Operation *first = pool->clone();
  first->setOperand(0, conv.getX());
  r.rewriter.insert(first);
  return linear.cloneWith(r.rewriter, loc, first->getResult(0), conv.getW(), conv.getBias())->getResult(0);
}

//===----------------------------------------------------------------------===//
// Maximum pooling and monotone functions: f(max(x)) = max(f(x)). NaN stays NaN in all of them, on either side.
//===----------------------------------------------------------------------===//

/// x where op is a function of x alone that does not decrease.
static Value monotoneOperand(Operation *op) {
  if (!op || op->getNumResults() != 1)
    return {};
  Type type = op->getNumOperands() ? elementTypeOf(op->getOperand(0)) : Type();
  if (!type || (!type.isF32() && !type.isF64()) || elementTypeOf(op->getResult(0)) != type)
    return {};
  if (isa<nn::ReluOp, nn::SigmoidOp, nn::TanhOp, nn::SoftplusOp>(op))
    return op->getOperand(0);
  if (auto leaky = dyn_cast<nn::LeakyReluOp>(op))
    return leaky.getAlpha().convertToDouble() >= 0 ? leaky.getX() : Value();
  if (auto hard = dyn_cast<nn::HardSigmoidOp>(op))
    return hard.getAlpha().convertToDouble() >= 0 ? hard.getX() : Value();
  if (isa<nn::ClipOp>(op))
    return llvm::all_of(op->getOperands().drop_front(), [](Value v) { return scalarOf(v).has_value(); }) ? op->getOperand(0)
                                                                                                       : Value();
  return {};
}

static bool isPlainMaxPool(nn::MaxPoolOp pool) { return pool && !pool.getIndices(); }

/// Whether a convolution or product computes v for one user: its epilogue takes what is elementwise.
static bool hasFreeEpilogue(Value v) {
  auto linear = dyn_cast_or_null<nn::LinearOp>(v.getDefiningOp());
  return linear && v.hasOneUse() && linear.getEpilogue().empty();
}

static Value swap(Operation *outer, Operation *inner, Value x, Rewriter &r) {
  r.rewriter.setInsertionPoint(outer);
  Operation *first = outer->clone(), *second = inner->clone();
  first->setOperand(0, x);
  r.rewriter.insert(first);
  second->setOperand(0, first->getResult(0));
  r.rewriter.insert(second);
  return second->getResult(0);
}

Value moveOverMaxPool(Operation *op, Rewriter &r) {
  if (auto pool = dyn_cast<nn::MaxPoolOp>(op)) { // maximum of f(x)
    Operation *function = pool.getX().getDefiningOp();
    Value x = monotoneOperand(function);
    if (!x || !isPlainMaxPool(pool))
      return {};
    if (hasFreeEpilogue(x))
      return r.refuse("the function before it joins a convolution");
    if (!pool.getX().hasOneUse())
      return r.refuse("the function before it has other users");
    if (llvm::all_of(pool.getStrides(), [](int64_t s) { return s == 1; }))
      return r.refuse("it does not make the image smaller");
    return swap(pool, function, x, r);
  }
  Value x = monotoneOperand(op); // f of a maximum
  auto pool = x ? x.getDefiningOp<nn::MaxPoolOp>() : nn::MaxPoolOp();
  if (!isPlainMaxPool(pool))
    return {};
  if (!pool->hasOneUse())
    return r.refuse("the maximum before it has other users");
  if (!hasFreeEpilogue(pool.getX()))
    return r.refuse("no convolution before the maximum that it could join");
  return swap(op, pool, pool.getX(), r);
}

//===----------------------------------------------------------------------===//
// Windows over the whole image
//===----------------------------------------------------------------------===//

Value reduceWholeWindow(Operation *op, Rewriter &r) {
  auto average = dyn_cast<nn::AvgPoolOp>(op);
  auto max = dyn_cast<nn::MaxPoolOp>(op);
  if (!average && !isPlainMaxPool(max))
    return {};
  ArrayRef<int64_t> kernel = average ? average.getKernel() : max.getKernel();
  ArrayRef<int64_t> pads = average ? average.getPads() : max.getPads(), dilations = average ? average.getDilations() : max.getDilations();
  bool last = average ? average.getChannelsLast() : max.getChannelsLast();
  auto from = r.shapes.dims(op->getOperand(0)), to = r.shapes.dims(op->getResult(0));
  SmallVector<int64_t> axes;
  for (auto [i, k] : llvm::enumerate(kernel)) {
    int64_t axis = i + (last ? 1 : 2);
    if (!from[axis].isConst(k) || !to[axis].isConst(1) || dilations[i] != 1)
      return {};
    axes.push_back(axis);
  }
  if (llvm::any_of(pads, [](int64_t p) { return p != 0; }))
    return {};
  r.rewriter.setInsertionPoint(op);
  return nn::ReduceOp::create(r.rewriter, op->getLoc(), untyped(elementTypeOf(op->getResult(0))), op->getOperand(0), Value(),
                              nn::ReduceKindAttr::get(op->getContext(), average ? nn::ReduceKind::mean : nn::ReduceKind::max),
                              r.rewriter.getDenseI64ArrayAttr(axes),
                              r.rewriter.getBoolAttr(true));
}

} // namespace nnopt::resampling

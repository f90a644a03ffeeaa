//===- ShapeFunctionsContractions.cpp - conv, matmul, einsum, pooling -----===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

//===----------------------------------------------------------------------===//
// Shared
//===----------------------------------------------------------------------===//

/// Element type of the accumulator that a contraction returns without an epilogue: the operand
/// type, i32 for integers of 8 bits and less.
static Type accumulatorType(Type operand) {
  auto integer = dyn_cast<IntegerType>(operand);
  return integer && integer.getWidth() <= 8 ? IntegerType::get(operand.getContext(), 32) : operand;
}

/// Sets the results: of the types that the epilogue yields, with the signedness of the current ones.
static void setContraction(LinearOp op, ShapeContext &ctx, Type operand, ArrayRef<Dim> dims) {
  Region &epilogue = op.getEpilogue();
  bool isPlain = epilogue.empty() || epilogue.front().empty();
  for (OpResult result : op->getResults()) {
    Type type = accumulatorType(operand);
    if (!isPlain && result.getResultNumber() < epilogue.front().back().getNumOperands()) {
      type = epilogue.front().back().getOperand(result.getResultNumber()).getType();
      Type current = cast<RankedTensorType>(result.getType()).getElementType();
      auto a = dyn_cast<IntegerType>(type), b = dyn_cast<IntegerType>(current);
      if (a && b && a.getWidth() == b.getWidth())
        type = current;
    }
    ctx.set(result, type, Dims(dims));
  }
}

/// Fails unless the bias has `channels` elements and the epilogue's operands broadcast to `dims`.
template <typename Contraction>
static LogicalResult checkBiasAndEpilogue(Contraction op, ShapeContext &ctx, ArrayRef<Dim> dims,
                                          Dim channels) {
  if (op.getBias())
    if (failed(shape::checkRank(op, ctx, op.getBias(), "bias", 1)) ||
        failed(shape::checkSame(op, ctx.dims(op.getBias())[0], channels,
                                "sizes of the bias and the result")))
      return failure();
  for (Value v : op.getEpilogueArgs()) {
    ArrayRef<Dim> more = ctx.dims(v);
    std::optional<Dims> both = broadcastDims(ctx, dims, more);
    bool fits = both && both->size() == dims.size();
    for (size_t i = 0; fits && i < dims.size(); ++i)
      fits = !shape::differ((*both)[i], dims[i]);
    if (!fits)
      return op.emitOpError("epilogue argument of ")
             << shape::str(more) << " does not broadcast to " << shape::str(dims);
  }
  return success();
}

/// Fails unless a zero point is one number or, where `count` is given, one for each of `count`.
static LogicalResult checkZeroPoint(Operation *op, ShapeContext &ctx, Value zero, Dim count,
                                    const char *what) {
  if (!zero || ctx.rank(zero) == 0)
    return success();
  if (count && ctx.rank(zero) == 1)
    return shape::checkSame(op, ctx.dims(zero)[0], count, what);
  return op->emitOpError("zero point of ") << shape::str(ctx.dims(zero)) << " does not fit";
}

/// The size of a window of `kernel` elements with gaps.
static Dim dilated(Dim kernel, int64_t dilation) { return (kernel - 1) * dilation + 1; }

/// Number of windows along one axis: floor((size + padding - window) / stride) + 1, or with `ceil`
/// rounded up but without windows that would start in the padding behind the end (ONNX opset 19,
/// as in PyTorch). Null when the window is larger than the padded input.
static Dim windowCount(Dim size, int64_t padBegin, int64_t padEnd, Dim window, int64_t stride,
                       bool ceil) {
  Dim room = size + (padBegin + padEnd) - window;
  if ((room * -1).isAtLeast(1))
    return {};
  if (!ceil)
    return room.floorDiv(stride) + 1;
  return (room.ceilDiv(stride) + 1).min((size + padBegin).ceilDiv(stride));
}

/// First spatial dimension of x.
static unsigned spatialBegin(bool channelsLast) { return channelsLast ? 1 : 2; }

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

/// Result dims from [batch], [channels] and spatial ones.
static Dims imageDims(Dim batch, Dim channels, ArrayRef<Dim> spatial, bool channelsLast) {
  Dims dims{batch};
  if (!channelsLast)
    dims.push_back(channels);
  dims.append(spatial.begin(), spatial.end());
  if (channelsLast)
    dims.push_back(channels);
  return dims;
}

LogicalResult ConvOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), w(ctx.dims(getW()));
  unsigned rank = x.size(), spatialRank = rank - 2;
  if (rank < 3 || w.size() != rank || getStrides().size() != spatialRank ||
      getDilations().size() != spatialRank || getPads().size() != 2 * spatialRank)
    return emitOpError("x ") << shape::str(x) << ", w " << shape::str(w)
                             << " and the attributes have different ranks";
  bool last = getChannelsLast();
  int64_t group = getGroup();
  if (failed(shape::checkSame(*this, x[last ? rank - 1 : 1], w[1] * group,
                              "channels of x and channels of w times group")))
    return failure();
  if (w[0].isConst() && (group < 1 || w[0].value() % group))
    return emitOpError("cannot divide ")
           << w[0].value() << " output channels into " << group << " groups";
  Dims spatial;
  for (unsigned i = 0; i < spatialRank; ++i) {
    Dim size = x[spatialBegin(last) + i];
    Dim window = dilated(w[2 + i], getDilations()[i]);
    Dim count =
        windowCount(size, getPads()[i], getPads()[spatialRank + i], window, getStrides()[i], false);
    if (!count)
      return emitOpError("window of ") << window.str() << " is larger than the padded size along "
                                       << "axis " << i << " of " << shape::str(x);
    spatial.push_back(count);
  }
  Dims dims = imageDims(x[0], w[0], spatial, last);
  if (failed(checkBiasAndEpilogue(*this, ctx, dims, w[0])) ||
      failed(checkZeroPoint(*this, ctx, getXZero(), Dim(), "")) ||
      failed(checkZeroPoint(*this, ctx, getWZero(), w[0], "sizes of w_zero and the result")))
    return failure();
  setContraction(cast<LinearOp>(getOperation()), ctx, ctx.info(getX()).elementType, dims);
  return success();
}

LogicalResult ConvTransposeOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX())), w(ctx.dims(getW()));
  unsigned rank = x.size(), spatialRank = rank - 2;
  if (rank < 3 || w.size() != rank || getStrides().size() != spatialRank ||
      getDilations().size() != spatialRank || getPads().size() != 2 * spatialRank ||
      getOutputPadding().size() != spatialRank)
    return emitOpError("x ") << shape::str(x) << ", w " << shape::str(w)
                             << " and the attributes have different ranks";
  bool last = getChannelsLast();
  if (failed(shape::checkSame(*this, x[last ? rank - 1 : 1], w[0], "channels of x and w")))
    return failure();
  if (w[0].isConst() && ((int64_t)getGroup() < 1 || w[0].value() % (int64_t)getGroup()))
    return emitOpError("cannot divide ")
           << w[0].value() << " channels into " << getGroup() << " groups";
  Dims spatial;
  for (unsigned i = 0; i < spatialRank; ++i) {
    Dim size = x[spatialBegin(last) + i];
    spatial.push_back((size - 1) * getStrides()[i] + getOutputPadding()[i] +
                      dilated(w[2 + i], getDilations()[i]) - getPads()[i] -
                      getPads()[spatialRank + i]);
  }
  Dim channels = w[1] * (int64_t)getGroup();
  Dims dims = imageDims(x[0], channels, spatial, last);
  if (failed(checkBiasAndEpilogue(*this, ctx, dims, channels)))
    return failure();
  setContraction(cast<LinearOp>(getOperation()), ctx, ctx.info(getX()).elementType, dims);
  return success();
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

LogicalResult MatMulOp::inferShapes(ShapeContext &ctx) {
  Dims a(ctx.dims(getA())), b(ctx.dims(getB()));
  if (a.empty() || b.empty())
    return emitOpError("operands must have rank 1 or more, got ")
           << shape::str(a) << " and " << shape::str(b);
  if ((getTransposeA() && a.size() < 2) || (getTransposeB() && b.size() < 2))
    return emitOpError("cannot transpose ") << shape::str(a) << " or " << shape::str(b);
  if (getTransposeA())
    std::swap(a[a.size() - 1], a[a.size() - 2]);
  if (getTransposeB())
    std::swap(b[b.size() - 1], b[b.size() - 2]);
  // As in numpy: a vector is a row on the left, a column on the right, and loses that dimension.
  bool vectorA = a.size() == 1, vectorB = b.size() == 1;
  if (vectorA)
    a.insert(a.begin(), ctx.constant(1));
  if (vectorB)
    b.push_back(ctx.constant(1));
  if (shape::differ(a.back(), b[b.size() - 2]))
    return emitOpError("reduces dimensions ")
           << a.back().str() << " and " << b[b.size() - 2].str() << " of "
           << shape::str(ctx.dims(getA())) << " and " << shape::str(ctx.dims(getB()));
  std::optional<Dims> dims =
      broadcastDims(ctx, ArrayRef<Dim>(a).drop_back(2), ArrayRef<Dim>(b).drop_back(2));
  if (!dims)
    return emitOpError("batch dimensions do not broadcast: ")
           << shape::str(ctx.dims(getA())) << " and " << shape::str(ctx.dims(getB()));
  if (!vectorA)
    dims->push_back(a[a.size() - 2]);
  if (!vectorB)
    dims->push_back(b.back());
  if (getBias() && dims->empty())
    return emitOpError("a scalar result has no dimension for a bias");
  Dim rows = a[a.size() - 2], columns = b.back();
  if (failed(checkBiasAndEpilogue(*this, ctx, *dims, dims->empty() ? Dim() : dims->back())) ||
      failed(checkZeroPoint(*this, ctx, getAZero(), rows, "sizes of a_zero and the result")) ||
      failed(checkZeroPoint(*this, ctx, getBZero(), columns, "sizes of b_zero and the result")))
    return failure();
  setContraction(cast<LinearOp>(getOperation()), ctx, ctx.info(getA()).elementType, *dims);
  return success();
}

LogicalResult InverseOp::inferShapes(ShapeContext &ctx) {
  Dims x(ctx.dims(getX()));
  if (x.size() < 2 || shape::differ(x[x.size() - 1], x[x.size() - 2]))
    return emitOpError("x must be square matrices, got ") << shape::str(x);
  ctx.set(getResult(), ctx.info(getX()).elementType, x);
  return success();
}

/// A term of an equation with its ellipsis: `before...after`.
static void splitEllipsis(StringRef term, StringRef &before, StringRef &after, bool &hasEllipsis) {
  std::tie(before, after) = term.split("...");
  hasEllipsis = term.contains("...");
}

LogicalResult EinsumOp::inferShapes(ShapeContext &ctx) {
  auto [inputs, output] = getEquation().split("->");
  SmallVector<StringRef> terms;
  inputs.split(terms, ',');
  if (!getEquation().contains("->") || terms.size() != getInputs().size())
    return emitOpError("equation '")
           << getEquation() << "' does not fit " << getInputs().size() << " inputs";
  std::map<char, Dim> sizes;
  Dims ellipsis;
  auto bind = [&](char name, Dim d) {
    Dim &known = sizes[name];
    if (!known)
      known = d;
    else if (!known.isConst(1) && !d.isConst(1) && shape::differ(known, d))
      return LogicalResult(emitOpError("size of '")
                           << name << "' is both " << known.str() << " and " << d.str());
    else
      known = known.isConst(1) ? d : shape::unify(known, d);
    return success();
  };
  for (auto [term, input] : llvm::zip(terms, getInputs())) {
    ArrayRef<Dim> dims = ctx.dims(input);
    StringRef before, after;
    bool hasEllipsis;
    splitEllipsis(term, before, after, hasEllipsis);
    size_t named = before.size() + after.size();
    if (dims.size() < named || (!hasEllipsis && dims.size() != named))
      return emitOpError("term '") << term << "' does not fit " << shape::str(dims);
    for (auto [name, d] : llvm::zip(before, dims))
      if (failed(bind(name, d)))
        return failure();
    for (auto [name, d] : llvm::zip(after, dims.take_back(after.size())))
      if (failed(bind(name, d)))
        return failure();
    auto both = broadcastDims(ctx, ellipsis, dims.slice(before.size(), dims.size() - named));
    if (!both)
      return emitOpError("dimensions of '...' do not broadcast");
    ellipsis = *both;
  }
  StringRef before, after;
  bool hasEllipsis;
  splitEllipsis(output, before, after, hasEllipsis);
  Dims dims;
  for (StringRef part : {before, after}) {
    for (char name : part) {
      auto it = sizes.find(name);
      if (it == sizes.end())
        return emitOpError("output index '") << name << "' is in no input";
      dims.push_back(it->second);
    }
    if (part.data() == before.data() && hasEllipsis)
      dims.append(ellipsis);
    if (!hasEllipsis)
      break; // Everything was before.
  }
  ctx.set(getResult(), ctx.info(getInputs().front()).elementType, dims);
  return success();
}

LogicalResult AttentionOp::inferShapes(ShapeContext &ctx) {
  for (auto [v, name] : {std::pair<Value, StringRef>{getQ(), "q"}, {getK(), "k"}, {getV(), "v"}})
    if (failed(shape::checkRank(*this, ctx, v, name, 4)))
      return failure();
  Dims q(ctx.dims(getQ())), k(ctx.dims(getK())), v(ctx.dims(getV()));
  if (failed(shape::checkSame(*this, q[0], k[0], "batch sizes of q and k")) ||
      failed(shape::checkSame(*this, k[0], v[0], "batch sizes of k and v")) ||
      failed(shape::checkSame(*this, k[1], v[1], "heads of k and v")) ||
      failed(shape::checkSame(*this, k[2], v[2], "lengths of k and v")) ||
      failed(shape::checkSame(*this, q[3], k[3], "head sizes of q and k")))
    return failure();
  if (q[1].isConst() && k[1].isConst() && (k[1].value() < 1 || q[1].value() % k[1].value()))
    return emitOpError("heads of q (")
           << q[1].value() << ") are no multiple of those of k (" << k[1].value() << ")";
  if (getMask()) {
    Dims scores{q[0], q[1], q[2], k[2]};
    auto both = broadcastDims(ctx, scores, ctx.dims(getMask()));
    bool fits = both && both->size() == 4;
    for (size_t i = 0; fits && i < 4; ++i)
      fits = !shape::differ((*both)[i], scores[i]);
    if (!fits)
      return emitOpError("mask of ")
             << shape::str(ctx.dims(getMask())) << " does not broadcast to " << shape::str(scores);
  }
  Dim batch = shape::unify(q[0], shape::unify(k[0], v[0]));
  ctx.set(getResult(), ctx.info(getQ()).elementType, {batch, q[1], q[2], v[3]});
  return success();
}

LogicalResult GroupedMatMulOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> x = ctx.dims(getX());
  if (x.size() != 2 && x.size() != 3)
    return emitOpError("x must have rank 2 or 3, got ") << shape::str(x);
  if (failed(shape::checkRank(*this, ctx, getW(), "w", 3)) ||
      failed(shape::checkRank(*this, ctx, getGroup(), "group", 2)))
    return failure();
  ArrayRef<Dim> w = ctx.dims(getW()), group = ctx.dims(getGroup());
  if (failed(shape::checkSame(*this, x.back(), w[2], "last dimensions of x and w")) ||
      failed(shape::checkSame(*this, x[0], group[0], "rows of x and group")) ||
      (x.size() == 3 && failed(shape::checkSame(*this, x[1], group[1], "choices of x and group"))))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, {shape::unify(x[0], group[0]), group[1], w[1]});
  return success();
}

LogicalResult MoEOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> x = ctx.dims(getX()), score = ctx.dims(getScore());
  if (x.empty() || x.size() != score.size())
    return emitOpError("x of ") << shape::str(x) << " and score of " << shape::str(score)
                                << " must have one rank of 1 or more";
  if (failed(shape::checkRank(*this, ctx, getW1(), "w1", 3)) ||
      failed(shape::checkRank(*this, ctx, getW2(), "w2", 3)))
    return failure();
  ArrayRef<Dim> w1 = ctx.dims(getW1()), w2 = ctx.dims(getW2());
  Dims result(x.drop_back());
  for (size_t i = 0; i < result.size(); ++i) {
    if (failed(shape::checkSame(*this, x[i], score[i], "rows of x and score")))
      return failure();
    result[i] = shape::unify(x[i], score[i]);
  }
  result.push_back(w2[1]);
  if (failed(shape::checkSame(*this, x.back(), w1[2], "last dimensions of x and w1")) ||
      failed(shape::checkSame(*this, w1[0], w2[0], "experts of w1 and w2")) ||
      failed(shape::checkSame(*this, w1[0], score.back(), "experts of w1 and score")) ||
      failed(shape::checkSame(*this, w1[1], w2[2], "hidden sizes of w1 and w2")))
    return failure();
  if (getW3()) {
    ArrayRef<Dim> w3 = ctx.dims(getW3());
    if (failed(shape::checkRank(*this, ctx, getW3(), "w3", 3)))
      return failure();
    for (int i = 0; i < 3; ++i)
      if (failed(shape::checkSame(*this, w1[i], w3[i], "dimensions of w1 and w3")))
        return failure();
  }
  for (auto [bias, name] : {std::pair(getBias1(), "bias1"), std::pair(getBias3(), "bias3")}) {
    if (!bias)
      continue;
    if (failed(shape::checkRank(*this, ctx, bias, name, 2)) ||
        failed(shape::checkSame(*this, ctx.dims(bias)[0], w1[0], "experts of w1 and a bias")) ||
        failed(shape::checkSame(*this, ctx.dims(bias)[1], w1[1], "hidden sizes of w1 and a bias")))
      return failure();
  }
  if (getBias() && (failed(shape::checkRank(*this, ctx, getBias(), "bias", 1)) ||
                    failed(shape::checkSame(*this, ctx.dims(getBias())[0], w2[1], "w2 and bias"))))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, std::move(result));
  return success();
}

LogicalResult RotaryOp::inferShapes(ShapeContext &ctx) {
  ArrayRef<Dim> x = ctx.dims(getX());
  if (x.empty())
    return emitOpError("x must have rank 1 or more");
  Dim odd = x.back().mod(ctx.constant(2));
  if (odd.isConst() && !odd.isConst(0))
    return emitOpError("cannot pair the ") << x.back().str() << " elements of the last dimension";
  for (Value angles : {getCos(), getSin()}) {
    Dims dims(ctx.dims(angles));
    if (dims.empty() || (shape::differ(dims.back() * 2, x.back()) && shape::differ(dims.back(), x.back())))
      return emitOpError("angles of ") << shape::str(dims) << " do not fit x of " << shape::str(x);
    dims.back() = x.back();
    std::optional<Dims> both = broadcastDims(ctx, x, dims);
    bool fits = both && both->size() == x.size();
    for (size_t i = 0; fits && i < x.size(); ++i)
      fits = !shape::differ((*both)[i], x[i]);
    if (!fits)
      return emitOpError("angles of ") << shape::str(ctx.dims(angles)) << " do not broadcast to " << shape::str(x);
  }
  ctx.set(getResult(), ctx.info(getX()).elementType, Dims(x));
  return success();
}

LogicalResult LinearAttentionOp::inferShapes(ShapeContext &ctx) {
  for (auto [v, name] : {std::pair<Value, StringRef>{getQ(), "q"}, {getK(), "k"}, {getV(), "v"},
                         {getDecay(), "decay"}, {getBeta(), "beta"}})
    if (v && failed(shape::checkRank(*this, ctx, v, name, 3)))
      return failure();
  Dims q(ctx.dims(getQ())), k(ctx.dims(getK())), v(ctx.dims(getV()));
  int64_t heads = getHeads(), keyHeads = getKeyHeads();
  auto perHead = [&](Dim d, int64_t count, StringRef name) -> FailureOr<Dim> {
    Dim rest = d.mod(d.context().constant(count));
    if (rest.isConst() && !rest.isConst(0))
      return emitOpError() << count << " heads do not divide " << d.str() << " columns of " << name;
    return d.floorDiv(count);
  };
  auto width = perHead(q[2], heads, "q"), keyWidth = perHead(k[2], keyHeads, "k"),
       valueWidth = perHead(v[2], keyHeads, "v");
  if (failed(width) || failed(keyWidth) || failed(valueWidth) ||
      failed(shape::checkSame(*this, *width, *keyWidth, "head sizes of q and k")))
    return failure();
  for (Value other : {getK(), getV(), getDecay(), getBeta()})
    for (unsigned axis = 0; other && axis < 2; ++axis)
      if (failed(shape::checkSame(*this, q[axis], ctx.dims(other)[axis],
                                  "batch sizes and lengths of q and the other operands")))
        return failure();
  if (getDecay()) {
    Dim size = ctx.dims(getDecay())[2];
    if (shape::differ(size, ctx.constant(keyHeads)) && shape::differ(size, k[2]))
      return emitOpError("decay has ") << size.str() << " numbers at each position, expected "
                                       << keyHeads << " or " << k[2].str();
  }
  if (getBeta()) {
    Dim size = ctx.dims(getBeta())[2];
    if (shape::differ(size, ctx.constant(keyHeads)) && shape::differ(size, ctx.constant(1)))
      return emitOpError("beta has ") << size.str() << " numbers at each position, expected "
                                      << keyHeads << " or 1";
  }
  Dims state{q[0], ctx.constant(keyHeads), shape::unify(*width, *keyWidth), *valueWidth};
  Type stateType = ctx.info(getQ()).elementType;
  if (getPast()) {
    if (failed(shape::checkRank(*this, ctx, getPast(), "past", 4)))
      return failure();
    for (auto [a, b] : llvm::zip(state, ctx.dims(getPast())))
      if (failed(shape::checkSame(*this, a, b, "dimensions of past and the state")))
        return failure();
    stateType = ctx.info(getPast()).elementType;
  }
  ctx.set(getResult(), ctx.info(getQ()).elementType, {q[0], q[1], *valueWidth * heads});
  ctx.set(getPresent(), stateType, state);
  return success();
}

//===----------------------------------------------------------------------===//
// Pooling
//===----------------------------------------------------------------------===//

template <typename Pool> static FailureOr<Dims> poolDims(Pool op, ShapeContext &ctx) {
  Dims dims(ctx.dims(op.getX()));
  size_t spatialRank = op.getKernel().size();
  if (dims.size() != spatialRank + 2 || op.getStrides().size() != spatialRank ||
      op.getDilations().size() != spatialRank || op.getPads().size() != 2 * spatialRank)
    return op.emitOpError("x ") << shape::str(dims) << " and the attributes have different ranks";
  unsigned begin = spatialBegin(op.getChannelsLast());
  for (size_t i = 0; i < spatialRank; ++i) {
    if (op.getStrides()[i] < 1 || op.getKernel()[i] < 1 || op.getDilations()[i] < 1)
      return op.emitOpError("kernel, strides and dilations must be at least 1");
    Dim window = dilated(ctx.constant(op.getKernel()[i]), op.getDilations()[i]);
    Dim count = windowCount(dims[begin + i], op.getPads()[i], op.getPads()[spatialRank + i], window,
                            op.getStrides()[i], op.getCeilMode());
    if (!count)
      return op.emitOpError("window of ")
             << window.str() << " is larger than the padded size along axis " << i << " of "
             << shape::str(ctx.dims(op.getX()));
    dims[begin + i] = count;
  }
  return dims;
}

LogicalResult MaxPoolOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dims> dims = poolDims(*this, ctx);
  if (failed(dims))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, *dims);
  if (getIndices())
    ctx.set(getIndices(), IntegerType::get(getContext(), 64), *dims);
  return success();
}

LogicalResult LpPoolOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dims> dims = poolDims(*this, ctx);
  if (failed(dims))
    return failure();
  if ((int64_t)getP() < 1)
    return emitOpError("p must be at least 1, got ") << (int64_t)getP();
  ctx.set(getResult(), ctx.info(getX()).elementType, *dims);
  return success();
}

LogicalResult AvgPoolOp::inferShapes(ShapeContext &ctx) {
  FailureOr<Dims> dims = poolDims(*this, ctx);
  if (failed(dims))
    return failure();
  ctx.set(getResult(), ctx.info(getX()).elementType, *dims);
  return success();
}

} // namespace nnopt::nn

//===- ShapeFunctionsRandom.cpp - random numbers --------------------------===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

LogicalResult RandomKeyOp::inferShapes(ShapeContext &ctx) {
  ctx.set(getResult(), IntegerType::get(getContext(), 64), {ctx.constant(2)});
  return success();
}

LogicalResult RandomOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkRank(*this, ctx, getKey(), "key", 1)) ||
      failed(shape::checkSame(*this, ctx.dims(getKey())[0], ctx.constant(2), "elements of key")))
    return failure();
  std::optional<Dims> dims = shape::partialContent(ctx, getShape());
  if (!dims)
    dims = Dims(getResult().getType().getRank(), Dim());
  for (unsigned i = 0; i < dims->size(); ++i) {
    Dim &d = (*dims)[i];
    if (d && d.isConst() && d.value() < 0)
      return emitOpError("shape has a negative size: ") << shape::str(*dims);
    if (!d || !(d.isConst() || d.isAtLeast(0)))
      d = shape::unknownDim(ctx, *this, 0, dims->size(), i, "random");
  }
  ctx.set(getResult(), getElement(), *dims);
  return success();
}

} // namespace nnopt::nn

//===- ShapeFunctionsClassical.cpp - trees, tables, n-grams ---------------===//
#include "dialects/nn/ShapeHelpers.h"

using namespace mlir;

namespace nnopt::nn {

LogicalResult LookupOp::inferShapes(ShapeContext &ctx) {
  if (ctx.info(getKeys()).elementType != ctx.info(getX()).elementType)
    return emitOpError("keys must have the element type of x");
  if (failed(shape::checkRank(*this, ctx, getKeys(), "keys", 1)))
    return failure();
  ctx.set(getResult(), IntegerType::get(getContext(), 64), Dims(ctx.dims(getX())));
  return success();
}

LogicalResult TreeEnsembleOp::inferShapes(ShapeContext &ctx) {
  if (failed(shape::checkRank(*this, ctx, getX(), "x", 2)))
    return failure();
  ctx.set(getResult(), ctx.info(getWeights()).elementType,
          {ctx.dims(getX())[0], ctx.constant(int64_t(getNumTargets()))});
  return success();
}

LogicalResult NGramCountOp::inferShapes(ShapeContext &ctx) {
  Dims dims(ctx.dims(getX()));
  if (dims.empty() || dims.size() > 2)
    return emitOpError("x must have rank 1 or 2, got ") << shape::str(dims);
  dims.back() = ctx.constant(int64_t(getColumns()));
  ctx.set(getResult(), Float32Type::get(getContext()), dims);
  return success();
}

} // namespace nnopt::nn

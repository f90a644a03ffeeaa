//===- Scalar.cpp - scalar regions of epilogues and maps ------------------===//
#include "passes/common/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nnopt {

Type scalarTypeOf(Value tensor) {
  Type type = elementTypeOf(tensor);
  if (auto integer = dyn_cast<IntegerType>(type))
    return IntegerType::get(integer.getContext(), integer.getWidth());
  return type;
}

SmallVector<Value> inlineRegion(OpBuilder &b, Region &region, ValueRange args) {
  Block &block = region.front();
  IRMapping mapping;
  mapping.map(block.getArguments(), args);
  for (Operation &op : block.without_terminator())
    b.clone(op, mapping);
  SmallVector<Value> results;
  for (Value v : block.getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(v));
  return results;
}

SmallVector<Value> emitScalar(OpBuilder &b, Operation *op, ValueRange args) {
  if (auto map = dyn_cast<nn::MapOp>(op))
    return inlineRegion(b, map.getBody(), args.take_front(map.getInputs().size()));
  return {cast<nn::Elementwise>(op).buildScalar(b, op->getLoc(), args)};
}

bool isDequantizationByNumbers(Operation *op) {
  auto dequantize = dyn_cast_or_null<nn::DequantizeOp>(op);
  if (!dequantize || !dequantize.getTo().isF32())
    return false;
  auto type = dyn_cast<IntegerType>(elementTypeOf(dequantize.getX()));
  Value zero = dequantize.getZeroPoint();
  return type && type.getWidth() <= 8 && scalarOf(dequantize.getScale()) && (!zero || scalarOf(zero));
}

Value emitScalarConstant(OpBuilder &b, Location loc, Value constant) {
  Type type = scalarTypeOf(constant);
  auto data = nn::ConstantData::get(constant);
  if (!data || data->size() != 1)
    return {};
  if (isa<Float32Type, Float64Type, Float16Type, BFloat16Type>(type))
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, data->asDouble(0)));
  if (auto integer = dyn_cast<IntegerType>(type))
    return arith::ConstantOp::create(
        b, loc,
        IntegerAttr::get(type,
                         APInt(integer.getWidth(), (uint64_t)data->asInt(0), /*isSigned=*/true,
                               /*implicitTrunc=*/true)));
  return {};
}

} // namespace nnopt

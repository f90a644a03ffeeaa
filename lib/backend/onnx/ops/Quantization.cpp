//===- Quantization.cpp - export rules of quantize and dequantize ---------===//
//
// Scales and zero points broadcast against x here; ONNX has one for the whole tensor, one for each position along
// an axis, or one for each block along an axis: scale[..., i, ...] for positions [i * block_size, (i + 1) * block_size)
// of it. With one block the axis is the one that they are broadcast along. The operators have grown types from set to set.
// What they cannot say, like a scale for each row of unknown length, is written as the arithmetic that it is.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// The first operator set whose QuantizeLinear and DequantizeLinear know a quantized type.
int64_t sinceOf(Type type) {
  unsigned width = type.getIntOrFloatBitWidth();
  if (isa<FloatType>(type))
    return width == 8 ? (isa<Float8E8M0FNUType>(type) ? 24 : 19) : 23;
  if (width == 2)
    return 25;
  return width == 8 || width == 32 ? 10 : 21;
}

/// Where a parameter has more than one element: none, or the axis of x; nothing if ONNX cannot say it.
std::optional<int64_t> axisOf(OpExport &e, Value x, Value parameter) {
  ArrayRef<int64_t> shape = tensorType(parameter).getShape();
  if (int64_t(shape.size()) > rankOf(x))
    return std::nullopt;
  int64_t axis = -1;
  for (auto [i, size] : llvm::enumerate(shape))
    if (size != 1) {
      if (axis >= 0 || size != tensorType(x).getDimSize(rankOf(x) - shape.size() + i))
        return std::nullopt;
      axis = rankOf(x) - shape.size() + i;
    }
  return axis;
}

/// The dimension along which a parameter of x's rank has one block, and its size; nothing where it broadcasts
/// along several, or sizes are not known. A parameter for each element has blocks of one.
std::optional<std::pair<int64_t, int64_t>> blockOf(Value x, Value parameter) {
  ArrayRef<int64_t> from = tensorType(x).getShape(), shape = tensorType(parameter).getShape();
  if (from.size() != shape.size() || ShapedType::isDynamicShape(from) || from.empty())
    return std::nullopt;
  std::optional<int64_t> axis;
  for (auto [i, size] : llvm::enumerate(shape)) {
    if (size == from[i])
      continue;
    if (size != 1 || axis)
      return std::nullopt;
    axis = i;
  }
  return axis ? std::make_pair(*axis, from[*axis]) : std::make_pair(int64_t(from.size()) - 1, int64_t(1));
}

/// x, scale and zero point, and the attributes `axis` and `block_size`; nothing where the operators cannot say it.
template <typename OpTy> std::optional<std::pair<Names, Attrs>> operands(OpExport &e, OpTy op) {
  Value x = op.getX(), scale = op.getScale(), zero = op.getZeroPoint();
  std::optional<int64_t> axis = axisOf(e, x, scale);
  if (!axis || (zero && axisOf(e, x, zero) != axis)) {
    auto block = blockOf(x, scale);
    if (!block || (zero && tensorType(zero).getShape() != tensorType(scale).getShape()))
      return std::nullopt;
    e.need(21);
    // Constants that only broadcast are written by these rules.
    auto named = [&](Value v) {
      auto constant = v.getDefiningOp<nn::ConstantOp>();
      return constant ? e.constant(constant.getValue()) : e.name(v);
    };
    Names inputs = {e.name(x), named(scale)};
    if (zero)
      inputs.push_back(named(zero));
    return std::pair(inputs, Attrs{intAttr("axis", block->first), intAttr("block_size", block->second)});
  }
  auto shaped = [&](Value v) {
    int64_t rank = *axis < 0 ? 0 : 1;
    if (rankOf(v) == rank)
      return e.name(v);
    if (auto constant = v.getDefiningOp<nn::ConstantOp>(); constant && rankOf(v) > 1) {
      SmallVector<int64_t> shape(rank, tensorType(v).getNumElements());
      auto type = RankedTensorType::get(shape, elementTypeOf(v));
      if (auto data = nn::ConstantData::get(constant.getValue()))
        return e.constant(nn::makeConstant(type, data->bytes(), "parameter"));
    }
    return e.step("Reshape", {e.name(v), e.ints(*axis < 0 ? Ints() : Ints{-1})});
  };
  Names inputs = {e.name(x), shaped(scale)};
  if (zero)
    inputs.push_back(shaped(zero));
  Attrs attrs;
  if (*axis >= 0) {
    e.need(13);
    attrs.push_back(intAttr("axis", *axis));
  }
  return std::pair(inputs, attrs);
}

[[noreturn]] void refuse(OpExport &e) {
  e.unsupported("scale", "ONNX has one for the whole tensor, one for each position along an axis whose size is known, or one for "
                         "each block along an axis; others are written for integers of 8 bits and 32-bit floats only");
}

/// cast(clip(round(x / scale) + zero))
void writeQuantize(OpExport &e, nn::QuantizeOp op) {
  Type type = elementTypeOf(op.getX());
  bool isUnsigned = op.getTo().isUnsignedInteger();
  if (!type.isF32() || elementTypeOf(op.getScale()) != type || op.getPrecision() || !op.getTo().isInteger(8))
    refuse(e);
  e.need(13);
  std::string q = e.step("Round", {e.step("Div", {e.name(op.getX()), e.name(op.getScale())})});
  if (Value zero = op.getZeroPoint())
    q = e.step("Add", {q, e.cast(e.name(zero), type)});
  q = e.step("Clip", {q, e.number(isUnsigned ? 0 : -128, type), e.number(isUnsigned ? 255 : 127, type)});
  e.finish("Cast", {q}, {intAttr("to", onnxDataType(op.getTo()))});
}

/// cast(x - zero) * scale
void writeDequantize(OpExport &e, nn::DequantizeOp op) {
  Type type = op.getTo();
  if (!type.isF32() || elementTypeOf(op.getScale()) != type || !elementTypeOf(op.getX()).isInteger(8))
    refuse(e);
  e.need(13);
  std::string x = e.cast(e.name(op.getX()), type);
  if (Value zero = op.getZeroPoint())
    x = e.step("Sub", {x, e.cast(e.name(zero), type)});
  e.finish("Mul", {x, e.name(op.getScale())});
}

void exportQuantize(OpExport &e, nn::QuantizeOp op) {
  Type to = op.getTo(), scaleType = elementTypeOf(op.getScale());
  auto found = operands(e, op);
  if (!found)
    return writeQuantize(e, op);
  e.need(sinceOf(to));
  auto [inputs, attrs] = *found;
  if (!scaleType.isF32() || !(elementTypeOf(op.getX()).isF32() || elementTypeOf(op.getX()).isInteger(32)))
    e.need(scaleType == elementTypeOf(op.getX()) ? 19 : 23);
  if (op.getPrecision() && *op.getPrecision() != scaleType) {
    e.need(23);
    attrs.push_back(intAttr("precision", onnxDataType(*op.getPrecision())));
  }
  if (isa<FloatType>(to) && !op.getSaturate())
    attrs.push_back(intAttr("saturate", 0));
  if (!op.getZeroPoint() && to != IntegerType::get(e.op->getContext(), 8, IntegerType::Unsigned)) {
    e.need(21);
    attrs.push_back(intAttr("output_dtype", onnxDataType(to)));
  }
  e.finish("QuantizeLinear", inputs, std::move(attrs));
}

void exportDequantize(OpExport &e, nn::DequantizeOp op) {
  Type scaleType = elementTypeOf(op.getScale());
  auto found = operands(e, op);
  if (!found)
    return writeDequantize(e, op);
  e.need(sinceOf(elementTypeOf(op.getX())));
  auto [inputs, attrs] = *found;
  if (!scaleType.isF32())
    e.need(19);
  if (op.getTo() != scaleType) {
    e.need(23);
    attrs.push_back(intAttr("output_dtype", onnxDataType(op.getTo())));
  }
  e.finish("DequantizeLinear", inputs, std::move(attrs));
}

} // namespace

void addQuantization(ExportRegistry &r) {
  r.add<nn::QuantizeOp>(exportQuantize);
  r.add<nn::DequantizeOp>(exportDequantize);
}

} // namespace nnopt::onnx

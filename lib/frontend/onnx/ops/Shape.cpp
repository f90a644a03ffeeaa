//===- Shape.cpp - import rules of constants and shape operators ----------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

Value tensorConstant(Node &n, ElementsAttr value, const TensorError &error) {
  if (value)
    return n.constant(value);
  if (error.unsupported)
    n.unsupported("constant", error.text);
  n.invalid("its tensor: " + error.text);
}

void importConstant(Node &n) {
  StringRef name = n.proto.output_size() ? StringRef(n.proto.output(0)) : "";
  TensorError error;
  if (const pb::AttributeProto *a = n.attr("value")) {
    n.out(0, tensorConstant(n, makeTensor(n.ctx(), n.importer.file, a->t(), name, error), error));
  } else if (const pb::AttributeProto *a = n.attr("sparse_value")) {
    n.out(0, tensorConstant(
                 n, makeTensor(n.ctx(), n.importer.file, a->sparse_tensor(), name, error), error));
  } else if (auto v = n.optF("value_float")) {
    n.out(0, n.constant(nn::makeFloats(n.ctx(), {}, {float(*v)}, name)));
  } else if (const pb::AttributeProto *a = n.attr("value_floats")) {
    SmallVector<float> floats(a->floats().begin(), a->floats().end());
    n.out(0, n.constant(nn::makeFloats(n.ctx(), {int64_t(floats.size())}, floats, name)));
  } else if (n.hasAttr("value_int")) {
    n.out(0, n.intConstant(n.i("value_int")));
  } else if (auto v = n.ints("value_ints")) {
    n.out(0, n.intsConstant(*v));
  } else if (n.hasAttr("value_string")) {
    n.out(0, n.constant(makeStrings(n.ctx(), {}, {n.s("value_string", "")})));
  } else if (auto list = n.strings("value_strings")) {
    n.out(0, stringsConstant(n, *list));
  } else {
    n.invalid("it has no value");
  }
}

/// start and end are clamped to the rank (opset 15).
void importShape(Node &n) {
  int64_t rank = n.rank(n.in(0)), start = n.i("start", 0), end = n.i("end", rank);
  auto clamp = [&](int64_t v) { return std::clamp(v < 0 ? v + rank : v, int64_t(0), rank); };
  start = clamp(start);
  end = std::max(clamp(end), start);
  n.out(0, n.make<nn::ShapeOp>(n.in(0), n.i64(start), end == rank ? IntegerAttr() : n.i64(end)));
}

void importSize(Node &n) { n.out(0, n.make<nn::SizeOp>(n.in(0))); }

void importConstantOfShape(Node &n) {
  ElementsAttr value = nn::makeFloats(n.ctx(), {1}, {0.f}, "");
  if (const pb::AttributeProto *a = n.attr("value")) {
    TensorError error;
    value = makeTensor(n.ctx(), n.importer.file, a->t(), "value", error);
    if (!value && error.unsupported)
      n.unsupported("attribute 'value'", error.text);
    if (!value)
      n.invalid("attribute 'value': " + error.text);
    if (value.getNumElements() != 1)
      n.invalid("attribute 'value' must have one element");
  }
  n.out(0, n.make<nn::ConstantOfShapeOp>(shapeOperand(n, n.in(0), "shape"), value));
}

void importRange(Node &n) {
  n.ignore({"stash_type"}); // precision of the accumulation; ours is never lower
  n.needSameType({n.in(0), n.in(1), n.in(2)});
  n.out(0, n.make<nn::RangeOp>(n.scalar(n.in(0)), n.scalar(n.in(1)), n.scalar(n.in(2))));
}

/// Ones on a diagonal: a constant where the shape is known and not huge.
void importEyeLike(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 2, 2);
  int64_t k = n.i("k", 0);
  Type type = n.elt(x);
  if (n.hasAttr("dtype")) {
    int64_t dtype = n.i("dtype");
    type = elementType(n.ctx(), dtype);
    if (!type)
      n.unsupported("attribute 'dtype'",
                    "element type " + dataTypeName(dtype) + " is not supported");
  }
  Dim height = n.dim(x, 0), width = n.dim(x, 1);
  constexpr int64_t most = 1 << 20;
  if (!height.isConst() || !width.isConst() || height.value() > most || width.value() > most ||
      height.value() * width.value() > most) {
    Value row = n.make<nn::AddOp>(n.countTo(n.sizeOf(x, 0)), n.intConstant(k));
    Value equal = n.make<nn::EqualOp>(n.unsqueeze(row, {1}), n.unsqueeze(n.countTo(n.sizeOf(x, 1)), {0}));
    n.out(0, n.convert(equal, type));
    return;
  }
  int64_t rows = height.value(), columns = width.value();
  auto one = nn::ConstantData::get(n.number(1, type));
  int64_t size = nn::elementBytes(type);
  std::vector<char> bytes(rows * columns * size, 0);
  for (int64_t row = 0; row < rows; ++row)
    if (int64_t column = row + k; column >= 0 && column < columns)
      std::memcpy(&bytes[(row * columns + column) * size], one->bytes().data(), size);
  n.out(0,
        n.constant(nn::makeConstant(RankedTensorType::get({rows, columns}, type), bytes, "eye")));
}

} // namespace

void registerShapeOps(Registry &r) {
  r.add("Constant", 0, 0, importConstant);
  r.add("Shape", 1, 1, importShape);
  r.add("Size", 1, 1, importSize);
  r.add("ConstantOfShape", 1, 1, importConstantOfShape, 1, 9);
  r.add("Range", 3, 3, importRange, 1, 11);
  r.add("EyeLike", 1, 1, importEyeLike, 1, 9);
}

} // namespace nnopt::onnx

//===- Tensors.cpp - ONNX element types and tensors -----------------------===//
#include "lib/frontend/onnx/Tensors.h"
#include "lib/frontend/onnx/ModelFile.h"
#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

using DataType = pb::TensorProto;

/// Elements of a typed data field, narrowed to the element's width.
template <typename To, typename Field> std::vector<char> narrow(const Field &field) {
  std::vector<char> bytes(field.size() * sizeof(To));
  char *out = bytes.data();
  for (auto value : field) {
    To narrowed = static_cast<To>(value);
    std::memcpy(out, &narrowed, sizeof(To));
    out += sizeof(To);
  }
  return bytes;
}

/// The typed data field for a data type as bytes (which field holds which type is fixed by
/// TensorProto's comments). Nothing when a value does not fit the type.
std::optional<std::vector<char>> typedBytes(const pb::TensorProto &t) {
  switch (t.data_type()) {
  case DataType::FLOAT:
    return narrow<float>(t.float_data());
  case DataType::DOUBLE:
    return narrow<double>(t.double_data());
  case DataType::INT64:
    return narrow<int64_t>(t.int64_data());
  case DataType::UINT64:
    return narrow<uint64_t>(t.uint64_data());
  case DataType::UINT32:
    return narrow<uint32_t>(t.uint64_data());
  case DataType::INT32:
    return narrow<int32_t>(t.int32_data());
  case DataType::INT16:
  case DataType::UINT16:
  case DataType::FLOAT16:
  case DataType::BFLOAT16:
    return narrow<uint16_t>(t.int32_data());
  case DataType::BOOL: {
    std::vector<char> bytes;
    for (int32_t v : t.int32_data())
      bytes.push_back(v != 0);
    return bytes;
  }
  default: // 8-bit types, and narrower ones as packed bytes
    return narrow<uint8_t>(t.int32_data());
  }
}

/// Elements narrower than a byte, packed from the low bits on, as one byte each: memory of
/// ConstantData.
std::vector<char> unpack(ArrayRef<char> packed, Type element, int64_t count) {
  unsigned bits = element.getIntOrFloatBitWidth(), perByte = 8 / bits;
  bool isSigned = element.isSignlessInteger();
  std::vector<char> bytes(count);
  for (int64_t i = 0; i < count; ++i) {
    unsigned v = (uint8_t)packed[i / perByte] >> (i % perByte * bits) & ((1u << bits) - 1);
    bytes[i] = isSigned ? SignExtend32(v, bits) : v;
  }
  return bytes;
}

std::string dimsText(ArrayRef<int64_t> dims) {
  std::string text = "[";
  raw_string_ostream os(text);
  interleaveComma(dims, os);
  return text + "]";
}

ElementsAttr invalid(TensorError &error, const Twine &text) {
  error.text = text.str();
  return {};
}

} // namespace

Type elementType(MLIRContext *ctx, int32_t dataType) {
  Builder b(ctx);
  switch (dataType) {
  case DataType::FLOAT:
    return b.getF32Type();
  case DataType::DOUBLE:
    return b.getF64Type();
  case DataType::FLOAT16:
    return b.getF16Type();
  case DataType::BFLOAT16:
    return b.getBF16Type();
  case DataType::BOOL:
    return b.getI1Type();
  case DataType::INT8:
    return b.getI8Type();
  case DataType::INT16:
    return b.getI16Type();
  case DataType::INT32:
    return b.getI32Type();
  case DataType::INT64:
    return b.getI64Type();
  case DataType::UINT8:
    return b.getIntegerType(8, false);
  case DataType::UINT16:
    return b.getIntegerType(16, false);
  case DataType::UINT32:
    return b.getIntegerType(32, false);
  case DataType::UINT64:
    return b.getIntegerType(64, false);
  case DataType::FLOAT8E4M3FN:
    return Float8E4M3FNType::get(ctx);
  case DataType::FLOAT8E4M3FNUZ:
    return Float8E4M3FNUZType::get(ctx);
  case DataType::FLOAT8E5M2:
    return Float8E5M2Type::get(ctx);
  case DataType::FLOAT8E5M2FNUZ:
    return Float8E5M2FNUZType::get(ctx);
  case DataType::STRING:
    return nn::StringType::get(ctx);
  case DataType::FLOAT8E8M0:
    return Float8E8M0FNUType::get(ctx);
  case DataType::FLOAT4E2M1:
    return Float4E2M1FNType::get(ctx);
  case DataType::INT4:
    return b.getIntegerType(4);
  case DataType::INT2:
    return b.getIntegerType(2);
  case DataType::UINT4:
    return b.getIntegerType(4, false);
  case DataType::UINT2:
    return b.getIntegerType(2, false);
  default:
    return {};
  }
}

Type valueType(MLIRContext *ctx, const pb::TypeProto &type) {
  if (type.has_optional_type()) {
    Type element = valueType(ctx, type.optional_type().elem_type());
    return element ? nn::OptionalType::get(ctx, element) : Type();
  }
  if (type.has_sequence_type()) {
    Type element = valueType(ctx, type.sequence_type().elem_type());
    return element && !isa<nn::SequenceType, nn::OptionalType>(element) ? nn::SequenceType::get(ctx, element) : Type();
  }
  if (type.has_map_type()) {
    Type key = elementType(ctx, type.map_type().key_type()), value = valueType(ctx, type.map_type().value_type());
    auto tensor = dyn_cast_or_null<TensorType>(value);
    bool goodKey = key && (key.isSignlessInteger(64) || isa<nn::StringType>(key));
    return goodKey && tensor ? nn::MapType::get(ctx, key, tensor.getElementType()) : Type();
  }
  Type element = type.has_tensor_type() ? elementType(ctx, type.tensor_type().elem_type()) : Type();
  if (!element || !type.tensor_type().has_shape())
    return element ? UnrankedTensorType::get(element) : Type();
  SmallVector<int64_t> shape;
  for (const auto &d : type.tensor_type().shape().dim())
    shape.push_back(d.has_dim_value() && d.dim_value() >= 0 ? d.dim_value() : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

ElementsAttr makeStrings(MLIRContext *ctx, ArrayRef<int64_t> shape, ArrayRef<std::string> values) {
  SmallVector<StringRef> list(values.begin(), values.end());
  return DenseStringElementsAttr::get(RankedTensorType::get(shape, nn::StringType::get(ctx)), list);
}

std::string dataTypeName(int32_t dataType) {
  static constexpr const char *names[] = {
      "undefined",      "float",      "uint8",          "int8",       "uint16",    "int16",
      "int32",          "int64",      "string",         "bool",       "float16",   "double",
      "uint32",         "uint64",     "complex64",      "complex128", "bfloat16",  "float8e4m3fn",
      "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4",      "int4",      "float4e2m1",
      "float8e8m0",     "uint2",      "int2",           "float6e2m3", "float6e3m2"};
  if (dataType >= 0 && size_t(dataType) < std::size(names))
    return names[dataType];
  return "type " + std::to_string(dataType);
}

std::optional<int64_t> elementCount(ArrayRef<int64_t> dims) {
  constexpr int64_t limit = int64_t(1) << 60;
  int64_t count = 1;
  for (int64_t d : dims)
    if (d < 0)
      return std::nullopt;
  if (is_contained(dims, 0))
    return 0;
  for (int64_t d : dims) {
    if (d >= limit / count)
      return std::nullopt;
    count *= d;
  }
  return count;
}

ElementsAttr makeTensor(MLIRContext *ctx, ModelFile &file, const pb::TensorProto &tensor,
                        StringRef name, TensorError &error) {
  Type element = elementType(ctx, tensor.data_type());
  if (!element) {
    error.unsupported = tensor.data_type() > 0 && tensor.data_type() <= DataType::FLOAT6E3M2;
    return invalid(error, "element type " + dataTypeName(tensor.data_type()) +
                              (error.unsupported ? " is not supported" : " does not exist"));
  }
  if (tensor.has_segment()) {
    error.unsupported = true;
    return invalid(error, "tensors stored in segments are not supported");
  }
  SmallVector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  std::optional<int64_t> count = elementCount(dims);
  if (!count)
    return invalid(error, "its dimensions " + dimsText(dims) + " are impossible");
  if (isa<nn::StringType>(element)) {
    std::vector<std::string> values(tensor.string_data().begin(), tensor.string_data().end());
    if (int64_t(values.size()) != *count || tensor.has_raw_data())
      return invalid(error, formatv("its dimensions {0} need {1} strings, but there are {2}", dimsText(dims), *count,
                                    values.size())
                                .str());
    return makeStrings(ctx, dims, values);
  }
  auto type = RankedTensorType::get(dims, element);
  unsigned bits = element.getIntOrFloatBitWidth();
  bool isPacked = bits < 8 && !element.isInteger(1);
  uint64_t wanted = isPacked ? (uint64_t(*count) * bits + 7) / 8
                             : uint64_t(*count) * nn::elementBytes(element);

  auto wrongSize = [&](uint64_t have, const char *unit, uint64_t want) {
    return invalid(error, formatv("its dimensions {0} need {1} {2}, but there are {3}",
                                  dimsText(dims), want, unit, have)
                              .str());
  };
  std::string why;
  std::optional<ArrayRef<char>> raw = file.bytesOf(tensor, why);
  if (!why.empty())
    return invalid(error, why);
  if (raw) {
    // External data without a length reaches to the end of the file.
    bool open = tensor.data_location() == pb::TensorProto::EXTERNAL &&
                none_of(tensor.external_data(), [](const auto &e) { return e.key() == "length"; });
    if (open && raw->size() > wanted)
      raw = raw->take_front(wanted);
    if (raw->size() != wanted)
      return wrongSize(raw->size(), "bytes", wanted);
    if (isPacked)
      return nn::makeConstant(type, unpack(*raw, element, *count), name);
    bool oddBool = element.isInteger(1) && any_of(*raw, [](char c) { return c != 0 && c != 1; });
    if (!oddBool)
      return nn::makeConstantView(type, *raw, name);
    std::vector<char> normalized(raw->begin(), raw->end());
    for (char &c : normalized)
      c = c != 0;
    return nn::makeConstant(type, normalized, name);
  }
  std::optional<std::vector<char>> typed = typedBytes(tensor);
  if (isPacked) {
    if (typed->size() != wanted)
      return wrongSize(typed->size(), "bytes", wanted);
    return nn::makeConstant(type, unpack(*typed, element, *count), name);
  }
  uint64_t elements = typed->size() / nn::elementBytes(element);
  if (elements != uint64_t(*count))
    return wrongSize(elements, "elements", *count);
  return nn::makeConstant(type, *typed, name);
}

ElementsAttr makeTensor(MLIRContext *ctx, ModelFile &file, const pb::SparseTensorProto &sparse,
                        StringRef name, TensorError &error) {
  ElementsAttr values = makeTensor(ctx, file, sparse.values(), name, error);
  if (!values)
    return {};
  if (nn::isHostType(values.getElementType())) {
    error.unsupported = true;
    return invalid(error, "sparse tensors of strings are not supported");
  }
  ElementsAttr indices = makeTensor(ctx, file, sparse.indices(), name, error);
  if (!indices)
    return {};
  SmallVector<int64_t> dims(sparse.dims().begin(), sparse.dims().end());
  std::optional<int64_t> count = elementCount(dims);
  auto valueType = cast<RankedTensorType>(values.getType()),
       indexType = cast<RankedTensorType>(indices.getType());
  int64_t n = valueType.getNumElements(), rank = dims.size(),
          width = nn::elementBytes(valueType.getElementType());
  // A dense copy is made: refuse what only a sparse tensor could hold.
  constexpr int64_t maxBytes = int64_t(1) << 31;
  if (!count || *count > maxBytes / width)
    return invalid(error,
                   "its dimensions " + dimsText(dims) + " are too large for a sparse tensor");
  bool linear = indexType.getRank() == 1;
  if (valueType.getRank() != 1 || !indexType.getElementType().isInteger(64) ||
      indexType.getNumElements() != (linear ? n : n * rank) ||
      (!linear && indexType.getRank() != 2))
    return invalid(error, "its values and indices do not fit together");
  auto valueData = nn::ConstantData::get(Attribute(values)),
       indexData = nn::ConstantData::get(Attribute(indices));
  std::vector<char> dense(*count * width, 0);
  for (int64_t i = 0; i < n; ++i) {
    int64_t at = 0;
    for (int64_t axis = 0; axis < (linear ? 1 : rank); ++axis) {
      int64_t index = indexData->asInt(linear ? i : i * rank + axis),
              size = linear ? *count : dims[axis];
      if (index < 0 || index >= size)
        return invalid(error, "an index of its sparse values is out of range");
      at = at * size + index;
    }
    if (at < *count)
      std::memcpy(&dense[at * width], valueData->bytes().data() + i * width, width);
  }
  return nn::makeConstant(RankedTensorType::get(dims, valueType.getElementType()), dense, name);
}

} // namespace nnopt::onnx

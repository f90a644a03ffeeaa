//===- tensorproto.cpp - reading ONNX test data -----------------------------===//

#include "tools/common/tensorproto.h"
#include "tools/common/hostvalue.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sys/stat.h>

namespace nnopt {
namespace {

/// Fields of a protobuf message, one after the other.
class Fields {
public:
  Fields(const char *begin, const char *end) : at(begin), end(end) {}
  bool done() const { return at == end; }
  bool ok() const { return good; }

  uint32_t field = 0, wire = 0;
  uint64_t value = 0;          // of varints and fixed-size fields
  const char *begin = nullptr; // of length-delimited fields
  size_t size = 0;

  bool next() {
    uint64_t tag = varint();
    field = static_cast<uint32_t>(tag >> 3);
    wire = tag & 7;
    if (!good || !field)
      return good = false;
    size_t length = 0;
    switch (wire) {
    case 0:
      value = varint();
      return good;
    case 1:
      length = 8;
      break;
    case 5:
      length = 4;
      break;
    case 2:
      length = varint();
      break;
    default:
      return good = false;
    }
    if (!good || length > static_cast<size_t>(end - at))
      return good = false;
    begin = at;
    size = length;
    if (wire != 2) {
      value = 0;
      std::memcpy(&value, at, length);
    }
    at += length;
    return true;
  }

  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at == end)
        break;
      uint64_t byte = static_cast<unsigned char>(*at++);
      result |= (byte & 127) << shift;
      if (byte < 128)
        return result;
    }
    good = false;
    return 0;
  }

private:
  const char *at, *end;
  bool good = true;
};

/// A repeated scalar field, packed or not, appended to values.
void appendScalars(const Fields &f, size_t width, std::vector<uint64_t> &values, bool &ok) {
  if (f.wire != 2) {
    values.push_back(f.value);
    return;
  }
  if (width) {
    ok &= f.size % width == 0;
    for (size_t i = 0; i + width <= f.size; i += width) {
      uint64_t v = 0;
      std::memcpy(&v, f.begin + i, width);
      values.push_back(v);
    }
    return;
  }
  Fields packed(f.begin, f.begin + f.size);
  while (!packed.done() && packed.ok())
    values.push_back(packed.varint());
  ok &= packed.ok();
}

/// Bits of an element of a packed sub-byte type; 8 and more elsewhere.
int elementBits(int type) { return typeInfo(type)->dl.bits; }

/// Spreads packed elements to one a byte, sign-extended for signed types.
void unpack(HostTensor &tensor, const unsigned char *packed) {
  int bits = elementBits(tensor.type), perByte = 8 / bits;
  bool isSigned = tensor.type == OnnxInt4 || tensor.type == OnnxInt2;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    int v = packed[i / perByte] >> (i % perByte * bits) & ((1 << bits) - 1);
    if (isSigned && v >> (bits - 1))
      v -= 1 << bits;
    tensor.data()[i] = static_cast<char>(v);
  }
}

/// A stand-in for a value that is no tensor of numbers.
HostTensor holding(const std::string &name, HostValue value) {
  HostTensor tensor(name, value.type(), {0});
  tensor.value = std::make_shared<HostValue>(std::move(value));
  return tensor;
}

HostValue valueOf(HostTensor tensor) { return tensor.value ? *tensor.value : HostValue::tensor(tensor); }

} // namespace

HostTensor parseTensorProto(const char *data, size_t size, const std::string &name) {
  auto damaged = [&](const std::string &what) {
    return ToolError(3, name + ": not a valid onnx.TensorProto: " + what);
  };
  std::vector<uint64_t> dims, values;
  int type = 0;
  std::string tensorName;
  const char *raw = nullptr;
  size_t rawSize = 0, valueWidth = 0; // width of the field that values came from (0: varint)
  bool ok = true;
  std::vector<std::string> strings;
  Fields f(data, data + size);
  while (!f.done()) {
    if (!f.next())
      throw damaged("the message is malformed; is this a sequence or an optional?");
    switch (f.field) {
    case 1: // dims
      appendScalars(f, 0, dims, ok);
      break;
    case 2: // data_type
      type = static_cast<int>(f.value);
      break;
    case 4: // float_data
      valueWidth = 4;
      appendScalars(f, 4, values, ok);
      break;
    case 10: // double_data
      valueWidth = 8;
      appendScalars(f, 8, values, ok);
      break;
    case 5:  // int32_data
    case 7:  // int64_data
    case 11: // uint64_data
      appendScalars(f, 0, values, ok);
      break;
    case 6: // string_data
      ok &= f.wire == 2;
      if (ok)
        strings.emplace_back(f.begin, f.size);
      break;
    case 8: // name
      if (f.wire == 2)
        tensorName.assign(f.begin, f.size);
      break;
    case 9: // raw_data
      ok &= f.wire == 2;
      raw = f.begin;
      rawSize = f.size;
      break;
    case 13: // external_data
      throw ToolError(4, name + ": external data is not supported in test data");
    }
  }
  const TypeInfo *info = typeInfo(type);
  if (!ok || !info || dims.size() > NNOPT_MAX_RANK)
    throw damaged("element type, rank or data");
  std::vector<int64_t> shape;
  int64_t count = 1;
  for (uint64_t d : dims) {
    shape.push_back(static_cast<int64_t>(d));
    if (shape.back() < 0 || __builtin_mul_overflow(count, shape.back(), &count) ||
        count > int64_t(1) << 40)
      throw damaged("absurd shape " + shapeText(shape));
  }
  if (type == OnnxString) {
    if (static_cast<int64_t>(strings.size()) != count)
      throw damaged(std::to_string(strings.size()) + " strings, the shape needs " + std::to_string(count));
    return holding(tensorName, HostValue::strings(shape, strings));
  }
  int bits = elementBits(type);
  bool packed = bits < 8;
  size_t expected = packed ? (static_cast<size_t>(count) * bits + 7) / 8
                           : static_cast<size_t>(count) * info->width;
  if (raw) {
    if (rawSize != expected)
      throw damaged(std::to_string(rawSize) + " bytes of data, the shape needs " +
                    std::to_string(expected));
    HostTensor tensor(tensorName, type, shape);
    if (packed)
      unpack(tensor, reinterpret_cast<const unsigned char *>(raw));
    else if (rawSize)
      std::memcpy(tensor.data(), raw, rawSize);
    return tensor;
  }
  // Complex numbers are two values each; packed types one value a byte (two elements of four bits).
  size_t perElement = info->kind == 'c' ? 2 : 1;
  if (values.size() != (packed ? expected : static_cast<size_t>(count) * perElement))
    throw damaged(std::to_string(values.size()) + " elements, the shape needs " +
                  std::to_string(count));
  bool floats = type == OnnxFloat || type == OnnxComplex64,
       doubles = type == OnnxDouble || type == OnnxComplex128;
  if (!values.empty() && valueWidth != (floats ? 4u : doubles ? 8u : 0u))
    throw damaged("the data is in a field of another element type");
  HostTensor tensor(tensorName, type, shape);
  size_t width = info->width / perElement;
  if (packed) {
    std::vector<unsigned char> bytes(values.begin(), values.end());
    unpack(tensor, bytes.data());
    return tensor;
  }
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(tensor.data() + i * width, &values[i], width);
  return tensor;
}

/// An onnx.SequenceProto of tensors.
static HostValue parseSequence(const char *data, size_t size, const std::string &name, int type) {
  std::vector<HostValue> elements;
  Fields f(data, data + size);
  while (!f.done()) {
    if (!f.next())
      throw ToolError(3, name + ": not a valid onnx.SequenceProto: the message is malformed");
    if (f.field == 3 && f.wire == 2)
      elements.push_back(valueOf(parseTensorProto(f.begin, f.size, name)));
    else if (f.field > 3)
      throw ToolError(4, name + ": only sequences of tensors are supported in test data");
  }
  return HostValue::sequence(type, elements);
}

HostTensor parseValueProto(const char *data, size_t size, const std::string &name, const nnopt_tensor_info &info) {
  if (info.kind == NNOPT_KIND_SEQUENCE)
    return holding(info.name, parseSequence(data, size, name, info.onnx_type));
  if (info.kind == NNOPT_KIND_MAP)
    throw ToolError(4, name + ": maps are not supported in test data");
  if (info.kind != NNOPT_KIND_OPTIONAL)
    return parseTensorProto(data, size, name);
  HostValue element;
  Fields f(data, data + size);
  while (!f.done()) {
    if (!f.next())
      throw ToolError(3, name + ": not a valid onnx.OptionalProto: the message is malformed");
    if (f.field == 3 && f.wire == 2)
      element = valueOf(parseTensorProto(f.begin, f.size, name));
    else if (f.field == 5 && f.wire == 2)
      element = parseSequence(f.begin, f.size, name, info.onnx_type);
    else if (f.field > 3)
      throw ToolError(4, name + ": only optional tensors and sequences are supported in test data");
  }
  return holding(info.name, HostValue::optional(info.onnx_type, element ? &element : nullptr));
}

static std::vector<char> readBytes(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status) || !S_ISREG(status.st_mode))
    throw ToolError(3, path + ": cannot be read: " + (errno ? std::strerror(errno) : "not a file"));
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file && !file.eof())
    throw ToolError(3, path + ": cannot be read");
  return bytes;
}

HostTensor readTensorProto(const std::string &path) {
  std::vector<char> bytes = readBytes(path);
  return parseTensorProto(bytes.data(), bytes.size(), path);
}

HostTensor readValueProto(const std::string &path, const nnopt_tensor_info &info) {
  std::vector<char> bytes = readBytes(path);
  return parseValueProto(bytes.data(), bytes.size(), path, info);
}

} // namespace nnopt

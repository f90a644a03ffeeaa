//===- hostvalue.cpp - strings, sequences, optionals in tools ---------------===//

#include "tools/common/hostvalue.h"
#include "runtime/ops/Utf8.h"

#include <algorithm>
#include <cstring>

namespace nnopt {

static HostValue made(int code, nnopt_value *value, const nnopt_error &error) {
  if (code)
    throw ToolError(code, error.message);
  return HostValue(value);
}

std::vector<int64_t> HostValue::shape() const {
  int32_t rank;
  const int64_t *dims = nnopt_value_shape(value, &rank);
  return {dims, dims + rank};
}

std::string HostValue::string(size_t i) const {
  size_t length = 0;
  const char *text = nnopt_value_string(value, i, &length);
  return text ? std::string(text, length) : std::string();
}

HostValue HostValue::tensor(HostTensor &tensor) {
  nnopt_value *v = nullptr;
  nnopt_error error;
  return made(nnopt_value_tensor(tensor.type, tensor.dl(), &v, &error), v, error);
}

HostValue HostValue::strings(const std::vector<int64_t> &shape, const std::vector<std::string> &list) {
  std::vector<const char *> pointers;
  std::vector<size_t> lengths;
  for (const std::string &s : list) {
    pointers.push_back(s.data());
    lengths.push_back(s.size());
  }
  nnopt_value *v = nullptr;
  nnopt_error error;
  return made(nnopt_value_strings(static_cast<int32_t>(shape.size()), shape.data(), pointers.data(), lengths.data(),
                                  &v, &error),
              v, error);
}

HostValue HostValue::sequence(int type, const std::vector<HostValue> &elements) {
  std::vector<nnopt_value *> list;
  for (const HostValue &e : elements)
    list.push_back(e.get());
  nnopt_value *v = nullptr;
  nnopt_error error;
  return made(nnopt_value_sequence(type, list.data(), list.size(), &v, &error), v, error);
}

HostValue HostValue::optional(int type, const HostValue *element) {
  nnopt_value *v = nullptr;
  nnopt_error error;
  return made(nnopt_value_optional(type, element ? element->get() : nullptr, &v, &error), v, error);
}

HostValue HostValue::map(const HostValue &keys, const HostValue &values) {
  nnopt_value *v = nullptr;
  nnopt_error error;
  return made(nnopt_value_map(keys.get(), values.get(), &v, &error), v, error);
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

static std::vector<uint32_t> decode(const std::string &name, std::string_view s) {
  std::vector<uint32_t> points;
  for (size_t length; !s.empty(); s.remove_prefix(length)) {
    points.push_back(utf8::decode(s, length));
    if (points.back() == utf8::none)
      throw ToolError(1, "'" + name + "': a string is no valid UTF-8; .npz files hold Unicode");
  }
  return points;
}

npz::Array toUnicode(const std::string &name, const std::vector<int64_t> &shape, const std::vector<std::string> &list) {
  std::vector<std::vector<uint32_t>> decoded;
  size_t longest = 1;
  for (const std::string &s : list) {
    decoded.push_back(decode(name, s));
    longest = std::max(longest, decoded.back().size());
  }
  npz::Array array;
  array.kind = 'U';
  array.width = 4 * longest;
  array.shape = shape;
  array.data.resize(array.width * list.size());
  for (size_t i = 0; i < list.size(); ++i)
    if (!decoded[i].empty())
      std::memcpy(array.data.data() + i * array.width, decoded[i].data(), 4 * decoded[i].size());
  return array;
}

std::vector<std::string> fromUnicode(const std::string &name, const npz::Array &array) {
  std::vector<std::string> list;
  for (int64_t i = 0; i < array.count(); ++i) {
    const char *at = array.data.data() + static_cast<size_t>(i) * array.width;
    std::string s;
    if (array.kind == 'S') {
      s.assign(at, array.width);
      s.resize(s.find_last_not_of('\0') + 1);
    }
    std::vector<uint32_t> points(array.kind == 'U' ? array.width / 4 : 0);
    std::memcpy(points.data(), at, 4 * points.size());
    while (!points.empty() && !points.back())
      points.pop_back();
    for (uint32_t c : points) {
      if (c > 0x10ffff)
        throw ToolError(3, "array '" + name + "': a character is no Unicode");
      utf8::encode(c, s);
    }
    list.push_back(std::move(s));
  }
  return list;
}

//===----------------------------------------------------------------------===//
// Arrays
//===----------------------------------------------------------------------===//

bool typeFits(const npz::Array &array, const TypeInfo &info) {
  if (array.width != info.width)
    return false;
  if (info.kind == 'V')
    return array.kind == 'V' || array.kind == 'u' || array.kind == 'i';
  if (info.dl.bits < 8)
    return array.kind == 'i' || array.kind == 'u';
  return array.kind == info.kind;
}

void addArrays(const std::string &name, const HostValue &value, npz::Arrays &arrays) {
  switch (value.kind()) {
  case NNOPT_KIND_TENSOR: {
    npz::Array array;
    array.kind = typeInfo(value.type())->kind;
    array.width = typeInfo(value.type())->width;
    array.shape = value.shape();
    array.data.resize(value.count() * array.width);
    if (!array.data.empty())
      std::memcpy(array.data.data(), nnopt_value_data(value.get()), array.data.size());
    arrays[name] = std::move(array);
    break;
  }
  case NNOPT_KIND_STRINGS: {
    std::vector<std::string> list;
    for (size_t i = 0; i < value.count(); ++i)
      list.push_back(value.string(i));
    arrays[name] = toUnicode(name, value.shape(), list);
    break;
  }
  case NNOPT_KIND_SEQUENCE:
    for (size_t i = 0; i < value.count(); ++i)
      addArrays(name + "/" + std::to_string(i), value.element(i), arrays);
    break;
  case NNOPT_KIND_OPTIONAL:
    if (value.count())
      addArrays(name, value.element(0), arrays);
    break;
  case NNOPT_KIND_MAP:
    addArrays(name + "/keys", value.element(0), arrays);
    addArrays(name + "/values", value.element(1), arrays);
    break;
  }
}

static HostValue tensorOf(const std::string &name, int type, const npz::Array &array, const std::string &file) {
  const TypeInfo &info = *typeInfo(type);
  if (array.shape.size() > NNOPT_MAX_RANK)
    throw ToolError(3, file + ": array '" + name + "' has too many dimensions");
  bool text = type == OnnxString && (array.kind == 'U' || array.kind == 'S');
  if (!text && (type == OnnxString || !typeFits(array, info)))
    throw ToolError(3, file + ": array '" + name + "' holds " + array.typeName() + ", the model's input is " + info.name);
  if (text)
    return HostValue::strings(array.shape, fromUnicode(name, array));
  HostTensor tensor(name, type, array.shape);
  if (!array.data.empty())
    std::memcpy(tensor.data(), array.data.data(), array.data.size());
  return HostValue::tensor(tensor);
}

HostValue takeInput(const nnopt_tensor_info &input, npz::Arrays &arrays, const std::string &file) {
  std::string name = input.name, type = input.type;
  auto take = [&](const std::string &key, int onnxType) {
    auto found = arrays.find(key);
    if (found == arrays.end())
      throw ToolError(3, file + ": no array '" + key + "' for input '" + name + "' (" + type + ")");
    HostValue v = tensorOf(key, onnxType, found->second, file);
    arrays.erase(found);
    return v;
  };
  auto mapAt = [&](const std::string &key) {
    bool words = type.find("map(string") != type.npos;
    return HostValue::map(take(key + "/keys", words ? OnnxString : OnnxInt64), take(key + "/values", input.onnx_type));
  };
  auto sequence = [&] {
    std::vector<HostValue> elements;
    bool maps = type.find("seq(map") != type.npos;
    for (size_t i = 0;; ++i) {
      std::string key = name + "/" + std::to_string(i);
      if (!arrays.count(maps ? key + "/keys" : key))
        break;
      elements.push_back(maps ? mapAt(key) : take(key, input.onnx_type));
    }
    return HostValue::sequence(input.onnx_type, elements);
  };
  switch (input.kind) {
  case NNOPT_KIND_SEQUENCE:
    return sequence();
  case NNOPT_KIND_MAP:
    return mapAt(name);
  case NNOPT_KIND_OPTIONAL: {
    HostValue element;
    if (type.find("(seq") != type.npos)
      element = arrays.count(name + "/0") ? sequence() : HostValue();
    else if (arrays.count(name))
      element = take(name, input.onnx_type);
    return HostValue::optional(input.onnx_type, element ? &element : nullptr);
  }
  default:
    return take(name, input.onnx_type);
  }
}

std::string describe(const HostValue &value) {
  switch (value.kind()) {
  case NNOPT_KIND_SEQUENCE:
    return "sequence of " + std::to_string(value.count());
  case NNOPT_KIND_OPTIONAL:
    return value.count() ? describe(value.element(0)) : "absent";
  case NNOPT_KIND_MAP:
    return "map of " + std::to_string(value.element(0).count());
  default:
    return typeInfo(value.type())->name + shapeText(value.shape());
  }
}

} // namespace nnopt

//===- hostvalue.h - strings, sequences, optionals in tools -----*- C++ -*-===//
#ifndef NNOPT_TOOLS_COMMON_HOSTVALUE_H
#define NNOPT_TOOLS_COMMON_HOSTVALUE_H

#include "tools/common/npz.h"
#include "tools/common/tensor.h"

#include <string>
#include <vector>

namespace nnopt {

/// A reference to an nnopt_value.
class HostValue {
public:
  HostValue() = default;
  /// Takes over a reference.
  explicit HostValue(nnopt_value *v) : value(v) {}
  HostValue(const HostValue &o) : value(nnopt_value_retain(o.value)) {}
  HostValue(HostValue &&o) noexcept : value(o.value) { o.value = nullptr; }
  HostValue &operator=(HostValue o) noexcept {
    std::swap(value, o.value);
    return *this;
  }
  ~HostValue() { nnopt_value_release(value); }
  explicit operator bool() const { return value; }
  nnopt_value *get() const { return value; }

  int kind() const { return nnopt_value_kind(value); }
  int type() const { return nnopt_value_type(value); }
  size_t count() const { return nnopt_value_count(value); }
  std::vector<int64_t> shape() const;
  HostValue element(size_t i) const { return HostValue(nnopt_value_retain(nnopt_value_element(value, i))); }
  std::string string(size_t i) const;

  static HostValue tensor(HostTensor &tensor);
  static HostValue strings(const std::vector<int64_t> &shape, const std::vector<std::string> &list);
  static HostValue sequence(int type, const std::vector<HostValue> &elements);
  static HostValue optional(int type, const HostValue *element);
  static HostValue map(const HostValue &keys, const HostValue &values);

private:
  nnopt_value *value = nullptr;
};

/// Strings as numpy's <U (UCS-4, padded with zeros), and back. Throw ToolError for text that is no UTF-8.
npz::Array toUnicode(const std::string &name, const std::vector<int64_t> &shape, const std::vector<std::string> &list);
std::vector<std::string> fromUnicode(const std::string &name, const npz::Array &array);

/// The arrays of a value by the conventions of .npz files: `name`, `name/0`, `name/1` ... of a sequence, nothing
/// of an absent optional, `name/keys` and `name/values` of a map.
void addArrays(const std::string &name, const HostValue &value, npz::Arrays &arrays);
/// The value of an input of the model; the arrays that it is made of are taken out.
HostValue takeInput(const nnopt_tensor_info &input, npz::Arrays &arrays, const std::string &file);

/// Whether an array of a file can be a tensor of that type: numpy's name for it, or raw bytes of the right width
/// for types that numpy lacks.
bool typeFits(const npz::Array &array, const TypeInfo &info);
/// "seq of 3".
std::string describe(const HostValue &value);

} // namespace nnopt

#endif

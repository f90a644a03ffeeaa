//===- Operation.h - what host operations are made of -----------*- C++ -*-===//
//
// A host operation is a class derived from Operation: its constructor reads the attributes of a call, run()
// makes the results. Both throw Failure; nothing is thrown across the C interface (nnopt/ops.h). An operation
// checks what it is given: artifacts and inputs come from anywhere.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_RUNTIME_OPS_OPERATION_H
#define NNOPT_RUNTIME_OPS_OPERATION_H

#include "nnopt/ops.h"

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace nnopt::ops {

/// Ends a call with a message.
struct Failure : std::runtime_error {
  explicit Failure(const std::string &message, int code = NNOPT_INVALID) : std::runtime_error(message), code(code) {}
  int code;
};

/// onnx.TensorProto.DataType, as far as operations make or look at them.
enum Type { Float = 1, UInt8 = 2, Int8 = 3, UInt16 = 4, Int16 = 5, Int32 = 6, Int64 = 7, String = 8, Bool = 9,
            Float16 = 10, Double = 11, UInt32 = 12, UInt64 = 13, BFloat16 = 16 };

using Shape = std::vector<int64_t>;
int64_t product(const Shape &shape);
/// Bytes of an element of a type, as the runtime stores it.
size_t widthOf(int type);

class Attributes {
public:
  /// Throws Failure for records that leave the data.
  Attributes(const void *data, size_t size);
  /// Empty where the attribute is absent.
  std::vector<int64_t> ints(std::string_view name) const;
  std::vector<std::string> strings(std::string_view name) const;
  bool has(std::string_view name) const { return find(name, 0) != nullptr; }
  int64_t integer(std::string_view name, int64_t otherwise = 0) const;
  std::string string(std::string_view name) const;

private:
  struct Record {
    std::string_view name;
    uint32_t kind, count;
    const char *data;
    size_t size;
  };
  const Record *find(std::string_view name, uint32_t kind) const;
  std::vector<Record> records;
};

/// A reference to a value.
class Value {
public:
  Value() = default;
  /// Takes over a reference.
  Value(const nnopt_value_api *api, nnopt_value *v) : api(api), value(v) {}
  Value(const Value &o) : api(o.api), value(o.value) {
    if (value)
      api->retain(value);
  }
  Value(Value &&o) noexcept : api(o.api), value(o.value) { o.value = nullptr; }
  Value &operator=(Value o) noexcept {
    std::swap(api, o.api);
    std::swap(value, o.value);
    return *this;
  }
  ~Value() {
    if (value)
      api->release(value);
  }
  nnopt_value *get() const { return value; }
  nnopt_value *release() {
    nnopt_value *v = value;
    value = nullptr;
    return v;
  }

  int kind() const { return api->kind(value); }
  int type() const { return api->type(value); }
  size_t count() const { return api->count(value); }
  Shape shape() const {
    int32_t rank;
    const int64_t *dims = api->shape(value, &rank);
    return Shape(dims, dims + rank);
  }
  char *data() const { return static_cast<char *>(api->data(value)); }
  std::string_view string(size_t i) const {
    size_t length = 0;
    const char *text = api->string(value, i, &length);
    return {text, length};
  }
  Value element(size_t i) const { return Value(api, api->retain(api->element(value, i))); }

private:
  const nnopt_value_api *api = nullptr;
  nnopt_value *value = nullptr;
};

class Operation {
public:
  explicit Operation(const nnopt_value_api *api) : api(api) {}
  virtual ~Operation() = default;
  virtual std::vector<Value> run(const std::vector<Value> &in) const = 0;

protected:
  //--- operands: throw Failure unless they are what an operation needs ----------
  static void needCount(const std::vector<Value> &in, size_t low, size_t high);
  static void needKind(const Value &v, int kind);
  static void needStrings(const Value &v) { needKind(v, NNOPT_KIND_STRINGS); }
  static void needSequence(const Value &v) { needKind(v, NNOPT_KIND_SEQUENCE); }
  /// The elements of a tensor of i32 or i64.
  static std::vector<int64_t> integers(const Value &v);
  static int64_t integer(const Value &v);

  //--- results -------------------------------------------------------------------
  /// Elements are zeros.
  Value tensor(int type, const Shape &shape) const;
  Value strings(const Shape &shape, const std::vector<std::string_view> &list) const;
  Value strings(const Shape &shape, const std::vector<std::string> &list) const;
  Value sequence(int type, const std::vector<Value> &elements) const;
  Value optional(int type, const Value *element) const;
  Value map(const Value &keys, const Value &values) const;

private:
  Value made(int code, nnopt_value *v, const nnopt_error &error) const;
  const nnopt_value_api *api;
};

/// The entry of an operation in the library's table.
template <typename Op> nnopt_host_operation entry(const char *name);

namespace detail {
int report(nnopt_error *error); // of the exception that is being handled
int runOperation(const void *state, nnopt_value *const *in, size_t inCount, nnopt_value **out, size_t outCount,
                 nnopt_error *error);
void destroyOperation(void *state);

/// Operations keep the functions they were made with.
struct State {
  const nnopt_value_api *api;
  Operation *operation;
};

template <typename Op>
int create(const nnopt_value_api *api, const void *attributes, size_t size, void **state, nnopt_error *error) {
  try {
    if (api->struct_size < sizeof(nnopt_value_api))
      throw Failure("the runtime is older than the library of host operations; install those of one release");
    Operation *operation = new Op(api, Attributes(attributes, size));
    *state = new State{api, operation};
    return NNOPT_OK;
  } catch (...) {
    return report(error);
  }
}
} // namespace detail

template <typename Op> nnopt_host_operation entry(const char *name) {
  return {name, detail::create<Op>, detail::runOperation, detail::destroyOperation};
}

// Tables of the files in this folder.
void addStrings(std::vector<nnopt_host_operation> &table);
void addConversions(std::vector<nnopt_host_operation> &table);
void addSequences(std::vector<nnopt_host_operation> &table);
void addMaps(std::vector<nnopt_host_operation> &table);
void addImages(std::vector<nnopt_host_operation> &table);

} // namespace nnopt::ops

#endif

//===- runtime.hpp - running compiled models: the C++ interface -*- C++ -*-===//
//
// Part of the nnopt project, under the Apache License v2.0 with LLVM Exceptions.
//
// RAII over runtime.h, in one header, C++17. Everything said there about ownership and threads
// holds. Failures throw nnopt::Error.
//
//   nnopt::Model model("resnet50.so");
//   nnopt::Session session(model);
//   nnopt::Array<float> image({1, 3, 224, 224});
//   auto outputs = session.run({image});
//   float best = *std::max_element(outputs[0].begin<float>(), outputs[0].end<float>());
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_RUNTIME_HPP
#define NNOPT_RUNTIME_HPP

#include "nnopt/runtime.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nnopt {

/// What any failing call throws. code() is an nnopt_code.
class Error : public std::runtime_error {
public:
  Error(int code, const std::string &message) : std::runtime_error(message), number(code) {}
  explicit Error(const nnopt_error &error) : Error(error.code, error.message) {}
  int code() const { return number; }

private:
  int number;
};

namespace detail {
template <typename T> struct TypeOf;
// clang-format off
template <> struct TypeOf<float>    { static constexpr DLDataType value{kDLFloat, 32, 1}; };
template <> struct TypeOf<double>   { static constexpr DLDataType value{kDLFloat, 64, 1}; };
template <> struct TypeOf<int8_t>   { static constexpr DLDataType value{kDLInt, 8, 1}; };
template <> struct TypeOf<int16_t>  { static constexpr DLDataType value{kDLInt, 16, 1}; };
template <> struct TypeOf<int32_t>  { static constexpr DLDataType value{kDLInt, 32, 1}; };
template <> struct TypeOf<int64_t>  { static constexpr DLDataType value{kDLInt, 64, 1}; };
template <> struct TypeOf<uint8_t>  { static constexpr DLDataType value{kDLUInt, 8, 1}; };
template <> struct TypeOf<uint16_t> { static constexpr DLDataType value{kDLUInt, 16, 1}; };
template <> struct TypeOf<uint32_t> { static constexpr DLDataType value{kDLUInt, 32, 1}; };
template <> struct TypeOf<uint64_t> { static constexpr DLDataType value{kDLUInt, 64, 1}; };
template <> struct TypeOf<bool>     { static constexpr DLDataType value{6 /* kDLBool */, 8, 1}; };
// clang-format on

inline void check(int code, const nnopt_error &error) {
  if (code)
    throw Error(error);
}
inline int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  return count;
}
} // namespace detail

/// A view of memory that somebody else owns, of any strides (in elements; none: compact).
class TensorView {
public:
  TensorView(void *data, DLDataType dtype, std::vector<int64_t> shape,
             std::vector<int64_t> strides = {})
      : data(data), dtype(dtype), dims(std::move(shape)), steps(std::move(strides)) {
    if (!steps.empty() && steps.size() != dims.size())
      throw Error(NNOPT_INVALID, "TensorView: strides and shape differ in length");
  }
  template <typename T>
  TensorView(T *data, std::vector<int64_t> shape, std::vector<int64_t> strides = {})
      : TensorView(const_cast<std::remove_const_t<T> *>(data),
                   detail::TypeOf<std::remove_const_t<T>>::value, std::move(shape),
                   std::move(strides)) {}

  const std::vector<int64_t> &shape() const { return dims; }
  DLDataType type() const { return dtype; }
  /// As DLPack; valid as long as this view (so not of a temporary one).
  DLTensor dl() const && = delete;
  DLTensor dl() const & {
    DLTensor tensor{};
    tensor.data = data;
    tensor.device = {kDLCPU, 0};
    tensor.ndim = static_cast<int32_t>(dims.size());
    tensor.dtype = dtype;
    tensor.shape = const_cast<int64_t *>(dims.data());
    tensor.strides = steps.empty() ? nullptr : const_cast<int64_t *>(steps.data());
    return tensor;
  }

private:
  void *data;
  DLDataType dtype;
  std::vector<int64_t> dims, steps;
};

/// A compact tensor that owns its elements (zeros at first).
template <typename T> class Array {
public:
  explicit Array(std::vector<int64_t> shape)
      : dims(std::move(shape)), elements(new T[static_cast<size_t>(detail::product(dims))]()) {}
  T *data() { return elements.get(); }
  const T *data() const { return elements.get(); }
  T *begin() { return data(); }
  T *end() { return data() + size(); }
  const T *begin() const { return data(); }
  const T *end() const { return data() + size(); }
  T &operator[](int64_t i) { return elements[static_cast<size_t>(i)]; }
  const T &operator[](int64_t i) const { return elements[static_cast<size_t>(i)]; }
  int64_t size() const { return detail::product(dims); }
  const std::vector<int64_t> &shape() const { return dims; }
  TensorView view() const { return TensorView(elements.get(), dims); }
  /// As DLPack; valid as long as this array stays in place.
  DLTensor dl() const {
    DLTensor tensor{};
    tensor.data = elements.get();
    tensor.device = {kDLCPU, 0};
    tensor.ndim = static_cast<int32_t>(dims.size());
    tensor.dtype = detail::TypeOf<T>::value;
    tensor.shape = const_cast<int64_t *>(dims.data());
    return tensor;
  }
  operator TensorView() const { return view(); }

private:
  std::vector<int64_t> dims;
  std::unique_ptr<T[]> elements;
};

/// A compact tensor that the library allocated.
class Tensor {
public:
  explicit Tensor(DLManagedTensorVersioned *tensor) : tensor(tensor) {}
  const DLTensor &dl() const { return tensor->dl_tensor; }
  std::vector<int64_t> shape() const { return {dl().shape, dl().shape + dl().ndim}; }
  int64_t size() const { return detail::product(shape()); }
  /// The elements; throws if T is not the element type.
  template <typename T> const T *begin() const {
    DLDataType want = detail::TypeOf<T>::value, is = dl().dtype;
    if (want.code != is.code || want.bits != is.bits)
      throw Error(NNOPT_INVALID, "Tensor: the elements have another type");
    return static_cast<const T *>(dl().data);
  }
  template <typename T> const T *end() const { return begin<T>() + size(); }
  /// Gives up ownership, for libraries that take DLPack.
  DLManagedTensorVersioned *release() { return tensor.release(); }

private:
  struct Delete {
    void operator()(DLManagedTensorVersioned *t) const { t->deleter(t); }
  };
  std::unique_ptr<DLManagedTensorVersioned, Delete> tensor;
};

/// A tensor, tensor of strings, sequence, optional or map: a reference, cheap to copy.
class Value {
public:
  Value() noexcept : value(nullptr) {}
  /// Takes over a reference.
  explicit Value(nnopt_value *v) : value(v) {}
  Value(const Value &o) : value(nnopt_value_retain(o.value)) {}
  Value(Value &&o) noexcept : value(o.value) { o.value = nullptr; }
  Value &operator=(Value o) noexcept {
    std::swap(value, o.value);
    return *this;
  }
  ~Value() { nnopt_value_release(value); }
  nnopt_value *get() const { return value; }
  explicit operator bool() const { return value != nullptr; }

  /// A copy of a tensor of that onnx.TensorProto.DataType.
  static Value tensor(int32_t onnxType, const TensorView &view) {
    DLTensor tensor = view.dl();
    nnopt_error error;
    nnopt_value *v = nullptr;
    detail::check(nnopt_value_tensor(onnxType, &tensor, &v, &error), error);
    return Value(v);
  }
  static Value strings(const std::vector<int64_t> &shape, const std::vector<std::string> &list) {
    if (detail::product(shape) != static_cast<int64_t>(list.size()))
      throw Error(NNOPT_INVALID, "Value: there are not as many strings as the shape says");
    std::vector<const char *> pointers;
    std::vector<size_t> lengths;
    for (const std::string &s : list) {
      pointers.push_back(s.data());
      lengths.push_back(s.size());
    }
    nnopt_error error;
    nnopt_value *v = nullptr;
    detail::check(nnopt_value_strings(static_cast<int32_t>(shape.size()), shape.data(), pointers.data(),
                                      lengths.data(), &v, &error),
                  error);
    return Value(v);
  }
  static Value sequence(int32_t onnxType, const std::vector<Value> &elements) {
    std::vector<nnopt_value *> list;
    for (const Value &e : elements)
      list.push_back(e.get());
    nnopt_error error;
    nnopt_value *v = nullptr;
    detail::check(nnopt_value_sequence(onnxType, list.data(), list.size(), &v, &error), error);
    return Value(v);
  }
  /// An absent optional where `element` is empty.
  static Value optional(int32_t onnxType, const Value &element = Value()) {
    nnopt_error error;
    nnopt_value *v = nullptr;
    detail::check(nnopt_value_optional(onnxType, element.get(), &v, &error), error);
    return Value(v);
  }
  static Value map(const Value &keys, const Value &values) {
    nnopt_error error;
    nnopt_value *v = nullptr;
    detail::check(nnopt_value_map(keys.get(), values.get(), &v, &error), error);
    return Value(v);
  }

  nnopt_kind kind() const { return static_cast<nnopt_kind>(nnopt_value_kind(value)); }
  int32_t type() const { return nnopt_value_type(value); }
  size_t size() const { return nnopt_value_count(value); }
  std::vector<int64_t> shape() const {
    int32_t rank;
    const int64_t *dims = nnopt_value_shape(value, &rank);
    return {dims, dims + rank};
  }
  /// Element of a sequence, optional (0) or map (0: keys, 1: values).
  Value operator[](size_t i) const {
    nnopt_value *element = nnopt_value_element(value, i);
    if (!element)
      throw Error(NNOPT_INVALID, "Value: no such element");
    return Value(nnopt_value_retain(element));
  }
  std::string string(size_t i) const {
    size_t length = 0;
    const char *text = nnopt_value_string(value, i, &length);
    if (!text)
      throw Error(NNOPT_INVALID, "Value: no such string");
    return {text, length};
  }
  /// The elements of a tensor of numbers.
  template <typename T> const T *data() const { return static_cast<const T *>(nnopt_value_data(value)); }

private:
  nnopt_value *value;
};

/// Options with their defaults; set the members of the C struct.
struct Options : nnopt_options {
  Options() { nnopt_options_init(this); }
  Options &threads(int32_t count) {
    num_threads = count;
    return *this;
  }
};

/// An open artifact. Immutable and cheap to copy: copies share the model.
class Model {
public:
  explicit Model(const std::string &path, const Options &options = {}) {
    nnopt_error error;
    nnopt_model *opened = nullptr;
    detail::check(nnopt_model_open(path.c_str(), &options, &opened, &error), error);
    model.reset(opened, nnopt_model_close);
  }
  /// A model that is linked into the program.
  Model(const nnopt_descriptor &descriptor, const std::string &weightsPath,
        const Options &options = {}) {
    nnopt_error error;
    nnopt_model *opened = nullptr;
    detail::check(nnopt_model_open_static(&descriptor,
                                          weightsPath.empty() ? nullptr : weightsPath.c_str(),
                                          &options, &opened, &error),
                  error);
    model.reset(opened, nnopt_model_close);
  }
  nnopt_model *get() const { return model.get(); }

  std::vector<nnopt_tensor_info> inputs() const {
    std::vector<nnopt_tensor_info> all;
    for (size_t i = 0; i < nnopt_model_input_count(get()); ++i)
      all.push_back(*nnopt_model_input(get(), i));
    return all;
  }
  std::vector<nnopt_tensor_info> outputs() const {
    std::vector<nnopt_tensor_info> all;
    for (size_t i = 0; i < nnopt_model_output_count(get()); ++i)
      all.push_back(*nnopt_model_output(get(), i));
    return all;
  }
  /// Value of a property; empty if there is none of that name.
  std::string property(const std::string &key) const {
    const char *value = nnopt_model_property(get(), key.c_str());
    return value ? value : "";
  }
  /// Memory that a session would need.
  nnopt_memory memory(const std::vector<std::pair<std::string, int64_t>> &dims = {},
                      int32_t threads = 0) const {
    std::vector<nnopt_dim> list;
    for (const auto &dim : dims)
      list.push_back({dim.first.c_str(), dim.second});
    nnopt_error error;
    nnopt_memory memory;
    detail::check(nnopt_model_memory(get(), list.data(), list.size(), threads, &memory, &error),
                  error);
    return memory;
  }

private:
  std::shared_ptr<nnopt_model> model;
};

/// What runs a model: one thread at a time.
class Session {
public:
  explicit Session(const Model &model) : Session(model, nullptr) {}
  Session(const Model &model, const Options &options) : Session(model, &options) {}
  nnopt_session *get() const { return session.get(); }
  int32_t threads() const { return nnopt_session_threads(get()); }
  nnopt_memory memory() const {
    nnopt_memory memory;
    nnopt_session_memory(get(), &memory);
    return memory;
  }

  /// Runs and returns all outputs. Allocates the results; see the other form for none of that.
  std::vector<Tensor> run(const std::vector<TensorView> &inputs) {
    size_t count = nnopt_model_output_count(model.get());
    nnopt_error error;
    std::vector<DLTensor *> none(count, nullptr);
    Arguments in(inputs);
    detail::check(nnopt_session_run(get(), in.pointers.data(), in.pointers.size(), none.data(),
                                    count, &error),
                  error);
    std::vector<Tensor> results;
    for (size_t i = 0; i < count; ++i)
      results.push_back(takeOutput(i));
    return results;
  }
  /// Runs on values of any kind, in graph order, and returns all outputs as values.
  std::vector<Value> runValues(const std::vector<Value> &inputs) {
    std::vector<DLTensor> tensors(inputs.size());
    std::vector<DLTensor *> pointers(inputs.size(), nullptr);
    std::vector<std::vector<int64_t>> shapes;
    shapes.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const nnopt_tensor_info *info = nnopt_model_input(model.get(), i);
      shapes.push_back(inputs[i].shape());
      if (!info || info->kind != NNOPT_KIND_TENSOR || inputs[i].kind() != NNOPT_KIND_TENSOR) {
        setInput(i, inputs[i]);
        continue;
      }
      if (inputs[i].type() != info->onnx_type)
        throw Error(NNOPT_INVALID, std::string("input '") + info->name + "': the value is not of the model's type, " + info->type);
      TensorView view(nnopt_value_data(inputs[i].get()), info->dtype, shapes[i]);
      tensors[i] = view.dl();
      tensors[i].shape = shapes[i].data();
      pointers[i] = &tensors[i];
    }
    std::vector<DLTensor *> none(nnopt_model_output_count(model.get()), nullptr);
    run(pointers.data(), pointers.size(), none.data(), none.size());
    std::vector<Value> results;
    for (size_t i = 0; i < none.size(); ++i)
      results.push_back(takeValue(i));
    return results;
  }
  /// Sets an input that is no tensor of numbers, for all runs from now on.
  void setInput(size_t index, const Value &value) {
    nnopt_error error;
    detail::check(nnopt_session_set_input(get(), index, value.get(), &error), error);
  }
  /// An output of the last run that was not given memory for, of any kind.
  Value takeValue(size_t index) {
    nnopt_error error;
    nnopt_value *value = nullptr;
    detail::check(nnopt_session_take_value(get(), index, &value, &error), error);
    return Value(value);
  }
  /// Runs into memory of the caller.
  void run(const std::vector<TensorView> &inputs, const std::vector<TensorView> &outputs) {
    Arguments in(inputs), out(outputs);
    run(in.pointers.data(), in.pointers.size(), out.pointers.data(), out.pointers.size());
  }
  /// The C call: allocates nothing in a repeated run.
  void run(DLTensor *const *inputs, size_t inputCount, DLTensor *const *outputs,
           size_t outputCount) {
    nnopt_error error;
    detail::check(nnopt_session_run(get(), inputs, inputCount, outputs, outputCount, &error),
                  error);
  }
  /// Shapes of the outputs for these inputs; -1: depends on data.
  std::vector<std::vector<int64_t>> outputShapes(const std::vector<TensorView> &inputs) {
    std::vector<nnopt_shape> shapes(nnopt_model_output_count(model.get()));
    Arguments in(inputs);
    nnopt_error error;
    detail::check(nnopt_session_output_shapes(get(), in.pointers.data(), in.pointers.size(),
                                              shapes.data(), shapes.size(), &error),
                  error);
    std::vector<std::vector<int64_t>> result;
    for (const nnopt_shape &shape : shapes)
      result.emplace_back(shape.dims, shape.dims + shape.rank);
    return result;
  }
  /// An output that the last run was not given memory for.
  Tensor takeOutput(size_t index) {
    nnopt_error error;
    DLManagedTensorVersioned *tensor = nullptr;
    detail::check(nnopt_session_take_output(get(), index, &tensor, &error), error);
    return Tensor(tensor);
  }
  void bindState(const std::string &past, const std::string &present, int64_t capacity) {
    nnopt_error error;
    detail::check(nnopt_session_bind_state(get(), past.c_str(), present.c_str(), capacity, &error),
                  error);
  }
  void setState(const std::string &past, const TensorView &value) {
    nnopt_error error;
    DLTensor tensor = value.dl();
    detail::check(nnopt_session_set_state(get(), past.c_str(), &tensor, &error), error);
  }
  void resetStates() { nnopt_session_reset_states(get()); }

private:
  Session(const Model &model, const nnopt_options *options) : model(model) {
    nnopt_error error;
    nnopt_session *created = nullptr;
    detail::check(nnopt_session_create(model.get(), options, &created, &error), error);
    session.reset(created);
  }
  struct Arguments {
    explicit Arguments(const std::vector<TensorView> &views) {
      for (const TensorView &view : views)
        tensors.push_back(view.dl());
      for (DLTensor &tensor : tensors)
        pointers.push_back(&tensor);
    }
    std::vector<DLTensor> tensors;
    std::vector<DLTensor *> pointers;
  };
  struct Destroy {
    void operator()(nnopt_session *s) const { nnopt_session_destroy(s); }
  };
  Model model;
  std::unique_ptr<nnopt_session, Destroy> session;
};

} // namespace nnopt

#endif

//===- runtime.cpp - the runtime for Python ---------------------------------===//
//
// nnopt._runtime: models and sessions of nnopt/runtime.hpp on arrays of any library that speaks
// DLPack or the buffer protocol. Memory is never copied here, and other Python threads run while a
// model does. What users see is made of this in nnopt/_model.py.
//
//===----------------------------------------------------------------------===//

#include "nnopt/runtime.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Input = nb::ndarray<nb::ro, nb::device::cpu>;
using Output = nb::ndarray<nb::device::cpu>;

/// Whether numpy has the type; others travel as unsigned integers of the same width.
bool numpyHas(DLDataType type) {
  return type.bits >= 8 && (type.code <= kDLFloat || type.code == kDLComplex || type.code == kDLBool);
}

/// DLTensors over arrays. Arrays of integers stand for elements that numpy cannot name.
class Arguments {
public:
  template <typename Array>
  void add(const std::optional<Array> &array, const nnopt_tensor_info *info) {
    if (!array) {
      tensors.emplace_back();
      present.push_back(false);
      return;
    }
    DLTensor t{};
    // nanobind's pointer includes the byte offset. The runtime never writes to inputs.
    t.data = const_cast<void *>(static_cast<const void *>(array->data()));
    t.device = {kDLCPU, 0};
    t.ndim = static_cast<int32_t>(array->ndim());
    t.dtype = {array->dtype().code, array->dtype().bits, array->dtype().lanes};
    t.shape = const_cast<int64_t *>(array->shape_ptr());
    t.strides = const_cast<int64_t *>(array->stride_ptr());
    if (info && !numpyHas(info->dtype) && t.dtype.code <= kDLUInt && t.dtype.bits == std::max<int>(8, info->dtype.bits))
      t.dtype = info->dtype;
    tensors.push_back(t);
    present.push_back(true);
  }
  std::vector<DLTensor *> pointers() {
    std::vector<DLTensor *> list;
    for (size_t i = 0; i < tensors.size(); ++i)
      list.push_back(present[i] ? &tensors[i] : nullptr);
    return list;
  }

private:
  std::vector<DLTensor> tensors;
  std::vector<bool> present;
};

void check(int code, const nnopt_error &error) {
  if (code)
    throw nnopt::Error(error);
}

nb::dict describe(const nnopt_tensor_info &info) {
  nb::dict d;
  nb::list shape;
  for (int32_t i = 0; i < info.rank; ++i) {
    if (info.dims[i] >= 0)
      shape.append(info.dims[i]);
    else if (info.dim_names[i] && *info.dim_names[i])
      shape.append(nb::str(info.dim_names[i]));
    else
      shape.append(nb::none());
  }
  d["name"] = nb::str(info.name);
  d["onnx_type"] = info.onnx_type;
  d["shape"] = nb::tuple(shape);
  return d;
}

nb::dict describe(const nnopt_memory &m) {
  nb::dict d;
  d["arena_bytes"] = m.arena_bytes;
  d["lower_bound_bytes"] = m.lower_bound_bytes;
  d["naive_bytes"] = m.naive_bytes;
  d["weight_bytes"] = m.weight_bytes;
  d["other_bytes"] = m.other_bytes;
  return d;
}

class Session {
public:
  Session(const nnopt::Model &model, int32_t threads) : model(model), session(model, nnopt::Options().threads(threads)) {}

  std::vector<std::vector<int64_t>> outputShapes(const std::vector<std::optional<Input>> &inputs) {
    Arguments in = arguments(inputs);
    auto pointers = in.pointers();
    std::vector<nnopt_shape> shapes(nnopt_model_output_count(model.get()));
    nnopt_error error;
    int code;
    {
      nb::gil_scoped_release release;
      code = nnopt_session_output_shapes(session.get(), pointers.data(), pointers.size(), shapes.data(), shapes.size(), &error);
    }
    check(code, error);
    std::vector<std::vector<int64_t>> result;
    for (const nnopt_shape &shape : shapes)
      result.emplace_back(shape.dims, shape.dims + shape.rank);
    return result;
  }

  void run(const std::vector<std::optional<Input>> &inputs, const std::vector<std::optional<Output>> &outputs) {
    Arguments in = arguments(inputs), out;
    for (size_t i = 0; i < outputs.size(); ++i)
      out.add(outputs[i], nnopt_model_output(model.get(), i));
    auto inPointers = in.pointers(), outPointers = out.pointers();
    nnopt_error error;
    int code;
    {
      nb::gil_scoped_release release;
      code = nnopt_session_run(session.get(), inPointers.data(), inPointers.size(), outPointers.data(), outPointers.size(), &error);
    }
    check(code, error);
  }

  nb::ndarray<nb::numpy> takeOutput(size_t index) {
    nnopt_error error;
    DLManagedTensorVersioned *tensor = nullptr;
    check(nnopt_session_take_output(session.get(), index, &tensor, &error), error);
    nb::capsule owner(tensor, [](void *p) noexcept {
      auto *t = static_cast<DLManagedTensorVersioned *>(p);
      t->deleter(t);
    });
    const DLTensor &t = tensor->dl_tensor;
    nb::dlpack::dtype type{t.dtype.code, static_cast<uint8_t>(std::max<int>(8, t.dtype.bits)), t.dtype.lanes};
    if (!numpyHas(t.dtype))
      type.code = kDLUInt;
    std::vector<size_t> shape(t.shape, t.shape + t.ndim);
    return nb::ndarray<nb::numpy>(static_cast<char *>(t.data) + t.byte_offset, shape.size(), shape.data(), owner, nullptr, type);
  }

  void setState(const std::string &past, const Input &value) {
    Arguments in;
    for (size_t i = 0; i < nnopt_model_input_count(model.get()); ++i)
      if (past == nnopt_model_input(model.get(), i)->name)
        in.add(std::optional<Input>(value), nnopt_model_input(model.get(), i));
    if (in.pointers().empty())
      in.add(std::optional<Input>(value), nullptr); // an unknown name: the runtime says so
    nnopt_error error;
    check(nnopt_session_set_state(session.get(), past.c_str(), in.pointers().front(), &error), error);
  }

  nnopt::Model model;
  nnopt::Session session;

private:
  Arguments arguments(const std::vector<std::optional<Input>> &inputs) {
    Arguments in;
    for (size_t i = 0; i < inputs.size(); ++i)
      in.add(inputs[i], nnopt_model_input(model.get(), i));
    return in;
  }
};

} // namespace

NB_MODULE(_runtime, m) {
  nb::register_exception_translator(
      [](const std::exception_ptr &p, void *) {
        try {
          std::rethrow_exception(p);
        } catch (const nnopt::Error &e) {
          nb::object type = nb::module_::import_("nnopt._error").attr("Error");
          nb::object arguments = nb::make_tuple(e.what(), e.code());
          PyErr_SetObject(type.ptr(), arguments.ptr());
        }
      },
      nullptr);

  m.def("host_cpu", [] { return nnopt_host_cpu(); });
  m.def("default_threads", &nnopt_default_threads);

  nb::class_<nnopt::Model>(m, "Model")
      .def("__init__",
           [](nnopt::Model *self, const std::string &path) {
             nb::gil_scoped_release release;
             new (self) nnopt::Model(path);
           },
           "path"_a)
      .def("inputs",
           [](const nnopt::Model &model) {
             nb::list list;
             for (const nnopt_tensor_info &info : model.inputs())
               list.append(describe(info));
             return list;
           })
      .def("outputs",
           [](const nnopt::Model &model) {
             nb::list list;
             for (const nnopt_tensor_info &info : model.outputs())
               list.append(describe(info));
             return list;
           })
      .def("symbols",
           [](const nnopt::Model &model) {
             nb::dict d;
             for (size_t i = 0; i < nnopt_model_symbol_count(model.get()); ++i) {
               const nnopt_symbol_info &s = *nnopt_model_symbol(model.get(), i);
               if (!s.data_dependent)
                 d[s.name] = nb::make_tuple(s.low, s.high < 0 ? nb::object(nb::none()) : nb::object(nb::int_(s.high)));
             }
             return d;
           })
      .def("properties",
           [](const nnopt::Model &model) {
             nb::dict d;
             for (size_t i = 0; i < nnopt_model_property_count(model.get()); ++i) {
               const char *value = nullptr, *key = nnopt_model_property_at(model.get(), i, &value);
               d[key] = nb::str(value);
             }
             return d;
           })
      .def("memory", [](const nnopt::Model &model, const std::vector<std::pair<std::string, int64_t>> &dims,
                        int32_t threads) { return describe(model.memory(dims, threads)); },
           "dims"_a, "threads"_a);

  nb::class_<Session>(m, "Session")
      .def(nb::init<const nnopt::Model &, int32_t>(), "model"_a, "threads"_a)
      .def("output_shapes", &Session::outputShapes, "inputs"_a)
      .def("run", &Session::run, "inputs"_a, "outputs"_a)
      .def("take_output", &Session::takeOutput, "index"_a, nb::rv_policy::automatic)
      .def("bind_state", [](Session &s, const std::string &past, const std::string &present,
                            int64_t capacity) { s.session.bindState(past, present, capacity); },
           "past"_a, "present"_a, "capacity"_a)
      .def("set_state", &Session::setState, "past"_a, "value"_a)
      .def("reset_states", [](Session &s) { s.session.resetStates(); })
      .def("threads", [](const Session &s) { return s.session.threads(); })
      .def("memory", [](const Session &s) { return describe(s.session.memory()); });
}

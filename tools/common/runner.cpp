//===- runner.cpp - an artifact with inputs, ready to run -------------------===//

#include "tools/common/runner.h"
#include "tools/common/hostvalue.h"
#include "tools/common/npz.h"
#include "tools/common/replacement.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <sys/resource.h>
#include <unistd.h>

namespace nnopt {

double nowMs() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t peakRss() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

void writeText(const std::string &path, const std::string &text) {
  if (path == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return;
  }
  Replacement target(path);
  FILE *file = std::fopen(target.name().c_str(), "wb");
  bool ok = file && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file)
    ok = std::fclose(file) == 0 && ok;
  if (int reason = ok ? target.commit() : errno)
    throw ToolError(1, path + ": cannot be written: " + std::strerror(reason));
}

static void check(int code, const std::string &path, const nnopt_error &error) {
  if (!code)
    return;
  std::string message = error.message;
  if (message.rfind(path, 0) != 0)
    message = path + ": " + message;
  throw ToolError(code, message);
}

Runner::Runner(const std::string &file, int threads, bool copyWeights, int device) : path(file) {
  nnopt_options options;
  nnopt_options_init(&options);
  options.num_threads = threads;
  options.flags = copyWeights ? NNOPT_COPY_WEIGHTS : 0;
  options.device_type = device;
  nnopt_error error;
  double start = nowMs();
  check(nnopt_model_open(path.c_str(), &options, &model, &error), path, error);
  int code = nnopt_session_create(model, nullptr, &session, &error);
  if (code)
    nnopt_model_close(model);
  check(code, path, error);
  openMilliseconds = nowMs() - start;
}

Runner::~Runner() {
  nnopt_session_destroy(session);
  nnopt_model_close(model);
}

/// A stand-in that holds a value.
static HostTensor hostTensor(const nnopt_tensor_info &info, HostValue value) {
  HostTensor tensor(info.name, info.onnx_type, {0});
  tensor.value = std::make_shared<HostValue>(std::move(value));
  return tensor;
}

void Runner::loadInputs(const std::string &file) {
  npz::Arrays arrays;
  std::string error;
  if (!npz::read(file, arrays, error))
    throw ToolError(3, error);
  std::string names;
  for (size_t i = 0; i < nnopt_model_input_count(model); ++i)
    names += std::string(i ? ", " : "") + "'" + nnopt_model_input(model, i)->name + "'";
  std::vector<HostTensor> tensors;
  for (size_t i = 0; i < nnopt_model_input_count(model); ++i) {
    const nnopt_tensor_info *input = nnopt_model_input(model, i);
    if (input->kind != NNOPT_KIND_TENSOR) {
      tensors.push_back(hostTensor(*input, takeInput(*input, arrays, file)));
      continue;
    }
    auto found = arrays.find(input->name);
    if (found == arrays.end())
      throw ToolError(3,
                      file + ": no array '" + input->name + "'; the model's inputs are " + names);
    const npz::Array &array = found->second;
    const TypeInfo &info = *typeInfo(input->onnx_type);
    if (!typeFits(array, info))
      throw ToolError(3, file + ": array '" + input->name + "' holds " + array.typeName() +
                             ", the model's input is " + info.name);
    if (array.shape.size() > NNOPT_MAX_RANK)
      throw ToolError(3, file + ": array '" + input->name + "' has too many dimensions");
    HostTensor tensor(input->name, input->onnx_type, array.shape);
    if (!array.data.empty())
      std::memcpy(tensor.data(), array.data.data(), array.data.size());
    tensors.push_back(std::move(tensor));
    arrays.erase(found);
  }
  for (const auto &left : arrays)
    std::fprintf(stderr, "warning: %s: array '%s' is no input of the model (%s)\n", file.c_str(),
                 left.first.c_str(), names.c_str());
  setInputs(std::move(tensors));
}

/// Fills a tensor; the generator is used directly because distributions differ between libraries.
static void fillRandom(HostTensor &tensor, std::mt19937_64 &rng) {
  int type = tensor.type;
  const TypeInfo &info = *typeInfo(type);
  char *p = tensor.data();
  for (int64_t i = 0; i < tensor.count(); ++i, p += info.width) {
    uint64_t bits = rng();
    double unit = static_cast<double>(bits >> 11) * 0x1p-52 - 1; // [-1, 1)
    float single = static_cast<float>(unit);
    uint16_t half;
    switch (type) {
    case OnnxFloat:
      std::memcpy(p, &single, 4);
      break;
    case OnnxDouble:
      std::memcpy(p, &unit, 8);
      break;
    case OnnxComplex64:
      std::memcpy(p, &single, 4);
      std::memcpy(p + 4, &single, 4);
      break;
    case OnnxComplex128:
      std::memcpy(p, &unit, 8);
      std::memcpy(p + 8, &unit, 8);
      break;
    case OnnxFloat16:
      half = toFloat16(single);
      std::memcpy(p, &half, 2);
      break;
    case OnnxBFloat16:
      half = toBFloat16(single);
      std::memcpy(p, &half, 2);
      break;
    case OnnxUInt8:
    case OnnxInt8:
      *p = static_cast<char>(bits >> 56);
      break;
    case OnnxFloat8E4M3FN: // sign and exponent below 1: no NaN
    case OnnxFloat8E4M3FNUZ:
    case OnnxFloat8E5M2:
    case OnnxFloat8E5M2FNUZ:
      *p = static_cast<char>((bits & 0x80) | (bits >> 8 & 0x37));
      break;
    case OnnxFloat8E8M0:
      *p = static_cast<char>(120 + bits % 8);
      break;
    case OnnxFloat4E2M1:
      *p = static_cast<char>(bits & 15);
      break;
    default: // integers and bool, little endian
      *p = static_cast<char>(bits >> 63);
    }
  }
}

void Runner::randomInputs(const std::map<std::string, int64_t> &dims, unsigned seed) {
  std::map<std::string, int64_t> sizes;
  std::string known;
  for (size_t i = 0; i < nnopt_model_symbol_count(model); ++i) {
    const nnopt_symbol_info *symbol = nnopt_model_symbol(model, i);
    if (symbol->data_dependent)
      continue;
    sizes[symbol->name] = std::max<int64_t>(symbol->low, 1);
    known += (known.empty() ? "'" : ", '") + std::string(symbol->name) + "'";
  }
  for (const auto &dim : dims) {
    if (!sizes.count(dim.first))
      throw ToolError(2,
                      "--dim: the model has no dimension '" + dim.first + "'" +
                          (known.empty() ? "; all its dimensions are fixed" : "; it has " + known));
    sizes[dim.first] = dim.second;
  }
  std::mt19937_64 rng(seed);
  std::vector<HostTensor> tensors;
  for (size_t i = 0; i < nnopt_model_input_count(model); ++i) {
    const nnopt_tensor_info *input = nnopt_model_input(model, i);
    if (input->kind == NNOPT_KIND_OPTIONAL) {
      tensors.push_back(hostTensor(*input, HostValue::optional(input->onnx_type, nullptr)));
      continue;
    }
    if (input->kind != NNOPT_KIND_TENSOR)
      throw ToolError(2, "input '" + std::string(input->name) + "' is " + input->type +
                             ", for which there are no random values: give the inputs with --inputs");
    std::vector<int64_t> shape(input->dims, input->dims + input->rank);
    for (int d = 0; d < input->rank; ++d)
      if (shape[d] < 0)
        shape[d] = input->dim_names[d] ? sizes[input->dim_names[d]] : 1;
    HostTensor tensor(input->name, input->onnx_type, shape);
    fillRandom(tensor, rng);
    tensors.push_back(std::move(tensor));
  }
  setInputs(std::move(tensors));
}

void Runner::setInputs(std::vector<HostTensor> tensors) {
  inputs = std::move(tensors);
  inputPointers.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputPointers.push_back(inputs[i].value ? nullptr : inputs[i].dl());
    nnopt_error error;
    if (inputs[i].value)
      check(nnopt_session_set_input(session, i, inputs[i].value->get(), &error), path, error);
  }
}

void Runner::prepare() {
  size_t count = nnopt_model_output_count(model);
  std::vector<nnopt_shape> shapes(count);
  nnopt_error error;
  check(nnopt_session_output_shapes(session, inputPointers.data(), inputPointers.size(),
                                    shapes.data(), count, &error),
        path, error);
  results.clear();
  outputPointers.clear();
  for (size_t i = 0; i < count; ++i) {
    const nnopt_tensor_info *output = nnopt_model_output(model, i);
    std::vector<int64_t> shape(shapes[i].dims, shapes[i].dims + shapes[i].rank);
    // Outputs whose shape depends on data are taken after the run.
    bool known = output->kind == NNOPT_KIND_TENSOR && std::count(shape.begin(), shape.end(), -1) == 0;
    results.emplace_back(output->name, output->onnx_type, known ? shape : std::vector<int64_t>{0}, HostTensor::Begins::Anything);
    outputPointers.push_back(nullptr);
  }
  for (size_t i = 0; i < count; ++i)
    if (nnopt_model_output(model, i)->kind == NNOPT_KIND_TENSOR && std::count(shapes[i].dims, shapes[i].dims + shapes[i].rank, -1) == 0)
      outputPointers[i] = results[i].dl();
}

double Runner::run() {
  nnopt_error error;
  double start = nowMs();
  int code = nnopt_session_run(session, inputPointers.data(), inputPointers.size(),
                               outputPointers.data(), outputPointers.size(), &error);
  double ms = nowMs() - start;
  check(code, path, error);
  return ms;
}

std::vector<HostTensor> &Runner::outputs() {
  nnopt_error error;
  for (size_t i = 0; i < results.size(); ++i) {
    if (outputPointers[i])
      continue;
    if (nnopt_model_output(model, i)->kind != NNOPT_KIND_TENSOR) {
      nnopt_value *value = nullptr;
      check(nnopt_session_take_value(session, i, &value, &error), path, error);
      results[i] = hostTensor(*nnopt_model_output(model, i), HostValue(value));
      continue;
    }
    DLManagedTensorVersioned *tensor;
    check(nnopt_session_take_output(session, i, &tensor, &error), path, error);
    const DLTensor &dl = tensor->dl_tensor;
    HostTensor copy(results[i].name, results[i].type,
                    std::vector<int64_t>(dl.shape, dl.shape + dl.ndim));
    if (copy.bytes())
      std::memcpy(copy.data(), dl.data, copy.bytes());
    tensor->deleter(tensor);
    results[i] = std::move(copy);
  }
  return results;
}

nlohmann::json Runner::memoryJson() const {
  nnopt_memory memory;
  nnopt_session_memory(session, &memory);
  nlohmann::json json;
  json["peak_rss_bytes"] = peakRss();
  json["arena_bytes"] = memory.arena_bytes;
  json["arena_lower_bound_bytes"] = memory.lower_bound_bytes;
  json["arena_naive_bytes"] = memory.naive_bytes;
  json["other_bytes"] = memory.other_bytes;
  json["weight_bytes"] = memory.weight_bytes;
  json["threads"] = nnopt_session_threads(session);
  json["open_ms"] = openMilliseconds;
  return json;
}

Distribution::Distribution(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto quantile = [&](double q) {
    double position = q * static_cast<double>(values.size() - 1);
    size_t i = static_cast<size_t>(position);
    double next = values[std::min(i + 1, values.size() - 1)];
    return values[i] + (next - values[i]) * (position - static_cast<double>(i));
  };
  min = values.front();
  max = values.back();
  p50 = quantile(0.5);
  p90 = quantile(0.9);
  p99 = quantile(0.99);
  mean = 0;
  for (double v : values)
    mean += v / static_cast<double>(values.size());
}

nlohmann::json Distribution::json() const {
  return {{"min", min}, {"median", p50}, {"mean", mean}, {"p90", p90}, {"p99", p99}, {"max", max}};
}

} // namespace nnopt

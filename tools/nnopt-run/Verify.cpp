//===- Verify.cpp - comparing with ONNX test data ---------------------------===//

#include "tools/nnopt-run/Verify.h"
#include "tools/common/hostvalue.h"
#include "tools/common/tensorproto.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace nnopt {

namespace fs = std::filesystem;

using InfoFn = const nnopt_tensor_info *(*)(const nnopt_model *, size_t);

/// PREFIX0.pb, PREFIX1.pb, ... as far as they go.
static std::vector<HostTensor> readNumbered(const fs::path &folder, const std::string &prefix,
                                            const nnopt_model *model, InfoFn info) {
  std::vector<HostTensor> tensors;
  for (int n = 0;; ++n) {
    fs::path file = folder / (prefix + std::to_string(n) + ".pb");
    if (!fs::exists(file))
      return tensors;
    const nnopt_tensor_info *what = info(model, static_cast<size_t>(n));
    tensors.push_back(what ? readValueProto(file.string(), *what) : readTensorProto(file.string()));
  }
}

/// Whether a folder holds a test data set.
static bool isDataSet(const fs::path &folder) {
  return fs::exists(folder / "output_0.pb") || fs::exists(folder / "input_0.pb");
}

static std::vector<fs::path> findDataSets(const std::string &folder) {
  std::error_code code;
  if (!fs::is_directory(folder, code))
    throw ToolError(3, folder + ": not a folder");
  if (isDataSet(folder))
    return {folder};
  std::vector<fs::path> sets;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder, code))
    if (entry.is_directory(code) && isDataSet(entry.path()))
      sets.push_back(entry.path());
  if (sets.empty())
    throw ToolError(
        3,
        folder + ": no test data: expected input_0.pb and output_0.pb there or in folders below");
  std::sort(sets.begin(), sets.end());
  return sets;
}

/// Prints one line; returns whether the tensors match.
static bool compare(const std::string &set, const HostTensor &got, const HostTensor &expected,
                    double rtol, double atol) {
  std::string label = set + ": output '" + got.name + "'";
  if (got.type != expected.type || got.shape != expected.shape) {
    const TypeInfo *type = typeInfo(expected.type);
    std::printf("FAIL %s: %s%s, expected %s%s\n", label.c_str(), typeInfo(got.type)->name,
                shapeText(got.shape).c_str(), type->name, shapeText(expected.shape).c_str());
    return false;
  }
  int64_t wrong = 0, first = -1;
  double worst = 0, worstRelative = 0;
  // Complex numbers are compared part by part.
  bool complex = got.type == OnnxComplex64 || got.type == OnnxComplex128;
  int type = got.type == OnnxComplex64    ? OnnxFloat
             : got.type == OnnxComplex128 ? OnnxDouble
                                          : got.type;
  int64_t count = got.count() * (complex ? 2 : 1);
  for (int64_t i = 0; i < count; ++i) {
    double a = element(type, got.data(), i), b = element(type, expected.data(), i);
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    double difference = std::fabs(a - b);
    if (!(difference <= atol + rtol * std::fabs(b))) {
      if (first < 0)
        first = i;
      ++wrong;
    }
    worst = std::max(worst, std::isnan(difference) ? INFINITY : difference);
    if (b != 0)
      worstRelative =
          std::max(worstRelative, std::isnan(difference) ? INFINITY : difference / std::fabs(b));
  }
  std::printf("%s %s %s%s: max |difference| %.3g, relative %.3g", wrong ? "FAIL" : "ok  ",
              label.c_str(), typeInfo(got.type)->name, shapeText(got.shape).c_str(), worst,
              worstRelative);
  if (wrong)
    std::printf("; %lld of %lld elements differ, first at %lld: %g, expected %g",
                static_cast<long long>(wrong), static_cast<long long>(count),
                static_cast<long long>(first), element(type, got.data(), first),
                element(type, expected.data(), first));
  std::printf("\n");
  return !wrong;
}

/// The same for values that are no tensors of numbers, element by element.
static bool compareValues(const std::string &set, const std::string &name, const HostValue &got,
                          const HostValue &expected, double rtol, double atol) {
  if (got.kind() == expected.kind() && got.kind() == NNOPT_KIND_TENSOR) {
    auto tensor = [&](const HostValue &v) {
      HostTensor t(name, v.type(), v.shape());
      if (t.bytes())
        std::memcpy(t.data(), nnopt_value_data(v.get()), t.bytes());
      return t;
    };
    return compare(set, tensor(got), tensor(expected), rtol, atol);
  }
  bool strings = got.kind() == NNOPT_KIND_STRINGS;
  bool ok = got.kind() == expected.kind() && got.type() == expected.type() && got.count() == expected.count() &&
            got.shape() == expected.shape();
  for (size_t i = 0; ok && i < got.count(); ++i)
    ok = strings ? got.string(i) == expected.string(i)
                 : compareValues(set, name + "/" + std::to_string(i), got.element(i), expected.element(i), rtol, atol);
  std::printf("%s %s: output '%s' %s%s%s\n", ok ? "ok  " : "FAIL", set.c_str(), name.c_str(), describe(got).c_str(),
              ok ? "" : ", expected ", ok ? "" : describe(expected).c_str());
  return ok;
}

static bool verifySet(Runner &runner, const fs::path &folder, double rtol, double atol) {
  std::string set = folder.string();
  std::vector<HostTensor> inputs = readNumbered(folder, "input_", runner.model, nnopt_model_input),
                          expected = readNumbered(folder, "output_", runner.model, nnopt_model_output);
  size_t want = nnopt_model_input_count(runner.model);
  if (inputs.size() != want)
    throw ToolError(3, set + ": " + std::to_string(inputs.size()) + " input files, the model has " +
                           std::to_string(want) + " inputs");
  size_t outputs = nnopt_model_output_count(runner.model);
  if (expected.empty() || expected.size() > outputs)
    throw ToolError(3, set + ": " + std::to_string(expected.size()) +
                           " output files, the model has " + std::to_string(outputs) + " outputs");
  runner.setInputs(std::move(inputs));
  runner.prepare();
  runner.run();
  bool ok = true;
  for (size_t i = 0; i < expected.size(); ++i) {
    const HostTensor &got = runner.outputs()[i];
    if (got.value && expected[i].value)
      ok &= compareValues(set, got.name, *got.value, *expected[i].value, rtol, atol);
    else
      ok &= !got.value && !expected[i].value && compare(set, got, expected[i], rtol, atol);
  }
  return ok;
}

int verifyTestData(Runner &runner, const std::string &folder, double rtol, double atol) {
  std::vector<fs::path> sets = findDataSets(folder);
  size_t passed = 0;
  for (const fs::path &set : sets)
    passed += verifySet(runner, set, rtol, atol);
  std::printf("%zu of %zu test data sets match (rtol %g, atol %g)\n", passed, sets.size(), rtol,
              atol);
  return passed == sets.size() ? 0 : 1;
}

} // namespace nnopt

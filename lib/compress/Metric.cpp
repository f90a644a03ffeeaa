//===- Metric.cpp - how good a model's outputs are --------------------------===//

#include "lib/compress/Metric.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/wait.h>
#include <unistd.h>

namespace nnopt::compress {

static double number(const npz::Array &a, int64_t i) {
  const char *p = a.data.data() + size_t(i) * a.width;
  auto read = [&](auto v) {
    std::memcpy(&v, p, sizeof(v));
    return double(v);
  };
  switch (a.kind) {
  case 'f':
    return a.width == 4 ? read(float()) : read(double());
  case 'i':
    return a.width == 1   ? read(int8_t())
           : a.width == 2 ? read(int16_t())
           : a.width == 4 ? read(int32_t())
                          : read(int64_t());
  default:
    return a.width == 1   ? read(uint8_t())
           : a.width == 2 ? read(uint16_t())
           : a.width == 4 ? read(uint32_t())
                          : read(uint64_t());
  }
}

static bool isInteger(const npz::Array &a) { return a.kind == 'i' || a.kind == 'u'; }

Metric::Metric(const std::string &text, const Dataset &data,
               const std::vector<std::string> &outputs)
    : data(data) {
  const npz::Array *labels = data.labels();
  kindName = text;
  if (text.empty())
    kindName = labels && isInteger(*labels) && labels->shape.size() == 1 ? "top1" : "cosine";
  if (text.rfind("cmd:", 0) == 0) {
    kindName = "cmd";
    command = text.substr(4);
    if (command.empty())
      throw ToolError(2, "--metric=cmd: needs a command, as in --metric='cmd:python3 score.py'");
    return;
  }
  if (size_t colon = kindName.find(':'); colon != std::string::npos) {
    std::string name = kindName.substr(colon + 1), known;
    kindName.resize(colon);
    bool found = false;
    for (size_t i = 0; i < outputs.size() && !found; ++i) {
      known += (i ? ", '" : "'") + outputs[i] + "'";
      if ((found = name == outputs[i]))
        output = i;
    }
    if (!found)
      throw ToolError(2, "--metric=" + text + ": the model has no output '" + name + "'; it has " +
                             known);
  }
  if (kindName != "top1" && kindName != "perplexity" && kindName != "cosine" && kindName != "psnr")
    throw ToolError(
        2, "--metric=" + text +
               ": expected top1, perplexity, cosine, psnr (each with :OUTPUT) or cmd:COMMAND");
  bool classes = kindName == "top1" || kindName == "perplexity";
  if (classes && (!labels || !isInteger(*labels)))
    throw ToolError(3, data.path() + ": --metric=" + kindName +
                           " needs an array 'labels' of integers");
}

/// A share of an output: `samples` rows along its first dimension.
static int64_t rowSize(const HostTensor &t, int64_t samples, const std::string &metric) {
  if (t.value || samples == 0 || t.count() % samples)
    throw ToolError(3, "--metric=" + metric + ": output '" + t.name + "' of shape " +
                           shapeText(t.shape) + " does not hold " + std::to_string(samples) +
                           " samples");
  return t.count() / samples;
}

double Metric::evaluate(const RunBatch &model, const RunBatch &reference) const {
  if (kindName == "cmd")
    return evaluateCommand(model);
  const npz::Array *labels = data.labels();
  double right = 0, logLoss = 0, dot = 0, squaresA = 0, squaresB = 0, decibels = 0;
  int64_t scored = 0;
  int64_t labelRow = labels ? labels->count() / data.samples() : 0;
  for (int64_t first = 0; first < data.usable(); first += data.batchSize()) {
    int64_t step = data.countAt(first);
    std::vector<double> want;
    if (!labels) {
      HostTensor &r = (*reference(first, step))[output];
      rowSize(r, step, kindName);
      for (int64_t i = 0; i < r.count(); ++i)
        want.push_back(r.at(i));
    } else {
      for (int64_t i = first * labelRow; i < (first + step) * labelRow; ++i)
        want.push_back(number(*labels, i));
    }
    HostTensor &y = (*model(first, step))[output];
    int64_t row = rowSize(y, step, kindName);
    if (kindName == "top1" || kindName == "perplexity") {
      int64_t classes = y.shape.empty() ? 0 : y.shape.back(),
              rows = classes ? y.count() / classes : 0;
      if (rows != int64_t(want.size()))
        throw ToolError(3, data.path() + ": 'labels' has shape " + shapeText(labels->shape) +
                               ", which does not fit the output '" + y.name + "' of shape " +
                               shapeText(y.shape) + " with classes along the last dimension");
      for (int64_t r = 0; r < rows; ++r) {
        int64_t label = int64_t(want[r]), best = 0;
        if (label < 0 || label >= classes)
          throw ToolError(3, data.path() + ": label " + std::to_string(label) + " is none of the " +
                                 std::to_string(classes) + " classes");
        for (int64_t c = 1; c < classes; ++c)
          if (y.at(r * classes + c) > y.at(r * classes + best))
            best = c;
        right += best == label;
        if (kindName == "perplexity") {
          double top = y.at(r * classes + best), sum = 0;
          for (int64_t c = 0; c < classes; ++c)
            sum += std::exp(y.at(r * classes + c) - top);
          logLoss += std::log(sum) + top - y.at(r * classes + label);
        }
        ++scored;
      }
      continue;
    }
    if (int64_t(want.size()) != y.count())
      throw ToolError(3, data.path() + ": 'labels' of shape " + shapeText(labels->shape) +
                             " does not have the elements of output '" + y.name + "', shape " +
                             shapeText(y.shape));
    for (int64_t s = 0; s < step; ++s, ++scored) {
      double squaredError = 0;
      for (int64_t i = s * row; i < (s + 1) * row; ++i) {
        double a = y.at(i), b = want[i];
        dot += a * b;
        squaresA += a * a;
        squaresB += b * b;
        squaredError += (a - b) * (a - b);
      }
      decibels += -10 * std::log10(std::max(squaredError / double(row), 1e-30));
    }
  }
  if (kindName == "top1")
    return 100 * right / double(scored);
  if (kindName == "perplexity")
    return std::exp(logLoss / double(scored));
  if (kindName == "psnr")
    return decibels / double(scored);
  return squaresA * squaresB > 0 ? dot / std::sqrt(squaresA * squaresB) : squaresA == squaresB;
}

double Metric::evaluateCommand(const RunBatch &model) const {
  // All outputs of all samples, joined along the first dimension.
  std::vector<std::vector<char>> bytes;
  std::vector<HostTensor> first;
  std::vector<int64_t> rows;
  for (int64_t at = 0; at < data.usable(); at += data.batchSize()) {
    std::vector<HostTensor> &outputs = *model(at, data.countAt(at));
    bytes.resize(outputs.size());
    rows.resize(outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      rowSize(outputs[i], 1, kindName);
      bytes[i].insert(bytes[i].end(), outputs[i].data(), outputs[i].data() + outputs[i].bytes());
      rows[i] += outputs[i].shape.empty() ? 1 : outputs[i].shape[0];
      if (at == 0)
        first.emplace_back(outputs[i].name, outputs[i].type, outputs[i].shape);
    }
  }
  std::vector<npz::Entry> entries;
  for (size_t i = 0; i < first.size(); ++i) {
    std::vector<int64_t> shape = first[i].shape;
    shape.resize(std::max<size_t>(1, shape.size()));
    shape[0] = rows[i];
    const TypeInfo &info = *typeInfo(first[i].type);
    entries.push_back({first[i].name, info.kind, info.width, shape, bytes[i].data()});
  }
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder ? folder : "/tmp") + "/nnopt-outputs-" +
                     std::to_string(getpid()) + ".npz",
              error;
  if (!npz::write(path, entries, error))
    throw ToolError(1, error);
  setenv("OUTPUTS", path.c_str(), 1);
  setenv("EVAL", data.path().c_str(), 1);
  FILE *pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (size_t n = pipe ? std::fread(buffer, 1, sizeof(buffer), pipe) : 0)
    text.append(buffer, n);
  int status = pipe ? pclose(pipe) : -1;
  std::remove(path.c_str());
  while (!text.empty() && std::strchr("\n\r \t", text.back()))
    text.pop_back();
  std::string last =
      text.substr(text.find_last_of('\n') == std::string::npos ? 0 : text.find_last_of('\n') + 1);
  char *end = nullptr;
  double value = std::strtod(last.c_str(), &end);
  if (status != 0 || last.empty() || *end || !std::isfinite(value))
    throw ToolError(
        1, "--metric=cmd:" + command + ": " +
               (status != 0 ? "failed with status " +
                                  std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : status)
                            : "its last line is no number: '" + last + "'"));
  return value;
}

double Metric::drop(double reference, double value) const {
  if (kindName == "perplexity")
    return value / reference - 1;
  return reference - value;
}

double Metric::parseDrop(const std::string &text) const {
  char *end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  std::string unit = end;
  bool relative = kindName == "perplexity" || kindName == "cosine";
  if (end == text.c_str() || !(value >= 0) || !std::isfinite(value) ||
      !(unit.empty() || (unit == "%" && kindName != "psnr" && kindName != "cmd") ||
        (unit == "dB" && kindName == "psnr")))
    throw ToolError(2, "--budget: drop=" + text + " is no amount of " + kindName + ", as " +
                           (kindName == "psnr"  ? "0.3dB"
                            : kindName == "cmd" ? "0.3"
                                                : "0.5%"));
  return unit == "%" && relative ? value / 100 : value;
}

static std::string print(const char *format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), format, value);
  return buffer;
}

std::string Metric::format(double value) const {
  return kindName + " " +
         print(kindName == "top1"     ? "%.2f %%"
               : kindName == "psnr"   ? "%.3f dB"
               : kindName == "cosine" ? "%.6f"
                                      : "%.4f",
               value);
}

std::string Metric::formatDrop(double drop) const {
  return kindName == "perplexity" ? print("%.3f %%", 100 * drop)
                                  : print(kindName == "top1"   ? "%.2f points"
                                          : kindName == "psnr" ? "%.3f dB"
                                                               : "%.6f",
                                          drop);
}

} // namespace nnopt::compress

//===- Metric.cpp - how good a model's outputs are --------------------------===//

#include "lib/compress/Metric.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <sys/wait.h>
#include <unistd.h>

using llvm::ArrayRef;

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
  bool classes = isPercent() || kindName == "perplexity";
  if (!classes && kindName != "cosine" && kindName != "psnr" && kindName != "max")
    throw ToolError(2, "--metric=" + text +
                           ": expected top1, top5, perplexity, characters, words, cosine, psnr, max (each with "
                           ":OUTPUT) or cmd:COMMAND");
  if (classes && (!labels || !isInteger(*labels)))
    throw ToolError(3, data.path() + ": --metric=" + kindName + " needs an array 'labels' of integers");
}

bool Metric::isPercent() const {
  return kindName == "top1" || kindName == "top5" || kindName == "characters" || kindName == "words";
}

/// A share of an output: `samples` rows along its first dimension.
static int64_t rowSize(const HostTensor &t, int64_t samples, const std::string &metric) {
  if (t.value || samples == 0 || t.count() % samples)
    throw ToolError(3, "--metric=" + metric + ": output '" + t.name + "' of shape " +
                           shapeText(t.shape) + " does not hold " + std::to_string(samples) +
                           " samples");
  return t.count() / samples;
}

void Metric::scoreClasses(const HostTensor &y, ArrayRef<double> labels, std::vector<double> &scores) const {
  int64_t classes = y.shape.empty() ? 0 : y.shape.back(), rows = classes ? y.count() / classes : 0;
  if (rows != int64_t(labels.size()))
    throw ToolError(3, data.path() + ": 'labels' has shape " + shapeText(data.labels()->shape) +
                           ", which does not fit the output '" + y.name + "' of shape " + shapeText(y.shape) +
                           " with classes along the last dimension");
  for (int64_t r = 0; r < rows; ++r) {
    int64_t label = int64_t(labels[r]), better = 0;
    if (label < 0 || label >= classes)
      throw ToolError(3, data.path() + ": label " + std::to_string(label) + " is none of the " +
                             std::to_string(classes) + " classes");
    double own = y.at(r * classes + label), top = own;
    for (int64_t c = 0; c < classes; ++c) {
      double v = y.at(r * classes + c);
      better += v > own || (v == own && c < label) || std::isnan(own);
      top = std::max(top, v);
    }
    if (kindName != "perplexity") {
      scores.push_back(better < (kindName == "top5" ? 5 : 1) ? 100 : 0);
      continue;
    }
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c)
      sum += std::exp(y.at(r * classes + c) - top);
    scores.push_back(std::log(sum) + top - own);
  }
}

/// Least number of insertions, deletions and substitutions that turn a into b (Wagner and Fischer 1974).
static int64_t editDistance(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = std::exchange(row[0], int64_t(i));
    for (size_t j = 1; j <= b.size(); ++j)
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])}));
  }
  return row.back();
}

void Metric::scoreText(const HostTensor &y, ArrayRef<double> labels, int64_t samples,
                       std::vector<double> &scores) const {
  if (y.shape.size() != 3 || y.shape[0] != samples)
    throw ToolError(3, "--metric=" + kindName + ": output '" + y.name + "' of shape " + shapeText(y.shape) +
                           " is not [samples, steps, classes]");
  int64_t steps = y.shape[1], classes = y.shape[2], length = int64_t(labels.size()) / samples;
  for (int64_t s = 0; s < samples; ++s) {
    std::vector<int64_t> read, want;
    int64_t last = 0;
    for (int64_t t = 0; t < steps; ++t) {
      int64_t at = (s * steps + t) * classes, best = 0;
      for (int64_t c = 1; c < classes; ++c)
        if (y.at(at + c) > y.at(at + best))
          best = c;
      if (best != 0 && best != last)
        read.push_back(best);
      last = best;
    }
    for (int64_t i = 0; i < length && labels[s * length + i] >= 0; ++i)
      want.push_back(int64_t(labels[s * length + i]));
    int64_t errors = editDistance(read, want);
    if (kindName == "words")
      scores.push_back(errors ? 0 : 100);
    else
      scores.push_back(100 * (1 - double(errors) / double(std::max<size_t>(1, want.size()))));
  }
}

Evaluation Metric::evaluate(const RunBatch &model, const RunBatch &reference) const {
  if (kindName == "cmd")
    return {evaluateCommand(model), {}};
  const npz::Array *labels = data.labels();
  Evaluation result;
  double dot = 0, squaresA = 0, squaresB = 0, largest = 0;
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
    if (kindName == "characters" || kindName == "words") {
      scoreText(y, want, step, result.scores);
      continue;
    }
    if (isPercent() || kindName == "perplexity") {
      scoreClasses(y, want, result.scores);
      continue;
    }
    if (int64_t(want.size()) != y.count())
      throw ToolError(3, data.path() + ": 'labels' of shape " + shapeText(labels->shape) +
                             " does not have the elements of output '" + y.name + "', shape " + shapeText(y.shape));
    for (int64_t s = 0; s < step; ++s) {
      double squaredError = 0;
      for (int64_t i = s * row; i < (s + 1) * row; ++i) {
        double a = y.at(i), b = want[i];
        dot += a * b;
        squaresA += a * a;
        squaresB += b * b;
        squaredError += (a - b) * (a - b);
        largest = std::isnan(a - b) ? INFINITY : std::max(largest, std::fabs(a - b));
      }
      if (kindName == "psnr")
        result.scores.push_back(-10 * std::log10(std::max(squaredError / double(row), 1e-30)));
    }
  }
  if (kindName == "cosine")
    result.value = squaresA * squaresB > 0 ? dot / std::sqrt(squaresA * squaresB) : squaresA == squaresB;
  else if (kindName == "max")
    result.value = largest;
  else
    result.value =
        std::accumulate(result.scores.begin(), result.scores.end(), 0.0) / double(result.scores.size());
  if (kindName == "perplexity")
    result.value = std::exp(result.value);
  return result;
}

std::optional<double> Metric::interval(const Evaluation &reference, const Evaluation &value) const {
  size_t n = value.scores.size();
  if (n < 2 || reference.scores.size() != n)
    return std::nullopt;
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n; ++i)
    mean += (reference.scores[i] - value.scores[i]) / double(n);
  for (size_t i = 0; i < n; ++i)
    squares += std::pow(reference.scores[i] - value.scores[i] - mean, 2);
  double half = 1.96 * std::sqrt(squares / double(n - 1) / double(n));
  // Of a ratio of perplexities: the interval of its logarithm, to first order.
  return kindName == "perplexity" ? value.value / reference.value * half : half;
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
  return kindName == "max" ? value - reference : reference - value;
}

double Metric::parseDrop(const std::string &text) const {
  char *end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  std::string unit = end;
  bool share = kindName == "perplexity" || kindName == "cosine";
  if (end == text.c_str() || !(value >= 0) || !std::isfinite(value) ||
      !(unit.empty() || (unit == "%" && (share || isPercent())) || (unit == "dB" && kindName == "psnr")))
    throw ToolError(2, "--budget: drop=" + text + " is no amount of " + kindName + ", as " +
                           (kindName == "psnr" ? "0.3dB" : share || isPercent() ? "0.5%" : "0.3"));
  return unit == "%" && share ? value / 100 : value;
}

static std::string print(const char *format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), format, value);
  return buffer;
}

std::string Metric::format(double value) const {
  const char *format = isPercent() ? "%.2f %%" : kindName == "psnr" ? "%.3f dB" : kindName == "cosine" ? "%.6f" : "%.4f";
  return kindName + " " + print(format, value);
}

std::string Metric::formatDrop(double drop) const {
  if (kindName == "perplexity")
    return print("%.3f %%", 100 * drop);
  return print(isPercent() ? "%.2f points" : kindName == "psnr" ? "%.3f dB" : "%.6f", drop);
}

} // namespace nnopt::compress

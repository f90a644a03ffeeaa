//===- SearchValidate.cpp - what a search comes to --------------------------===//

#include "lib/compress/Search.h"
#include "llvm/Support/FormatVariadic.h"
#include <chrono>

using namespace mlir;

namespace nnopt::compress {

/// Turn by turn: a machine that is slower for a while is so for both, and the median of the ratios of turns does not see it. The float
/// model takes the least that it ever took.
std::pair<double, double> Search::latencies(CompiledGraph &compressed) {
  std::vector<double> ratios;
  auto begin = std::chrono::steady_clock::now();
  while (ratios.size() < 3 || (ratios.size() < 25 && std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(600))) {
    double before = plain->measure(calib->inputs(0, calib->latencyBatch()), 20);
    ratios.push_back(compressed.measure(calib->inputs(0, calib->latencyBatch()), 20) / before);
  }
  std::nth_element(ratios.begin(), ratios.begin() + ratios.size() / 2, ratios.end());
  double base = plain->leastMilliseconds();
  return {base, base * ratios[ratios.size() / 2]};
}

/// Measures the compressed module as it will run. A budget that it exceeds is refused.
void Search::validate(const Choice &choice, Attempt &result) {
  const Dataset &data = eval ? *eval : *calib;
  CompiledGraph compressed(module, settings, /*threads=*/1);
  std::string line;
  Evaluation value;
  if (metric) {
    value = metric->evaluate(
        [&](int64_t first, int64_t count) { return &compressed.run(data.inputs(first, count)); },
        [&](int64_t first, int64_t count) { return floatOutputs(data, first, count); });
    double drop = metric->drop(floatQuality.value, value.value);
    notes["compressed"]["quality"] = value.value;
    line = metric->format(value.value) + " (float " + metric->format(floatQuality.value);
    if (std::optional<double> half = metric->interval(floatQuality, value)) {
      notes["compressed"]["drop"] = drop;
      notes["compressed"]["drop_interval"] = {drop - *half, drop + *half};
      line += "; drop " + metric->formatDrop(drop) + ", within " + metric->formatDrop(*half) +
              " at 95 %";
    }
    line += ")";
  }
  if (plain) {
    auto [base, ms] = latencies(compressed);
    // Where it exceeds the limit: that may have been a moment's doing.
    for (int again = 0; again < 2 && budget && budget->latency && ms > budget->latency->of(base); ++again)
      ms = std::min(ms, latencies(compressed).second);
    result.latency = ms;
    if (metric) {
      notes["points"].push_back({{"quality", floatQuality.value},
                                 {"ms", base},
                                 {"bytes", plain->defaultFileBytes()},
                                 {"float", true}});
      notes["points"].push_back({{"quality", value.value},
                                 {"ms", ms},
                                 {"bytes", compressed.fileBytes()},
                                 {"taken", true}});
    }
    notes["float"]["latency_ms"] = base;
    notes["float"]["bytes"] = plain->defaultFileBytes();
    notes["compressed"]["latency_ms"] = ms;
    notes["compressed"]["bytes"] = compressed.fileBytes();
    line += llvm::formatv("{0}{1:f3} ms (float {2:f3}; one thread), {3:f3} MB (float {4:f3})",
                          line.empty() ? "" : ", ", ms, base, double(compressed.fileBytes()) / 1e6,
                          double(plain->defaultFileBytes()) / 1e6)
                .str();
    if (maxDrop && !holds(value, *maxDrop))
      refuseBudget("the compiled model loses " +
                       metric->formatDrop(metric->drop(floatQuality.value, value.value)) + ": " +
                       line,
                   choice);
    if (budget && budget->latency && ms > budget->latency->of(base))
      refuseBudget("the compiled model is slower than its layers promised: " + line, choice);
    if (budget && budget->memory &&
        double(compressed.memoryBytes()) > budget->memory->of(double(plain->memoryBytes())))
      refuseBudget(llvm::formatv("the compiled model takes {0:f3} MB of memory (float {1:f3}): {2}",
                                 double(compressed.memoryBytes()) / 1e6,
                                 double(plain->memoryBytes()) / 1e6, line)
                       .str(),
                   choice);
    if (budget && budget->size &&
        double(compressed.fileBytes()) > budget->size->of(double(plain->defaultFileBytes())))
      refuseBudget("the compiled model is larger than its layers promised: " + line, choice);
  }
  say(options.model + ": " + line);
  result.floatQuality = floatQuality;
  result.quality = std::move(value);
}

} // namespace nnopt::compress

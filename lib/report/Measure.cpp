//===- Measure.cpp - times of an artifact's launches ------------------------===//

#include "lib/report/Measure.h"
#include "runtime/format.h"
#include "tools/common/runner.h"

namespace nnopt::report {

namespace {

/// Nanoseconds of every launch and copy of one run.
struct Recording {
  explicit Recording(size_t launchCount) : launches(launchCount), calls(launchCount) {}
  static void add(void *self, const nnopt_profile_record *record) {
    auto &recording = *static_cast<Recording *>(self);
    if (record->launch == NNOPT_NONE) {
      recording.copies.push_back(double(record->duration_ns));
      return;
    }
    recording.launches[record->launch] += double(record->duration_ns);
    ++recording.calls[record->launch];
  }
  std::vector<double> launches, copies;
  std::vector<int64_t> calls;
};

} // namespace

/// The median over runs of entry `index`, in milliseconds. Loops may make runs of different lengths.
template <typename Get> static double median(std::vector<Recording> &recordings, size_t index, Get get) {
  std::vector<double> values;
  for (Recording &r : recordings)
    if (std::vector<double> &list = get(r); index < list.size())
      values.push_back(list[index] / 1e6);
  return Distribution(values).p50;
}

static void run(Runner &runner, size_t launchCount, Measurement &result) {
  runner.prepare();
  // The first run allocates and faults pages in.
  double first = runner.run(), second = runner.run();
  // About a second in all, and at least three runs for a median.
  result.runs = int(std::clamp(1000 / std::max(std::min(first, second), 0.01), 3.0, 50.0));
  std::vector<Recording> recordings;
  std::vector<double> times;
  for (int i = 0; i < result.runs; ++i) {
    recordings.emplace_back(launchCount);
    nnopt_session_set_profiler(runner.session, Recording::add, &recordings.back());
    times.push_back(runner.run());
    nnopt_session_set_profiler(runner.session, nullptr, nullptr);
  }
  result.run = Distribution(times).p50;
  result.threads = nnopt_session_threads(runner.session);
  result.calls = recordings.front().calls;
  for (size_t i = 0; i < launchCount; ++i)
    result.launches.push_back(median(
        recordings, i, [](Recording & r) -> auto & { return r.launches; }));
  for (size_t i = 0; i < recordings.front().copies.size(); ++i)
    result.copies.push_back(median(
        recordings, i, [](Recording & r) -> auto & { return r.copies; }));
}

int measure(const std::string &artifact, const std::string &inputs, const Sizes &sizes, size_t launchCount,
            Measurement &result, std::string &error) try {
  Runner runner(artifact, /*threads=*/0);
  if (inputs.empty()) {
    // Of the sizes, some may have lost their dimension to optimization.
    std::map<std::string, int64_t> known;
    for (size_t i = 0; i < nnopt_model_symbol_count(runner.model); ++i)
      if (auto it = sizes.find(nnopt_model_symbol(runner.model, i)->name); it != sizes.end())
        known[it->first().str()] = it->second;
    runner.randomInputs(known, /*seed=*/0);
  } else {
    runner.loadInputs(inputs);
  }
  result.sizes = sizes;
  for (size_t i = 0; i < runner.inputs.size(); ++i) {
    const nnopt_tensor_info &info = *nnopt_model_input(runner.model, i);
    for (int d = 0; d < info.rank && d < int(runner.inputs[i].shape.size()); ++d)
      if (info.dim_names[d])
        result.sizes[info.dim_names[d]] = runner.inputs[i].shape[d];
  }
  run(runner, launchCount, result);
  return 0;
} catch (const ToolError &e) {
  error = e.what();
  return e.status();
}

} // namespace nnopt::report

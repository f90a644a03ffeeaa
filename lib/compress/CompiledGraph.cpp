//===- CompiledGraph.cpp - a graph, compiled and loaded ---------------------===//

#include "lib/compress/CompiledGraph.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Cache.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <sys/resource.h>

using namespace mlir;

namespace nnopt::compress {

CompiledGraph::CompiledGraph(ModuleOp module, const CompileSettings &settings, int threads)
    : file("nnopt-compress") {
  if (!file.ok())
    throw ToolError(1, "compression: no temporary file");
  OwningOpRef<ModuleOp> copy = module.clone();
  PassManager pm(copy->getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Implicit);
  if (!settings.asItIs)
    buildOptimizationPipeline(pm);
  cpu::Target target;
  std::string error;
  if (!cpu::Target::get(settings.target, target, error))
    throw ToolError(2, "--target=" + settings.target + ": " + error);
  CodegenOptions options;
  options.lowering.winograd = settings.winograd;
  options.lowering.sparse = settings.sparse;
  options.compile.optLevel = settings.quickly ? 0 : 2;
  options.compile.cache = settings.objects;
  CompiledModel compiled;
  if (failed(pm.run(*copy)) || failed(generateCode(*copy, target, options, compiled)))
    throw ToolError(1, "compression: the graph cannot be compiled");
  nnopt_trailer trailer;
  if (!writeArtifact(file.path(), compiled.objects, *compiled.program, {target.required | compiled.program->cpuFeatures, settings.encodeWeights},
                     error, &trailer))
    throw ToolError(1, "compression: " + error);
  MemoryPlan plan = compiled.program->planMemory();
  weights = plan.weights;
  arena = plan.arena;
  size = int64_t(trailer.file_size);
  storedWeights = int64_t(trailer.encoded_size ? trailer.encoded_size : trailer.weights_size);
  runner = std::make_unique<Runner>(file.path().str(), threads);
}

std::vector<HostTensor> &CompiledGraph::run(std::vector<HostTensor> inputs) {
  runner->setInputs(std::move(inputs));
  runner->prepare();
  runner->run();
  return runner->outputs();
}

namespace {

/// The least time of several runs of this thread. A run that nothing interrupted takes what the wall clock says. Where all were interrupted,
/// as long runs on a busy machine are, it is the processor time; that of a short run may be too small, even 0, in a virtual
/// machine, whose kernel takes back what it believes that others have used.
class LeastTime {
public:
  void begin() { start = Moment(); }
  /// Ends a run.
  void end() {
    Moment now;
    processor = std::min(processor, now.processor - start.processor);
    if (now.switches == start.switches)
      wall = std::min(wall, now.wall - start.wall);
  }
  double milliseconds() const { return std::isinf(wall) ? processor : wall; }

private:
  struct Moment {
    double wall = millisecondsOf(CLOCK_MONOTONIC), processor = millisecondsOf(CLOCK_THREAD_CPUTIME_ID);
    int64_t switches = contextSwitches();
  };
  static double millisecondsOf(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return double(now.tv_sec) * 1e3 + double(now.tv_nsec) / 1e6;
  }
  static int64_t contextSwitches() {
    rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw + usage.ru_nvcsw;
  }

  Moment start;
  double wall = INFINITY, processor = INFINITY;
};

} // namespace

/// Reads one byte of each cache line.
static char readLines(const char *data, size_t bytes) {
  char sum = 0;
  for (size_t i = 0; i < bytes; i += 64)
    sum ^= data[i];
  return sum;
}

double CompiledGraph::measure(std::vector<HostTensor> inputs, int repeat, size_t between) {
  constexpr auto kLeast = std::chrono::milliseconds(8); // what disturbs a machine for a moment is over by then
  static std::vector<char> others;
  others.resize(std::max(others.size(), between));
  run(std::move(inputs));
  LeastTime time;
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeat || std::chrono::steady_clock::now() - begin < kLeast; ++i) {
    volatile char read = readLines(others.data(), between);
    if (between) // what the layer before has just written
      for (const HostTensor &x : runner->inputs)
        read = readLines(x.data(), x.bytes());
    (void)read;
    time.begin();
    runner->run();
    time.end();
  }
  least = std::min(least, time.milliseconds());
  return time.milliseconds();
}

double CompiledGraph::measureAgain(int repeat) {
  LeastTime time;
  for (int i = 0; i < repeat; ++i) {
    time.begin();
    runner->run();
    time.end();
  }
  return time.milliseconds();
}

} // namespace nnopt::compress

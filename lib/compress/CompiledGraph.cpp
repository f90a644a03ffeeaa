//===- CompiledGraph.cpp - a graph, compiled and loaded ---------------------===//

#include "lib/compress/CompiledGraph.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Cache.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include <algorithm>
#include <cmath>
#include <ctime>

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

/// Processor time of this thread.
static double threadMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e3 + double(now.tv_nsec) / 1e6;
}

/// Reads one byte of each cache line.
static char readLines(const char *data, size_t bytes) {
  char sum = 0;
  for (size_t i = 0; i < bytes; i += 64)
    sum ^= data[i];
  return sum;
}

double CompiledGraph::measure(std::vector<HostTensor> inputs, int repeat, size_t between) {
  constexpr double kLeastMilliseconds = 8; // what disturbs a machine for a moment is over by then
  static std::vector<char> others;
  others.resize(std::max(others.size(), between));
  run(std::move(inputs));
  double best = INFINITY, spent = 0;
  for (int i = 0; i < repeat || spent < kLeastMilliseconds; ++i) {
    double begin = threadMilliseconds();
    volatile char read = readLines(others.data(), between);
    if (between) // what the layer before has just written
      for (const HostTensor &x : runner->inputs)
        read = readLines(x.data(), x.bytes());
    (void)read;
    double start = threadMilliseconds();
    runner->run();
    double end = threadMilliseconds();
    best = std::min(best, end - start);
    spent += end - begin;
  }
  least = std::min(least, best);
  return best;
}

double CompiledGraph::measureAgain(int repeat) {
  double best = INFINITY;
  for (int i = 0; i < repeat; ++i) {
    double begin = threadMilliseconds();
    runner->run();
    best = std::min(best, threadMilliseconds() - begin);
  }
  return best;
}

} // namespace nnopt::compress

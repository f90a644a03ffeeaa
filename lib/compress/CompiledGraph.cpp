//===- CompiledGraph.cpp - a graph, compiled and loaded ---------------------===//

#include "lib/compress/CompiledGraph.h"
#include "lib/driver/Artifact.h"
#include "lib/driver/Cache.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include <algorithm>
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
  options.compile.cache = Cache(settings.cacheDir).objects();
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

double CompiledGraph::measure(std::vector<HostTensor> inputs, int repeat) {
  run(std::move(inputs));
  return measureAgain(repeat);
}

double CompiledGraph::measureAgain(int repeat) {
  double best = INFINITY;
  for (int i = 0; i < repeat; ++i) {
    timespec a, b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    runner->run();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    best = std::min(best, double(b.tv_sec - a.tv_sec) * 1e3 + double(b.tv_nsec - a.tv_nsec) / 1e6);
  }
  return best;
}

} // namespace nnopt::compress

//===- CompiledGraph.h - a graph, compiled and loaded -----------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_COMPILEDGRAPH_H
#define NNOPT_LIB_COMPRESS_COMPILEDGRAPH_H

#include "lib/driver/Verify.h"
#include "tools/common/runner.h"

namespace nnopt::compress {

/// Values of a graph on one batch of data.
using Samples = llvm::DenseMap<mlir::Value, std::shared_ptr<const HostTensor>>;

struct CompileSettings {
  std::string target = "native";
  bool winograd = true;
  bool encodeWeights = false; // in the file
  cpu::SparseUse sparse = cpu::SparseUse::Auto;
  /// Looked at only, never timed: LLVM optimizes less, so that it is ready sooner.
  bool quickly = false;
  /// The graph has been optimized: no passes run.
  bool asItIs = false;
  /// Where object code is kept (Cache.h); by default nowhere.
  cpu::ObjectCache objects;

  /// What the times of kernels depend on, for keys of caches.
  std::string key() const {
    return target + (winograd ? " winograd" : "") + (encodeWeights ? " encoded" : "") + " sparse " +
           std::to_string(int(sparse));
  }
};

/// A copy of a graph in this process as native code: how compression looks at what a model computes
/// and what it costs.
class CompiledGraph {
public:
  /// Compiles `main` of a copy of `module` by the default passes. Throws ToolError.
  CompiledGraph(mlir::ModuleOp module, const CompileSettings &settings, int threads);

  /// Runs it; the outputs are valid until the next run.
  std::vector<HostTensor> &run(std::vector<HostTensor> inputs);
  /// The inputs of the last run, to be taken for the next one as far as they stay the same; empty before the first run.
  std::vector<HostTensor> &inputs() { return runner->inputs; }
  /// Least milliseconds of `repeat` runs on these inputs, and of as many as 8 ms have; what other processes take in between does not
  /// count. `between`: bytes of other memory that are read before each run, as the rest of a model would. Needs threads = 1.
  double measure(std::vector<HostTensor> inputs, int repeat, size_t between = 0);
  /// The least that measure() has ever found.
  double leastMilliseconds() const { return least; }
  /// The least of `repeat` runs on the inputs of the last run.
  double measureAgain(int repeat);

  const nnopt_model *model() const { return runner->model; }
  int64_t fileBytes() const { return size; }
  /// Of the file that would be made by default: weights are not encoded there.
  int64_t defaultFileBytes() const { return size - storedWeights + weights; }
  /// In the file.
  int64_t weightBytes() const { return storedWeights; }
  /// Weights, and the arena for one sample where the batch is open.
  int64_t memoryBytes() const { return weights + arena; }

private:
  TemporaryArtifact file;
  std::unique_ptr<Runner> runner;
  int64_t size = 0, storedWeights = 0, weights = 0, arena = 0;
  double least = INFINITY;
};

} // namespace nnopt::compress

#endif

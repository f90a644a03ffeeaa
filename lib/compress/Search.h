//===- Search.h - finding a recipe -------------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SEARCH_H
#define NNOPT_LIB_COMPRESS_SEARCH_H

#include "lib/compress/Budget.h"
#include "lib/compress/Engine.h"
#include "lib/compress/Interrupt.h"
#include "lib/compress/Metric.h"
#include "lib/compress/Solver.h"
#include "lib/compress/SwitchModel.h"
#include <map>

namespace nnopt::compress {

/// Samples that errors and sensitivities are measured on.
constexpr int64_t kProbeSamples = 64;

/// One search:
///   calibrate -> offers of all techniques -> errors of offers at their sites -> one variant of
///   each option with a budget: sensitivity (one site at a time) and costs -> solve -> validate,
///   back off solve weights anew, layer by layer -> measure the result
class Search {
public:
  Search(mlir::ModuleOp module, const DriverOptions &options, Progress &progress)
      : module(module), options(options), ask(options.compression), progress(progress),
        techniques(allTechniques()) {
    settings.winograd = quick.winograd = options.winograd;
    quick.quickly = true;
  }
  /// Changes the module and returns the recipe.
  Recipe run();

private:
  Recipe search();
  void dropReplaced(Choice &choice) const;
  Choice choiceOf(const std::vector<int> &solution) const;
  std::optional<Choice> repairMore(const std::vector<int> &start, double maxDrop);
  void findCandidates();
  void keepBestVariants();
  void measureSiteErrors();
  Choice bestGlobalVariant();
  bool repair(Choice &choice);
  double outputError(SwitchModel &of, const Choice &choice, int64_t samples) const;
  bool alone() const { return !ask.technique.empty(); }
  void measureSensitivity();
  void measureCosts();
  Choice chooseWithin(const Budget &budget, std::optional<double> maxDrop);
  [[noreturn]] void refuseBudget(const std::string &why, const Choice &best);
  const Evaluation &quality(const Choice &choice);
  std::vector<HostTensor> *run(const Dataset &data, int64_t first, const Choice &choice);
  Recipe recipeOf(const Choice &choice) const;
  void printSummary(const Choice &choice) const;
  Choice none() const { return Choice(candidates.size(), -1); }
  void say(const std::string &line) const {
    progress.finish();
    if (!options.quiet)
      llvm::errs() << line << "\n";
  }

  mlir::ModuleOp module;
  const DriverOptions &options;
  const CompressionOptions &ask;
  Progress &progress;
  Techniques techniques;
  CompileSettings settings, quick;

  std::vector<Candidate> candidates;
  std::vector<Refusal> refused;
  Observations observations;
  std::optional<Dataset> calib, eval;
  std::unique_ptr<SwitchModel> model;   // of all variants
  std::unique_ptr<CompiledGraph> plain; // the float model, on one thread
  std::unique_ptr<Metric> metric;
  llvm::DenseMap<mlir::Value, std::vector<int64_t>> shapes;
  std::vector<std::vector<double>> siteErrors; // relative, of each offer
  Problem problem;                             // option 0 of a site: leave it
  std::map<Choice, Evaluation> qualities;
  Evaluation floatQuality;
  nlohmann::json notes = nlohmann::json::object();
};

} // namespace nnopt::compress

#endif

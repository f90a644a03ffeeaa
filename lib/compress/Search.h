//===- Search.h - finding a recipe -------------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SEARCH_H
#define NNOPT_LIB_COMPRESS_SEARCH_H

#include "lib/compress/Budget.h"
#include "lib/compress/Engine.h"
#include "lib/compress/Interrupt.h"
#include "lib/compress/LayerCost.h"
#include "lib/compress/Metric.h"
#include "lib/compress/Noise.h"
#include "lib/compress/Promises.h"
#include "lib/compress/Solver.h"
#include "lib/compress/SwitchModel.h"
#include <map>

namespace nnopt::compress {

/// What a search came to, as it was measured.
struct Attempt {
  Recipe recipe;           // without notes where nothing could be done
  std::vector<Step> ahead; // the first steps of the recipe
  Evaluation floatQuality, quality;
  double latency = 0;
  std::vector<std::string> said; // lines for the user
};

/// Thrown where no choice is within the budget.
struct BudgetRefused {
  std::string why;
  Recipe best;
  double excess = 1; // what is limited, by how much at least it is above the limit
};

/// One search:
/// 0. with --prune=structured or --merge-tokens channels or tokens go; all else is about the smaller model, but quality and costs
///    are compared with the model as it was. A budget for all techniques tries without and with several shares (SearchPlans.cpp)
/// 1. calibrate; offers of all techniques, their errors at their sites; one variant of each option
/// 2. with a budget: sensitivity (one site at a time) and costs; solve; validate, back off
/// 3. solve weights anew, layer by layer
/// 4. measure the result
class Search {
public:
  /// `moments`: how many values of the module have ChannelMoments; `normalizations`: those of all batch normalizations that it had.
  Search(mlir::ModuleOp module, const DriverOptions &options, Progress &progress, int64_t moments, const MomentsByName &normalizations);
  /// Changes the module and returns the recipe.
  Recipe run();

private:
  /// Beside another one: the same data, metric and limits, on a module that the steps `ahead` changed.
  Search(const Search &beside, mlir::ModuleOp module, std::vector<Step> ahead, std::vector<std::string> &said);
  void readData();
  Attempt attempt();
  /// What several searches came to.
  struct Plans {
    std::optional<Attempt> best;
    std::optional<BudgetRefused> refusal;
    nlohmann::json notes = nlohmann::json::array();
    std::string compared; // for the user
  };
  Attempt searchPlans();
  bool tryPlan(std::vector<Step> ahead, nlohmann::json structured, Plans &plans, nlohmann::json note, std::string text);
  bool isDone(const Plans &plans) const;
  void tryFewerChannels(Plans &plans);
  void tryFewerTokens(Plans &plans);
  void removeChannels();
  void mergeTokens();
  void dropReplaced(Choice &choice) const;
  Choice choiceOf(const std::vector<int> &solution) const;
  void repair(Choice &choice) {
    if (canRepair(choice))
      repair(choice, {0, calib->usable()}, {0, calib->usable()});
  }
  bool canRepair(const Choice &choice) const;
  /// Of the calibration data, what trials are solved on: a quarter, a batch at least.
  SampleRange trialSamples() const {
    return {0, std::min(calib->usable(), std::max(calib->usable() / 4, calib->batchSize()))};
  }
  std::optional<Option> solvableOf(const Candidate &c, int offer) const;
  Evaluation qualityOfRecipe(const Choice &choice);
  /// Whether an evaluation loses more than chance explains.
  bool losesQuality(const Evaluation &reference, const Evaluation &value) const {
    return metric->drop(reference.value, value.value) > metric->interval(reference, value).value_or(0);
  }
  /// Whether an evaluation loses no more than `maxDrop`.
  bool holds(const Evaluation &value, double maxDrop) const {
    return metric->drop(floatQuality.value, value.value) <= maxDrop + 1e-9;
  }
  void restore(std::vector<Candidate> before);
  bool repairHolds(Choice &choice, double maxDrop);
  Choice settle(std::vector<int> solution, double maxDrop);
  std::optional<Choice> repairMore(const std::vector<int> &start, double maxDrop);
  void findCandidates();
  void keepBestVariants();
  void measureSiteErrors();
  Choice bestGlobalVariant();
  double repair(Choice &choice, SampleRange samples, SampleRange judges);
  std::vector<Candidate> chosenCandidates(const Choice &choice) const;
  /// The model that the recipe of a choice makes.
  CompiledGraph compiled(const Choice &choice, const CompileSettings &how, int threads) const;
  double errorOfRecipe(const Choice &choice, SampleRange samples);
  std::vector<Choice> oneAtATime() const;
  Choice takeAll();
  void leaveSensitive(Choice &choice, double limit, const Technique &technique, const std::vector<Candidate> &unsolved);
  LayerCosts layerCosts(const Samples *samples = nullptr);
  /// Whether tokens are merged ahead of all else, as the flag asks.
  bool merges() const;
  /// Whether the flag asks for one technique that replaces single operations.
  bool alone() const { return !ask.technique.empty() && !merges(); }
  SampleRange sensitivitySamples();
  void measureSensitivity();
  bool measureInteractions(const std::vector<int> &solution);
  void measureCosts();
  void scalePromises(const std::vector<int> &together);
  Choice chooseWithin();
  Choice fastestChoice(std::vector<int> solution);
  Choice fastestWithin(const std::vector<int> &solution);
  Choice unlessSlower(Choice choice);
  bool leaveSpoilers(const std::vector<int> &solution, double maxDrop);
  std::optional<std::vector<int>> fastestThatHolds(const std::vector<int> &fastest, double maxDrop);
  /// Solves a problem like `problem`, of options of a technique alone or of all (null).
  std::optional<std::vector<int>> solveWith(const Technique *technique, const Problem &limited) const;
  double bytesOver(const Choice &choice);
  std::map<std::string, double> promisesOf(const std::vector<int> &solution) const;
  std::optional<Choice> withinLimits(const Technique *technique, size_t compilations, bool mustFit);
  void weighByRepair(const Choice &choice);
  Choice leastLoss();
  /// Milliseconds of the float model and of a compressed one.
  std::pair<double, double> latencies(CompiledGraph &compressed);
  [[noreturn]] void refuseBudget(const std::string &why, const Choice &best, double excess = 1);
  const Evaluation &quality(const Choice &choice);
  std::vector<HostTensor> *run(const Dataset &data, int64_t first, const Choice &choice);
  std::vector<HostTensor> *floatOutputs(const Dataset &data, int64_t first, int64_t count);
  std::vector<Step> stepsOf(const Choice &choice) const;
  Recipe recipeOf(const Choice &choice) const;
  void validate(const Choice &choice, Attempt &result);
  std::string whyNot(const Cost &cost) const;
  void printSummary(const Choice &choice) const;
  Choice none() const { return Choice(candidates.size(), -1); }
  void say(const std::string &line) const {
    if (said)
      return said->push_back(line);
    progress.finish();
    if (!options.quiet)
      llvm::errs() << line << "\n";
  }

  mlir::ModuleOp module;
  const DriverOptions &options;
  const CompressionOptions &ask;
  Progress &progress;
  int64_t moments;
  const MomentsByName &normalizations;
  Techniques techniques;
  CompileSettings settings, quick;
  bool runsTarget = false;    // whether this machine runs what the model is compiled for
  bool multipliesBf16 = true; // whether all targets have instructions for that

  std::vector<Candidate> candidates;
  std::vector<Refusal> refused, sensitive; // not eligible; left because of what they do to the outputs
  Observations observations;
  std::optional<Budget> budget;
  std::optional<double> maxDrop; // of the budget
  std::shared_ptr<const Dataset> calib, eval;
  std::unique_ptr<SwitchModel> model;   // of all variants
  std::shared_ptr<CompiledGraph> plain; // the float model, on one thread
  std::vector<Step> ahead;             // what changed shapes ahead of the search: the module is what they left
  double solvedBytes = 0;               // of the file, that weights solved anew were seen to add
  Cost start;                           // of the module before any option is taken
  std::vector<Whole> wholes;            // that were measured
  std::shared_ptr<const Metric> metric;
  llvm::DenseMap<mlir::Value, std::vector<int64_t>> shapes;
  Samples samples; // of the same values
  std::vector<std::vector<double>> siteErrors; // relative, of each offer
  Problem problem;                             // option 0 of a site: leave it
  std::map<std::pair<size_t, int>, double> spoilers; // sites and options that lose too much by themselves, with their distortions
  std::map<Choice, Evaluation> qualities;
  std::map<Choice, std::vector<Step>> repairs; // beside the options of choices: of other layers
  Evaluation floatQuality;
  nlohmann::json notes = nlohmann::json::object();
  std::vector<std::string> *said = nullptr; // where lines for the user wait; null: they are printed
};

} // namespace nnopt::compress

#endif

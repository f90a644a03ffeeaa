//===- SearchPlans.cpp - budgets with and without removed channels ----------===//
//
// Removing channels and merging tokens change the shapes of many operations at once, so they are no options at a site. A budget
// for all techniques therefore searches several times: on the model as it is, on what is left of it with more and more channels
// gone, and with tokens merged in the best of these, as long as that is better. What counts is what the compiled results
// measure.
//
//===----------------------------------------------------------------------===//

#include "lib/compress/Search.h"
#include "lib/compress/prune/StructuredPruning.h"
#include "lib/compress/tokens/MergeTokens.h"
#include "passes/common/ChannelMoments.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Shares of the multiply-adds that go, in the order in which they are tried.
constexpr double kShares[] = {0.25, 0.5, 0.6, 0.75};
/// Shares of the first tokens that are merged behind each attention.
constexpr double kTokenShares[] = {0.04, 0.08, 0.16};

/// Searches a model after the steps `ahead`. `note` and `text` say what that came to. Returns whether more of the same may be better:
/// where this is the best so far, or where the limits are not met yet.
bool Search::tryPlan(std::vector<Step> ahead, json structured, Plans &plans, json note, std::string text) {
  OwningOpRef<ModuleOp> copy = module.clone();
  applyAhead(*copy, ahead);
  std::vector<std::string> lines;
  Search search(*this, *copy, ahead, lines);
  if (!structured.empty())
    search.notes["structured"] = std::move(structured);
  bool goesOn = true;
  try {
    Attempt result = search.attempt();
    result.said = std::move(lines);
    result.ahead = std::move(ahead);
    note["quality"] = result.quality.value;
    note["ms"] = result.latency;
    text += " (" + metric->format(result.quality.value) + llvm::formatv(", {0:f3} ms)", result.latency).str();
    // Fewer milliseconds where the drop is limited, else the lesser drop.
    std::optional<Attempt> &best = plans.best;
    goesOn = !best || (maxDrop ? result.latency < best->latency
                               : metric->drop(best->quality.value, result.quality.value) < 0);
    if (goesOn)
      best = std::move(result);
  } catch (const BudgetRefused &refused) {
    note["refused"] = refused.why;
    text += " (the budget cannot be met)";
    if (!plans.refusal) // of the first plan, which has most to choose from
      plans.refusal = refused;
  }
  plans.notes.push_back(std::move(note));
  plans.compared += (plans.compared.empty() ? "" : ", ") + text;
  return goesOn;
}

/// Whether nothing can be won any more: where nothing is lost, only time.
bool Search::isDone(const Plans &plans) const {
  const std::optional<Attempt> &best = plans.best;
  return Interrupt::happened() ||
         (best && (best->recipe.notes.empty() || (!maxDrop && !losesQuality(best->floatQuality, best->quality))));
}

/// More and more channels gone, as long as that is better, or nothing is within the budget yet.
void Search::tryFewerChannels(Plans &plans) {
  PruneSpec spec;
  std::optional<LayerCosts> costs;
  std::unique_ptr<StructuredPruning> pruning;
  for (double share : kShares) {
    if (isDone(plans))
      return;
    // What is left costs no less than its share of the multiply-adds.
    if (!plans.best && (1 - share) * plans.refusal->excess > 1)
      continue;
    json note = {{"multiply_adds_gone", share}};
    std::vector<Step> steps;
    try {
      if (!pruning) {
        costs.emplace(layerCosts());
        pruning = std::make_unique<StructuredPruning>(module, spec, *calib, quick, *costs, progress, normalizations);
      }
      steps = pruning->run(share);
    } catch (const ToolError &e) { // no more can go
      note["refused"] = e.what();
      plans.notes.push_back(std::move(note));
      return;
    }
    if (!tryPlan(std::move(steps), pruning->report(), plans, std::move(note),
                 llvm::formatv("{0:f0} % of the multiply-adds gone", share * 100)))
      return;
  }
}

/// The best so far with tokens merged.
void Search::tryFewerTokens(Plans &plans) {
  const std::vector<Step> before = plans.best ? plans.best->ahead : std::vector<Step>();
  const json structured = plans.best ? plans.best->recipe.notes.value("structured", json()) : json();
  OwningOpRef<ModuleOp> copy = module.clone();
  applyAhead(*copy, before);
  int64_t last = 0, tokens = tokensToMerge(*copy).value_or(0);
  for (double share : kTokenShares) {
    int64_t count = int64_t(share * double(tokens) + 0.5);
    if (isDone(plans) || count <= last)
      continue;
    last = count;
    std::vector<Refusal> refused;
    std::vector<Step> ahead = before, merges = stepsToMergeTokens(*copy, count, refused);
    if (merges.empty())
      return;
    ahead.insert(ahead.end(), merges.begin(), merges.end());
    if (!tryPlan(std::move(ahead), structured, plans, {{"tokens_merged", count}},
                 std::to_string(count) + " tokens merged behind each attention"))
      return;
  }
}

Attempt Search::searchPlans() {
  plain = std::make_shared<CompiledGraph>(module, settings, /*threads=*/1);
  plain->measure(calib->inputs(0, calib->latencyBatch()), 20); // now and later: one of them may be disturbed
  Plans plans;
  tryPlan({}, {}, plans, {{"multiply_adds_gone", 0}}, "as it is");
  try {
    tryFewerChannels(plans);
    tryFewerTokens(plans);
  } catch (const Interrupted &) { // what is there is kept
  }
  if (!plans.best)
    throw std::move(*plans.refusal);
  Attempt &best = *plans.best;
  if (plans.notes.size() > 1)
    say(options.model + ": compared: " + plans.compared);
  for (const std::string &line : best.said)
    say(line);
  if (best.recipe.notes.empty())
    return std::move(best);
  best.recipe.notes["plans"] = std::move(plans.notes);
  module.walk([](Operation *op) { removeMoments(op); });
  applyRecipe(module, best.recipe, techniques);
  return std::move(best);
}

} // namespace nnopt::compress

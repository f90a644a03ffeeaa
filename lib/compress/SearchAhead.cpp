//===- SearchAhead.cpp - what changes shapes ahead of a search --------------===//

#include "lib/compress/OutputError.h"
#include "lib/compress/Search.h"
#include "lib/compress/prune/StructuredPruning.h"
#include "lib/compress/tokens/MergeTokens.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

/// Does what --prune=structured says.
void Search::removeChannels() {
  auto parameters = [&] {
    int64_t count = 0;
    module.walk([&](nn::ConstantOp op) {
      count += isa<FloatType>(op.getType().getElementType()) ? op.getType().getNumElements() : 0;
    });
    return count;
  };
  plain = std::make_shared<CompiledGraph>(module, settings, /*threads=*/1);
  PruneSpec spec;
  spec.parse(ask.structured);
  LayerCosts costs = layerCosts();
  StructuredPruning pruning(module, spec, *calib, quick, costs, progress, normalizations);
  try {
    ahead = pruning.run();
  } catch (const ToolError &e) {
    throw ToolError(e.status(), options.model + ": error: " + e.what());
  }
  json &note = notes["structured"] = pruning.report();
  note["parameters"] = {{"float", parameters()}};
  applyAhead(module, ahead);
  note["parameters"]["compressed"] = parameters();
  say(options.model + ": " + pruning.summary());
}

bool Search::merges() const { return ask.technique == kMergeTokens; }

/// Does what --merge-tokens says.
void Search::mergeTokens() {
  if (!plain)
    plain = std::make_shared<CompiledGraph>(module, settings, /*threads=*/1);
  int64_t count = 0;
  parseTokenCount(ask.spec, count);
  std::vector<Refusal> others;
  std::vector<Step> steps = stepsToMergeTokens(module, count, others);
  for (const Refusal &r : others)
    notes["tokens"]["refused"].push_back({{"site", r.name}, {"reason", r.reason}});
  if (steps.empty())
    throw ToolError(1, options.model + ": error: --merge-tokens: there is no block of attention behind which tokens can be merged" +
                           (others.empty() ? "" : ": '" + others[0].name + "': " + others[0].reason));
  applyAhead(module, steps);
  ErrorSum error;
  CompiledGraph merged(module, quick, /*threads=*/0);
  for (int64_t first = 0; first < std::min(kProbeSamples, calib->usable()); first += calib->batchSize()) {
    std::vector<HostTensor> reference = std::move(plain->run(calib->inputs(first, calib->countAt(first))));
    error.add(reference, merged.run(calib->inputs(first, calib->countAt(first))));
  }
  notes["tokens"]["output_error"] = error.relative();
  ahead.insert(ahead.end(), steps.begin(), steps.end());
  say(options.model + ": " + ask.spec + " tokens merged behind each of " + std::to_string(steps.size()) + " attentions, not behind " +
      std::to_string(others.size()) + llvm::formatv(" others; the outputs change by {0:f1} %", 100 * std::sqrt(error.relative())).str());
}

} // namespace nnopt::compress

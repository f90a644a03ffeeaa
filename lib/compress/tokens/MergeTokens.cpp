//===- MergeTokens.cpp - transformers on fewer and fewer tokens -------------===//

#include "lib/compress/tokens/MergeTokens.h"
#include "lib/compress/ResidualBlock.h"
#include "lib/compress/tokens/SoftMatching.h"
#include "lib/compress/tokens/TokenStream.h"
#include "tools/common/runner.h"

using namespace mlir;
using nlohmann::json;

namespace nnopt::compress {

std::string parseTokenCount(StringRef text, int64_t &count) {
  if (text.getAsInteger(10, count) || count < 1)
    return "expected how many tokens are merged into others behind each attention, as 8";
  return "";
}

namespace {
/// A block x + f(x) of which f is attention over tokens.
struct AttentionBlock {
  nn::AddOp add;
  nn::AttentionOp attention;
  int64_t tokens() { return shapeOf(add.getResult())[1]; }
};
} // namespace

/// Why tokens cannot be merged behind a block; empty: they can as far as the block is concerned.
static std::string whyNot(AttentionBlock block) {
  if (rankOf(block.add.getResult()) != 3)
    return "its values are no tokens [batch, tokens, width]";
  if (ShapedType::isDynamic(block.tokens()))
    return "the number of its tokens is not known: fix it with --dim";
  if (block.attention.getCausal())
    return "its attention is causal: a token that is merged would know what comes after it";
  if (block.attention.getMask())
    return "its attention has a mask, which says something of each token";
  if (shapeOf(block.attention.getK())[2] != block.tokens() || shapeOf(block.attention.getQ())[2] != block.tokens())
    return "its attention is over other values than its tokens";
  return "";
}

/// All blocks by the names of their sums.
static std::vector<std::pair<std::string, AttentionBlock>> attentionBlocks(func::FuncOp main, std::vector<Refusal> &refused) {
  std::vector<std::pair<std::string, AttentionBlock>> blocks;
  SiteNames names;
  for (nn::AddOp add : main.getBody().front().getOps<nn::AddOp>()) {
    std::string name = names.of(add);
    std::optional<ResidualBlock> residual = ResidualBlock::endingAt(add);
    if (!residual)
      continue;
    for (Operation *op : residual->all)
      if (auto attention = dyn_cast<nn::AttentionOp>(op)) {
        AttentionBlock block{add, attention};
        if (std::string why = whyNot(block); !why.empty())
          refused.push_back({name, why});
        else
          blocks.push_back({name, block});
        break;
      }
  }
  return blocks;
}

/// Does steps to a module. Where that is not possible, why; the module is half changed then.
static std::optional<Refusal> apply(ModuleOp module, ArrayRef<const Step *> steps) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    return Refusal{steps[0]->site, "shapes cannot be computed"};
  std::vector<Refusal> refused;
  std::map<std::string, AttentionBlock> blocks;
  for (auto &[name, block] : attentionBlocks(main, refused))
    blocks.emplace(name, block);
  std::vector<TokenStream::Merge> merges;
  for (const Step *step : steps) {
    auto it = blocks.find(step->site);
    if (it == blocks.end())
      return Refusal{step->site, "the model has no such block of attention over tokens; the recipe is of another model"};
    const json &parameters = step->option.parameters;
    const json count = parameters.is_object() ? parameters.value("count", json()) : json();
    if (step->option.name != "merge" || !count.is_number_integer() || count.get<int64_t>() < 1)
      return Refusal{step->site, "'count' must be a number of tokens"};
    merges.push_back({it->second.add, it->second.attention.getK(), count.get<int64_t>()});
    passedRemark(it->second.add.getLoc(), kMergeTokens, "merged")
        << remark::metric("Tokens", count.get<int64_t>()) << remark::add("behind {0}", step->site);
    blocks.erase(it);
  }
  IRRewriter rewriter(module.getContext(), &shapes);
  if (std::string why = TokenStream(main, shapes, rewriter).run(merges); !why.empty())
    return Refusal{steps.back()->site, why};
  return std::nullopt;
}

std::vector<Step> stepsToMergeTokens(ModuleOp module, int64_t count, std::vector<Refusal> &refused) {
  std::vector<Step> steps;
  int64_t gone = 0;
  for (auto &[name, block] : attentionBlocks(module.lookupSymbol<func::FuncOp>("main"), refused)) {
    int64_t most = mostToMerge(block.tokens() - gone);
    if (most < 1) {
      refused.push_back({name, "it has " + std::to_string(block.tokens() - gone) + " tokens left"});
      continue;
    }
    steps.push_back({kMergeTokens, name, Option{"merge", "", {{"count", std::min(count, most)}}, {}}});
    OwningOpRef<ModuleOp> copy = module.clone();
    SmallVector<const Step *> all;
    for (const Step &step : steps)
      all.push_back(&step);
    if (std::optional<Refusal> why = apply(*copy, all)) {
      refused.push_back({name, why->reason});
      steps.pop_back();
    } else {
      gone += std::min(count, most);
    }
  }
  return steps;
}

std::optional<int64_t> tokensToMerge(ModuleOp module) {
  std::vector<Refusal> refused;
  auto blocks = attentionBlocks(module.lookupSymbol<func::FuncOp>("main"), refused);
  return blocks.empty() ? std::nullopt : std::optional(blocks[0].second.tokens());
}

void applyTokenMerging(ModuleOp module, const std::vector<Step> &steps) {
  SmallVector<const Step *> merges;
  for (const Step &step : steps)
    if (step.technique == kMergeTokens)
      merges.push_back(&step);
  if (merges.empty())
    return;
  if (std::optional<Refusal> why = apply(module, merges))
    throw ToolError(3, "recipe: merge-tokens of '" + why->name + "': " + why->reason);
}

} // namespace nnopt::compress

//===- ParallelBlocksTechnique.cpp - residual blocks side by side ------------===//
//
// Site: the sum at the end of the second of two residual blocks, y = x + f(x), z = y + g(y). Option: z = y + g(x), so that both blocks
// read one value, as in models that are trained this way (Wang and Komatsuzaki 2021, GPT-J-6B; Chowdhery et al. 2022, "PaLM",
// section 2). They share a normalization then, whose scales belong to the products (pass fold-norm-affine).
// Blocks are paired in graph order, each once: the attention and the feed-forward network of a layer. By the flag, the pairs of which
// f changes its input least (influenceOf()).
//
//===----------------------------------------------------------------------===//

#include "lib/compress/ResidualBlock.h"
#include "lib/compress/Technique.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace nnopt::compress {

namespace {

struct Pair {
  ResidualBlock first, second;
  nn::AddOp middle; // the sum of the first

  enum class Readers { None, Beside };
  /// Nothing where `op` does not end the second of two blocks. Nothing else reads values inside; in a model that computes several
  /// options at once, `Beside`, other options may.
  static std::optional<Pair> endingAt(Operation *op, Readers readers = Readers::None) {
    auto end = dyn_cast<nn::AddOp>(op);
    std::optional<ResidualBlock> second = end ? ResidualBlock::endingAt(end) : std::nullopt;
    auto middle = second ? second->skip.getDefiningOp<nn::AddOp>() : nn::AddOp();
    std::optional<ResidualBlock> first = middle ? ResidualBlock::endingAt(middle) : std::nullopt;
    auto isOfPair = [&](Operation *user) { return user == op || llvm::is_contained(second->inside, user); };
    if (!first || (readers == Readers::None && !llvm::all_of(middle->getUsers(), isOfPair)))
      return std::nullopt;
    return Pair{*first, *second, middle};
  }
};

class ParallelBlocksTechnique : public Technique {
public:
  StringRef name() const override { return "parallel-blocks"; }

  std::string readSpec(StringRef spec) override {
    if (spec.getAsInteger(10, count) || count < 1)
      return "expected the number of pairs of residual blocks that are computed side by side, as 2";
    return "";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    llvm::DenseSet<Operation *> paired;
    for (nn::AddOp op : func.getBody().front().getOps<nn::AddOp>()) {
      std::string name = names.of(op);
      std::optional<Pair> pair = Pair::endingAt(op);
      if (!pair || paired.contains(pair->middle))
        continue;
      paired.insert(pair->middle);
      paired.insert(op);
      Site site{op, name, {}, {}};
      // Costs are those of both blocks.
      llvm::append_range(site.inside, pair->first.inside);
      site.inside.push_back(pair->middle);
      llvm::append_range(site.inside, pair->second.inside);
      site.sampled = {pair->first.skip, pair->middle.getResult()};
      result.push_back(std::move(site));
    }
    return result;
  }

  void plan(ArrayRef<Site> sites, const Observations &observations) override {
    influences.clear();
    going.clear();
    std::vector<std::pair<double, Operation *>> order;
    for (const Site &site : sites) {
      double influence = influenceOf(observations.rows(site.sampled[0]), observations.rows(site.sampled[1]));
      influences[site.op] = influence;
      if (std::isfinite(influence))
        order.push_back({influence, site.op});
    }
    llvm::sort(order, [](const auto &a, const auto &b) {
      return a.first != b.first ? a.first < b.first : a.second->isBeforeInBlock(b.second);
    });
    for (auto &[influence, op] : ArrayRef(order).take_front(count ? count : order.size()))
      going.insert(op);
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    if (!going.contains(site.op))
      return {};
    return {{"parallel", "", {{"influence", influences.lookup(site.op)}}, {}}};
  }

  std::string whyNothing(const Site &site, const Observations &observations) const override {
    return llvm::formatv("its first block changes its input more than those of other pairs: 1 - cosine is {0:f4}",
                         influences.lookup(site.op));
  }

  std::string check(Operation *op, const Option &option) const override {
    if (option.name != "parallel")
      return "there is no option '" + option.name + "'";
    return Pair::endingAt(op) ? "" : "it does not end the second of two residual blocks";
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    Pair pair = *Pair::endingAt(op, Pair::Readers::Beside);
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    IRMapping inside, sum;
    inside.map(pair.second.skip, pair.first.skip);
    for (Operation *each : pair.second.all)
      rewriter.clone(*each, inside);
    sum.map(pair.second.branch, inside.lookup(pair.second.branch));
    return rewriter.clone(*op, sum)->getResult(0);
  }

private:
  int64_t count = 0; // of the flag; 0: all pairs have the option
  llvm::DenseMap<Operation *, double> influences;
  llvm::DenseSet<Operation *> going;
};

} // namespace

std::unique_ptr<Technique> createParallelBlocksTechnique() { return std::make_unique<ParallelBlocksTechnique>(); }

} // namespace nnopt::compress

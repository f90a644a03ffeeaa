//===- MergeSequentialLinear.cpp - chains of linear operations ------------===//
#include "passes/Passes.h"
#include "passes/common/LinearPath.h"
#include "passes/merge-sequential-linear/AttentionProducts.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_MERGESEQUENTIALLINEAR
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "merge-sequential-linear";

/// Most steps that become one operation.
constexpr size_t kMaxMerged = 8;

/// Steps [begin, end) of a path as one operation.
struct Segment {
  size_t begin, end;
  /// For each position of the end of the path.
  double cost;
  LinearForm form;
};

class Chain {
public:
  explicit Chain(LinearPath &path) : path(path) {
    double positions = 1;
    for (LinearStep &step : path.steps) {
      scale.push_back(positions);
      for (int64_t s : step.geometry.strides)
        positions *= s;
    }
  }

  /// Steps that are merged in the cheapest way to compute the chain.
  std::vector<Segment> choose();
  /// Pairs of linear operations that stay apart, and why.
  void remarkOnMisses(ArrayRef<Segment> chosen);

private:
  /// Whether these steps are one operation, and its cost.
  std::string tryMerge(size_t begin, size_t end, double &cost);
  std::vector<size_t> shortestPath();

  LinearPath &path;
  /// Positions of the result of each step for each position of the end.
  std::vector<double> scale;
  /// Segments whose numbers turned out not to merge.
  std::vector<std::pair<size_t, size_t>> refused;
  std::vector<std::string> reasons;
};

std::string Chain::tryMerge(size_t begin, size_t end, double &cost) {
  for (auto [segment, why] : llvm::zip(refused, reasons))
    if (segment == std::make_pair(begin, end))
      return why;
  SmallVector<const LinearStep *> steps;
  for (size_t n = begin; n < end; ++n)
    steps.push_back(&path.steps[n]);
  auto rank = spatialRankOf(steps);
  if (!rank)
    return "a convolution and a matrix product do not merge";
  LinearGeometry geometry;
  if (std::string why = path.geometry(begin, end, *rank, geometry); !why.empty())
    return why;
  cost = scale[begin] * geometry.cost();
  return "";
}

/// Whether a segment is more than one linear operation with affine maps, which fold-batch-norm and
/// fold-linear-bias fold.
static bool isChain(ArrayRef<LinearStep> steps) {
  bool hasLinear = false;
  int64_t windows = 0;
  for (const LinearStep &step : steps) {
    hasLinear |= step.kind == LinearStep::Linear;
    windows += step.kind != LinearStep::Affine;
  }
  return hasLinear && windows > 1;
}

/// Predecessors on the cheapest way from value 0 to each value.
std::vector<size_t> Chain::shortestPath() {
  size_t count = path.steps.size();
  std::vector<std::pair<double, size_t>> best(count + 1, {0, 0}); // Multiply-adds, operations.
  std::vector<size_t> from(count + 1, 0);
  for (size_t end = 1; end <= count; ++end) {
    const LinearStep &last = path.steps[end - 1];
    best[end] = {best[end - 1].first + scale[end - 1] * last.cost,
                 best[end - 1].second + last.ops.size()};
    from[end] = end - 1;
    for (size_t begin = end > kMaxMerged ? end - kMaxMerged : 0; begin + 2 <= end; ++begin) {
      double cost = 0;
      if (!isChain(ArrayRef<LinearStep>(path.steps).slice(begin, end - begin)) ||
          !tryMerge(begin, end, cost).empty())
        continue;
      std::pair<double, size_t> merged = {best[begin].first + cost, best[begin].second + 1};
      if (merged < best[end]) {
        best[end] = merged;
        from[end] = begin;
      }
    }
  }
  return from;
}

std::vector<Segment> Chain::choose() {
  while (true) {
    std::vector<size_t> from = shortestPath();
    std::vector<Segment> chosen;
    bool again = false;
    for (size_t end = path.steps.size(); end > 0 && !again; end = from[end]) {
      if (end - from[end] < 2)
        continue;
      Segment segment{from[end], end, 0, {}};
      (void)tryMerge(segment.begin, end, segment.cost);
      SmallVector<const LinearStep *> steps;
      for (size_t n = segment.begin; n < end; ++n)
        steps.push_back(&path.steps[n]);
      std::string why = path.form(segment.begin, end, *spatialRankOf(steps), segment.form);
      if (!why.empty()) {
        refused.push_back({segment.begin, end});
        reasons.push_back(why);
        again = true;
      } else {
        chosen.push_back(std::move(segment));
      }
    }
    if (!again)
      return chosen;
  }
}

void Chain::remarkOnMisses(ArrayRef<Segment> chosen) {
  std::optional<size_t> previous;
  for (size_t n = 0; n < path.steps.size(); ++n) {
    if (path.steps[n].kind != LinearStep::Linear)
      continue;
    bool together = llvm::any_of(
        chosen, [&](const Segment &s) { return previous && s.begin <= *previous && n < s.end; });
    if (previous && !together) {
      double cost = 0;
      std::string why = tryMerge(*previous, n + 1, cost);
      if (why.empty())
        why = llvm::formatv("merged, {0} multiply-adds for each position become {1}",
                            int64_t(path.cost(*previous, n + 1)), int64_t(cost / scale[*previous]));
      missedRemark(path.steps[*previous].last()->getLoc(), kPass, "not-merged")
          << remark::reason("{0}", why);
    }
    previous = n;
  }
  // The other one of a pair is what the path stops at.
  auto stop = dyn_cast_or_null<nn::LinearOp>(path.stop);
  if (stop && (previous || isa_and_nonnull<nn::LinearOp>(stop.getActivation().getDefiningOp())))
    missedRemark(path.stop->getLoc(), kPass, "not-merged") << remark::reason("{0}", path.why);
}

struct MergeSequentialLinearPass : impl::MergeSequentialLinearBase<MergeSequentialLinearPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<Operation *> linears;
    getOperation().walk([&](nn::LinearOp op) { linears.push_back(op); });
    // From the end, so that each chain is seen from its last operation first.
    DenseSet<Operation *> seen;
    for (Operation *op : llvm::reverse(linears)) {
      if (seen.contains(op))
        continue;
      LinearPath path = followPath(op->getResult(0), /*endIsFree=*/true);
      for (LinearStep &step : path.steps)
        seen.insert(step.ops.begin(), step.ops.end());
      Chain chain(path);
      std::vector<Segment> chosen = chain.choose();
      chain.remarkOnMisses(chosen);
      // From the operand of the chain on: what a later segment reads has been replaced by then.
      for (Segment &segment : chosen)
        replace(path, segment, rewriter);
    }
    numAttentions += mergeAroundAttention(getOperation(), shapes, rewriter);
  }

  void replace(LinearPath &path, Segment &segment, IRRewriter &rewriter) {
    SmallVector<Operation *> ops;
    for (size_t n = segment.end; n-- > segment.begin;)
      ops.append(path.steps[n].ops);
    Operation *last = path.steps[segment.begin].last();
    Location loc = fusedLoc(ops);
    rewriter.setInsertionPoint(last);
    Value x = path.steps[segment.end - 1].x;
    Value merged = emitForm(rewriter, loc, segment.form, x, last->getResultTypes()[0]);
    passedRemark(loc, kPass, "merged") << remark::metric("Operations", (int64_t)ops.size());
    // The next segment reads this one.
    if (segment.begin > 0)
      path.steps[segment.begin - 1].x = merged;
    rewriter.replaceAllUsesWith(last->getResult(0), merged);
    eraseUnused(last, rewriter);
    ++numMerged;
  }
};

} // namespace
} // namespace nnopt

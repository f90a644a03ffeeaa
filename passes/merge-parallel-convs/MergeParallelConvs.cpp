//===- MergeParallelConvs.cpp - sums of convolutions of one value ---------===//
#include "passes/Passes.h"
#include "passes/common/LinearPath.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_MERGEPARALLELCONVS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "merge-parallel-convs";

/// One term of a sum.
struct Term {
  LinearPath path;
  double sign;
};

/// A term seen from the value that all merged terms read.
struct Branch {
  Term *term;
  size_t length;
  LinearGeometry geometry;
  LinearForm form;
  double cost;
};

/// An addition or subtraction of two values of the result's dimensions.
bool isSum(Operation *op, FuncShapes &shapes) {
  return isa_and_nonnull<nn::AddOp, nn::SubOp>(op) && !isConstant(op->getOperand(0)) &&
         !isConstant(op->getOperand(1)) && shapes.sameDims(op->getOperand(0), op->getResult(0)) &&
         shapes.sameDims(op->getOperand(1), op->getResult(0));
}

/// Whether the sum is a term of another one and nothing else.
bool isInner(Operation *op, FuncShapes &shapes) {
  Value v = op->getResult(0);
  return v.hasOneUse() && isSum(*v.getUsers().begin(), shapes) &&
         (*v.getUsers().begin())->getBlock() == op->getBlock();
}

class Merger {
public:
  Merger(FuncShapes &shapes, IRRewriter &rewriter) : shapes(shapes), rewriter(rewriter) {}

  /// Merges what can be merged of the sum that ends in `top`.
  void run(Operation *top);
  int64_t merged = 0, branches = 0;

private:
  void collectTerms(Operation *top);
  SmallVector<Value> rootsByTerms();
  bool mergeAt(Operation *&top, Value root);
  std::vector<Branch> branchesOf(Value root, unsigned &spatialRank);
  SmallVector<Branch *> chooseGroup(MutableArrayRef<Branch> all, LinearGeometry &united);
  void replace(Operation *&top, Value root, ArrayRef<Branch *> group, const LinearGeometry &united);
  void miss(const Term &term, StringRef why);
  void remarkOnStops();

  FuncShapes &shapes;
  IRRewriter &rewriter;
  std::vector<Term> terms;
  std::vector<std::pair<Location, std::string>> misses;
};

void Merger::collectTerms(Operation *top) {
  terms.clear();
  SmallVector<std::pair<Value, double>> work = {{top->getResult(0), 1.0}};
  while (!work.empty()) {
    auto [v, sign] = work.pop_back_val();
    Operation *op = v.getDefiningOp();
    if (op == top || (op && isSum(op, shapes) && isInner(op, shapes))) {
      // The right operand below the left one, so that terms come in their order.
      work.push_back({op->getOperand(1), isa<nn::SubOp>(op) ? -sign : sign});
      work.push_back({op->getOperand(0), sign});
      continue;
    }
    terms.push_back({followPath(v, /*endIsFree=*/false), sign});
  }
}

/// Values that at least two terms read, those of most terms first.
SmallVector<Value> Merger::rootsByTerms() {
  std::vector<std::pair<Value, size_t>> counts;
  for (const Term &term : terms)
    for (size_t n = 0; n <= term.path.steps.size(); ++n) {
      Value v = term.path.value(n);
      auto it = llvm::find_if(counts, [&](auto &entry) { return entry.first == v; });
      if (it == counts.end())
        counts.push_back({v, 1});
      else
        ++it->second;
    }
  SmallVector<Value> roots;
  for (size_t n = terms.size(); n >= 2; --n)
    for (auto &[v, count] : counts)
      if (count == n)
        roots.push_back(v);
  return roots;
}

void Merger::miss(const Term &term, StringRef why) {
  Operation *op = term.path.end.getDefiningOp();
  if (op)
    misses.push_back({op->getLoc(), why.str()});
}

/// The terms that are computed from `root` by steps of one kind.
std::vector<Branch> Merger::branchesOf(Value root, unsigned &spatialRank) {
  std::vector<Branch> all;
  SmallVector<const LinearStep *> steps;
  bool hasLinear = false;
  for (Term &term : terms)
    if (auto length = term.path.find(root)) {
      all.push_back({&term, *length, {}, {}, 0});
      hasLinear |= term.path.hasLinear(0, *length);
      for (size_t n = 0; n < *length; ++n)
        steps.push_back(&term.path.steps[n]);
    }
  auto rank = spatialRankOf(steps);
  if (all.size() < 2 || !hasLinear || !rank) {
    if (all.size() > 1 && hasLinear)
      miss(*all.back().term, "branches mix convolutions and matrix products");
    return {};
  }
  spatialRank = *rank;
  for (Branch &branch : all) {
    const LinearPath &path = branch.term->path;
    branch.cost = path.cost(0, branch.length);
    if (std::string why = path.geometry(0, branch.length, spatialRank, branch.geometry);
        !why.empty()) {
      miss(*branch.term, why);
      branch.term = nullptr;
    }
  }
  llvm::erase_if(all, [](Branch &branch) { return !branch.term; });
  return all;
}

/// Starts with the branch of most multiply-adds and adds the others while that does not cost more.
SmallVector<Branch *> Merger::chooseGroup(MutableArrayRef<Branch> all, LinearGeometry &united) {
  SmallVector<Branch *> order, group;
  for (Branch &branch : all)
    order.push_back(&branch);
  llvm::sort(order, [](Branch *a, Branch *b) { // Of equals the first term first.
    auto key = [](Branch *branch) {
      return std::make_tuple(-branch->geometry.cost(), -branch->geometry.taps(), branch);
    };
    return key(a) < key(b);
  });
  double separate = 0;
  for (Branch *branch : order) {
    double cost = branch->cost + branch->geometry.out; // With its addition.
    if (group.empty()) {
      united = branch->geometry;
    } else {
      if (branch->geometry.strides != united.strides) {
        miss(*branch->term, "its strides differ from those of the other branches");
        continue;
      }
      LinearGeometry more = uniteGeometry(united, branch->geometry);
      if (more.cost() > separate + cost) {
        miss(*branch->term, llvm::formatv("merged, {0} multiply-adds for each position become {1}",
                                          int64_t(separate + cost), int64_t(more.cost()))
                                .str());
        continue;
      }
      united = more;
    }
    separate += cost;
    group.push_back(branch);
  }
  return group;
}

/// `top` becomes the operation that computes the sum now.
void Merger::replace(Operation *&top, Value root, ArrayRef<Branch *> group,
                     const LinearGeometry &united) {
  LinearForm sum = zeroForm(united);
  SmallVector<Operation *> ops;
  for (Branch *branch : group) {
    addInto(sum, branch->form, branch->term->sign);
    for (size_t n = branch->length; n-- > 0;)
      ops.append(branch->term->path.steps[n].ops);
  }
  ops.push_back(top);
  Location loc = fusedLoc(ops);
  rewriter.setInsertionPoint(top);
  Value result = emitForm(rewriter, loc, sum, root, top->getResultTypes()[0]);
  for (const Term &term : terms) {
    if (llvm::any_of(group, [&](Branch *branch) { return branch->term == &term; }))
      continue;
    if (term.sign > 0)
      result = nn::AddOp::create(rewriter, top->getLoc(), top->getResultTypes()[0], result,
                                 term.path.end);
    else
      result = nn::SubOp::create(rewriter, top->getLoc(), top->getResultTypes()[0], result,
                                 term.path.end);
  }
  SmallVector<Value> operands(top->getOperands());
  rewriter.replaceOp(top, result);
  top = result.getDefiningOp();
  for (Value v : operands)
    if (Operation *op = v.getDefiningOp())
      eraseUnused(op, rewriter);
  passedRemark(loc, kPass, "merged") << remark::metric("Branches", (int64_t)group.size());
  ++merged;
  branches += group.size();
}

bool Merger::mergeAt(Operation *&top, Value root) {
  unsigned spatialRank = 0;
  std::vector<Branch> all = branchesOf(root, spatialRank);
  size_t missesBefore = misses.size();
  while (all.size() > 1) {
    LinearGeometry united;
    misses.resize(missesBefore, {top->getLoc(), ""});
    SmallVector<Branch *> group = chooseGroup(all, united);
    bool hasLinear =
        llvm::any_of(group, [](Branch *b) { return b->term->path.hasLinear(0, b->length); });
    if (group.size() < 2 || !hasLinear) {
      // What costs most does not go with any other: without it.
      if (group.empty())
        return false;
      all.erase(all.begin() + (group.front() - all.data()));
      continue;
    }
    Branch *bad = nullptr;
    for (Branch *branch : group)
      if (branch->form.weights.empty())
        if (std::string why = branch->term->path.form(0, branch->length, spatialRank, branch->form);
            !why.empty()) {
          miss(*branch->term, why);
          bad = branch;
          break;
        }
    if (bad) {
      missesBefore = misses.size();
      all.erase(all.begin() + (bad - all.data()));
      continue;
    }
    replace(top, root, group, united);
    return true;
  }
  return false;
}

/// Terms that would read the same value as another one, if not for the operation they stop at.
void Merger::remarkOnStops() {
  DenseSet<Value> reached;
  for (const Term &term : terms)
    if (term.path.hasLinear(0, term.path.steps.size()))
      reached.insert(term.path.value(term.path.steps.size()));
  for (const Term &term : terms) {
    Value v = term.path.value(term.path.steps.size());
    for (int i = 0; term.path.stop && i < 4; ++i) {
      Operation *op = v.getDefiningOp();
      if (!op || op->getNumOperands() == 0)
        break;
      v = op->getOperand(0);
      if (reached.contains(v)) {
        misses.push_back({term.path.stop->getLoc(), term.path.why});
        break;
      }
    }
  }
}

void Merger::run(Operation *top) {
  misses.clear();
  bool merged = true, any = false;
  while (merged && isSum(top, shapes)) {
    collectTerms(top);
    merged = false;
    for (Value root : rootsByTerms())
      if ((merged = mergeAt(top, root)))
        break;
    any |= merged;
  }
  if (!any)
    remarkOnStops();
  for (auto &[loc, why] : misses)
    missedRemark(loc, kPass, "not-merged") << remark::reason("{0}", why);
}

struct MergeParallelConvsPass : impl::MergeParallelConvsBase<MergeParallelConvsPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<Operation *> sums;
    getOperation().walk([&](Operation *op) {
      if (isSum(op, shapes) && !isInner(op, shapes))
        sums.push_back(op);
    });
    Merger merger(shapes, rewriter);
    for (Operation *sum : sums)
      merger.run(sum);
    numMerged += merger.merged;
    numBranches += merger.branches;
  }
};

} // namespace
} // namespace nnopt

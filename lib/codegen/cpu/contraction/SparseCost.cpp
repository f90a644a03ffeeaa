//===- SparseCost.cpp - whether skipping zero weights pays ------------------===//

#include "lib/codegen/cpu/contraction/SparseCost.h"
#include <cmath>

using namespace mlir;

namespace nnopt::cpu {

/// Cycles of an operation on a vector of 512 bits: a core does one such multiplication, load or
/// shuffle in a cycle, and two of 256 bits.
static double vectorCycles(const Target &target) { return target.vectorBits / 512.0; }

/// Results that do not fit L2 are written to what lies behind it.
static double resultCycles(const Target &target, const SparseQuery &q, int64_t rows) {
  double bytes = double(rows) * q.columns * (q.bytes ? 1 : 4);
  return bytes > target.l2Bytes ? bytes / 8 : 0;
}

double denseCycles(const Target &target, const SparseQuery &q, int64_t rows) {
  int64_t lanes = target.lanes(4);
  double weights = double(llvm::alignTo(q.columns, lanes)) * q.taps * q.steps, vectors = weights / lanes;
  double multiply = double(rows) * vectors * vectorCycles(target) * q.denseRatio * 1.06;
  // Requantization.
  if (q.bytes)
    multiply += double(rows) * llvm::divideCeil(q.columns, lanes) * vectorCycles(target) * 4;
  // Few rows: every weight is loaded for each use or two.
  double load = vectors * vectorCycles(target) * (weights * 4 > target.l2Bytes / 2 ? 2.2 : 1.3);
  double cold = q.coldBytesPerCycle > 0 ? weights * 4 / q.coldBytesPerCycle : 0;
  return std::max({multiply, load, cold}) + resultCycles(target, q, rows);
}

double sparseCycles(const Target &target, const SparseQuery &q, const SparsePlan &plan, int64_t rows) {
  double unit = vectorCycles(target);
  // A multiplication loads its operand from L1 or, the larger a part is, from L2.
  double multiply =
      unit * std::max(1.25, 1.4 + 0.32 * std::log2(plan.partElements() * 4.0 / target.l1Bytes)) * (q.bytes ? 1.2 : 1);
  auto block = [&](double vectors) {
    double groups = plan.parts() == 1 ? 1 : llvm::divideCeil(plan.panels(), plan.groupPanels);
    double transpose = groups * vectors * q.taps * (q.steps * 7 * unit + (q.windows ? 4.0 * plan.lanes : 0));
    // Five bytes of each entry come from L2, or from behind it.
    double entries = q.entries * (std::max(2.6, vectors * multiply) + (q.entries * 5 > target.l2Bytes / 2 ? 0.6 : 0));
    // The branch out of the loop over a column, and its sums in memory.
    double columns = double(plan.parts()) * q.columns * (18 + vectors * unit * (plan.parts() > 1 ? 3 : 1));
    double store = double(llvm::alignTo(q.columns, plan.lanes)) * vectors * 7 * unit;
    return transpose + entries + columns + store;
  };
  int64_t vectors = llvm::divideCeil(rows, plan.lanes), rest = vectors % plan.vectors;
  double cycles = double(vectors / plan.vectors) * block(plan.vectors) + (rest ? block(rest) : 0);
  double cold = q.coldBytesPerCycle > 0 ? q.entries * 5 / q.coldBytesPerCycle : 0;
  return std::max(cycles, cold) + resultCycles(target, q, rows);
}

double blockCycles(const Target &target, const SparseQuery &q, const SparsePlan &plan, int64_t rows) {
  double unit = vectorCycles(target);
  int64_t width = plan.vectors * plan.lanes;
  // From where the blocks of a panel come to L1, once for all rows of a block of them.
  double blockBytes = plan.lanes * 4 + 2, allBytes = q.blocks * blockBytes;
  double load = blockBytes / (allBytes > target.l2Bytes * 0.7 ? 12 : 32);
  auto ofRows = [&](int64_t count) {
    int64_t vectors = llvm::divideCeil(count, plan.lanes);
    double groups = plan.parts() == 1 ? 1 : llvm::divideCeil(plan.panels(), plan.groupPanels);
    double prepare = plan.inPlace ? (q.bytes ? 0 : count * q.steps / double(plan.lanes) * unit)
                                  : groups * vectors * q.taps * (q.steps * 7 * unit + (q.windows ? 4.0 * plan.lanes : 0));
    double multiply = q.blocks * (std::max(2.4 * vectors, count * unit * 1.08 + 0.7 * vectors) + load);
    // The branch out of the loop over a panel, and its results or sums.
    double panels = double(plan.parts()) * plan.panels() * (10 + vectors * 14 + count * 2.5);
    return prepare + multiply + panels;
  };
  int64_t rest = rows % width;
  double cycles = double(rows / width) * ofRows(width) + (rest ? ofRows(rest) : 0);
  double cold = q.coldBytesPerCycle > 0 ? allBytes / q.coldBytesPerCycle : 0;
  return std::max(cycles, cold) + resultCycles(target, q, rows);
}

/// Cuts the contracted dimension into parts of which a block of rows has at most `bytes`.
static void cutParts(SparsePlan &plan, int64_t bytes) {
  int64_t most = std::max<int64_t>(plan.lanes, bytes / (plan.vectors * plan.lanes * 4)); // steps of a part
  if (most >= plan.steps) {
    plan.partSteps = plan.steps;
    plan.partTaps = llvm::divideCeil(plan.taps, llvm::divideCeil(plan.taps, std::min(plan.taps, most / plan.steps)));
  } else {
    plan.partTaps = 1;
    plan.partSteps = std::min(
        plan.steps, int64_t(llvm::alignTo(llvm::divideCeil(plan.steps, llvm::divideCeil(plan.steps, most)), plan.lanes)));
  }
}

static SparsePlan planFor(const Target &target, const SparseQuery &q, int64_t vectors) {
  SparsePlan plan;
  plan.lanes = target.lanes(4);
  plan.vectors = vectors;
  plan.columns = q.columns;
  plan.taps = q.taps;
  plan.steps = q.steps;
  return plan;
}

/// Calls `add` with a plan for each number of vectors that blocks of rows may have.
static void forEachVectors(const Target &target, const SparseQuery &q, int64_t rows, bool known,
                           llvm::function_ref<void(SparsePlan)> add) {
  for (int64_t vectors = 1; vectors <= 8; ++vectors)
    // Of unknown sizes the last block has a power of two; more code for more vectors.
    if (known ? vectors <= llvm::divideCeil(rows, target.lanes(4)) : vectors == 8)
      add(planFor(target, q, vectors));
}

namespace {
/// Keeps the best of several plans.
struct Best {
  SparsePlan plan;
  double cycles = 0;
  void add(const SparsePlan &other, double otherCycles) {
    if (cycles != 0 && otherCycles >= cycles * 0.999)
      return;
    plan = other;
    cycles = otherCycles;
  }
};
} // namespace

SparsePlan chooseSparsePlan(const Target &target, const SparseQuery &q, int64_t rows, bool known) {
  Best best;
  forEachVectors(target, q, rows, known, [&](SparsePlan plan) {
    for (int64_t budget :
         {target.l1Bytes, target.l1Bytes * 3 / 2, target.l2Bytes / 8, target.l2Bytes / 4, target.l2Bytes / 2}) {
      cutParts(plan, budget);
      // Half a KB of a row is written together; of several parts as much as L2 holds.
      plan.groupPanels = plan.parts() == 1 ? 128 / plan.lanes
                                           : std::max<int64_t>(8, target.l2Bytes / 3 / (plan.lanes * plan.vectors * plan.lanes * 4));
      best.add(plan, sparseCycles(target, q, plan, rows));
    }
  });
  return best.plan;
}

SparsePlan chooseBlockPlan(const Target &target, const SparseQuery &q, int64_t rows, bool known) {
  Best best;
  constexpr int64_t mostSteps = 65536; // of a part (BlockStreams)
  int64_t lanes = target.lanes(4), atOnce = known ? std::min(rows, lanes) : lanes;
  // In place a few rows of any length, or whole vectors of rows that L1 holds.
  if (!q.windows && q.steps <= mostSteps && (atOnce <= lanes / 2 || atOnce * q.steps * 4 <= target.l1Bytes / 2)) {
    SparsePlan plan = planFor(target, q, 1);
    plan.partSteps = q.steps;
    plan.groupPanels = plan.panels();
    plan.inPlace = true;
    best.add(plan, blockCycles(target, q, plan, rows));
  }
  forEachVectors(target, q, rows, known, [&](SparsePlan plan) {
    for (int64_t budget : {target.l1Bytes, target.l2Bytes / 4, target.l2Bytes / 2}) {
      cutParts(plan, std::min(budget, mostSteps * plan.vectors * lanes * 4));
      plan.groupPanels =
          plan.parts() == 1 ? plan.panels() : std::max<int64_t>(8, target.l2Bytes / 3 / (plan.vectors * lanes * lanes * 4));
      best.add(plan, blockCycles(target, q, plan, rows));
    }
  });
  return best.plan;
}

} // namespace nnopt::cpu

//===- SparseCost.cpp - whether skipping zero weights pays ------------------===//

#include "lib/codegen/cpu/contraction/SparseCost.h"
#include <cmath>

using namespace mlir;

namespace nnopt::cpu {

/// Two units that multiply vectors of 512 bits, as Intel's servers have.
static bool hasWideUnits(const Target &target) { return target.multiplyBits >= 512; }

namespace {

/// Cycles, fitted to measurements (docs/rationale/sparsity.md). `Far`: of operands that L1 does not hold.
struct Timing {
  double dense;                  // a multiplication in the dense kernel
  double winograd;               // what Winograd's algorithm takes of what it is estimated to (SparseQuery::denseRatio)
  double weights, weightsFar;    // of the dense kernel: at least so much for a vector of weights from L2, from behind it
  double requantize;             // a vector of results of bytes
  double transpose, finite;      // a vector of rows: to transpose it; to see whether it is finite
  double entry, leastEntry;      // of entries: each by itself
  double multiply;               // of entries: a multiplication, whose operand comes from L1 or, the larger a part is, from L2
  double column, sums, sumsAlone; // each walk over a column; a vector of sums of several parts, of one
  double store, storeFar;        // a vector of results, from the sums
  double row, rowFar;            // of blocks: a multiplication of one row
  double group, groupFar;        // of blocks: 16 (8) rows of a block
  double leastGroup, leastFar;   // of blocks: at least so much for these rows, with weights from L2 or from behind it
  double load, loadFar;          // of blocks: a byte of weights from L2, from behind it
  double panel, panelGroup, panelRow; // of blocks: each walk over a panel

  /// `partBytes`: of the rows of a part.
  Timing(const Target &target, bool bytes, double partBytes = 1) {
    // Fitted on Cascade Lake.
    if (hasWideUnits(target)) {
      dense = 0.6, winograd = 1.8, weights = 1.8, weightsFar = 7, requantize = 2;
      transpose = bytes ? 4.6 : 7.3, finite = 9;
      entry = bytes ? 3.4 : 1.6, leastEntry = 0;
      double near = std::min(1.0, target.l1Bytes / partBytes);
      multiply = bytes ? 0.71 * near + 1.3 * (1 - near) : 1.03 * near + 1.69 * (1 - near);
      column = bytes ? 2 : 20, sums = bytes ? 4.3 : 3.5, sumsAlone = 0.5;
      store = bytes ? 10 : 7.2, storeFar = bytes ? 2.2 : 8.5;
      row = bytes ? 0.37 : 0.97, rowFar = bytes ? 1.07 : 1.72;
      group = bytes ? 8.9 : 0.2, groupFar = bytes ? 5 : 6.2, leastGroup = 2.4, leastFar = 7;
      load = 0, loadFar = bytes ? 0 : 0.033;
      panel = bytes ? 30 : 60, panelGroup = 0, panelRow = bytes ? 3.7 : 3.1;
      return;
    }
    // One multiplication, load or shuffle of 512 bits in a cycle, or two of 256. Fitted on Zen 4, with AVX-512 and AVX2.
    const double unit = target.vectorBits / 512.0;
    dense = 1.06 * unit, winograd = 1, weights = 1.3 * unit, weightsFar = 2.2 * unit, requantize = 4 * unit;
    transpose = 7 * unit, finite = unit;
    entry = 0, leastEntry = 2.6;
    multiply = unit * std::max(1.25, 1.4 + 0.32 * std::log2(partBytes / target.l1Bytes)) * (bytes ? 1.2 : 1);
    column = 18, sums = 3 * unit, sumsAlone = unit;
    store = 7 * unit, storeFar = 0;
    row = rowFar = 1.08 * unit;
    group = 0.7, groupFar = 0, leastGroup = leastFar = 2.4;
    load = 1 / 32.0, loadFar = 1 / 12.0;
    panel = 10, panelGroup = 14, panelRow = 2.5;
  }
};

} // namespace

/// Results that do not fit L2 are written to what lies behind it.
static double resultCycles(const Target &target, const SparseQuery &q, int64_t rows) {
  double bytes = double(rows) * q.columns * (q.bytes ? 1 : 4);
  return bytes > target.l2Bytes ? bytes / 8 : 0;
}

double denseCycles(const Target &target, const SparseQuery &q, int64_t rows) {
  Timing t(target, q.bytes);
  int64_t lanes = target.lanes(4);
  double weights = double(llvm::alignTo(q.columns, lanes)) * q.taps * q.steps, vectors = weights / lanes;
  double multiply = double(rows) * vectors * t.dense * q.denseRatio * (q.denseRatio < 1 ? t.winograd : 1);
  if (q.bytes)
    multiply += double(rows) * llvm::divideCeil(q.columns, lanes) * t.requantize;
  // Few rows: every weight is loaded for each use or two.
  double load = vectors * (weights * 4 > target.l2Bytes / 2 ? t.weightsFar : t.weights);
  double cold = q.coldBytesPerCycle > 0 ? weights * 4 / q.coldBytesPerCycle : 0;
  return std::max({multiply, load, cold}) + resultCycles(target, q, rows);
}

double sparseCycles(const Target &target, const SparseQuery &q, const SparsePlan &plan, int64_t rows) {
  double partBytes = plan.partElements() * 4.0;
  Timing t(target, q.bytes, partBytes);
  auto block = [&](double vectors) {
    double groups = plan.parts() == 1 ? 1 : llvm::divideCeil(plan.panels(), plan.groupPanels);
    double transpose = groups * vectors * q.taps * (q.steps * t.transpose + (q.windows ? 4.0 * plan.lanes : 0));
    // Five bytes of each entry come from L2, or from behind it.
    double entries = q.entries * (std::max(t.leastEntry, t.entry + vectors * t.multiply) + (q.entries * 5 > target.l2Bytes / 2 ? 0.6 : 0));
    // The branch out of the loop over a column, and its sums in memory.
    double columns = double(plan.parts()) * q.columns * (t.column + vectors * (plan.parts() > 1 ? t.sums : t.sumsAlone));
    double sumBytes = std::min(plan.panels(), plan.groupPanels) * plan.lanes * vectors * plan.lanes * 4;
    double store = double(llvm::alignTo(q.columns, plan.lanes)) * vectors *
                   (t.store + (sumBytes + partBytes > target.l1Bytes ? t.storeFar : 0));
    return transpose + entries + columns + store;
  };
  int64_t vectors = llvm::divideCeil(rows, plan.lanes), rest = vectors % plan.vectors;
  double cycles = double(vectors / plan.vectors) * block(plan.vectors) + (rest ? block(rest) : 0);
  double cold = q.coldBytesPerCycle > 0 ? q.entries * 5 / q.coldBytesPerCycle : 0;
  return std::max(cycles, cold) + resultCycles(target, q, rows);
}

double blockCycles(const Target &target, const SparseQuery &q, const SparsePlan &plan, int64_t rows) {
  Timing t(target, q.bytes);
  int64_t width = plan.vectors * plan.lanes;
  // From where the blocks of a panel come to L1, once for all rows of a block of them.
  double blockBytes = plan.lanes * 4 + 2, allBytes = q.blocks * blockBytes;
  bool far = allBytes > target.l2Bytes * 0.7;
  double load = blockBytes * (far ? t.loadFar : t.load);
  auto ofRows = [&](int64_t count) {
    int64_t vectors = llvm::divideCeil(count, plan.lanes);
    double groups = plan.parts() == 1 ? 1 : llvm::divideCeil(plan.panels(), plan.groupPanels);
    double prepare = plan.inPlace ? (q.bytes ? 0 : count * q.steps / double(plan.lanes) * t.finite)
                                  : groups * vectors * q.taps * (q.steps * t.transpose + (q.windows ? 4.0 * plan.lanes : 0));
    // Transposed rows share L1 with the weights.
    double l1 = plan.inPlace ? target.l1Bytes : target.l1Bytes / 2;
    double rowBytes = plan.inPlace ? std::min(count, plan.lanes) * q.steps * 4.0 : plan.partElements() * 4.0;
    double near = std::min(1.0, l1 / rowBytes);
    double ofRow = plan.inPlace ? t.row * near + t.rowFar * (1 - near) : t.row;
    double ofGroup = t.group + (plan.inPlace ? 0 : t.groupFar * (1 - near));
    double multiply = q.blocks * (std::max((far ? t.leastFar : t.leastGroup) * vectors, count * ofRow + ofGroup * vectors) + load);
    // The branch out of the loop over a panel, and its results or sums.
    double panels = double(plan.parts()) * plan.panels() * (t.panel + vectors * t.panelGroup + count * t.panelRow);
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
      // Half a KB of a row is written together, or sums stay in L1; of several parts as much as L2 holds.
      int64_t held = std::max<int64_t>(8, target.l2Bytes / 3 / (plan.lanes * plan.vectors * plan.lanes * 4));
      for (int64_t group : plan.parts() == 1 ? SmallVector<int64_t>{128 / plan.lanes, 1} : SmallVector<int64_t>{held}) {
        plan.groupPanels = group;
        best.add(plan, sparseCycles(target, q, plan, rows));
      }
    }
  });
  return best.plan;
}

SparsePlan chooseBlockPlan(const Target &target, const SparseQuery &q, int64_t rows, bool known) {
  Best best;
  constexpr int64_t mostSteps = 65536; // of a part (BlockStreams)
  int64_t lanes = target.lanes(4), atOnce = known ? std::min(rows, lanes) : lanes;
  // In place a few rows of any length, or whole vectors of rows that L1 holds; or L2, where that is known to pay (Timing).
  int64_t held = hasWideUnits(target) ? target.l2Bytes / 2 : target.l1Bytes / 2;
  if (!q.windows && q.steps <= mostSteps && (atOnce <= lanes / 2 || atOnce * q.steps * 4 <= held)) {
    SparsePlan plan = planFor(target, q, 1);
    plan.partSteps = q.steps;
    plan.groupPanels = plan.panels();
    plan.inPlace = true;
    best.add(plan, blockCycles(target, q, plan, rows));
  }
  forEachVectors(target, q, rows, known, [&](SparsePlan plan) {
    for (int64_t budget : {target.l1Bytes, target.l1Bytes / 2, target.l2Bytes / 4, target.l2Bytes / 2}) {
      cutParts(plan, std::min(budget, mostSteps * plan.vectors * lanes * 4));
      plan.groupPanels =
          plan.parts() == 1 ? plan.panels() : std::max<int64_t>(8, target.l2Bytes / 3 / (plan.vectors * lanes * lanes * 4));
      best.add(plan, blockCycles(target, q, plan, rows));
    }
  });
  return best.plan;
}

} // namespace nnopt::cpu

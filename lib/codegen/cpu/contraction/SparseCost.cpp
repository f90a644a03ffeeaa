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

SparsePlan chooseSparsePlan(const Target &target, const SparseQuery &q, int64_t rows, bool known) {
  SparsePlan best;
  double bestCycles = 0;
  int64_t lanes = target.lanes(4), all = llvm::divideCeil(rows, lanes);
  for (int64_t vectors = 1; vectors <= 8; ++vectors) {
    // Of unknown sizes the last block has a power of two; more code for more vectors.
    if (known ? vectors > all : vectors != 8)
      continue;
    for (int64_t budget :
         {target.l1Bytes, target.l1Bytes * 3 / 2, target.l2Bytes / 8, target.l2Bytes / 4, target.l2Bytes / 2}) {
      SparsePlan plan;
      plan.lanes = lanes;
      plan.vectors = vectors;
      plan.columns = q.columns;
      plan.taps = q.taps;
      plan.steps = q.steps;
      int64_t most = std::max<int64_t>(lanes, budget / (vectors * lanes * 4)); // steps of a part
      if (most >= q.steps) {
        plan.partSteps = q.steps;
        plan.partTaps = llvm::divideCeil(q.taps, llvm::divideCeil(q.taps, std::min(q.taps, most / q.steps)));
      } else {
        plan.partTaps = 1;
        plan.partSteps = std::min(
            q.steps, int64_t(llvm::alignTo(llvm::divideCeil(q.steps, llvm::divideCeil(q.steps, most)), lanes)));
      }
      // Half a KB of a row is written together; of several parts as much as L2 holds.
      plan.groupPanels =
          plan.parts() == 1 ? 128 / lanes : std::max<int64_t>(8, target.l2Bytes / 3 / (lanes * vectors * lanes * 4));
      double cycles = sparseCycles(target, q, plan, rows);
      if (bestCycles == 0 || cycles < bestCycles * 0.999) {
        best = plan;
        bestCycles = cycles;
      }
    }
  }
  return best;
}

} // namespace nnopt::cpu

//===- SparseWeights.cpp - constant weights without their zeros -------------===//

#include "lib/codegen/cpu/contraction/SparseWeights.h"
#include <numeric>

using namespace mlir;

namespace nnopt::cpu {

/// Element i as bits in which zero is 0: the sign of an f32 does not count.
static uint32_t bitsOf(const SparseSource &s, int64_t i) {
  if (s.perStep > 1)
    return uint8_t(s.bytes[i]) ^ (s.unsignedBytes ? 0x80 : 0);
  uint32_t bits;
  memcpy(&bits, s.bytes.data() + i * 4, 4);
  return (bits << 1) ? bits : 0;
}

static int64_t sizeOf(const SparseSource &s) { return s.bytes.size() / (s.perStep > 1 ? 1 : 4); }

/// The step (tap, index) of a column: an f32 or four bytes.
static uint32_t stepOf(const SparseSource &s, int64_t column, int64_t tap, int64_t index) {
  const PanelSource &p = s.panels;
  int64_t at = column * p.columnStride + p.tapOffsets[tap] + index * s.perStep * p.channelStride;
  if (s.perStep == 1)
    return bitsOf(s, at);
  uint32_t step = 0;
  for (int64_t i = 0; i < s.perStep; ++i)
    step |= bitsOf(s, at + i * p.channelStride) << (8 * i);
  return step;
}

double sampleZeros(const SparseSource &s) {
  constexpr int64_t runs = 64, length = 64;
  int64_t size = sizeOf(s), zeros = 0, seen = 0;
  for (int64_t run = 0; run < runs; ++run) {
    int64_t from = std::max<int64_t>(0, size - length) * run / (runs - 1);
    for (int64_t i = from; i < std::min(size, from + length); ++i, ++seen)
      zeros += bitsOf(s, i) == 0;
  }
  return seen ? double(zeros) / seen : 0;
}

SparseCount countNonzeros(const SparseSource &s) {
  SparseCount count;
  int64_t size = sizeOf(s);
  for (int64_t i = 0; i < size; ++i)
    count.zeros += bitsOf(s, i) == 0;
  count.entries = size - count.zeros;
  if (s.perStep == 1)
    return count;
  count.entries = 0;
  for (int64_t column = 0; column < s.panels.columns; ++column)
    for (size_t tap = 0; tap < s.panels.tapOffsets.size(); ++tap)
      for (int64_t i = 0; i < s.panels.channels / s.perStep; ++i)
        count.entries += stepOf(s, column, tap, i) != 0;
  return count;
}

/// Adds an entry `step` steps into the part, behind one at `before`. A gap of more than a byte is
/// bridged by zeros.
static void addEntry(std::vector<uint32_t> &values, std::vector<uint8_t> &gaps, int64_t &before, int64_t step,
                     uint32_t value) {
  for (; step - before > 255; before += 255) {
    gaps.push_back(255);
    values.push_back(0);
  }
  gaps.push_back(step - before);
  values.push_back(value);
  before = step;
}

SparseStreams encodeSparse(const SparseSource &s, const SparsePlan &plan) {
  SparseStreams streams;
  std::vector<double> work(plan.panels(), 64); // to transpose and store a panel
  struct Column {
    std::vector<uint32_t> values;
    std::vector<uint8_t> gaps;
    int64_t before = 0;
  };
  for (int64_t tap0 = 0; tap0 < plan.taps; tap0 += plan.partTaps) {
    int64_t tap1 = std::min(plan.taps, tap0 + plan.partTaps);
    for (int64_t step0 = 0; step0 < plan.steps; step0 += plan.partSteps) {
      int64_t step1 = std::min(plan.steps, step0 + plan.partSteps);
      // Panel by panel: neighbouring columns may be neighbours in memory.
      for (int64_t panel = 0; panel < plan.panels(); ++panel) {
        int64_t first = panel * plan.lanes, count = std::min(plan.lanes, plan.columns - first);
        std::vector<Column> columns(count);
        for (int64_t tap = tap0; tap < tap1; ++tap)
          for (int64_t step = step0; step < step1; ++step)
            for (int64_t c = 0; c < count; ++c)
              if (uint32_t value = stepOf(s, first + c, tap, step))
                addEntry(columns[c].values, columns[c].gaps, columns[c].before,
                         (tap - tap0) * plan.partSteps + step - step0, value);
        for (const Column &column : columns) {
          streams.starts.push_back(streams.values.size());
          streams.values.insert(streams.values.end(), column.values.begin(), column.values.end());
          streams.gaps.insert(streams.gaps.end(), column.gaps.begin(), column.gaps.end());
          work[panel] += column.values.size();
        }
      }
    }
  }
  streams.starts.push_back(streams.values.size());

  if (s.perStep > 1) {
    streams.sums.resize(plan.columns);
    for (size_t i = 0; i + 1 < streams.starts.size(); ++i)
      for (uint32_t e = streams.starts[i]; e < streams.starts[i + 1]; ++e)
        for (int64_t byte = 0; byte < 4; ++byte)
          streams.sums[i % plan.columns] += int8_t(streams.values[e] >> (8 * byte));
  }
  double total = std::accumulate(work.begin(), work.end(), 0.0), before = 0;
  streams.balanced.push_back(0);
  for (int64_t share = 1, panel = 0; share < plan.panels(); ++share) {
    while (panel < plan.panels() && before + work[panel] / 2 < total * share / plan.panels())
      before += work[panel++];
    streams.balanced.push_back(panel);
  }
  streams.balanced.push_back(plan.panels());
  return streams;
}

} // namespace nnopt::cpu

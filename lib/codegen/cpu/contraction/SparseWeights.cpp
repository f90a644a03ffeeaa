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

/// The sums of the columns of bytes are those of their steps.
static void addToSum(int32_t &sum, uint32_t step) {
  for (int64_t byte = 0; byte < 4; ++byte)
    sum += int8_t(step >> (8 * byte));
}

/// Panels that begin equal shares of all work.
static std::vector<uint32_t> balance(ArrayRef<double> work) {
  std::vector<uint32_t> first(1, 0);
  int64_t panels = work.size();
  double total = std::accumulate(work.begin(), work.end(), 0.0), before = 0;
  for (int64_t share = 1, panel = 0; share < panels; ++share) {
    while (panel < panels && before + work[panel] / 2 < total * share / panels)
      before += work[panel++];
    first.push_back(panel);
  }
  first.push_back(panels);
  return first;
}

/// Calls `body` for each part and panel, in the order of streams: first and last tap and step, and the panel.
template <typename Body> static void forEachPanel(const SparsePlan &plan, Body body) {
  for (int64_t tap = 0; tap < plan.taps; tap += plan.partTaps)
    for (int64_t step = 0; step < plan.steps; step += plan.partSteps)
      // Panel by panel: neighbouring columns may be neighbours in memory.
      for (int64_t panel = 0; panel < plan.panels(); ++panel)
        body(tap, std::min(plan.taps, tap + plan.partTaps), step, std::min(plan.steps, step + plan.partSteps), panel);
}

SparseStreams encodeSparse(const SparseSource &s, const SparsePlan &plan) {
  SparseStreams streams;
  std::vector<double> work(plan.panels(), 64); // to transpose and store a panel
  struct Column {
    std::vector<uint32_t> values;
    std::vector<uint8_t> gaps;
    int64_t before = 0;
  };
  if (s.perStep > 1)
    streams.sums.resize(plan.columns);
  forEachPanel(plan, [&](int64_t tap0, int64_t tap1, int64_t step0, int64_t step1, int64_t panel) {
    int64_t first = panel * plan.lanes, count = std::min(plan.lanes, plan.columns - first);
    std::vector<Column> columns(count);
    for (int64_t tap = tap0; tap < tap1; ++tap)
      for (int64_t step = step0; step < step1; ++step)
        for (int64_t c = 0; c < count; ++c)
          if (uint32_t value = stepOf(s, first + c, tap, step)) {
            addEntry(columns[c].values, columns[c].gaps, columns[c].before,
                     (tap - tap0) * plan.partSteps + step - step0, value);
            if (s.perStep > 1)
              addToSum(streams.sums[first + c], value);
          }
    for (const Column &column : columns) {
      streams.starts.push_back(streams.values.size());
      streams.values.insert(streams.values.end(), column.values.begin(), column.values.end());
      streams.gaps.insert(streams.gaps.end(), column.gaps.begin(), column.gaps.end());
      work[panel] += column.values.size();
    }
  });
  streams.starts.push_back(streams.values.size());
  streams.balanced = balance(work);
  return streams;
}

int64_t countBlocks(const SparseSource &s, int64_t lanes) {
  int64_t blocks = 0;
  for (int64_t first = 0; first < s.panels.columns; first += lanes)
    for (size_t tap = 0; tap < s.panels.tapOffsets.size(); ++tap)
      for (int64_t i = 0; i < s.panels.channels / s.perStep; ++i) {
        bool any = false;
        for (int64_t column = first; column < std::min(first + lanes, s.panels.columns) && !any; ++column)
          any = stepOf(s, column, tap, i) != 0;
        blocks += any;
      }
  return blocks;
}

BlockStreams encodeBlocks(const SparseSource &s, const SparsePlan &plan) {
  assert(plan.partTaps * plan.partSteps <= 65536 && "steps of a part do not fit their type");
  BlockStreams streams;
  std::vector<double> work(plan.panels(), 4); // to store a panel
  if (s.perStep > 1)
    streams.sums.resize(plan.columns);
  std::vector<uint32_t> block(plan.lanes);
  forEachPanel(plan, [&](int64_t tap0, int64_t tap1, int64_t step0, int64_t step1, int64_t panel) {
    int64_t first = panel * plan.lanes, count = std::min(plan.lanes, plan.columns - first);
    streams.starts.push_back(streams.steps.size());
    for (int64_t tap = tap0; tap < tap1; ++tap)
      for (int64_t step = step0; step < step1; ++step) {
        for (int64_t c = 0; c < count; ++c)
          block[c] = stepOf(s, first + c, tap, step);
        if (llvm::all_of(block, [](uint32_t v) { return v == 0; }))
          continue;
        streams.steps.push_back((tap - tap0) * plan.partSteps + step - step0);
        streams.values.insert(streams.values.end(), block.begin(), block.end());
        for (int64_t c = 0; s.perStep > 1 && c < count; ++c)
          addToSum(streams.sums[first + c], block[c]);
      }
    std::fill(block.begin(), block.end(), 0);
    work[panel] += streams.steps.size() - streams.starts.back();
  });
  streams.starts.push_back(streams.steps.size());
  streams.balanced = balance(work);
  return streams;
}

} // namespace nnopt::cpu

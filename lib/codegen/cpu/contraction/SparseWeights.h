//===- SparseWeights.h - constant weights without their zeros ---*- C++ -*-===//
//
// The nonzeros of each column, in the order of the contracted dimension, as two streams: values of
// four bytes (an f32, or four neighbouring signed bytes of the contracted dimension, of which one
// is not zero) and, in one byte, how many steps each lies behind the one before. That is also how
// weights with many zeros are small in the artifact: five bytes for a nonzero.
//
// Where zeros come in blocks, a panel of columns has one list of the steps at which some of its columns are not zero,
// with a vector of values each.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEWEIGHTS_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_SPARSEWEIGHTS_H

#include "lib/codegen/cpu/contraction/Microkernel.h"
#include <vector>

namespace nnopt::cpu {

/// How a sparse product is cut. A *step* is an element of a row, or four bytes of it. A *part* is
/// what of the contracted dimension is multiplied before the next one begins: whole taps, or a
/// range of the steps of one tap.
struct SparsePlan {
  int64_t lanes = 1;           // rows in a vector, and columns in a panel
  int64_t vectors = 1;         // of rows in a block
  int64_t taps = 1, steps = 1; // steps: of a tap
  int64_t partTaps = 1;        // taps of a part
  int64_t partSteps = 1;       // steps of a tap in a part
  int64_t columns = 1;
  /// Panels whose sums wait at once. Where there are several parts, the rows are transposed anew
  /// for the next ones.
  int64_t groupPanels = 1;
  /// Of blocks: rows are read where they are, not transposed.
  bool inPlace = false;

  int64_t rangesOfTap() const { return llvm::divideCeil(steps, partSteps); }
  int64_t parts() const { return llvm::divideCeil(taps, partTaps) * rangesOfTap(); }
  int64_t panels() const { return llvm::divideCeil(columns, lanes); }
  /// Elements of the transposed rows of a part.
  int64_t partElements() const { return partTaps * partSteps * vectors * lanes; }
};

/// Weights as matrix elements: `source` as for packPanels() with one group, of f32 (perStep 1) or
/// of bytes (perStep 4).
struct SparseSource {
  PanelSource panels;
  llvm::ArrayRef<char> bytes;
  int64_t perStep = 1;
  bool unsignedBytes = false; // move by 128, which is their zero point
};

/// Share of zeros among a few thousand elements from everywhere: tells weights that are worth
/// counting from the dense ones of nearly all models, without reading those.
double sampleZeros(const SparseSource &source);

struct SparseCount {
  int64_t zeros = 0;   // elements
  int64_t entries = 0; // steps of columns that are not all zero
};
SparseCount countNonzeros(const SparseSource &source);

struct SparseStreams {
  /// starts[part * columns + column] is the first entry of a column in a part; one more at the end.
  std::vector<uint32_t> starts;
  std::vector<uint32_t> values;
  std::vector<uint8_t> gaps; // steps from the entry before, or from the beginning of the part
  /// Of bytes: the sum of each column.
  std::vector<int32_t> sums;
  /// Entry i is the panel that begins at share i of panels() of the work: equal ranges of it are
  /// equal work.
  std::vector<uint32_t> balanced;
};
SparseStreams encodeSparse(const SparseSource &source, const SparsePlan &plan);

/// Steps at which some column of a panel of `lanes` columns is not zero, of all panels.
int64_t countBlocks(const SparseSource &source, int64_t lanes);

struct BlockStreams {
  /// starts[part * panels + panel] is the first block of a panel in a part; one more at the end.
  std::vector<uint32_t> starts;
  std::vector<uint16_t> steps;  // of each block, in the part
  std::vector<uint32_t> values; // `lanes` columns of a block, those behind the last one zero
  std::vector<int32_t> sums;
  std::vector<uint32_t> balanced; // as of SparseStreams
};
/// Parts have at most 65,536 steps.
BlockStreams encodeBlocks(const SparseSource &source, const SparsePlan &plan);

} // namespace nnopt::cpu

#endif

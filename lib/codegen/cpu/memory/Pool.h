//===- Pool.h - a pooling operation being emitted ---------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_POOL_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_POOL_H

#include "lib/codegen/cpu/memory/Vectorize.h"

namespace nnopt::cpu {

/// max_pool, avg_pool and lp_pool seen alike, with the kernel that is being built.
struct Pool {
  mlir::Operation *op;
  Lowering &l;
  Kernel &k;
  bool isMax = false, includePad = false, columnMajor = false, channelsLast = false;
  int64_t p = 0; // lp_pool: the exponent
  llvm::ArrayRef<int64_t> kernel, strides, pads, dilations;
  Buffer x, out;
  mlir::Value indices;
  mlir::Type type; // of the accumulator
  unsigned spatial;

  /// `k`: a kernel in which nothing is yet.
  Pool(mlir::Operation *op, Lowering &l, Kernel &k);

  bool isFloat() const { return llvm::isa<mlir::FloatType>(type); }
  unsigned axisOf(unsigned s) const { return s + (channelsLast ? 1 : 2); }
  nn::Dim size(unsigned s) const { return x.dims[axisOf(s)]; }
  nn::Dim outSize(unsigned s) const { return out.dims[axisOf(s)]; }
  nn::Dim channels() const { return x.dims[channelsLast ? x.rank() - 1 : 1]; }

  /// The neutral element of `combine`, of type `type`.
  mlir::Value identity();
  /// The larger (NaN wins) or the sum of two elements or vectors.
  mlir::Value combine(mlir::Value acc, mlir::Value v);

  /// Accumulators of `step.at.size()` windows: `begin` makes them, `add` adds one element to each,
  /// `finish` gives the combined elements. A maximum of floats keeps NaN in masks of their own,
  /// which is half of the instructions of a maximum that lets NaN through.
  llvm::SmallVector<mlir::Value> begin(const Step &step);
  llvm::SmallVector<mlir::Value> add(mlir::ValueRange accs, llvm::ArrayRef<mlir::Value> values);
  llvm::SmallVector<mlir::Value> finish(mlir::ValueRange accs);
  bool isMean() const { return !isMax && !p; }
  bool masksNaN() const { return isMax && isFloat(); }

  /// An element as what is combined, and what was combined as an element of the result.
  mlir::Value lift(mlir::Value v);
  mlir::Value lower(mlir::Value v);

  /// First source position of the window of output position o (may be negative).
  Ix start(unsigned s, Ix o) { return o * strides[s] - pads[s]; }
  /// Number of window elements before position `limit`: ceil((limit - start) / dilation), within
  /// [0, kernel].
  Ix elementsBefore(unsigned s, Ix limit, Ix start) {
    Ix distance = (limit - start).max(k.c(0));
    return ((distance + (dilations[s] - 1)) / dilations[s]).min(k.c(kernel[s]));
  }
  /// The window elements [low, high) that lie inside of x.
  std::pair<Ix, Ix> valid(unsigned s, Ix start) {
    return {elementsBefore(s, k.c(0), start), elementsBefore(s, k.dim(size(s)), start)};
  }
  /// Window elements along an axis that the mean divides by.
  Ix counted(unsigned s, Ix start, Ix low, Ix high) {
    if (!includePad)
      return high - low;
    // Padding counts, but not what ceil_mode adds beyond it.
    return elementsBefore(s, k.dim(size(s)) + pads[spatial + s], start);
  }

  /// Any layout, element by element, with indices.
  mlir::LogicalResult emitReference();
  /// Lanes are channels.
  mlir::LogicalResult emitChannelsLast();
  /// Lanes are positions of a row.
  mlir::LogicalResult emitChannelsFirst();
};

} // namespace nnopt::cpu

#endif

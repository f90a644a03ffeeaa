//===- Vectorize.h - vector loops over rows ---------------------*- C++ -*-===//
//
// Loops over [low, high) in whole vectors. What is left over is done with masked vectors where the
// target has masked memory access for the element sizes involved, else element by element.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_VECTORIZE_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_VECTORIZE_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// How a loop is vectorized.
struct VectorShape {
  int64_t lanes = 1;
  /// Vectors per iteration of the main loop.
  int64_t unroll = 1;
  /// Whether left-over elements are done with masks (else one at a time).
  bool masked = false;
};

/// Whether masked loads and stores of elements of `bytes` bytes are single instructions.
bool canMask(const Target &target, int64_t bytes);
bool canMask(const Target &target, llvm::ArrayRef<mlir::Type> types);

/// Whether the dimension is provably a multiple of `n`.
bool isMultipleOf(nn::Dim d, int64_t n);

/// One step of a vector loop: the elements from each of `at`, `lanes` at a time; where `mask` is
/// set only its lanes exist. A step with lanes == 1 works on scalars.
struct Step {
  llvm::ArrayRef<Ix> at;
  int64_t lanes;
  mlir::Value mask;
};

/// Runs `body` over [low, high). `multiple`: high - low is known to be a multiple of the lanes.
void vectorLoop(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple,
                llvm::function_ref<void(const Step &)> body);

/// Loads and stores of the element (lanes == 1), vector or masked vector at `i`.
mlir::Value loadStep(Kernel &k, const Buffer &buf, Ix i, const Step &step);
void storeStep(Kernel &k, const Buffer &buf, Ix i, mlir::Value v, const Step &step);

/// `v` (scalar or vector) with all lanes of the mask that are off replaced by `other`.
mlir::Value fillMasked(Kernel &k, mlir::Value v, mlir::Value other, const Step &step);

/// A reduction in vector form. `identity` is the neutral element; `step(acc, i, step)` combines
/// the accumulator (scalar or vector as the step says) with the elements at i; `merge` combines
/// two accumulators.
struct RowReduction {
  mlir::Type type; // of the accumulator's elements
  mlir::Value identity;
  std::function<mlir::Value(mlir::Value acc, Ix i, const Step &)> step;
  std::function<mlir::Value(mlir::Value, mlir::Value)> merge;
};
/// Reduces over [low, high) with `shape.unroll` independent vector accumulators; gives a scalar.
mlir::Value reduceRow(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple, const RowReduction &r);
/// The vector accumulators of a reduction carried through an outer loop: `begin` makes them,
/// `accumulate` adds a row, `finish` merges them to a scalar. All are [unroll vectors..., scalar].
llvm::SmallVector<mlir::Value> reduceBegin(Kernel &k, VectorShape shape, const RowReduction &r);
llvm::SmallVector<mlir::Value> reduceAccumulate(Kernel &k, Ix low, Ix high, VectorShape shape, bool multiple,
                                                const RowReduction &r, mlir::ValueRange accs);
mlir::Value reduceFinish(Kernel &k, VectorShape shape, const RowReduction &r, mlir::ValueRange accs);
/// Merges the lanes of a vector in log2(lanes) steps.
mlir::Value reduceLanes(Kernel &k, mlir::Value v, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> merge);

/// Common arithmetic on scalars or vectors of floats.
mlir::Value fadd(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value fsub(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value fmul(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value fdiv(Kernel &k, mlir::Value a, mlir::Value b);
/// Maximum where NaN wins.
mlir::Value fmax(Kernel &k, mlir::Value a, mlir::Value b);
/// `scalar` in the form of the step (or of the type): itself or a splat.
mlir::Value like(Kernel &k, mlir::Value scalar, const Step &step);
mlir::Value like(Kernel &k, mlir::Value scalar, mlir::Type type);
/// A constant of the (scalar) type.
mlir::Value floatConstant(Kernel &k, mlir::Type type, double v);
/// The type in which values of `type` are computed: f32 for narrower floats and all integers.
mlir::Type computeType(mlir::Type type);
/// Bytes of one element in memory of a buffer.
int64_t storageBytes(const Buffer &buf);
/// The buffer seen as integers of its width, for moving elements without interpreting them.
Buffer asBits(Kernel &k, const Buffer &buf);

/// Copies n elements (bits) from src + from to dst + to.
void copyRow(Kernel &k, const Buffer &dst, Ix to, const Buffer &src, Ix from, Ix n);
/// Stores n copies of the scalar `v` (a value of dst's type).
void fillRow(Kernel &k, const Buffer &dst, Ix to, mlir::Value v, Ix n);

} // namespace nnopt::cpu

#endif

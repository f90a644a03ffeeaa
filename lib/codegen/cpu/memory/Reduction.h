//===- Reduction.h - one reduction kind on one element type -----*- C++ -*-===//
//
// Every kind is: lift an element into the accumulator's type, combine, finish. Integers accumulate
// in their own type, narrow floats in f32 (in f64 in the reference); kinds with a root or logarithm
// go through f64 for integers. log_sum_exp first finds the maximum, to stay in range.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_MEMORY_REDUCTION_H
#define NNOPT_LIB_CODEGEN_CPU_MEMORY_REDUCTION_H

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

namespace nnopt::cpu {

struct Reduction {
  using Kind = nn::ReduceKind;

  Kernel &k;
  Kind kind;
  mlir::Type element;
  bool isUnsigned;
  /// Type of the accumulator.
  mlir::Type acc;

  Reduction(Kernel &k, Kind kind, mlir::Type element, bool isUnsigned, bool precise);

  bool isExtremum() const { return kind == Kind::max || kind == Kind::min; }
  bool isFloat() const { return llvm::isa<mlir::FloatType>(acc); }
  bool needsMax() const { return kind == Kind::log_sum_exp; }

  /// The largest or smallest value of the accumulator's type.
  mlir::Value extreme(bool largest) const;
  mlir::Value identity(Kind kind) const;
  /// An element in the accumulator's type.
  mlir::Value lift(mlir::Value v) const;
  /// The term that a lifted element adds; `max` is the maximum for log_sum_exp.
  mlir::Value term(mlir::Value v, mlir::Value max) const;
  mlir::Value combine(Kind kind, mlir::Value a, mlir::Value c) const;
  /// The maximum that log_sum_exp subtracts: 0 where it is infinite, as inf - inf is NaN.
  mlir::Value usableMax(mlir::Value max) const;
  /// The result element (scalar or vector) from the accumulator over `count` elements.
  mlir::Value finish(mlir::Value v, Ix count, mlir::Value max) const;
};

/// Which axes of x are reduced; the axes are known.
llvm::SmallVector<bool> reducedAxes(nn::ReduceOp op, Lowering &l);
/// The axes of x with the strides of x and (0 where reduced) of the result.
Space reductionSpace(Lowering &l, llvm::ArrayRef<nn::Dim> dims, llvm::ArrayRef<bool> reduced);

/// The kept (or reduced) axes of a space: sizes and strides of x and the result.
struct ReductionPart {
  nn::Dims sizes;
  llvm::SmallVector<nn::Dims> strides = llvm::SmallVector<nn::Dims>(2);
  void add(const Space &space, unsigned axis) {
    sizes.push_back(space.sizes[axis]);
    for (unsigned o = 0; o < 2; ++o)
      strides[o].push_back(space.strides[o][axis]);
  }
};

/// `reduce_sum` and the like.
std::string kernelName(nn::ReduceOp op);

/// The fast emitter, for axes that are known.
mlir::LogicalResult emitFastReduce(nn::ReduceOp op, Lowering &l);

} // namespace nnopt::cpu

#endif

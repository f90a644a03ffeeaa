//===- Helpers.h - shared by the irregular emitters -------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_HELPERS_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_HELPERS_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace nnopt::cpu {

/// Runs `body` for every task of the launch.
inline void forTasks(Kernel &k, llvm::function_ref<void(Ix)> body) {
  k.loop(k.begin, k.end, 1, body);
}

/// a > b: ordered for floats (false for NaN), by signedness for integers, for scalars and vectors.
mlir::Value greater(Kernel &k, mlir::Value a, mlir::Value b, bool isUnsigned);
/// a == b, ordered for floats.
mlir::Value equal(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value lor(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value lnot(Kernel &k, mlir::Value a);

/// Sum, product, minimum and maximum of two elements. Floats narrower than 32 bits are computed in
/// f32; bool is or, and, and, or. Minimum and maximum give NaN when either is NaN.
mlir::Value addElements(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value mulElements(Kernel &k, mlir::Value a, mlir::Value b);
mlir::Value minElements(Kernel &k, mlir::Value a, mlir::Value b, bool isUnsigned);
mlir::Value maxElements(Kernel &k, mlir::Value a, mlir::Value b, bool isUnsigned);

/// An element converted to i64: integers by signedness, floats truncated.
Ix elementToIndex(Kernel &k, mlir::Value v, bool isUnsigned);
/// `index` counted from the end of `size` when negative.
Ix wrapIndex(Kernel &k, Ix index, Ix size);
/// An i64 as f32.
mlir::Value indexToF32(Kernel &k, Ix v);

/// An f32 or f64 as an element of `type`: truncated and clamped to the range of an integer (0 for NaN),
/// != 0 for bool, rounded for floats.
mlir::Value saturatedFromFloat(Kernel &k, mlir::Value v, mlir::Type type, bool isUnsigned);
/// The elements of `source` at the integers `index` (a vector); 0 where `mask` is off.
mlir::Value gather(Kernel &k, const Buffer &source, mlir::Value index, mlir::Value mask);

/// Product of dims[from, to) as a value of the kernel.
Ix productOf(Kernel &k, llvm::ArrayRef<nn::Dim> dims, unsigned from, unsigned to);

/// Whether every symbol in `d` has a value at this point of the program: symbols of the model's
/// inputs, and symbols that depend on data and have been read.
bool isResolved(Lowering &lowering, mlir::Operation *op, nn::Dim d);
/// Gives the unresolved symbol `symbol` the i64 that `compute` returns, by a kernel that runs at
/// this point of the program. The kernel's operands are read inside `compute`.
mlir::LogicalResult defineSymbol(Lowering &lowering, mlir::Operation *op, nn::Dim symbol,
                                 llvm::function_ref<Ix(Kernel &)> compute);
/// The same, with the only element of `tensor`.
mlir::LogicalResult defineSymbol(Lowering &lowering, mlir::Operation *op, nn::Dim symbol, mlir::Value tensor);

/// Appends a copy of `bytes` bytes between two buffers of the program (a shared reference, for host values).
void appendCopy(Lowering &lowering, uint32_t to, uint32_t from, nn::Dim bytes);
/// Bytes of a tensor.
nn::Dim tensorBytes(Lowering &lowering, mlir::Value v);

} // namespace nnopt::cpu

#endif

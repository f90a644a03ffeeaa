//===- LowerToLLVM.h - kernels to the LLVM dialect --------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_LOWERTOLLVM_H
#define NNOPT_LIB_CODEGEN_CPU_LOWERTOLLVM_H

#include "lib/codegen/cpu/Target.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"

namespace nnopt::cpu {

/// Adds the passes that take modules of kernels (func, scf, vector, math, arith, LLVM pointers) to the LLVM dialect. `target`
/// has to outlive `pm`.
void buildLowerToLLVM(mlir::PassManager &pm, const Target &target);

/// Registers the dialects of kernels and the interfaces that this lowering and the translation to LLVM IR need.
void registerCodegenDialects(mlir::DialectRegistry &registry);

} // namespace nnopt::cpu

#endif

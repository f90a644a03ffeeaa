//===- Device.h - NVIDIA GPUs as a target of the lowering -------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_DEVICE_H
#define NNOPT_LIB_CODEGEN_CUDA_DEVICE_H

#include "lib/codegen/cpu/Lowering.h"
#include "lib/codegen/cuda/Machine.h"

namespace nnopt::cuda {

/// Lowers to GPU kernels: those of the emitters in this folder, and reference kernels of the CPU that need
/// nothing a GPU lacks.
class Device : public cpu::Device {
public:
  Device(mlir::MLIRContext *ctx, const Machine &machine);
  std::optional<mlir::LogicalResult> emit(mlir::Operation *op, cpu::Lowering &lowering) override;
  bool canRun(mlir::func::FuncOp kernel) override;
  bool readsStrided(mlir::OpOperand &operand, cpu::Lowering &lowering) override;
  bool takesNarrowWeights(mlir::OpOperand &operand) override;
  mlir::ModuleOp module() { return *owned; }
  /// What kernels are made for.
  const Machine machine;

private:
  mlir::OwningOpRef<mlir::ModuleOp> owned;
};

/// Whether the scalar code of a region (map body, epilogue) can run on a GPU.
bool canRunScalars(mlir::Region &region);

} // namespace nnopt::cuda

#endif

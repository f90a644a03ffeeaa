//===- Compile.h - GPU kernels to PTX and machine code ----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_COMPILE_H
#define NNOPT_LIB_CODEGEN_CUDA_COMPILE_H

#include "lib/codegen/Program.h"
#include "lib/codegen/cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"

namespace nnopt::cuda {

/// Code for one architecture.
struct Image {
  uint32_t kind; // NNOPT_IMAGE_*
  uint32_t arch; // 80 for sm_80
  std::string bytes;
};

/// Parses `sm_80,sm_90`; false with a message for what this compiler has no code for.
bool parseArchitectures(llvm::StringRef text, std::vector<uint32_t> &architectures, std::string &error);

/// Compiles the kernels (consumed) of a program for each architecture: PTX, and machine code too where
/// NVIDIA's assembler is installed.
mlir::LogicalResult compileImages(mlir::ModuleOp kernels, const Program &program, llvm::ArrayRef<uint32_t> architectures,
                                  std::vector<Image> &images);

/// An object with the hidden `symbol`: the nnopt_device_program with these images, whose CPU side is the
/// nnopt_descriptor `descriptorSymbol` of another object.
bool emitDeviceProgram(const Program &program, llvm::ArrayRef<Image> images, const cpu::Target &target,
                       llvm::StringRef descriptorSymbol, llvm::StringRef symbol, llvm::SmallVectorImpl<char> &object,
                       std::string &error);

/// Moves the GPU kernels of a program to the CPU: every thread runs as the kernels say, with barriers, by
/// functions that test/support/simt has. The launches are then of ordinary CPU kernels, a task a block. `hasWgmma`: as an
/// image for sm_90a.
mlir::LogicalResult emulate(mlir::ModuleOp deviceKernels, mlir::ModuleOp cpuKernels, Program &program, bool hasWgmma);

/// Registers what compileImages needs.
void registerDialects(mlir::DialectRegistry &registry);

} // namespace nnopt::cuda

#endif

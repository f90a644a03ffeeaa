//===- Elementwise.h - results from operands, element by element -*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_ELEMENTWISE_H
#define NNOPT_LIB_CODEGEN_CUDA_ELEMENTWISE_H

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

struct Operand {
  mlir::Value folded; // a constant that is part of the code; there is no memory then
  Buffer buffer;      // at the view's first element
  nn::Dims strides;   // over the results' dimensions
  bool aligned = false;
};

/// The results of some operands' elements.
using Compute = llvm::function_ref<llvm::SmallVector<mlir::Value>(Kernel &k, mlir::ValueRange)>;

/// An elementwise kernel: `operands` are first `inputs` operands, then the results, and the strides of the collapsed space are
/// in their order.
struct Elements {
  llvm::ArrayRef<Operand> operands;
  size_t inputs;
  cpu::Space space;

  /// Whether `lanes` neighbours of operand `i` along `axis` are one aligned access.
  bool areLines(size_t i, unsigned axis, int64_t lanes) const;
  bool isInput(size_t i) const { return i < inputs; }
  int64_t bytes(size_t i) const { return cpu::storageBytes(operands[i].buffer); }
};

/// Computes `lanes` neighbours of the results and stores them, at offset(i) for result i of the operands. values(i): those of operand i,
/// or one for all.
void computeLanes(Kernel &k, const Elements &e, int64_t lanes, llvm::function_ref<llvm::SmallVector<mlir::Value>(size_t)> values,
                  llvm::function_ref<Ix(size_t)> offset, Compute compute);

/// Where the neighbours of some operands lie along another axis than those of the results: emits a kernel in which blocks turn
/// tiles of them in shared memory, and returns how many blocks. Otherwise null, and nothing is emitted.
nn::Dim emitTiles(Kernel &k, Lowering &l, const Elements &e, Compute compute);

} // namespace nnopt::cuda

#endif

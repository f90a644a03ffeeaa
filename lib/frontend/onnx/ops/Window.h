//===- Window.h - sliding windows of convolution and pooling ----*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_OPS_WINDOW_H
#define NNOPT_FRONTEND_ONNX_OPS_WINDOW_H

#include "lib/frontend/onnx/Importer.h"

namespace nnopt::onnx {

/// The attributes all windowed operators share, complete and checked.
struct Window {
  Ints kernel, strides, dilations;
  Ints pads; ///< all begins, then all ends
};

/// Reads kernel_shape, strides, dilations; the kernel's shape may come from the weights (empty:
/// the attribute is required).
Window readWindow(Node &n, Value x, llvm::ArrayRef<int64_t> weightKernel);
/// Reads auto_pad and pads into `w` for a convolution or pooling over x.
void readPads(Node &n, Value x, Window &w);
/// The kernel dimensions of a weight operand, which must be static.
Ints kernelOf(Node &n, Value weight);

} // namespace nnopt::onnx

#endif

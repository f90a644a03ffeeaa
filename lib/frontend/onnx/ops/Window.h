//===- Window.h - sliding windows of convolution and pooling ----*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_OPS_WINDOW_H
#define NNOPT_FRONTEND_ONNX_OPS_WINDOW_H

#include "lib/frontend/onnx/Importer.h"

namespace nnopt::onnx {

/// The attributes all windowed operators share, complete and checked.
struct Window {
  Ints kernel, strides, dilations;
  Ints pads; ///< all begins, then all ends
  /// Padding as nn.pad takes it, for all dimensions of x, where it depends on sizes that are not known; then pads
  /// are 0, and `padded` gives what the window slides over.
  Value padding;
};

/// Reads kernel_shape, strides, dilations; the kernel's shape may come from the weights (empty:
/// the attribute is required).
Window readWindow(Node &n, Value x, llvm::ArrayRef<int64_t> weightKernel);
/// Reads auto_pad and pads into `w` for a convolution or pooling over x.
void readPads(Node &n, Value x, Window &w);
/// x with `w.padding` of `fill` (a scalar), x itself where there is none.
Value padded(Node &n, Value x, const Window &w, Value fill);
/// MaxPool of x by the node's attributes: the largest elements and, where `indices` is set, their positions.
Values maxPool(Node &n, Value x, bool indices);
/// AveragePool of x by the node's attributes.
Value averagePool(Node &n, Value x);
/// The kernel dimensions of a weight operand, where they are known.
std::optional<Ints> kernelOf(Node &n, Value weight);

/// An attribute with one positive entry for each spatial dimension.
Ints perDimension(Node &n, llvm::StringRef name, size_t spatial, int64_t otherwise);
/// How a window is padded. `Given`: by the attribute pads.
enum class AutoPad { Given, Valid, SameUpper, SameLower };
AutoPad autoPadOf(Node &n);
/// The attribute pads, all begins, then all ends.
Ints givenPads(Node &n, size_t spatial);
/// Padding of x with which windows of `extents` (i64 [1] each) are as many as SAME_UPPER or SAME_LOWER say:
/// an operand for nn.pad.
Value samePadding(Node &n, Value x, llvm::ArrayRef<Value> extents, llvm::ArrayRef<int64_t> strides, bool upper);

} // namespace nnopt::onnx

#endif

//===- Quantized.h - numbers as integers with a scale -----------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_OPS_QUANTIZED_H
#define NNOPT_FRONTEND_ONNX_OPS_QUANTIZED_H

#include "lib/frontend/onnx/Importer.h"

namespace nnopt::onnx {

/// (x - zero) * scale of type `to` (the type of the scale by default). Scale and zero point (may be
/// null) broadcast to x.
Value dequantize(Node &n, Value x, Value scale, Value zero, mlir::Type to = {});

/// The same with a scale and zero point for each `block` positions along `axis`.
Value dequantizeBlocks(Node &n, Value x, Value scale, Value zero, int64_t axis, int64_t block);

/// round(x / scale) + zero, clamped to the integer type `to`; the zero point may be null.
Value quantize(Node &n, Value x, Value scale, Value zero, mlir::Type to);

/// An i32 accumulator times `multiplier` (f32), rounded, plus the zero point, clamped to its type.
Value requantize(Node &n, Value accumulator, Value multiplier, Value zero);

/// One number as a scalar; one for each index of `axis` as it broadcasts to rank `rank`.
Value alongAxis(Node &n, Value v, int64_t axis, int64_t rank);

/// Elements of 2 or 4 bits, packed in the bytes of the last dimension of `bytes` from the low bits on,
/// as unsigned integers of that width: the last dimension is 8 / bits times as long. 8: bytes itself.
Value unpackBits(Node &n, Value bytes, int64_t bits);

/// a b with the zero points of integer operands (may be null; of any shape that MatMulInteger allows):
/// an i32 tensor.
Value integerProduct(Node &n, Value a, Value b, Value aZero, Value bZero);

/// The dynamic quantization of x to u8: the quantized values, their scale and zero point.
struct Quantized {
  Value values, scale, zero;
};
Quantized quantizeDynamically(Node &n, Value x);

} // namespace nnopt::onnx

#endif

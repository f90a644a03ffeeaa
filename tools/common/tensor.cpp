//===- tensor.cpp - tensors of the command line tools -----------------------===//

#include "tools/common/tensor.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace nnopt {

const TypeInfo *typeInfo(int onnxType) {
  static const TypeInfo types[OnnxTypeCount] = {
      {"undefined", {0, 0, 1}, 0, 'V'},
      {"float32", {kDLFloat, 32, 1}, 4, 'f'},
      {"uint8", {kDLUInt, 8, 1}, 1, 'u'},
      {"int8", {kDLInt, 8, 1}, 1, 'i'},
      {"uint16", {kDLUInt, 16, 1}, 2, 'u'},
      {"int16", {kDLInt, 16, 1}, 2, 'i'},
      {"int32", {kDLInt, 32, 1}, 4, 'i'},
      {"int64", {kDLInt, 64, 1}, 8, 'i'},
      {"string", {kDLOpaqueHandle, 64, 1}, 0, 'U'},
      {"bool", {6, 8, 1}, 1, 'b'},
      {"float16", {kDLFloat, 16, 1}, 2, 'f'},
      {"float64", {kDLFloat, 64, 1}, 8, 'f'},
      {"uint32", {kDLUInt, 32, 1}, 4, 'u'},
      {"uint64", {kDLUInt, 64, 1}, 8, 'u'},
      {"complex64", {5, 64, 1}, 8, 'c'},
      {"complex128", {5, 128, 1}, 16, 'c'},
      {"bfloat16", {kDLBfloat, 16, 1}, 2, 'V'},
      {"float8e4m3fn", {10, 8, 1}, 1, 'V'},
      {"float8e4m3fnuz", {11, 8, 1}, 1, 'V'},
      {"float8e5m2", {12, 8, 1}, 1, 'V'},
      {"float8e5m2fnuz", {13, 8, 1}, 1, 'V'},
      {"uint4", {kDLUInt, 4, 1}, 1, 'u'},
      {"int4", {kDLInt, 4, 1}, 1, 'i'},
      {"float4e2m1", {17, 4, 1}, 1, 'V'},
      {"float8e8m0", {14, 8, 1}, 1, 'V'},
      {"uint2", {kDLUInt, 2, 1}, 1, 'u'},
      {"int2", {kDLInt, 2, 1}, 1, 'i'},
  };
  return onnxType > 0 && onnxType < OnnxTypeCount ? &types[onnxType] : nullptr;
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? "," : "") + (shape[i] < 0 ? std::string("?") : std::to_string(shape[i]));
  return text + "]";
}

HostTensor::HostTensor(std::string tensorName, int onnxType, std::vector<int64_t> dims, Begins begins)
    : name(std::move(tensorName)), type(onnxType), shape(std::move(dims)) {
  const TypeInfo *info = typeInfo(type);
  int64_t size = info ? static_cast<int64_t>(info->width) : 0;
  bool ok = info != nullptr;
  for (int64_t d : shape)
    if (d < 0 || __builtin_mul_overflow(size, d, &size))
      ok = false;
  ok = ok && size <= int64_t(1) << 46;
  size_t room = ok ? (static_cast<size_t>(size) + 127) / 64 * 64 : 0;
  if (ok)
    memory.reset(static_cast<char *>(std::aligned_alloc(64, room)));
  if (!memory)
    throw ToolError(1, "tensor '" + name + "': out of memory for shape " + shapeText(shape));
  if (begins == Begins::Zero)
    std::memset(memory.get(), 0, room);
}

int64_t HostTensor::count() const {
  int64_t n = 1;
  for (int64_t d : shape)
    n *= d;
  return n;
}

size_t HostTensor::bytes() const { return static_cast<size_t>(count()) * typeInfo(type)->width; }

DLTensor *HostTensor::dl() {
  view = DLTensor{};
  view.data = memory.get();
  view.device = {kDLCPU, 0};
  view.ndim = static_cast<int32_t>(shape.size());
  view.dtype = typeInfo(type)->dl;
  view.shape = shape.data();
  return &view;
}

/// A small float: sign, exponent and mantissa bits with the given bias; IEEE-like infinities and
/// NaN only where `ieee`.
static double smallFloat(unsigned bits, int exponentBits, int mantissaBits, int bias, bool ieee) {
  unsigned mantissa = bits & ((1u << mantissaBits) - 1);
  int exponent = static_cast<int>(bits >> mantissaBits & ((1u << exponentBits) - 1));
  double sign = bits >> (exponentBits + mantissaBits) & 1 ? -1 : 1;
  if (ieee && exponent == (1 << exponentBits) - 1)
    return mantissa ? std::numeric_limits<double>::quiet_NaN() : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(mantissa, 1 - bias - mantissaBits);
  return sign * std::ldexp(mantissa + (1u << mantissaBits), exponent - bias - mantissaBits);
}

template <typename T> static double load(const char *data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return static_cast<double>(value);
}

double element(int onnxType, const char *data, int64_t i) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  auto byte = [&] { return static_cast<unsigned>(static_cast<unsigned char>(data[i])); };
  auto half = [&] { return static_cast<unsigned>(load<uint16_t>(data, i)); };
  switch (onnxType) {
  case OnnxFloat:
    return load<float>(data, i);
  case OnnxDouble:
    return load<double>(data, i);
  case OnnxUInt8:
  case OnnxBool:
  case OnnxUInt4:
  case OnnxUInt2:
    return load<uint8_t>(data, i);
  case OnnxInt8:
  case OnnxInt4:
  case OnnxInt2:
    return load<int8_t>(data, i);
  case OnnxUInt16:
    return load<uint16_t>(data, i);
  case OnnxInt16:
    return load<int16_t>(data, i);
  case OnnxInt32:
    return load<int32_t>(data, i);
  case OnnxUInt32:
    return load<uint32_t>(data, i);
  case OnnxInt64:
    return load<int64_t>(data, i);
  case OnnxUInt64:
    return load<uint64_t>(data, i);
  case OnnxComplex64:
    return load<float>(data, 2 * i);
  case OnnxComplex128:
    return load<double>(data, 2 * i);
  case OnnxFloat16:
    return smallFloat(half(), 5, 10, 15, true);
  case OnnxBFloat16:
    return smallFloat(half(), 8, 7, 127, true);
  case OnnxFloat8E4M3FN:
    return (byte() & 127) == 127 ? nan : smallFloat(byte(), 4, 3, 7, false);
  case OnnxFloat8E4M3FNUZ:
    return byte() == 128 ? nan : smallFloat(byte(), 4, 3, 8, false);
  case OnnxFloat8E5M2:
    return smallFloat(byte(), 5, 2, 15, true);
  case OnnxFloat8E5M2FNUZ:
    return byte() == 128 ? nan : smallFloat(byte(), 5, 2, 16, false);
  case OnnxFloat4E2M1:
    return smallFloat(byte() & 15, 2, 1, 1, false);
  case OnnxFloat8E8M0:
    return byte() == 255 ? nan : std::ldexp(1.0, static_cast<int>(byte()) - 127);
  }
  return nan;
}

double HostTensor::elementAt(int64_t i) const { return element(type, memory.get(), i); }

uint16_t toBFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 64);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t toFloat16(float value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  double magnitude = std::fabs(value);
  if (std::isnan(value))
    return sign | 0x7e00;
  if (magnitude >= 65520)
    return sign | 0x7c00;
  // Numbers of one binade are multiples of the same unit; nearbyint rounds to even.
  int exponent = magnitude < 6.103515625e-05 ? -14 : std::ilogb(magnitude);
  double units = std::nearbyint(std::ldexp(magnitude, 10 - exponent));
  uint32_t bits = static_cast<uint32_t>(units) + (static_cast<uint32_t>(exponent + 14) << 10);
  return sign | static_cast<uint16_t>(bits);
}

} // namespace nnopt

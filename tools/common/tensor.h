//===- tensor.h - tensors of the command line tools -------------*- C++ -*-===//
#ifndef NNOPT_TOOLS_COMMON_TENSOR_H
#define NNOPT_TOOLS_COMMON_TENSOR_H

#include "nnopt/runtime.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace nnopt {

/// What ends a tool: message and exit status.
class ToolError : public std::runtime_error {
public:
  ToolError(int status, const std::string &message)
      : std::runtime_error(message), exitStatus(status) {}
  int status() const { return exitStatus; }

private:
  int exitStatus;
};

/// Numbers of onnx.TensorProto.DataType.
enum OnnxType {
  OnnxFloat = 1,
  OnnxUInt8,
  OnnxInt8,
  OnnxUInt16,
  OnnxInt16,
  OnnxInt32,
  OnnxInt64,
  OnnxString,
  OnnxBool,
  OnnxFloat16,
  OnnxDouble,
  OnnxUInt32,
  OnnxUInt64,
  OnnxComplex64,
  OnnxComplex128,
  OnnxBFloat16,
  OnnxFloat8E4M3FN,
  OnnxFloat8E4M3FNUZ,
  OnnxFloat8E5M2,
  OnnxFloat8E5M2FNUZ,
  OnnxUInt4,
  OnnxInt4,
  OnnxFloat4E2M1,
  OnnxFloat8E8M0,
  OnnxUInt2,
  OnnxInt2,
  OnnxTypeCount
};

/// Name, DLPack type, width in bytes (sub-byte types: one element a byte; strings: 0) and numpy
/// kind.
struct TypeInfo {
  const char *name;
  DLDataType dl;
  size_t width;
  char kind;
};
/// Null for numbers that are no type.
const TypeInfo *typeInfo(int onnxType);

class HostValue;

/// A compact tensor with memory aligned to 64 bytes.
struct HostTensor {
  std::string name;
  int type = OnnxFloat;
  std::vector<int64_t> shape;
  /// Of what is no tensor of numbers: the value; there are no elements then.
  std::shared_ptr<HostValue> value;

  HostTensor() = default;
  enum class Begins { Zero, Anything };
  /// Zeros, or anything where all of it is written next. Throws ToolError when out of memory.
  HostTensor(std::string name, int type, std::vector<int64_t> shape, Begins begins = Begins::Zero);
  int64_t count() const;
  size_t bytes() const;
  char *data() { return memory.get(); }
  const char *data() const { return memory.get(); }
  /// Valid as long as this object stays in place.
  DLTensor *dl();
  /// Element as a double; complex numbers give their real part.
  double at(int64_t i) const {
    return type == OnnxFloat ? reinterpret_cast<const float *>(memory.get())[i] : elementAt(i);
  }

private:
  double elementAt(int64_t i) const;
  struct Free {
    void operator()(char *p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> memory;
  DLTensor view{};
};

/// "[2,3]".
std::string shapeText(const std::vector<int64_t> &shape);
/// Element of a tensor of that ONNX type in memory, as a double.
double element(int onnxType, const char *data, int64_t i);
/// The float16 or bfloat16 nearest to a value (round to even).
uint16_t toFloat16(float value);
uint16_t toBFloat16(float value);

} // namespace nnopt

#endif

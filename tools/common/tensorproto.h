//===- tensorproto.h - reading ONNX test data -------------------*- C++ -*-===//
//
// The files input_N.pb and output_N.pb of ONNX test data hold one onnx.TensorProto each, or an
// onnx.SequenceProto or onnx.OptionalProto where the model has such a value. The messages are so simple (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that its wire
// format is read directly: tools that run models need no protobuf.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_TOOLS_COMMON_TENSORPROTO_H
#define NNOPT_TOOLS_COMMON_TENSORPROTO_H

#include "tools/common/tensor.h"

#include <string>

namespace nnopt {

/// Reads a serialized onnx.TensorProto. Throws ToolError (exit 3 for damaged files).
HostTensor readTensorProto(const std::string &path);
/// The same from memory.
HostTensor parseTensorProto(const char *data, size_t size, const std::string &name);
/// Reads what an input or output of a model is.
HostTensor readValueProto(const std::string &path, const nnopt_tensor_info &info);
/// The same from memory.
HostTensor parseValueProto(const char *data, size_t size, const std::string &name, const nnopt_tensor_info &info);

} // namespace nnopt

#endif

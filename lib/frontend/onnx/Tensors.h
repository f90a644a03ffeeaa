//===- Tensors.h - ONNX element types and tensors ---------------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_TENSORS_H
#define NNOPT_FRONTEND_ONNX_TENSORS_H

#include "lib/frontend/onnx/Proto.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>
#include <string>

namespace nnopt::onnx {

using mlir::Type;
class ModelFile;

/// The element type for a TensorProto.DataType; null for complex and sub-byte types.
mlir::Type elementType(mlir::MLIRContext *ctx, int32_t dataType);
/// The type that a value of the graph is declared with: a tensor type (unranked without a shape) or that of a
/// host value; null for types that are not supported.
mlir::Type valueType(mlir::MLIRContext *ctx, const pb::TypeProto &type);
/// A constant of strings.
mlir::ElementsAttr makeStrings(mlir::MLIRContext *ctx, llvm::ArrayRef<int64_t> shape,
                               llvm::ArrayRef<std::string> values);
/// The name ONNX gives a data type: `float16`, or `type 99`.
std::string dataTypeName(int32_t dataType);

/// Number of elements; nothing when a dimension is negative or the tensor would have 2^60 or more
/// elements.
std::optional<int64_t> elementCount(llvm::ArrayRef<int64_t> dims);

/// What was wrong with a tensor.
struct TensorError {
  bool unsupported = false; ///< an element type that is not supported; else invalid
  std::string text;
};

/// The constant of a tensor: a view into the mapped files where its bytes lie there.
mlir::ElementsAttr makeTensor(mlir::MLIRContext *ctx, ModelFile &file,
                              const pb::TensorProto &tensor, llvm::StringRef name,
                              TensorError &error);
/// A sparse tensor as a dense constant.
mlir::ElementsAttr makeTensor(mlir::MLIRContext *ctx, ModelFile &file,
                              const pb::SparseTensorProto &tensor, llvm::StringRef name,
                              TensorError &error);

} // namespace nnopt::onnx

#endif

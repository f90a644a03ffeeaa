//===- Constants.h - reading and making constant tensors --------*- C++ -*-===//
#ifndef NNOPT_DIALECTS_NN_CONSTANTS_H
#define NNOPT_DIALECTS_NN_CONSTANTS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include <optional>
#include <string>

namespace nnopt::nn {

/// Bytes of one element in memory: the ONNX width, 1 for what is narrower, 0 for host values.
int64_t elementBytes(mlir::Type type);

/// The bytes of a constant tensor, row-major, little endian, bool and narrower than a byte one byte
/// each (signed integers sign-extended): a view into the mapped model file or a resource blob where possible, an own copy for `dense` attributes.
class ConstantData {
public:
  /// Null for attributes that are not dense or dense_resource.
  static std::optional<ConstantData> get(mlir::Attribute attr);
  /// Of a value defined by nn.constant.
  static std::optional<ConstantData> get(mlir::Value value);

  mlir::RankedTensorType type() const { return tensorType; }
  llvm::ArrayRef<char> bytes() const { return owned.empty() ? view : llvm::ArrayRef<char>(owned.data(), owned.size()); }
  int64_t size() const { return tensorType.getNumElements(); }
  /// Element i converted to double / int64 (any numeric element type).
  double asDouble(int64_t i) const;
  int64_t asInt(int64_t i) const;
  /// All elements as float.
  std::vector<float> asFloats() const;

private:
  mlir::RankedTensorType tensorType;
  llvm::ArrayRef<char> view;
  std::vector<char> owned;
};

/// A constant attribute from raw bytes (copied): `dense` up to 64 elements, else a heap blob.
mlir::ElementsAttr makeConstant(mlir::RankedTensorType type, llvm::ArrayRef<char> bytes, llvm::StringRef name);
/// A constant attribute over bytes that outlive the context (the mapped model file): not copied.
mlir::ElementsAttr makeConstantView(mlir::RankedTensorType type, llvm::ArrayRef<char> bytes, llvm::StringRef name);
mlir::ElementsAttr makeFloats(mlir::MLIRContext *ctx, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<float> values, llvm::StringRef name);
/// f16 elements, rounded from floats. Finite numbers stay finite: those beyond the range become the largest ones.
mlir::ElementsAttr makeHalves(mlir::MLIRContext *ctx, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<float> values, llvm::StringRef name);
mlir::ElementsAttr makeInts(mlir::MLIRContext *ctx, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> values);

} // namespace nnopt::nn

#endif

//===- ShapeInference.h - what shape functions see --------------*- C++ -*-===//
#ifndef NNOPT_DIALECTS_NN_SHAPEINFERENCE_H
#define NNOPT_DIALECTS_NN_SHAPEINFERENCE_H

#include "dialects/nn/Dim.h"
#include "mlir/IR/Operation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseMap.h"

namespace nnopt::nn {

using Dims = llvm::SmallVector<Dim, 6>;

/// What is known of a value: its element type, its dimensions, and for integer (or bool) tensors
/// of at most 1024 elements with known element count the elements in row-major order. Of a value that
/// is no tensor (sequence, optional, map) `elementType` is the type, and there are no dimensions.
struct ValueInfo {
  mlir::Type elementType;
  Dims dims;
  std::optional<llvm::SmallVector<Dim, 8>> content;
};

/// Facts about values, filled by shape functions in the order of the graph.
class ShapeContext {
public:
  explicit ShapeContext(DimContext &dims) : dims_(dims) {}

  DimContext &dimContext() { return dims_; }
  Dim constant(int64_t v) { return dims_.constant(v); }

  /// Facts about a value. A value nobody has described gets its dimensions from its type, each
  /// `?` a fresh symbol; constants also get their content. Arguments of a function name their
  /// symbols in the argument attribute `nn.dims`: an array with a string (the symbol, the same
  /// everywhere) or an integer (a size) for each dimension; `nn.name` is the ONNX name.
  const ValueInfo &info(mlir::Value v);
  llvm::ArrayRef<Dim> dims(mlir::Value v) { return info(v).dims; }
  unsigned rank(mlir::Value v) { return info(v).dims.size(); }
  /// Elements of a small integer tensor where all of them are known as expressions, else null.
  const llvm::SmallVector<Dim, 8> *content(mlir::Value v);
  /// The elements where they are all constants.
  std::optional<llvm::SmallVector<int64_t>> constantContent(mlir::Value v);
  /// The only element of a one-element tensor, null when unknown.
  Dim scalarContent(mlir::Value v);

  void set(mlir::Value v, mlir::Type elementType, llvm::ArrayRef<Dim> dims);
  void setContent(mlir::Value v, llvm::ArrayRef<Dim> content);
  bool has(mlir::Value v) const { return infos.contains(v); }
  void erase(mlir::Value v) { infos.erase(v); }

  /// A dimension that depends on data; `why` becomes part of its name.
  Dim unknown(llvm::StringRef why) { return dims_.freshSymbol(why); }

  /// Runs op's shape function (a no-op for operations without one) and sets the result types to
  /// what was found, so that an operation may be created with any placeholder as result type.
  /// Sizes that depend on data keep what the result type says where its rank is right. Fails with
  /// a diagnostic on `op`.
  mlir::LogicalResult infer(mlir::Operation *op);
  /// Runs infer() over all operations of a region in order, nested regions included. Functions
  /// inside get their type refined (refineFunctionType).
  mlir::LogicalResult inferRegion(mlir::Region &region);

private:
  DimContext &dims_;
  /// By pointer: references that info() gave out stay valid while the map grows.
  llvm::DenseMap<mlir::Value, std::unique_ptr<ValueInfo>> infos;
};

/// Shared shape function of elementwise operations.
mlir::LogicalResult inferElementwise(mlir::Operation *op, ShapeContext &ctx);
/// Broadcast of two shapes; null dims inside on contradiction.
std::optional<Dims> broadcastDims(ShapeContext &ctx, llvm::ArrayRef<Dim> a, llvm::ArrayRef<Dim> b);

/// The default of ShapeFunction::isShapeOperand: knows the operations of this dialect.
bool isShapeOperandOf(mlir::Operation *op, unsigned index);
/// Makes the function type agree with the types of the entry block arguments and of the operands
/// of its return, after infer() has refined them.
void refineFunctionType(mlir::FunctionOpInterface func);

} // namespace nnopt::nn

#endif

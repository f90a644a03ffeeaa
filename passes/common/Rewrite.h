//===- Rewrite.h - what the passes share ------------------------*- C++ -*-===//
//
// Symbolic shapes that follow a rewriter, remarks, and constants as numbers.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_REWRITE_H
#define NNOPT_PASSES_COMMON_REWRITE_H

#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"

namespace nnopt {

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// Symbolic shapes of a function. As a listener of a rewriter it types every operation that the
/// rewriter creates (so that any type may be given as result type) and forgets erased values. An
/// operation that is modified keeps the shapes of its results: a rewrite never changes them.
class FuncShapes : public mlir::RewriterBase::Listener {
public:
  explicit FuncShapes(mlir::func::FuncOp func);

  /// Computes the shapes of all values from the arguments on; fails with a diagnostic.
  mlir::LogicalResult infer();

  mlir::ArrayRef<nn::Dim> dims(mlir::Value v) { return ctx.dims(v); }
  /// Whether two values are proven to have the same dimensions.
  bool sameDims(mlir::Value a, mlir::Value b) { return dims(a) == dims(b); }
  bool isOneElement(mlir::Value v);

  void notifyOperationInserted(mlir::Operation *op, mlir::OpBuilder::InsertPoint previous) override;
  void notifyOperationErased(mlir::Operation *op) override;

private:
  nn::DimContext dimContext;

public:
  nn::ShapeContext ctx;

private:
  mlir::func::FuncOp func;
};

/// A pattern that sees symbolic shapes.
template <typename OpTy> struct ShapePattern : mlir::OpRewritePattern<OpTy> {
  ShapePattern(mlir::MLIRContext *ctx, FuncShapes &shapes) : mlir::OpRewritePattern<OpTy>(ctx), shapes(shapes) {}
  FuncShapes &shapes;
};

/// Applies patterns to `func` until none matches, with `shapes` as the listener.
/// `topDown`: producers before their users.
void applyShapePatterns(mlir::func::FuncOp func, FuncShapes &shapes, mlir::RewritePatternSet patterns,
                        bool topDown = false);

/// A result type that a FuncShapes listener replaces: element type `elementType`, no dimensions.
inline mlir::RankedTensorType untyped(mlir::Type elementType) {
  return mlir::RankedTensorType::get({}, elementType);
}
/// The type itself of a value that is no tensor.
inline mlir::Type elementTypeOf(mlir::Value v) { return nn::elementTypeOf(v.getType()); }
inline int64_t rankOf(mlir::Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType()).getRank();
}
inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType()).getShape();
}

/// The location of an operation that stands for all of `ops`.
mlir::Location fusedLoc(llvm::ArrayRef<mlir::Operation *> ops);

/// A reshape of x to dimensions `to` (x itself where it has them); null where the target has no constant
/// form.
mlir::Value reshapeTo(mlir::Value x, llvm::ArrayRef<nn::Dim> to, mlir::OpBuilder &rewriter, FuncShapes &shapes,
                      mlir::Location loc);

/// Whether `op` maps elements at equal (broadcast) positions: Elementwise or nn.map.
inline bool isElementwise(mlir::Operation *op) {
  return mlir::isa_and_nonnull<nn::Elementwise, nn::MapOp>(op);
}

/// Whether a linear operation is of 32-bit floats and has no epilogue: one that may still be narrowed or quantized.
bool isPlainF32(nn::LinearOp op);

/// Erases operations of `func` whose results nobody uses, from the end on. Returns how many.
int64_t eraseDeadOps(mlir::func::FuncOp func, mlir::RewriterBase &rewriter);

//===----------------------------------------------------------------------===//
// Remarks: what a pass did (passed) or did not do and why (missed)
//===----------------------------------------------------------------------===//

/// `pass` is the flag of the pass; it is the category remarks are filtered by.
inline mlir::remark::detail::InFlightRemark passedRemark(mlir::Location loc, llvm::StringRef pass,
                                                         llvm::StringRef name) {
  return mlir::remark::passed(loc, mlir::remark::RemarkOpts::name(name).category(pass));
}
inline mlir::remark::detail::InFlightRemark missedRemark(mlir::Location loc, llvm::StringRef pass,
                                                         llvm::StringRef name) {
  return mlir::remark::missed(loc, mlir::remark::RemarkOpts::name(name).category(pass));
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

inline nn::ConstantOp constantOf(mlir::Value v) {
  return v ? v.getDefiningOp<nn::ConstantOp>() : nn::ConstantOp();
}
inline bool isConstant(mlir::Value v) { return bool(constantOf(v)); }

/// All elements of a constant as doubles; nothing for other values and non-numeric constants.
std::optional<std::vector<double>> numbersOf(mlir::Value v);
/// The value of a constant of one element (any rank).
std::optional<double> scalarOf(mlir::Value v);
/// Whether `v` is a one-element constant equal to `expected`, up to the rounding of its type.
bool isScalar(mlir::Value v, double expected);

/// A constant of f32 or f64 elements, rounded from `values`.
mlir::ElementsAttr makeNumbers(mlir::RankedTensorType type, llvm::ArrayRef<double> values,
                               llvm::StringRef name);
/// nn.constant of it at the builder's insertion point.
mlir::Value makeNumbersOp(mlir::OpBuilder &b, mlir::Location loc, mlir::Type elementType,
                          llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<double> values,
                          llvm::StringRef name);
mlir::Value makeIntsOp(mlir::OpBuilder &b, mlir::Location loc, llvm::ArrayRef<int64_t> values);

/// The elements of `v` along dimension `axis` of a result of `rank` dimensions and `size` elements
/// along it, where `v` is a constant that, broadcast to that result, depends on that dimension
/// only.
std::optional<std::vector<double>> vectorAlong(mlir::Value v, int64_t axis, int64_t rank,
                                               int64_t size);

/// `bytes` of a row-major tensor with its dimensions permuted: result dimension i is perm[i].
std::vector<char> transposeBytes(llvm::ArrayRef<char> bytes, llvm::ArrayRef<int64_t> shape,
                                 llvm::ArrayRef<int64_t> perm, int64_t elementBytes);

/// perm with perm[inverse[i]] == i.
llvm::SmallVector<int64_t> invertPermutation(llvm::ArrayRef<int64_t> perm);
bool isIdentity(llvm::ArrayRef<int64_t> perm);

} // namespace nnopt

#endif

//===- ShapeHelpers.h - shared by the shape functions -----------*- C++ -*-===//
//
// Private to dialects/nn/ShapeFunctions*.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_SHAPEHELPERS_H
#define NNOPT_DIALECTS_NN_SHAPEHELPERS_H

#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"

namespace nnopt::nn::shape {

/// Content is tracked for tensors of at most this many elements.
constexpr int64_t kMaxContent = 1024;

/// `[batch, 3, 224]`.
std::string str(llvm::ArrayRef<Dim> dims);

/// Whether two dimensions are different for all sizes.
bool differ(Dim a, Dim b);

/// Of two dimensions that must be equal the one that says more: a constant, else the first.
inline Dim unify(Dim a, Dim b) { return b.isConst() ? b : a; }

/// As many elements as the dims say, where all are constant and at most kMaxContent.
std::optional<int64_t> smallCount(llvm::ArrayRef<Dim> dims);

/// Whether elements of this type are tracked as content.
inline bool hasContentType(mlir::Type t) { return llvm::isa<mlir::IntegerType>(t); }

/// Dimension `i` of result `r`, which depends on data: what the result type says where it has rank
/// `rank` and is static there, else a fresh symbol.
Dim unknownDim(ShapeContext &ctx, mlir::Operation *op, unsigned r, unsigned rank, unsigned i,
               llvm::StringRef why);

/// Elements of a small integer vector, null where not known; looks through concat and reshapes for
/// the known ones. Nothing when not even the count is known.
std::optional<Dims> partialContent(ShapeContext &ctx, mlir::Value v);

/// Copies facts of `from` to `to`.
void copyInfo(ShapeContext &ctx, mlir::Value from, mlir::Value to);

/// Fails with an error when `axis` is not in [0, rank).
mlir::LogicalResult checkAxis(mlir::Operation *op, int64_t axis, int64_t rank);

/// Fails with an error when v has another rank.
mlir::LogicalResult checkRank(mlir::Operation *op, ShapeContext &ctx, mlir::Value v,
                              llvm::StringRef name, unsigned rank);

/// Fails with an error when the dims are provably different; `what` says of what they are.
mlir::LogicalResult checkSame(mlir::Operation *op, Dim a, Dim b, llvm::StringRef what);

/// Row-major strides of constant dims.
llvm::SmallVector<int64_t> rowMajorStrides(llvm::ArrayRef<Dim> dims);
/// Position of flat index `flat` in a tensor of constant dims.
llvm::SmallVector<int64_t> unflatten(int64_t flat, llvm::ArrayRef<Dim> dims);

/// Whether `d` mentions a symbol that was created when `count` symbols existed or later.
bool mentionsNewSymbol(Dim d, DimContext &ctx, size_t count);

} // namespace nnopt::nn::shape

#endif

//===- LinearLayer.h - a linear operation as a matrix -----------*- C++ -*-===//
//
// What techniques that change weights see of a convolution or matrix product: y = W x + b, a row of
// W for each out channel, x a column of the activation (of a convolution: the patch under the
// kernel).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_LINEARLAYER_H
#define NNOPT_LIB_COMPRESS_LINEARLAYER_H

#include "lib/compress/Matrix.h"
#include "passes/common/Rewrite.h"
#include "tools/common/tensor.h"

namespace nnopt::compress {

struct LayerWeights {
  Matrix weights; // [out channels, columns]
  Vector bias;    // [out channels]
};

/// Whether convolutions with groups are layers too: each group a matrix of its own, whose columns
/// only the out channels of the group multiply.
enum class Groups { Refused, Taken };

/// The other operand of a sum of which `result` is one, where nothing else reads `result` and that
/// operand, of the same shape, comes before it in the graph: the branch around a residual block.
/// Null otherwise.
mlir::Value besideInSum(mlir::Value result);

/// Every `step`-th row of a tensor of floats; a row is as long as its last dimension.
Matrix everyRow(const HostTensor &tensor, int64_t step);

class LinearLayer {
public:
  /// Nothing, with the reason, for what is no matrix: grouped and transposed convolutions, batches
  /// of weights, weights that are not constant, other types than f32, operations with an epilogue.
  static std::optional<LinearLayer> get(mlir::Operation *op, std::string *why = nullptr,
                                        Groups groups = Groups::Refused);

  nn::LinearOp op() const { return mlir::cast<nn::LinearOp>(operation); }
  /// The value that the columns are taken from.
  mlir::Value activation() const { return op().getActivation(); }
  int64_t outChannels() const { return out; }
  /// In channels times elements of the kernel, in this order.
  int64_t columns() const { return in * kernelSize; }
  /// Of a group.
  int64_t inChannels() const { return in; }
  int64_t groups() const { return groupCount; }
  /// Elements of the kernel; 1 for matrix products.
  int64_t kernel() const { return kernelSize; }

  /// The weights and the bias (zeros where there is none).
  LayerWeights weights() const;
  /// Weights in the order in which the operation holds them.
  std::vector<float> inOrder(const Matrix &weights) const;
  /// The same operation with other weights and bias, made beside it.
  mlir::Value withWeights(mlir::RewriterBase &rewriter, const LayerWeights &weights) const;
  /// Rows that the weights of a group multiply: x' of every `step`-th position of an activation,
  /// [rows, columns].
  Matrix rowsOf(const HostTensor &activation, int64_t step, int64_t group = 0) const;
  /// What belongs to these rows in a tensor of the shape of the result, [rows, out channels].
  Matrix resultRowsOf(const HostTensor &result, int64_t step) const;
  /// How many rows an activation of that shape has.
  int64_t rowCount(const std::vector<int64_t> &shape) const;
  /// Whether two layers that read one value have the same columns.
  bool sameColumns(const LinearLayer &other) const;

private:
  mlir::Operation *operation = nullptr;
  int64_t out = 0, in = 0, kernelSize = 1, groupCount = 1;
  bool outLast = false; // the weight is [columns, out]
};

} // namespace nnopt::compress

#endif

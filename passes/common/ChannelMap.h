//===- ChannelMap.h - affine maps of channels -------------------*- C++ -*-===//
//
// y = scale[c] * x + shift[c] where c is the position along one dimension: batch normalization
// (Ioffe and Szegedy 2015, section 3.1, with fixed statistics), however it is spelled, and every
// chain or sum of such maps of one value.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_COMMON_CHANNELMAP_H
#define NNOPT_PASSES_COMMON_CHANNELMAP_H

#include "passes/common/Rewrite.h"

namespace nnopt {

struct ChannelMap {
  /// The dimension that scale and shift go along; kNumbers: they are one number each.
  static constexpr int64_t kNumbers = -1;
  int64_t axis = kNumbers;
  std::vector<double> scale = {1}, shift = {0};

  size_t size() const { return scale.size(); }
  bool isScaled() const;
  bool isShifted() const;
  bool isIdentity() const { return !isScaled() && !isShifted(); }
  /// Scale and shift for each of `n` channels.
  std::vector<double> scales(int64_t n) const;
  std::vector<double> shifts(int64_t n) const;
  /// The same map along another dimension; along none where all channels have the same numbers.
  ChannelMap along(int64_t newAxis) const;
  /// Channels [start, start + n * step) of it.
  ChannelMap channels(int64_t start, int64_t step, int64_t n) const;
};

/// outer(inner(x)), where the two go along the same dimension.
std::optional<ChannelMap> compose(const ChannelMap &outer, const ChannelMap &inner);
/// a(x) + sign * b(x).
std::optional<ChannelMap> sum(const ChannelMap &a, const ChannelMap &b, double sign);

/// The map of a reshape's result, given that of its operand: dimensions `from` become `to`. Nothing
/// where no single dimension of the result tells the channel.
std::optional<ChannelMap> reshapeMap(const ChannelMap &map, llvm::ArrayRef<nn::Dim> from,
                                     llvm::ArrayRef<nn::Dim> to);

/// A value that is an affine map of another one.
struct AffineChain {
  /// The last value of the chain and the one it is computed from.
  mlir::Value y, x;
  ChannelMap map;
  /// Operations from x to y in program order; nobody else uses what they compute, but for y.
  llvm::SmallVector<mlir::Operation *> ops;
  bool hasBatchNorm = false;
};

/// The longest chain that ends in `y`; without operations where y is not computed by an affine map,
/// `why` then says what is wrong with an operation that looks like one.
AffineChain readAffine(mlir::Value y, std::string &why);

/// The map of a batch normalization, or why there is none.
std::string readBatchNorm(nn::BatchNormOp op, ChannelMap &map);

/// The last operations of all longest chains of a function in program order, and of everything that
/// looks like a chain: batch normalizations and arithmetic with a constant. Rewriting one chain may
/// change others: read each when its turn comes.
llvm::SmallVector<mlir::Operation *> collectChains(mlir::func::FuncOp func);

/// Multiplication and addition by constants that compute `map` of x; only those that do something.
mlir::Value makeAffine(mlir::RewriterBase &rewriter, mlir::Location loc, mlir::Value x,
                       const ChannelMap &map);

} // namespace nnopt

#endif

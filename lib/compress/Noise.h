//===- Noise.h - ranges of values without data ------------------*- C++ -*-===//
//
// A model that comes without data can be fed with noise, N(0, 1), and what its batch normalizations
// know of the data that it was trained with makes up for part of what noise is not: where there was
// a normalization, each channel gets the mean and the deviation that it says, whatever the noise
// gave (Cai et al. 2020, "ZeroQ", section 3, without the optimized inputs).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_NOISE_H
#define NNOPT_LIB_COMPRESS_NOISE_H

#include "passes/common/ChannelMoments.h"

namespace nnopt::compress {

/// Samples of noise: enough for ranges of channels.
constexpr int64_t kNoiseSamples = 64;

/// Moments of the results of batch normalizations, by the name of the ONNX node.
using MomentsByName = llvm::StringMap<ChannelMoments>;
MomentsByName momentsOfNormalizations(mlir::func::FuncOp func);
/// The operations that compute these results after the graph passes, in order.
std::vector<std::pair<mlir::Operation *, const ChannelMoments *>> normalizedBy(mlir::func::FuncOp func, const MomentsByName &moments);
/// Notes the moments on them. Returns how many there are.
int64_t noteMoments(mlir::func::FuncOp func, const MomentsByName &moments);
/// Gives results with moments these moments in each run, as a batch normalization in training does.
void normalizeByBatch(mlir::func::FuncOp func);

} // namespace nnopt::compress

#endif

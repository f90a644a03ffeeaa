//===- ChannelScales.h - channels of a value on one grid --------*- C++ -*-===//
//
// One scale for a tensor leaves little of channels that are much smaller than the largest. With
// factors s, W x = (W diag(s)) (diag(1/s) x): the value is divided where it is rounded, and the
// weights of those that read it are multiplied ahead of time (Xiao et al. 2023, "SmoothQuant",
// section 4).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_CHANNELSCALES_H
#define NNOPT_LIB_COMPRESS_CHANNELSCALES_H

#include "lib/compress/LinearLayer.h"
#include "lib/compress/Statistics.h"

namespace nnopt::compress {

/// Factors for the in channels of layers that read one value, whose channels `statistics` knows:
/// those with the least error that rounding the value and the weights to 8 bits brings to the
/// results. Empty where none are better than no factors.
std::vector<double> channelScales(llvm::ArrayRef<LinearLayer> readers,
                                  const TensorStatistics &statistics);

} // namespace nnopt::compress

#endif

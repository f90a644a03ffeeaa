//===- ConvWindow.h - what convolutions of channels-last images read -*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CUDA_CONVWINDOW_H
#define NNOPT_LIB_CODEGEN_CUDA_CONVWINDOW_H

#include "lib/codegen/cpu/contraction/ConvShape.h"
#include "lib/codegen/cuda/Kernel.h"

namespace nnopt::cuda {

/// Where a position of the result begins in the input.
struct Window {
  Ix image;                       // offset of the image
  llvm::SmallVector<Ix, 3> start; // along each spatial dimension, may be negative
};

struct Images {
  Kernel &k;
  const cpu::ConvShape &s;

  nn::Dims resultDims() const {
    nn::Dims dims{s.batch};
    for (const cpu::ConvDim &d : s.dims)
      dims.push_back(d.out);
    return dims;
  }
  /// Elements between neighbours along spatial dimension d.
  nn::Dim step(size_t d) const {
    nn::Dim step = k.lowering.c(s.inChannels());
    for (size_t e = d + 1; e < s.dims.size(); ++e)
      step = step * s.dims[e].in;
    return step;
  }
  Window window(Ix position) const {
    llvm::SmallVector<Ix> at = k.delinearize(position, resultDims());
    Window w{at[0] * k.dim(step(0) * s.dims[0].in), {}};
    for (auto [i, d] : llvm::enumerate(s.dims))
      w.start.push_back(at[i + 1] * d.inStep + d.first);
    return w;
  }
  /// The offset of tap t of a window, and whether it is inside of the image (null: always).
  std::pair<Ix, mlir::Value> tap(const Window &w, llvm::ArrayRef<Ix> t) const {
    Ix offset = w.image;
    mlir::Value inside;
    for (auto [i, d] : llvm::enumerate(s.dims)) {
      Ix at = w.start[i] + t[i] * d.tapStep;
      if (d.checked) {
        mlir::Value in = at.inRange(k.dim(d.in));
        inside = inside ? k.land(inside, in) : in;
      }
      offset = offset + at * k.dim(step(i));
    }
    return {offset, inside};
  }
  nn::Dims tapDims() const {
    nn::Dims dims;
    for (const cpu::ConvDim &d : s.dims)
      dims.push_back(k.lowering.c(d.taps));
    return dims;
  }
};

} // namespace nnopt::cuda

#endif

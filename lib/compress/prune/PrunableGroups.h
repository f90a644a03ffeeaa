//===- PrunableGroups.h - what structured pruning can remove ----*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_PRUNABLEGROUPS_H
#define NNOPT_LIB_COMPRESS_PRUNE_PRUNABLEGROUPS_H

#include "lib/compress/LinearLayer.h"
#include "lib/compress/Noise.h"
#include "lib/compress/Technique.h"
#include "passes/common/AxisGroups.h"

namespace nnopt::compress {

/// A group of units whose values are read by layers with constant weights only: without a unit
/// these are solved anew.
struct PrunableGroup {
  unsigned group; // of AxisGroups
  std::string name;
  int64_t units;
  /// How many units kernels like to lose at once.
  int64_t step;
  struct Reader {
    size_t layer;                              // of the layers
    std::vector<std::vector<int64_t>> columns; // of its weights, for each unit
  };
  std::vector<Reader> readers;
  Matrix producers; // constants that make a unit, a row for each
  Vector scales;    // of batch normalizations that end in a unit, absolute and summed; empty where there is none
};

/// Of all groups those that can be pruned; the others are refused with the reason. `layers` are all
/// of the function, in order, `normalized` those that end in a batch normalization.
std::vector<PrunableGroup> findPrunable(const AxisGroups &groups,
                                        llvm::ArrayRef<LinearLayer> layers,
                                        llvm::ArrayRef<std::pair<mlir::Operation *, const ChannelMoments *>> normalized,
                                        std::vector<Refusal> &refused);

/// Multiply-adds of a function, and how they change when units go.
class PrunedWork {
public:
  /// `sizeOf` gives the values of symbolic dimensions.
  PrunedWork(mlir::func::FuncOp func, const AxisGroups &groups, FuncShapes &shapes,
             llvm::function_ref<std::optional<int64_t>(nn::Dim)> sizeOf);
  /// With that many units removed of each group of AxisGroups.
  double after(llvm::ArrayRef<int64_t> removed) const;

private:
  struct Work {
    double multiplyAdds;
    std::vector<unsigned> places; // axes that it is proportional to
  };
  std::vector<Work> works;
  std::vector<int64_t> sizes; // of places
  std::vector<std::vector<std::pair<unsigned, int64_t>>>
      indices; // of each place: (group, indices of one unit)
};

} // namespace nnopt::compress

#endif

//===- Repair.h - layers that make up for what was lost ---------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_REPAIR_H
#define NNOPT_LIB_COMPRESS_REPAIR_H

#include "lib/compress/SwitchModel.h"

namespace nnopt::compress {

/// Solves the options of `candidates` (one each, all of `model`) anew on samples of `data`, from
/// site `first` on, in the order of the graph: each layer then sees what the changed layers before
/// it give, and makes up for their errors. Returns whether anything has changed. Ctrl-C leaves the
/// rest as it is.
bool repairLayers(SwitchModel &model, std::vector<Candidate> &candidates, size_t first,
                  const Dataset &data, SampleRange samples, RowProduct &product,
                  llvm::function_ref<void(double)> progress);

} // namespace nnopt::compress

#endif

//===- SwitchModel.h - a model with all options at once ---------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SWITCHMODEL_H
#define NNOPT_LIB_COMPRESS_SWITCHMODEL_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/Data.h"
#include "lib/compress/Technique.h"

namespace nnopt::compress {

/// A site with what may be done to it.
struct Candidate {
  const Technique *technique;
  Site site;
  std::vector<Option> options;
};

/// For each site an option, or -1 to leave it.
using Choice = std::vector<int>;

/// One compiled graph that computes every option of every site beside the original and takes the one that a switch, an
/// input, says: any choice is evaluated without compiling again. It also gives the error of each option at its own site.
class SwitchModel {
public:
  SwitchModel(mlir::ModuleOp module, const std::vector<Candidate> &candidates, const CompileSettings &settings);

  /// The model's outputs on samples [first, first + count) of `data`; valid until the next run.
  std::vector<HostTensor> *run(const Dataset &data, int64_t first, int64_t count, const Choice &choice);
  /// Of the last run with choice[site] = -1 for all: the sum of squared differences between the results of an option and of
  /// the site as it was; option -1: the sum of squares of the latter.
  double siteError(size_t site, int option) const;

private:
  static mlir::OwningOpRef<mlir::ModuleOp> build(mlir::ModuleOp module, const std::vector<Candidate> &candidates);

  std::unique_ptr<CompiledGraph> graph;
  std::vector<size_t> optionCounts;
  std::vector<HostTensor> visible;
  std::vector<double> errors;
};

} // namespace nnopt::compress

#endif

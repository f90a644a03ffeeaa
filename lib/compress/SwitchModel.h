//===- SwitchModel.h - a model with all options at once ---------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_SWITCHMODEL_H
#define NNOPT_LIB_COMPRESS_SWITCHMODEL_H

#include "lib/compress/CompiledGraph.h"
#include "lib/compress/Data.h"
#include "lib/compress/Technique.h"

namespace nnopt::compress {

/// An option that a technique offers at a site, which is named as the technique names it.
struct Offer {
  const Technique *technique;
  std::string site;
  Option option;
  /// Operations that are gone when it is taken, besides the site's own.
  llvm::SmallVector<mlir::Operation *> replaces;
};

/// An operation with all that may be done to it, by whatever technique.
struct Candidate {
  Site site;
  std::vector<Offer> offers;
};

/// Puts a technique's site among the candidates, which are in graph order: joins it with what other
/// techniques find there.
Candidate &candidateAt(std::vector<Candidate> &candidates, Site site);

/// For each site an offer, or -1 to leave it.
using Choice = std::vector<int>;

/// One compiled graph in which any choice is evaluated without compiling again. Options that change
/// weights alone are given as weights, which are inputs there, with a switch where the layer reads
/// something else, too (Technique::activation). All others are computed beside the original, and a
/// switch, an input, takes one; the graph then also gives the error of each at its own site.
class SwitchModel {
public:
  /// `candidates` must outlive it.
  SwitchModel(mlir::ModuleOp module, const std::vector<Candidate> &candidates,
              const CompileSettings &settings);

  /// The model's outputs on samples [first, first + count) of `data`; valid until the next run.
  std::vector<HostTensor> *run(const Dataset &data, int64_t first, int64_t count,
                               const Choice &choice);
  /// Of the last run with choice[site] = -1 for all: the sum of squared differences between the
  /// results of an offer and of the site as it was; offer -1: the sum of squares of the latter. Not
  /// for options that change weights.
  double siteError(size_t site, int offer) const;
  bool changesWeights(size_t site, int offer) const { return sites[site].slots[offer] < 0; }
  /// What a site that wants moments read in the last run.
  const HostTensor &activation(size_t site) const;
  /// What a sum added to the result of such a site (besideInSum) in the last run; null: none does.
  const HostTensor *beside(size_t site) const;
  /// The weights of an offer that changes them, and of the layer as it was.
  const LayerWeights &weights(size_t site, int offer);
  const LayerWeights &originalWeights(size_t site) const { return sites[site].original; }
  /// To be called when the option of an offer that changes weights has others now.
  void weightsChanged(size_t site, int offer) { sites[site].known.erase(offer); }

private:
  struct SiteState {
    std::vector<int>
        slots; // of each offer: its place among the switches of the site, or -1: it changes weights
    int switches = 0;
    std::vector<int> readers; // offers that change weights and what the layer reads: a switch each
    std::optional<LinearLayer> layer;  // weights are inputs
    std::vector<int64_t> weightShape;  // of these, when the graph itself has changed, too
    LayerWeights original;
    std::map<int, LayerWeights> known; // of offers
    int tap = -1, besideTap = -1;      // places of activation and beside among the taps
  };
  mlir::OwningOpRef<mlir::ModuleOp> build(mlir::ModuleOp module);
  void appendWeights(std::vector<HostTensor> &inputs, size_t site, int offer);

  const std::vector<Candidate> &candidates;
  std::vector<SiteState> sites;
  std::unique_ptr<CompiledGraph> graph;
  size_t visibleCount = 0;
  std::vector<HostTensor> visible, taps;
  std::vector<double> errors;
};

} // namespace nnopt::compress

#endif

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

/// Bytes of what passes between parts of a SwitchModel that may be kept, to begin in its middle.
constexpr size_t kStateBytes = size_t(1) << 30;

/// A compiled model in which any choice is evaluated without compiling again. Options that change
/// weights alone are given as weights, which are inputs there, with a switch where the layer reads
/// something else, too (Technique::activation). All others are branches of nn.if whose condition is
/// an input: only what is chosen is computed.
///
/// It consists of parts, one behind the other, each with a site at least. They are cut where a single value passes from
/// what is before to what is behind, so that what is before a site need not run again for every option.
class SwitchModel {
public:
  /// Options that do not change weights alone: the chosen ones are computed, or all of them, in every run, which siteError() needs.
  enum class Computes { Chosen, All };
  /// `candidates` must outlive it.
  SwitchModel(mlir::ModuleOp module, const std::vector<Candidate> &candidates,
              const CompileSettings &settings, Computes computes = Computes::Chosen);

  /// The model's outputs on samples [first, first + count) of `data`; valid until the next run.
  std::vector<HostTensor> *run(const Dataset &data, int64_t first, int64_t count,
                               const Choice &choice);
  size_t partCount() const { return parts.size(); }
  size_t partOf(size_t site) const { return sites[site].part; }
  /// Runs parts [begin, end) on samples; `state` is what passes to part `begin` (null: it is the first one). Returns what
  /// passes to part `end`, nothing of meaning behind the last.
  HostTensor runParts(size_t begin, size_t end, const Dataset &data, int64_t first, int64_t count, const Choice &choice,
                      const HostTensor *state);
  /// What the last part gave when it ran last.
  std::vector<HostTensor> *outputs() { return &visible; }
  /// Of the last run with choice[site] = -1 for all, with Computes::All: the sum of squared differences between the
  /// results of an offer and of the site as it was; offer -1: the sum of squares of the latter. Not
  /// for options that change weights.
  double siteError(size_t site, int offer) const;
  bool changesWeights(size_t site, int offer) const { return sites[site].slots[offer] < 0; }
  /// What a site that wants moments read when its part ran last.
  const HostTensor &activation(size_t site) const;
  /// What a sum added to the result of such a site (besideInSum) then; null: none does.
  const HostTensor *beside(size_t site) const;
  /// The weights of an offer that changes them, and of the layer as it was.
  const LayerWeights &weights(size_t site, int offer);
  const LayerWeights &originalWeights(size_t site) const { return sites[site].original; }
  /// To be called when the option of an offer that changes weights has others now.
  void weightsChanged(size_t site, int offer);

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
    int tap = -1, besideTap = -1;      // places of activation and beside among the results
    int errors = -1;                   // place of the first sum for siteError() there
    size_t part = 0;
  };
  /// An argument behind the model's own: what it is told of a choice.
  struct Told {
    enum { Switch, Reader, Weights, Bias } what;
    size_t site;
    int number; // of the switch, or the offer
  };
  /// A part of the whole graph; arguments and results are numbers of those of the whole.
  struct Part {
    std::unique_ptr<CompiledGraph> graph;
    std::vector<unsigned> arguments, results;
    std::vector<int> offers; // of which the graph's inputs tell since its last run, for each argument
  };
  void build(mlir::ModuleOp module, const CompileSettings &settings);
  void compileParts(mlir::func::FuncOp main, FuncShapes &shapes, const CompileSettings &settings);
  HostTensor toldValue(const Told &told, const Choice &choice);

  const std::vector<Candidate> &candidates;
  const Computes computes;
  std::vector<SiteState> sites;
  std::vector<Part> parts;
  std::vector<Told> told;
  std::vector<size_t> tapSites; // of each result behind the visible ones
  size_t ownArguments = 0, visibleCount = 0;
  std::vector<HostTensor> visible, taps;
};

} // namespace nnopt::compress

#endif

//===- StructuredPruning.h - a model with fewer channels --------*- C++ -*-===//
//
// Technique prune-structured: removes channels, heads and neurons, and solves the layers behind
// anew.
//
//   find groups of units -> order the units of each -> try levels of each group, measure what they
//   save -> choose levels for the share of multiply-adds -> solve layers anew in the order of the
//   graph
//
// The graph keeps its shapes meanwhile: units that are to go have no weights in the layers that
// read them, which gives the same outputs, and weights are inputs of one compiled model
// (SwitchModel).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_PRUNE_STRUCTUREDPRUNING_H
#define NNOPT_LIB_COMPRESS_PRUNE_STRUCTUREDPRUNING_H

#include "lib/compress/Recipe.h"
#include "lib/compress/SwitchModel.h"
#include "lib/compress/prune/PrunableGroups.h"
#include "lib/compress/prune/PruneSpec.h"
#include "lib/compress/prune/PrunedTimes.h"
#include "lib/driver/Driver.h"

namespace nnopt::compress {

/// One search, on a module that went through the graph passes.
class StructuredPruning {
public:
  /// `quick`: how models are compiled that are only looked at; `costs`: measures operations; `normalizations`: what the batch
  /// normalizations said that are folded by now.
  StructuredPruning(mlir::ModuleOp module, const PruneSpec &spec, const Dataset &calib,
                    const CompileSettings &quick, LayerCosts &costs, Progress &progress, const MomentsByName &normalizations);
  /// The steps that say what goes, as the flag asks; the module stays as it is. Throws ToolError where
  /// less can go than was asked for, Interrupted after Ctrl-C.
  std::vector<Step> run();
  /// The same for another share, in one step: what levels of groups bring and save is measured once for
  /// all shares. Throws ToolError likewise.
  std::vector<Step> run(double share);
  /// After run(): what was found, for people.
  const nlohmann::json &report() const { return notes; }
  /// "72.1 % of the multiply-adds, 9 of 12 groups of channels smaller, 2 not eligible".
  std::string summary() const;

private:
  /// Layers whose columns are partly gone, for SwitchModel and repairLayers.
  class NarrowedLayers : public Technique {
  public:
    llvm::StringRef name() const override;
    std::vector<Site> sites(mlir::func::FuncOp, std::vector<Refusal> &) const override {
      return {};
    }
    std::vector<Option> options(const Site &, const Observations &) const override { return {}; }
    std::string check(mlir::Operation *, const Option &) const override { return ""; }
    mlir::Value apply(mlir::RewriterBase &, mlir::Operation *, const Option &) const override {
      return {};
    }
    std::optional<LayerWeights> weights(mlir::Operation *, const Option &option) const override;
    bool refit(mlir::Operation *op, Option &option, const Gram &gram) const override;

    llvm::DenseMap<mlir::Operation *, std::vector<bool>> kept; // columns
  };
  /// What a group can be: with the first units of its order gone.
  struct Level {
    int64_t removed;
    double error;              // of the outputs, with this group alone
    std::vector<double> times; // of operations, relative to what they take in the whole model
  };
  struct State {
    PrunableGroup group;
    Elimination elimination;
    std::vector<Level> levels; // more and more removed; the first one as it is
    size_t level = 0;
    int64_t removed() const { return levels.empty() ? 0 : levels[level].removed; }
  };

  void set(size_t layer, const LayerWeights &weights);
  double error();
  double workLeft() const;
  double timeLeft() const;
  std::vector<double> timesOf(const PrunableGroup &group, int64_t removed);
  void findGroups();
  void startAgain();
  void lookAtReaders();
  void tryLevels();
  void chooseLevels(double target);
  void requireGone(double share) const;
  void solveLayers();
  bool isGone(size_t layer, nn::Axis axis, int64_t index) const;
  std::vector<Step> steps() const;
  void writeNotes();

  mlir::ModuleOp module;
  const PruneSpec &spec;
  const Dataset &calib;
  LayerCosts &costs;
  Progress &progress;
  const MomentsByName &normalizations;

  FuncShapes shapes;
  AxisGroups groups;
  std::vector<std::string> names;
  std::vector<LinearLayer> layers;
  NarrowedLayers technique;
  std::vector<Candidate> candidates; // the layers
  std::unique_ptr<SwitchModel> model;
  RowProduct product;
  std::unique_ptr<PrunedWork> work;
  double fullWork = 0;
  std::vector<double> fullTimes;
  std::vector<State> states;
  std::map<size_t, Gram> moments; // of what the layers behind groups read
  std::set<std::pair<unsigned, unsigned>> gone;
  std::vector<Refusal> refused;
  nlohmann::json notes = nlohmann::json::object();
};

} // namespace nnopt::compress

#endif

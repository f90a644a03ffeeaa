//===- Technique.h - a way to make a model smaller or faster ----*- C++ -*-===//
//
// A technique finds sites, operations that it can replace, and offers options for each: other ways
// to compute the operation's result, cheaper and not quite equal. The engine does everything else:
// it measures what an option costs and how much it changes the model's outputs, chooses, validates,
// and writes what was chosen as a recipe.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_TECHNIQUE_H
#define NNOPT_LIB_COMPRESS_TECHNIQUE_H

#include "lib/compress/Gram.h"
#include "lib/codegen/cpu/Target.h"
#include "lib/compress/Statistics.h"
#include "passes/common/Rewrite.h"
#include "tools/common/npz.h"
#include "llvm/ADT/DenseMap.h"
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

namespace nnopt::compress {

/// What calibration saw of the values that sites asked for.
class Observations {
public:
  /// Whether the values are of noise in place of data: ranges are rough then, and errors say little.
  bool ofNoise = false;
  TensorStatistics &operator[](mlir::Value v) { return tensors[v]; }
  const TensorStatistics &of(mlir::Value v) const { return tensors.find(v)->second; }
  /// Moments of the rows that a site's operation multiplies, or of its regressor; null unless the
  /// site wants them.
  const Gram *gram(mlir::Operation *op) const {
    auto it = grams.find(op);
    return it == grams.end() ? nullptr : it->second.get();
  }
  void setGram(mlir::Operation *op, std::shared_ptr<const Gram> gram) {
    grams[op] = std::move(gram);
  }
  /// Rows of a value that a site wants samples of.
  const Matrix &rows(mlir::Value v) const { return samples.find(v)->second; }
  void setRows(mlir::Value v, Matrix rows) { samples[v] = std::move(rows); }

private:
  llvm::DenseMap<mlir::Value, TensorStatistics> tensors;
  llvm::DenseMap<mlir::Operation *, std::shared_ptr<const Gram>>
      grams; // layers with the same rows share one
  llvm::DenseMap<mlir::Value, Matrix> samples;
};

/// An operation with one result that a technique can replace.
struct Site {
  mlir::Operation *op;
  /// Unique within the model and the same in every compilation of it: names of the ONNX nodes.
  std::string name;
  /// Values whose statistics the options depend on.
  llvm::SmallVector<mlir::Value> observed;
  /// Sites with the same (non-null) value here get the same variant of an option.
  mlir::Value shared;
  /// Whether options depend on the moments of the rows that `op`, a LinearLayer, multiplies.
  bool wantsGram = false;
  /// The dimension of observed[0] along which ranges of channels are wanted; -1: none.
  int64_t channelAxis = -1;
  /// A value that `op`'s result is a linear function of, nearly: moments of the rows of both (their
  /// last dimensions) are summed up, `h` of this value, `cross` and `dense` of the result. Both
  /// must be among `observed`.
  mlir::Value regressor;
  /// What an option replaces besides `op`, in graph order: operations that only `op` needs. Their
  /// costs count.
  llvm::SmallVector<mlir::Operation *> inside;
  /// Values of which some rows (along the last dimension), evenly over the data, are kept as they
  /// are.
  llvm::SmallVector<mlir::Value> sampled;
};

/// Arrays that are too large for text: they go into the file beside the recipe.
using Tensors = std::map<std::string, npz::Array>;
npz::Array arrayOf(const Matrix &matrix);
npz::Array arrayOf(const Vector &vector);
/// The matrix (of one column for a vector) in an array of 32-bit floats; nothing for other arrays.
std::optional<Matrix> matrixOf(const Tensors &tensors, const std::string &name);

/// A way to compute a site's result. Options of one name and different variants are alternatives of
/// which the engine keeps the one with the least error; options of different names are what budgets
/// choose among.
struct Option {
  std::string name, variant;
  nlohmann::json parameters; // all that apply() needs, with `tensors`: they go into the recipe
  Tensors tensors;
};

/// An operation that a technique had to leave alone.
struct Refusal {
  std::string name, reason;
};

/// 0.25 of "25%"; nothing for other texts.
std::optional<double> percentOf(llvm::StringRef text);

class Technique {
public:
  virtual ~Technique() = default;
  /// As in recipes and the flag: "quantize".
  virtual llvm::StringRef name() const = 0;
  /// Tells what the model is compiled for, before anything else.
  virtual void setTarget(const cpu::Target &target) {}
  /// Makes this the only technique, with what its flag says ("int8", "70%", "50%,error=3%"):
  /// options() then offers only that. Returns what is wrong with the text ("expected int8"); empty when nothing is.
  std::string configure(llvm::StringRef spec);
  virtual std::vector<Site> sites(mlir::func::FuncOp func, std::vector<Refusal> &refused) const = 0;
  /// Options besides leaving the site as it is. Empty: nothing to gain here.
  virtual std::vector<Option> options(const Site &site, const Observations &observations) const = 0;
  /// Why options() offers nothing at a site.
  virtual std::string whyNothing(const Site &site, const Observations &observations) const {
    return "there is no option for the values that were seen";
  }
  /// Called with all sites of a model before options() is: for what is decided for a model as a
  /// whole.
  virtual void plan(llvm::ArrayRef<Site> sites, const Observations &observations) {}
  /// Whether the variants of options belong together: all sites take the same, the one with the
  /// least error of the outputs. (Only where this is the only technique; else sites choose by
  /// themselves.)
  virtual bool variantsAreGlobal() const { return false; }
  /// The relative squared error of the model's outputs above which, when this is the only technique and there is no budget, the
  /// layers that bring most of it take fallback() instead: what "error=" says, else defaultError(). Nothing: no limit.
  std::optional<double> errorLimit() const;
  /// What to do at a site where the options change the outputs too much; nothing: leave it as it is. `bf16`: whether the target
  /// multiplies such numbers.
  virtual std::optional<Option> fallback(const Site &site, bool bf16) const { return std::nullopt; }
  /// Why `option` (from a recipe, so anything) does not fit `op`; empty when it does.
  virtual std::string check(mlir::Operation *op, const Option &option) const = 0;
  /// What the cost of an option depends on besides the operation and its shapes.
  virtual std::string costKey(const Option &option) const {
    return name().str() + " " + option.name;
  }
  /// Builds the value that takes the place of op's result, beside `op`, which stays. The option has
  /// been checked.
  virtual mlir::Value apply(mlir::RewriterBase &rewriter, mlir::Operation *op,
                            const Option &option) const = 0;
  /// The weights and bias with which `op` computes what the option computes, for options that
  /// change nothing but these. They are then tried without compiling, and can be solved anew.
  virtual std::optional<LayerWeights> weights(mlir::Operation *op, const Option &option) const {
    return std::nullopt;
  }
  /// Whether the layer of an option with weights() reads something else than its activation, too.
  virtual bool changesActivation(mlir::Operation *op, const Option &option) const { return false; }
  /// What it reads then, made beside it.
  virtual mlir::Value activation(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option) const { return {}; }
  /// An option without weights() in a form that has them, so that it can be solved anew: what it computes is the same then, but for
  /// the order of sums. Nothing where there is no such form.
  virtual std::optional<Option> solvable(mlir::Operation *op, const Option &option) const { return std::nullopt; }
  /// Solves the tensors of an option anew, when the layers before have changed: `gram` compares
  /// what the layer reads now with what it read in the float model. Sites must have asked for
  /// moments. Returns whether it did.
  virtual bool refit(mlir::Operation *op, Option &option, const Gram &gram) const { return false; }
  /// Whether options make nothing cheaper and only repair: they are not offered, but taken for all
  /// layers that no option takes, when layers are solved anew.
  virtual bool onlyRepairs() const { return false; }
  /// Whether `op`, made by apply(), is work that layers around the site do on the way when they
  /// have the same option.
  virtual bool isMeetingPoint(mlir::Operation *op) const { return false; }
  /// Called once after all options are applied: exact rewrites that need to see all of them.
  virtual void finish(mlir::func::FuncOp func, mlir::RewriterBase &rewriter) const {}

protected:
  /// configure() but for "error=", which all techniques have.
  virtual std::string readSpec(llvm::StringRef spec) { return "no text is expected"; }
  /// The relative error of outputs that is allowed unless the flag says otherwise; nothing: any.
  virtual std::optional<double> defaultError() const { return std::nullopt; }

private:
  std::optional<double> allowedError;
};

using Techniques = std::vector<std::unique_ptr<Technique>>;

/// Convolutions and matrix products with 8-bit operands, or with weights alone in fewer bits.
std::unique_ptr<Technique> createQuantizeTechnique();
/// Layers of which most weights are zero.
std::unique_ptr<Technique> createPruneSparseTechnique();
/// Layers that keep all weights and make up for the errors of others.
std::unique_ptr<Technique> createRefitTechnique();
/// Feed-forward networks as mixtures of experts.
std::unique_ptr<Technique> createMoETechnique();
/// Matrix products and convolutions in stages of fewer parameters.
std::unique_ptr<Technique> createLowRankTechnique();
/// Small activations of one row that become zeros, for which no weights are read.
std::unique_ptr<Technique> createSparseActivationsTechnique();
/// Residual blocks left out, or replaced by one matrix product.
std::unique_ptr<Technique> createDropLayerTechnique();
/// Pairs of residual blocks that read one value.
std::unique_ptr<Technique> createParallelBlocksTechnique();

/// Names for sites: those of the ONNX nodes of an operation, numbered where they occur again.
class SiteNames {
public:
  std::string of(mlir::Operation *op);

private:
  llvm::StringMap<int> seen;
};

} // namespace nnopt::compress

#endif

//===- Technique.h - a way to make a model smaller or faster ----*- C++ -*-===//
//
// A technique finds sites, operations that it can replace, and offers options for each: other ways to compute the
// operation's result, cheaper and not quite equal. The engine does everything else: it measures what an option costs and
// how much it changes the model's outputs, chooses, validates, and writes what was chosen as a recipe.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_COMPRESS_TECHNIQUE_H
#define NNOPT_LIB_COMPRESS_TECHNIQUE_H

#include "lib/compress/Statistics.h"
#include "passes/common/Rewrite.h"
#include "llvm/ADT/DenseMap.h"
#include <memory>
#include <nlohmann/json.hpp>

namespace nnopt::compress {

/// What calibration saw of the values that sites asked for.
using Observations = llvm::DenseMap<mlir::Value, TensorStatistics>;

/// An operation with one result that a technique can replace.
struct Site {
  mlir::Operation *op;
  /// Unique within the model and the same in every compilation of it: names of the ONNX nodes.
  std::string name;
  /// Values whose statistics the options depend on.
  llvm::SmallVector<mlir::Value> observed;
  /// Sites with the same (non-null) value here get the same variant of an option.
  mlir::Value shared;
};

/// A way to compute a site's result. Options of one name and different variants are alternatives of which the engine
/// keeps the one with the least error; options of different names are what budgets choose among.
struct Option {
  std::string name, variant;
  nlohmann::json parameters; // all that apply() needs: they go into the recipe
};

/// An operation that a technique had to leave alone.
struct Refusal {
  std::string name, reason;
};

class Technique {
public:
  virtual ~Technique() = default;
  /// As in recipes and the flag: "quantize".
  virtual llvm::StringRef name() const = 0;
  virtual std::vector<Site> sites(mlir::func::FuncOp func, std::vector<Refusal> &refused) const = 0;
  /// Options besides leaving the site as it is. Empty: nothing to gain here.
  virtual std::vector<Option> options(const Site &site, const Observations &observations) const = 0;
  /// Why `option` (from a recipe, so anything) does not fit `op`; empty when it does.
  virtual std::string check(mlir::Operation *op, const Option &option) const = 0;
  /// Builds the value that takes the place of op's result, beside `op`, which stays. The option has been checked.
  virtual mlir::Value apply(mlir::RewriterBase &rewriter, mlir::Operation *op, const Option &option) const = 0;
  /// Whether `op`, made by apply(), is work that layers around the site do on the way when they have the same option.
  virtual bool isMeetingPoint(mlir::Operation *op) const { return false; }
  /// Called once after all options are applied: exact rewrites that need to see all of them.
  virtual void finish(mlir::func::FuncOp func, mlir::RewriterBase &rewriter) const {}
};

using Techniques = std::vector<std::unique_ptr<Technique>>;

/// Convolutions and matrix products with 8-bit operands.
std::unique_ptr<Technique> createQuantizeTechnique();

/// Names for sites: those of the ONNX nodes of an operation, numbered where they occur again.
class SiteNames {
public:
  std::string of(mlir::Operation *op);

private:
  llvm::StringMap<int> seen;
};

} // namespace nnopt::compress

#endif

//===- SparseActivationsTechnique.cpp - small activations become zeros ------===//
//
// Site: a matrix product of one row behind GELU, SiLU or a gate of such. Options: of the row's elements those become 0 whose
// part in the result is small, so that the product reads no weights for them (codegen/cpu/contraction/SparseRow.cpp). Element j
// counts |x_j| times the norm of its weights (Chen et al. 2025, "WINA: Weight Informed Neuron Activation"); each channel has its
// threshold (He et al. 2024, "CHESS", section 3.2), T / norm_j, where T is the share's quantile of what elements count over the
// calibration data. Behind relu there are zeros without thresholds, and nothing is lost.
//
//===----------------------------------------------------------------------===//

#include "lib/compress/LinearLayer.h"
#include "lib/compress/Technique.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <limits>

using namespace mlir;

namespace nnopt::compress {

namespace {

bool isSmooth(Operation *op) { return isa_and_nonnull<nn::GeluOp, nn::SiluOp>(op); }

/// Whether elements are often small and seldom 0: what GELU or SiLU gives, perhaps times something.
bool isOftenSmall(Value v) {
  Operation *op = v.getDefiningOp();
  if (auto mul = dyn_cast_or_null<nn::MulOp>(op))
    return isSmooth(mul.getLhs().getDefiningOp()) || isSmooth(mul.getRhs().getDefiningOp());
  return isSmooth(op);
}

/// The layer of a matrix product behind such elements.
std::optional<LinearLayer> layerOf(Operation *op) {
  if (!isa<nn::MatMulOp>(op))
    return std::nullopt;
  std::optional<LinearLayer> layer = LinearLayer::get(op);
  return layer && isOftenSmall(layer->activation()) ? layer : std::nullopt;
}

/// Rows that are multiplied, or -1 where that is known at run time only.
int64_t rowsOf(Value activation) {
  int64_t rows = 1;
  for (int64_t size : shapeOf(activation).drop_back()) {
    if (ShapedType::isDynamic(size))
      return -1;
    rows *= size;
  }
  return rows;
}

class SparseActivationsTechnique : public Technique {
public:
  StringRef name() const override { return "sparse-activations"; }

  std::string readSpec(StringRef spec) override {
    std::optional<double> share = percentOf(spec);
    if (!share || !(*share >= 0.01 && *share <= 0.99))
      return "expected the share of activations that become zero, from 1% to 99%";
    shares = {*share};
    return "";
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::MatMulOp op : func.getBody().front().getOps<nn::MatMulOp>()) {
      std::string name = names.of(op);
      std::optional<LinearLayer> layer = layerOf(op);
      if (!layer)
        continue;
      if (int64_t rows = rowsOf(layer->activation()); rows != 1) {
        refused.push_back({name, llvm::formatv("it multiplies {0}: zeros save something where it is one",
                                               rows < 0 ? "a number of rows that is not known (pin it with --dim)"
                                                        : std::to_string(rows) + " rows")});
        continue;
      }
      Site site{op, name, {}, {}};
      site.sampled = {layer->activation()};
      result.push_back(std::move(site));
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    LinearLayer layer = *layerOf(site.op);
    const Matrix &x = observations.rows(layer.activation());
    if (!x.rows() || !x.allFinite())
      return {};
    Vector norms = layer.weights().weights.colwise().norm().transpose();
    std::vector<float> counts(size_t(x.size()));
    double all = 0;
    for (int64_t r = 0; r < x.rows(); ++r)
      for (int64_t j = 0; j < x.cols(); ++j) {
        float count = std::abs(x(r, j)) * norms[j];
        counts[r * x.cols() + j] = count;
        all += double(count) * count;
      }
    llvm::sort(counts);
    std::vector<Option> result;
    for (double share : shares) {
      size_t zeros = std::min(counts.size() - 1, size_t(double(counts.size()) * share));
      float limit = counts[zeros];
      if (!(limit > 0))
        continue; // there are as many zeros already
      double lost = 0;
      for (size_t i = 0; i < zeros; ++i)
        lost += double(counts[i]) * counts[i];
      Vector thresholds = norms.unaryExpr(
          [&](float norm) { return std::min(limit / norm, std::numeric_limits<float>::max()); });
      result.push_back({llvm::formatv("{0:f0}%", share * 100).str(), "", {{"lost", lost / all}}, {{"threshold", arrayOf(thresholds)}}});
    }
    return result;
  }

  std::string check(Operation *op, const Option &option) const override {
    std::optional<LinearLayer> layer = layerOf(op);
    if (!layer)
      return "it is no matrix product behind GELU, SiLU or a gate of such";
    std::optional<Matrix> thresholds = matrixOf(option.tensors, "threshold");
    if (!thresholds || thresholds->rows() != layer->columns() || thresholds->cols() != 1)
      return llvm::formatv("it needs a 'threshold' of {0} floats", layer->columns());
    return "";
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    Location loc = op->getLoc();
    Value x = cast<nn::LinearOp>(op).getActivation();
    Matrix thresholds = *matrixOf(option.tensors, "threshold");
    Type f32 = untyped(rewriter.getF32Type());
    Value limit = nn::ConstantOp::create(rewriter, loc,
                                         nn::makeFloats(rewriter.getContext(), {thresholds.size()},
                                                        {thresholds.data(), size_t(thresholds.size())}, "threshold"));
    Value size = nn::AbsOp::create(rewriter, loc, f32, x);
    Value counts = nn::GreaterOp::create(rewriter, loc, untyped(rewriter.getI1Type()), size, limit);
    Value zero = makeNumbersOp(rewriter, loc, rewriter.getF32Type(), {}, {0}, "zero");
    IRMapping operands;
    operands.map(x, nn::WhereOp::create(rewriter, loc, f32, counts, x, zero).getResult());
    return rewriter.clone(*op, operands)->getResult(0);
  }

private:
  std::vector<double> shares{0.3, 0.5, 0.7};
};

} // namespace

std::unique_ptr<Technique> createSparseActivationsTechnique() { return std::make_unique<SparseActivationsTechnique>(); }

} // namespace nnopt::compress

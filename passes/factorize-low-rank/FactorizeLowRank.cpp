//===- FactorizeLowRank.cpp - linear operations in stages -------------------===//
#include "passes/factorize-low-rank/FactorizeLowRank.h"
#include "passes/Passes.h"

using namespace mlir;
using Eigen::MatrixXd;

namespace nnopt {
#define GEN_PASS_DEF_FACTORIZELOWRANK
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt::lowrank {

constexpr StringLiteral kPass = "factorize-low-rank";

ColumnShape columnShapeOf(const compress::LinearLayer &layer) {
  auto conv = dyn_cast<nn::ConvOp>(layer.op().getOperation());
  if (conv && rankOf(conv.getW()) == 4)
    return {layer.inChannels(), shapeOf(conv.getW())[2], shapeOf(conv.getW())[3]};
  return {layer.inChannels(), layer.kernel(), 1};
}

/// What a stage of a convolution does with the spatial dimensions of the whole.
struct Window {
  SmallVector<int64_t> kernel, strides, pads, dilations;

  static Window of(nn::ConvOp conv) {
    return {SmallVector<int64_t>(shapeOf(conv.getW()).drop_front(2)),
            SmallVector<int64_t>(conv.getStrides()), SmallVector<int64_t>(conv.getPads()),
            SmallVector<int64_t>(conv.getDilations())};
  }
  /// None: a kernel of one element.
  static Window point(size_t rank) {
    return {SmallVector<int64_t>(rank, 1), SmallVector<int64_t>(rank, 1),
            SmallVector<int64_t>(2 * rank, 0), SmallVector<int64_t>(rank, 1)};
  }
  /// The part along dimension `d` alone.
  Window along(size_t d) const {
    size_t rank = kernel.size();
    Window w = point(rank);
    w.kernel[d] = kernel[d];
    w.strides[d] = strides[d];
    w.dilations[d] = dilations[d];
    w.pads[d] = pads[d];
    w.pads[rank + d] = pads[rank + d];
    return w;
  }
};

static Value constant(RewriterBase &rewriter, Location loc, ArrayRef<int64_t> shape,
                      const float *values, int64_t count) {
  return nn::ConstantOp::create(
      rewriter, loc,
      nn::makeFloats(rewriter.getContext(), shape, ArrayRef<float>(values, count), "factor"));
}

static Value makeConv(RewriterBase &rewriter, nn::ConvOp like, Value x, const Matrix &m,
                      const Window &window, Value bias) {
  SmallVector<int64_t> shape = {m.rows(), m.cols()};
  for (int64_t size : window.kernel) {
    shape.push_back(size);
    shape[1] /= size;
  }
  Value w = constant(rewriter, like.getLoc(), shape, m.data(), m.size());
  return nn::ConvOp::create(rewriter, like.getLoc(), untyped(rewriter.getF32Type()), x, w, bias,
                            Value(), Value(), ValueRange(), window.strides, window.pads,
                            window.dilations, 1, like.getChannelsLast())
      .getResult();
}

Value inStages(RewriterBase &rewriter, const compress::LinearLayer &layer, const Factors &factors,
               const Vector &bias) {
  OpBuilder::InsertionGuard guard(rewriter);
  nn::LinearOp op = layer.op();
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  Value x = op.getActivation(), shift;
  if (!bias.isZero(0))
    shift = constant(rewriter, loc, {bias.size()}, bias.data(), bias.size());
  auto conv = dyn_cast<nn::ConvOp>(op.getOperation());
  for (auto [i, stage] : llvm::enumerate(factors.stages)) {
    Value b = i + 1 == factors.stages.size() ? shift : Value();
    if (!conv) {
      Matrix transposed = stage.transpose();
      Value w = constant(rewriter, loc, {transposed.rows(), transposed.cols()}, transposed.data(),
                         transposed.size());
      x = nn::MatMulOp::create(rewriter, loc, untyped(rewriter.getF32Type()), x, w, b, Value(),
                               Value(), ValueRange(), false, false)
              .getResult();
      continue;
    }
    Window whole = Window::of(conv);
    bool narrows = factors.structure == Structure::Tucker && factors.ranks[0] < layer.inChannels();
    Window window = factors.structure == Structure::Spatial ? whole.along(i)
                    : i == size_t(narrows)                  ? whole
                                                            : Window::point(whole.kernel.size());
    x = makeConv(rewriter, conv, x, stage, window, b);
  }
  return x;
}

/// Ranks that are looked for: of weights that the factors would halve, and not so many that finding
/// out takes long.
static int64_t highestRank(int64_t rows, int64_t columns) {
  return std::min<int64_t>(128, rows * columns / (2 * (rows + columns)));
}

/// Whether a part of w already has more than `rank` singular values of some size.
static bool isPartAbove(const Matrix &w, int64_t rank, double size) {
  int64_t count = rank + 8;
  if (count > std::min(w.rows(), w.cols()))
    return false;
  // Evenly spread rows and columns: those of one kernel element or head may all depend on few.
  MatrixXd part(count, count);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < count; ++j)
      part(i, j) = w(i * w.rows() / count, j * w.cols() / count);
  Eigen::ColPivHouseholderQR<MatrixXd> qr(part);
  // The diagonal of R bounds the singular values behind from below, but for a factor that is small
  // in practice.
  return std::abs(qr.matrixR()(rank, rank)) > size;
}

/// Factors of w of the least rank with which no element differs by more than `error`.
static std::optional<Factors> exactFactors(const Matrix &w, double error) {
  int64_t highest = highestRank(w.rows(), w.cols());
  if (highest < 1 || isPartAbove(w, highest, 100 * error))
    return std::nullopt;
  MatrixXd wide = w.cast<double>();
  RankBasis basis(wide, MatrixXd::Identity(w.cols(), w.cols()));
  ColumnShape shape{w.cols(), 1, 1};
  auto fits = [&](const Factors &f) {
    return (f.product(shape) - w).cwiseAbs().maxCoeff() <= error;
  };
  Factors best = basis.factors(highest);
  if (!fits(best))
    return std::nullopt;
  // The error falls with the rank: bisection.
  int64_t low = 0, high = highest;
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    Factors f = basis.factors(middle);
    if (fits(f)) {
      high = middle;
      best = std::move(f);
    } else {
      low = middle;
    }
  }
  return best;
}

} // namespace nnopt::lowrank

namespace nnopt {
namespace {

struct FactorizeLowRankPass : impl::FactorizeLowRankBase<FactorizeLowRankPass> {
  using FactorizeLowRankBase::FactorizeLowRankBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::LinearOp> linears;
    getOperation().walk([&](nn::LinearOp op) { linears.push_back(op); });
    for (nn::LinearOp op : linears) {
      std::string why;
      std::optional<compress::LinearLayer> layer = compress::LinearLayer::get(op, &why);
      if (layer && layer->outChannels() * layer->columns() < 4096)
        why = "its weights are few";
      // Eigenvectors take cubic time: a second for 1,024 rows, minutes for 4,096.
      if (layer && std::min(layer->outChannels(), layer->columns()) > 1024)
        why = "it has more than 1,024 rows and columns";
      if (why.empty())
        why = factorize(rewriter, *layer);
      if (!why.empty())
        missedRemark(op.getLoc(), lowrank::kPass, "not-factorized") << remark::reason("{0}", why);
    }
  }

  /// Why not; empty: it did, and the operation is gone.
  std::string factorize(IRRewriter &rewriter, const compress::LinearLayer &layer) {
    compress::LayerWeights weights = layer.weights();
    if (!weights.weights.allFinite())
      return "a weight is infinite or NaN";
    double largest = weights.weights.cwiseAbs().maxCoeff();
    if (largest == 0)
      return "its weights are zeros";
    std::optional<lowrank::Factors> factors =
        lowrank::exactFactors(weights.weights, maxError * largest);
    if (!factors)
      return "its weights are of no low rank";
    Location loc = layer.op().getLoc();
    Value value = lowrank::inStages(rewriter, layer, *factors, weights.bias);
    rewriter.replaceOp(layer.op(), value);
    ++numFactorized;
    passedRemark(loc, lowrank::kPass, "factorized")
        << remark::metric("Rank", factors->ranks[0])
        << remark::metric("Weights", weights.weights.size())
        << remark::metric("FactorWeights", factors->parameters());
    return "";
  }
};

} // namespace
} // namespace nnopt

//===- DropLayerTechnique.cpp - residual blocks left out --------------------===//
//
// Site: the sum at the end of a residual block, y = x + f(x). Options: `drop`, y = x (the layers of
// deep networks that change their input least matter least: Gromov et al. 2024, "The Unreasonable
// Ineffectiveness of the Deeper Layers"); `linear`, for values whose last dimension is the model's
// width, y = A x + c in least squares over the calibration data (Din et al. 2023, "Jump to
// Conclusions", section 3.1). By the flag, the blocks whose outputs are most like their inputs (influenceOf()).
//
//===----------------------------------------------------------------------===//

#include "lib/compress/ResidualBlock.h"
#include "lib/compress/Technique.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using Eigen::MatrixXd;

namespace nnopt::compress {

namespace {

/// Of the mean of the diagonal of the moments; where data say nothing the block is the identity.
constexpr double kDamping = 1e-3;

/// The width of values that a linear map may take the place of, or 0: tokens [batch, tokens,
/// width].
int64_t widthOf(Value v) { return rankOf(v) == 3 && shapeOf(v)[2] > 0 ? shapeOf(v)[2] : 0; }

class DropLayerTechnique : public Technique {
public:
  StringRef name() const override { return "drop-layer"; }

  std::string readSpec(StringRef spec) override {
    auto [number, rest] = spec.split(',');
    onlyLinear = rest == "linear";
    if (number.getAsInteger(10, count) || count < 1 || (!rest.empty() && !onlyLinear))
      return "expected the number of residual blocks that go, as 2, or 2,linear for a matrix product in their place";
    return "";
  }

  /// By the flag: those that go, with their influence.
  void plan(ArrayRef<Site> sites, const Observations &observations) override {
    influences.clear();
    going.clear();
    if (!count)
      return;
    std::vector<std::pair<double, Operation *>> order;
    for (const Site &site : sites) {
      double influence = influenceOf(observations.rows(site.sampled[0]), observations.rows(site.sampled[1]));
      influences[site.op] = influence;
      if (std::isfinite(influence) && (!onlyLinear || site.regressor))
        order.push_back({influence, site.op});
    }
    llvm::stable_sort(order, [](const auto &a, const auto &b) { return a.first < b.first; });
    for (auto &[influence, op] : ArrayRef(order).take_front(count))
      going.insert(op);
  }

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::AddOp op : func.getBody().front().getOps<nn::AddOp>()) {
      std::string name = names.of(op);
      std::optional<ResidualBlock> block = ResidualBlock::endingAt(op);
      // Where a value inside has other readers, what is left of the block may be no block: little would be saved.
      if (!block || llvm::none_of(block->inside, [](Operation *o) { return isa<nn::LinearOp>(o); }) ||
          llvm::none_of(block->inside, [&](Operation *o) { return llvm::is_contained(o->getOperands(), block->skip); }))
        continue;
      Site site{op, name, {block->skip}, Value()};
      site.inside = block->inside;
      if (widthOf(op.getResult())) {
        site.observed.push_back(op.getResult());
        site.regressor = block->skip;
      }
      if (count)
        site.sampled = {block->skip, op.getResult()};
      result.push_back(std::move(site));
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    nlohmann::json parameters = nlohmann::json::object();
    if (count) {
      if (!going.contains(site.op))
        return {};
      parameters["influence"] = influences.lookup(site.op);
    }
    std::vector<Option> result;
    if (!onlyLinear)
      result.push_back({"drop", "", parameters, {}});
    if (count && !onlyLinear)
      return result;
    const Gram *gram = observations.gram(site.op);
    if (!gram || !gram->rows || !gram->h.allFinite() || !gram->cross.allFinite())
      return result;
    auto centered = [](const Matrix &m, const Vector &a, const Vector &b) {
      return MatrixXd(m.cast<double>() - a.cast<double>() * b.cast<double>().transpose());
    };
    MatrixXd h = centered(gram->h, gram->mean, gram->mean),
             cross = centered(gram->cross, gram->denseMean, gram->mean);
    MatrixXd damping =
        MatrixXd::Identity(h.rows(), h.cols()) * (kDamping * h.trace() / double(h.rows()));
    if (!(damping(0, 0) > 0))
      return result;
    MatrixXd map = (h + damping).llt().solve((cross + damping).transpose()).transpose();
    Vector shift = gram->denseMean - map.cast<float>() * gram->mean;
    result.push_back({"linear",
                      "",
                      parameters,
                      {{"map", arrayOf(Matrix(map.cast<float>()))}, {"shift", arrayOf(shift)}}});
    return result;
  }

  std::string whyNothing(const Site &site, const Observations &observations) const override {
    if (!count)
      return Technique::whyNothing(site, observations);
    return llvm::formatv("its block changes its input more than those that go: 1 - cosine is {0:f4}", influences.lookup(site.op));
  }

  std::string check(Operation *op, const Option &option) const override {
    auto add = dyn_cast<nn::AddOp>(op);
    if (!add || !ResidualBlock::endingAt(add))
      return "it is no sum of a value and of a block that reads it";
    if (option.name == "drop")
      return "";
    if (option.name != "linear")
      return "there is no option '" + option.name + "'";
    int64_t width = widthOf(add.getResult());
    std::optional<Matrix> map = matrixOf(option.tensors, "map"),
                          shift = matrixOf(option.tensors, "shift");
    if (!width || !map || !shift || map->rows() != width || map->cols() != width ||
        shift->rows() != width || shift->cols() != 1)
      return "linear needs a 'map' and a 'shift' of the width of its values";
    return "";
  }

  Value apply(RewriterBase &rewriter, Operation *op, const Option &option) const override {
    Value skip = ResidualBlock::endingAt(cast<nn::AddOp>(op))->skip;
    if (option.name == "drop")
      return skip;
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    Location loc = op->getLoc();
    Matrix transposed = matrixOf(option.tensors, "map")->transpose(),
           shift = *matrixOf(option.tensors, "shift");
    auto constant = [&](ArrayRef<int64_t> shape, const Matrix &m, StringRef name) {
      return nn::ConstantOp::create(
          rewriter, loc,
          nn::makeFloats(rewriter.getContext(), shape, {m.data(), size_t(m.size())}, name));
    };
    Value w = constant({transposed.rows(), transposed.cols()}, transposed, "map"),
          bias = constant({shift.size()}, shift, "shift");
    return nn::MatMulOp::create(rewriter, loc, untyped(rewriter.getF32Type()), skip, w, bias,
                                Value(), Value(), ValueRange(), false, false)
        .getResult();
  }

private:
  int64_t count = 0; // of the flag; 0: all blocks have options
  bool onlyLinear = false;
  llvm::DenseMap<Operation *, double> influences;
  llvm::DenseSet<Operation *> going;
};

} // namespace

std::unique_ptr<Technique> createDropLayerTechnique() {
  return std::make_unique<DropLayerTechnique>();
}

} // namespace nnopt::compress

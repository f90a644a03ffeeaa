//===- DropLayerTechnique.cpp - residual blocks left out --------------------===//
//
// Site: the sum at the end of a residual block, y = x + f(x). Options: `drop`, y = x (the layers of
// deep networks that change their input least matter least: Gromov et al. 2024, "The Unreasonable
// Ineffectiveness of the Deeper Layers"); `linear`, for values whose last dimension is the model's
// width, y = A x + c in least squares over the calibration data (Din et al. 2023, "Jump to
// Conclusions", section 3.1).
//
//===----------------------------------------------------------------------===//

#include "lib/compress/ResidualBlock.h"
#include "lib/compress/Technique.h"

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

  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &refused) const override {
    std::vector<Site> result;
    SiteNames names;
    for (nn::AddOp op : func.getBody().front().getOps<nn::AddOp>()) {
      std::string name = names.of(op);
      std::optional<ResidualBlock> block = ResidualBlock::endingAt(op);
      if (!block)
        continue;
      Site site{op, name, {block->skip}, Value()};
      site.inside = block->inside;
      if (widthOf(op.getResult())) {
        site.observed.push_back(op.getResult());
        site.regressor = block->skip;
      }
      result.push_back(std::move(site));
    }
    return result;
  }

  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    std::vector<Option> result = {{"drop", "", nlohmann::json::object()}};
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
                      nlohmann::json::object(),
                      {{"map", arrayOf(Matrix(map.cast<float>()))}, {"shift", arrayOf(shift)}}});
    return result;
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
};

} // namespace

std::unique_ptr<Technique> createDropLayerTechnique() {
  return std::make_unique<DropLayerTechnique>();
}

} // namespace nnopt::compress

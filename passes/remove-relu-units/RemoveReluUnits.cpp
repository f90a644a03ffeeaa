//===- RemoveReluUnits.cpp - hidden units that add nothing ----------------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"
#include "passes/common/Parts.h"

#include <cmath>

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_REMOVERELUUNITS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "remove-relu-units";

/// The weights of a linear operation by unit: [units][rest], along its out or its in channels.
struct Rows {
  int64_t units = 0, rest = 0;
  std::vector<double> values;

  double *row(int64_t i) { return values.data() + i * rest; }
  const double *row(int64_t i) const { return values.data() + i * rest; }
  bool isZero(int64_t i) const {
    return std::all_of(row(i), row(i) + rest, [](double v) { return v == 0; });
  }
};

/// Element offset of (unit, k) in a tensor whose dimension `axis` is the unit.
int64_t offsetOf(ArrayRef<int64_t> shape, int64_t axis, int64_t unit, int64_t k) {
  int64_t inner = 1;
  for (int64_t d : shape.drop_front(axis + 1))
    inner *= d;
  return (k / inner * shape[axis] + unit) * inner + k % inner;
}

std::optional<Rows> readRows(Value w, int64_t axis) {
  auto values = numbersOf(w);
  if (!values || axis < 0)
    return std::nullopt;
  ArrayRef<int64_t> shape = shapeOf(w);
  Rows rows{shape[axis], int64_t(values->size()) / std::max<int64_t>(1, shape[axis]), std::vector<double>(values->size())};
  for (int64_t i = 0; i < rows.units; ++i)
    for (int64_t k = 0; k < rows.rest; ++k)
      rows.row(i)[k] = (*values)[offsetOf(shape, axis, i, k)];
  return rows;
}

/// Those units of `rows`, in the layout of `w`.
Value writeRows(OpBuilder &b, Location loc, const Rows &rows, ArrayRef<int64_t> kept, Value w, int64_t axis) {
  SmallVector<int64_t> shape(shapeOf(w));
  shape[axis] = kept.size();
  std::vector<double> values(kept.size() * rows.rest);
  for (auto [n, i] : llvm::enumerate(kept))
    for (int64_t k = 0; k < rows.rest; ++k)
      values[offsetOf(shape, axis, n, k)] = rows.row(i)[k];
  return makeNumbersOp(b, loc, elementTypeOf(w), shape, values, "units");
}

/// Two layers around a relu, with pooling behind it.
struct Layers {
  nn::LinearOp first, second;
  SmallVector<Operation *> between; // relu, pools
  bool isPooled() const { return between.size() > 1; }
};

std::string whyNotLayer(nn::LinearOp op) {
  Type type = elementTypeOf(op->getResult(0));
  if (!type.isF32() && !type.isF64())
    return "the element type is not f32 or f64";
  if (!op.getEpilogue().empty())
    return "a layer has an epilogue";
  if (op.getGroups() != 1)
    return "a layer has groups";
  if (!isConstant(op.getWeight()) || (op.getBias() && !isConstant(op.getBias())))
    return "the weights or the bias of a layer are not constant";
  if (!op.getWeight().hasOneUse())
    return "the weights of a layer are used elsewhere too";
  if (auto matmul = dyn_cast<nn::MatMulOp>(*op); matmul && rankOf(matmul.getB()) != 2)
    return "a layer is not a product with a matrix";
  return "";
}

/// The layers around a relu; `why` says what is wrong with layers that were found.
std::optional<Layers> findLayers(nn::ReluOp relu, std::string &why) {
  auto first = dyn_cast_or_null<nn::LinearOp>(relu.getX().getDefiningOp());
  if (!first)
    return std::nullopt;
  Layers layers{first, nullptr, {}};
  bool single = relu.getX().hasOneUse();
  for (Operation *op = relu;; op = *op->user_begin()) {
    if (isa<nn::LinearOp>(op)) {
      layers.second = cast<nn::LinearOp>(op);
      break;
    }
    auto max = dyn_cast<nn::MaxPoolOp>(op);
    if (!isa<nn::ReluOp, nn::AvgPoolOp>(op) && !(max && !max.getIndices()))
      return std::nullopt;
    layers.between.push_back(op);
    if (op->getResult(0).use_empty())
      return std::nullopt;
    single &= op->getResult(0).hasOneUse();
    if (!op->getResult(0).hasOneUse())
      break;
  }
  if (!single) {
    why = "a value between has other users";
    return std::nullopt;
  }
  Value activation = layers.second.getActivation();
  if (activation != layers.between.back()->getResult(0) || layers.second.getWeight() == activation)
    return std::nullopt;
  for (nn::LinearOp layer : {layers.first, layers.second})
    if (why = whyNotLayer(layer); !why.empty())
      return std::nullopt;
  if (layers.first.getOutChannelAxis() != layers.second.getInChannelAxis()) {
    why = "the channels of one layer are not those of the other";
    return std::nullopt;
  }
  return layers;
}

/// c > 0 where row a and its bias are c times those of b, up to the rounding of the elements; nothing otherwise.
std::optional<double> factorOf(const Rows &w, ArrayRef<double> bias, int64_t a, int64_t b, double precision) {
  // The ratio of the largest element has the smallest rounding error.
  int64_t largest = 0;
  for (int64_t k = 1; k < w.rest; ++k)
    if (std::fabs(w.row(b)[k]) > std::fabs(w.row(b)[largest]))
      largest = k;
  double c = w.row(a)[largest] / w.row(b)[largest];
  if (!(c > 0) || !std::isfinite(c))
    return std::nullopt;
  auto agree = [&](double x, double y) { return std::fabs(x - c * y) <= precision * std::fabs(x); };
  for (int64_t k = 0; k < w.rest; ++k)
    if (!agree(w.row(a)[k], w.row(b)[k]))
      return std::nullopt;
  return agree(bias[a], bias[b]) ? std::optional<double>(c) : std::nullopt;
}

/// The signs of a row as a number, which is the same for its multiples.
uint64_t signsOf(const Rows &w, int64_t i) {
  uint64_t hash = 0;
  for (int64_t k = 0; k < w.rest; ++k)
    hash = hash * 1099511628211ULL + (w.row(i)[k] > 0) + 2 * (w.row(i)[k] < 0);
  return hash;
}

class Units {
public:
  Units(Layers layers)
      : layers(layers), w(*readRows(layers.first.getWeight(), layers.first.getWeightOutAxis())),
        v(*readRows(layers.second.getWeight(), layers.second.getWeightInAxis())), bias(biasOf(layers.first)) {}

  /// Decides which units stay; returns how many go.
  int64_t choose();
  void rewrite(IRRewriter &rewriter);
  int64_t dead = 0, constant = 0, multiples = 0;

private:
  Layers layers;
  Rows w, v;
  std::vector<double> bias;
  /// What constant units are; 0 for others.
  std::vector<double> values;
  SmallVector<int64_t> kept;
};

int64_t Units::choose() {
  double precision = elementTypeOf(layers.first->getResult(0)).isF32() ? std::ldexp(1.0, -23) : std::ldexp(1.0, -52);
  bool foldsConstants = !layers.isPooled() && seesNoBorder(layers.second) && whyNotAffineBefore(layers.second, false, true).empty();
  DenseMap<uint64_t, SmallVector<int64_t>> bySigns;
  values.assign(w.units, 0);
  for (int64_t i = 0; i < w.units; ++i) {
    bool zero = w.isZero(i);
    if ((zero && bias[i] <= 0) || v.isZero(i)) {
      ++dead;
      continue;
    }
    if (zero && foldsConstants) {
      values[i] = bias[i];
      ++constant;
      continue;
    }
    SmallVector<int64_t> &same = bySigns[signsOf(w, i)];
    bool merged = false;
    for (int64_t j : same) {
      auto c = factorOf(w, bias, i, j, precision);
      if (!c)
        continue;
      for (int64_t k = 0; k < v.rest; ++k)
        v.row(j)[k] += *c * v.row(i)[k];
      merged = true;
      ++multiples;
      break;
    }
    if (merged)
      continue;
    same.push_back(i);
    kept.push_back(i);
  }
  // A layer without units would have a dimension of 0: one stays, which nothing reads.
  if (kept.empty()) {
    kept.push_back(0);
    std::fill_n(v.row(0), v.rest, 0.0);
  }
  return w.units - kept.size();
}

void Units::rewrite(IRRewriter &rewriter) {
  nn::LinearOp first = layers.first, second = layers.second;
  SmallVector<Operation *> all = {first};
  all.append(layers.between);
  Location loc = fusedLoc(all);
  rewriter.setInsertionPoint(first);
  Value weight = writeRows(rewriter, loc, w, kept, first.getWeight(), first.getWeightOutAxis()), newBias;
  if (first.getBias()) {
    std::vector<double> keptBias;
    for (int64_t i : kept)
      keptBias.push_back(bias[i]);
    newBias = makeNumbersOp(rewriter, loc, elementTypeOf(weight), {int64_t(kept.size())}, keptBias, "units");
  }
  Value x = first.cloneWith(rewriter, first->getLoc(), first.getActivation(), weight, newBias)->getResult(0);
  for (Operation *op : layers.between) {
    rewriter.setInsertionPoint(op);
    Operation *smaller = op->clone();
    smaller->setOperand(0, x);
    rewriter.insert(smaller);
    x = smaller->getResult(0);
  }
  rewriter.setInsertionPoint(second);
  Value outgoing = writeRows(rewriter, loc, v, kept, second.getWeight(), second.getWeightInAxis()), secondBias = second.getBias();
  if (constant) {
    std::vector<double> sums = biasOf(second), taps = sumOfTaps(second, values);
    for (size_t i = 0; i < taps.size(); ++i)
      sums[i / (taps.size() / sums.size())] += taps[i];
    secondBias = makeNumbersOp(rewriter, loc, elementTypeOf(weight), {int64_t(sums.size())}, sums, "bias");
  }
  Value result = second.cloneWith(rewriter, second->getLoc(), x, outgoing, secondBias)->getResult(0);
  rewriter.replaceOp(second, result);
  for (Operation *op : llvm::reverse(layers.between))
    rewriter.eraseOp(op);
  rewriter.eraseOp(first);
}

struct RemoveReluUnitsPass : impl::RemoveReluUnitsBase<RemoveReluUnitsPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::ReluOp> relus;
    getOperation().walk([&](nn::ReluOp op) { relus.push_back(op); });
    for (nn::ReluOp relu : relus) {
      std::string why;
      auto layers = findLayers(relu, why);
      if (!layers) {
        if (!why.empty())
          missedRemark(relu.getLoc(), kPass, "kept") << remark::reason("{0}", why);
        continue;
      }
      Location loc = relu.getLoc();
      Units units(*layers);
      int64_t removed = units.choose();
      if (!removed) {
        missedRemark(loc, kPass, "kept") << remark::reason("every unit counts");
        continue;
      }
      units.rewrite(rewriter);
      passedRemark(loc, kPass, "removed") << remark::metric("Units", removed) << remark::metric("Dead", units.dead)
                                          << remark::metric("Constant", units.constant)
                                          << remark::metric("Multiples", units.multiples);
      numRemoved += removed;
    }
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt

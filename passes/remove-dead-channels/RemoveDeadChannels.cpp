//===- RemoveDeadChannels.cpp - channels that add nothing -----------------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"
#include "passes/remove-dead-channels/KnownChannels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/MapVector.h"
#include <map>

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_REMOVEDEADCHANNELS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "remove-dead-channels";

using UnitNumber = std::pair<unsigned, unsigned>;

/// What removing units takes, found by looking at every sum over them.
class DeadUnits {
public:
  DeadUnits(func::FuncOp func, const AxisGroups &groups) : func(func), groups(groups), known(func, groups) {}
  /// The units that can go.
  std::vector<UnitNumber> find();
  /// For layers whose bias has to take over a constant: that number for each of their in channels.
  llvm::MapVector<Operation *, std::vector<double>> shifts;

private:
  void lookAt(Operation *op, const nn::AxisTies &ties);
  bool addsNothing(Operation *op, nn::Axis a, nn::Axis b, int64_t index, bool foldsConstants);
  void keep(unsigned place, int64_t index) {
    if (auto unit = groups.unitOf(place, index))
      kept.insert(*unit);
  }

  func::FuncOp func;
  const AxisGroups &groups;
  KnownChannels known;
  llvm::DenseSet<UnitNumber> kept;
};

/// Whether index `index` of `a`, multiplied with b, adds nothing to the sums of `op`, or what its bias can add.
bool DeadUnits::addsNothing(Operation *op, nn::Axis a, nn::Axis b, int64_t index, bool foldsConstants) {
  for (nn::Axis axis : {a, b}) {
    auto place = groups.placeOf(op, axis);
    if (place && known.isZero(*place, index))
      return true;
    Value v = axis.of == nn::Axis::Of::Operand ? op->getOperand(axis.number) : Value();
    if (auto data = v ? nn::ConstantData::get(v) : std::nullopt; data && isZeroSlice(*data, axis.dim, index))
      return true;
  }
  auto place = groups.placeOf(op, a);
  return foldsConstants && place && known.at(*place, index);
}

void DeadUnits::lookAt(Operation *op, const nn::AxisTies &ties) {
  for (nn::Axis a : ties.measured)
    if (auto place = groups.placeOf(op, a))
      for (int64_t i = 0; i < groups.places()[*place].size; ++i)
        if (!known.isZero(*place, i))
          keep(*place, i);
  auto linear = dyn_cast<nn::LinearOp>(op);
  bool foldsConstants =
      linear && seesNoBorder(linear) && linear.getEpilogue().empty() && whyNotAffineBefore(linear, false, true).empty();
  for (auto [a, b] : ties.contractions) {
    auto place = groups.placeOf(op, a);
    if (!place)
      continue;
    for (int64_t i = 0; i < groups.places()[*place].size; ++i)
      if (groups.unitOf(*place, i) && !addsNothing(op, a, b, i, foldsConstants))
        keep(*place, i);
  }
  // Whole groups of a convolution: nothing is summed over them.
}

std::vector<UnitNumber> DeadUnits::find() {
  for (Operation &op : func.getBody().front())
    if (const nn::AxisTies *ties = groups.tiesOf(&op))
      lookAt(&op, *ties);
  // One index of each axis stays.
  std::vector<int64_t> left;
  for (const AxisGroups::Place &p : groups.places())
    left.push_back(p.size);
  std::vector<UnitNumber> dead;
  for (auto [g, group] : llvm::enumerate(groups.groups()))
    for (auto [u, unit] : llvm::enumerate(group.units)) {
      bool canGo = !kept.contains({unsigned(g), unsigned(u)}) && llvm::all_of(unit, [&](const AxisGroups::Member &m) {
        return left[m.place] > int64_t(m.indices.size());
      });
      for (const AxisGroups::Member &m : unit)
        left[m.place] -= canGo ? m.indices.size() : 0;
      if (canGo)
        dead.push_back({g, u});
    }
  // What removed constants added goes into biases.
  llvm::DenseSet<UnitNumber> gone(dead.begin(), dead.end());
  for (Operation &op : func.getBody().front())
    if (auto linear = dyn_cast<nn::LinearOp>(op)) {
      nn::Axis a = nn::AxisTies::operand(linear.getActivationMutable().getOperandNumber(), linear.getInChannelAxis());
      auto place = groups.placeOf(&op, a);
      if (!place || !isConstant(linear.getWeight()))
        continue;
      auto data = nn::ConstantData::get(linear.getWeight());
      std::vector<double> values(groups.places()[*place].size, 0.0);
      bool some = false;
      for (auto [i, value] : llvm::enumerate(values)) {
        auto unit = groups.unitOf(*place, i);
        auto c = known.at(*place, i);
        if (!unit || !gone.contains(*unit) || c.value_or(0) == 0 || linear.getGroups() != 1 ||
            isZeroSlice(*data, linear.getWeightInAxis(), i))
          continue;
        value = *c;
        some = true;
      }
      if (some)
        shifts[&op] = std::move(values);
    }
  return dead;
}

/// Whether any layer has a row or a column of zeros: all else takes longer to find out.
bool mayHaveDeadUnits(func::FuncOp func) {
  for (Operation &op : func.getBody().front()) {
    auto linear = dyn_cast<nn::LinearOp>(op);
    auto data = linear ? nn::ConstantData::get(linear.getWeight()) : std::nullopt;
    if (!data || !isa<FloatType>(data->type().getElementType()))
      continue;
    for (int64_t axis : {linear.getWeightInAxis(), linear.getWeightOutAxis()})
      for (int64_t i = 0; axis >= 0 && i < data->type().getDimSize(axis); ++i)
        if (isZeroSlice(*data, axis, i))
          return true;
  }
  return false;
}

struct RemoveDeadChannelsPass : impl::RemoveDeadChannelsBase<RemoveDeadChannelsPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    llvm::DenseSet<Operation *> named;
    while (mayHaveDeadUnits(func)) {
      FuncShapes shapes(func);
      if (failed(shapes.infer()))
        return signalPassFailure();
      AxisGroups groups(func, shapes);
      for (const AxisGroups::Barrier &barrier : groups.barriers())
        if (named.insert(barrier.op).second)
          missedRemark(barrier.op->getLoc(), kPass, "barrier")
              << remark::reason("{0}: {1}", barrier.op->getName().getStringRef(), barrier.reason);
      DeadUnits dead(func, groups);
      std::vector<UnitNumber> units = dead.find();
      if (units.empty())
        return;
      std::map<unsigned, int64_t> counts;
      for (auto [group, unit] : units)
        ++counts[group];
      for (auto [group, count] : counts) {
        passedRemark(func.getLoc(), kPass, "removed")
            << remark::metric("Units", count) << remark::add("of {0}", groups.groups()[group].name);
        numRemoved += count;
      }
      // Sums of taps need the weights as they are; layers are made anew behind.
      llvm::MapVector<Operation *, std::vector<double>> biases;
      for (auto &[op, values] : dead.shifts) {
        auto linear = cast<nn::LinearOp>(op);
        std::vector<double> sums = biasOf(linear), taps = sumOfTaps(linear, values);
        for (size_t i = 0; i < taps.size(); ++i)
          sums[i / (taps.size() / sums.size())] += taps[i];
        auto out = groups.placeOf(op, nn::AxisTies::result(0, linear.getOutChannelAxis()));
        llvm::DenseSet<UnitNumber> gone(units.begin(), units.end());
        for (size_t i = 0; i < sums.size(); ++i)
          if (auto unit = out ? groups.unitOf(*out, i) : std::nullopt; !unit || !gone.contains(*unit))
            biases[op].push_back(sums[i]);
      }
      if (failed(groups.remove(units)))
        return signalPassFailure();
      FuncShapes after(func);
      if (failed(after.infer()))
        return signalPassFailure();
      IRRewriter rewriter(&getContext(), &after);
      for (auto &[op, values] : biases) {
        auto linear = cast<nn::LinearOp>(op);
        rewriter.setInsertionPoint(op);
        Value bias = makeNumbersOp(rewriter, op->getLoc(), elementTypeOf(op->getResult(0)), {int64_t(values.size())},
                                   values, "bias");
        rewriter.replaceOp(
            op,
            linear.cloneWith(rewriter, op->getLoc(), linear.getActivation(), linear.getWeight(), bias)->getResult(0));
      }
      eraseDeadOps(func, rewriter);
    }
  }
};

} // namespace
} // namespace nnopt

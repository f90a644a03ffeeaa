//===- FoldPad.cpp - padding into convolution and pooling -----------------===//
#include "passes/Passes.h"
#include "passes/common/Rewrite.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDPAD
#include "passes/Passes.h.inc"

namespace {

constexpr StringLiteral kPass = "fold-pad";

/// Pads of every dimension of x: all begins, then all ends; nothing where they are not constant.
std::optional<SmallVector<int64_t>> constantPads(nn::PadOp op) {
  auto values = numbersOf(op.getPads());
  std::optional<std::vector<double>> axes;
  if (op.getAxes() && !(axes = numbersOf(op.getAxes())))
    return std::nullopt;
  int64_t rank = rankOf(op.getX());
  size_t count = axes ? axes->size() : rank;
  if (!values || values->size() != 2 * count)
    return std::nullopt;
  SmallVector<int64_t> pads(2 * rank, 0);
  for (size_t i = 0; i < count; ++i) {
    int64_t axis = axes ? int64_t((*axes)[i]) : int64_t(i);
    axis = axis < 0 ? axis + rank : axis;
    pads[axis] = (*values)[i];
    pads[rank + axis] = (*values)[count + i];
  }
  return pads;
}

/// The attributes of a window that pads change.
struct Window {
  SmallVector<int64_t> pads, dilated;
  bool channelsLast;
};

template <typename Op> Window windowOf(Op op, ArrayRef<int64_t> kernel) {
  Window w{SmallVector<int64_t>(op.getPads()), {}, op.getChannelsLast()};
  for (auto [size, dilation] : llvm::zip(kernel, op.getDilations()))
    w.dilated.push_back((size - 1) * dilation + 1);
  return w;
}

/// Whether the padded value is `expected`, which a pad without value has when it is 0.
bool padsWith(nn::PadOp pad, double expected) {
  if (!pad.getValue())
    return expected == 0;
  auto value = scalarOf(pad.getValue());
  return value && (expected == 0 ? *value == 0 : *value <= expected);
}

/// Adds the pad to those of its only user, or says why not.
std::string fold(nn::PadOp pad, Operation *user) {
  if (pad.getMode() != nn::PadMode::constant)
    return "its mode is not constant";
  auto pads = constantPads(pad);
  if (!pads)
    return "its pads are not constant";
  Window w;
  double neutral = 0;
  if (auto conv = dyn_cast<nn::ConvOp>(user)) {
    if (conv.getX() != pad.getResult())
      return "it is not the image that is padded";
    ArrayRef<int64_t> kernel = shapeOf(conv.getW()).drop_front(2);
    if (ShapedType::isDynamicShape(kernel))
      return "the size of the window is not static";
    w = windowOf(conv, kernel);
  } else if (auto pool = dyn_cast<nn::AvgPoolOp>(user)) {
    w = windowOf(pool, pool.getKernel());
    if (pool.getCeilMode() || (!pool.getCountIncludePad() && llvm::any_of(w.pads, [](int64_t p) { return p != 0; })))
      return "the average would count its own padding and this one alike";
  } else {
    auto max = cast<nn::MaxPoolOp>(user);
    if (max.getIndices() || max.getCeilMode())
      return "the pooling gives positions, or rounds its size up";
    w = windowOf(max, max.getKernel());
    neutral = -3.4e38;
  }
  if (!padsWith(pad, neutral))
    return "it does not pad with the value that the window ignores";
  int64_t rank = rankOf(pad.getX()), spatial = rank - 2, first = w.channelsLast ? 1 : 2;
  for (int64_t axis = 0; axis < rank; ++axis) {
    int64_t low = (*pads)[axis], high = (*pads)[rank + axis], d = axis - first;
    if (low < 0 || high < 0)
      return "it removes elements";
    if (d < 0 || d >= spatial) {
      if (low || high)
        return "it pads batch or channels";
      continue;
    }
    w.pads[d] += low;
    w.pads[spatial + d] += high;
    if (std::max(w.pads[d], w.pads[spatial + d]) >= w.dilated[d])
      return "windows would lie in padding alone";
  }
  OpBuilder b(user);
  user->setAttr("pads", b.getDenseI64ArrayAttr(w.pads));
  if (auto pool = dyn_cast<nn::AvgPoolOp>(user))
    pool.setCountIncludePad(true);
  user->setOperand(0, pad.getX());
  user->setLoc(fusedLoc({pad, user}));
  return "";
}

struct FoldPadPass : impl::FoldPadBase<FoldPadPass> {
  void runOnOperation() override {
    SmallVector<nn::PadOp> pads;
    getOperation().walk([&](nn::PadOp op) { pads.push_back(op); });
    for (nn::PadOp pad : pads) {
      if (pad->use_empty())
        continue;
      Operation *user = *pad->user_begin();
      bool isWindow = isa<nn::ConvOp, nn::AvgPoolOp, nn::MaxPoolOp>(user);
      std::string why = !pad->hasOneUse() ? "it has other users"
                        : !isWindow       ? "what uses it is no convolution or pooling"
                                          : fold(pad, user);
      if (!why.empty()) {
        missedRemark(pad.getLoc(), kPass, "not-folded") << remark::reason("{0}", why);
        continue;
      }
      passedRemark(user->getLoc(), kPass, "folded") << remark::add("{0}", user->getName().getStringRef().str());
      pad.erase();
      ++numFolded;
    }
  }
};

} // namespace
} // namespace nnopt

//===- EqualizeChannels.cpp - channels of equal size ------------------------===//
#include "passes/Passes.h"
#include "passes/common/Affine.h"
#include "passes/common/ChannelMoments.h"
#include "passes/common/ChannelViews.h"
#include <cmath>

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_EQUALIZECHANNELS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "equalize-channels";
constexpr int kMaxRounds = 10;

/// A linear operation that reads the channels, and for each of its in channels which one that is; -1: another value's.
struct Reader {
  nn::LinearOp op;
  std::vector<int64_t> channels;
};

/// All that reads a value's channels, through what is positively homogeneous.
class Readers {
public:
  explicit Readers(FuncShapes &shapes) : shapes(shapes) {}
  /// Why the channels along `axis` of `v` must stay as they are; empty when `found` is complete.
  std::string find(Value v, int64_t axis, int64_t channels) {
    // A scale says which channel it is of; 1 is that of other values.
    ChannelMap map{axis, std::vector<double>(channels), std::vector<double>(channels, 0)};
    for (int64_t c = 0; c < channels; ++c)
      map.scale[c] = double(c + 2);
    return follow(v, map);
  }
  std::vector<Reader> found;

private:
  std::string follow(Value v, const ChannelMap &map) {
    if (v.use_empty())
      return "nothing reads it";
    for (OpOperand &use : v.getUses())
      if (std::string why = followInto(use, map); !why.empty())
        return why;
    return "";
  }

  std::string followInto(OpOperand &use, const ChannelMap &map) {
    Operation *op = use.getOwner();
    std::string name = op->getName().getStringRef().str();
    if (op->hasTrait<OpTrait::IsTerminator>())
      return "its result leaves here too";
    if (auto linear = dyn_cast<nn::LinearOp>(op)) {
      if (!isa<nn::ConvOp, nn::MatMulOp>(op) || &use != &linear.getActivationMutable() || !isPlainF32(linear) ||
          map.axis != linear.getInChannelAxis() || linear.getInChannels() != int64_t(map.size()))
        return name + " does not read it as its channels";
      if (std::string why = whyNotAffineBefore(linear, true, false); !why.empty())
        return "of " + name + ": " + why;
      Reader reader{linear, {}};
      for (double scale : map.scale)
        reader.channels.push_back(int64_t(scale) - 2);
      if (llvm::any_of(found, [&](Reader &r) { return r.op == linear; }))
        return name + " reads it twice";
      found.push_back(reader);
      return "";
    }
    bool first = use.getOperandNumber() == 0;
    if (isa<nn::MulOp>(op) || (isa<nn::ReluOp, nn::LeakyReluOp, nn::PReluOp, nn::DivOp>(op) && first)) {
      Value result = op->getResult(0);
      if (rankOf(result) != rankOf(use.get()) || shapes.dims(result)[map.axis] != shapes.dims(use.get())[map.axis])
        return name + " broadcasts its channels";
      return follow(result, map); // a product of two such values comes here twice, and finds its readers twice
    }
    ViewMaps maps = mapAfter(use, map, shapes);
    if (!maps.passes)
      return maps.why;
    if (maps.padValue.value_or(0) != 0)
      return "its padding is not 0";
    for (auto &[result, after] : maps.results)
      if (std::string why = follow(result, after); !why.empty())
        return why;
    return "";
  }

  FuncShapes &shapes;
};

/// The largest weights of each out channel, or of each in channel.
std::vector<double> largestWeights(nn::LinearOp op, bool ofOut) {
  std::vector<float> values = nn::ConstantData::get(op.getWeight())->asFloats();
  ArrayRef<int64_t> shape = shapeOf(op.getWeight());
  auto strideOf = [&](int64_t axis) { return ShapedType::getNumElements(shape.drop_front(axis + 1)); };
  int64_t out = op.getWeightOutAxis(), in = op.getWeightInAxis();
  int64_t outStride = strideOf(out), inStride = strideOf(in), outPerGroup = shape[out] / op.getGroups();
  std::vector<double> largest(ofOut ? op.getOutChannels() : op.getInChannels());
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t o = int64_t(i) / outStride % shape[out];
    double &to = largest[ofOut ? o : o / outPerGroup * shape[in] + int64_t(i) / inStride % shape[in]];
    to = std::max(to, double(std::fabs(values[i])));
  }
  return largest;
}

struct EqualizeChannelsPass : impl::EqualizeChannelsBase<EqualizeChannelsPass> {
  using EqualizeChannelsBase::EqualizeChannelsBase;

  /// Scales the out channels of `op`; whether anything changed, or why nothing can.
  bool equalize(nn::LinearOp op, FuncShapes &shapes, IRRewriter &rewriter, std::string &why) {
    int64_t channels = op.getOutChannels();
    why = whyNotAffine(op, true);
    if (!why.empty())
      return false;
    Readers readers(shapes);
    why = readers.find(op->getResult(0), op.getOutChannelAxis(), channels);
    if (!why.empty())
      return false;
    std::vector<double> made = largestWeights(op, true), read(channels);
    for (Reader &reader : readers.found) {
      std::vector<double> largest = largestWeights(reader.op, false);
      for (size_t i = 0; i < largest.size(); ++i)
        if (reader.channels[i] >= 0)
          read[reader.channels[i]] = std::max(read[reader.channels[i]], largest[i]);
    }
    std::vector<double> scales(channels, 1);
    double least = INFINITY, most = 0;
    for (int64_t c = 0; c < channels; ++c) {
      if (!(made[c] > 0) || !(read[c] > 0) || std::isinf(made[c]) || std::isinf(read[c]))
        continue; // dead: any scale is as good
      scales[c] = std::exp2(std::round(std::log2(made[c] / read[c]) / 2));
      least = std::min(least, scales[c]);
      most = std::max(most, scales[c]);
    }
    if (!(most >= threshold * least))
      return false;
    std::vector<double> inverse(scales);
    for (double &s : inverse)
      s = 1 / s;
    for (Reader &reader : readers.found) {
      std::vector<double> before(reader.channels.size(), 1);
      for (size_t i = 0; i < before.size(); ++i)
        if (reader.channels[i] >= 0)
          before[i] = scales[reader.channels[i]];
      Value scaled = applyAffineBefore(rewriter, reader.op, before, {}, reader.op.getLoc());
      rewriter.replaceOp(reader.op, scaled);
    }
    Value scaled = applyAffine(rewriter, op, inverse, {}, op.getLoc());
    scaleMoments(scaled.getDefiningOp(), inverse);
    rewriter.replaceOp(op, scaled);
    return true;
  }

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    auto linears = [&] {
      SmallVector<nn::LinearOp> all;
      getOperation().walk([&](nn::LinearOp op) {
        if (isa<nn::ConvOp, nn::MatMulOp>(op.getOperation()) && isPlainF32(op) && op.getWeightOutAxis() >= 0)
          all.push_back(op);
      });
      return all;
    };
    bool changed = true;
    for (int round = 0; round < kMaxRounds && changed; ++round) {
      changed = false;
      // Each replaces the next ones: they are counted, not kept.
      for (size_t i = 0, n = linears().size(); i < n; ++i) {
        nn::LinearOp op = linears()[i];
        Location loc = op.getLoc();
        std::string why;
        if (equalize(op, shapes, rewriter, why)) {
          changed = true;
          if (round == 0)
            ++numEqualized;
          passedRemark(loc, kPass, "equalized") << remark::metric("Round", int64_t(round));
        } else if (round == 0 && !why.empty()) {
          missedRemark(loc, kPass, "not-equalized") << remark::reason("{0}", why);
        }
      }
    }
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt

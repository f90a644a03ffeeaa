//===- RoiAlign.cpp - means of regions, separably -------------------------===//
//
// The mean over a bin is a weighted sum of the elements around it, and the weight of an element is a
// product of one for its row and one for its column: each the sum of what the samples along that axis
// give it. So the weights of a region are two small tables, whatever the number of samples, and for each
// channel the rows of a bin are first combined into one row, which the bins then take their columns from.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cpu/sampling/Regions.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// Channels of a task: enough to pay for the tables.
constexpr int64_t kChannels = 16;

/// Weights of the elements [low, high) of one axis, for each bin: [bin][element].
struct AxisTable {
  Buffer weight, low, high;
};

class RoiAlignEmitter {
public:
  RoiAlignEmitter(nn::RoiAlignOp op, Lowering &lowering)
      : op(op), lowering(lowering), k(lowering, op, "roi_align"), rule(k, op), y(k.write(op.getResult())) {}

  void emit() {
    int64_t bytes = rule.type.getIntOrFloatBitWidth() / 8;
    for (unsigned axis = 0; axis < 2; ++axis) {
      nn::Dim bins = lowering.c(rule.bins(axis));
      tables[axis] = {k.at(k.scratch(bins * rule.size(axis) * bytes), rule.type),
                      k.at(k.scratch(bins * 8), k.b.getI64Type()), k.at(k.scratch(bins * 8), k.b.getI64Type())};
    }
    row = k.at(k.scratch(rule.size(1) * bytes), rule.type);
    nn::Dim channels = rule.x.dims[1], blocks = channels.ceilDiv(kChannels);
    shape = {lowering.target.lanes(bytes), 2, /*masked=*/false};
    Ix perRegion = k.dim(blocks);
    forTasks(k, [&](Ix task) {
      Ix region = task / perRegion, first = task % perRegion * kChannels;
      Ix image = rule.imageOf(region);
      Value valid = rule.isValid(image);
      RegionAxis axes[2] = {rule.axis(region, 0), rule.axis(region, 1)};
      Ix count = (axes[0].samples * axes[1].samples).max(k.c(1));
      for (unsigned axis = 0; axis < 2; ++axis) {
        axes[axis].samples = k.selectIx(valid, axes[axis].samples, k.c(0));
        fill(axes[axis], axis);
      }
      Value factor = (Float(&k, k.constant(rule.type, 1)) / Float::of(count, k, rule.type)).v;
      image = k.selectIx(valid, image, k.c(0));
      Ix plane = k.dim(rule.size(0)) * k.dim(rule.size(1)), perImage = k.dim(channels);
      k.loop(first, (first + kChannels).min(perImage), 1, [&](Ix c) {
        channel((image * perImage + c) * plane, (region * perImage + c) * (rule.bins(0) * rule.bins(1)), factor);
      });
    });
    k.bytes = lowering.numElements(op.getX()) * bytes;
    lowering.launch(k, lowering.dims(op.getRois())[0] * blocks);
  }

private:
  /// What the samples of every bin along an axis give its elements.
  void fill(const RegionAxis &a, unsigned axis) {
    AxisTable &table = tables[axis];
    Ix size = k.dim(rule.size(axis));
    k.loop(k.c(0), k.c(rule.bins(axis)), 1, [&](Ix bin) {
      Ix base = bin * size;
      auto range = k.loop(k.c(0), a.samples, 1, {size, k.c(0)}, [&](Ix i, ValueRange state) {
        RegionTap t = rule.tap(a, axis, bin, i);
        Ix low(&k, state[0]), high(&k, state[1]);
        return SmallVector<Value>{k.selectIx(t.valid, low.min(t.low), low),
                                  k.selectIx(t.valid, high.max(t.high + 1), high)};
      });
      Ix low(&k, range[0]), high(&k, range[1]);
      k.store(table.low, bin, low);
      k.store(table.high, bin, high);
      k.loop(low, high, 1, [&](Ix i) { k.store(table.weight, base + i, k.constant(rule.type, 0)); });
      k.loop(k.c(0), a.samples, 1, [&](Ix i) {
        RegionTap t = rule.tap(a, axis, bin, i);
        k.ifThen(t.valid, [&] {
          for (auto [at, w] : {std::pair{t.low, t.lowWeight}, {t.high, t.highWeight}})
            k.store(table.weight, base + at, fadd(k, k.load(table.weight, base + at), w.v));
        });
      });
    });
  }

  /// All bins of one channel, whose elements begin at `from`.
  void channel(Ix from, Ix to, Value factor) {
    AxisTable &rows = tables[0], &columns = tables[1];
    Ix width = k.dim(rule.size(1)), height = k.dim(rule.size(0));
    Value zero = k.constant(rule.type, 0);
    // The columns that any bin needs.
    auto range = k.loop(k.c(0), k.c(rule.bins(1)), 1, {width, k.c(0)}, [&](Ix bin, ValueRange state) {
      return SmallVector<Value>{Ix(&k, state[0]).min(Ix(&k, k.load(columns.low, bin))),
                                Ix(&k, state[1]).max(Ix(&k, k.load(columns.high, bin)))};
    });
    Ix first(&k, range[0]), end = Ix(&k, range[1]).max(first);
    k.loop(k.c(0), k.c(rule.bins(0)), 1, [&](Ix bin) {
      fillRow(k, row, first, zero, end - first);
      k.loop(Ix(&k, k.load(rows.low, bin)), Ix(&k, k.load(rows.high, bin)), 1, [&](Ix i) {
        Value weight = k.load(rows.weight, bin * height + i);
        // Elements without weight may be infinite.
        k.ifThen(arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, weight, zero), [&] {
          vectorLoop(k, first, end, shape, /*multiple=*/false, [&](const Step &step) {
            for (Ix c : step.at) {
              Value v = k.toFloat(loadStep(k, rule.x, from + i * width + c, step));
              Value sum = loadStep(k, row, c, step);
              storeStep(k, row, c, k.fma(v, like(k, weight, step), sum), step);
            }
          });
        });
      });
      k.loop(k.c(0), k.c(rule.bins(1)), 1, [&](Ix column) {
        Value sum = k.loop(Ix(&k, k.load(columns.low, column)), Ix(&k, k.load(columns.high, column)), 1, {zero},
                           [&](Ix i, ValueRange state) {
                             Value weight = k.load(columns.weight, column * width + i);
                             Value isUsed = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, weight, zero);
                             Value next = k.fma(weight, k.load(row, i), state[0]);
                             return SmallVector<Value>{k.select(isUsed, next, state[0])};
                           })[0];
        k.store(y, to + bin * rule.bins(1) + column, k.fromFloat(fmul(k, sum, factor), y.valueType));
      });
    });
  }

  nn::RoiAlignOp op;
  Lowering &lowering;
  Kernel k;
  RoiAlignRule rule;
  Buffer y, row;
  AxisTable tables[2];
  VectorShape shape;
};

bool match(Operation *op, Lowering &) { return !cast<nn::RoiAlignOp>(op).getMax(); }

LogicalResult emit(Operation *op, Lowering &lowering) {
  RoiAlignEmitter(cast<nn::RoiAlignOp>(op), lowering).emit();
  return success();
}

RegisterEmitter separable({"nn.roi_align", "roi-align-separable", 10, match, emit});

} // namespace
} // namespace nnopt::cpu

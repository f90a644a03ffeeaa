//===- Regions.cpp - regions of interest, sample by sample ----------------===//
#include "lib/codegen/cpu/sampling/Regions.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include <cmath>

using namespace mlir;
namespace nnopt::cpu {

RoiAlignRule::RoiAlignRule(Kernel &k, nn::RoiAlignOp op)
    : k(k), op(op), x(k.read(op.getX())), rois(k.read(op.getRois())), images(k.read(op.getBatchIndices())),
      type(computeType(x.valueType)) {}

Ix RoiAlignRule::imageOf(Ix region) { return k.toIndex(k.load(images, region), images.isUnsigned); }

RegionAxis RoiAlignRule::axis(Ix region, unsigned axis) {
  // Columns: x1, y1, x2, y2.
  auto corner = [&](int64_t column) {
    Float v(&k, k.toFloat(k.load(rois, region * 4 + column)));
    return v * op.getSpatialScale().convertToDouble() - (op.getHalfPixel() ? 0.5 : 0.0);
  };
  RegionAxis a;
  a.start = corner(axis == 0 ? 1 : 0);
  Float length = corner(axis == 0 ? 3 : 2) - a.start;
  if (!op.getHalfPixel())
    length = length.atLeast(length.like(1));
  a.binSize = length / double(bins(axis));
  // As many samples as a bin has elements; none where the region is empty. NaN and what no image holds end
  // at numbers that can be converted.
  a.samples = op.getSamplingRatio()
                  ? k.c(op.getSamplingRatio())
                  : a.binSize.ceil().atLeast(a.binSize.like(0)).atMost(a.binSize.like(1 << 24)).index();
  return a;
}

RegionTap RoiAlignRule::tap(const RegionAxis &a, unsigned axis, Ix bin, Ix i) {
  Ix size = k.dim(this->size(axis)), last = size - 1;
  Float n = Float::of(size, k, type);
  Float v = a.start + Float::of(bin, k, type) * a.binSize +
            (Float::of(i, k, type) + 0.5) * a.binSize / Float::of(a.samples, k, type);
  RegionTap t;
  t.valid = k.land(k.land(v >= v.like(-1), v <= n), k.c(0) < size);
  // Kept inside of the axis whatever v is.
  v = v.atLeast(v.like(0)).atMost(n);
  Ix low = v.index();
  Value atEnd = low >= last;
  t.low = k.selectIx(atEnd, last, low).max(k.c(0));
  t.high = k.selectIx(atEnd, t.low, low + 1);
  Float rest = Float::choose(atEnd, v.like(0), v - Float::of(low, k, type));
  t.highWeight = rest;
  t.lowWeight = v.like(1) - rest;
  return t;
}

namespace {

//===----------------------------------------------------------------------===//
// nn.roi_align, every element by itself
//===----------------------------------------------------------------------===//

LogicalResult emitRoiAlign(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::RoiAlignOp>(operation);
  const nn::Dims &outDims = lowering.dims(op.getResult());
  Kernel k(lowering, op, "roi_align_reference");
  RoiAlignRule rule(k, op);
  Buffer y = k.write(op.getResult());
  Ix width = k.dim(rule.size(1)), plane = k.dim(rule.size(0)) * width;
  Value zero = k.constant(rule.type, 0);
  bool isMax = op.getMax();
  forTasks(k, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, outDims);
    Ix image = rule.imageOf(at[0]);
    RegionAxis rows = rule.axis(at[0], 0), columns = rule.axis(at[0], 1);
    Ix base = (image * k.dim(rule.x.dims[1]) + at[1]) * plane;
    Ix count = k.selectIx(rule.isValid(image), rows.samples * columns.samples, k.c(0));
    Value start = isMax ? floatConstant(k, rule.type, -INFINITY) : zero;
    Value result = k.loop(k.c(0), count, 1, {start}, [&](Ix sample, ValueRange state) {
      RegionTap r = rule.tap(rows, 0, at[2], sample / columns.samples);
      RegionTap c = rule.tap(columns, 1, at[3], sample % columns.samples);
      Value v = k.ifElse(
          k.land(r.valid, c.valid), rule.type,
          [&] {
            auto term = [&](Ix row, Ix column, Float weight) {
              return Float(&k, k.toFloat(k.load(rule.x, base + row * width + column))) * weight;
            };
            Value terms[] = {
                term(r.low, c.low, r.lowWeight * c.lowWeight).v, term(r.low, c.high, r.lowWeight * c.highWeight).v,
                term(r.high, c.low, r.highWeight * c.lowWeight).v, term(r.high, c.high, r.highWeight * c.highWeight).v};
            Value all = terms[0];
            for (Value t : ArrayRef(terms).drop_front())
              all = isMax ? maxElements(k, all, t, false) : addElements(k, all, t);
            return SmallVector<Value>{all};
          },
          [&] { return SmallVector<Value>{zero}; })[0];
      return SmallVector<Value>{isMax ? maxElements(k, state[0], v, false) : addElements(k, state[0], v)};
    })[0];
    if (isMax)
      result = k.select(count == 0, zero, result);
    else
      result = (Float(&k, result) / Float::of(count.max(k.c(1)), k, rule.type)).v;
    k.store(y, task, k.fromFloat(result, y.valueType));
  });
  k.grain = 8;
  lowering.launch(k, lowering.numElements(op.getResult()));
  return success();
}

//===----------------------------------------------------------------------===//
// nn.max_roi_pool
//===----------------------------------------------------------------------===//

LogicalResult emitMaxRoiPool(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MaxRoiPoolOp>(operation);
  const nn::Dims &outDims = lowering.dims(op.getResult()), &xDims = lowering.dims(op.getX());
  Kernel k(lowering, op, "max_roi_pool");
  Buffer x = k.read(op.getX()), rois = k.read(op.getRois()), y = k.write(op.getResult());
  Type type = computeType(x.valueType);
  Ix width = k.dim(xDims[3]), plane = k.dim(xDims[2]) * width;
  forTasks(k, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, outDims);
    // Columns: image, x1, y1, x2, y2.
    auto number = [&](int64_t column) { return Float(&k, k.toFloat(k.load(rois, at[0] * 5 + column))); };
    auto bounded = [&](Float v) { return v.atLeast(v.like(-(1 << 30))).atMost(v.like(1 << 30)).index(); };
    auto corner = [&](int64_t column) {
      Float v = number(column) * op.getSpatialScale().convertToDouble();
      return bounded({&k, math::RoundOp::create(k.b, k.loc, v.v)});
    };
    Ix image = bounded(number(0)), low[2], high[2];
    for (unsigned axis = 0; axis < 2; ++axis) {
      Ix start = corner(axis == 0 ? 2 : 1), length = (corner(axis == 0 ? 4 : 3) - start + 1).max(k.c(1));
      Ix size = k.dim(xDims[2 + axis]), bin = at[2 + axis];
      Float binSize = Float::of(length, k, type) / double(axis == 0 ? op.getHeight() : op.getWidth());
      low[axis] = ((Float::of(bin, k, type) * binSize).floor().index() + start).max(k.c(0)).min(size);
      high[axis] = ((Float::of(bin + 1, k, type) * binSize).ceil().index() + start).max(k.c(0)).min(size);
    }
    high[0] = k.selectIx(image.inRange(k.dim(xDims[0])), high[0], low[0]);
    Ix base = (image * k.dim(xDims[1]) + at[1]) * plane;
    Value best = k.loop(low[0], high[0], 1, {floatConstant(k, type, -INFINITY)}, [&](Ix row, ValueRange outer) {
      return k.loop(low[1], high[1], 1, outer, [&](Ix column, ValueRange state) {
        Value v = k.toFloat(k.load(x, base + row * width + column));
        return SmallVector<Value>{maxElements(k, state[0], v, false)};
      });
    })[0];
    Value isEmpty = lor(k, high[0] <= low[0], high[1] <= low[1]);
    k.store(y, task, k.fromFloat(k.select(isEmpty, k.constant(type, 0), best), y.valueType));
  });
  k.grain = 16;
  lowering.launch(k, lowering.numElements(op.getResult()));
  return success();
}

RegisterEmitter roiAlign({"nn.roi_align", "roi-align-reference", 0, nullptr, emitRoiAlign});
RegisterEmitter maxRoiPool({"nn.max_roi_pool", "max-roi-pool", 0, nullptr, emitMaxRoiPool});

} // namespace
} // namespace nnopt::cpu

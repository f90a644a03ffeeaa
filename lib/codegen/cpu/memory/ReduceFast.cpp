//===- ReduceFast.cpp - vectorized reductions -------------------------------===//
//
// Axes are merged into alternating kept and reduced ones. Where the innermost one is reduced,
// vectors run along it and are merged at the end; where it is kept, each lane reduces for one
// result element. A long reduction to few elements is done in two stages, so that threads share it.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Reduction.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

using Kind = nn::ReduceKind;

/// One launch: reduces `x` over the axes of `space` where operand 1 (the result) has stride 0.
struct Stage {
  Lowering &l;
  Kernel &k;
  Buffer x, out;
  Reduction r;
  /// Elements that a final result stands for (mean divides by it).
  nn::Dim count;
  /// Whether x holds elements of the operation's operand (else accumulators of the stage before),
  /// and whether the result holds elements of its result (else accumulators).
  bool first = true, last = true;
  ReductionPart kept, gone;
  /// Elements reduced for one result element of this stage.
  nn::Dim local;

  void emit(const Space &space) {
    local = l.c(1);
    for (unsigned axis = 0; axis < space.rank(); ++axis) {
      bool isReduced = space.strides[1][axis].isConst(0);
      (isReduced ? gone : kept).add(space, axis);
      if (isReduced)
        local = local * space.sizes[axis];
    }
    nn::Dim total = nn::product(l.dimContext(), space.sizes);
    k.bytes = total * storageBytes(x);
    k.flops = total;
    if (space.strides[1].back().isConst(0))
      emitRows();
    else
      emitColumns();
  }

  int64_t lanes() const {
    int64_t bytes = std::max<int64_t>(r.acc.getIntOrFloatBitWidth() / 8, storageBytes(x));
    return l.target.lanes(std::max<int64_t>(1, bytes));
  }

  Value term(Value v, Value max) { return first ? r.term(v, max) : v; }
  Value finish(Value v, Value max) { return last ? r.finish(v, k.dim(count), max) : v; }

  /// The innermost axis is reduced: vectors along it, merged at the end.
  void emitRows() {
    nn::Dim inner = gone.sizes.back();
    VectorShape shape{lanes(), 4, canMask(l.target, storageBytes(x))};
    if (inner.isConst()) {
      shape.unroll = std::clamp<int64_t>(inner.value() / shape.lanes, 1, 4);
      if (inner.value() < shape.lanes / 2)
        shape = {};
    }
    bool multiple = isMultipleOf(inner, shape.lanes);
    nn::Dims outerSizes(ArrayRef<nn::Dim>(gone.sizes).drop_back());
    nn::Dims outerStrides(ArrayRef<nn::Dim>(gone.strides[0]).drop_back());
    nn::Dim outerCount = nn::product(l.dimContext(), outerSizes);

    auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> termOf) {
      Ix base = from;
      RowReduction row;
      row.type = r.acc;
      row.identity = r.identity(kind);
      row.merge = [&](Value a, Value c) { return r.combine(kind, a, c); };
      row.step = [&](Value acc, Ix i, const Step &step) {
        Value v = termOf(r.lift(loadStep(k, x, base + i, step)));
        return r.combine(kind, acc, fillMasked(k, v, row.identity, step));
      };
      SmallVector<Value> accs = reduceBegin(k, shape, row);
      accs = forEachIndex(k, outerSizes, {outerStrides}, k.c(0), k.dim(outerCount), accs,
                          [&](ArrayRef<Ix> offset, ValueRange carried) {
                            base = from + offset[0];
                            return reduceAccumulate(k, k.c(0), k.dim(inner), shape, multiple, row, carried);
                          });
      return reduceFinish(k, shape, row, accs);
    };
    Tasks tasks = keptTasks(kept.sizes, 1);
    Ix per = k.dim(tasks.perTask);
    Ix high = (k.end * per).min(k.dim(nn::product(l.dimContext(), kept.sizes)));
    forEachIndex(k, kept.sizes, kept.strides, k.begin * per, high, {}, [&](ArrayRef<Ix> offset, ValueRange) {
      Value max;
      if (r.needsMax())
        max = r.usableMax(pass(offset[0], Kind::max, [](Value v) { return v; }));
      Value acc = pass(offset[0], r.kind, [&](Value v) { return term(v, max); });
      k.store(out, offset[1], finish(acc, max));
      return SmallVector<Value>();
    });
    l.launch(k, tasks.count);
  }

  /// Tasks over result elements (or vectors of `width` of them), about 4096 elements of x each.
  Tasks keptTasks(ArrayRef<nn::Dim> sizes, int64_t width) {
    Tasks tasks;
    nn::Dim items = nn::product(l.dimContext(), sizes);
    int64_t perItem = local.isConst() ? std::max<int64_t>(1, local.value() * width) : 512;
    tasks.perTask = l.c(std::max<int64_t>(1, 4096 / perItem));
    tasks.count = items.ceilDiv(tasks.perTask);
    k.grain = perItem >= 4096 ? 1 : 2;
    return tasks;
  }

  /// The innermost axis is kept: each lane reduces for one result element.
  void emitColumns() {
    nn::Dim inner = kept.sizes.back();
    VectorShape shape{lanes(), 4, canMask(l.target, {x.storageType, out.storageType})};
    if (inner.isConst() && inner.value() < shape.lanes * 4)
      shape.unroll = std::max<int64_t>(1, inner.value() / shape.lanes);
    if (inner.isConst() && inner.value() < shape.lanes && !shape.masked)
      shape.lanes = llvm::bit_floor(uint64_t(std::max<int64_t>(1, inner.value())));
    int64_t block = shape.lanes * shape.unroll;
    nn::Dim blocks = inner.ceilDiv(l.c(block));

    // Index tuples: kept axes with the innermost one in blocks. A third operand counts its elements.
    nn::Dims sizes(ArrayRef<nn::Dim>(kept.sizes).drop_back());
    sizes.push_back(blocks);
    SmallVector<nn::Dims> strides;
    for (unsigned o = 0; o < 2; ++o) {
      strides.emplace_back(ArrayRef<nn::Dim>(kept.strides[o]).drop_back());
      strides.back().push_back(l.c(block));
    }
    nn::Dims position(kept.sizes.size() - 1, l.c(0));
    position.push_back(l.c(block));
    strides.push_back(position);

    Tasks tasks = keptTasks(sizes, block);
    Ix per = k.dim(tasks.perTask);
    Ix high = (k.end * per).min(k.dim(nn::product(l.dimContext(), sizes)));
    forEachIndex(k, sizes, strides, k.begin * per, high, {}, [&](ArrayRef<Ix> offset, ValueRange) {
      Ix width = (k.dim(inner) - offset[2]).min(k.c(block));
      if (inner.isConst() && inner.value() % block == 0)
        width = k.c(block);
      vectorLoop(k, k.c(0), width, shape, isMultipleOf(inner, shape.lanes),
                 [&](const Step &step) { columns(offset[0], offset[1], step); });
      return SmallVector<Value>();
    });
    l.launch(k, tasks.count);
  }

  void columns(Ix from, Ix to, const Step &step) {
    auto pass = [&](Kind kind, function_ref<Value(Value, unsigned)> termOf) {
      SmallVector<Value> init(step.at.size(), like(k, r.identity(kind), step));
      return forEachIndex(k, gone.sizes, {gone.strides[0]}, k.c(0), k.dim(local), init,
                          [&](ArrayRef<Ix> offset, ValueRange accs) {
                            SmallVector<Value> next;
                            for (auto [u, at] : llvm::enumerate(step.at)) {
                              Value v = r.lift(loadStep(k, x, from + offset[0] + at, step));
                              next.push_back(r.combine(kind, accs[u], termOf(v, u)));
                            }
                            return next;
                          });
    };
    SmallVector<Value> max(step.at.size());
    if (r.needsMax())
      for (auto [u, v] : llvm::enumerate(pass(Kind::max, [](Value v, unsigned) { return v; })))
        max[u] = r.usableMax(v);
    SmallVector<Value> accs = pass(r.kind, [&](Value v, unsigned u) { return term(v, max[u]); });
    for (auto [u, at] : llvm::enumerate(step.at))
      storeStep(k, out, to + at, finish(accs[u], max[u]), step);
  }
};

/// Elements below which one thread is enough, and the most parts of a first stage.
constexpr int64_t minElements = 1 << 15, maxParts = 64;

/// Into how many parts the axis is worth splitting: a divisor of its size, or 1.
int64_t partsOf(const Space &space, unsigned axis, int64_t total) {
  int64_t size = space.sizes[axis].value(), best = 1;
  for (int64_t parts = 2; parts <= std::min<int64_t>(maxParts, total / 8192); ++parts)
    if (size % parts == 0)
      best = parts;
  return best;
}

/// The reduced axis to split in two stages: the longest one, where the result is so small that a
/// single stage would be a task or two.
std::optional<unsigned> axisToSplit(const Space &space, int64_t elementsPerTask) {
  int64_t total = 1, results = 1;
  std::optional<unsigned> longest;
  for (unsigned axis = 0; axis < space.rank(); ++axis) {
    if (!space.sizes[axis].isConst())
      return std::nullopt;
    int64_t size = space.sizes[axis].value();
    total *= size;
    if (!space.strides[1][axis].isConst(0))
      results *= size;
    else if (!longest || size > space.sizes[*longest].value())
      longest = axis;
  }
  bool few = results <= 8 * elementsPerTask;
  if (!longest || !few || total < minElements || partsOf(space, *longest, total) == 1)
    return std::nullopt;
  return longest;
}

} // namespace

LogicalResult emitFastReduce(nn::ReduceOp op, Lowering &l) {
  nn::DimContext &ctx = l.dimContext();
  nn::Dims dims = l.dims(op.getX());
  Space space = reductionSpace(l, dims, reducedAxes(op, l));
  space.collapse(ctx);
  nn::Dim count = l.c(1);
  for (unsigned axis = 0; axis < space.rank(); ++axis)
    if (space.strides[1][axis].isConst(0))
      count = count * space.sizes[axis];
  Kernel k(l, op, kernelName(op));
  Buffer x = k.read(op.getX());
  Reduction r(k, op.getKind(), x.valueType, x.isUnsigned, /*precise=*/false);

  bool rows = space.strides[1].back().isConst(0);
  int64_t perTask = rows ? 1 : l.target.lanes(r.acc.getIntOrFloatBitWidth() / 8) * 4;
  auto split = r.needsMax() || r.acc.isInteger(1) ? std::nullopt : axisToSplit(space, perTask);
  if (!split) {
    Stage{l, k, x, k.write(op.getResult()), r, count}.emit(space);
    return success();
  }

  // The first stage keeps the number of the part as one more axis, outermost in its result.
  int64_t total = nn::product(ctx, space.sizes).value(), parts = partsOf(space, *split, total);
  nn::Dim results = l.numElements(op.getResult());
  TempTensor partial = l.temp(r.acc, {l.c(parts), results});
  nn::Dim size = space.sizes[*split].floorDiv(parts);
  Space first = space;
  first.sizes[*split] = size;
  first.sizes.insert(first.sizes.begin() + *split, l.c(parts));
  first.strides[0].insert(first.strides[0].begin() + *split, space.strides[0][*split] * size);
  first.strides[1].insert(first.strides[1].begin() + *split, results);
  Stage stage{l, k, x, k.write(partial), r, count};
  stage.last = false;
  stage.emit(first);

  Kernel k2(l, op, kernelName(op) + "_parts");
  Reduction r2(k2, op.getKind(), x.valueType, x.isUnsigned, /*precise=*/false);
  Space second;
  second.sizes = {l.c(parts), results};
  second.strides = {{results, l.c(1)}, {l.c(0), l.c(1)}};
  if (results.isConst(1)) {
    second.sizes = {l.c(parts)};
    second.strides = {{l.c(1)}, {l.c(0)}};
  }
  Stage merge{l, k2, k2.read(partial), k2.write(op.getResult()), r2, count};
  merge.first = false;
  merge.emit(second);
  return success();
}

} // namespace nnopt::cpu

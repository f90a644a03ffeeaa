//===- Resize.cpp - interpolation -----------------------------------------===//
#include "lib/codegen/cpu/irregular/ResizeTaps.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// Stretched filters have an emitter of their own.
bool matchUnfiltered(Operation *op, Lowering &) {
  auto resize = cast<nn::ResizeOp>(op);
  return !resize.getAntialias() || resize.getMode() == nn::ResizeMode::nearest;
}

//===----------------------------------------------------------------------===//
// Reference: every element by itself
//===----------------------------------------------------------------------===//

LogicalResult emitReference(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ResizeOp>(operation);
  ResizeTaps rule(op, lowering);
  if (failed(rule.defineSizes()))
    return failure();

  Kernel k(lowering, op, "resize_reference");
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  rule.prepare(k);
  SmallVector<Ix> strides = k.strides(lowering.dims(op.getX()));
  nn::Dims outDims = lowering.dims(op.getResult());
  forTasks(k, [&](Ix task) {
    SmallVector<Ix> position = k.delinearize(task, outDims);
    Ix base = k.c(0);
    SmallVector<SmallVector<Tap, 4>> axisTaps;
    SmallVector<Ix> axisStrides;
    for (unsigned d = 0; d < outDims.size(); ++d) {
      if (llvm::is_contained(rule.axes(), d)) {
        axisTaps.push_back(rule.taps(k, d, position[d]));
        axisStrides.push_back(strides[d]);
      } else {
        base = base + position[d] * strides[d];
      }
    }
    auto finish = [&](Value v) {
      if (rule.crops()) {
        Value outside = k.constant(k.b.getI1Type(), 0);
        for (unsigned axis : rule.axes())
          outside = lor(k, outside, rule.isOutside(k, axis, position[axis]));
        Value extrapolated = k.f32(op.getExtrapolationValue().convertToDouble());
        v = k.select(outside, saturatedFromFloat(k, extrapolated, x.valueType, x.isUnsigned), v);
      }
      k.store(y, task, v);
    };
    if (rule.count() == 1 || axisTaps.empty()) {
      forCombinations(k, axisTaps, axisStrides, base, Value(), [&](Ix offset, Value) { finish(k.load(x, offset)); });
      return;
    }
    Value sum;
    forCombinations(k, axisTaps, axisStrides, base, Value(), [&](Ix offset, Value weight) {
      Value v = k.toFloat(k.load(x, offset), x.isUnsigned);
      if (v.getType().isF64())
        weight = arith::ExtFOp::create(k.b, k.loc, k.b.getF64Type(), weight);
      Value term = arith::MulFOp::create(k.b, k.loc, v, weight);
      sum = sum ? Value(arith::AddFOp::create(k.b, k.loc, sum, term)) : term;
    });
    finish(saturatedFromFloat(k, sum, x.valueType, x.isUnsigned));
  });
  k.grain = 64;
  lowering.launch(k, lowering.numElements(op.getResult()));
  return success();
}

//===----------------------------------------------------------------------===//
// f32: one row of the result at a time
//===----------------------------------------------------------------------===//
//
// A task is a row: all positions of the last axis that changes (and of the dimensions behind it)
// for fixed positions of the others. The taps of the other axes are combined first into one row of
// input length, with contiguous vector code; then the row is sampled, by vectors over the
// dimensions behind the axis or, where there are none, by gathers. Positions and weights of all
// axes are computed once for each call of the kernel, into tables in scratch memory.

/// Positions (i32) and weights (f32) of the taps of one axis: [tap][result position].
struct Table {
  Buffer index, weight;
  Ix size;
};

class RowEmitter {
public:
  RowEmitter(nn::ResizeOp op, Lowering &lowering, ResizeTaps &rule)
      : op(op), lowering(lowering), rule(rule), in(lowering.dims(op.getX())), out(lowering.dims(op.getResult())),
        last(rule.axes().back()), lanes(lowering.target.lanes()), k(lowering, op, "resize"), x(k.read(op.getX())),
        y(k.write(op.getResult())) {}

  void emit() {
    rule.prepare(k);
    innerSize = k.dim(lowering.product(in, last + 1, in.size()));
    rowLength = k.dim(in[last]) * innerSize;
    allocate();
    for (auto [axis, table] : llvm::zip(rule.axes(), tables))
      fill(axis, table);
    nn::Dims rowDims(out.begin(), out.begin() + last);
    forTasks(k, [&](Ix task) { row(task, k.delinearize(task, rowDims)); });
    k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * 4;
    lowering.launch(k, lowering.product(out, 0, last));
  }

private:
  bool blends() { return rule.count() > 1 && rule.axes().size() > 1; }

  void allocate() {
    nn::Dim bytes = lowering.c(0);
    auto reserve = [&](nn::Dim elements) {
      nn::Dim at = bytes;
      bytes = bytes + elements.ceilDiv(16) * 64;
      return at;
    };
    SmallVector<std::pair<nn::Dim, nn::Dim>> places;
    for (unsigned axis : rule.axes()) {
      nn::Dim index = reserve(out[axis] * rule.count());
      places.push_back({index, reserve(out[axis] * rule.count())});
    }
    nn::Dim rowPlace = reserve(blends() ? lowering.product(in, last, in.size()) : lowering.c(0));
    Value scratch = k.scratch(bytes);
    auto part = [&](nn::Dim at, Type type) { return k.at(k.ptrAdd(scratch, k.dim(at), k.b.getI8Type()), type); };
    for (auto [axis, place] : llvm::zip(rule.axes(), places))
      tables.push_back({part(place.first, k.b.getI32Type()), part(place.second, k.b.getF32Type()), k.dim(out[axis])});
    rowBuffer = part(rowPlace, k.b.getF32Type());
  }

  void fill(unsigned axis, Table &table) {
    k.loop(k.c(0), table.size, 1, [&](Ix o) {
      for (auto [i, tap] : llvm::enumerate(rule.taps(k, axis, o))) {
        Ix at = table.size * int64_t(i) + o;
        k.store(table.index, at, arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), tap.index));
        if (tap.weight)
          k.store(table.weight, at, tap.weight);
      }
    });
  }

  /// Taps of one position from the table.
  SmallVector<Tap, 4> read(const Table &table, Ix o) {
    SmallVector<Tap, 4> taps;
    for (unsigned i = 0; i < rule.count(); ++i) {
      Ix at = table.size * int64_t(i) + o;
      taps.push_back({k.toIndex(k.load(table.index, at)), rule.count() > 1 ? k.load(table.weight, at) : Value()});
    }
    return taps;
  }

  /// acc + w * v, or w * v, or v without weight; w is a scalar.
  Value accumulate(Value acc, Value v, Value w) {
    if (!w)
      return v;
    if (auto vector = dyn_cast<VectorType>(v.getType()); vector && !isa<VectorType>(w.getType()))
      w = k.splat(w, vector.getNumElements());
    return acc ? k.fma(w, v, acc) : Value(arith::MulFOp::create(k.b, k.loc, w, v));
  }

  /// Runs body(offset, lanes) over [0, size) by vectors, then by scalars (lanes = 0).
  void vectorLoop(Ix size, llvm::function_ref<void(Ix, int64_t)> body) {
    Ix whole = size / lanes * lanes;
    k.loop(k.c(0), whole, lanes, [&](Ix i) { body(i, lanes); });
    k.loop(whole, size, 1, [&](Ix i) { body(i, 0); });
  }
  Value loadLanes(const Buffer &buf, Ix at, int64_t n) { return n ? k.load(buf, at, n) : k.load(buf, at); }

  void row(Ix task, ArrayRef<Ix> position) {
    SmallVector<Ix> strides = k.strides(in);
    Ix base = k.c(0);
    SmallVector<SmallVector<Tap, 4>> axisTaps;
    SmallVector<Ix> axisStrides;
    unsigned next = 0;
    for (unsigned d = 0; d < last; ++d) {
      if (rule.axes()[next] == d) {
        axisTaps.push_back(read(tables[next++], position[d]));
        axisStrides.push_back(strides[d]);
      } else {
        base = base + position[d] * strides[d];
      }
    }
    SmallVector<std::pair<Ix, Value>> sources;
    forCombinations(k, axisTaps, axisStrides, base, Value(),
                    [&](Ix offset, Value weight) { sources.push_back({offset, weight}); });
    Buffer source = rowBuffer;
    if (blends()) {
      vectorLoop(rowLength, [&](Ix i, int64_t n) {
        Value sum;
        for (auto [offset, weight] : sources)
          sum = accumulate(sum, loadLanes(x, offset + i, n), weight);
        k.store(rowBuffer, i, sum);
      });
    } else {
      source = k.at(k.ptrAdd(x.ptr, sources[0].first, x.valueType), x.valueType);
    }
    Ix outBase = task * tables.back().size * innerSize;
    if (innerSize.constant() == 1)
      sampleByGather(source, outBase);
    else
      sampleByVector(source, outBase);
  }

  void sampleByVector(const Buffer &source, Ix outBase) {
    const Table &table = tables.back();
    k.loop(k.c(0), table.size, 1, [&](Ix o) {
      SmallVector<Tap, 4> taps = read(table, o);
      vectorLoop(innerSize, [&](Ix i, int64_t n) {
        Value sum;
        for (const Tap &tap : taps)
          sum = accumulate(sum, loadLanes(source, tap.index * innerSize + i, n), tap.weight);
        k.store(y, outBase + o * innerSize + i, sum);
      });
    });
  }

  void sampleByGather(const Buffer &source, Ix outBase) {
    const Table &table = tables.back();
    vectorLoop(table.size, [&](Ix o, int64_t n) {
      Value sum;
      for (unsigned i = 0; i < rule.count(); ++i) {
        Ix at = table.size * int64_t(i) + o;
        Value weight = rule.count() > 1 ? loadLanes(table.weight, at, n) : Value();
        Value v = n ? gather(k, source, k.load(table.index, at, n), k.constant(k.vec(n, k.b.getI1Type()), 1)) : k.load(source, k.toIndex(k.load(table.index, at)));
        sum = accumulate(sum, v, weight);
      }
      k.store(y, outBase + o, sum);
    });
  }

  nn::ResizeOp op;
  Lowering &lowering;
  ResizeTaps &rule;
  nn::Dims in, out;
  unsigned last;
  int64_t lanes;
  Kernel k;
  Buffer x, y;
  Ix innerSize, rowLength;
  SmallVector<Table> tables; // of rule.axes()
  Buffer rowBuffer;
};

bool matchRows(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ResizeOp>(operation);
  // What lies outside of a crop is left to the reference.
  if (!matchUnfiltered(op, lowering) || op.getRoi() || !lowering.shapes.info(op.getX()).elementType.isF32())
    return false;
  size_t axes = ResizeTaps(op, lowering).axes().size();
  return axes >= 1 && axes <= 3;
}

LogicalResult emitRows(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ResizeOp>(operation);
  ResizeTaps rule(op, lowering);
  if (failed(rule.defineSizes()))
    return failure();
  RowEmitter(op, lowering, rule).emit();
  return success();
}

RegisterEmitter reference({"nn.resize", "resize-reference", 0, matchUnfiltered, emitReference});
RegisterEmitter rows({"nn.resize", "resize-rows", 10, matchRows, emitRows});

} // namespace
} // namespace nnopt::cpu

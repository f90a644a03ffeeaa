//===- Reduce.cpp - reductions ----------------------------------------------===//
//
// Every kind is: lift an element into the accumulator's type, combine, finish. Integers accumulate
// in their own type, narrow floats in f32 (in f64 in the reference); kinds with a root or logarithm
// go through f64 for integers. log_sum_exp first finds the maximum, to stay in range.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

using Kind = nn::ReduceKind;

/// One reduction kind on one element type.
struct Reduction {
  Kernel &k;
  Kind kind;
  Type element;
  bool isUnsigned;
  Type acc;

  Reduction(Kernel &k, Kind kind, const Buffer &x, bool precise)
      : k(k), kind(kind), element(x.valueType), isUnsigned(x.isUnsigned) {
    bool viaFloat = kind == Kind::l2 || kind == Kind::log_sum || kind == Kind::log_sum_exp;
    if (isa<FloatType>(element))
      acc = precise && !isExtremum() ? Type(k.b.getF64Type()) : computeType(element);
    else
      acc = viaFloat ? Type(k.b.getF64Type()) : element;
  }

  bool isExtremum() const { return kind == Kind::max || kind == Kind::min; }
  bool isFloat() const { return isa<FloatType>(acc); }
  bool needsMax() const { return kind == Kind::log_sum_exp; }

  /// The largest or smallest value of the accumulator's type.
  Value extreme(bool largest) const {
    if (isFloat())
      return floatConstant(k, acc, largest ? INFINITY : -INFINITY);
    unsigned width = acc.getIntOrFloatBitWidth();
    bool asUnsigned = isUnsigned || width == 1;
    APInt v = largest ? (asUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width))
                      : (asUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width));
    return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(acc, v));
  }

  Value identity(Kind kind) const {
    if (kind == Kind::max)
      return extreme(false);
    if (kind == Kind::min)
      return extreme(true);
    return k.constant(acc, kind == Kind::prod ? 1 : 0);
  }

  /// An element in the accumulator's type.
  Value lift(Value v) const {
    Type from = getElementTypeOrSelf(v.getType());
    if (from == acc)
      return v;
    Type to = acc;
    if (auto vector = dyn_cast<VectorType>(v.getType()))
      to = VectorType::get(vector.getShape(), acc);
    if (isa<FloatType>(from))
      return arith::ExtFOp::create(k.b, k.loc, to, v);
    if (isUnsigned || from.isInteger(1))
      return arith::UIToFPOp::create(k.b, k.loc, to, v);
    return arith::SIToFPOp::create(k.b, k.loc, to, v);
  }

  /// The term that a lifted element adds; `max` is the maximum for log_sum_exp.
  Value term(Value v, Value max) const {
    switch (kind) {
    case Kind::l1:
      if (isFloat())
        return math::AbsFOp::create(k.b, k.loc, v);
      return isUnsigned ? v : Value(math::AbsIOp::create(k.b, k.loc, v));
    case Kind::l2:
    case Kind::sum_square:
      if (isFloat())
        return fmul(k, v, v);
      return arith::MulIOp::create(k.b, k.loc, v, v);
    case Kind::log_sum_exp:
      return math::ExpOp::create(k.b, k.loc, fsub(k, v, like(k, max, v.getType())));
    default:
      return v;
    }
  }

  Value combine(Kind kind, Value a, Value c) const {
    OpBuilder &b = k.b;
    bool asUnsigned = isUnsigned || acc.isInteger(1);
    switch (kind) {
    case Kind::max:
      if (isFloat())
        return arith::MaximumFOp::create(b, k.loc, a, c);
      return asUnsigned ? Value(arith::MaxUIOp::create(b, k.loc, a, c)) : Value(arith::MaxSIOp::create(b, k.loc, a, c));
    case Kind::min:
      if (isFloat())
        return arith::MinimumFOp::create(b, k.loc, a, c);
      return asUnsigned ? Value(arith::MinUIOp::create(b, k.loc, a, c)) : Value(arith::MinSIOp::create(b, k.loc, a, c));
    case Kind::prod:
      if (isFloat())
        return fmul(k, a, c);
      return arith::MulIOp::create(b, k.loc, a, c);
    default:
      if (isFloat())
        return fadd(k, a, c);
      return arith::AddIOp::create(b, k.loc, a, c);
    }
  }

  /// The maximum that log_sum_exp subtracts: 0 where it is infinite, as inf - inf is NaN.
  Value usableMax(Value max) const {
    Value magnitude = math::AbsFOp::create(k.b, k.loc, max);
    Value infinite = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, magnitude,
                                           like(k, extreme(true), max.getType()));
    return k.select(infinite, like(k, k.constant(acc, 0), max.getType()), max);
  }

  /// The result element (scalar or vector) from the accumulator over `count` elements.
  Value finish(Value v, Ix count, Value max) const {
    Type type = v.getType();
    switch (kind) {
    case Kind::mean:
      if (isFloat()) {
        Value n = arith::SIToFPOp::create(k.b, k.loc, acc, count);
        v = fdiv(k, v, like(k, n, type));
      } else {
        Value n = count.max(k.c(1));
        if (acc.getIntOrFloatBitWidth() < 64)
          n = arith::TruncIOp::create(k.b, k.loc, acc, n);
        n = like(k, n, type);
        v = isUnsigned ? Value(arith::DivUIOp::create(k.b, k.loc, v, n))
                       : Value(arith::DivSIOp::create(k.b, k.loc, v, n));
      }
      break;
    case Kind::l2:
      v = math::SqrtOp::create(k.b, k.loc, v);
      break;
    case Kind::log_sum:
      v = math::LogOp::create(k.b, k.loc, v);
      break;
    case Kind::log_sum_exp:
      v = fadd(k, math::LogOp::create(k.b, k.loc, v), max);
      break;
    default:
      break;
    }
    return isFloat() ? k.fromFloat(v, element, isUnsigned) : v;
  }
};

/// Which axes of x are reduced; the axes are known.
SmallVector<bool> reducedAxes(nn::ReduceOp op, Lowering &l) {
  int64_t rank = l.dims(op.getX()).size();
  SmallVector<int64_t> axes;
  if (op.getAxes())
    axes.assign(op.getAxes()->begin(), op.getAxes()->end());
  else if (op.getDynamicAxes())
    axes = *l.shapes.constantContent(op.getDynamicAxes());
  SmallVector<bool> reduced(rank, axes.empty());
  for (int64_t axis : axes)
    reduced[axis < 0 ? axis + rank : axis] = true;
  return reduced;
}

/// The axes of x with the strides of x and (0 where reduced) of the result.
Space reductionSpace(Lowering &l, ArrayRef<nn::Dim> dims, ArrayRef<bool> reduced) {
  nn::DimContext &ctx = l.dimContext();
  Space space;
  space.sizes.assign(dims.begin(), dims.end());
  nn::Dims out(dims.size(), l.c(0));
  nn::Dim stride = l.c(1);
  for (size_t d = dims.size(); d-- > 0;)
    if (!reduced[d]) {
      out[d] = stride;
      stride = stride * dims[d];
    }
  space.strides = {rowMajor(ctx, dims), out};
  return space;
}

/// The kept (or reduced) axes of a space: sizes and strides of x and the result.
struct Part {
  nn::Dims sizes;
  SmallVector<nn::Dims> strides = SmallVector<nn::Dims>(2);
  void add(const Space &space, unsigned axis) {
    sizes.push_back(space.sizes[axis]);
    for (unsigned o = 0; o < 2; ++o)
      strides[o].push_back(space.strides[o][axis]);
  }
};

/// For axes that are known only at run time: whether each axis of x is reduced.
SmallVector<Value> dynamicReducedAxes(nn::ReduceOp op, Kernel &k) {
  int64_t rank = k.lowering.dims(op.getX()).size();
  Buffer axes = k.read(op.getDynamicAxes());
  Ix count = k.dim(k.lowering.numElements(op.getDynamicAxes()));
  // No axes at all: everything is reduced.
  SmallVector<Value> init(rank, count == 0);
  return k.loop(k.c(0), count, 1, init, [&](Ix i, ValueRange flags) {
    Ix axis = k.toIndex(k.load(axes, i), axes.isUnsigned);
    axis = k.selectIx(axis < 0, axis + rank, axis);
    SmallVector<Value> next;
    for (auto [d, flag] : llvm::enumerate(flags))
      next.push_back(arith::OrIOp::create(k.b, k.loc, flag, axis == int64_t(d)));
    return next;
  });
}

/// Axes known only at run time: every axis is in both loops, with size 1 in one of them.
LogicalResult emitDynamic(nn::ReduceOp op, Lowering &l) {
  Kernel k(l, op, "reduce_" + nn::stringifyReduceKind(op.getKind()).str());
  Buffer x = k.read(op.getX()), out = k.write(op.getResult());
  Reduction r(k, op.getKind(), x, /*precise=*/true);
  SmallVector<Value> reduced = dynamicReducedAxes(op, k);
  SmallVector<Ix> strides = k.strides(x.dims), keptSizes, goneSizes;
  Ix count = k.c(1);
  for (auto [d, flag] : llvm::enumerate(reduced)) {
    Ix size = k.dim(x.dims[d]), one = k.c(1);
    keptSizes.push_back(k.selectIx(flag, one, size));
    goneSizes.push_back(k.selectIx(flag, size, one));
    count = count * goneSizes.back();
  }
  auto offsetOf = [&](Ix i, ArrayRef<Ix> sizes) {
    Ix offset = k.c(0);
    for (unsigned d = sizes.size(); d-- > 0;) {
      offset = offset + (i % sizes[d]) * strides[d];
      i = i / sizes[d];
    }
    return offset;
  };
  auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> term) {
    return k.loop(k.c(0), count, 1, ValueRange{r.identity(kind)}, [&](Ix i, ValueRange acc) {
      Value v = r.lift(k.load(x, from + offsetOf(i, goneSizes)));
      return SmallVector<Value>{r.combine(kind, acc[0], term(v))};
    })[0];
  };
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix from = offsetOf(i, keptSizes);
    Value max;
    if (r.needsMax())
      max = r.usableMax(pass(from, Kind::max, [](Value v) { return v; }));
    Value acc = pass(from, r.kind, [&](Value v) { return r.term(v, max); });
    k.store(out, i, r.finish(acc, count, max));
  });
  k.grain = 16;
  l.launch(k, l.numElements(op.getResult()));
  return success();
}

bool hasDynamicAxes(nn::ReduceOp op, Lowering &l) {
  return op.getDynamicAxes() && !l.shapes.constantContent(op.getDynamicAxes());
}

LogicalResult emitReference(Operation *op, Lowering &l) {
  auto reduce = cast<nn::ReduceOp>(op);
  if (hasDynamicAxes(reduce, l))
    return emitDynamic(reduce, l);
  SmallVector<bool> reduced = reducedAxes(reduce, l);
  Kernel k(l, op, "reduce_" + nn::stringifyReduceKind(reduce.getKind()).str());
  Buffer x = k.read(reduce.getX()), out = k.write(reduce.getResult());
  Reduction r(k, reduce.getKind(), x, /*precise=*/true);
  Space space = reductionSpace(l, x.dims, reduced);
  Part kept, gone;
  for (unsigned axis = 0; axis < space.rank(); ++axis)
    (reduced[axis] ? gone : kept).add(space, axis);
  nn::Dim count = nn::product(l.dimContext(), gone.sizes);

  auto offsetOf = [&](Ix i, const Part &part) {
    Ix offset = k.c(0);
    for (auto [at, s] : llvm::zip(k.delinearize(i, part.sizes), part.strides[0]))
      offset = offset + at * k.dim(s);
    return offset;
  };
  auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> term) {
    return k.loop(k.c(0), k.dim(count), 1, ValueRange{r.identity(kind)}, [&](Ix i, ValueRange acc) {
      Value v = r.lift(k.load(x, from + offsetOf(i, gone)));
      return SmallVector<Value>{r.combine(kind, acc[0], term(v))};
    })[0];
  };
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix from = offsetOf(i, kept);
    Value max;
    if (r.needsMax())
      max = r.usableMax(pass(from, Kind::max, [](Value v) { return v; }));
    Value acc = pass(from, r.kind, [&](Value v) { return r.term(v, max); });
    k.store(out, i, r.finish(acc, k.dim(count), max));
  });
  k.grain = count.isConst() ? std::max<int64_t>(1, 4096 / std::max<int64_t>(1, count.value())) : 16;
  l.launch(k, nn::product(l.dimContext(), kept.sizes));
  return success();
}

struct Fast {
  nn::ReduceOp op;
  Lowering &l;
  Kernel k;
  Buffer x, out;
  Reduction r;
  Space space;
  Part kept, gone;
  nn::Dim count;

  Fast(nn::ReduceOp op, Lowering &l)
      : op(op), l(l), k(l, op, "reduce_" + nn::stringifyReduceKind(op.getKind()).str()), x(k.read(op.getX())),
        out(k.write(op.getResult())), r(k, op.getKind(), x, false) {}

  int64_t lanes() const {
    int64_t bytes = std::max<int64_t>(r.acc.getIntOrFloatBitWidth() / 8, storageBytes(x));
    return l.target.lanes(std::max<int64_t>(1, bytes));
  }

  LogicalResult emit(ArrayRef<bool> reduced) {
    space = reductionSpace(l, x.dims, reduced);
    space.collapse(l.dimContext());
    nn::Dim n = l.c(1);
    for (unsigned axis = 0; axis < space.rank(); ++axis) {
      bool isReduced = space.strides[1][axis].isConst(0);
      (isReduced ? gone : kept).add(space, axis);
      if (isReduced)
        n = n * space.sizes[axis];
    }
    count = n;
    k.bytes = l.numElements(op.getX()) * storageBytes(x);
    k.flops = l.numElements(op.getX());
    if (space.strides[1].back().isConst(0))
      emitRows();
    else
      emitColumns();
    return success();
  }

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

    auto pass = [&](Ix from, Kind kind, function_ref<Value(Value)> term) {
      Ix base = from;
      RowReduction row;
      row.type = r.acc;
      row.identity = r.identity(kind);
      row.merge = [&](Value a, Value c) { return r.combine(kind, a, c); };
      row.step = [&](Value acc, Ix i, const Step &step) {
        Value v = term(r.lift(loadStep(k, x, base + i, step)));
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
      Value acc = pass(offset[0], r.kind, [&](Value v) { return r.term(v, max); });
      k.store(out, offset[1], r.finish(acc, k.dim(count), max));
      return SmallVector<Value>();
    });
    l.launch(k, tasks.count);
  }

  /// Tasks over result elements (or vectors of `width` of them), about 4096 elements of x each.
  Tasks keptTasks(ArrayRef<nn::Dim> sizes, int64_t width) {
    Tasks tasks;
    nn::Dim items = nn::product(l.dimContext(), sizes);
    int64_t perItem = count.isConst() ? std::max<int64_t>(1, count.value() * width) : 512;
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
    auto pass = [&](Kind kind, function_ref<Value(Value, unsigned)> term) {
      SmallVector<Value> init(step.at.size(), like(k, r.identity(kind), step));
      return forEachIndex(k, gone.sizes, {gone.strides[0]}, k.c(0), k.dim(count), init,
                          [&](ArrayRef<Ix> offset, ValueRange accs) {
                            SmallVector<Value> next;
                            for (auto [u, at] : llvm::enumerate(step.at)) {
                              Value v = r.lift(loadStep(k, x, from + offset[0] + at, step));
                              next.push_back(r.combine(kind, accs[u], term(v, u)));
                            }
                            return next;
                          });
    };
    SmallVector<Value> max(step.at.size());
    if (r.needsMax())
      for (auto [u, v] : llvm::enumerate(pass(Kind::max, [](Value v, unsigned) { return v; })))
        max[u] = r.usableMax(v);
    SmallVector<Value> accs = pass(r.kind, [&](Value v, unsigned u) { return r.term(v, max[u]); });
    for (auto [u, at] : llvm::enumerate(step.at))
      storeStep(k, out, to + at, r.finish(accs[u], k.dim(count), max[u]), step);
  }
};

LogicalResult emitFast(Operation *op, Lowering &l) {
  auto reduce = cast<nn::ReduceOp>(op);
  return Fast(reduce, l).emit(reducedAxes(reduce, l));
}

/// A result without elements would have strides of 0, which mean "reduced" above.
bool matchFast(Operation *op, Lowering &l) {
  return !l.numElements(op->getResult(0)).isConst(0) && !hasDynamicAxes(cast<nn::ReduceOp>(op), l);
}

RegisterEmitter reference({"nn.reduce", "reduce-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.reduce", "reduce", 10, matchFast, emitFast});

} // namespace
} // namespace nnopt::cpu

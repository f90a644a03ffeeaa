//===- Elementwise.cpp - elementwise operations, map, and rearrangements ----===//
//
// A thread computes some neighbouring results: as many as 16 bytes of the widest operand hold, so that a warp
// moves whole lines. Operands and results advance by strides over the collapsed axes; transposes and parts of
// concatenations are the same kernel with nothing to compute. Operands whose neighbours lie along another axis
// go through shared memory (Transpose.cpp).
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Elementwise.h"

using namespace mlir;

namespace nnopt::cuda {

bool Elements::areLines(size_t i, unsigned axis, int64_t lanes) const {
  const nn::Dims &own = space.strides[i];
  if (isInput(i) && (operands[i].folded || own[axis].isConst(0)))
    return true;
  if (!own[axis].isConst(1) || !operands[i].aligned)
    return false;
  for (unsigned other = 0; other < space.rank(); ++other)
    if (other != axis && !isMultiple(own[other], lanes))
      return false;
  return true;
}

void computeLanes(Kernel &k, const Elements &e, int64_t lanes, function_ref<SmallVector<Value>(size_t)> values,
                  function_ref<Ix(size_t)> offset, Compute compute) {
  SmallVector<SmallVector<Value>> args(lanes), results(e.operands.size() - e.inputs);
  for (size_t i = 0; i < e.inputs; ++i) {
    SmallVector<Value> own = values(i);
    for (int64_t lane = 0; lane < lanes; ++lane)
      args[lane].push_back(own[own.size() == 1 ? 0 : lane]);
  }
  for (ArrayRef<Value> a : args)
    for (auto [list, v] : llvm::zip(results, compute(k, a)))
      list.push_back(v);
  for (auto [n, list] : llvm::enumerate(results))
    k.storeLanes(e.operands[e.inputs + n].buffer, offset(e.inputs + n), list);
}

namespace {

constexpr int64_t blockThreads = 256;

/// An operand that is read through `view`.
Operand viewed(Kernel &k, const cpu::StridedView &view, nn::Dims strides) {
  Operand o;
  o.buffer = k.read(view.base);
  o.buffer.ptr = k.ptrAdd(o.buffer.ptr, k.dim(view.offset), o.buffer.storageType);
  o.strides = std::move(strides);
  o.aligned = isAligned(k.lowering, view.base) && isMultiple(view.offset * cpu::storageBytes(o.buffer), 16);
  return o;
}

/// A result that is written whole.
Operand result(Kernel &k, Value v) {
  Operand o;
  o.buffer = k.write(v);
  o.strides = cpu::rowMajor(k.lowering.dimContext(), k.lowering.dims(v));
  o.aligned = isAligned(k.lowering, v);
  return o;
}

/// Number of neighbouring elements that a thread handles.
int64_t lanesFor(const Elements &e) {
  int64_t widest = 1;
  for (auto [i, o] : llvm::enumerate(e.operands))
    if (!o.folded)
      widest = std::max(widest, e.bytes(i));
  auto fits = [&](int64_t lanes) {
    for (size_t i = 0; i < e.operands.size(); ++i)
      if (!e.areLines(i, e.space.rank() - 1, lanes))
        return false;
    return isMultiple(e.space.sizes.back(), lanes);
  };
  for (int64_t lanes = std::min<int64_t>(8, 16 / widest); lanes > 1; lanes /= 2)
    if (fits(lanes))
      return lanes;
  return 1;
}

/// Emits a kernel in which a thread has neighbours of the result, wherever operands have theirs. Returns the number of blocks.
nn::Dim emitLanes(Kernel &k, Lowering &l, const Elements &e, Compute compute) {
  nn::DimContext &ctx = l.dimContext();
  const cpu::Space &space = e.space;
  int64_t lanes = lanesFor(e);
  nn::Dim total = nn::product(ctx, space.sizes);
  Ix first = (k.block * k.threads + k.thread) * lanes;
  k.ifThen(first < k.dim(total), [&] {
    SmallVector<Ix> index = k.delinearize(first, space.sizes);
    auto offsetOf = [&](size_t i) {
      if (space.strides[i] == cpu::rowMajor(ctx, space.sizes))
        return first;
      Ix offset = k.c(0);
      for (auto [x, stride] : llvm::zip(index, space.strides[i]))
        offset = offset + x * k.dim(stride);
      return offset;
    };
    auto valuesOf = [&](size_t i) -> SmallVector<Value> {
      const Operand &o = e.operands[i];
      if (o.folded)
        return {o.folded};
      return k.loadLanes(o.buffer, offsetOf(i), space.strides[i].back().isConst(0) ? 1 : lanes);
    };
    computeLanes(k, e, lanes, valuesOf, offsetOf, compute);
  });
  return total.ceilDiv(l.c(k.threads * lanes));
}

/// Computes `out` from `in` at each index of `dims` and launches it `times` (null: once, else that often or never).
LogicalResult emit(Kernel &k, Lowering &l, ArrayRef<Operand> in, ArrayRef<Operand> out, const nn::Dims &dims, Compute compute,
                   nn::Dim times = {}) {
  nn::DimContext &ctx = l.dimContext();
  SmallVector<Operand> operands(in);
  llvm::append_range(operands, out);
  Elements e{operands, in.size(), {}};
  e.space.sizes = dims;
  for (const Operand &o : operands)
    e.space.strides.push_back(o.strides);
  e.space.collapse(ctx);
  int64_t bytes = 0;
  for (auto [i, o] : llvm::enumerate(operands))
    if (!o.folded && llvm::none_of(o.strides, [](nn::Dim s) { return s.isConst(0); }))
      bytes += e.bytes(i);
  k.bytes = nn::product(ctx, dims) * bytes;
  nn::Dim blocks = emitTiles(k, l, e, compute);
  if (!blocks)
    blocks = emitLanes(k, l, e, compute);
  k.launch(times ? blocks * times : blocks);
  return success();
}

bool isFoldable(Type type) { return !isa<FloatType>(type) || type.getIntOrFloatBitWidth() > 8; }

/// The value of a constant of one element, as a constant of the kernel.
Value foldedScalar(Kernel &k, Lowering &l, Value v, Type type) {
  auto data = l.constant(v);
  if (!data || data->size() != 1 || !isFoldable(type))
    return {};
  if (isa<FloatType>(type))
    return cpu::floatConstant(k, type, data->asDouble(0));
  APInt bits(type.getIntOrFloatBitWidth(), data->asInt(0), true, true);
  return arith::ConstantOp::create(k.b, k.loc, k.b.getIntegerAttr(type, bits));
}

LogicalResult emitElementwise(Operation *op, Lowering &l) {
  auto map = dyn_cast<nn::MapOp>(op);
  const nn::Dims &dims = l.dims(op->getResult(0));
  Kernel k(l, op, map ? "map" : ("map_" + op->getName().stripDialect()).str(), blockThreads);
  SmallVector<Operand> in;
  size_t inputs = map ? map.getInputs().size() : op->getNumOperands();
  for (OpOperand &operand : op->getOpOperands().take_front(inputs)) {
    Value v = operand.get();
    Operand o;
    o.strides = nn::Dims(dims.size(), l.c(0));
    o.folded = foldedScalar(k, l, v, k.at({}, l.shapes.info(v).elementType).valueType);
    if (!o.folded) {
      cpu::StridedView view = cpu::readView(l, operand);
      o = viewed(k, view, cpu::broadcastStrides(l.dimContext(), l.dims(v), view.strides, dims));
      // In place unless another operand reads the same memory elsewhere.
      bool alone = llvm::count_if(op->getOpOperands(), [&](OpOperand &other) {
                     return cpu::readView(l, other).base == view.base;
                   }) == 1;
      for (Value r : op->getResults())
        if (alone && view.base == v && l.dims(v) == dims && l.shapes.info(v).elementType == l.shapes.info(r).elementType) {
          k.write(r);
          k.allowInPlace(v, r);
        }
    }
    in.push_back(o);
  }
  SmallVector<Operand> out;
  for (Value v : op->getResults())
    out.push_back(result(k, v));
  return emit(k, l, in, out, dims, [&](Kernel &k, ValueRange args) -> SmallVector<Value> {
    if (map)
      return k.inlineScalarRegion(map.getBody(), args);
    return {cast<nn::Elementwise>(op).buildScalar(k.b, k.loc, args)};
  });
}

/// Whether the kernel of this operation has nothing that GPUs lack: built on trial.
bool matchElementwise(Operation *op, Lowering &l) {
  for (Value v : op->getOperands())
    if (isa<FloatType>(l.shapes.info(v).elementType) && !isFoldable(l.shapes.info(v).elementType))
      return false;
  for (Value v : op->getResults())
    if (isa<FloatType>(l.shapes.info(v).elementType) && !isFoldable(l.shapes.info(v).elementType))
      return false;
  if (auto map = dyn_cast<nn::MapOp>(op))
    return canRunScalars(map.getBody());
  auto trial = func::FuncOp::create(op->getLoc(), "trial", FunctionType::get(op->getContext(), {}, {}));
  OpBuilder b(op->getContext());
  b.setInsertionPointToStart(trial.addEntryBlock());
  SmallVector<Value> args;
  for (Value v : op->getOperands()) {
    Type type = l.shapes.info(v).elementType;
    if (type.isUnsignedInteger())
      type = b.getIntegerType(type.getIntOrFloatBitWidth());
    TypedAttr attr = isa<FloatType>(type) ? TypedAttr(b.getFloatAttr(type, 0)) : TypedAttr(b.getIntegerAttr(type, 0));
    args.push_back(arith::ConstantOp::create(b, op->getLoc(), attr));
  }
  cast<nn::Elementwise>(op).buildScalar(b, op->getLoc(), args);
  bool can = canRunScalars(trial.getBody());
  trial->erase();
  return can;
}

//===----------------------------------------------------------------------===//
// Copies through strides
//===----------------------------------------------------------------------===//

/// Whether all results are rearrangements of other values.
bool matchCopy(Operation *op, Lowering &l) {
  return llvm::all_of(op->getResults(), [&](Value v) { return cpu::stridedView(l, v).base != v; });
}

/// Copies elements as their bits.
LogicalResult emitMove(Kernel &k, Lowering &l, Operand from, Operand to, const nn::Dims &dims, nn::Dim times = {}) {
  from.buffer = cpu::asBits(k, from.buffer);
  to.buffer = cpu::asBits(k, to.buffer);
  return emit(k, l, from, to, dims, [](Kernel &, ValueRange args) { return SmallVector<Value>(args); }, times);
}

LogicalResult emitCopy(Operation *op, Lowering &l) {
  for (Value v : op->getResults()) {
    Kernel k(l, op, op->getName().stripDialect(), blockThreads);
    cpu::StridedView view = cpu::stridedView(l, v);
    if (failed(emitMove(k, l, viewed(k, view, view.strides), result(k, v), l.dims(v))))
      return failure();
  }
  return success();
}

/// Copies each part into its place in the result, from where transposes, slices and splits left it.
LogicalResult emitConcat(Operation *op, Lowering &l) {
  auto concat = cast<nn::ConcatOp>(op);
  Value whole = concat.getResult();
  nn::Dims strides = cpu::rowMajor(l.dimContext(), l.memoryDims(whole));
  nn::Dim position = l.c(0);
  for (OpOperand &part : op->getOpOperands()) {
    Kernel k(l, op, "concat", blockThreads);
    cpu::StridedView view = cpu::readView(l, part);
    Operand to;
    to.buffer = k.write(whole);
    nn::Dim offset = position * strides[concat.getAxis()];
    to.buffer.ptr = k.ptrAdd(to.buffer.ptr, k.dim(offset), to.buffer.storageType);
    to.strides = strides;
    to.aligned = isAligned(l, whole) && isMultiple(offset * cpu::storageBytes(to.buffer), 16);
    nn::Dim times = part.getOperandNumber() == 0 ? l.copiesPast(concat) : nn::Dim();
    if (failed(emitMove(k, l, viewed(k, view, view.strides), to, l.dims(part.get()), times)))
      return failure();
    position = position + l.dims(part.get())[concat.getAxis()];
  }
  return success();
}

RegisterEmitter map({"nn.map", "cuda-map", 10, matchElementwise, emitElementwise});
RegisterEmitter elementwise({"*", "cuda-elementwise", 10, matchElementwise, emitElementwise});
RegisterEmitter transpose({"nn.transpose", "cuda-transpose", 10, matchCopy, emitCopy});
RegisterEmitter split({"nn.split", "cuda-split", 10, matchCopy, emitCopy});
RegisterEmitter slice({"nn.slice", "cuda-slice", 10, matchCopy, emitCopy});
RegisterEmitter expand({"nn.expand", "cuda-expand", 10, matchCopy, emitCopy});
RegisterEmitter concat({"nn.concat", "cuda-concat", 10, nullptr, emitConcat});

} // namespace
} // namespace nnopt::cuda

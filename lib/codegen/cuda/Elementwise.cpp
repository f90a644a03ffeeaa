//===- Elementwise.cpp - elementwise operations, map, and rearrangements ----===//
//
// A thread computes some neighbouring results: as many as 16 bytes of the widest operand hold, so that a warp
// moves whole lines. Operands advance by strides over the collapsed axes; transposes are the same kernel with
// nothing to compute.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t blockThreads = 256;

struct Operand {
  Value folded;     // a constant that is part of the code; there is no memory then
  Buffer buffer;    // at the view's first element
  nn::Dims strides; // over the results' dimensions
  bool aligned = false;
};

/// An operand that is read through `view`.
Operand viewed(Kernel &k, const cpu::StridedView &view, nn::Dims strides) {
  Operand o;
  o.buffer = k.read(view.base);
  o.buffer.ptr = k.ptrAdd(o.buffer.ptr, k.dim(view.offset), o.buffer.storageType);
  o.strides = std::move(strides);
  o.aligned = isAligned(k.lowering, view.base) && isMultiple(view.offset * cpu::storageBytes(o.buffer), 16);
  return o;
}

using Compute = function_ref<SmallVector<Value>(Kernel &k, ValueRange)>;

/// Number of neighbouring elements that a thread handles.
int64_t lanesFor(Lowering &l, const cpu::Space &space, ArrayRef<Operand> in, ValueRange results, ArrayRef<Buffer> out) {
  int64_t widest = 1;
  for (const Operand &o : in)
    if (!o.folded)
      widest = std::max(widest, cpu::storageBytes(o.buffer));
  for (const Buffer &b : out)
    widest = std::max(widest, cpu::storageBytes(b));
  auto fits = [&](int64_t lanes) {
    if (!isMultiple(space.sizes.back(), lanes))
      return false;
    for (auto [i, strides] : llvm::enumerate(space.strides)) {
      bool isOut = i >= in.size();
      if (!isOut && (in[i].folded || strides.back().isConst(0)))
        continue;
      if (!strides.back().isConst(1) || !(isOut ? isAligned(l, results[i - in.size()]) : in[i].aligned))
        return false;
      for (nn::Dim s : ArrayRef(strides).drop_back())
        if (!isMultiple(s, lanes))
          return false;
    }
    return true;
  };
  for (int64_t lanes = std::min<int64_t>(8, 16 / widest); lanes > 1; lanes /= 2)
    if (fits(lanes))
      return lanes;
  return 1;
}

LogicalResult emit(Kernel &k, Lowering &l, SmallVector<Operand> in, ValueRange results, const nn::Dims &dims,
                   bool asBits, Compute compute) {
  nn::DimContext &ctx = l.dimContext();
  SmallVector<Buffer> out;
  for (Value v : results)
    out.push_back(asBits ? cpu::asBits(k, k.write(v)) : k.write(v));
  cpu::Space space;
  space.sizes = dims;
  for (const Operand &o : in)
    space.strides.push_back(o.strides);
  for (size_t i = 0; i < out.size(); ++i)
    space.strides.push_back(cpu::rowMajor(ctx, dims));
  space.collapse(ctx);
  if (space.sizes.empty()) { // one element
    space.sizes.push_back(ctx.constant(1));
    for (nn::Dims &s : space.strides)
      s.push_back(ctx.constant(0));
  }
  int64_t lanes = lanesFor(l, space, in, results, out);
  nn::Dim total = nn::product(ctx, dims);
  Ix first = (k.block * k.threads + k.thread) * lanes;
  k.ifThen(first < k.dim(total), [&] {
    SmallVector<Ix> index = k.delinearize(first, space.sizes);
    SmallVector<SmallVector<Value>> args(lanes);
    for (auto [i, o] : llvm::enumerate(in)) {
      SmallVector<Value> values;
      if (!o.folded) {
        Ix offset = k.c(0);
        for (auto [x, stride] : llvm::zip(index, space.strides[i]))
          offset = offset + x * k.dim(stride);
        values = k.loadLanes(o.buffer, offset, space.strides[i].back().isConst(0) ? 1 : lanes);
      } else {
        values = {o.folded};
      }
      for (int64_t lane = 0; lane < lanes; ++lane)
        args[lane].push_back(values[values.size() == 1 ? 0 : lane]);
    }
    SmallVector<SmallVector<Value>> columns(out.size());
    for (ArrayRef<Value> a : args)
      for (auto [column, v] : llvm::zip(columns, compute(k, a)))
        column.push_back(v);
    for (auto [buf, column] : llvm::zip(out, columns))
      k.storeLanes(buf, first, column);
  });
  int64_t bytes = 0;
  for (const Operand &o : in)
    if (!o.folded && llvm::none_of(o.strides, [](nn::Dim s) { return s.isConst(0); }))
      bytes += cpu::storageBytes(o.buffer);
  for (const Buffer &b : out)
    bytes += cpu::storageBytes(b);
  k.bytes = total * bytes;
  k.launch(total.ceilDiv(l.c(k.threads * lanes)));
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
  return emit(k, l, in, op->getResults(), dims, /*asBits=*/false, [&](Kernel &k, ValueRange args) -> SmallVector<Value> {
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

LogicalResult emitCopy(Operation *op, Lowering &l) {
  for (Value result : op->getResults()) {
    Kernel k(l, op, op->getName().stripDialect(), blockThreads);
    cpu::StridedView view = cpu::stridedView(l, result);
    Operand o = viewed(k, view, view.strides);
    o.buffer = cpu::asBits(k, o.buffer); // elements move as their bits
    (void)emit(k, l, {o}, result, l.dims(result), /*asBits=*/true,
               [](Kernel &, ValueRange args) { return SmallVector<Value>(args); });
  }
  return success();
}

RegisterEmitter map({"nn.map", "cuda-map", 10, matchElementwise, emitElementwise});
RegisterEmitter elementwise({"*", "cuda-elementwise", 10, matchElementwise, emitElementwise});
RegisterEmitter transpose({"nn.transpose", "cuda-transpose", 10, matchCopy, emitCopy});
RegisterEmitter split({"nn.split", "cuda-split", 10, matchCopy, emitCopy});
RegisterEmitter slice({"nn.slice", "cuda-slice", 10, matchCopy, emitCopy});
RegisterEmitter expand({"nn.expand", "cuda-expand", 10, matchCopy, emitCopy});

} // namespace
} // namespace nnopt::cuda

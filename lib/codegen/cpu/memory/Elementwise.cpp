//===- Elementwise.cpp - elementwise operations and map ---------------------===//
//
// One kernel computes all results of an elementwise operation over the broadcast shape. The fast
// emitter merges axes, then walks rows of the innermost one in vectors: operands are loaded as
// vectors where they advance, once per row as a scalar where they are broadcast. Constants of one
// element are part of the code.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// The scalar computation of an elementwise operation or a map.
struct Scalar {
  Operation *op;
  SmallVector<Value> inputs;

  explicit Scalar(Operation *op) : op(op) {
    if (auto map = dyn_cast<nn::MapOp>(op))
      inputs.assign(map.getInputs().begin(), map.getInputs().end());
    else
      inputs.assign(op->operand_begin(), op->operand_end());
  }

  SmallVector<Value> build(Kernel &k, ValueRange args) const {
    if (auto map = dyn_cast<nn::MapOp>(op))
      return k.inlineScalarRegion(map.getBody(), args);
    return {cast<nn::Elementwise>(op).buildScalar(k.b, k.loc, args)};
  }

  /// Number of operations that one element costs, transcendental functions counted as what they
  /// expand to.
  int64_t cost() const {
    auto weight = [](Operation *o) -> int64_t {
      if (isa<math::AbsFOp, math::FmaOp, math::SqrtOp, math::FloorOp, math::CeilOp, math::RoundEvenOp>(o))
        return 1;
      return isa<math::MathDialect>(o->getDialect()) ? 16 : 1;
    };
    int64_t n = 0;
    if (auto map = dyn_cast<nn::MapOp>(op)) {
      map.getBody().walk([&](Operation *o) { n += weight(o); });
      return n;
    }
    bool cheap = isa<nn::AddOp, nn::SubOp, nn::MulOp, nn::ReluOp, nn::MinOp, nn::MaxOp, nn::ClipOp, nn::CastOp, nn::NegOp,
                     nn::AbsOp, nn::WhereOp, nn::EqualOp, nn::LessOp, nn::GreaterOp, nn::LeakyReluOp, nn::HardSwishOp,
                     nn::HardSigmoidOp, nn::LogicalNotOp, nn::LogicalAndOp, nn::LogicalOrOp, nn::DivOp, nn::SqrtOp,
                     nn::QuantizeOp, nn::DequantizeOp>(op);
    return cheap ? 2 : 24;
  }

  /// Bytes of the widest element that is computed with. Narrow floats count as f32, in which they
  /// are computed.
  int64_t widest() const {
    int64_t bytes = 1;
    auto see = [&](Type t) {
      t = getElementTypeOrSelf(t);
      if (isa<FloatType>(t))
        bytes = std::max<int64_t>(bytes, std::max<int64_t>(4, t.getIntOrFloatBitWidth() / 8));
      else if (t.isIntOrIndex())
        bytes = std::max<int64_t>(bytes, t.isIndex() ? 8 : t.getIntOrFloatBitWidth() / 8);
    };
    for (Value v : inputs)
      see(v.getType());
    for (Value v : op->getResults())
      see(v.getType());
    if (auto map = dyn_cast<nn::MapOp>(op))
      map.getBody().walk([&](Operation *o) {
        for (Type t : o->getResultTypes())
          see(t);
      });
    return bytes;
  }
};

/// Not the bare name of the operation: `sin` would capture the kernel's own calls of libm.
std::string kernelName(Operation *op) {
  return isa<nn::MapOp>(op) ? "map" : "map_" + op->getName().stripDialect().str();
}

/// The shape that all operands broadcast to: that of the results.
const nn::Dims &outputDims(Operation *op, Lowering &l) { return l.dims(op->getResult(0)); }

/// The value of a constant of one element, as a constant of the kernel.
Value foldedScalar(Kernel &k, Lowering &l, Value v, Type type) {
  auto data = l.constant(v);
  if (!data || data->size() != 1 || (isa<FloatType>(type) && type.getIntOrFloatBitWidth() <= 8))
    return {};
  if (isa<FloatType>(type))
    return floatConstant(k, type, data->asDouble(0));
  return arith::ConstantOp::create(
      k.b, k.loc, k.b.getIntegerAttr(type, APInt(type.getIntOrFloatBitWidth(), data->asInt(0), true, true)));
}

//===----------------------------------------------------------------------===//
// Reference: one element after the other
//===----------------------------------------------------------------------===//

LogicalResult emitReference(Operation *op, Lowering &l) {
  Scalar scalar(op);
  Kernel k(l, op, kernelName(op));
  SmallVector<Buffer> in, out;
  for (Value v : scalar.inputs)
    in.push_back(k.read(v));
  for (Value v : op->getResults())
    out.push_back(k.write(v));
  const nn::Dims &dims = outputDims(op, l);
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    SmallVector<Ix> index = k.delinearize(i, dims);
    SmallVector<Value> args;
    for (const Buffer &buf : in) {
      nn::Dims strides = broadcastStrides(l.dimContext(), buf.dims, dims);
      Ix offset = k.c(0);
      for (auto [x, stride] : llvm::zip(index, strides))
        offset = offset + x * k.dim(stride);
      args.push_back(k.load(buf, offset));
    }
    for (auto [buf, v] : llvm::zip(out, scalar.build(k, args)))
      k.store(buf, i, v);
  });
  k.grain = 2048;
  l.launch(k, nn::product(l.dimContext(), dims));
  return success();
}

//===----------------------------------------------------------------------===//
// Fast
//===----------------------------------------------------------------------===//

struct Fast {
  Operation *op;
  Lowering &l;
  Scalar scalar;
  Kernel k;
  SmallVector<Buffer> in, out;
  SmallVector<Value> folded; // in parallel with `in`: a constant, or null
  SmallVector<bool> views;   // in parallel with `in`: read through another value
  SmallVector<uint32_t> viewed;
  Space space;
  VectorShape shape;
  int64_t elementBytes = 0; // read and written for each element

  Fast(Operation *op, Lowering &l) : op(op), l(l), scalar(op), k(l, op, kernelName(op)) {}

  nn::Dim innerStride(unsigned operand) const { return space.strides[operand].back(); }

  /// The row from low to high: broadcast operands are loaded once, before the loop.
  void row(ArrayRef<Ix> offsets, Ix low, Ix high, VectorShape shape, bool multiple, bool strided) {
    SmallVector<Value> once(in.size());
    for (unsigned i = 0; i < in.size(); ++i) {
      if (folded[i])
        once[i] = folded[i];
      else if (innerStride(i).isConst(0))
        once[i] = k.load(in[i], offsets[i]);
    }
    // Splats outside of the loop.
    SmallVector<Value> splats(in.size());
    for (unsigned i = 0; i < in.size(); ++i)
      if (once[i] && shape.lanes > 1)
        splats[i] = k.splat(once[i], shape.lanes);
    Ix outBase = offsets[in.size()];
    vectorLoop(k, low, high, shape, multiple, [&](const Step &step) {
      SmallVector<SmallVector<Value>> args, results;
      for (Ix at : step.at) {
        SmallVector<Value> &a = args.emplace_back();
        for (unsigned i = 0; i < in.size(); ++i) {
          if (once[i])
            a.push_back(step.lanes > 1 ? splats[i] : once[i]);
          else
            a.push_back(loadStep(k, in[i], offsets[i] + (strided ? at * k.dim(innerStride(i)) : at), step));
        }
      }
      for (ArrayRef<Value> a : args)
        results.push_back(scalar.build(k, a));
      for (auto [at, r] : llvm::zip(step.at, results))
        for (auto [buf, v] : llvm::zip(out, r))
          storeStep(k, buf, outBase + at, v, step);
    });
  }

  LogicalResult emit() {
    const nn::Dims &dims = outputDims(op, l);
    nn::DimContext &ctx = l.dimContext();
    SmallVector<Type> types;
    for (auto [number, v] : llvm::enumerate(scalar.inputs)) {
      Type element = l.shapes.info(v).elementType;
      Type type = element.isUnsignedInteger() ? Type(k.b.getIntegerType(element.getIntOrFloatBitWidth())) : element;
      folded.push_back(foldedScalar(k, l, v, type));
      if (folded.back()) {
        in.push_back(k.at({}, element));
        space.strides.push_back(nn::Dims(dims.size(), l.c(0)));
        views.push_back(false);
        continue;
      }
      StridedView view = readView(l, op->getOpOperand(number));
      in.push_back(k.read(view.base));
      in.back().ptr = k.ptrAdd(in.back().ptr, k.dim(view.offset), in.back().storageType);
      in.back().dims = l.dims(v);
      space.strides.push_back(broadcastStrides(ctx, l.dims(v), view.strides, dims));
      views.push_back(view.base != v);
      if (views.back())
        viewed.push_back(l.bufferOf(view.base));
      types.push_back(in.back().storageType);
    }
    for (Value v : op->getResults()) {
      out.push_back(k.write(v));
      types.push_back(out.back().storageType);
    }
    for (unsigned i = 0; i < in.size(); ++i)
      // Not where another operand is read at other positions of the same buffer.
      if (!folded[i] && !views[i] && in[i].dims == dims && !llvm::is_contained(viewed, l.bufferOf(scalar.inputs[i])))
        for (auto [buf, v] : llvm::zip(out, op->getResults()))
          if (storageBytes(buf) == storageBytes(in[i]))
            k.allowInPlace(scalar.inputs[i], v);

    space.sizes = dims;
    space.strides.push_back(rowMajor(ctx, dims));
    space.collapse(ctx);

    int64_t cost = scalar.cost();
    shape.lanes = std::max<int64_t>(1, l.target.lanes(scalar.widest()));
    shape.unroll = cost <= 8 ? 4 : cost <= 32 ? 2 : 1;
    shape.masked = canMask(l.target, types);
    for (Type t : types)
      elementBytes += std::max<int64_t>(1, t.getIntOrFloatBitWidth() / 8);
    space.splitInner(ctx, 8192, shape.lanes * shape.unroll);
    nn::Dim inner = space.sizes.back();
    if (inner.isConst() && inner.value() < shape.lanes * shape.unroll)
      shape.unroll = 1;
    if (inner.isConst() && inner.value() < shape.lanes && !shape.masked)
      shape.lanes = std::max<int64_t>(1, llvm::bit_floor(uint64_t(inner.value())));

    // A task moves about 8 KiB; expensive functions make smaller tasks worth a thread.
    int64_t elements = std::max<int64_t>(shape.lanes, 8192 / std::max<int64_t>(1, elementBytes));
    if (cost > 8)
      elements = std::max<int64_t>(shape.lanes, elements / 4);
    Tasks tasks = divide(l, space, elements, shape.lanes * shape.unroll);
    bool multiple = isMultipleOf(inner, shape.lanes);

    forRows(k, space, tasks, [&](ArrayRef<Ix> offsets, Ix low, Ix high) { rowVersions(offsets, low, high, multiple); });
    k.grain = 2;
    nn::Dim count = nn::product(ctx, dims);
    k.flops = count * cost;
    k.bytes = count * elementBytes;
    l.launch(k, tasks.count);
    return success();
  }

  /// An operand whose innermost stride is known only at run time (1, or 0 if the dimension turns
  /// out to be broadcast): vectors if all of those are 1, else element by element.
  void rowVersions(ArrayRef<Ix> offsets, Ix low, Ix high, bool multiple) {
    Value contiguous;
    for (unsigned i = 0; i < in.size(); ++i) {
      nn::Dim stride = innerStride(i);
      if (folded[i] || stride.isConst(0) || stride.isConst(1))
        continue;
      Value one = k.dim(stride) == 1;
      contiguous = contiguous ? k.land(contiguous, one) : one;
    }
    if (!contiguous) {
      row(offsets, low, high, shape, multiple, false);
      return;
    }
    k.ifThen(
        contiguous, [&] { row(offsets, low, high, shape, multiple, false); },
        [&] { row(offsets, low, high, {}, true, true); });
  }
};

LogicalResult emitFast(Operation *op, Lowering &l) { return Fast(op, l).emit(); }

RegisterEmitter reference({"*", "elementwise-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"*", "elementwise", 10, nullptr, emitFast});
RegisterEmitter mapReference({"nn.map", "map-reference", 0, nullptr, emitReference});
RegisterEmitter mapFast({"nn.map", "map", 10, nullptr, emitFast});

} // namespace
} // namespace nnopt::cpu

//===- Dft.cpp - discrete Fourier transforms ------------------------------===//
//
// Everything is computed in f64, whatever the type of the signal: sums of many terms that cancel are what the
// transform is about.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Dft.h"

using namespace mlir;
namespace nnopt::cpu {

std::optional<unsigned> DftLines::knownAxis(nn::DFTOp op, Lowering &lowering) {
  nn::Dim axis = lowering.shapes.scalarContent(op.getAxis());
  if (!axis || !axis.isConst())
    return std::nullopt;
  return axis.value() < 0 ? axis.value() + lowering.dims(op.getX()).size() : axis.value();
}

nn::Dim DftLines::knownLength(nn::DFTOp op, Lowering &lowering) {
  if (op.getDftLength())
    return lowering.shapes.scalarContent(op.getDftLength());
  auto axis = knownAxis(op, lowering);
  if (!axis)
    return {};
  nn::Dim size = lowering.dims(op.getX())[*axis];
  return op.getInverse() && op.getOnesided() ? (size - 1) * 2 : size;
}

/// The scalar `axis`, kept inside of the signal's dimensions.
static Ix axisOf(Kernel &k, nn::DFTOp op) {
  Buffer buffer = k.read(op.getAxis());
  int64_t rank = k.lowering.dims(op.getX()).size();
  Ix axis = wrapIndex(k, k.toIndex(k.load(buffer, k.c(0)), buffer.isUnsigned), k.c(rank));
  return axis.max(k.c(0)).min(k.c(rank - 2));
}

/// Size of the dimension that the value `axis` names.
static Ix sizeAt(Kernel &k, const nn::Dims &dims, Ix axis) {
  Ix size = k.c(1);
  for (unsigned d = 0; d + 1 < dims.size(); ++d)
    size = k.selectIx(axis == int64_t(d), k.dim(dims[d]), size);
  return size;
}

/// The length of the transform when the input has `size` elements along the axis.
static Ix transformLength(Kernel &k, nn::DFTOp op, Ix size) {
  if (!op.getDftLength())
    return op.getInverse() && op.getOnesided() ? ((size - 1) * 2).max(k.c(0)) : size;
  if (nn::Dim known = k.lowering.shapes.scalarContent(op.getDftLength()))
    return k.dim(known);
  Buffer buffer = k.read(op.getDftLength());
  return k.toIndex(k.load(buffer, k.c(0)), buffer.isUnsigned).max(k.c(0));
}

static Ix resultLength(Kernel &k, nn::DFTOp op, Ix length) {
  return op.getOnesided() && !op.getInverse() ? length / 2 + 1 : length;
}

LogicalResult DftLines::defineSizes(nn::DFTOp op, Lowering &lowering) {
  const nn::Dims &in = lowering.dims(op.getX()), &out = lowering.dims(op.getResult());
  for (unsigned d = 0; d + 1 < out.size(); ++d) {
    if (isResolved(lowering, op, out[d]))
      continue;
    auto compute = [&](Kernel &k) -> Ix {
      auto changed = [&] { return resultLength(k, op, transformLength(k, op, k.dim(in[d]))); };
      if (knownAxis(op, lowering))
        return changed();
      return k.selectIx(axisOf(k, op) == int64_t(d), changed(), k.dim(in[d]));
    };
    if (failed(defineSymbol(lowering, op, out[d], compute)))
      return failure();
  }
  return success();
}

DftLines::DftLines(nn::DFTOp op, Lowering &lowering)
    : k(lowering, op, "dft"), op(op), lowering(lowering), x(k.read(op.getX())), y(k.write(op.getResult())),
      inParts(k.dim(x.dims.back())), outParts(y.dims.back().value()) {}

void DftLines::locate() {
  unsigned rank = x.rank();
  if (auto axis = knownAxis(op, lowering)) {
    inSize = k.dim(x.dims[*axis]);
    outSize = k.dim(y.dims[*axis]);
    inner = productOf(k, x.dims, *axis + 1, rank - 1);
  } else {
    Ix at = axisOf(k, op);
    inSize = sizeAt(k, x.dims, at);
    outSize = sizeAt(k, y.dims, at);
    inner = k.c(1);
    for (unsigned d = 0; d + 1 < rank; ++d)
      inner = inner * k.selectIx(at < int64_t(d), k.dim(x.dims[d]), k.c(1));
  }
  length = transformLength(k, op, inSize);
  outputs = resultLength(k, op, length).min(outSize);
}

/// The line as `length` complex numbers: cut, continued with zeros, or with the conjugates of its first half.
void DftLines::readLine() {
  bool half = op.getInverse() && op.getOnesided();
  Ix given = half ? inSize.min(length / 2 + 1) : inSize.min(length);
  Type f64 = k.b.getF64Type();
  Value zero = k.constant(f64, 0);
  auto element = [&](Ix i, int64_t part) -> Value {
    return Float(&k, k.toFloat(k.load(x, (inBase + i * inner) * inParts + part), x.isUnsigned)).as(f64).v;
  };
  k.loop(k.c(0), given, 1, [&](Ix i) {
    k.store(re, i, element(i, 0));
    auto imaginary = [&] { return SmallVector<Value>{element(i, 1)}; };
    k.store(im, i, k.ifElse(inParts == 2, f64, imaginary, [&] { return SmallVector<Value>{zero}; })[0]);
  });
  k.loop(given, length, 1, [&](Ix i) {
    k.store(re, i, zero);
    k.store(im, i, zero);
  });
  if (half)
    k.loop(length / 2 + 1, length, 1, [&](Ix i) {
      k.store(re, i, k.load(re, length - i));
      k.store(im, i, (Float(&k, zero) - Float(&k, k.load(im, length - i))).v);
    });
}

void DftLines::writeResult(Ix i, Float re, Float im) {
  if (op.getInverse()) {
    Float factor = Float::of(length, k, re.v.getType());
    re = re / factor, im = im / factor;
  }
  Ix at = (outBase + i * inner) * outParts;
  k.store(y, at, k.fromFloat(re.v, y.valueType));
  if (outParts == 2)
    k.store(y, at + 1, k.fromFloat(im.v, y.valueType));
}

void DftLines::emit(llvm::function_ref<void(DftLines &)> transform) {
  locate();
  Type f64 = k.b.getF64Type();
  // What bounds the length where it is data: it is the result's size, or twice that.
  nn::Dim bound = knownLength(op, lowering);
  if (!bound) {
    bound = lowering.c(2);
    for (unsigned d = 0; d + 1 < y.rank(); ++d)
      bound = bound.max(y.dims[d] * 2);
  }
  for (Buffer *buffer : {&re, &im, &cosine, &sine})
    *buffer = k.at(k.scratch(bound * 8), f64);
  Float step =
      Float(&k, k.constant(f64, op.getInverse() ? 2 * M_PI : -2 * M_PI)) / Float::of(length.max(k.c(1)), k, f64);
  k.loop(k.c(0), length, 1, [&](Ix i) {
    Value angle = (step * Float::of(i, k, f64)).v;
    k.store(cosine, i, math::CosOp::create(k.b, k.loc, angle));
    k.store(sine, i, math::SinOp::create(k.b, k.loc, angle));
  });
  auto line = [&](Ix number) {
    Ix outer = number / inner.max(k.c(1)), rest = number % inner.max(k.c(1));
    inBase = outer * inSize * inner + rest;
    outBase = outer * outSize * inner + rest;
    readLine();
    transform(*this);
  };
  if (auto axis = knownAxis(op, lowering)) {
    forTasks(k, line);
    lowering.launch(k, lowering.product(x.dims, 0, *axis) * lowering.product(x.dims, *axis + 1, x.rank() - 1));
    return;
  }
  // The number of lines is data: one task does all of them.
  k.loop(k.c(0), productOf(k, x.dims, 0, x.rank() - 1) / inSize.max(k.c(1)), 1, line);
  lowering.launch(k, lowering.c(1));
}

namespace {

/// Each result by its definition.
LogicalResult emitReference(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::DFTOp>(operation);
  if (failed(DftLines::defineSizes(op, lowering)))
    return failure();
  DftLines lines(op, lowering);
  lines.emit([](DftLines &l) {
    Kernel &k = l.k;
    Value zero = k.constant(k.b.getF64Type(), 0);
    k.loop(k.c(0), l.outputs, 1, [&](Ix out) {
      auto sum = k.loop(k.c(0), l.length, 1, {zero, zero, k.c(0)}, [&](Ix i, ValueRange state) {
        // The angle i * out modulo the length.
        Ix at(&k, state[2]);
        Float re(&k, k.load(l.re, i)), im(&k, k.load(l.im, i)), c(&k, k.load(l.cosine, at)), s(&k, k.load(l.sine, at));
        Ix next = at + out;
        next = k.selectIx(next >= l.length, next - l.length, next);
        return SmallVector<Value>{(Float(&k, state[0]) + re * c - im * s).v, (Float(&k, state[1]) + re * s + im * c).v,
                                  next};
      });
      l.writeResult(out, {&k, sum[0]}, {&k, sum[1]});
    });
  });
  return success();
}

RegisterEmitter reference({"nn.dft", "dft-reference", 0, nullptr, emitReference});

} // namespace
} // namespace nnopt::cpu

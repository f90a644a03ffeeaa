//===- Pad.cpp - pad --------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Operands.h"
#include "lib/codegen/cpu/memory/StridedCopy.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Elements added before each axis of x (negative: removed).
FailureOr<SmallVector<Ix>> padsBefore(nn::PadOp op, Lowering &l, Kernel &k) {
  unsigned rank = l.dims(op.getX()).size();
  auto count = operandSize(l, op.getPads());
  if (!count) {
    op.emitError("pad needs a known number of pads");
    return failure();
  }
  IntOperand pads(k, op.getPads());
  return entriesByAxis(k, op.getAxes(), *count / 2, rank, k.c(0), [&](int64_t i) { return pads[i]; });
}

/// floor modulo for a positive modulus.
Ix floorMod(Kernel &k, Ix v, Ix m) {
  Ix r(&k, arith::RemSIOp::create(k.b, k.loc, v, m));
  return k.selectIx(r < 0, r + m, r);
}

/// The source position along an axis of `size` elements for position `i` (relative to the
/// source's begin). For the constant mode this is i itself and may be outside.
Ix sourcePosition(Kernel &k, nn::PadMode mode, Ix i, Ix size) {
  switch (mode) {
  case nn::PadMode::constant:
    return i;
  case nn::PadMode::edge:
    return i.max(k.c(0)).min(size - 1);
  case nn::PadMode::wrap:
    return floorMod(k, i, size.max(k.c(1)));
  case nn::PadMode::reflect: {
    // A zigzag of period 2 (size - 1); one element repeats itself.
    Ix period = ((size - 1) * 2).max(k.c(1));
    Ix r = floorMod(k, i, period);
    return k.selectIx(r < size, r, period - r);
  }
  }
  llvm_unreachable("pad mode");
}

/// The padding value in bits: the operand, else 0.
Value paddingBits(nn::PadOp op, Kernel &k, const Buffer &bits) {
  if (op.getMode() != nn::PadMode::constant || !op.getValue())
    return k.constant(bits.valueType, 0);
  return k.load(asBits(k, k.read(op.getValue())), k.c(0));
}

LogicalResult referencePad(Operation *op, Lowering &l) {
  auto pad = cast<nn::PadOp>(op);
  Kernel k(l, op, "pad");
  auto before = padsBefore(pad, l, k);
  if (failed(before))
    return failure();
  Buffer src = asBits(k, k.read(pad.getX())), dst = asBits(k, k.write(pad.getResult()));
  SmallVector<Ix> strides = k.strides(src.dims);
  Value fill = paddingBits(pad, k, dst);
  k.loop(k.begin, k.end, 1, [&](Ix i) {
    Ix offset = k.c(0);
    Value inside = arith::ConstantIntOp::create(k.b, k.loc, 1, 1);
    SmallVector<Ix> index = k.delinearize(i, dst.dims);
    for (unsigned d = 0; d < index.size(); ++d) {
      Ix size = k.dim(src.dims[d]);
      Ix at = sourcePosition(k, pad.getMode(), index[d] - (*before)[d], size);
      inside = k.land(inside, at.inRange(size));
      offset = offset + at * strides[d];
    }
    Value v = k.ifElse(
        inside, {dst.valueType}, [&] { return SmallVector<Value>{k.load(src, offset)}; },
        [&] { return SmallVector<Value>{fill}; })[0];
    k.store(dst, i, v);
  });
  k.grain = 4096;
  l.launch(k, nn::product(l.dimContext(), dst.dims));
  return success();
}

/// Trailing axes that are not padded make one run of elements with the last padded axis.
unsigned lastPaddedAxis(nn::PadOp op, Lowering &l) {
  const nn::Dims &x = l.dims(op.getX()), &out = l.dims(op.getResult());
  auto *content = l.shapes.content(op.getPads());
  unsigned rank = x.size();
  for (unsigned axis = rank; axis-- > 1;) {
    if (x[axis] != out[axis])
      return axis;
    // Same size may still be shifted: pads of +1 and -1.
    if (!content || op.getAxes() || !(*content)[axis].isConst(0))
      return axis;
  }
  return 0;
}

// Rows of the axes from the last padded one on are one piece of padding, one of the source and one
// of padding again. Rows beside the source are all padding (constant) or copies of other rows.
LogicalResult emitPad(Operation *op, Lowering &l) {
  auto pad = cast<nn::PadOp>(op);
  nn::PadMode mode = pad.getMode();
  Kernel k(l, op, "pad");
  auto before = padsBefore(pad, l, k);
  if (failed(before))
    return failure();
  Buffer src = asBits(k, k.read(pad.getX())), dst = asBits(k, k.write(pad.getResult()));
  unsigned axis = lastPaddedAxis(pad, l), rank = src.dims.size();
  nn::Dim unit = l.product(dst.dims, axis + 1, rank); // elements that move together
  Ix run = k.dim(unit), size = k.dim(src.dims[axis]), outSize = k.dim(dst.dims[axis]), shift = (*before)[axis];
  Value fill = paddingBits(pad, k, dst);
  // Positions [first, last) of a result row come from the source in order.
  Ix first = shift.max(k.c(0)).min(outSize), last = (shift + size).min(outSize).max(first);
  SmallVector<Ix> strides = k.strides(src.dims);
  ArrayRef<nn::Dim> outer = ArrayRef<nn::Dim>(dst.dims).take_front(axis);

  auto mappedEdge = [&](Ix row, Ix from, Ix low, Ix high) {
    k.loop(low, high, 1, [&](Ix i) {
      Ix at = sourcePosition(k, mode, i - shift, size);
      copyRow(k, dst, row + i * run, src, from + at * run, run);
    });
  };
  nn::Dim rowDim = dst.dims[axis] * unit;
  nn::Dim rows = nn::product(l.dimContext(), outer);
  int64_t perRow = rowDim.isConst() ? std::max<int64_t>(1, rowDim.value()) : 1024;
  int64_t perTask = std::max<int64_t>(1, 4096 / perRow);
  Ix high = (k.end * perTask).min(k.dim(rows));
  k.loop(k.begin * perTask, high, 1, [&](Ix r) {
    Ix row = r * k.dim(rowDim), from = k.c(0);
    Value inside = arith::ConstantIntOp::create(k.b, k.loc, 1, 1);
    for (auto [d, i] : llvm::enumerate(k.delinearize(r, outer))) {
      Ix at = sourcePosition(k, mode, i - (*before)[d], k.dim(src.dims[d]));
      inside = k.land(inside, at.inRange(k.dim(src.dims[d])));
      from = from + at * strides[d];
    }
    auto copyInside = [&] {
      copyRow(k, dst, row + first * run, src, from + (first - shift) * run, (last - first) * run);
    };
    if (mode == nn::PadMode::constant) {
      k.ifThen(
          inside,
          [&] {
            fillRow(k, dst, row, fill, first * run);
            copyInside();
            fillRow(k, dst, row + last * run, fill, (outSize - last) * run);
          },
          [&] { fillRow(k, dst, row, fill, k.dim(rowDim)); });
      return;
    }
    mappedEdge(row, from, k.c(0), first);
    copyInside();
    mappedEdge(row, from, last, outSize);
  });
  k.grain = 2;
  l.launch(k, rows.ceilDiv(l.c(perTask)));
  return success();
}

RegisterEmitter padReference({"nn.pad", "pad-reference", 0, nullptr, referencePad});
RegisterEmitter pad({"nn.pad", "pad", 10, nullptr, emitPad});

} // namespace
} // namespace nnopt::cpu

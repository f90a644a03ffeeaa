//===- SparseRows.cpp - rows of a sparse product --------------------------===//

#include "lib/codegen/cpu/contraction/SparseRows.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/memory/TransposeTile.h"

using namespace mlir;

namespace nnopt::cpu {

TransposedRows::TransposedRows(Kernel &k, const SparseRows &in, const SparsePlan &plan, Value x, int64_t perStep)
    : k(k), in(in), plan(plan), x(x), perStep(perStep) {
  bool bytes = perStep > 1;
  element = bytes ? Type(k.b.getI32Type()) : Type(k.b.getF32Type());
  rowElement = bytes ? Type(k.b.getI8Type()) : element;
  if (in.windows && llvm::any_of(in.windows->dims, [](const ConvDim &d) { return d.checked; })) {
    std::vector<char> outside(plan.steps * 4, bytes ? char(in.zero) : 0);
    zeroRow = k.weights(outside, k.b.getI8Type(), {int64_t(outside.size())}).ptr;
  }
}

TransposedRows::Part TransposedRows::part(Ix index) {
  int64_t ranges = plan.rangesOfTap();
  Ix tap = index / ranges * plan.partTaps, step = index % ranges * plan.partSteps;
  return {tap, (tap + plan.partTaps).min(k.c(plan.taps)), step, (step + plan.partSteps).min(k.c(plan.steps)), index};
}

Ix TransposedRows::steps(const Part &p) const {
  return p.lastStep - p.firstStep + (p.lastTap - p.firstTap - 1) * plan.partSteps;
}

int64_t TransposedRows::bytes() const {
  int64_t tables = in.windows ? 2 + int64_t(in.windows->dims.size()) : 0;
  return plan.partElements() * 4 + tables * tableBytes();
}

void TransposedRows::setMemory(Value memory) {
  auto carve = [&](int64_t size) {
    Value here = memory;
    memory = k.ptrAdd(memory, k.c(size), k.b.getI8Type());
    return here;
  };
  rows = carve(plan.partElements() * 4);
  if (!in.windows)
    return;
  pointers = carve(2 * tableBytes());
  for (size_t d = 0; d < in.windows->dims.size(); ++d)
    firsts.push_back(carve(tableBytes()));
}

/// Where the windows of a block begin, in each dimension; and, in `pointers`, where tap 0 lies if
/// it is inside.
void TransposedRows::beginBlock(Ix firstRow, Ix vectors) {
  if (!in.windows)
    return;
  const ConvShape &shape = *in.windows;
  nn::Dims space{shape.batch};
  for (const ConvDim &d : shape.dims)
    space.push_back(d.count);
  SmallVector<nn::Dim> sizes;
  for (const ConvDim &d : shape.dims)
    sizes.push_back(d.in);
  sizes.push_back(k.lowering.c(shape.inChannels()));
  SmallVector<Ix> strides = k.strides(sizes);
  Ix image = k.dim(nn::product(k.lowering.dimContext(), sizes)), last = k.dim(in.rows) - 1;
  k.loop(k.c(0), vectors * plan.lanes, 1, [&](Ix i) {
    SmallVector<Ix> at = k.delinearize((firstRow + i).min(last), space);
    Ix offset = at[0] * image;
    for (auto [d, dim] : llvm::enumerate(shape.dims)) {
      Ix first = at[d + 1] * dim.inStep + dim.first;
      offset = offset + first * strides[d];
      if (dim.checked)
        k.storeAt(firsts[d], i, first);
    }
    k.storeAt(pointers, i, k.ptrAdd(x, offset, rowElement), 8);
  });
}

/// Where the rows of a block lie for one tap.
void TransposedRows::locateTap(Ix tap, Ix firstRow, Ix vectors) {
  const ConvShape &shape = *in.windows;
  Value now = k.ptrAdd(pointers, k.c(plan.vectors * plan.lanes), k.b.getI64Type());
  SmallVector<nn::Dim> counts, sizes;
  for (const ConvDim &d : shape.dims) {
    counts.push_back(k.lowering.c(d.taps));
    sizes.push_back(d.in);
  }
  sizes.push_back(k.lowering.c(shape.inChannels()));
  SmallVector<Ix> at = k.delinearize(tap, counts), strides = k.strides(sizes);
  Ix offset = k.c(0);
  for (auto [d, dim] : llvm::enumerate(shape.dims)) {
    at[d] = at[d] * dim.tapStep;
    offset = offset + at[d] * strides[d];
  }
  k.loop(k.c(0), vectors * plan.lanes, 1, [&](Ix i) {
    Value pointer = k.ptrAdd(pointerAt(i), offset, rowElement), inside;
    for (auto [d, dim] : llvm::enumerate(shape.dims)) {
      if (!dim.checked)
        continue;
      Value here = (Ix(&k, k.loadAt(firsts[d], i, k.b.getI64Type())) + at[d]).inRange(k.dim(dim.in));
      inside = inside ? k.land(inside, here) : here;
    }
    k.storeAt(now, i, inside ? k.select(inside, pointer, zeroRow) : pointer, 8);
  });
}

Value TransposedRows::transpose(const Part &p, Ix firstRow, Ix vectors, Ix pitch) {
  int64_t lanes = plan.lanes, rest = plan.steps % lanes;
  Ix last = k.dim(in.rows) - 1;
  bool windows = in.windows, bytes = perStep > 1;
  Value zero = k.constant(vector(), 0);
  auto load = [&](Value row, Ix step, Value mask) {
    Value at = k.ptrAdd(row, step * perStep, rowElement);
    Value v =
        mask ? k.loadMasked(k.at(at, element), k.c(0), lanes, mask) : k.loadAt(at, k.c(0), vector(), bytes ? 1 : 4);
    if (in.signedBytes)
      v = arith::XOrIOp::create(k.b, k.loc, v, k.splat(byteMask(k, 4, 0x80), lanes));
    return v;
  };
  // The sum of 0 x each element is 0 where all are finite, else NaN.
  auto tile = [&](ArrayRef<Value> pointers, Ix step, Ix to, int64_t count, Value sum) {
    SmallVector<Value> v;
    Value mask = count < lanes ? k.mask(k.c(count), lanes) : Value();
    for (Value pointer : pointers)
      v.push_back(load(pointer, step, mask));
    v = transposeVectors(k, v);
    for (int64_t i = 0; i < count; ++i) {
      k.storeAt(rows, to + pitch * i, v[i], lanes * 4);
      if (!bytes)
        sum = multiplyAdd(k, v[i], zero, sum);
    }
    return SmallVector<Value>{sum};
  };
  SmallVector<Value> sum = k.loop(p.firstTap, p.lastTap, 1, {zero}, [&](Ix tap, ValueRange tapSum) {
    if (windows)
      locateTap(tap, firstRow, vectors);
    Ix base = (tap - p.firstTap) * plan.partSteps;
    return k.loop(k.c(0), vectors, 1, tapSum, [&](Ix group, ValueRange groupSum) {
      SmallVector<Value> from;
      for (int64_t i = 0; i < lanes; ++i) {
        if (windows)
          from.push_back(pointerAt(group * lanes + (i + plan.vectors * lanes)));
        else
          from.push_back(
              k.ptrAdd(x, (firstRow + group * lanes + i).min(last) * (plan.steps * perStep), rowElement));
      }
      Ix to = base * pitch + group * lanes;
      auto whole = [&](Ix step, ValueRange s) {
        return tile(from, step, to + (step - p.firstStep) * pitch, lanes, s[0]);
      };
      SmallVector<Value> s = k.loop(p.firstStep, p.lastStep.min(k.c(plan.steps - rest)), lanes, groupSum, whole);
      if (rest) {
        auto end = [&] {
          return tile(from, k.c(plan.steps - rest), to + (k.c(plan.steps - rest) - p.firstStep) * pitch, rest, s[0]);
        };
        s = k.ifElse(p.lastStep == plan.steps, {vector()}, end, [&] { return s; });
      }
      return s;
    });
  });
  if (bytes)
    return {};
  Value finite = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::ORD, sum[0], sum[0]);
  return vector::ReductionOp::create(k.b, k.loc, vector::CombiningKind::AND, finite);
}

} // namespace nnopt::cpu

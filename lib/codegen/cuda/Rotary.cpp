//===- Rotary.cpp - rotary position embedding -------------------------------===//
//
// A thread turns a pair of elements. Neighbouring threads have neighbouring pairs of a row, which is read where a
// transpose or split left it.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Kernel.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t blockThreads = 256;

bool match(Operation *op, Lowering &l) {
  auto rotary = cast<nn::RotaryOp>(op);
  return areFloats(l, {rotary.getX(), rotary.getCos(), rotary.getSin()});
}

LogicalResult emit(Operation *operation, Lowering &l) {
  auto op = cast<nn::RotaryOp>(operation);
  nn::DimContext &ctx = l.dimContext();
  const nn::Dims dims = l.dims(op.getX());
  Kernel k(l, op, op.getInterleaved() ? "rotary_interleaved" : "rotary", blockThreads);
  cpu::StridedView view = cpu::readView(l, op->getOpOperand(0));
  Buffer x = k.read(view.base);
  x.ptr = k.ptrAdd(x.ptr, k.dim(view.offset), x.storageType);
  Buffer cos = k.read(op.getCos()), sin = k.read(op.getSin()), out = k.write(op.getResult());

  nn::Dim half = dims.back().floorDiv(2), total = nn::product(ctx, ArrayRef(dims).drop_back()) * half;
  Ix i = k.block * blockThreads + k.thread;
  k.ifThen(i < k.dim(total), [&] {
    Ix pair = i % k.dim(half);
    SmallVector<Ix> row = k.delinearize(i / k.dim(half), ArrayRef(dims).drop_back());
    auto rowOffset = [&](ArrayRef<nn::Dim> strides) {
      Ix offset = k.c(0);
      for (auto [at, stride] : llvm::zip(row, strides)) // the last stride is left over
        offset = offset + at * k.dim(stride);
      return offset;
    };
    // The elements of a pair, as distances from the row's start.
    Ix first = op.getInterleaved() ? pair * 2 : pair, second = op.getInterleaved() ? pair * 2 + 1 : pair + k.dim(half);
    auto load = [&](const Buffer &buffer, Ix at) { return k.toFloat(k.load(buffer, at)); };
    auto angles = [&](const Buffer &buffer, Value v) -> std::pair<Value, Value> {
      Ix offset = rowOffset(cpu::broadcastStrides(ctx, l.dims(v), dims));
      if (l.dims(v).back() == dims.back())
        return {load(buffer, offset + first), load(buffer, offset + second)};
      Value angle = load(buffer, offset + pair); // one for both
      return {angle, angle};
    };
    Ix from = rowOffset(view.strides), to = rowOffset(cpu::rowMajor(ctx, dims));
    Value a = load(x, from + first * k.dim(view.strides.back())), b = load(x, from + second * k.dim(view.strides.back()));
    auto [c, c2] = angles(cos, op.getCos());
    auto [s, s2] = angles(sin, op.getSin());
    Value turned = cpu::fsub(k, cpu::fmul(k, a, c), cpu::fmul(k, b, s));
    Value turned2 = cpu::fadd(k, cpu::fmul(k, b, c2), cpu::fmul(k, a, s2));
    k.store(out, to + first, k.fromFloat(turned, out.valueType));
    k.store(out, to + second, k.fromFloat(turned2, out.valueType));
  });
  k.flops = total * 6;
  k.bytes = total * (4 * cpu::storageBytes(x));
  k.launch(total.ceilDiv(l.c(blockThreads)));
  return success();
}

RegisterEmitter rotary({"nn.rotary", "cuda-rotary", 10, match, emit});

} // namespace
} // namespace nnopt::cuda

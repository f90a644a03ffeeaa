//===- Kernel.cpp - building one GPU kernel ---------------------------------===//

#include "lib/codegen/cuda/Kernel.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace nnopt::cuda {

static Value i32(Kernel &k, int64_t v) { return arith::ConstantIntOp::create(k.b, k.loc, v, 32); }

Buffer Kernel::shared(Type elementType, int64_t elements) { return sharedAt(16, elementType, elements); }

Buffer Kernel::sharedAt(int64_t alignment, Type elementType, int64_t elements) {
  Buffer buf = at({}, elementType);
  int64_t offset = llvm::alignTo(sharedBytes, alignment);
  sharedBytes = llvm::alignTo(offset + elements * cpu::storageBytes(buf), 16);
  Type pointer = LLVM::LLVMPointerType::get(b.getContext()), own = LLVM::LLVMPointerType::get(b.getContext(), 3);
  Value base = LLVM::AddressOfOp::create(b, loc, own, sharedSymbol);
  base = LLVM::AddrSpaceCastOp::create(b, loc, pointer, base);
  buf.ptr = ptrAdd(base, c(offset), b.getI8Type());
  return buf;
}

void Kernel::waitForLaunches() { LLVM::CallOp::create(b, loc, TypeRange(), waitForLaunchesFunction, ValueRange()); }

void Kernel::letNextLaunchBegin() { LLVM::CallOp::create(b, loc, TypeRange(), letNextLaunchBeginFunction, ValueRange()); }

void Kernel::barrier() { NVVM::BarrierOp::create(b, loc); }

Value Kernel::shuffleXor(Value v, int64_t mask) {
  return NVVM::ShflOp::create(b, loc, v.getType(), i32(*this, -1), v, i32(*this, mask), i32(*this, warpSize - 1),
                              NVVM::ShflKind::bfly, UnitAttr());
}

Value Kernel::reduceWarp(Value v, Combine combine) {
  for (int64_t mask = warpSize / 2; mask; mask /= 2)
    v = combine(v, shuffleXor(v, mask));
  return v;
}

Value Kernel::reduceBlock(Value v, Value identity, Combine combine) {
  v = reduceWarp(v, combine);
  int64_t warps = threads / warpSize;
  if (warps == 1)
    return v;
  if (!reduced)
    reduced = shared(v.getType(), warpSize);
  else
    barrier(); // the last reduction's results have been read
  Ix lane = thread % warpSize, warp = thread / warpSize;
  ifThen(lane == 0, [&] { store(*reduced, warp, v); });
  barrier();
  // Every warp combines the results of all warps.
  Value inRange = lane < warps;
  Value mine = select(inRange, load(*reduced, selectIx(inRange, lane, c(0))), identity);
  return reduceWarp(mine, combine);
}

/// Bytes that one access moves at most.
static constexpr int64_t accessBytes = 16;

SmallVector<Value> Kernel::loadLanes(const Buffer &buf, Ix offset, int64_t lanes) {
  if (lanes == 1)
    return {load(buf, offset)};
  int64_t bytes = lanes * cpu::storageBytes(buf);
  if (int64_t most = accessBytes / cpu::storageBytes(buf); lanes > most) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < lanes; i += most)
      values.append(loadLanes(buf, offset + i, most));
    return values;
  }
  Value whole = loadAt(buf.ptr, offset, vec(lanes, buf.storageType), bytes);
  Buffer element = buf;
  SmallVector<Value> values;
  for (int64_t i = 0; i < lanes; ++i)
    values.push_back(fromStorage(buf, vector::ExtractOp::create(b, loc, whole, ArrayRef<int64_t>{i})));
  return values;
}

void Kernel::storeLanes(const Buffer &buf, Ix offset, ArrayRef<Value> values) {
  if (values.size() == 1)
    return store(buf, offset, values[0]);
  if (int64_t most = accessBytes / cpu::storageBytes(buf); int64_t(values.size()) > most) {
    for (int64_t i = 0; i < int64_t(values.size()); i += most)
      storeLanes(buf, offset + i, values.slice(i, most));
    return;
  }
  SmallVector<Value> stored;
  for (Value v : values)
    stored.push_back(toStorage(buf, v));
  Value whole = vector::FromElementsOp::create(b, loc, vec(values.size(), buf.storageType), stored);
  storeAt(buf.ptr, offset, whole, int64_t(values.size()) * cpu::storageBytes(buf));
}

bool areFloats(Lowering &l, ValueRange values) {
  return llvm::all_of(values, [&](Value v) { return !v || isFloat(l.shapes.info(v).elementType); });
}

bool isAligned(Lowering &l, Value v) {
  uint32_t buffer = l.bufferOf(v);
  while (l.program.buffers[buffer].kind == NNOPT_B_VIEW) {
    if (!isMultiple(l.program.buffers[buffer].size, 16))
      return false;
    buffer = l.program.buffers[buffer].index;
  }
  return true;
}

bool isMultiple(nn::Dim d, int64_t n) { return cpu::isMultipleOf(d, n); }

} // namespace nnopt::cuda

//===- NarrowProduct.cpp - contractions of 8-bit integers and bf16 ------------===//

#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/Finish.h"

using namespace mlir;

namespace nnopt::cpu {

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

Value addByteProducts(Kernel &k, Value acc, Value x, Value w) {
  auto type = cast<VectorType>(acc.getType());
  int64_t lanes = type.getNumElements();
  const Target &target = k.target();
  auto call = [&](StringRef name, ValueRange args) -> Value {
    return LLVM::CallIntrinsicOp::create(k.b, k.loc, type, k.b.getStringAttr(name), args).getResults();
  };
  auto as = [&](Value v, VectorType other) -> Value { return vector::BitCastOp::create(k.b, k.loc, other, v); };
  if (target.dotprod) {
    VectorType bytes = k.vec(4 * lanes, k.b.getI8Type());
    std::string name = "llvm.aarch64.neon.sdot.v" + std::to_string(lanes) + "i32.v" + std::to_string(4 * lanes) + "i8";
    return call(name, {acc, as(x, bytes), as(w, bytes)});
  }
  if (lanes == 16 ? target.vnni : target.vnni || target.avxVnni) {
    // With 256 bits LLVM selects the AVX-512 or the AVX form by what the target has.
    VectorType bytes = k.vec(4 * lanes, k.b.getI8Type());
    return call("llvm.x86.avx512.vpdpbusd." + std::to_string(32 * lanes), {acc, as(x, bytes), as(w, bytes)});
  }
  // Even and odd bytes as 16-bit numbers; the sum of two products of 9 by 8 bits fits 32 bits. vpmaddubsw would need
  // half the instructions and saturates.
  VectorType words = k.vec(2 * lanes, k.b.getI16Type());
  Value eight = k.constant(words, 8), low = k.constant(words, 255);
  Value xWords = as(x, words), wWords = as(w, words);
  Value xEven = arith::AndIOp::create(k.b, k.loc, xWords, low), xOdd = arith::ShRUIOp::create(k.b, k.loc, xWords, eight);
  Value wOdd = arith::ShRSIOp::create(k.b, k.loc, wWords, eight);
  Value wEven = arith::ShRSIOp::create(k.b, k.loc, arith::ShLIOp::create(k.b, k.loc, wWords, eight), eight);
  StringRef name = lanes == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd";
  for (auto [a, b] : {std::pair(xEven, wEven), std::pair(xOdd, wOdd)})
    acc = arith::AddIOp::create(k.b, k.loc, acc, call(name, {a, b}));
  return acc;
}

Value addPairProducts(Kernel &k, Value acc, Value x, Value w) {
  auto type = cast<VectorType>(acc.getType());
  int64_t lanes = type.getNumElements();
  VectorType pairs = k.vec(2 * lanes, k.b.getBF16Type());
  auto as = [&](Value v) -> Value { return vector::BitCastOp::create(k.b, k.loc, pairs, v); };
  std::string name = "llvm.x86.avx512bf16.dpbf16ps." + std::to_string(32 * lanes);
  return LLVM::CallIntrinsicOp::create(k.b, k.loc, type, k.b.getStringAttr(name), ValueRange{acc, as(x), as(w)}).getResults();
}

Value byteMask(Kernel &k, int64_t count, uint8_t byte) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < count; ++i)
    bits |= uint32_t(byte) << (8 * i);
  return arith::ConstantOp::create(k.b, k.loc, k.b.getI32IntegerAttr(int32_t(bits)));
}

Value loadRowBytes(Kernel &k, Value row, Ix index, int64_t count, bool moved) {
  Type i32 = k.b.getI32Type();
  Value x;
  auto part = [&](int64_t bits, int64_t at) -> Value {
    Type type = k.b.getIntegerType(bits);
    Value v = k.loadAt(k.ptrAdd(row, index * 4 + at, k.b.getI8Type()), k.c(0), type, 1);
    return bits == 32 ? v : arith::ExtUIOp::create(k.b, k.loc, i32, v);
  };
  if (count == 4) {
    x = part(32, 0);
  } else {
    x = part(count == 1 ? 8 : 16, 0);
    if (count == 3) {
      Value high = arith::ShLIOp::create(k.b, k.loc, part(8, 2), k.constant(i32, 16));
      x = arith::OrIOp::create(k.b, k.loc, x, high);
    }
  }
  return moved ? arith::XOrIOp::create(k.b, k.loc, x, byteMask(k, count, 0x80)).getResult() : x;
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

static bool isByte(Type type) { return type.isInteger(8); }
static bool isUnsignedByte(Type type) { return type.isUnsignedInteger(8); }

/// Whether a value has one element.
static bool isSingle(Lowering &lowering, Value v) {
  return llvm::all_of(lowering.dims(v), [](nn::Dim d) { return d.isConst(1); });
}

bool NarrowProduct::matches(Lowering &lowering, const NarrowOperands &o, Value bias, Value result, Region &epilogue) {
  const Target &target = lowering.target;
  if (target.isX86 ? !target.avx2 : !target.dotprod)
    return false;
  Type x = lowering.shapes.info(o.x).elementType, w = lowering.shapes.info(o.w).elementType;
  if (x.isBF16())
    return w.isBF16() && target.bf16 && lowering.constant(o.w) && (!bias || isa<FloatType>(lowering.shapes.info(bias).elementType));
  if (!isByte(x) || !isByte(w) || !lowering.constant(o.w))
    return false;
  if (!accumulatorType(x, lowering.shapes.info(result).elementType, &epilogue).isSignlessInteger(32))
    return false;
  if (bias && !lowering.shapes.info(bias).elementType.isSignlessInteger(32))
    return false;
  return (!o.xZero || isSingle(lowering, o.xZero)) && (!o.wZero || lowering.constant(o.wZero));
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

NarrowProduct::NarrowProduct(Kernel &k, const NarrowOperands &operands, const PanelSource &s, int64_t tapsPerRun,
                             const Tile &tile, Unit unit)
    : k(k), tile(tile), unit(unit) {
  Lowering &lowering = k.lowering;
  if (lowering.shapes.info(operands.x).elementType.isBF16()) {
    pairs = true;
    knownZero = 0;
    packPairs(*lowering.constant(operands.w), s, tapsPerRun);
    return;
  }
  bool multipliesSigned = multipliesSignedRows(k.target());
  // Tiles multiply rows of either kind.
  movedRows = unit == Unit::Vectors && isUnsignedByte(lowering.shapes.info(operands.x).elementType) == multipliesSigned;
  bool unsignedWeights = isUnsignedByte(lowering.shapes.info(operands.w).elementType);
  std::optional<nn::ConstantData> weights = lowering.constant(operands.w), zeros;
  if (operands.wZero)
    zeros = lowering.constant(operands.wZero);

  // Columns of runs, each run filled with zeros up to a multiple of four bytes.
  int64_t runs = int64_t(s.tapOffsets.size()) / tapsPerRun, runBytes = tapsPerRun * s.channels;
  int64_t runSteps = steps(k.b.getI8Type(), runBytes);
  int64_t columns = s.groups * s.columns;
  std::vector<char> bytes(columns * runs * runSteps * 4);
  std::vector<int32_t> sums(columns), columnZeros(columns);
  const char *from = weights->bytes().data();
  for (int64_t column = 0; column < columns; ++column) {
    int64_t base = column / s.columns * s.groupStride + column % s.columns * s.columnStride;
    if (zeros)
      columnZeros[column] = zeros->asInt(zeros->size() == 1 ? 0 : column) - (unsignedWeights ? 128 : 0);
    else
      columnZeros[column] = unsignedWeights ? -128 : 0;
    for (int64_t run = 0; run < runs; ++run) {
      char *to = bytes.data() + (column * runs + run) * runSteps * 4;
      for (int64_t i = 0; i < runBytes; ++i) {
        int64_t tap = run * tapsPerRun + i / s.channels;
        int8_t w = from[base + s.tapOffsets[tap] + i % s.channels * s.channelStride] ^ (unsignedWeights ? 0x80 : 0);
        to[i] = w;
        sums[column] += int32_t(w) - columnZeros[column];
      }
    }
  }
  packRuns(bytes, s, runs, runSteps);
  Type i32 = k.b.getI32Type();

  // The zero point of x.
  knownZero = 0;
  if (operands.xZero) {
    knownZero.reset();
    if (std::optional<nn::ConstantData> known = lowering.constant(operands.xZero))
      knownZero = known->asInt(0);
    else
      zero = k.read(operands.xZero);
  }
  int64_t moved = !movedRows ? 0 : multipliesSigned ? -128 : 128;
  if (knownZero) {
    for (int32_t &sum : sums)
      sum = int32_t(uint32_t(sum) * uint32_t(-(*knownZero + moved)));
  } else {
    Value v = k.load(zero, k.c(0));
    v = zero.isUnsigned ? arith::ExtUIOp::create(k.b, k.loc, i32, v).getResult()
                        : arith::ExtSIOp::create(k.b, k.loc, i32, v).getResult();
    negativeZero = arith::SubIOp::create(k.b, k.loc, k.constant(i32, -moved), v);
  }
  auto columnBuffer = [&](const std::vector<int32_t> &values) {
    ArrayRef<char> raw(reinterpret_cast<const char *>(values.data()), values.size() * 4);
    return k.weights(raw, i32, {int64_t(values.size())});
  };
  hasStartTerm = llvm::any_of(sums, [](int32_t v) { return v != 0; });
  if (hasStartTerm)
    startTerm = columnBuffer(sums);
  if (llvm::any_of(columnZeros, [](int32_t v) { return v != 0; }))
    weightZeros = columnBuffer(columnZeros);
}

/// Columns of runs, each run filled with zeros up to a multiple of two.
void NarrowProduct::packPairs(const nn::ConstantData &weights, const PanelSource &s, int64_t tapsPerRun) {
  int64_t runs = int64_t(s.tapOffsets.size()) / tapsPerRun, length = tapsPerRun * s.channels;
  int64_t runSteps = steps(k.b.getBF16Type(), length), columns = s.groups * s.columns;
  std::vector<uint16_t> values(columns * runs * runSteps * 2);
  const auto *from = reinterpret_cast<const uint16_t *>(weights.bytes().data());
  for (int64_t column = 0; column < columns; ++column) {
    const uint16_t *base = from + column / s.columns * s.groupStride + column % s.columns * s.columnStride;
    for (int64_t run = 0; run < runs; ++run)
      for (int64_t i = 0; i < length; ++i)
        values[(column * runs + run) * runSteps * 2 + i] =
            base[s.tapOffsets[run * tapsPerRun + i / s.channels] + i % s.channels * s.channelStride];
  }
  packRuns(ArrayRef(reinterpret_cast<const char *>(values.data()), values.size() * 2), s, runs, runSteps);
}

void NarrowProduct::packRuns(ArrayRef<char> columns, const PanelSource &s, int64_t runs, int64_t runSteps) {
  PanelSource source;
  source.groups = s.groups;
  source.columns = s.columns;
  source.channels = runSteps;
  source.columnStride = runs * runSteps;
  source.groupStride = s.columns * source.columnStride;
  source.tapOffsets.clear();
  for (int64_t run = 0; run < runs; ++run)
    source.tapOffsets.push_back(run * runSteps);
  std::vector<char> packed = packPanels(source, columns, 4, tile);
  packed.resize(std::max<size_t>(packed.size(), 64));
  packedBytes = packed.size();
  panels = k.weights(packed, k.b.getI32Type(), {packedBytes / 4});
}

Type NarrowProduct::accumulator() const { return pairs ? Type(k.b.getF32Type()) : Type(k.b.getI32Type()); }

void NarrowProduct::configure(Accumulate &accumulate) const {
  accumulate.element = k.b.getI32Type();
  accumulate.perStep = pairs ? 2 : 4;
  accumulate.movedRows = movedRows;
  accumulate.rowSums = weightZeros.has_value();
}

Value NarrowProduct::columnVector(const Buffer &buffer, Ix column, Value mask) {
  return mask ? k.loadMasked(buffer, column, tile.lanes, mask) : k.load(buffer, column, tile.lanes);
}

void NarrowProduct::start(SmallVectorImpl<Value> &acc, int64_t mr, Ix column, int64_t nv, ArrayRef<Value> masks) {
  for (int64_t j = 0; hasStartTerm && j < nv; ++j) {
    Value term = columnVector(startTerm, column + j * tile.lanes, masks[j]);
    if (negativeZero)
      term = arith::MulIOp::create(k.b, k.loc, term, k.splat(negativeZero, tile.lanes));
    for (int64_t i = 0; i < mr; ++i)
      acc[i * nv + j] = arith::AddIOp::create(k.b, k.loc, acc[i * nv + j], term);
  }
  if (weightZeros)
    acc.append(mr, k.constant(k.vec(tile.lanes, k.b.getI32Type()), 0));
}

void NarrowProduct::finish(SmallVectorImpl<Value> &acc, int64_t mr, Ix column, int64_t nv, ArrayRef<Value> masks) {
  if (!weightZeros)
    return;
  for (int64_t j = 0; j < nv; ++j) {
    Value zeros = columnVector(*weightZeros, column + j * tile.lanes, masks[j]);
    for (int64_t i = 0; i < mr; ++i) {
      Value share = arith::MulIOp::create(k.b, k.loc, acc[mr * nv + i], zeros);
      acc[i * nv + j] = arith::SubIOp::create(k.b, k.loc, acc[i * nv + j], share);
    }
  }
  acc.truncate(mr * nv);
}

Value NarrowProduct::zeroElement() {
  if (pairs)
    return k.constant(k.b.getI16Type(), 0);
  if (knownZero)
    return arith::ConstantOp::create(k.b, k.loc, k.b.getI8IntegerAttr(int8_t(*knownZero)));
  return k.load(zero, k.c(0));
}

Value NarrowProduct::zeroRow(int64_t count) {
  if (pairs)
    return k.weights(std::vector<char>(2 * count), k.b.getI16Type(), {count}).ptr;
  if (knownZero)
    return k.weights(std::vector<char>(count, char(*knownZero)), k.b.getI8Type(), {count}).ptr;
  Value row = k.scratch(k.lowering.c(count)), byte = zeroElement();
  k.loop(k.c(0), k.c(count), 1, [&](Ix i) { k.storeAt(row, i, byte); });
  return row;
}

} // namespace nnopt::cpu

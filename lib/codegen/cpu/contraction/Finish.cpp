//===- Finish.cpp - bias, epilogue and store of contraction results ---------===//

#include "lib/codegen/cpu/contraction/Finish.h"

using namespace mlir;

namespace nnopt::cpu {

/// Operations of an epilogue up to which it is repeated for every vector of a tile.
static constexpr int64_t maxInlineOps = 10;
/// Vectors of the largest tile.
static constexpr int64_t maxTileVectors = 32;

Type accumulatorType(Type operandType, Type resultType, Region *epilogue) {
  MLIRContext *ctx = operandType.getContext();
  if (isa<FloatType>(operandType)) {
    if (operandType.isF64())
      return operandType;
    return Float32Type::get(ctx);
  }
  if (epilogue && !epilogue->empty())
    return epilogue->front().getArgument(0).getType();
  if (isa<FloatType>(resultType))
    return resultType.isF64() ? resultType : Float32Type::get(ctx);
  return IntegerType::get(ctx, resultType.getIntOrFloatBitWidth());
}

bool takesFloatSums(Region &epilogue) {
  return !epilogue.empty() && llvm::all_of(epilogue.front().getArgument(0).getUsers(), [](Operation *user) {
    return isa<arith::SIToFPOp>(user) && user->getResult(0).getType().isF32();
  });
}

static bool isLong(Region &epilogue) {
  if (epilogue.empty())
    return false;
  int64_t ops = 0;
  for (Operation &op : epilogue.front().without_terminator()) {
    // Comparisons belong to selections, products to the sums that they go into.
    auto isSum = [](Operation *user) { return isa<arith::AddFOp>(user); };
    if (isa<arith::ConstantOp, arith::CmpFOp, arith::BitcastOp>(op) ||
        (isa<arith::MulFOp>(op) && op.hasOneUse() && isSum(*op.user_begin())))
      continue;
    // Polynomials and libm calls.
    bool cheapMath = isa<math::AbsFOp, math::FmaOp, math::SqrtOp, math::FloorOp, math::CeilOp, math::RoundEvenOp>(op);
    ops += isa<math::MathDialect>(op.getDialect()) && !cheapMath ? maxInlineOps + 1 : 1;
  }
  return ops > maxInlineOps;
}

Finish::Finish(Kernel &k, nn::LinearOp op, Value bias, Type accType, bool noColumns)
    : k(k), result(op->getResult(0)), epilogue(&op.getEpilogue()), accType(accType) {
  out = k.write(result);
  if (op.getSecond())
    second = k.write(op.getSecond());
  readOperands(op, bias, noColumns);
}

Finish::Finish(Kernel &k, nn::LinearOp op, Value bias, Type accType, Sink sink)
    : k(k), result(op->getResult(0)), epilogue(&op.getEpilogue()), accType(accType), sink(std::move(sink)) {
  readOperands(op, bias, /*noColumns=*/false);
}

void Finish::readOperands(nn::LinearOp op, Value bias, bool noColumns) {
  Lowering &lowering = k.lowering;
  dims = lowering.dims(result);
  if (noColumns || dims.empty())
    dims.push_back(lowering.c(1));
  if (bias)
    biasBuffer = k.read(bias);
  nn::Dim one = lowering.c(1);
  for (Value v : op.getEpilogueArgs()) {
    Arg arg;
    arg.buffer = k.read(v);
    arg.value = v;
    arg.dims = lowering.dims(v);
    if (noColumns || lowering.dims(result).empty())
      arg.dims.push_back(one);
    while (arg.dims.size() < dims.size())
      arg.dims.insert(arg.dims.begin(), one);
    bool leadingOnes = llvm::all_of(ArrayRef(arg.dims).drop_back(), [](nn::Dim d) { return d.isConst(1); });
    if (leadingOnes && arg.dims.back().isConst(1))
      arg.kind = Arg::Scalar;
    else if (leadingOnes && arg.dims.back() == dims.back())
      arg.kind = Arg::Columns;
    else if (arg.dims == dims)
      arg.kind = Arg::Same;
    else
      arg.kind = Arg::General;
    args.push_back(arg);
  }
  if (cpu::isLong(*epilogue))
    parked = k.scratch(lowering.c(maxTileVectors * 64));
}

Finish::Finish(Kernel &k, Value result, Type accType) : k(k), result(result), accType(accType) {
  out = k.write(result);
  dims = k.lowering.dims(result);
  if (dims.empty())
    dims.push_back(k.lowering.c(1));
}

void Finish::allowInPlace() {
  if (k.lowering.rowPlaceOf(result))
    return;
  auto bufferOf = [&](Value v) { return v.getDefiningOp<nn::ConstantOp>() ? NNOPT_NONE : k.lowering.bufferOf(v); };
  for (const Arg &arg : args) {
    if (arg.kind != Arg::Same || arg.buffer.storageType != out.storageType)
      continue;
    // An argument that is an operand of the contraction too is read after its element is replaced.
    uint32_t own = bufferOf(arg.value);
    int64_t uses = llvm::count_if(result.getDefiningOp()->getOperands(), [&](Value v) { return bufferOf(v) == own; });
    if (own != NNOPT_NONE && uses == 1)
      k.allowInPlace(arg.value, result);
  }
}

SmallVector<Value> Finish::bias(Ix column, int64_t nv, int64_t lanes, ArrayRef<Value> masks) {
  VectorType type = k.vec(lanes, accType);
  SmallVector<Value> values;
  for (int64_t j = 0; j < nv; ++j) {
    if (!biasBuffer) {
      values.push_back(k.constant(type, 0));
      continue;
    }
    Ix at = column + j * lanes;
    Value v = masks[j] ? k.loadMasked(*biasBuffer, at, lanes, masks[j]) : k.load(*biasBuffer, at, lanes);
    values.push_back(isa<FloatType>(accType) ? k.fromFloat(k.toFloat(v), type) : v);
  }
  return values;
}

Value Finish::biasScalar(Ix column) {
  if (!biasBuffer)
    return k.constant(accType, 0);
  Value v = k.load(*biasBuffer, column);
  return isa<FloatType>(accType) ? k.fromFloat(k.toFloat(v), accType) : v;
}

SmallVector<Value> Finish::start(int64_t mr, Ix column, int64_t nv, int64_t lanes, ArrayRef<Value> masks) {
  SmallVector<Value> row = bias(column, nv, lanes, masks), tile;
  for (int64_t i = 0; i < mr; ++i)
    tile.append(row);
  return tile;
}

Ix Finish::rowPitch() { return k.dim(k.lowering.rowPlaceOf(result) ? k.lowering.rowPitch(result) : dims.back()); }

Finish::Row Finish::beginRow(Ix row) {
  Row r;
  r.index = row;
  r.offset = row * k.dim(dims.back());
  r.inResult = row * rowPitch();
  for (const Arg &arg : args) {
    if (arg.kind == Arg::Same) {
      r.args.push_back(r.offset);
    } else if (arg.kind != Arg::General) {
      r.args.push_back(k.c(0));
    } else {
      SmallVector<Ix> at = k.delinearize(row, ArrayRef(dims).drop_back());
      SmallVector<Ix> strides = k.strides(arg.dims);
      Ix offset = k.c(0);
      for (size_t d = 0; d + 1 < dims.size(); ++d) {
        if (arg.dims[d].isConst(1))
          continue;
        Ix term = at[d] * strides[d];
        // A symbolic size may turn out to be 1 and then broadcasts.
        if (arg.dims[d] != dims[d])
          term = k.selectIx(k.dim(arg.dims[d]) == 1, k.c(0), term);
        offset = offset + term;
      }
      r.args.push_back(offset);
    }
  }
  return r;
}

Value Finish::loadArg(const Arg &arg, Ix rowOffset, Ix column, int64_t lanes, Value mask) {
  nn::Dim last = arg.dims.back();
  if (last.isConst(1)) {
    Value v = k.load(arg.buffer, rowOffset);
    return lanes ? k.splat(v, lanes) : v;
  }
  if (last == dims.back()) {
    if (!lanes)
      return k.load(arg.buffer, rowOffset + column);
    return mask ? k.loadMasked(arg.buffer, rowOffset + column, lanes, mask)
                : k.load(arg.buffer, rowOffset + column, lanes);
  }
  // One column or all of them, known at run time only.
  Value isOne = k.dim(last) == 1;
  if (!lanes)
    return k.load(arg.buffer, rowOffset + k.selectIx(isOne, k.c(0), column));
  auto whole = [&] {
    return mask ? k.loadMasked(arg.buffer, rowOffset + column, lanes, mask)
                : k.load(arg.buffer, rowOffset + column, lanes);
  };
  return k.ifElse(
      isOne, {k.vec(lanes, arg.buffer.valueType)},
      [&] { return SmallVector<Value>{k.splat(k.load(arg.buffer, rowOffset), lanes)}; },
      [&] { return SmallVector<Value>{whole()}; })[0];
}

/// `v` as an element (or vector) of a result.
Value Finish::toResult(Value v, const Buffer &buffer, int64_t lanes) {
  Type element = getElementTypeOrSelf(v.getType());
  if (element == buffer.valueType)
    return v;
  Type type = lanes ? Type(k.vec(lanes, buffer.valueType)) : buffer.valueType;
  if (isa<FloatType>(element))
    return k.fromFloat(v, type, buffer.isUnsigned);
  if (isa<FloatType>(buffer.valueType))
    return k.fromFloat(k.toFloat(v), type);
  if (buffer.valueType.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(k.b, k.loc, type, v);
  return arith::ExtSIOp::create(k.b, k.loc, type, v);
}

void Finish::finish(const Row &row, Ix column, int64_t lanes, Value mask, Value acc) {
  SmallVector<Value> values{acc};
  if (hasEpilogue()) {
    Type expected = epilogue->front().getArgument(0).getType();
    if (expected != accType && !(accType.isF32() && takesFloatSums(*epilogue)))
      acc = k.fromFloat(acc, lanes ? Type(k.vec(lanes, expected)) : expected);
    SmallVector<Value> operands{acc};
    for (auto [arg, offset] : llvm::zip(args, row.args))
      operands.push_back(loadArg(arg, offset, column, lanes, mask));
    values = k.inlineScalarRegion(*epilogue, operands);
  }
  if (sink)
    return sink(row.index, column, values[0]);
  for (auto [number, value] : llvm::enumerate(values)) {
    const Buffer &buffer = number ? *second : out;
    Ix at = (number ? row.offset : row.inResult) + column;
    Value v = toResult(value, buffer, lanes);
    if (mask)
      k.storeMasked(buffer, at, v, mask);
    else
      k.store(buffer, at, v);
  }
}

void Finish::storeOne(Ix row, Ix column, int64_t lanes, Value mask, Value acc) {
  finish(beginRow(row), column, lanes, mask, acc);
}

SmallVector<Value> Finish::loadPartial(int64_t mr, function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv, int64_t lanes,
                                       ArrayRef<Value> masks) {
  SmallVector<Value> acc;
  for (int64_t i = 0; i < mr; ++i) {
    Ix at = rowOf(k.c(i)) * rowPitch() + column;
    for (int64_t j = 0; j < nv; ++j)
      acc.push_back(masks[j] ? k.loadMasked(out, at + j * lanes, lanes, masks[j]) : k.load(out, at + j * lanes, lanes));
  }
  return acc;
}

void Finish::storePartial(int64_t mr, function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv, int64_t lanes,
                          ArrayRef<Value> masks, ValueRange acc) {
  for (int64_t i = 0; i < mr; ++i) {
    Ix at = rowOf(k.c(i)) * rowPitch() + column;
    for (int64_t j = 0; j < nv; ++j) {
      if (masks[j])
        k.storeMasked(out, at + j * lanes, acc[i * nv + j], masks[j]);
      else
        k.store(out, at + j * lanes, acc[i * nv + j]);
    }
  }
}

SmallVector<Value> Finish::startPart(Ix part, int64_t parts, int64_t mr, function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv,
                                     int64_t lanes, ArrayRef<Value> masks) {
  if (parts == 1)
    return start(mr, column, nv, lanes, masks);
  SmallVector<Type> types(mr * nv, k.vec(lanes, accType));
  return k.ifElse(part == 0, types, [&] { return start(mr, column, nv, lanes, masks); },
                  [&] { return loadPartial(mr, rowOf, column, nv, lanes, masks); });
}

void Finish::storePart(Ix part, int64_t parts, int64_t mr, function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv,
                       int64_t lanes, ArrayRef<Value> masks, ValueRange acc) {
  if (parts == 1)
    return store(mr, rowOf, column, nv, lanes, masks, acc);
  k.ifThen(part == parts - 1, [&] { store(mr, rowOf, column, nv, lanes, masks, acc); },
           [&] { storePartial(mr, rowOf, column, nv, lanes, masks, acc); });
}

void Finish::store(int64_t mr, function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv, int64_t lanes, ArrayRef<Value> masks,
                   ValueRange acc) {
  if (!parked || mr == 1) {
    for (int64_t i = 0; i < mr; ++i) {
      Row row = beginRow(rowOf(k.c(i)));
      for (int64_t j = 0; j < nv; ++j)
        finish(row, column + j * lanes, lanes, masks[j], acc[i * nv + j]);
    }
    return;
  }
  int64_t bytes = lanes * accType.getIntOrFloatBitWidth() / 8;
  assert(mr * nv <= maxTileVectors && bytes <= 64 && "tile does not fit its parking place");
  for (int64_t t = 0; t < mr * nv; ++t)
    k.storeAt(parked, k.c(t * lanes), acc[t], bytes);
  k.loop(k.c(0), k.c(mr), 1, [&](Ix i) {
    Row row = beginRow(rowOf(i));
    for (int64_t j = 0; j < nv; ++j) {
      Value v = k.loadAt(parked, i * (nv * lanes) + j * lanes, k.vec(lanes, accType), bytes);
      finish(row, column + j * lanes, lanes, masks[j], v);
    }
  });
}

} // namespace nnopt::cpu

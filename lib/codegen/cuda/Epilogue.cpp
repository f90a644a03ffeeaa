//===- Epilogue.cpp - bias, epilogue and store of contractions --------------===//

#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Device.h"

using namespace mlir;

namespace nnopt::cuda {

bool canRunEpilogue(Region &epilogue) { return epilogue.empty() || canRunScalars(epilogue); }

Epilogue::Epilogue(Kernel &k, nn::LinearOp op, bool noColumns) : k(k), epilogue(op.getEpilogue()) {
  Lowering &l = k.lowering;
  Value result = op->getResult(0), biasValue = op.getBias();
  out = k.write(result);
  if (op.getSecond())
    second = k.write(op.getSecond());
  dims = l.dims(result);
  nn::Dim one = l.c(1);
  bool addColumn = noColumns || dims.empty();
  if (addColumn)
    dims.push_back(one);
  bool aligned = isAligned(l, result) && (!second || isAligned(l, op.getSecond()));
  if (biasValue) {
    bias = k.read(biasValue);
    aligned &= isAligned(l, biasValue);
  }
  for (Value v : op.getEpilogueArgs()) {
    Arg arg{k.read(v), l.dims(v)};
    aligned &= isAligned(l, v);
    if (addColumn)
      arg.dims.push_back(one);
    while (arg.dims.size() < dims.size())
      arg.dims.insert(arg.dims.begin(), one);
    args.push_back(arg);
  }
  int64_t widest = std::max(cpu::storageBytes(out), second ? cpu::storageBytes(*second) : 0);
  for (int64_t lanes : {widest <= 2 ? 8 : 4, 4})
    if (aligned && width == 1 && isMultiple(dims.back(), lanes))
      width = lanes;
}

SmallVector<Value> Epilogue::loadArg(const Arg &arg, Ix row, Ix column, int64_t count) {
  ArrayRef<nn::Dim> own = ArrayRef(arg.dims).drop_back(), outer = ArrayRef(dims).drop_back();
  Ix offset = k.c(0);
  if (own == outer) {
    offset = row * k.dim(arg.dims.back());
  } else if (!llvm::all_of(own, [](nn::Dim d) { return d.isConst(1); })) {
    SmallVector<Ix> at = k.delinearize(row, outer), strides = k.strides(arg.dims);
    for (size_t d = 0; d < outer.size(); ++d) {
      if (own[d].isConst(1))
        continue;
      Ix term = at[d] * strides[d];
      // A symbolic size may turn out to be 1 and then broadcasts.
      offset = offset + (own[d] == outer[d] ? term : k.selectIx(k.dim(own[d]) == 1, k.c(0), term));
    }
  }
  nn::Dim last = arg.dims.back();
  if (last.isConst(1))
    return SmallVector<Value>(count, k.load(arg.buffer, offset));
  if (last == dims.back())
    return k.loadLanes(arg.buffer, offset + column, count);
  SmallVector<Value> values; // one column or all of them, known at run time only
  for (int64_t i = 0; i < count; ++i)
    values.push_back(k.load(arg.buffer, offset + k.selectIx(k.dim(last) == 1, k.c(0), column + i)));
  return values;
}

void Epilogue::storeAs(const Buffer &buffer, Ix offset, ArrayRef<Value> values) {
  SmallVector<Value> converted(values);
  for (Value &v : converted) {
    if (v.getType() == buffer.valueType)
      continue;
    if (isa<FloatType>(v.getType()) || isa<FloatType>(buffer.valueType))
      v = k.fromFloat(k.toFloat(v), buffer.valueType, buffer.isUnsigned);
    else if (buffer.valueType.getIntOrFloatBitWidth() < v.getType().getIntOrFloatBitWidth())
      v = arith::TruncIOp::create(k.b, k.loc, buffer.valueType, v);
    else
      v = arith::ExtSIOp::create(k.b, k.loc, buffer.valueType, v);
  }
  k.storeLanes(buffer, offset, converted);
}

void Epilogue::store(Ix row, Ix column, ArrayRef<Value> sums) {
  int64_t count = sums.size();
  SmallVector<SmallVector<Value>> operands(args.size());
  SmallVector<Value> biases, results, seconds;
  if (bias)
    biases = k.loadLanes(*bias, column, count);
  for (auto [arg, values] : llvm::zip(args, operands))
    values = loadArg(arg, row, column, count);
  for (int64_t i = 0; i < count; ++i) {
    Value v = sums[i];
    bool isFloat = isa<FloatType>(v.getType());
    if (bias)
      v = isFloat ? cpu::fadd(k, v, k.toFloat(biases[i]))
                  : arith::AddIOp::create(k.b, k.loc, v, biases[i]).getResult();
    if (!epilogue.empty()) {
      SmallVector<Value> scalars = {
          isFloat ? k.fromFloat(v, epilogue.front().getArgument(0).getType()) : v};
      for (ArrayRef<Value> values : operands)
        scalars.push_back(values[i]);
      SmallVector<Value> yielded = k.inlineScalarRegion(epilogue, scalars);
      v = yielded[0];
      if (second)
        seconds.push_back(yielded[1]);
    }
    results.push_back(v);
  }
  Ix offset = row * k.dim(dims.back()) + column;
  storeAs(out, offset, results);
  if (second)
    storeAs(*second, offset, seconds);
}

} // namespace nnopt::cuda

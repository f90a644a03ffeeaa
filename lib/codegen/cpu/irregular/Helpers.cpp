//===- Helpers.cpp - shared by the irregular emitters ---------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/Float.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include <cmath>

using namespace mlir;

namespace nnopt::cpu {

static bool isFloat(Value v) { return isa<FloatType>(getElementTypeOrSelf(v.getType())); }
static bool isBool(Value v) { return getElementTypeOrSelf(v.getType()).isInteger(1); }
/// Floats of 16 or 8 bits are widened for arithmetic.
static bool isNarrowFloat(Value v) {
  auto type = dyn_cast<FloatType>(getElementTypeOrSelf(v.getType()));
  return type && type.getWidth() < 32;
}

Value greater(Kernel &k, Value a, Value b, bool isUnsigned) {
  if (isNarrowFloat(a))
    return greater(k, k.toFloat(a), k.toFloat(b), false);
  if (isFloat(a))
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, a, b);
  // i1 true is -1 as a signed number: bools compare unsigned.
  auto predicate = isUnsigned || isBool(a) ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt;
  return arith::CmpIOp::create(k.b, k.loc, predicate, a, b);
}

Value equal(Kernel &k, Value a, Value b) {
  if (isNarrowFloat(a))
    return equal(k, k.toFloat(a), k.toFloat(b));
  if (isFloat(a))
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, a, b);
  return arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::eq, a, b);
}

Value lor(Kernel &k, Value a, Value b) { return arith::OrIOp::create(k.b, k.loc, a, b); }

Value lnot(Kernel &k, Value a) { return arith::XOrIOp::create(k.b, k.loc, a, k.constant(a.getType(), 1)); }

/// Applies `op` to two elements, in f32 for narrow floats.
static Value widened(Kernel &k, Value a, Value b, llvm::function_ref<Value(Value, Value)> op) {
  if (!isNarrowFloat(a))
    return op(a, b);
  return k.fromFloat(op(k.toFloat(a), k.toFloat(b)), a.getType());
}

Value addElements(Kernel &k, Value a, Value b) {
  return widened(k, a, b, [&](Value x, Value y) -> Value {
    if (isFloat(x))
      return arith::AddFOp::create(k.b, k.loc, x, y);
    if (isBool(x))
      return arith::OrIOp::create(k.b, k.loc, x, y);
    return arith::AddIOp::create(k.b, k.loc, x, y);
  });
}

Value mulElements(Kernel &k, Value a, Value b) {
  return widened(k, a, b, [&](Value x, Value y) -> Value {
    if (isFloat(x))
      return arith::MulFOp::create(k.b, k.loc, x, y);
    if (isBool(x))
      return arith::AndIOp::create(k.b, k.loc, x, y);
    return arith::MulIOp::create(k.b, k.loc, x, y);
  });
}

Value minElements(Kernel &k, Value a, Value b, bool isUnsigned) {
  return widened(k, a, b, [&](Value x, Value y) -> Value {
    if (isFloat(x))
      return arith::MinimumFOp::create(k.b, k.loc, x, y);
    return k.select(greater(k, x, y, isUnsigned), y, x);
  });
}

Value maxElements(Kernel &k, Value a, Value b, bool isUnsigned) {
  return widened(k, a, b, [&](Value x, Value y) -> Value {
    if (isFloat(x))
      return arith::MaximumFOp::create(k.b, k.loc, x, y);
    return k.select(greater(k, x, y, isUnsigned), x, y);
  });
}

Ix elementToIndex(Kernel &k, Value v, bool isUnsigned) {
  if (isNarrowFloat(v))
    v = k.toFloat(v);
  if (isFloat(v))
    return {&k, arith::FPToSIOp::create(k.b, k.loc, k.b.getI64Type(), v)};
  return k.toIndex(v, isUnsigned || isBool(v));
}

Ix wrapIndex(Kernel &k, Ix index, Ix size) { return k.selectIx(index < 0, index + size, index); }

Value indexToF32(Kernel &k, Ix v) { return arith::SIToFPOp::create(k.b, k.loc, k.b.getF32Type(), v); }

Value saturatedFromFloat(Kernel &k, Value v, Type type, bool isUnsigned) {
  if (isa<FloatType>(type))
    return k.fromFloat(v, type);
  if (type.isInteger(1))
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, v, k.constant(v.getType(), 0));
  Float x = Float(&k, v).as(k.b.getF64Type());
  // 64-bit bounds are not numbers in f64: the next ones inside are taken.
  int bits = type.getIntOrFloatBitWidth() - !isUnsigned;
  double end = std::ldexp(1.0, bits), high = bits > 53 ? std::nextafter(end, 0.0) : end - 1;
  x = Float::choose(x == x, x, x.like(0)).atLeast(x.like(isUnsigned ? 0 : -end)).atMost(x.like(high));
  return k.fromFloat(x.v, type, isUnsigned);
}

Value gather(Kernel &k, const Buffer &source, Value index, Value mask) {
  auto ptr = LLVM::LLVMPointerType::get(k.b.getContext());
  int64_t lanes = cast<VectorType>(index.getType()).getNumElements();
  Value address = LLVM::GEPOp::create(k.b, k.loc, VectorType::get({lanes}, ptr), source.valueType, source.ptr,
                                      ArrayRef<LLVM::GEPArg>{index});
  Type type = k.vec(lanes, source.valueType);
  return LLVM::masked_gather::create(k.b, k.loc, type, address, mask, ValueRange{k.constant(type, 0)},
                                     source.valueType.getIntOrFloatBitWidth() / 8);
}

Ix productOf(Kernel &k, ArrayRef<nn::Dim> dims, unsigned from, unsigned to) {
  return k.dim(k.lowering.product(dims, from, to));
}

/// Whether `d` contains no symbol for which `known` is false.
static bool allSymbols(nn::Dim d, llvm::function_ref<bool(nn::Dim)> known) {
  switch (d.kind()) {
  case nn::Dim::Kind::Const:
    return true;
  case nn::Dim::Kind::Symbol:
    return known(d);
  default:
    return llvm::all_of(d.operands(), [&](nn::Dim o) { return allSymbols(o, known); });
  }
}

bool isResolved(Lowering &lowering, Operation *op, nn::Dim d) {
  if (!d || d.isConst())
    return true;
  llvm::DenseSet<const void *> inputs;
  auto collect = [&](nn::Dim symbol) { return inputs.insert(symbol.opaque()), true; };
  for (Value argument : op->getParentOfType<func::FuncOp>().getArguments())
    for (nn::Dim dim : lowering.dims(argument))
      allSymbols(dim, collect);
  return allSymbols(d, [&](nn::Dim symbol) {
    return inputs.contains(symbol.opaque()) || lowering.program.dataDependent.count(symbol.opaque());
  });
}

LogicalResult defineSymbol(Lowering &lowering, Operation *op, nn::Dim symbol,
                           llvm::function_ref<Ix(Kernel &)> compute) {
  if (symbol.kind() != nn::Dim::Kind::Symbol)
    return op->emitOpError("has a size that depends on data and is the expression ") << symbol.str();
  TempTensor size = lowering.temp(IntegerType::get(op->getContext(), 64), {lowering.c(1)});
  {
    Kernel k(lowering, op, "size");
    Ix value = compute(k);
    Buffer out = k.write(size);
    k.store(out, k.c(0), value);
    lowering.launch(k, lowering.c(1));
  }
  lowering.program.dataDependent[symbol.opaque()] = size.buffer;
  lowering.addInstruction({NNOPT_I_READ_SYMBOL, lowering.program.symbolNumber(symbol), size.buffer, 0});
  return success();
}

LogicalResult defineSymbol(Lowering &lowering, Operation *op, nn::Dim symbol, Value tensor) {
  return defineSymbol(lowering, op, symbol, [&](Kernel &k) {
    Buffer in = k.read(tensor);
    return elementToIndex(k, k.load(in, k.c(0)), in.isUnsigned).max(k.c(0));
  });
}

void appendCopy(Lowering &lowering, uint32_t to, uint32_t from, nn::Dim bytes) {
  if (lowering.program.buffers[to].kind == NNOPT_B_HOST)
    lowering.addInstruction({NNOPT_I_HOST_COPY, to, from, 0});
  else
    lowering.addInstruction({NNOPT_I_COPY, to, from, lowering.value(bytes)});
}

nn::Dim tensorBytes(Lowering &lowering, Value v) {
  return lowering.numElements(v) * nn::elementBytes(lowering.shapes.info(v).elementType);
}

} // namespace nnopt::cpu

//===- Kernel.cpp - building one kernel function ----------------------------===//

#include "lib/codegen/cpu/Kernel.h"
#include "dialects/nn/ScalarBuilder.h"
#include "lib/codegen/cpu/Lowering.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nnopt::cpu {

//===----------------------------------------------------------------------===//
// Ix
//===----------------------------------------------------------------------===//

std::optional<int64_t> Ix::constant() const {
  APInt v;
  if (value && matchPattern(value, m_ConstantInt(&v)))
    return v.getSExtValue();
  return std::nullopt;
}

template <typename Op> static Ix fold(Kernel *k, Value a, Value b) {
  return Ix(k, k->b.createOrFold<Op>(k->loc, a, b));
}

// No overflow is possible: offsets are below 2^63 by the importer's size checks, and telling LLVM
// so lets it turn index arithmetic into addressing modes.
Ix Ix::operator+(Ix o) const {
  if (constant() == 0)
    return o;
  return Ix(kernel, kernel->b.createOrFold<arith::AddIOp>(kernel->loc, value, o.value,
                                                          arith::IntegerOverflowFlags::nsw));
}
Ix Ix::operator-(Ix o) const {
  return Ix(kernel, kernel->b.createOrFold<arith::SubIOp>(kernel->loc, value, o.value,
                                                          arith::IntegerOverflowFlags::nsw));
}
Ix Ix::operator*(Ix o) const {
  if (constant() == 0 || o.constant() == 1)
    return *this;
  if (constant() == 1 || o.constant() == 0)
    return o;
  return Ix(kernel, kernel->b.createOrFold<arith::MulIOp>(kernel->loc, value, o.value,
                                                          arith::IntegerOverflowFlags::nsw));
}
Ix Ix::operator/(Ix o) const {
  return o.constant() == 1 ? *this : fold<arith::DivUIOp>(kernel, value, o.value);
}
Ix Ix::operator%(Ix o) const {
  return o.constant() == 1 ? kernel->c(0) : fold<arith::RemUIOp>(kernel, value, o.value);
}
Ix Ix::operator+(int64_t o) const { return *this + kernel->c(o); }
Ix Ix::operator-(int64_t o) const { return *this - kernel->c(o); }
Ix Ix::operator*(int64_t o) const { return *this * kernel->c(o); }
Ix Ix::operator/(int64_t o) const { return *this / kernel->c(o); }
Ix Ix::operator%(int64_t o) const { return *this % kernel->c(o); }
Ix Ix::min(Ix o) const { return fold<arith::MinSIOp>(kernel, value, o.value); }
Ix Ix::max(Ix o) const { return fold<arith::MaxSIOp>(kernel, value, o.value); }

static Value compare(Kernel *k, arith::CmpIPredicate p, Value a, Value b) {
  return k->b.createOrFold<arith::CmpIOp>(k->loc, p, a, b);
}
Value Ix::operator<(Ix o) const { return compare(kernel, arith::CmpIPredicate::slt, value, o.value); }
Value Ix::operator<=(Ix o) const { return compare(kernel, arith::CmpIPredicate::sle, value, o.value); }
Value Ix::operator>=(Ix o) const { return compare(kernel, arith::CmpIPredicate::sge, value, o.value); }
Value Ix::operator==(Ix o) const { return compare(kernel, arith::CmpIPredicate::eq, value, o.value); }
Value Ix::operator<(int64_t o) const { return *this < kernel->c(o); }
Value Ix::operator==(int64_t o) const { return *this == kernel->c(o); }
Value Ix::inRange(Ix o) const { return compare(kernel, arith::CmpIPredicate::ult, value, o.value); }

//===----------------------------------------------------------------------===//
// Kernel: function and operands
//===----------------------------------------------------------------------===//

static LLVM::LLVMPointerType ptrType(MLIRContext *ctx) { return LLVM::LLVMPointerType::get(ctx); }

Kernel::Kernel(Lowering &lowering, Operation *op, StringRef name)
    : b(op->getContext()), loc(UnknownLoc::get(op->getContext())), lowering(lowering), op(op), name(name.str()) {
  func = func::FuncOp::create(loc, name, b.getFunctionType({}, {}));
  entry = func.addEntryBlock();
  Type i64 = b.getI64Type();
  begin = Ix(this, entry->addArgument(i64, loc));
  end = Ix(this, entry->addArgument(i64, loc));
  thread = Ix(this, entry->addArgument(i64, loc));
  b.setInsertionPointToStart(entry);
}

Kernel::~Kernel() {
  if (func)
    func->erase();
}

const Target &Kernel::target() const { return lowering.target; }

unsigned Kernel::addBuffer(uint32_t programBuffer) {
  for (auto [i, existing] : llvm::enumerate(buffers))
    if (existing == programBuffer)
      return i;
  buffers.push_back(programBuffer);
  pointers.push_back(entry->addArgument(ptrType(b.getContext()), loc));
  written.push_back(false);
  aliased.push_back(false);
  return buffers.size() - 1;
}

Buffer Kernel::at(Value ptr, Type elementType, ArrayRef<nn::Dim> dims) {
  Buffer buf;
  buf.ptr = ptr;
  buf.isUnsigned = elementType.isUnsignedInteger();
  buf.valueType = buf.isUnsigned ? IntegerType::get(b.getContext(), elementType.getIntOrFloatBitWidth()) : elementType;
  // Floats of 8 bits have no LLVM type; what is narrower takes a byte.
  unsigned bits = elementType.isIntOrFloat() ? elementType.getIntOrFloatBitWidth() : 64;
  bool isByte = bits < 8 || (isa<FloatType>(elementType) && bits == 8);
  buf.storageType = isByte ? b.getI8Type() : buf.valueType;
  buf.dims.assign(dims.begin(), dims.end());
  return buf;
}

Buffer Kernel::read(Value value) {
  const nn::ValueInfo &info = lowering.shapes.info(value);
  unsigned i = addBuffer(lowering.bufferOf(value));
  return at(pointers[i], info.elementType, info.dims);
}

Buffer Kernel::write(Value value) {
  const nn::ValueInfo &info = lowering.shapes.info(value);
  unsigned i = addBuffer(lowering.bufferOf(value));
  written[i] = true;
  return at(pointers[i], info.elementType, info.dims);
}

Buffer Kernel::read(const TempTensor &temp) {
  unsigned i = addBuffer(temp.buffer);
  return at(pointers[i], temp.elementType, temp.dims);
}

Buffer Kernel::write(const TempTensor &temp) {
  unsigned i = addBuffer(temp.buffer);
  written[i] = true;
  return at(pointers[i], temp.elementType, temp.dims);
}

Buffer Kernel::weights(ArrayRef<char> bytes, Type elementType, ArrayRef<int64_t> shape) {
  unsigned i = addBuffer(lowering.program.addWeights(bytes));
  nn::Dims dims;
  for (int64_t d : shape)
    dims.push_back(lowering.c(d));
  return at(pointers[i], elementType, dims);
}

Buffer Kernel::weights(ArrayRef<float> values) {
  return weights(ArrayRef<char>(reinterpret_cast<const char *>(values.data()), values.size() * 4), b.getF32Type(),
                 {int64_t(values.size())});
}

Value Kernel::scratch(nn::Dim bytes) {
  nn::Dim rounded = bytes.ceilDiv(64) * 64;
  ProgramBuffer buffer;
  buffer.kind = NNOPT_B_SCRATCH;
  buffer.size = rounded;
  buffer.name = name + ".scratch";
  unsigned i = addBuffer(lowering.program.addBuffer(buffer));
  written[i] = true;
  return ptrAdd(pointers[i], thread * dim(rounded), b.getI8Type());
}

void Kernel::allowInPlace(Value in, Value out) {
  uint32_t bi = lowering.bufferOf(in), bo = lowering.bufferOf(out);
  auto position = [&](uint32_t buffer) {
    return unsigned(llvm::find(buffers, buffer) - buffers.begin());
  };
  unsigned i = position(bi), o = position(bo);
  if (i >= buffers.size() || o >= buffers.size())
    return;
  inPlace.push_back({i, o});
  aliased[i] = aliased[o] = true;
}

Ix Kernel::c(int64_t v) {
  return Ix(this, arith::ConstantIntOp::create(b, loc, v, 64));
}

Ix Kernel::dim(nn::Dim d) {
  assert(d && "unknown dimension in a kernel");
  if (d.isConst())
    return c(d.value());
  for (auto [i, existing] : llvm::enumerate(dimOperands))
    if (existing == d)
      return Ix(this, dimValues[i]);
  dimOperands.push_back(d);
  dimValues.push_back(entry->addArgument(b.getI64Type(), loc));
  return Ix(this, dimValues.back());
}

//===----------------------------------------------------------------------===//
// Kernel: values
//===----------------------------------------------------------------------===//

Value Kernel::f32(double v) { return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v))); }

Value Kernel::constant(Type type, double v) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (isa<FloatType>(element))
    attr = b.getFloatAttr(element, v);
  else
    attr = b.getIntegerAttr(element, APInt(element.getIntOrFloatBitWidth(), int64_t(v), true, true));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(b, loc, attr);
}

VectorType Kernel::vec(int64_t lanes, Type elementType) { return VectorType::get({lanes}, elementType); }

Value Kernel::splat(Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(b, loc, vec(lanes, scalar.getType()), scalar);
}

Value Kernel::fma(Value x, Value y, Value z) {
  if (isa<VectorType>(x.getType()))
    return vector::FMAOp::create(b, loc, x, y, z);
  return math::FmaOp::create(b, loc, x, y, z);
}

Value Kernel::select(Value cond, Value x, Value y) { return b.createOrFold<arith::SelectOp>(loc, cond, x, y); }

Value Kernel::land(Value x, Value y) { return b.createOrFold<arith::AndIOp>(loc, x, y); }

Value Kernel::toFloat(Value v, bool isUnsigned) {
  nn::ScalarBuilder s{b, loc};
  return s.isFloat(v) ? s.widen(v) : s.toFloat(v, b.getF32Type(), isUnsigned || s.element(v).isInteger(1));
}

Value Kernel::fromFloat(Value v, Type type, bool isUnsigned) {
  nn::ScalarBuilder s{b, loc};
  Type element = getElementTypeOrSelf(type);
  if (isa<FloatType>(element))
    return s.narrow(v, element);
  Type to = nn::withElement(v.getType(), element);
  if (isUnsigned)
    return arith::FPToUIOp::create(b, loc, to, v);
  return arith::FPToSIOp::create(b, loc, to, v);
}

Value Kernel::rounded(Value v, Type type) {
  Type own = getElementTypeOrSelf(v.getType());
  if (type.getIntOrFloatBitWidth() >= own.getIntOrFloatBitWidth())
    return v;
  Value narrow = toFloat(fromFloat(v, type));
  if (narrow.getType() != v.getType())
    narrow = arith::ExtFOp::create(b, loc, v.getType(), narrow);
  Value magnitude = math::AbsFOp::create(b, loc, narrow);
  Value overflows = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, magnitude,
                                          constant(v.getType(), std::numeric_limits<double>::infinity()));
  return select(overflows, v, narrow);
}

Ix Kernel::toIndex(Value v, bool isUnsigned) {
  unsigned width = v.getType().getIntOrFloatBitWidth();
  if (width == 64)
    return Ix(this, v);
  if (isUnsigned || width == 1)
    return Ix(this, arith::ExtUIOp::create(b, loc, b.getI64Type(), v));
  return Ix(this, arith::ExtSIOp::create(b, loc, b.getI64Type(), v));
}

//===----------------------------------------------------------------------===//
// Kernel: memory
//===----------------------------------------------------------------------===//

static int64_t bytesOf(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.getNumElements() * bytesOf(vector.getElementType());
  return std::max<int64_t>(1, type.getIntOrFloatBitWidth() / 8);
}

Value Kernel::ptrAdd(Value ptr, Ix offset, Type elementType) {
  if (offset.constant() == 0)
    return ptr;
  Type element = at(ptr, elementType).storageType;
  return LLVM::GEPOp::create(b, loc, ptrType(b.getContext()), element, ptr, ArrayRef<LLVM::GEPArg>{Value(offset)},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value Kernel::loadAt(Value ptr, Ix offset, Type type, int64_t align) {
  Type element = getElementTypeOrSelf(type);
  Value address = ptrAdd(ptr, offset, element);
  return LLVM::LoadOp::create(b, loc, type, address, unsigned(align ? align : bytesOf(element)));
}

void Kernel::storeAt(Value ptr, Ix offset, Value value, int64_t align) {
  Type element = getElementTypeOrSelf(value.getType());
  Value address = ptrAdd(ptr, offset, element);
  LLVM::StoreOp::create(b, loc, value, address, unsigned(align ? align : bytesOf(element)));
}

/// Memory holds bools as bytes that are 0 or 1, other narrow integers extended to a byte (of which
/// only the low bits are read) and narrow floats as their bits.
Value Kernel::fromStorage(const Buffer &buf, Value v) {
  if (buf.storageType == buf.valueType)
    return v;
  if (buf.valueType.isInteger(1))
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, v, constant(v.getType(), 0));
  unsigned bits = buf.valueType.getIntOrFloatBitWidth();
  if (bits < 8)
    v = arith::TruncIOp::create(b, loc, nn::withElement(v.getType(), b.getIntegerType(bits)), v);
  if (isa<FloatType>(buf.valueType))
    v = arith::BitcastOp::create(b, loc, nn::withElement(v.getType(), buf.valueType), v);
  return v;
}
Value Kernel::toStorage(const Buffer &buf, Value v) {
  if (buf.storageType == buf.valueType)
    return v;
  unsigned bits = buf.valueType.getIntOrFloatBitWidth();
  if (isa<FloatType>(buf.valueType))
    v = arith::BitcastOp::create(b, loc, nn::withElement(v.getType(), b.getIntegerType(bits)), v);
  if (bits == 8)
    return v;
  Type byte = nn::withElement(v.getType(), buf.storageType);
  bool isSigned = isa<IntegerType>(buf.valueType) && !buf.isUnsigned && bits > 1;
  if (isSigned)
    return arith::ExtSIOp::create(b, loc, byte, v);
  return arith::ExtUIOp::create(b, loc, byte, v);
}

Value Kernel::load(const Buffer &buf, Ix offset) {
  return fromStorage(buf, loadAt(buf.ptr, offset, buf.storageType));
}

Value Kernel::load(const Buffer &buf, Ix offset, int64_t lanes) {
  return fromStorage(buf, loadAt(buf.ptr, offset, vec(lanes, buf.storageType)));
}

void Kernel::store(const Buffer &buf, Ix offset, Value value) { storeAt(buf.ptr, offset, toStorage(buf, value)); }

Value Kernel::loadMasked(const Buffer &buf, Ix offset, int64_t lanes, Value mask) {
  VectorType type = vec(lanes, buf.storageType);
  Value pass = constant(type, 0);
  Value address = ptrAdd(buf.ptr, offset, buf.storageType);
  Value v = LLVM::MaskedLoadOp::create(b, loc, type, address, mask, pass, uint32_t(bytesOf(buf.storageType)));
  return fromStorage(buf, v);
}

void Kernel::storeMasked(const Buffer &buf, Ix offset, Value value, Value mask) {
  Value address = ptrAdd(buf.ptr, offset, buf.storageType);
  // One lane is a scalar store. LLVM 22 would make it one too, of four bytes where the vector was truncated to narrower
  // elements (test/codegen/masked_store.mlir).
  DenseElementsAttr lanes;
  if (matchPattern(mask, m_Constant(&lanes)) && llvm::count(lanes.getValues<bool>(), true) == 1) {
    auto first = lanes.getValues<bool>();
    int64_t lane = std::distance(first.begin(), llvm::find(first, true));
    Value element = vector::ExtractOp::create(b, loc, value, lane);
    return store(buf, offset + lane, element);
  }
  LLVM::MaskedStoreOp::create(b, loc, toStorage(buf, value), address, mask,
                              uint32_t(bytesOf(buf.storageType)));
}

Value Kernel::mask(Ix count, int64_t lanes) {
  SmallVector<int32_t> iota(lanes);
  for (int64_t i = 0; i < lanes; ++i)
    iota[i] = i;
  if (std::optional<int64_t> known = count.constant()) {
    auto bits = llvm::map_to_vector(iota, [&](int32_t i) { return i < *known; });
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vec(lanes, b.getI1Type()), ArrayRef<bool>(bits)));
  }
  VectorType type = vec(lanes, b.getI32Type());
  Value lane = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef<int32_t>(iota)));
  // The count is clamped first, so that 32 bits hold it.
  Ix clamped = count.min(c(lanes)).max(c(0));
  Value n = arith::TruncIOp::create(b, loc, b.getI32Type(), clamped);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, lane, splat(n, lanes));
}

void Kernel::prefetch(Value ptr, Ix offset, Type elementType) {
  Value address = ptrAdd(ptr, offset, elementType);
  LLVM::Prefetch::create(b, loc, address, /*rw=*/0u, /*hint=*/3u, /*cache=*/1u);
}

//===----------------------------------------------------------------------===//
// Kernel: control flow
//===----------------------------------------------------------------------===//

void Kernel::loop(Ix low, Ix high, int64_t step, function_ref<void(Ix)> body) {
  loop(low, high, step, {}, [&](Ix i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

SmallVector<Value> Kernel::loop(Ix low, Ix high, int64_t step, ValueRange init,
                                function_ref<SmallVector<Value>(Ix, ValueRange)> body) {
  auto lo = low.constant(), hi = high.constant();
  if (lo && hi) {
    if (*lo >= *hi)
      return SmallVector<Value>(init);
    // One iteration: no loop.
    if (*lo + step >= *hi)
      return body(low, init);
  }
  auto forOp = scf::ForOp::create(b, loc, low, high, c(step), init);
  OpBuilder::InsertionGuard guard(b);
  if (init.empty() && !forOp.getBody()->empty())
    forOp.getBody()->back().erase();
  b.setInsertionPointToStart(forOp.getBody());
  SmallVector<Value> next = body(Ix(this, forOp.getInductionVar()), forOp.getRegionIterArgs());
  scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(forOp.getResults());
}

void Kernel::ifThen(Value cond, function_ref<void()> then, function_ref<void()> otherwise) {
  ifElse(
      cond, {},
      [&] {
        then();
        return SmallVector<Value>();
      },
      [&] {
        if (otherwise)
          otherwise();
        return SmallVector<Value>();
      });
}

SmallVector<Value> Kernel::ifElse(Value cond, TypeRange types, function_ref<SmallVector<Value>()> then,
                                  function_ref<SmallVector<Value>()> otherwise) {
  APInt known;
  if (matchPattern(cond, m_ConstantInt(&known)))
    return known.isZero() ? otherwise() : then();
  auto ifOp = scf::IfOp::create(b, loc, types, cond, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  auto fill = [&](Block *block, function_ref<SmallVector<Value>()> body) {
    if (!block->empty())
      block->back().erase();
    b.setInsertionPointToStart(block);
    SmallVector<Value> values = body();
    scf::YieldOp::create(b, loc, values);
  };
  fill(ifOp.thenBlock(), then);
  fill(ifOp.elseBlock(), otherwise);
  return SmallVector<Value>(ifOp.getResults());
}

SmallVector<Value> Kernel::whileLoop(ValueRange init, function_ref<Value(ValueRange)> condition,
                                     function_ref<SmallVector<Value>(ValueRange)> body) {
  auto whileOp = scf::WhileOp::create(
      b, loc, init.getTypes(), init,
      [&](OpBuilder &, Location, ValueRange args) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(args.empty() ? b.getInsertionBlock() : args[0].getParentBlock());
        Value cond = condition(args);
        scf::ConditionOp::create(b, loc, cond, args);
      },
      [&](OpBuilder &, Location, ValueRange args) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(args.empty() ? b.getInsertionBlock() : args[0].getParentBlock());
        SmallVector<Value> next = body(args);
        scf::YieldOp::create(b, loc, next);
      });
  return SmallVector<Value>(whileOp.getResults());
}

SmallVector<Ix> Kernel::delinearize(Ix i, ArrayRef<nn::Dim> dims) {
  SmallVector<Ix> result(dims.size());
  for (size_t d = dims.size(); d-- > 0;) {
    if (d == 0) {
      result[0] = i;
      break;
    }
    if (dims[d].isConst(1)) {
      result[d] = c(0);
      continue;
    }
    Ix size = dim(dims[d]);
    result[d] = i % size;
    i = i / size;
  }
  return result;
}

SmallVector<Ix> Kernel::strides(ArrayRef<nn::Dim> dims) {
  SmallVector<Ix> result(dims.size());
  nn::Dim stride = lowering.c(1);
  for (size_t d = dims.size(); d-- > 0;) {
    result[d] = dim(stride);
    stride = stride * dims[d];
  }
  return result;
}

/// The type of `op`'s result when its operands are vectors of `lanes`.
static Type vectorized(Type type, int64_t lanes) {
  if (lanes == 0 || isa<VectorType>(type))
    return type;
  return VectorType::get({lanes}, type);
}

SmallVector<Value> Kernel::inlineScalarRegion(Region &region, ValueRange args) {
  Block &block = region.front();
  int64_t lanes = 0;
  for (Value v : args)
    if (auto vector = dyn_cast<VectorType>(v.getType()))
      lanes = vector.getNumElements();
  IRMapping map;
  for (auto [arg, v] : llvm::zip(block.getArguments(), args)) {
    Value operand = v;
    if (lanes && !isa<VectorType>(v.getType()))
      operand = splat(v, lanes);
    map.map(arg, operand);
  }
  for (Operation &inner : block.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(inner)) {
      Value v = b.clone(inner)->getResult(0);
      if (lanes) {
        v.getDefiningOp()->erase();
        v = arith::ConstantOp::create(
            b, loc, DenseElementsAttr::get(vec(lanes, constant.getType()), cast<TypedAttr>(constant.getValue())));
      }
      map.map(constant.getResult(), v);
      continue;
    }
    SmallVector<Value> operands;
    for (Value v : inner.getOperands())
      operands.push_back(map.lookup(v));
    // An integer that is in a float already.
    if (isa<arith::SIToFPOp>(inner) && operands[0].getType() == vectorized(inner.getResult(0).getType(), lanes)) {
      map.map(inner.getResult(0), operands[0]);
      continue;
    }
    OperationState state(loc, inner.getName());
    state.addOperands(operands);
    for (NamedAttribute attr : inner.getDiscardableAttrs())
      state.addAttribute(attr.getName(), attr.getValue());
    state.propertiesAttr = inner.getPropertiesAsAttribute();
    for (Type t : inner.getResultTypes())
      state.addTypes(vectorized(t, lanes));
    Operation *clone = b.create(state);
    map.map(inner.getResults(), clone->getResults());
  }
  SmallVector<Value> results;
  for (Value v : block.getTerminator()->getOperands()) {
    Value r = map.lookup(v);
    if (lanes && !isa<VectorType>(r.getType()))
      r = splat(r, lanes);
    results.push_back(r);
  }
  return results;
}

} // namespace nnopt::cpu

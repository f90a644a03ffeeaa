//===- Mma.cpp - instructions of tensor cores -------------------------------===//

#include "lib/codegen/cuda/Mma.h"

using namespace mlir;
using NVVM::MMATypes;

namespace nnopt::cuda {

int64_t MmaTypes::elementBytes() const { return isInteger() ? 1 : isTf32() ? 4 : 2; }

Type MmaTypes::sumType(MLIRContext *ctx) const {
  return isInteger() ? Type(IntegerType::get(ctx, 32)) : Type(Float32Type::get(ctx));
}

std::string MmaTypes::text() const {
  std::string text = NVVM::stringifyMMATypes(left).str();
  return isInteger() ? text + NVVM::stringifyMMATypes(right).str() : text;
}

std::optional<MmaTypes> mmaTypes(Type left, Type right, bool tf32) {
  auto byte = [](Type t) { return t.isUnsignedInteger(8) ? MMATypes::u8 : MMATypes::s8; };
  if (left.isInteger(8) && right.isInteger(8))
    return MmaTypes{byte(left), byte(right)};
  if (left != right)
    return std::nullopt;
  if (left.isF16())
    return MmaTypes{MMATypes::f16, MMATypes::f16};
  if (left.isBF16())
    return MmaTypes{MMATypes::bf16, MMATypes::bf16};
  if (left.isF32() && tf32)
    return MmaTypes{MMATypes::tf32, MMATypes::tf32};
  return std::nullopt;
}

uint32_t roundedToTf32(uint32_t bits) {
  bool finite = (bits & 0x7f800000) != 0x7f800000;
  return (finite ? bits + 0x1000 : bits) & ~0x1fffu;
}

Value roundToTf32(Kernel &k, Value word) {
  Value value = LLVM::BitcastOp::create(k.b, k.loc, k.b.getF32Type(), word);
  return NVVM::ConvertFloatToTF32Op::create(k.b, k.loc, k.b.getI32Type(), value,
                                            NVVM::FPRoundingMode::RNA);
}

static Value inSpace(Kernel &k, Value pointer, unsigned space) {
  return LLVM::AddrSpaceCastOp::create(
      k.b, k.loc, LLVM::LLVMPointerType::get(k.b.getContext(), space), pointer);
}

static LLVM::LLVMStructType fourOf(Type type) {
  return LLVM::LLVMStructType::getLiteral(type.getContext(), SmallVector<Type>(4, type));
}

SmallVector<Value> loadMatrices(Kernel &k, Value row, bool transposed) {
  Value all = NVVM::LdMatrixOp::create(k.b, k.loc, fourOf(k.b.getI32Type()), inSpace(k, row, 3), 4,
                                       transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                       NVVM::LdStMatrixShapeAttr::get(k.b.getContext(), 8, 8),
                                       NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(LLVM::ExtractValueOp::create(k.b, k.loc, all, i));
  return words;
}

void multiplyAdd(Kernel &k, const MmaTypes &types, ArrayRef<Value> left, ArrayRef<Value> right,
                 MutableArrayRef<Value> sums) {
  SmallVector<Value> a(left), b(right);
  if (types.left == MMATypes::f16)
    for (SmallVector<Value> *words : {&a, &b})
      for (Value &v : *words)
        v = LLVM::BitcastOp::create(k.b, k.loc, k.vec(2, k.b.getF16Type()), v);
  std::optional<NVVM::MMAIntOverflow> overflow;
  if (types.isInteger())
    overflow = NVVM::MMAIntOverflow::wrapped;
  Value all = NVVM::MmaOp::create(
      k.b, k.loc, fourOf(types.sumType(k.b.getContext())), a, b, sums,
      {MmaTypes::rows, MmaTypes::columns, MmaTypes::depthBytes / types.elementBytes()},
      std::nullopt, overflow, std::array{types.left, types.right},
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = LLVM::ExtractValueOp::create(k.b, k.loc, all, i);
}

Value packHalves(Kernel &k, const MmaTypes &types, Value low, Value high) {
  Type type = types.left == MMATypes::f16 ? Type(k.b.getF16Type()) : Type(k.b.getBF16Type());
  SmallVector<Value> both = {k.fromFloat(low, type), k.fromFloat(high, type)};
  Value pair = vector::FromElementsOp::create(k.b, k.loc, k.vec(2, type), both);
  return LLVM::BitcastOp::create(k.b, k.loc, k.b.getI32Type(), pair);
}

void copyAsync(Kernel &k, Value to, Value from, int64_t bytes, Value inside) {
  Type i32 = k.b.getI32Type();
  Value count;
  if (inside)
    count = k.select(inside, k.constant(i32, bytes), k.constant(i32, 0));
  // What is 16 bytes long need not stay in the first cache: other threads of the block get it from
  // shared memory.
  auto cache = bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA;
  NVVM::CpAsyncOp::create(k.b, k.loc, inSpace(k, to, 3), inSpace(k, from, 1), uint32_t(bytes),
                          cache, count);
}

void commitCopies(Kernel &k) { NVVM::CpAsyncCommitGroupOp::create(k.b, k.loc); }

void waitForCopies(Kernel &k, int64_t groups) {
  NVVM::CpAsyncWaitGroupOp::create(k.b, k.loc, uint32_t(groups));
}

} // namespace nnopt::cuda

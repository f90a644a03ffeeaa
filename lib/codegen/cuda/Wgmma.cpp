//===- Wgmma.cpp - products of four warps, of sm_90a ------------------------===//

#include "lib/codegen/cuda/Wgmma.h"

using namespace mlir;
using NVVM::WGMMATypes;

namespace nnopt::cuda {

Value hasWgmma(Kernel &k) {
  SmallVector<Type> bit = {k.b.getI1Type()};
  return LLVM::CallOp::create(k.b, k.loc, bit, hasWgmmaFunction, ValueRange()).getResult();
}

Value describeLines(Kernel &k, Value line, int64_t lineBytes) {
  // PTX ISA 9.7.14.5.1 "matrix descriptor": bits 0-13 the address, 16-29 what counts without swizzling only, 32-45 the
  // distance of eight lines, all in units of 16 bytes; bits 62-63 the mode, of which 1 is that of 128 bytes, 2 that of 64.
  uint64_t eightLines = 8 * lineBytes, mode = lineBytes == 128 ? 1 : 2;
  Type i64 = k.b.getI64Type();
  auto number = [&](uint64_t v) -> Value { return arith::ConstantIntOp::create(k.b, k.loc, int64_t(v), 64); };
  Value shared = LLVM::AddrSpaceCastOp::create(k.b, k.loc, LLVM::LLVMPointerType::get(k.b.getContext(), 3), line);
  Value address = LLVM::PtrToIntOp::create(k.b, k.loc, i64, shared);
  address = arith::AndIOp::create(k.b, k.loc, address, number(0x3ffff));
  address = arith::ShRUIOp::create(k.b, k.loc, address, number(4));
  return arith::OrIOp::create(k.b, k.loc, address, number(uint64_t(1) << 16 | eightLines / 16 << 32 | mode << 62));
}

void fenceForProducts(Kernel &k) {
  MLIRContext *ctx = k.b.getContext();
  NVVM::FenceProxyOp::create(k.b, k.loc, NVVM::ProxyKindAttr::get(ctx, NVVM::ProxyKind::async_shared),
                             NVVM::SharedSpaceAttr::get(ctx, NVVM::SharedSpace::shared_cta));
}

void beginProducts(Kernel &k) { NVVM::WgmmaFenceAlignedOp::create(k.b, k.loc); }

void addProduct(Kernel &k, const MmaTypes &types, int64_t columns, Value left, Value right, MutableArrayRef<Value> sums) {
  MLIRContext *ctx = k.b.getContext();
  WGMMATypes type = types.left == NVVM::MMATypes::f16 ? WGMMATypes::f16 : WGMMATypes::bf16;
  Type all = LLVM::LLVMStructType::getLiteral(ctx, SmallVector<Type>(sums.size(), k.b.getF32Type()));
  Value in = LLVM::UndefOp::create(k.b, k.loc, all);
  for (auto [i, sum] : llvm::enumerate(sums))
    in = LLVM::InsertValueOp::create(k.b, k.loc, in, sum, int64_t(i));
  auto shape = NVVM::MMAShapeAttr::get(ctx, wgmmaRows, columns, MmaTypes::depthBytes / types.elementBytes());
  Value out = NVVM::WgmmaMmaAsyncOp::create(k.b, k.loc, all, in, left, right, shape, NVVM::WGMMATypesAttr::get(ctx, type),
                                            NVVM::WGMMATypesAttr::get(ctx, type), NVVM::WGMMATypesAttr::get(ctx, WGMMATypes::f32),
                                            NVVM::WGMMAScaleOutAttr::get(ctx, NVVM::WGMMAScaleOut::one),
                                            NVVM::WGMMAScaleInAttr::get(ctx, NVVM::WGMMAScaleIn::one),
                                            NVVM::WGMMAScaleInAttr::get(ctx, NVVM::WGMMAScaleIn::one),
                                            NVVM::MMALayoutAttr::get(ctx, NVVM::MMALayout::row),
                                            NVVM::MMALayoutAttr::get(ctx, NVVM::MMALayout::col), NVVM::MMAIntOverflowAttr());
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = LLVM::ExtractValueOp::create(k.b, k.loc, out, int64_t(i));
}

void commitProducts(Kernel &k) { NVVM::WgmmaGroupSyncAlignedOp::create(k.b, k.loc); }

void waitForProducts(Kernel &k, int64_t groups, MutableArrayRef<Value> sums) {
  NVVM::WgmmaWaitGroupSyncOp::create(k.b, k.loc, k.b.getI64IntegerAttr(groups));
  if (sums.empty())
    return;
  // No instruction: but who reads the sums comes behind it, and so behind the wait.
  std::string constraints;
  for (size_t i = 0; i < sums.size(); ++i)
    constraints += "=f,";
  for (size_t i = 0; i < sums.size(); ++i)
    constraints += std::to_string(i) + ",";
  constraints += "~{memory}";
  Type all = LLVM::LLVMStructType::getLiteral(k.b.getContext(), SmallVector<Type>(sums.size(), k.b.getF32Type()));
  Value out = LLVM::InlineAsmOp::create(k.b, k.loc, all, SmallVector<Value>(sums), "", constraints, /*has_side_effects=*/true,
                                        /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
                  .getRes();
  for (auto [i, sum] : llvm::enumerate(sums))
    sum = LLVM::ExtractValueOp::create(k.b, k.loc, out, int64_t(i));
}

} // namespace nnopt::cuda

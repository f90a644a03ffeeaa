//===- Device.cpp - NVIDIA GPUs as a target of the lowering -----------------===//

#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cuda/Epilogue.h"
#include "lib/codegen/cuda/ScalarMath.h"
#include "lib/codegen/cuda/Wgmma.h"

using namespace mlir;

namespace nnopt::cuda {

static llvm::StringMap<std::vector<cpu::Emitter>> &registry() {
  static llvm::StringMap<std::vector<cpu::Emitter>> emitters;
  return emitters;
}

RegisterEmitter::RegisterEmitter(cpu::Emitter emitter) {
  std::vector<cpu::Emitter> &list = registry()[emitter.opName];
  list.push_back(emitter);
  llvm::stable_sort(list, [](const cpu::Emitter &a, const cpu::Emitter &b) { return a.priority > b.priority; });
}

Device::Device(MLIRContext *ctx, const Machine &machine) : machine(machine), owned(ModuleOp::create(UnknownLoc::get(ctx))) {
  kernels = *owned;
  OpBuilder b = OpBuilder::atBlockEnd(kernels.getBody());
  LLVM::GlobalOp::create(b, UnknownLoc::get(ctx), LLVM::LLVMArrayType::get(b.getI8Type(), 0), /*isConstant=*/false,
                         LLVM::Linkage::External, sharedSymbol, Attribute(), /*alignment=*/sharedAlignment, /*addrSpace=*/3);
  LLVM::LLVMFuncOp::create(b, UnknownLoc::get(ctx), hasWgmmaFunction, LLVM::LLVMFunctionType::get(b.getI1Type(), {}));
  for (StringRef name : {waitForLaunchesFunction, letNextLaunchBeginFunction})
    LLVM::LLVMFuncOp::create(b, UnknownLoc::get(ctx), name, LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(ctx), {}));
}

/// The emitter that `op` gets, or null.
static const cpu::Emitter *find(Operation *op, cpu::Lowering &l) {
  for (StringRef name : {op->getName().getStringRef(), StringRef("*")}) {
    if (name == "*" && !isa<nn::Elementwise>(op))
      continue;
    for (const cpu::Emitter &emitter : registry()[name])
      if (!emitter.match || emitter.match(op, l))
        return &emitter;
  }
  return nullptr;
}

std::optional<LogicalResult> Device::emit(Operation *op, cpu::Lowering &l) {
  const cpu::Emitter *emitter = find(op, l);
  return emitter ? std::optional(emitter->emit(op, l)) : std::nullopt;
}

bool Device::readsStrided(OpOperand &operand, cpu::Lowering &l) {
  Operation *op = operand.getOwner();
  unsigned number = operand.getOperandNumber();
  if (l.dims(operand.get()).empty() || !find(op, l))
    return false;
  // What is a part of its operand's memory has no code that could read through strides: the operand must be there.
  auto slice = dyn_cast<nn::SliceOp>(op);
  auto split = dyn_cast<nn::SplitOp>(op);
  if (cpu::isViewTranspose(op, l) || (slice && cpu::contiguousSliceOffset(slice, l)) ||
      (split && cpu::isOuterAxis(l, split.getX(), split.getAxis())))
    return false;
  if (isa<nn::AttentionOp>(op))
    return number < 3;
  if (isa<nn::TransposeOp, nn::SplitOp, nn::SliceOp, nn::ExpandOp, nn::RotaryOp>(op))
    return number == 0;
  if (auto concat = dyn_cast<nn::ConcatOp>(op)) // along an outer axis parts are moved whole
    return !cpu::isOuterAxis(l, concat.getResult(), concat.getAxis());
  if (auto map = dyn_cast<nn::MapOp>(op))
    return number < map.getInputs().size();
  return isa<nn::Elementwise>(op);
}

bool Device::takesNarrowWeights(OpOperand &operand) {
  auto matmul = dyn_cast<nn::MatMulOp>(operand.getOwner());
  return isa<nn::GatherOp>(operand.getOwner()) || (matmul && canRunEpilogue(matmul.getEpilogue()));
}

/// Element types that GPU kernels compute with: narrower floats only exist in memory, as their bits.
static bool isGpuType(Type type) {
  type = getElementTypeOrSelf(type);
  if (auto f = dyn_cast<FloatType>(type))
    return f.isF16() || f.isBF16() || f.isF32() || f.isF64();
  return true;
}

static bool canRunOp(Operation *op) {
  if (isa<func::CallOp, LLVM::CallOp, LLVM::CallIntrinsicOp, LLVM::InlineAsmOp>(op))
    return false;
  for (Type t : op->getOperandTypes())
    if (!isGpuType(t))
      return false;
  for (Type t : op->getResultTypes())
    if (!isGpuType(t))
      return false;
  if (isa<arith::RemFOp>(op)) // a call of fmod
    return false;
  return !isa<math::MathDialect>(op->getDialect()) || hasScalarMath(op);
}

bool Device::canRun(func::FuncOp kernel) {
  return !kernel.walk([](Operation *op) { return canRunOp(op) ? WalkResult::advance() : WalkResult::interrupt(); })
              .wasInterrupted();
}

bool canRunScalars(Region &region) {
  return !region.walk([](Operation *op) {
                 return isa<nn::YieldOp>(op) || canRunOp(op) ? WalkResult::advance() : WalkResult::interrupt();
               }).wasInterrupted();
}

} // namespace nnopt::cuda

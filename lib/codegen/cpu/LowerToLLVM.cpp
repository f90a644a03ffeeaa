//===- LowerToLLVM.cpp - kernels to the LLVM dialect ------------------------===//

#include "lib/codegen/cpu/LowerToLLVM.h"
#include "dialects/nn/ScalarBuilder.h"
#include "lib/codegen/cpu/VectorMath.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Replaces math functions on f32 vectors by polynomials (relative error at most 2e-7, study/).
/// Scalars keep the libm call: they are the reference.
struct ExpandVectorMath : PassWrapper<ExpandVectorMath, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandVectorMath)
  explicit ExpandVectorMath(const Target &target) : target(target) {}
  const Target &target;
  StringRef getArgument() const override { return "expand-vector-math"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
  }
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateVectorMathPatterns(patterns, target);
    populateMathPolynomialApproximationPatterns(patterns);
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (!isa<math::MathDialect>(op->getDialect()) || op->getNumResults() != 1)
        return;
      auto vector = dyn_cast<VectorType>(op->getResult(0).getType());
      if (vector && vector.getElementType().isF32())
        ops.push_back(op);
    });
    GreedyRewriteConfig config;
    config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
    if (failed(applyOpPatternsGreedily(ops, std::move(patterns), config)))
      signalPassFailure();
  }
};

/// Makes integers of f16 and bf16 values where the target has no instructions for them, from memory to conversions: LLVM
/// would call functions that no library has to have, also for comparisons that it makes of ours.
struct ExpandHalfFloats : PassWrapper<ExpandHalfFloats, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandHalfFloats)
  explicit ExpandHalfFloats(const Target &target) : target(target) {}
  const Target &target;
  StringRef getArgument() const override { return "expand-half-floats"; }
  bool isForeign(Type type) const {
    Type element = getElementTypeOrSelf(type);
    return (element.isF16() && !target.f16) || (element.isBF16() && !target.bf16);
  }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    Type f32 = rewriter.getF32Type(), i16 = rewriter.getI16Type();
    getOperation()->walk([&](Operation *op) {
      rewriter.setInsertionPoint(op);
      nn::ScalarBuilder s{rewriter, op->getLoc()};
      auto bitsOf = [&](Value v) { return s.make<arith::BitcastOp>(nn::withElement(v.getType(), i16), v); };
      auto replace = [&](Value bits) {
        rewriter.replaceOp(op, s.make<arith::BitcastOp>(op->getResult(0).getType(), bits));
      };
      bool isForeignResult = op->getNumResults() == 1 && isForeign(op->getResult(0).getType());
      if (auto ext = dyn_cast<arith::ExtFOp>(op); ext && isForeign(ext.getIn().getType())) {
        Value wide = s.widenByBits(ext.getIn());
        rewriter.replaceOp(op, s.element(ext).isF64() ? s.make<arith::ExtFOp>(ext.getType(), wide) : wide);
      } else if (auto trunc = dyn_cast<arith::TruncFOp>(op); trunc && isForeignResult) {
        Value x = trunc.getIn();
        Value wide = s.element(x).isF64() ? s.make<arith::TruncFOp>(nn::withElement(x.getType(), f32), x) : x;
        rewriter.replaceOp(op, s.narrowByBits(wide, s.element(trunc)));
      } else if (auto select = dyn_cast<arith::SelectOp>(op); select && isForeignResult) {
        replace(s.select(select.getCondition(), bitsOf(select.getTrueValue()), bitsOf(select.getFalseValue())));
      } else if (auto load = dyn_cast<LLVM::LoadOp>(op); load && isForeignResult) {
        replace(s.make<LLVM::LoadOp>(nn::withElement(load.getType(), i16), load.getAddr(), load.getAlignment().value_or(0)));
      } else if (auto load = dyn_cast<LLVM::MaskedLoadOp>(op); load && isForeignResult) {
        auto bits = cast<VectorType>(nn::withElement(load.getType(), i16));
        replace(s.make<LLVM::MaskedLoadOp>(bits, load.getData(), load.getMask(), bitsOf(load.getPassThru()), load.getAlignment()));
      } else if (auto store = dyn_cast<LLVM::StoreOp>(op); store && isForeign(store.getValue().getType())) {
        store.getValueMutable().assign(bitsOf(store.getValue()));
      } else if (auto store = dyn_cast<LLVM::MaskedStoreOp>(op); store && isForeign(store.getValue().getType())) {
        store.getValueMutable().assign(bitsOf(store.getValue()));
      }
    });
  }
};

} // namespace

void registerCodegenDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect, scf::SCFDialect, func::FuncDialect,
                  LLVM::LLVMDialect, cf::ControlFlowDialect, ub::UBDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
}

void buildLowerToLLVM(PassManager &pm, const Target &target) {
  OpPassManager &functions = pm.nest<func::FuncOp>();
  functions.addPass(createCanonicalizerPass());
  functions.addPass(createCSEPass());
  functions.addPass(createLoopInvariantCodeMotionPass());
  functions.addPass(std::make_unique<ExpandVectorMath>(target));
  if (!target.f16 || !target.bf16)
    functions.addPass(std::make_unique<ExpandHalfFloats>(target));
  functions.addPass(createCSEPass());
  functions.addPass(createSCFToControlFlowPass());
  // Functions that only libm has are taken apart into scalars, by vector operations.
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
}

} // namespace nnopt::cpu

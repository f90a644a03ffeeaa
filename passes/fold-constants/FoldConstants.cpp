//===- FoldConstants.cpp - operations on constants ------------------------===//
#include "dialects/nn/NarrowWeights.h"
#include "lib/codegen/Evaluate.h"
#include "lib/codegen/cpu/LowerToLLVM.h"
#include "passes/Passes.h"
#include "passes/fold-constants/Direct.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDCONSTANTS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fold-constants";

int64_t bytesOf(Value v) {
  auto type = cast<RankedTensorType>(v.getType());
  return type.getNumElements() * nn::elementBytes(type.getElementType());
}

class ConstantFolder {
public:
  ConstantFolder(func::FuncOp func, int64_t maxGrowth, bool keepDequantize, bool keepNarrow16Bit)
      : func(func), maxGrowth(maxGrowth), keepDequantize(keepDequantize), keepNarrow16Bit(keepNarrow16Bit), rewriter(func.getContext()) {}

  void fold(bool compile);
  int64_t direct = 0, evaluated = 0, kept = 0;

private:
  bool isKeptNarrow(Operation *op);
  bool isFoldable(Operation *op, bool quiet);
  SmallVector<Operation *> findFoldable(bool quiet);
  SmallVector<Operation *> sliceOf(Value v, const DenseSet<Operation *> &foldable);
  void keepWeightsWhole();
  void foldDirectly();
  void evaluateRest();
  bool buildsWeight(Value v, const DenseSet<Operation *> &foldable);
  LogicalResult evaluateTogether(ArrayRef<Value> values, bool inDouble);

  func::FuncOp func;
  int64_t maxGrowth;
  bool keepDequantize, keepNarrow16Bit;
  IRRewriter rewriter;
  /// Bytes of the constants a value is computed from, for constants and foldable operations.
  DenseMap<Value, int64_t> leafBytes;
  /// Operations that are computed with others that take compiled code, in f64: not one by one before.
  DenseSet<Operation *> later;
  DenseMap<Value, Unrounded> unrounded;
};

/// Whether `op` stays, as kernels read what it widens, or passes that come later do.
bool ConstantFolder::isKeptNarrow(Operation *op) {
  return (keepDequantize && isa<nn::DequantizeOp>(op)) || nn::NarrowWeights::isWidening(op, keepNarrow16Bit);
}

/// Whether `op` can be computed at compile time; notes what it is computed from.
bool ConstantFolder::isFoldable(Operation *op, bool quiet) {
  if (!isa<nn::ShapeFunction>(op) || isa<nn::IfOp, nn::LoopOp, nn::CustomOp>(op) || op->getNumOperands() == 0 ||
      op->use_empty() || isa<nn::HostCall>(op) || nn::touchesHostValues(op) || isKeptNarrow(op))
    return false;
  int64_t leaves = 0;
  for (Value v : op->getOperands()) {
    if (isConstant(v))
      leafBytes[v] = bytesOf(v);
    auto it = leafBytes.find(v);
    if (it == leafBytes.end())
      return false;
    leaves += it->second;
  }
  for (Value v : op->getResults()) {
    if (!cast<RankedTensorType>(v.getType()).hasStaticShape() || !elementTypeOf(v).isIntOrFloat())
      return false;
    if (bytesOf(v) > maxGrowth && bytesOf(v) > 4 * leaves) {
      if (!quiet) {
        missedRemark(op->getLoc(), kPass, "kept") << remark::reason(
            "the value has {0} bytes, the constants it comes from have {1}", bytesOf(v), leaves);
        ++kept;
      }
      return false;
    }
  }
  for (Value v : op->getResults())
    leafBytes[v] = leaves;
  return true;
}

/// In program order.
SmallVector<Operation *> ConstantFolder::findFoldable(bool quiet) {
  leafBytes.clear();
  SmallVector<Operation *> foldable;
  func.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<nn::ConstantOp>(op) || !isFoldable(op, quiet))
      return WalkResult::advance();
    foldable.push_back(op);
    return WalkResult::skip(); // The scalar body of a map is part of it.
  });
  return foldable;
}

/// The foldable operations that compute a value.
SmallVector<Operation *> ConstantFolder::sliceOf(Value v, const DenseSet<Operation *> &foldable) {
  SmallVector<Operation *> slice, work = {v.getDefiningOp()};
  DenseSet<Operation *> seen;
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!foldable.contains(op) || !seen.insert(op).second)
      continue;
    slice.push_back(op);
    for (Value operand : op->getOperands())
      if (Operation *def = operand.getDefiningOp())
        work.push_back(def);
  }
  return slice;
}

/// Marks what builds a weight together with operations that take compiled code: computed one by one, it would be
/// rounded in between.
void ConstantFolder::keepWeightsWhole() {
  SmallVector<Operation *> foldable = findFoldable(/*quiet=*/true);
  DenseSet<Operation *> set(foldable.begin(), foldable.end());
  for (Operation *op : foldable)
    for (Value v : op->getResults()) {
      bool leaves = llvm::any_of(v.getUsers(), [&](Operation *user) { return !set.contains(user); });
      if (!leaves || !buildsWeight(v, set))
        continue;
      SmallVector<Operation *> slice = sliceOf(v, set);
      if (!llvm::all_of(slice, isDirect))
        later.insert(slice.begin(), slice.end());
    }
}

/// In program order, so that chains fold.
void ConstantFolder::foldDirectly() {
  func.walk([&](Operation *op) {
    if (op->getNumResults() != 1 || op->getNumOperands() == 0 || !isa<nn::ShapeFunction>(op) ||
        isa<nn::ConstantOp>(op) || later.contains(op) || nn::touchesHostValues(op) || isKeptNarrow(op))
      return;
    SmallVector<ElementsAttr> values;
    SmallVector<const Unrounded *> exact;
    for (Value v : op->getOperands()) {
      nn::ConstantOp constant = constantOf(v);
      if (!constant)
        return;
      values.push_back(constant.getValue());
      auto it = unrounded.find(v);
      exact.push_back(it == unrounded.end() ? nullptr : &it->second);
    }
    Unrounded result;
    ElementsAttr value = computeDirectly(op, values, exact, result);
    if (!value)
      return;
    rewriter.setInsertionPoint(op);
    Value constant = rewriter.replaceOpWithNewOp<nn::ConstantOp>(op, value);
    if (!result.empty())
      unrounded[constant] = std::move(result);
    ++direct;
  });
}

/// Whether weights or the parameters of a normalization are what the value is for, and all it is
/// computed by can be done in f64: it is rounded once then.
bool ConstantFolder::buildsWeight(Value v, const DenseSet<Operation *> &foldable) {
  bool isWeight = llvm::any_of(v.getUses(), [](OpOperand &use) {
    auto linear = dyn_cast<nn::LinearOp>(use.getOwner());
    return (linear && &use != &linear.getActivationMutable()) ||
           (isa<nn::BatchNormOp, nn::LayerNormOp, nn::RMSNormOp, nn::GroupNormOp, nn::LSTMOp, nn::GRUOp, nn::RNNOp>(use.getOwner()) &&
            use.getOperandNumber() > 0);
  });
  if (!isWeight || !elementTypeOf(v).isF32())
    return false;
  return llvm::all_of(sliceOf(v, foldable), canBeWidened);
}

LogicalResult ConstantFolder::evaluateTogether(ArrayRef<Value> values, bool inDouble) {
  SmallVector<ElementsAttr> results;
  std::string why;
  LogicalResult done = success();
  {
    // What cannot be compiled is not an error: it stays for run time.
    ScopedDiagnosticHandler quiet(func.getContext(), [&](Diagnostic &d) {
      if (why.empty())
        why = d.str();
      return success();
    });
    done = evaluate(values, results, inDouble);
  }
  if (failed(done) && inDouble)
    return failure();
  if (failed(done)) {
    missedRemark(values.front().getLoc(), kPass, "not-evaluated") << remark::reason("{0}", why);
    return failure();
  }
  for (auto [v, result] : llvm::zip(values, results)) {
    rewriter.setInsertionPointAfterValue(v);
    Value constant = nn::ConstantOp::create(rewriter, v.getLoc(), result);
    rewriter.replaceAllUsesWith(v, constant);
    passedRemark(v.getLoc(), kPass, "evaluated") << remark::metric("Bytes", bytesOf(constant));
    ++evaluated;
  }
  return success();
}

/// All values that leave the constant part of the graph, in one compilation; weights in another.
void ConstantFolder::evaluateRest() {
  SmallVector<Operation *> foldable = findFoldable(/*quiet=*/false);
  DenseSet<Operation *> set(foldable.begin(), foldable.end());
  SmallVector<Value> values, weights;
  for (Operation *op : foldable)
    for (Value v : op->getResults())
      if (llvm::any_of(v.getUsers(), [&](Operation *user) { return !set.contains(user); }))
        (buildsWeight(v, set) ? weights : values).push_back(v);
  // Where some operation has no kernel for f64, with the others.
  if (!weights.empty() && failed(evaluateTogether(weights, /*inDouble=*/true)))
    values.append(weights);
  if (!values.empty())
    (void)evaluateTogether(values, /*inDouble=*/false);
}

void ConstantFolder::fold(bool compile) {
  if (compile)
    keepWeightsWhole();
  foldDirectly();
  if (compile)
    evaluateRest();
  eraseDeadOps(func, rewriter);
}

struct FoldConstantsPass : impl::FoldConstantsBase<FoldConstantsPass> {
  using FoldConstantsBase::FoldConstantsBase;

  /// Evaluation builds kernels in this context; a pass that runs cannot load dialects.
  void getDependentDialects(DialectRegistry &registry) const override {
    FoldConstantsBase::getDependentDialects(registry);
    cpu::registerCodegenDialects(registry);
  }

  void runOnOperation() override {
    if (getOperation().isExternal())
      return;
    ConstantFolder folder(getOperation(), maxGrowthBytes, keepDequantize, keepNarrow16Bit);
    folder.fold(compile);
    numDirect += folder.direct;
    numEvaluated += folder.evaluated;
    numKept += folder.kept;
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt

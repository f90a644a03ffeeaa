//===- FoldShapes.cpp - shape arithmetic and operations that do nothing ---===//
#include "passes/Passes.h"
#include "passes/fold-shapes/ShapeArithmetic.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FOLDSHAPES
#include "passes/Passes.h.inc"

Value simplifyNoOp(Operation *op, RewriterBase &rewriter, FuncShapes &shapes);
} // namespace nnopt

namespace nnopt {
namespace {

using nn::Dim;

constexpr StringLiteral kPass = "fold-shapes";

/// A constant of an integer or bool type.
ElementsAttr makeIntegers(RankedTensorType type, ArrayRef<int64_t> values) {
  int64_t width = nn::elementBytes(type.getElementType());
  std::vector<char> bytes(values.size() * width);
  for (auto [i, v] : llvm::enumerate(values))
    std::memcpy(bytes.data() + i * width, &v, width); // Little endian, as ConstantData.
  return nn::makeConstant(type, bytes, "shape");
}

class ShapeFolder {
public:
  ShapeFolder(func::FuncOp func, FuncShapes &shapes)
      : func(func), shapes(shapes), rewriter(func.getContext(), &shapes),
        arithmetic(func, shapes, rewriter) {}

  /// Replaces conditionals with a known condition; true when there was one.
  bool inlineIfs();
  void foldContents();
  void retarget();
  bool removeNoOps();
  int64_t eraseDead() { return eraseDeadOps(func, rewriter); }

  int64_t constants = 0, removed = 0, ifs = 0;

private:
  bool isFrontier(Operation *user);
  Value constantShape(OpOperand &operand);

  func::FuncOp func;
  FuncShapes &shapes;
  IRRewriter rewriter;
  ShapeArithmetic arithmetic;
};

bool ShapeFolder::inlineIfs() {
  SmallVector<nn::IfOp> known;
  func.walk<WalkOrder::PreOrder>([&](nn::IfOp op) {
    auto condition = shapes.ctx.constantContent(op.getCondition());
    if (!condition || condition->size() != 1)
      return WalkResult::advance();
    known.push_back(op);
    return WalkResult::skip(); // Its branches are looked at in the next round.
  });
  for (nn::IfOp op : known) {
    bool holds = shapes.ctx.constantContent(op.getCondition())->front() != 0;
    Block &branch = (holds ? op.getThenBranch() : op.getElseBranch()).front();
    Operation *yield = branch.getTerminator();
    SmallVector<Value> values(yield->getOperands());
    passedRemark(op.getLoc(), kPass, "inlined-branch")
        << remark::add("the condition is always {0}", holds ? "true" : "false");
    rewriter.eraseOp(yield);
    rewriter.inlineBlockBefore(&branch, op);
    rewriter.replaceOp(op, values);
    ++ifs;
  }
  return !known.empty();
}

/// Integer tensors whose elements are all constant.
void ShapeFolder::foldContents() {
  SmallVector<Operation *> ops;
  func.walk([&](Operation *op) {
    if (!isa<nn::ConstantOp>(op) && isa<nn::ShapeFunction>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    for (Value result : op->getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (!type || result.use_empty() || !isa<IntegerType>(type.getElementType()) || !type.hasStaticShape())
        continue;
      auto content = shapes.ctx.constantContent(result);
      if (!content)
        continue;
      rewriter.setInsertionPoint(op);
      Value constant = nn::ConstantOp::create(rewriter, op->getLoc(), makeIntegers(type, *content));
      rewriter.replaceAllUsesWith(result, constant);
      ++constants;
    }
}

/// Whether `user` computes something that is not itself an integer tensor known symbolically.
bool ShapeFolder::isFrontier(Operation *user) {
  return user->getNumResults() == 0 ||
         llvm::any_of(user->getResults(), [&](Value r) { return !shapes.ctx.content(r); });
}

/// A constant that may stand for a target shape although the sizes are not constant.
Value ShapeFolder::constantShape(OpOperand &operand) {
  Operation *user = operand.getOwner();
  auto type = cast<RankedTensorType>(operand.get().getType());
  if (type.getRank() != 1 || !type.getElementType().isSignlessInteger(64))
    return {};
  const auto &content = *shapes.ctx.content(operand.get());
  SmallVector<int64_t> values;
  if (auto reshape = dyn_cast<nn::ReshapeOp>(user); reshape && operand.getOperandNumber() == 1) {
    if (reshape.getAllowZero())
      return {};
    auto target = reshapeOperand(shapes.dims(reshape.getX()), shapes.dims(reshape.getResult()));
    if (!target)
      return {};
    values = *target;
  } else if (auto expand = dyn_cast<nn::ExpandOp>(user);
             expand && operand.getOperandNumber() == 1) {
    auto from = shapes.dims(expand.getX());
    for (auto [i, d] : llvm::enumerate(content)) {
      int64_t axis = (int64_t)i - (int64_t)content.size() + (int64_t)from.size();
      if (!d.isConst() && (axis < 0 || from[axis] != d))
        return {};
      values.push_back(d.isConst() ? d.value() : 1);
    }
  } else if (auto slice = dyn_cast<nn::SliceOp>(user);
             slice && operand.get() == slice.getEnds() && operand.getOperandNumber() == 2) {
    std::optional<SmallVector<int64_t>> axes;
    if (slice.getAxes() && !(axes = shapes.ctx.constantContent(slice.getAxes())))
      return {};
    auto from = shapes.dims(slice.getX());
    for (auto [i, d] : llvm::enumerate(content)) {
      int64_t axis = axes ? (*axes)[i] : (int64_t)i;
      axis += axis < 0 ? from.size() : 0;
      // An end at the size of the dimension: as far as there is.
      if (!d.isConst() && from[axis] != d)
        return {};
      values.push_back(d.isConst() ? d.value() : std::numeric_limits<int64_t>::max());
    }
  } else {
    return {};
  }
  rewriter.setInsertionPoint(user);
  return makeIntsOp(rewriter, user->getLoc(), values);
}

/// Sizes that operations need at run time, and target shapes, no longer refer to intermediate
/// values.
void ShapeFolder::retarget() {
  SmallVector<OpOperand *> operands;
  func.walk([&](Operation *op) {
    if (!isa<nn::ShapeFunction>(op) || !isFrontier(op))
      return;
    for (OpOperand &operand : op->getOpOperands()) {
      Value v = operand.get();
      auto type = dyn_cast<RankedTensorType>(v.getType());
      if (type && isa<IntegerType>(type.getElementType()) && v.getDefiningOp() && !isConstant(v) &&
          shapes.ctx.content(v))
        operands.push_back(&operand);
    }
  });
  for (OpOperand *operand : operands) {
    Operation *user = operand->getOwner();
    Value before = operand->get();
    SmallVector<nn::Dims> dims;
    for (Value result : user->getResults())
      dims.emplace_back(shapes.dims(result));
    auto unchanged = [&] {
      for (auto [i, result] : llvm::enumerate(user->getResults()))
        if (shapes.dims(result) != ArrayRef<Dim>(dims[i]))
          return false;
      return true;
    };
    auto tryValue = [&](Value v) {
      if (!v)
        return false;
      rewriter.modifyOpInPlace(user, [&] { operand->set(v); });
      if (succeeded(shapes.ctx.infer(user)) && unchanged())
        return true;
      rewriter.modifyOpInPlace(user, [&] { operand->set(before); });
      for (auto [i, result] : llvm::enumerate(user->getResults()))
        shapes.ctx.set(result, elementTypeOf(result), dims[i]);
      return false;
    };
    if (!tryValue(constantShape(*operand)))
      tryValue(arithmetic.get(*shapes.ctx.content(before), before));
  }
}

bool ShapeFolder::removeNoOps() {
  SmallVector<Operation *> ops;
  func.walk([&](Operation *op) {
    if (isa<nn::ShapeFunction>(op) && !isa<nn::ConstantOp>(op) && !arithmetic.made(op))
      ops.push_back(op);
  });
  bool changed = false;
  for (Operation *op : ops) {
    if (op->getNumResults() != 1 || op->use_empty())
      continue;
    rewriter.setInsertionPoint(op);
    Value with = simplifyNoOp(op, rewriter, shapes);
    if (!with)
      continue;
    rewriter.replaceAllUsesWith(op->getResult(0), with);
    ++removed;
    changed = true;
  }
  return changed;
}

struct FoldShapesPass : impl::FoldShapesBase<FoldShapesPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isExternal())
      return;
    // A branch that is inlined says more about the shapes behind it: start again.
    for (bool again = true; again;) {
      FuncShapes shapes(func);
      if (failed(shapes.infer()))
        return signalPassFailure();
      ShapeFolder folder(func, shapes);
      again = folder.inlineIfs();
      numIfs += folder.ifs;
      if (again)
        continue;
      folder.foldContents();
      folder.retarget();
      numDead += folder.eraseDead();
      for (int round = 0; round < 4 && folder.removeNoOps(); ++round)
        numDead += folder.eraseDead();
      numDead += folder.eraseDead();
      numConstants += folder.constants;
      numRemoved += folder.removed;
    }
    nn::refineFunctionType(cast<FunctionOpInterface>(func.getOperation()));
  }
};

} // namespace
} // namespace nnopt

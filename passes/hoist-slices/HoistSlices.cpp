//===- HoistSlices.cpp - parts are taken before they are computed ---------===//
#include "passes/Passes.h"
#include "passes/common/Through.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_HOISTSLICES
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "hoist-slices";

class Hoister {
public:
  Hoister(FuncShapes &shapes, IRRewriter &rewriter) : shapes(shapes), rewriter(rewriter) {}

  /// Moves what `op` picks before the operation that computes its operand, and erases both. Says why not where that
  /// looked possible.
  bool hoist(Operation *op, std::string &why);
  /// Operations that no longer exist.
  DenseSet<Operation *> gone;

private:
  std::string whyNotAll(Operation *producer, const Positions &positions, SmallVectorImpl<Operation *> &picks);
  bool isLittle(Operation *op, const Positions &positions);

  FuncShapes &shapes;
  IRRewriter &rewriter;
};

/// Whether the part is provably at most half of the dimension, or one position of it.
bool Hoister::isLittle(Operation *op, const Positions &positions) {
  nn::Dim size = shapes.dims(op->getOperand(0))[positions.axis], part = shapes.dims(op->getResult(0))[positions.axis];
  if (size.isConst() && part.isConst())
    return 2 * part.value() <= size.value();
  return !size.isConst() && positions.atMost() == 1;
}

/// Collects the users of a result, which must all pick the same.
std::string Hoister::whyNotAll(Operation *producer, const Positions &positions, SmallVectorImpl<Operation *> &picks) {
  for (Value result : producer->getResults().drop_front())
    if (!result.use_empty())
      return "its other result is used too";
  for (OpOperand &use : producer->getResult(0).getUses()) {
    auto other = readPositions(use.getOwner(), shapes);
    if (use.getOperandNumber() != 0 || !other || !(*other == positions) || use.getOwner()->getBlock() != producer->getBlock())
      return "other users need the rest of it";
    picks.push_back(use.getOwner());
  }
  return "";
}

bool Hoister::hoist(Operation *op, std::string &why) {
  auto positions = readPositions(op, shapes);
  Operation *producer = op->getOperand(0).getDefiningOp();
  if (!positions || !producer || isa<nn::ConstantOp>(producer) || producer->getBlock() != op->getBlock())
    return false;
  std::string name = producer->getName().getStringRef().str();
  auto refuse = [&](const Twine &reason) {
    why = (name + ": " + reason).str();
    return false;
  };
  Through through = throughOf(producer, *positions, shapes);
  if (!through.why.empty())
    return refuse(through.why);
  if (!isLittle(op, *positions))
    return refuse("more than half of the dimension is kept");
  SmallVector<Operation *> picks;
  if (std::string other = whyNotAll(producer, *positions, picks); !other.empty())
    return refuse(other);

  rewriter.setInsertionPoint(producer);
  SmallVector<Operation *> all = {producer};
  all.append(picks);
  Location loc = fusedLoc(all);
  SmallVector<Value> operands(producer->getOperands());
  for (auto [number, axis] : through.operands) {
    Positions moved = *positions;
    moved.axis = axis;
    operands[number] = pick(operands[number], moved, rewriter, loc);
  }
  nn::Dims dims(shapes.dims(op->getResult(0)));
  Value smaller = emitThrough(producer, through, operands, dims, shapes, rewriter, loc);
  // What was made has no users: the end of the pass erases it.
  if (!smaller || shapes.dims(smaller) != ArrayRef<nn::Dim>(dims))
    return refuse("the shape of the part is not known to be the same");
  passedRemark(loc, kPass, "hoisted") << remark::add("above {0}", name);
  for (Operation *user : picks) {
    gone.insert(user);
    rewriter.replaceOp(user, smaller);
  }
  gone.insert(producer);
  rewriter.eraseOp(producer);
  return true;
}

/// A gather at one constant position drops the dimension; where it can move, it keeps one of one element first.
void keepDimension(nn::GatherOp op, FuncShapes &shapes, IRRewriter &rewriter) {
  auto indices = shapes.ctx.constantContent(op.getIndices());
  Operation *producer = op.getX().getDefiningOp();
  int64_t axis = op.getAxis();
  if (rankOf(op.getIndices()) != 0 || !indices || !producer || isa<nn::ConstantOp>(producer) ||
      shapes.ctx.content(op.getResult()) || !throughOf(producer, Positions{axis, 0, 0, 1, *indices}, shapes).why.empty())
    return;
  rewriter.setInsertionPoint(op);
  Value picked = pick(op.getX(), Positions{axis, 0, 0, 1, *indices}, rewriter, op.getLoc());
  rewriter.replaceOp(op, nn::SqueezeOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(picked)), picked,
                                               rewriter.getDenseI64ArrayAttr({axis})));
}

struct HoistSlicesPass : impl::HoistSlicesBase<HoistSlicesPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::GatherOp> gathers;
    getOperation().walk([&](nn::GatherOp op) { gathers.push_back(op); });
    for (nn::GatherOp op : gathers)
      keepDimension(op, shapes, rewriter);
    // A branch that is moved through may free a value that stands before: again, until nothing moves.
    SmallVector<std::pair<Location, std::string>> refused;
    for (bool changed = true; changed;) {
      changed = false;
      refused.clear();
      SmallVector<Operation *> picks;
      getOperation().walk([&](Operation *op) {
        if (isa<nn::SliceOp, nn::GatherOp>(op))
          picks.push_back(op);
      });
      Hoister hoister(shapes, rewriter);
      for (Operation *op : picks) {
        if (hoister.gone.contains(op) || op->use_empty())
          continue;
        Location loc = op->getLoc();
        std::string why;
        if (hoister.hoist(op, why)) {
          changed = true;
          ++numHoisted;
        } else if (!why.empty()) {
          refused.push_back({loc, why});
        }
      }
      if (changed)
        eraseDeadOps(getOperation(), rewriter);
    }
    eraseDeadOps(getOperation(), rewriter);
    for (auto &[loc, why] : refused)
      missedRemark(loc, kPass, "kept") << remark::reason("{0}", why);
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt

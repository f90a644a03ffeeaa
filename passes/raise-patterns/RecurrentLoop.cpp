//===- RecurrentLoop.cpp - loops over the steps of a recurrent cell -------===//
//
// A loop (an ONNX Scan is one too) whose body is one step of an LSTM or GRU on the states that it carries, and on
// the step of a sequence that its number says, is the operation on the sequence.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/IRMapping.h"
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

class LoopRaiser {
public:
  LoopRaiser(nn::LoopOp loop, FuncShapes &shapes, IRRewriter &rewriter)
      : loop(loop), body(loop.getBody().front()), shapes(shapes), rewriter(rewriter) {}
  /// Why not; empty where the loop is replaced. Nothing where there is no cell in it.
  std::optional<std::string> raise();

private:
  std::string match();
  bool isTrue(Value v);
  /// The state that a result of the cell is, seen as [batch, units]; -1 for another value.
  int stateOf(Value v);
  SmallVector<Value> initialStates();
  void replace();

  nn::LoopOp loop;
  Block &body;
  FuncShapes &shapes;
  IRRewriter &rewriter;
  Operation *cell = nullptr;
  Value sequence;
  int64_t axis = 0;
  /// The carried values that are h and c.
  SmallVector<unsigned, 2> carriedState;
};

bool LoopRaiser::isTrue(Value v) {
  auto content = v ? shapes.ctx.constantContent(v) : SmallVector<int64_t>{1};
  return content && content->size() == 1 && content->front() != 0;
}

int LoopRaiser::stateOf(Value v) {
  Operation *op = v.getDefiningOp();
  if (!isa_and_nonnull<nn::SqueezeOp>(op) || op->getOperand(0).getDefiningOp() != cell)
    return -1;
  // One step: y is y_h.
  return std::max(0, int(cast<OpResult>(op->getOperand(0)).getResultNumber()) - 1);
}

SmallVector<Value> LoopRaiser::initialStates() {
  if (auto lstm = dyn_cast<nn::LSTMOp>(cell))
    return {lstm.getInitialH(), lstm.getInitialC()};
  return {cast<nn::GRUOp>(cell).getInitialH()};
}

std::string LoopRaiser::match() {
  auto yield = body.getTerminator();
  unsigned carried = loop.getCarried().size();
  if (!isTrue(loop.getCondition()) || (yield->getOperand(0) != body.getArgument(1) && !isTrue(yield->getOperand(0))))
    return "it may end early";
  // The input: step `number` of a value from outside.
  auto unsqueeze = cell->getOperand(0).getDefiningOp<nn::UnsqueezeOp>();
  auto gather = unsqueeze ? unsqueeze.getX().getDefiningOp<nn::GatherOp>() : nn::GatherOp();
  if (!gather || gather.getIndices() != body.getArgument(0) || gather.getX().getParentRegion() == &loop.getBody() ||
      rankOf(gather.getX()) != 3 || gather.getAxis() == 2)
    return "the input of its cell is no step of a sequence";
  sequence = gather.getX();
  axis = gather.getAxis();
  if (!loop.getTripCount() || shapes.ctx.scalarContent(loop.getTripCount()) != shapes.dims(sequence)[axis])
    return "its number of iterations is not the length of the sequence";
  auto stateIndex = [&](Value initial) -> std::optional<unsigned> {
    auto view = initial ? initial.getDefiningOp<nn::UnsqueezeOp>() : nn::UnsqueezeOp();
    auto argument = view ? dyn_cast<BlockArgument>(view.getX()) : BlockArgument();
    if (!argument || argument.getOwner() != &body || argument.getArgNumber() < 2)
      return std::nullopt;
    return argument.getArgNumber() - 2;
  };
  for (Value initial : initialStates()) {
    auto index = stateIndex(initial);
    if (!index)
      return "a state of its cell is not carried by the loop";
    if (!shapes.sameDims(loop.getCarried()[*index], loop->getResult(*index)))
      return "a carried state changes its dimensions";
    carriedState.push_back(*index);
  }
  for (unsigned i = 0; i < yield->getNumOperands() - 1; ++i) {
    Value v = yield->getOperand(i + 1);
    int state = stateOf(v);
    auto *at = llvm::find(carriedState, i);
    if (at != carriedState.end() ? state != at - carriedState.begin() : i < carried || state != 0)
      return "its body yields something else than the states of its cell";
  }
  return "";
}

void LoopRaiser::replace() {
  Location loc = fusedLoc({cell, loop});
  rewriter.setInsertionPoint(loop);
  Type type = elementTypeOf(sequence);
  auto leading = rewriter.getDenseI64ArrayAttr({0});
  if (axis == 1)
    sequence =
        nn::TransposeOp::create(rewriter, loc, untyped(type), sequence, rewriter.getDenseI64ArrayAttr({1, 0, 2}));
  IRMapping mapping;
  mapping.map(cell->getOperand(0), sequence);
  for (auto [i, index] : llvm::enumerate(carriedState)) {
    Value view = nn::UnsqueezeOp::create(rewriter, loc, untyped(type), loop.getCarried()[index], leading);
    mapping.map(initialStates()[i], view);
  }
  for (Value operand : cell->getOperands())
    if (auto constant = constantOf(operand); constant && constant->getBlock() == &body)
      mapping.map(operand, rewriter.clone(*constant)->getResult(0));
  Operation *whole = rewriter.clone(*cell, mapping);
  whole->setLoc(loc);
  auto without = [&](Value v, int64_t dim) -> Value {
    return nn::SqueezeOp::create(rewriter, loc, untyped(type), v, rewriter.getDenseI64ArrayAttr({dim}));
  };
  SmallVector<Value> results;
  for (unsigned i = 0; i < loop->getNumResults(); ++i) {
    auto *at = llvm::find(carriedState, i);
    results.push_back(at != carriedState.end() ? without(whole->getResult(1 + (at - carriedState.begin())), 0)
                                               : without(whole->getResult(0), 1));
  }
  passedRemark(loc, kRaisePass, "raised") << remark::add("{0} of a loop", whole->getName().getStringRef().str());
  rewriter.replaceOp(loop, results);
}

std::optional<std::string> LoopRaiser::raise() {
  for (Operation &op : body)
    if (isa<nn::LSTMOp, nn::GRUOp>(op) && shapes.dims(op.getOperand(0))[0].isConst(1)) {
      if (cell)
        return "its body has several cells";
      cell = &op;
    }
  if (!cell)
    return std::nullopt;
  std::string why = match();
  if (why.empty())
    replace();
  return why;
}

} // namespace

void raiseRecurrentLoops(func::FuncOp func, FuncShapes &shapes) {
  IRRewriter rewriter(func.getContext(), &shapes);
  SmallVector<nn::LoopOp> loops;
  func.walk([&](nn::LoopOp op) { loops.push_back(op); });
  for (nn::LoopOp loop : loops)
    if (auto why = LoopRaiser(loop, shapes, rewriter).raise(); why && !why->empty())
      missedRemark(loop.getLoc(), kRaisePass, "not-raised") << remark::add("a loop over a recurrent cell")
                                                            << remark::reason("{0}", *why);
}

} // namespace nnopt

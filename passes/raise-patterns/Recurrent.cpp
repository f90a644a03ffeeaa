//===- Recurrent.cpp - LSTM and GRU written out ---------------------------===//
//
// Cells that follow each other, each on the state of the one before and with the same weights, are one operation on
// a sequence, if their inputs are its steps in order, from either end. A cell by itself is a sequence of one step.
//
//===----------------------------------------------------------------------===//
#include "passes/common/Parts.h"
#include "passes/raise-patterns/Cells.h"
#include "passes/raise-patterns/Match.h"

#include <cmath>

using namespace mlir;

namespace nnopt {
namespace {

/// Position `index` of dimension `axis` of `whole`, without that dimension.
struct SequenceStep {
  Value whole;
  int64_t axis = 0, index = 0;
};

std::optional<SequenceStep> matchStep(Value v, FuncShapes &shapes) {
  if (auto gather = v.getDefiningOp<nn::GatherOp>()) {
    auto index = rankOf(gather.getIndices()) == 0 ? shapes.ctx.constantContent(gather.getIndices()) : std::nullopt;
    nn::Dim size = shapes.dims(gather.getX())[gather.getAxis()];
    if (!index || (index->front() < 0 && !size.isConst()))
      return std::nullopt;
    int64_t at = index->front() + (index->front() < 0 ? size.value() : 0);
    return SequenceStep{gather.getX(), (int64_t)gather.getAxis(), at};
  }
  Operation *op = v.getDefiningOp();
  if (!isa_and_nonnull<nn::SqueezeOp, nn::ReshapeOp>(op))
    return std::nullopt;
  Value part = op->getOperand(0);
  ArrayRef<nn::Dim> from = shapes.dims(part), to = shapes.dims(v);
  SequenceStep step;
  if (auto split = part.getDefiningOp<nn::SplitOp>()) {
    step = {split.getX(), (int64_t)split.getAxis(), cast<OpResult>(part).getResultNumber()};
    for (Value other : split.getResults().take_front(step.index))
      if (!shapes.dims(other)[step.axis].isConst(1))
        return std::nullopt;
  } else if (auto slice = part.getDefiningOp<nn::SliceOp>()) {
    auto start = shapes.ctx.constantContent(slice.getStarts());
    auto axes = slice.getAxes() ? shapes.ctx.constantContent(slice.getAxes()) : SmallVector<int64_t>{0};
    if (!start || start->size() != 1 || !axes || axes->size() != 1 || start->front() < 0)
      return std::nullopt;
    step = {slice.getX(), axes->front() + (axes->front() < 0 ? rankOf(slice.getX()) : 0), start->front()};
  } else {
    return std::nullopt;
  }
  if (from.size() != to.size() + 1 || !from[step.axis].isConst(1) ||
      from.take_front(step.axis) != to.take_front(step.axis) ||
      from.drop_front(step.axis + 1) != to.drop_front(step.axis))
    return std::nullopt;
  return step;
}

class Raiser {
public:
  Raiser(func::FuncOp func, FuncShapes &shapes, IRRewriter &rewriter)
      : func(func), shapes(shapes), rewriter(rewriter) {}
  /// Raises one chain of cells that is as long as possible, or decides that a cell stays; false where there is none.
  bool raiseNext();

private:
  using Chain = SmallVector<Cell *>;

  void collect();
  bool follows(const Cell &cell, const Cell &before) const;
  std::optional<SmallVector<SequenceStep>> stepsOf(const Chain &chain);
  Value sequenceOf(ArrayRef<SequenceStep> steps, bool &reversed, Location loc);
  Value weights(const Cell &cell, bool ofState, Location loc);
  Value biases(const Cell &cell, Location loc);
  void replace(const Chain &chain, ArrayRef<SequenceStep> steps);
  Value withoutDims(Value v, ArrayRef<int64_t> axes, Location loc);
  Value step(Value sequence, int64_t index, Location loc);
  void replaceStack(const Chain &chain, Value sequence, bool reversed, Location loc);

  func::FuncOp func;
  FuncShapes &shapes;
  IRRewriter &rewriter;
  std::vector<Cell> cells;
  /// States of cells that stay as they are, and of those that were said to be no sequence.
  DenseSet<Value> kept, apart;
};

//===----------------------------------------------------------------------===//
// Finding chains
//===----------------------------------------------------------------------===//

void Raiser::collect() {
  cells.clear();
  DenseMap<Value, size_t> byState;
  func.walk([&](Operation *op) {
    if (!isa<nn::MulOp, nn::AddOp>(op) || kept.contains(op->getResult(0)))
      return;
    auto cell = matchCell(op->getResult(0), shapes);
    if (!cell)
      return;
    auto isState = [&](Value v) {
      auto it = byState.find(v);
      return it != byState.end() && cells[it->second].newMemory == cell->memory;
    };
    if (!assignState(*cell, isState))
      return;
    byState[cell->newState] = cells.size();
    cells.push_back(std::move(*cell));
  });
}

/// Whether `a` and `b` are the same but for the rounding of a product with zeros that became a constant.
static bool areClose(ArrayRef<double> a, ArrayRef<double> b) {
  double largest = 0;
  for (double x : b)
    largest = std::max(largest, std::fabs(x));
  return llvm::all_of(llvm::zip_equal(a, b), [&](auto pair) {
    return std::fabs(std::get<0>(pair) - std::get<1>(pair)) <= 1e-6 * largest;
  });
}

bool Raiser::follows(const Cell &cell, const Cell &before) const {
  if (cell.isLSTM != before.isLSTM || cell.state != before.newState || cell.units != before.units ||
      (cell.isLSTM && cell.memory != before.newMemory) || bool(cell.resetProduct) != bool(before.resetProduct))
    return false;
  auto isSame = [&](const Gate &a, const Gate &b) {
    if (a.sign != b.sign || !areClose(a.bias, b.bias))
      return false;
    for (auto [activation, other] : {std::pair(cell.input, before.input), std::pair(cell.state, before.state)}) {
      const GateTerm *x = a.termOf(activation), *y = other ? b.termOf(other) : nullptr;
      if (other && (bool(x) != bool(y) || (x && !x->hasWeightsOf(*y, cell.units))))
        return false;
    }
    return true;
  };
  for (auto [a, b] : llvm::zip_equal(cell.gates, before.gates))
    if (!isSame(a, b))
      return false;
  return !cell.resetProduct || isSame(*cell.resetProduct, *before.resetProduct);
}

/// Where a chain that begins with `cell` is computed: behind what the cell reads, before all that reads what it makes.
static Operation *placeOf(const Cell &cell) {
  return (cell.isLSTM ? cell.newMemory : cell.newState).getDefiningOp();
}

/// The inputs as steps of one value that exists before the first cell.
std::optional<SmallVector<SequenceStep>> Raiser::stepsOf(const Chain &chain) {
  SmallVector<SequenceStep> steps;
  for (Cell *cell : chain) {
    auto step = matchStep(cell->input, shapes);
    if (!step || (!steps.empty() && (step->whole != steps[0].whole || step->axis != steps[0].axis)))
      return std::nullopt;
    steps.push_back(*step);
  }
  int64_t direction = steps.size() > 1 ? steps[1].index - steps[0].index : 1;
  for (size_t i = 1; i < steps.size(); ++i)
    if (steps[i].index - steps[i - 1].index != direction)
      return std::nullopt;
  if (rankOf(steps[0].whole) != 3 || steps[0].axis == 2 || std::abs(direction) != 1)
    return std::nullopt;
  Operation *producer = steps[0].whole.getDefiningOp(), *place = placeOf(*chain.front());
  if (producer && producer->getBlock() == place->getBlock() && place->isBeforeInBlock(producer))
    return std::nullopt;
  return steps;
}

bool Raiser::raiseNext() {
  collect();
  for (Cell &first : cells) {
    if (llvm::any_of(cells, [&](Cell &other) { return follows(first, other); }))
      continue; // It is not the first one.
    Chain chain = {&first};
    while (true) {
      auto next = llvm::find_if(cells, [&](Cell &cell) { return follows(cell, *chain.back()); });
      // Memory between cells is seen by the next one only: it does not exist within a sequence.
      auto isSeenByNext = [&](Operation *user) {
        return next->ops.contains(user) || chain.back()->ops.contains(user);
      };
      if (next == cells.end() || (first.isLSTM && !llvm::all_of(chain.back()->newMemory.getUsers(), isSeenByNext)))
        break;
      chain.push_back(&*next);
    }
    auto steps = chain.size() > 1 ? stepsOf(chain) : std::nullopt;
    if (chain.size() > 1 && !steps && !apart.contains(first.newState))
      missedRemark(first.newState.getLoc(), kRaisePass, "not-raised")
          << remark::add("a sequence of {0} cells", chain.size())
          << remark::reason("their inputs are not steps of one value that exists before");
    // Cells one by one; one whose state is a constant knows no weights for it.
    if (!steps) {
      for (Cell *cell : chain)
        apart.insert(cell->newState);
      chain.resize(1);
    }
    if (!first.state && chain.size() == 1) {
      kept.insert(first.newState);
      return true;
    }
    replace(chain, steps.value_or(SmallVector<SequenceStep>()));
    return true;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// W or R as [1, gates * units, inputs].
Value Raiser::weights(const Cell &cell, bool ofState, Location loc) {
  std::vector<double> numbers;
  Value activation = ofState ? cell.state : cell.input;
  int64_t inputs = 0;
  for (const Gate &gate : cell.gates) {
    bool isApart = ofState && cell.resetProduct && &gate == &cell.gates.back();
    const GateTerm *term = (isApart ? *cell.resetProduct : gate).termOf(activation);
    inputs = term->inputs;
    term->appendTo(numbers, cell.units, gate.sign);
  }
  int64_t rows = cell.gates.size() * cell.units;
  return makeNumbersOp(rewriter, loc, elementTypeOf(cell.newState), {1, rows, inputs}, numbers,
                       ofState ? "recurrent_weight" : "input_weight");
}

/// [1, 2 * gates * units]: those of the inputs, then those of the state.
Value Raiser::biases(const Cell &cell, Location loc) {
  std::vector<double> numbers;
  for (const Gate &gate : cell.gates)
    for (double b : gate.bias)
      numbers.push_back(gate.sign * b);
  size_t half = numbers.size();
  numbers.resize(2 * half, 0);
  if (cell.resetProduct)
    llvm::copy(cell.resetProduct->bias, numbers.end() - cell.units);
  return makeNumbersOp(rewriter, loc, elementTypeOf(cell.newState), {1, (int64_t)numbers.size()}, numbers,
                       "recurrent_bias");
}

Value Raiser::withoutDims(Value v, ArrayRef<int64_t> axes, Location loc) {
  return nn::SqueezeOp::create(rewriter, loc, untyped(elementTypeOf(v)), v, rewriter.getDenseI64ArrayAttr(axes));
}

/// Step `index` of [steps, ...].
Value Raiser::step(Value sequence, int64_t index, Location loc) {
  return withoutDims(makeSlice(sequence, 0, index, index + 1, rewriter, loc), {0}, loc);
}

/// The inputs as [steps, batch, inputs]. Of a sequence that is read from its end `reversed` is set.
Value Raiser::sequenceOf(ArrayRef<SequenceStep> steps, bool &reversed, Location loc) {
  Value x = steps[0].whole;
  int64_t axis = steps[0].axis, count = steps.size();
  reversed = steps.back().index < steps.front().index;
  int64_t start = std::min(steps.front().index, steps.back().index);
  if (!shapes.dims(x)[axis].isConst(count))
    x = makeSlice(x, axis, start, start + count, rewriter, loc);
  if (axis == 1)
    x = nn::TransposeOp::create(rewriter, loc, untyped(elementTypeOf(x)), x, rewriter.getDenseI64ArrayAttr({1, 0, 2}));
  return x;
}

/// Concatenations of the states of all steps in order are the sequence of states itself.
void Raiser::replaceStack(const Chain &chain, Value sequence, bool reversed, Location loc) {
  SmallVector<Value> states;
  for (Cell *cell : chain)
    states.push_back(cell->newState);
  if (reversed)
    std::reverse(states.begin(), states.end());
  llvm::SetVector<Operation *> users;
  for (Operation *user : states[0].getUsers())
    for (Operation *concat : isa<nn::UnsqueezeOp, nn::ReshapeOp>(user)
                                 ? SmallVector<Operation *>(user->getResult(0).getUsers())
                                 : SmallVector<Operation *>{user})
      if (isa<nn::ConcatOp>(concat))
        users.insert(concat);
  for (Operation *user : users) {
    auto concat = cast<nn::ConcatOp>(user);
    int64_t axis = concat.getAxis();
    if (concat.getInputs().size() != states.size())
      continue;
    bool inOrder = true, stacked = rankOf(concat.getResult()) == 3;
    for (auto [v, state] : llvm::zip_equal(concat.getInputs(), states)) {
      Operation *view = v.getDefiningOp();
      auto dims = shapes.dims(v), own = shapes.dims(state);
      inOrder &= stacked ? isa_and_nonnull<nn::UnsqueezeOp, nn::ReshapeOp>(view) && view->getOperand(0) == state &&
                               axis < 2 && dims.size() == 3 && dims[axis].isConst(1) && dims[1 - axis] == own[0] &&
                               dims[2] == own[1]
                         : v == state && axis == 0;
    }
    if (!inOrder)
      continue;
    Value stack = sequence;
    rewriter.setInsertionPoint(concat);
    if (stacked && axis == 1)
      stack = nn::TransposeOp::create(rewriter, loc, untyped(elementTypeOf(stack)), stack,
                                      rewriter.getDenseI64ArrayAttr({1, 0, 2}));
    if (!stacked)
      stack = reshapeTo(stack, nn::Dims(shapes.dims(concat.getResult())), rewriter, shapes, loc);
    if (stack && shapes.sameDims(stack, concat.getResult()))
      rewriter.replaceOp(concat, stack);
  }
}

void Raiser::replace(const Chain &chain, ArrayRef<SequenceStep> steps) {
  Cell &first = *chain.front(), &last = *chain.back();
  Type type = elementTypeOf(first.newState);
  SmallVector<Operation *> ops;
  for (Cell *cell : chain)
    ops.append(cell->ops.begin(), cell->ops.end());
  llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  Location loc = fusedLoc(ops);
  rewriter.setInsertionPoint(placeOf(first));
  auto leading = rewriter.getDenseI64ArrayAttr({0});
  auto withStep = [&](Value v) -> Value {
    return v ? nn::UnsqueezeOp::create(rewriter, loc, untyped(type), v, leading).getResult() : Value();
  };
  bool reversed = false;
  Value x = steps.empty() ? withStep(first.input) : sequenceOf(steps, reversed, loc);
  Value w = weights(last, false, loc), r = weights(last, true, loc), b = biases(last, loc);
  Value h = withStep(first.state);
  auto direction =
      nn::DirectionAttr::get(rewriter.getContext(), reversed ? nn::Direction::reverse : nn::Direction::forward);
  Operation *op;
  if (first.isLSTM)
    op = nn::LSTMOp::create(rewriter, loc, SmallVector<Type>(3, untyped(type)), x, w, r, b, Value(), h,
                            withStep(first.memory), Value(), direction,
                            rewriter.getStrArrayAttr({"sigmoid", "tanh", "tanh"}), FloatAttr(), UnitAttr());
  else
    op = nn::GRUOp::create(rewriter, loc, SmallVector<Type>(2, untyped(type)), x, w, r, b, Value(), h, direction,
                           rewriter.getStrArrayAttr({"sigmoid", "tanh"}), FloatAttr(),
                           first.resetProduct ? rewriter.getUnitAttr() : UnitAttr());
  passedRemark(loc, kRaisePass, "raised") << remark::add("{0}", op->getName().getStringRef().str())
                                          << remark::metric("Steps", (int64_t)chain.size());
  Value lastState = withoutDims(op->getResult(1), {0}, loc);
  if (chain.size() > 1) {
    Value sequence = withoutDims(op->getResult(0), {1}, loc);
    replaceStack(chain, sequence, reversed, loc);
    rewriter.setInsertionPointAfterValue(sequence);
    for (auto [i, cell] : llvm::enumerate(ArrayRef(chain).drop_back()))
      rewriter.replaceAllUsesWith(cell->newState, step(sequence, reversed ? chain.size() - 1 - i : i, loc));
  }
  rewriter.replaceAllUsesWith(last.newState, lastState);
  if (first.isLSTM) {
    rewriter.setInsertionPointAfter(op);
    rewriter.replaceAllUsesWith(last.newMemory, withoutDims(op->getResult(2), {0}, loc));
  }
  // The cells use each other.
  eraseDeadOps(func, rewriter);
}

} // namespace

void raiseRecurrent(func::FuncOp func, FuncShapes &shapes) {
  IRRewriter rewriter(func.getContext(), &shapes);
  Raiser raiser(func, shapes, rewriter);
  while (raiser.raiseNext())
    ;
  raiseRecurrentLoops(func, shapes);
}

} // namespace nnopt

//===- PackTokens.cpp - no work for padding --------------------------------===//
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/SetVector.h"
#include "passes/Passes.h"
#include "passes/common/Through.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_PACKTOKENS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "pack-tokens";

class Packer {
public:
  Packer(func::FuncOp func, Value mask, FuncShapes &shapes, IRRewriter &rewriter)
      : func(func), mask(mask), shapes(shapes), rewriter(rewriter), batch(shapes.dims(mask)[0]), sequence(shapes.dims(mask)[1]) {}

  /// Packs operations of the function. Returns how many.
  int64_t run();

private:
  bool hasTokens(Value v) { return rankOf(v) >= 2 && shapes.dims(v)[0] == batch && shapes.dims(v)[1] == sequence; }
  struct Rows {
    SmallVector<unsigned> operands;
    bool isAll = false; // the other operands are the same for all tokens
  };
  Rows rowsOf(Operation *op);
  void findTokens();
  void dropWithoutProducts();
  Value rowNumbers(Location loc);
  Value shapeBehind(Value first, Value v, Location loc);
  Value pack(Value v, Location loc);
  Value unpack(Value packed, Location loc);

  func::FuncOp func;
  Value mask;
  FuncShapes &shapes;
  IRRewriter &rewriter;
  nn::Dim batch, sequence;
  llvm::MapVector<Operation *, SmallVector<unsigned>> found; // operations on tokens, and operands that have them
  DenseMap<Value, Value> packed;
  Value rows; // of real tokens, in batch * sequence
};

/// What operands have rows of tokens, of which each row of the result needs the same one.
Packer::Rows Packer::rowsOf(Operation *op) {
  Rows result;
  if (op->getNumResults() != 1 || !isa<RankedTensorType>(op->getResult(0).getType()) || !hasTokens(op->getResult(0)) ||
      op->getBlock() != &func.getBody().front())
    return result;
  // Whatever the other operands are: an embedding of positions may have one row for each that the model knows.
  if (isElementwise(op))
    for (OpOperand &operand : op->getOpOperands())
      if (rankOf(operand.get()) == rankOf(op->getResult(0)) && hasTokens(operand.get()))
        result.operands.push_back(operand.getOperandNumber());
  Positions one;
  Through inBatch = throughOf(op, one, shapes);
  one.axis = 1;
  Through inSequence = throughOf(op, one, shapes);
  if (!inBatch.why.empty() || !inSequence.why.empty() || inBatch.isReshape || inSequence.isReshape || inSequence.fromEnd)
    return result;
  result.operands.clear();
  for (auto [i, axis] : inBatch.operands)
    if (axis == 0 && llvm::is_contained(inSequence.operands, std::pair(i, int64_t(1))) && hasTokens(op->getOperand(i)))
      result.operands.push_back(i);
  result.isAll = result.operands.size() == inBatch.operands.size() && result.operands.size() == inSequence.operands.size();
  return result;
}

/// From the inputs on, and back from what tokens are combined with, until nothing is added.
void Packer::findTokens() {
  DenseSet<Value> tokens;
  for (Value argument : func.getArguments())
    if (argument != mask && isa<RankedTensorType>(argument.getType()) && hasTokens(argument))
      tokens.insert(argument);
  llvm::MapVector<Operation *, Rows> possible;
  func.walk([&](Operation *op) {
    if (Rows rows = rowsOf(op); !rows.operands.empty())
      possible[op] = rows;
  });
  for (bool changed = true; changed;) {
    changed = false;
    for (auto &[op, rows] : possible) {
      auto isToken = [&](unsigned i) { return tokens.contains(op->getOperand(i)); };
      if (!tokens.contains(op->getResult(0)) && llvm::none_of(rows.operands, isToken))
        continue;
      changed |= tokens.insert(op->getResult(0)).second;
      for (unsigned i : rows.operands)
        changed |= op->getOperand(i) != mask && tokens.insert(op->getOperand(i)).second;
    }
  }
  for (auto &[op, rows] : possible)
    if (rows.isAll && tokens.contains(op->getResult(0)))
      found[op] = rows.operands;
}

/// Connected operations stay together: all of them, or none where no product is among them.
void Packer::dropWithoutProducts() {
  llvm::EquivalenceClasses<Operation *> groups;
  for (auto &[op, numbers] : found) {
    groups.insert(op);
    for (unsigned i : numbers)
      if (Operation *producer = op->getOperand(i).getDefiningOp(); producer && found.contains(producer))
        groups.unionSets(op, producer);
  }
  DenseSet<Operation *> products; // leaders of groups with one
  for (auto &[op, numbers] : found)
    if (isa<nn::LinearOp>(op))
      products.insert(groups.getLeaderValue(op));
  found.remove_if([&](auto &entry) { return !products.contains(groups.getLeaderValue(entry.first)); });
}

/// Numbers of the rows of real tokens, made at the beginning of the function.
Value Packer::rowNumbers(Location loc) {
  if (rows)
    return rows;
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToStart(&func.getBody().front());
  Value all = makeIntsOp(rewriter, loc, {-1});
  Type i64 = rewriter.getI64Type();
  Value flat = nn::ReshapeOp::create(rewriter, loc, untyped(elementTypeOf(mask)), mask, all, /*allow_zero=*/false);
  Value numbers = nn::NonZeroOp::create(rewriter, loc, untyped(i64), flat);
  rows = nn::ReshapeOp::create(rewriter, loc, untyped(i64), numbers, all, /*allow_zero=*/false);
  return rows;
}

/// A shape: dimensions `first`, then those of v behind its first two.
Value Packer::shapeBehind(Value first, Value v, Location loc) {
  if (rankOf(v) == 2)
    return first;
  Type i64 = rewriter.getI64Type();
  Value rest = nn::ShapeOp::create(rewriter, loc, untyped(i64), v, /*start=*/2, /*end=*/IntegerAttr());
  return nn::ConcatOp::create(rewriter, loc, untyped(i64), ValueRange{first, rest}, /*axis=*/0);
}

/// [batch, sequence, ...] to [1, tokens, ...].
Value Packer::pack(Value v, Location loc) {
  Value &result = packed[v];
  if (result)
    return result;
  Value numbers = rowNumbers(loc);
  Type type = untyped(elementTypeOf(v));
  Value flat = nn::ReshapeOp::create(rewriter, loc, type, v, shapeBehind(makeIntsOp(rewriter, loc, {-1}), v, loc),
                                     /*allow_zero=*/false);
  Value taken = nn::GatherOp::create(rewriter, loc, type, flat, numbers, /*axis=*/0);
  return result = nn::UnsqueezeOp::create(rewriter, loc, type, taken, rewriter.getDenseI64ArrayAttr({0}));
}

/// And back, with zeros in the other rows.
Value Packer::unpack(Value packed, Location loc) {
  Type element = elementTypeOf(packed), i64 = rewriter.getI64Type(), type = untyped(element);
  Value sizes = nn::ShapeOp::create(rewriter, loc, untyped(i64), mask, /*start=*/0, /*end=*/IntegerAttr());
  Value count = nn::ReshapeOp::create(rewriter, loc, untyped(i64),
                                      nn::SizeOp::create(rewriter, loc, untyped(i64), mask).getResult(),
                                      makeIntsOp(rewriter, loc, {1}), /*allow_zero=*/false);
  auto zero = DenseElementsAttr::get(RankedTensorType::get({1}, element), rewriter.getZeroAttr(element));
  Value zeros = nn::ConstantOfShapeOp::create(rewriter, loc, type, shapeBehind(count, packed, loc), zero);
  Value updates = nn::SqueezeOp::create(rewriter, loc, type, packed, rewriter.getDenseI64ArrayAttr({0}));
  Value indices = nn::UnsqueezeOp::create(rewriter, loc, untyped(i64), rowNumbers(loc), rewriter.getDenseI64ArrayAttr({1}));
  Value put = nn::ScatterNDOp::create(rewriter, loc, type, zeros, indices, updates, nn::ScatterReduction::none);
  return nn::ReshapeOp::create(rewriter, loc, type, put, shapeBehind(sizes, packed, loc), /*allow_zero=*/false);
}

int64_t Packer::run() {
  findTokens();
  dropWithoutProducts();
  for (auto &[op, numbers] : found) {
    rewriter.setInsertionPoint(op);
    SmallVector<Value> operands(op->getOperands());
    for (unsigned i : numbers)
      operands[i] = pack(operands[i], op->getLoc());
    Operation *small = op->clone();
    small->setOperands(operands);
    rewriter.insert(small);
    packed[op->getResult(0)] = small->getResult(0);
    passedRemark(op->getLoc(), kPass, "packed") << remark::add("{0}", op->getName().getStringRef());
    auto isOutside = [&](OpOperand &use) {
      auto it = found.find(use.getOwner());
      return it == found.end() || !llvm::is_contained(it->second, use.getOperandNumber());
    };
    if (llvm::any_of(op->getResult(0).getUses(), isOutside)) {
      Value whole = unpack(small->getResult(0), op->getLoc());
      rewriter.replaceUsesWithIf(op->getResult(0), whole, isOutside);
    }
  }
  return int64_t(found.size());
}

struct PackTokensPass : impl::PackTokensBase<PackTokensPass> {
  using PackTokensBase::PackTokensBase;

  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (mask.empty())
      return;
    Value input;
    std::string names;
    for (auto [i, argument] : llvm::enumerate(func.getArguments())) {
      auto name = func.getArgAttrOfType<StringAttr>(i, "nn.name");
      if (name && name.getValue() == mask)
        input = argument;
      if (name)
        names += (names.empty() ? "" : ", ") + name.str();
    }
    auto fail = [&](const Twine &why) {
      func.emitError() << "the mask '" << mask << "' " << why;
      return signalPassFailure();
    };
    if (!input)
      return fail("is no input; inputs are: " + names);
    FuncShapes shapes(func);
    if (failed(shapes.infer()))
      return signalPassFailure();
    Type element = elementTypeOf(input);
    if (!isa<RankedTensorType>(input.getType()) || rankOf(input) != 2 || !element.isIntOrFloat())
      return fail("has to be numbers [batch, sequence]");
    IRRewriter rewriter(&getContext(), &shapes);
    int64_t count = Packer(func, input, shapes, rewriter).run();
    numPacked += count;
    if (!count)
      func.emitWarning() << "no matrix product is done token by token on inputs [batch, sequence] as '" << mask
                         << "': nothing is skipped";
    eraseDeadOps(func, rewriter);
    nn::refineFunctionType(cast<FunctionOpInterface>(func.getOperation()));
  }
};

} // namespace
} // namespace nnopt

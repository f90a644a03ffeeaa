//===- TokenStream.cpp - what follows merged tokens, on fewer of them -------===//

#include "lib/compress/tokens/TokenStream.h"
#include "lib/compress/tokens/SoftMatching.h"

using namespace mlir;

namespace nnopt::compress {

/// Merges the tokens that stand for the sum's result, or all that it has.
std::string TokenStream::merge(Merge merge) {
  Value sum = merge.add.getResult(), keys = merge.keys, x = sum, size, before;
  int64_t tokens = shapeOf(sum)[1];
  if (auto it = fewer.find(sum); it != fewer.end()) {
    const Level &level = levels[it->second.level];
    auto keysAt = fewer.find(keys);
    if (keysAt == fewer.end() || keysAt->second.level != it->second.level)
      return "its attention and its sum are of different tokens";
    keys = keysAt->second.value;
    x = it->second.value;
    size = level.size;
    before = level.place;
    tokens = level.tokens;
  } else if (fewer.contains(keys)) {
    return "its attention and its sum are of different tokens";
  }
  if (merge.count > mostToMerge(tokens))
    return "of " + std::to_string(tokens) + " tokens at most " + std::to_string(mostToMerge(tokens)) + " can be merged";
  llvm::SmallPtrSet<Operation *, 8> readers(sum.user_begin(), sum.user_end());
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointAfterValue(x);
  Location loc = merge.add.getLoc();
  Value metric = nn::ReduceOp::create(rewriter, loc, untyped(elementTypeOf(keys)), keys, Value(),
                                      nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::mean),
                                      rewriter.getDenseI64ArrayAttr({1}), rewriter.getBoolAttr(false));
  MergedTokens merged = mergeTokens(rewriter, loc, x, metric, size, merge.count);
  Value place = merged.place;
  if (before)
    place = nn::GatherNDOp::create(rewriter, loc, untyped(rewriter.getI64Type()), place, before, rewriter.getI64IntegerAttr(1));
  for (Operation *user : sum.getUsers()) // what merges all tokens
    if (!readers.contains(user))
      done.insert(user);
  levels.push_back({merged.size, place, Value(), tokens - merge.count, false});
  fewer[sum] = {merged.tokens, 1, unsigned(levels.size() - 1)};
  return "";
}

/// Whether index i of one goes with index i of the other.
static bool isOneToOne(const nn::AxisTies &ties, const nn::AxisTies::Tie &tie) {
  return ties.size(tie.b) == int64_t(tie.indices.size()) &&
         llvm::all_of(llvm::enumerate(tie.indices), [](auto pair) { return int64_t(pair.index()) == pair.value(); });
}

/// Whether the tokens of `op`'s operands, all of `level`, pass through it one by one. `resultAxes`: where they are in its results.
bool TokenStream::passesThrough(Operation *op, const nn::AxisTies &ties, unsigned level, SmallVector<int64_t> &resultAxes) {
  SmallVector<nn::Axis> tokens; // tied to each other
  for (OpOperand &operand : op->getOpOperands())
    if (auto it = fewer.find(operand.get()); it != fewer.end()) {
      if (it->second.level != level)
        return false;
      tokens.push_back(nn::AxisTies::operand(operand.getOperandNumber(), it->second.axis));
    }
  for (size_t i = 0; i < tokens.size(); ++i) {
    bool isKnown = false;
    for (const nn::AxisTies::Tie &tie : ties.ties) {
      if (!(tie.a == tokens[i]) && !(tie.b == tokens[i]))
        continue;
      if (!isOneToOne(ties, tie))
        return false;
      isKnown = true;
      nn::Axis other = tie.a == tokens[i] ? tie.b : tie.a;
      if (!llvm::is_contained(tokens, other))
        tokens.push_back(other);
    }
    auto is = [&](const nn::Axis &axis) { return axis == tokens[i]; };
    if (!isKnown || llvm::any_of(ties.measured, is) ||
        llvm::any_of(ties.contractions, [&](const auto &pair) { return is(pair.first) || is(pair.second); }) ||
        llvm::any_of(ties.products, [&](const auto &p) { return is(p.whole) || llvm::any_of(p.factors, is); }))
      return false;
  }
  resultAxes.assign(op->getNumResults(), -1);
  for (const nn::Axis &axis : tokens) {
    if (axis.of == nn::Axis::Of::Own)
      return false;
    if (axis.of == nn::Axis::Of::Result) {
      if (std::exchange(resultAxes[axis.number], axis.dim) >= 0)
        return false;
      continue;
    }
    auto it = fewer.find(op->getOperand(axis.number));
    if (it == fewer.end() || it->second.axis != axis.dim) // it has all tokens
      return false;
  }
  return !llvm::is_contained(resultAxes, -1);
}

Value TokenStream::maskOf(unsigned level, Location loc) {
  Level &l = levels[level];
  if (!l.mask) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfterValue(l.size);
    Type type = elementTypeOf(l.size);
    Value log = nn::LogOp::create(rewriter, loc, untyped(type), l.size);
    l.mask = nn::ReshapeOp::create(rewriter, loc, untyped(type), log, makeIntsOp(rewriter, loc, {0, 1, 1, l.tokens}), UnitAttr());
  }
  return l.mask;
}

/// Queries pass through; keys count as often as the tokens that they stand for.
bool TokenStream::followAttention(nn::AttentionOp op) {
  auto q = fewer.find(op.getQ()), k = fewer.find(op.getK()), v = fewer.find(op.getV()), end = fewer.end();
  if (op.getCausal() || op.getMask() || (k == end) != (v == end) ||
      (k != end && (k->second.axis != 2 || v->second.axis != 2 || k->second.level != v->second.level)) || (q != end && q->second.axis != 2))
    return false;
  rewriter.setInsertionPoint(op);
  auto of = [&](auto it, Value all) { return it == end ? all : it->second.value; };
  SmallVector<Value> operands = {of(q, op.getQ()), of(k, op.getK()), of(v, op.getV())};
  if (k != end)
    operands.push_back(maskOf(k->second.level, op.getLoc()));
  auto again = nn::AttentionOp::create(rewriter, op.getLoc(), TypeRange{untyped(elementTypeOf(op.getResult()))}, operands, op->getAttrs());
  if (q != end)
    fewer[op.getResult()] = {again.getResult(), 2, q->second.level};
  else
    rewriter.replaceAllUsesWith(op.getResult(), again.getResult());
  done.insert(op);
  return true;
}

/// Does an operation again on the tokens that are left, where it reads such.
bool TokenStream::follow(Operation *op) {
  if (auto attention = dyn_cast<nn::AttentionOp>(op))
    return followAttention(attention);
  auto first = llvm::find_if(op->getOperands(), [&](Value v) { return fewer.contains(v); });
  unsigned level = fewer.find(*first)->second.level;
  auto dependency = dyn_cast<nn::AxisDependency>(op);
  nn::AxisTies ties(op, shapes.ctx);
  if (dependency)
    dependency.tieAxes(ties);
  SmallVector<int64_t> resultAxes;
  if (!passesThrough(op, ties, level, resultAxes))
    return false;
  // Sizes in operands and attributes are adapted while types are those of all tokens.
  Operation *again = op->clone();
  rewriter.setInsertionPoint(op);
  cast<nn::AxisDependency>(again).narrow(rewriter, [&](nn::Axis axis) {
    auto isTokens = [&] {
      if (axis.of == nn::Axis::Of::Result)
        return resultAxes[axis.number] == axis.dim;
      auto it = axis.of == nn::Axis::Of::Operand ? fewer.find(op->getOperand(axis.number)) : fewer.end();
      return it != fewer.end() && it->second.axis == axis.dim;
    };
    return llvm::to_vector(llvm::seq<int64_t>(0, isTokens() ? levels[level].tokens : ties.size(axis)));
  });
  for (OpOperand &operand : again->getOpOperands())
    if (auto it = fewer.find(operand.get()); it != fewer.end())
      operand.set(it->second.value);
  rewriter.insert(again);
  for (auto [result, axis] : llvm::enumerate(resultAxes))
    fewer[op->getResult(result)] = {again->getResult(result), axis, level};
  done.insert(op);
  levels[level].computes |= isa<nn::LinearOp>(op);
  return true;
}

/// Gives all tokens to whatever still reads a value that has fewer now.
std::string TokenStream::giveBack() {
  for (auto &[v, less] : fewer) {
    auto isLeft = [&](OpOperand &use) {
      Operation *owner = main.getBody().findAncestorOpInRegion(*use.getOwner());
      return !done.contains(owner);
    };
    Value given;
    for (OpOperand &use : llvm::make_early_inc_range(v.getUses())) {
      if (!isLeft(use))
        continue;
      if (less.axis != 1 || rankOf(v) != 3)
        return "'" + use.getOwner()->getName().getStringRef().str() + "' needs all tokens of a value that is not [batch, tokens, width]";
      if (!given) {
        rewriter.setInsertionPointAfterValue(less.value);
        given = nn::GatherNDOp::create(rewriter, v.getLoc(), untyped(elementTypeOf(v)), less.value, levels[less.level].place,
                                       rewriter.getI64IntegerAttr(1));
      }
      rewriter.modifyOpInPlace(use.getOwner(), [&] { use.set(given); });
    }
  }
  return "";
}

std::string TokenStream::run(ArrayRef<Merge> merges) {
  SmallVector<Operation *> ops;
  for (Operation &op : main.getBody().front())
    ops.push_back(&op);
  for (Operation *op : ops) {
    if (llvm::any_of(op->getOperands(), [&](Value v) { return fewer.contains(v); }))
      follow(op);
    if (auto it = llvm::find_if(merges, [&](Merge m) { return m.add.getOperation() == op; }); it != merges.end())
      if (std::string why = merge(*it); !why.empty())
        return why;
  }
  if (llvm::any_of(levels, [](const Level &level) { return !level.computes; }))
    return "no layer behind it treats each token by itself";
  std::string why = giveBack();
  eraseDeadOps(main, rewriter);
  return why;
}

} // namespace nnopt::compress

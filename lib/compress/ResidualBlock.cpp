//===- ResidualBlock.cpp - x + f(x) -----------------------------------------===//

#include "lib/compress/ResidualBlock.h"
#include "llvm/ADT/SetVector.h"
#include <cmath>

using namespace mlir;

namespace nnopt::compress {

/// Operations that `from` is computed by without going beyond `end`, and whether they read `end`.
static bool collect(Value from, Value end, llvm::SetVector<Operation *> &ops) {
  SmallVector<Value> work = {from};
  bool reads = false;
  while (!work.empty()) {
    Value v = work.pop_back_val();
    if (v == end) {
      reads = true;
      continue;
    }
    Operation *op = v.getDefiningOp();
    // What comes before the end cannot read it.
    if (!op || isConstant(v) || (end.getDefiningOp() && op->isBeforeInBlock(end.getDefiningOp())) || !ops.insert(op))
      continue;
    work.append(op->operand_begin(), op->operand_end());
  }
  return reads;
}

std::optional<ResidualBlock> ResidualBlock::endingAt(nn::AddOp add) {
  if (add.getLhs().getType() != add.getRhs().getType() || !elementTypeOf(add.getResult()).isF32())
    return std::nullopt;
  for (auto [skip, branch] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
    llvm::SetVector<Operation *> ops;
    if (skip == branch || isConstant(skip) || !collect(branch, skip, ops))
      continue;
    // A sum inside a longer expression (x + relu(x)) is no block: there is nothing to save.
    if (llvm::none_of(ops, [](Operation *op) { return isa<nn::LinearOp>(op); }))
      continue;
    ResidualBlock block{skip, branch, {ops.begin(), ops.end()}, {}};
    llvm::sort(block.all, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    llvm::SmallPtrSet<Operation *, 16> needed;
    for (Operation *op : llvm::reverse(block.all))
      if (llvm::all_of(op->getUsers(), [&](Operation *user) { return user == add || needed.contains(user); }))
        needed.insert(op);
    llvm::copy_if(block.all, std::back_inserter(block.inside), [&](Operation *op) { return needed.contains(op); });
    return block;
  }
  return std::nullopt;
}

double influenceOf(const Matrix &x, const Matrix &y) {
  double sizes = std::sqrt(x.cast<double>().squaredNorm() * y.cast<double>().squaredNorm());
  return 1 - (sizes > 0 ? x.cast<double>().cwiseProduct(y.cast<double>()).sum() / sizes : 0);
}

} // namespace nnopt::compress

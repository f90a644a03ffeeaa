//===- GraphCuts.cpp - where a graph falls into two -------------------------===//

#include "lib/compress/GraphCuts.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nnopt::compress {

GraphCuts::GraphCuts(func::FuncOp main, size_t resultCount) : block(main.getBody().front()), resultCount(resultCount) {
  for (Operation &op : block) {
    place[&op] = int64_t(ops.size());
    ops.push_back(&op);
  }
}

int64_t GraphCuts::placeOf(Operation *op) const { return place.lookup(block.findAncestorOpInBlock(*op)); }

/// The place of the last operation that reads a value.
int64_t GraphCuts::lastReader(Value v) const {
  int64_t last = -1;
  for (OpOperand &use : v.getUses())
    if (use.getOwner() != ops.back() || use.getOperandNumber() < resultCount)
      last = std::max(last, placeOf(use.getOwner()));
  return last;
}

std::vector<GraphCuts::Cut> GraphCuts::all(ArrayRef<std::pair<int64_t, int64_t>> spans) const {
  llvm::BitVector depends(ops.size());
  for (auto [first, last] : spans)
    if (first <= last)
      depends.set(first, last + 1);
  for (auto [i, op] : llvm::enumerate(ops))
    op->walk([&](Operation *inner) {
      for (Value v : inner->getOperands())
        if (Operation *from = v.getDefiningOp(); from && depends[placeOf(from)])
          depends.set(i);
    });
  std::vector<Cut> cuts;
  std::vector<SmallVector<Value>> ending(ops.size()); // values, by their last reader
  llvm::SetVector<Value> passing;
  for (auto [i, op] : llvm::enumerate(ops)) {
    for (Value v : ending[i])
      passing.remove(v);
    for (Value v : op->getResults())
      if (int64_t last = lastReader(v); depends[i] && last > int64_t(i)) {
        passing.insert(v);
        ending[last].push_back(v);
      }
    if (passing.size() == 1 && isa<RankedTensorType>(passing[0].getType()))
      cuts.push_back({op, passing[0]});
  }
  return cuts;
}

std::vector<GraphCuts::Cut> GraphCuts::between(std::vector<std::pair<int64_t, int64_t>> spans) const {
  llvm::sort(spans);
  std::vector<Cut> possible = all(spans), cuts;
  auto it = possible.begin();
  int64_t end = -1; // of the spans so far
  for (auto [first, last] : spans) {
    std::optional<Cut> latest;
    for (; it != possible.end() && placeOf(it->before) < first; ++it)
      if (end >= 0 && placeOf(it->before) >= end)
        latest = *it;
    if (latest)
      cuts.push_back(*latest);
    end = std::max(end, last);
  }
  return cuts;
}

} // namespace nnopt::compress

//===- MergeConstants.cpp - constants of equal content --------------------===//
#include "passes/Passes.h"
#include "dialects/nn/DropPages.h"
#include "passes/common/Rewrite.h"

#include "llvm/Support/xxhash.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_MERGECONSTANTS
#include "passes/Passes.h.inc"

namespace {

constexpr StringLiteral kPass = "merge-constants";

/// A cheap key first: whole tensors are hashed only where their types and first bytes agree.
constexpr size_t prefixBytes = 256;

struct MergeConstantsPass : impl::MergeConstantsBase<MergeConstantsPass> {
  void runOnOperation() override {
    func::FuncOp func = getOperation();
    if (func.isDeclaration())
      return;
    DenseMap<std::pair<Type, uint64_t>, SmallVector<nn::ConstantOp>> byPrefix;
    SmallVector<std::pair<Type, uint64_t>> order;
    func.walk([&](nn::ConstantOp op) {
      auto data = nn::ConstantData::get(op.getValue());
      if (!data)
        return;
      ArrayRef<char> bytes = data->bytes().take_front(prefixBytes);
      std::pair<Type, uint64_t> key{op.getType(), llvm::xxh3_64bits(StringRef(bytes.data(), bytes.size()))};
      auto &list = byPrefix[key];
      if (list.empty())
        order.push_back(key);
      list.push_back(op);
    });
    for (auto key : order)
      if (byPrefix[key].size() > 1)
        merge(byPrefix[key]);
  }

  void merge(ArrayRef<nn::ConstantOp> candidates) {
    DenseMap<uint64_t, SmallVector<nn::ConstantOp>> kept;
    Block &entry = getOperation().getBody().front();
    for (nn::ConstantOp op : candidates) {
      auto data = nn::ConstantData::get(op.getValue());
      auto &same = kept[llvm::xxh3_64bits(StringRef(data->bytes().data(), data->bytes().size()))];
      auto equal = llvm::find_if(same, [&](nn::ConstantOp other) {
        return nn::ConstantData::get(other.getValue())->bytes() == data->bytes();
      });
      nn::dropPages(data->bytes());
      if (equal == same.end()) {
        same.push_back(op);
        continue;
      }
      // At the front it dominates every use.
      (*equal)->moveBefore(&entry, entry.begin());
      Location loc = fusedLoc({*equal, op});
      (*equal)->setLoc(loc);
      op.getResult().replaceAllUsesWith(equal->getResult());
      op.erase();
      passedRemark(loc, kPass, "merged") << remark::metric("Bytes", (int64_t)data->bytes().size());
      ++numMerged;
    }
  }
};

} // namespace
} // namespace nnopt

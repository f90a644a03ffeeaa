//===- FuseElementwise.cpp - elementwise operations into nn.map -----------===//
#include "dialects/nn/NarrowWeights.h"
#include "passes/Passes.h"
#include "passes/common/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fuse-elementwise";

class Fuser {
public:
  Fuser(FuncShapes &shapes, IRRewriter &rewriter, unsigned maxInputs)
      : shapes(shapes), rewriter(rewriter), maxInputs(maxInputs) {}

  /// Grows a cluster that ends in `root` and fuses it; returns the number of operations fused.
  int64_t run(Operation *root);

private:
  bool canBeScalar(Value v);
  bool isCheap(Operation *op);
  bool fits(Operation *producer);
  void collectInputs(SmallVectorImpl<Value> &inputs, SmallVectorImpl<Value> &shapeLike);
  void grow(Operation *root);
  void fuse(Operation *root);

  FuncShapes &shapes;
  IRRewriter &rewriter;
  unsigned maxInputs;
  /// In reverse program order: users before producers.
  SmallVector<Operation *> ops;
  DenseSet<Operation *> members;
};

/// Whether a one-element constant can be written into the scalar body.
bool Fuser::canBeScalar(Value v) {
  return isConstant(v) && shapes.isOneElement(v) &&
         isa<Float32Type, Float64Type, Float16Type, BFloat16Type, IntegerType>(elementTypeOf(v));
}

/// Cheap to compute again for each of several users: a few instructions on one operand that is read
/// instead of the result.
bool Fuser::isCheap(Operation *op) {
  return (isa<nn::CastOp, nn::NegOp, nn::LogicalNotOp>(op) || isDequantizationByNumbers(op)) &&
         nn::elementBytes(elementTypeOf(op->getOperand(0))) <=
             nn::elementBytes(elementTypeOf(op->getResult(0)));
}

bool Fuser::fits(Operation *producer) {
  Operation *root = ops.front();
  if (!isElementwise(producer) || producer->getNumResults() != 1 ||
      producer->getBlock() != root->getBlock() || nn::NarrowWeights::isByteRows(producer) ||
      !shapes.sameDims(producer->getResult(0), root->getResult(0)))
    return false;
  bool onlyInside =
      llvm::all_of(producer->getUsers(), [&](Operation *user) { return members.contains(user); });
  return onlyInside || isCheap(producer);
}

/// What the cluster reads. `shapeLike`: operands of maps that only take part in the shape.
void Fuser::collectInputs(SmallVectorImpl<Value> &inputs, SmallVectorImpl<Value> &shapeLike) {
  for (Operation *op : llvm::reverse(ops))
    for (OpOperand &operand : op->getOpOperands()) {
      Value v = operand.get();
      if (members.contains(v.getDefiningOp()))
        continue;
      auto map = dyn_cast<nn::MapOp>(op);
      bool isShapeLike = map && operand.getOperandNumber() >= map.getInputs().size();
      auto &list = isShapeLike ? shapeLike : inputs;
      if ((isShapeLike || !canBeScalar(v)) && !llvm::is_contained(list, v))
        list.push_back(v);
    }
}

/// Adds producers while the cluster reads no more than maxInputs tensors. Producers that come last
/// in program order are tried first, so that their users have been decided.
void Fuser::grow(Operation *root) {
  ops = {root};
  members.clear();
  members.insert(root);
  DenseSet<Operation *> refused;
  while (true) {
    Operation *best = nullptr;
    for (Operation *op : ops)
      for (Value v : op->getOperands()) {
        Operation *producer = v.getDefiningOp();
        if (producer && !members.contains(producer) && !refused.contains(producer) &&
            isElementwise(producer) && producer->getBlock() == root->getBlock() &&
            (!best || best->isBeforeInBlock(producer)))
          best = producer;
      }
    if (!best)
      return;
    if (!fits(best)) {
      refused.insert(best);
      continue;
    }
    ops.push_back(best);
    members.insert(best);
    SmallVector<Value> inputs, shapeLike;
    collectInputs(inputs, shapeLike);
    if (inputs.size() > maxInputs) {
      ops.pop_back();
      members.erase(best);
      refused.insert(best);
    }
  }
}

void Fuser::fuse(Operation *root) {
  SmallVector<Value> inputs, shapeLike;
  collectInputs(inputs, shapeLike);
  // Operands that became scalars may have given the result its rank.
  nn::Dims dims;
  for (Value v : inputs)
    if (auto both = nn::broadcastDims(shapes.ctx, dims, shapes.dims(v)))
      dims = *both;
  if (ArrayRef<nn::Dim>(dims) != shapes.dims(root->getResult(0)))
    for (Operation *op : ops)
      for (Value v : op->getOperands())
        if (canBeScalar(v) && !llvm::is_contained(shapeLike, v))
          shapeLike.push_back(v);

  Location loc = fusedLoc(SmallVector<Operation *>(llvm::reverse(ops)));
  rewriter.setInsertionPoint(root);
  auto map = nn::MapOp::create(rewriter, loc, TypeRange(root->getResultTypes()), inputs, shapeLike);
  Block *block = rewriter.createBlock(&map.getBody());
  DenseMap<Value, Value> scalars;
  for (Value v : inputs)
    scalars[v] = block->addArgument(scalarTypeOf(v), v.getLoc());
  rewriter.setInsertionPointToStart(block);
  for (Operation *op : llvm::reverse(ops)) {
    SmallVector<Value> args;
    for (Value v : op->getOperands()) {
      Value scalar = scalars.lookup(v);
      // shape_like operands have no scalar; emitScalar does not look at them.
      if (!scalar && canBeScalar(v))
        scalar = scalars[v] = emitScalarConstant(rewriter, op->getLoc(), v);
      args.push_back(scalar);
    }
    scalars[op->getResult(0)] = emitScalar(rewriter, op, args).front();
  }
  nn::YieldOp::create(rewriter, loc, scalars[root->getResult(0)]);
  rewriter.replaceOp(root, map->getResults());
  for (Operation *op : ArrayRef<Operation *>(ops).drop_front())
    if (op->use_empty())
      rewriter.eraseOp(op);
  passedRemark(loc, kPass, "fused") << remark::metric("Operations", (int64_t)ops.size())
                                    << remark::metric("Inputs", (int64_t)inputs.size());
}

int64_t Fuser::run(Operation *root) {
  if (root->getNumResults() != 1)
    return 0;
  grow(root);
  SmallVector<Value> inputs, shapeLike;
  collectInputs(inputs, shapeLike);
  if (ops.size() < 2 || inputs.empty())
    return 0;
  fuse(root);
  return ops.size();
}

struct FuseElementwisePass : impl::FuseElementwiseBase<FuseElementwisePass> {
  using FuseElementwiseBase::FuseElementwiseBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    // Shape arithmetic is computed on sizes, not by kernels.
    auto isRoot = [&](Operation *op) {
      return isElementwise(op) && op->getNumResults() == 1 && !shapes.ctx.content(op->getResult(0)) &&
             !nn::NarrowWeights::isByteRows(op); // which a product reads as they are
    };
    SmallVector<Block *> blocks;
    blocks.push_back(&getOperation().getBody().front());
    getOperation().walk([&](Operation *op) {
      if (isa<nn::IfOp, nn::LoopOp>(op))
        for (Region &region : op->getRegions())
          blocks.push_back(&region.front());
    });
    Fuser fuser(shapes, rewriter, maxInputs);
    for (Block *block : blocks) {
      // From the end, so that the last operation of a chain is the root.
      for (Operation *op = block->empty() ? nullptr : &block->back(); op;) {
        Operation *after = op->getNextNode();
        int64_t count = isRoot(op) ? fuser.run(op) : 0;
        if (count) {
          numFused += count;
          ++numMaps;
          // The map stands where op was, before `after`; go on before it.
          op = after ? after->getPrevNode() : &block->back();
        }
        op = op->getPrevNode();
      }
    }
  }
};

} // namespace
} // namespace nnopt

//===- FuseEpilogue.cpp - elementwise operations into contractions --------===//
#include "passes/Passes.h"
#include "passes/common/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_FUSEEPILOGUE
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "fuse-epilogue";

/// Elementwise operations that may move into one contraction, in program order.
struct Cluster {
  nn::LinearOp root;
  SmallVector<Operation *> ops;
  DenseSet<Value> inside;
  SmallVector<Value> extras;
  /// A value before the last one that is used outside too, or null: the second result.
  Value inner;
  /// Why the first operation that was looked at and did not fit did not.
  std::string why;
};

class Fuser {
public:
  Fuser(FuncShapes &shapes, IRRewriter &rewriter, unsigned maxArgs, unsigned maxOps)
      : shapes(shapes), rewriter(rewriter), maxArgs(maxArgs), maxOps(maxOps) {}

  /// Number of operations fused into `root`.
  int64_t run(nn::LinearOp root);

private:
  std::string whyNotExtra(Cluster &cluster, Value v, bool isDequantized);
  std::string whyNotAbsorb(Cluster &cluster, Operation *op);
  void grow(Cluster &cluster);
  std::string whyNotLeave(Cluster &cluster);
  void shrink(Cluster &cluster);
  void fuse(Cluster &cluster);

  FuncShapes &shapes;
  IRRewriter &rewriter;
  unsigned maxArgs, maxOps;
};

/// Whether the contraction accumulates integers of 8 bits and less in i32. What follows (scales,
/// rounding) changes the type; the epilogue ends in that of the result.
bool isQuantized(Operation *root) {
  Type operand = elementTypeOf(root->getOperand(0));
  return isa<IntegerType>(operand) && operand.getIntOrFloatBitWidth() <= 8 &&
         elementTypeOf(root->getResult(0)).isSignlessInteger(32);
}

/// Whether the contraction multiplies bf16 and returns f32; a rounding of that to bf16 may end its epilogue.
bool isNarrow(Operation *root) {
  return elementTypeOf(root->getOperand(0)).isBF16() && elementTypeOf(root->getResult(0)).isF32();
}

/// What is read to have `v` in an epilogue: integers, where they are dequantized by numbers, else `v` itself.
Value readFor(Value v) {
  return isDequantizationByNumbers(v.getDefiningOp()) ? v.getDefiningOp()->getOperand(0) : v;
}

/// Whether the last dimension of the contraction's result is its channels.
bool channelsAreLast(nn::LinearOp root) {
  return root.getOutChannelAxis() == rankOf(root->getResult(0)) - 1;
}

std::string Fuser::whyNotExtra(Cluster &cluster, Value v, bool isDequantized) {
  Value result = cluster.root->getResult(0);
  Type type = elementTypeOf(v);
  bool mayDiffer = isDequantized || (isQuantized(cluster.root) &&
                                     isa<IntegerType, Float16Type, BFloat16Type, Float32Type, Float64Type>(type));
  if (type != elementTypeOf(result) && !mayDiffer)
    return "an operand has another element type";
  if (shapes.isOneElement(v))
    return "";
  auto dims = shapes.dims(v), all = shapes.dims(result);
  if (dims == all)
    return "";
  bool isVector = !dims.empty() && dims.back() == all.back() &&
                  llvm::all_of(dims.drop_back(), [](nn::Dim d) { return d.isConst(1); });
  if (!isVector)
    return "an operand is neither a number, a vector along the last dimension nor as large as the "
           "result";
  if (!channelsAreLast(cluster.root))
    return "a vector operand needs channels last";
  return "";
}

std::string Fuser::whyNotAbsorb(Cluster &cluster, Operation *op) {
  Value result = cluster.root->getResult(0);
  if (op->hasTrait<OpTrait::IsTerminator>())
    return "the value leaves here too";
  if (!isElementwise(op) || op->getNumResults() != 1)
    return "it is not elementwise";
  Type type = elementTypeOf(op->getResult(0));
  bool rounds = isNarrow(cluster.root) && isa<nn::CastOp>(op) && type.isBF16();
  bool quantizes = isa<nn::QuantizeOp>(op) && type.isInteger(8) && elementTypeOf(result).isF32();
  if (type != elementTypeOf(result) && !isQuantized(cluster.root) && !rounds && !quantizes)
    return "it changes the element type";
  if (!shapes.sameDims(op->getResult(0), result))
    return "it changes the shape";
  SmallVector<Value> extras = cluster.extras;
  for (Value v : op->getOperands()) {
    if (cluster.inside.contains(v) || (quantizes && scalarOf(v)))
      continue;
    Value read = readFor(v);
    if (std::string why = whyNotExtra(cluster, read, read != v); !why.empty())
      return why;
    if (!scalarOf(v) && !llvm::is_contained(extras, read))
      extras.push_back(read);
  }
  if (extras.size() + cluster.root.getEpilogueArgs().size() > maxArgs)
    return "the epilogue has too many arguments";
  cluster.extras = std::move(extras);
  return "";
}

/// Collects users of the cluster in program order while they fit.
void Fuser::grow(Cluster &cluster) {
  DenseSet<Operation *> visited;
  while (cluster.ops.size() < maxOps) {
    Operation *next = nullptr;
    for (Value v : cluster.inside)
      for (Operation *user : v.getUsers())
        if (user->getBlock() == cluster.root->getBlock() && !visited.contains(user) &&
            (!next || user->isBeforeInBlock(next)))
          next = user;
    if (!next)
      return;
    visited.insert(next);
    if (std::string why = whyNotAbsorb(cluster, next); !why.empty()) {
      if (cluster.why.empty())
        cluster.why = (next->getName().getStringRef() + ": " + why).str();
      continue;
    }
    cluster.ops.push_back(next);
    cluster.inside.insert(next->getResult(0));
  }
}

/// Operands of the cluster's operations from outside, without numbers.
SmallVector<Value> extrasOf(const Cluster &cluster) {
  SmallVector<Value> extras;
  DenseSet<Value> inside = {cluster.root->getResult(0)};
  for (Operation *op : cluster.ops) {
    for (Value v : op->getOperands())
      if (!inside.contains(v) && !scalarOf(v) && !llvm::is_contained(extras, readFor(v)))
        extras.push_back(readFor(v));
    inside.insert(op->getResult(0));
  }
  return extras;
}

/// The last of the operations that define what the cluster reads: the fused operation may stand behind it.
Operation *lastNeeded(const Cluster &cluster) {
  Operation *last = cluster.root;
  for (Value v : extrasOf(cluster))
    if (Operation *def = v.getDefiningOp(); def && def->getBlock() == last->getBlock() && last->isBeforeInBlock(def))
      last = def;
  return last;
}

/// Which values leave the cluster: the last one, and at most one more. With one exit no operand from outside can
/// depend on a value of the cluster, so that its end is a safe place. With two exits, what uses the inner one
/// must come behind all operands; then none of them depends on it.
std::string Fuser::whyNotLeave(Cluster &cluster) {
  DenseSet<Operation *> members(cluster.ops.begin(), cluster.ops.end());
  auto outside = [&](Operation *user) { return !members.contains(user); };
  cluster.inner = {};
  SmallVector<Operation *> producers = {cluster.root};
  producers.append(cluster.ops.begin(), std::prev(cluster.ops.end()));
  for (Operation *op : producers) {
    if (llvm::none_of(op->getUsers(), outside))
      continue;
    if (cluster.inner)
      return "more than two of its values are used outside";
    cluster.inner = op->getResult(0);
  }
  if (!cluster.inner)
    return "";
  if (isQuantized(cluster.root))
    return "an integer contraction has one result";
  if (elementTypeOf(cluster.inner) != elementTypeOf(cluster.root->getResult(0)))
    return "an inner value of another element type is used outside";
  Operation *last = lastNeeded(cluster);
  for (Operation *user : cluster.inner.getUsers()) {
    Operation *inBlock = last->getBlock()->findAncestorOpInBlock(*user);
    if (outside(user) && (!inBlock || !last->isBeforeInBlock(inBlock)))
      return "one of its values is needed before all operands are known";
  }
  return "";
}

/// Keeps the longest prefix that may be one operation.
void Fuser::shrink(Cluster &cluster) {
  for (; !cluster.ops.empty(); cluster.ops.pop_back()) {
    std::string why = whyNotLeave(cluster);
    if (why.empty())
      return;
    if (cluster.why.empty())
      cluster.why = why;
  }
}

void Fuser::fuse(Cluster &cluster) {
  nn::LinearOp root = cluster.root;
  Operation *last = cluster.ops.back();
  SmallVector<Value> extras = extrasOf(cluster);
  SmallVector<Operation *> all = {root.getOperation()};
  all.append(cluster.ops);
  Location loc = fusedLoc(all);

  SmallVector<Type> types;
  if (cluster.inner) {
    types.push_back(cluster.inner.getType());
    rewriter.setInsertionPointAfter(lastNeeded(cluster));
  } else {
    rewriter.setInsertionPoint(last);
  }
  types.push_back(last->getResult(0).getType());
  // Inserted when it has its epilogue, on which its types depend.
  OpBuilder::InsertPoint place = rewriter.saveInsertionPoint();
  auto fused = cast<nn::LinearOp>(Operation::create(loc, root->getName(), types, root->getOperands(),
                                                    root->getDiscardableAttrDictionary(),
                                                    root->getPropertiesStorage(), BlockRange(), 1));
  fused.addEpilogueArgs(extras);

  Region &epilogue = fused.getEpilogue();
  Block *block = rewriter.createBlock(&epilogue);
  Region &before = root.getEpilogue();
  Type type = before.empty() ? elementTypeOf(root->getResult(0)) : before.front().getArgument(0).getType();
  block->addArgument(type, loc);
  for (Value v : fused.getEpilogueArgs())
    block->addArgument(scalarTypeOf(v), v.getLoc());
  rewriter.setInsertionPointToStart(block);

  unsigned oldArgs = root.getEpilogueArgs().size();
  DenseMap<Value, Value> scalars;
  Value acc = block->getArgument(0);
  if (!before.empty())
    acc = inlineRegion(rewriter, before, block->getArguments().take_front(1 + oldArgs)).front();
  scalars[root->getResult(0)] = acc;
  for (auto [i, v] : llvm::enumerate(extras))
    scalars[v] = block->getArgument(1 + oldArgs + i);
  auto scalarFor = [&](Value v) {
    Value &scalar = scalars[v];
    if (!scalar && readFor(v) != v) {
      auto args = llvm::map_to_vector(v.getDefiningOp()->getOperands(), [&](Value operand) {
        return operand == readFor(v) ? scalars.lookup(operand) : emitScalarConstant(rewriter, v.getLoc(), operand);
      });
      return scalars[v] = emitScalar(rewriter, v.getDefiningOp(), args).front();
    }
    if (!scalar)
      scalar = emitScalarConstant(rewriter, v.getLoc(), v);
    return scalar;
  };
  for (Operation *op : cluster.ops) {
    SmallVector<Value> args;
    for (Value v : op->getOperands())
      args.push_back(scalarFor(v));
    scalars[op->getResult(0)] = emitScalar(rewriter, op, args).front();
  }
  SmallVector<Value> yielded;
  if (cluster.inner)
    yielded.push_back(scalars[cluster.inner]);
  yielded.push_back(scalars[last->getResult(0)]);
  nn::YieldOp::create(rewriter, loc, yielded);
  rewriter.restoreInsertionPoint(place);
  rewriter.insert(fused);

  if (cluster.inner)
    rewriter.replaceAllUsesWith(cluster.inner, fused->getResult(0));
  rewriter.replaceOp(last, fused->getResults().take_back());
  cluster.ops.pop_back();
  for (Operation *op : llvm::reverse(cluster.ops))
    rewriter.eraseOp(op);
  rewriter.eraseOp(root);
  passedRemark(loc, kPass, "fused") << remark::metric("Operations", (int64_t)all.size() - 1)
                                    << remark::metric("Arguments", (int64_t)extras.size())
                                    << remark::metric("Results", (int64_t)fused->getNumResults());
}

int64_t Fuser::run(nn::LinearOp root) {
  Type type = elementTypeOf(root->getResult(0));
  if ((!type.isF32() && !type.isF64() && !isQuantized(root)) || root.getSecond())
    return 0;
  Cluster cluster{root, {}, {}, {}, {}, ""};
  cluster.inside.insert(root->getResult(0));
  grow(cluster);
  shrink(cluster);
  if (cluster.ops.empty()) {
    bool nearMiss =
        llvm::any_of(root->getUsers(), [](Operation *user) { return isElementwise(user); });
    if (nearMiss)
      missedRemark(root->getLoc(), kPass, "not-fused") << remark::reason("{0}", cluster.why);
    return 0;
  }
  int64_t count = cluster.ops.size();
  fuse(cluster);
  return count;
}

struct FuseEpiloguePass : impl::FuseEpilogueBase<FuseEpiloguePass> {
  using FuseEpilogueBase::FuseEpilogueBase;

  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<nn::LinearOp> roots;
    getOperation().walk([&](nn::LinearOp op) { roots.push_back(op); });
    Fuser fuser(shapes, rewriter, maxArgs, maxOps);
    for (nn::LinearOp root : llvm::reverse(roots))
      if (int64_t count = fuser.run(root)) {
        numFused += count;
        ++numEpilogues;
      }
  }
};

} // namespace
} // namespace nnopt

//===- ConvertLayout.cpp - channels last by minimum cut -------------------===//
#include "passes/Passes.h"
#include "passes/common/MinCut.h"
#include "passes/convert-layout/Roles.h"

using namespace mlir;
using namespace nnopt::layout;

namespace nnopt {
#define GEN_PASS_DEF_CONVERTLAYOUT
#include "passes/Passes.h.inc"

namespace layout {
Value convertReshape(Operation *original, Value x, RewriterBase &rewriter, FuncShapes &shapes);
} // namespace layout
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "convert-layout";

/// Chooses the layout of every operation, then rebuilds those that work channels last.
class Converter {
public:
  Converter(func::FuncOp func, FuncShapes &shapes)
      : func(func), shapes(shapes), rewriter(func.getContext(), &shapes) {}

  bool hasRoots();
  void choose();
  void rewrite();

  int64_t converted = 0, followed = 0, transposes = 0;

private:
  int producerNode(Value v);
  int consumerNode(Operation *op);
  int64_t elements(Value v);
  int64_t transposeCost(Value v) { return isView(shapes.dims(v)) ? 0 : elements(v); }
  void addValue(MinCut &cut, Value v);

  Value lastOf(Value v, int64_t rank);
  Value constantLast(nn::ConstantOp constant, int64_t rank, bool broadcasts);
  Value broadcastLastOf(Value v, int64_t rank);
  void rewriteOp(Operation *op);

  func::FuncOp func;
  FuncShapes &shapes;
  IRRewriter rewriter;
  std::vector<Operation *> ops;
  DenseMap<Operation *, Role> roles;
  DenseMap<Operation *, int> nodes;
  std::vector<bool> channelsLast; // By node.
  /// The channels-last form of values, for the rank they are extended to.
  DenseMap<std::pair<Value, int64_t>, Value> last;
};

bool Converter::hasRoots() {
  func.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op == func || op->getName().getDialectNamespace() != "nn")
      return;
    ops.push_back(op);
    roles[op] = op->getNumResults() ? roleOf(op, shapes) : Role::Fixed;
  });
  return llvm::any_of(ops, [&](Operation *op) { return roles[op] == Role::Root; });
}

/// Elements of a value; a size that is not known counts as 16.
int64_t Converter::elements(Value v) {
  int64_t count = 1;
  for (nn::Dim d : shapes.dims(v))
    count *= d.isConst() ? std::max<int64_t>(d.value(), 1) : 16;
  return std::max<int64_t>(count, 1);
}

/// The node that tells in which layout `v` is made.
int Converter::producerNode(Value v) {
  Operation *op = v.getDefiningOp();
  if (!op)
    return MinCut::sink;
  switch (roles.lookup(op)) {
  case Role::Fixed:
  case Role::ToLast:
    return MinCut::sink;
  case Role::FromLast:
    return MinCut::source;
  case Role::Root:
  case Role::Flexible:
    return isLaidOutResult(op, cast<OpResult>(v).getResultNumber()) ? nodes.lookup(op)
                                                                    : MinCut::sink;
  }
  llvm_unreachable("role");
}

/// The node that tells in which layout `op` wants its laid out operands.
int Converter::consumerNode(Operation *op) {
  switch (roles.lookup(op)) {
  case Role::Fixed:
  case Role::FromLast:
    return MinCut::sink;
  case Role::ToLast:
    return MinCut::source;
  case Role::Root:
  case Role::Flexible:
    return nodes.lookup(op);
  }
  llvm_unreachable("role");
}

/// One transpose serves all users that want the layout `v` is not made in: its cost is paid once.
void Converter::addValue(MinCut &cut, Value v) {
  int64_t cost = transposeCost(v);
  int made = producerNode(v);
  SmallVector<int> wanted;
  for (OpOperand &use : v.getUses()) {
    Operation *user = use.getOwner();
    Role role = roles.lookup(user);
    bool follows =
        role == Role::ToLast || ((role == Role::Root || role == Role::Flexible) &&
                                 llvm::is_contained(laidOutOperands(user), use.getOperandNumber()));
    int node = follows ? consumerNode(user) : MinCut::sink;
    // Size-only uses do not read the value.
    if (!follows && isa<nn::ShapeOp, nn::SizeOp>(user))
      continue;
    if (!llvm::is_contained(wanted, node))
      wanted.push_back(node);
  }
  if (wanted.empty() || (wanted.size() == 1 && wanted.front() == made))
    return;
  // Some user channels last, made channels first.
  int anyLast = cut.addNode();
  cut.addCost(anyLast, made, cost);
  // Some user channels first, made channels last.
  int allLast = cut.addNode();
  cut.addCost(made, allLast, cost);
  for (int node : wanted) {
    cut.addCost(node, anyLast, MinCut::infinite);
    cut.addCost(allLast, node, MinCut::infinite);
  }
}

void Converter::choose() {
  MinCut cut;
  for (Operation *op : ops) {
    Role role = roles[op];
    if (role != Role::Root && role != Role::Flexible)
      continue;
    int node = nodes[op] = cut.addNode();
    if (role == Role::Root)
      cut.addCost(MinCut::source, node, MinCut::infinite);
    else if (prefersLast(op))
      cut.addCost(MinCut::source, node, elements(op->getOperand(0)));
    // Operands of lower rank are not shared with anybody's layout: they cost a transpose of their
    // own.
    if (isElementwise(op))
      for (Value operand : op->getOperands())
        if (!isConstant(operand) && rankOf(operand) < rankOf(op->getResult(0)) &&
            rankOf(operand) > 1)
          cut.addCost(node, MinCut::sink, elements(operand));
  }
  for (BlockArgument argument : func.getArguments())
    if (isa<RankedTensorType>(argument.getType()) && rankOf(argument) >= 3)
      addValue(cut, argument);
  for (Operation *op : ops) {
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (BlockArgument argument : block.getArguments())
          if (isa<RankedTensorType>(argument.getType()) && rankOf(argument) >= 3)
            addValue(cut, argument);
    if (!isa<nn::ConstantOp>(op))
      for (Value result : op->getResults())
        if (rankOf(result) >= 3)
          addValue(cut, result);
  }
  channelsLast = cut.solve();
}

/// The channels-last form of a constant extended to `rank` dimensions; where it broadcasts, a
/// vector comes without leading ones.
Value Converter::constantLast(nn::ConstantOp constant, int64_t rank, bool broadcasts) {
  auto type = constant.getType();
  SmallVector<int64_t> shape(rank - type.getRank(), 1);
  shape.append(type.getShape().begin(), type.getShape().end());
  SmallVector<int64_t> perm = permToLast(rank), result;
  for (int64_t p : perm)
    result.push_back(shape[p]);
  int64_t lead = 0;
  while (broadcasts && lead + 1 < rank && result[lead] == 1)
    ++lead;
  if (lead + 1 < rank)
    lead = 0; // Not a vector: an operand of the result's rank can join an epilogue.
  auto data = nn::ConstantData::get(constant.getValue());
  if (!data)
    return {};
  std::vector<char> bytes =
      transposeBytes(data->bytes(), shape, perm, nn::elementBytes(type.getElementType()));
  auto resultType =
      RankedTensorType::get(ArrayRef<int64_t>(result).drop_front(lead), type.getElementType());
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointAfter(constant);
  return nn::ConstantOp::create(rewriter, constant.getLoc(),
                                nn::makeConstant(resultType, bytes, "channels_last"));
}

/// An operand of an elementwise operation whose result has `rank` dimensions, channels last.
Value Converter::broadcastLastOf(Value v, int64_t rank) {
  if (shapes.isOneElement(v))
    return v;
  if (nn::ConstantOp constant = constantOf(v))
    if (Value permuted = constantLast(constant, rank, /*broadcasts=*/true))
      return permuted;
  return lastOf(v, rank);
}

/// `v`, extended to `rank` dimensions, channels last.
Value Converter::lastOf(Value v, int64_t rank) {
  if (Value form = last.lookup({v, rank}))
    return form;
  OpBuilder::InsertionGuard guard(rewriter);
  if (nn::ConstantOp constant = constantOf(v))
    if (Value permuted = constantLast(constant, rank, /*broadcasts=*/false))
      return last[{v, rank}] = permuted;
  rewriter.setInsertionPointAfterValue(v);
  Value full = v;
  if (rankOf(v) < rank) {
    SmallVector<int64_t> axes;
    for (int64_t i = 0; i < rank - rankOf(v); ++i)
      axes.push_back(i);
    full = nn::UnsqueezeOp::create(rewriter, v.getLoc(), untyped(elementTypeOf(v)), v, axes);
  }
  if (!isView(shapes.dims(full)))
    ++transposes;
  Value result = nn::TransposeOp::create(rewriter, v.getLoc(), untyped(elementTypeOf(v)), full,
                                         permToLast(rank));
  return last[{v, rank}] = result;
}

void Converter::rewriteOp(Operation *op) {
  Role role = roles[op];
  if (role == Role::FromLast) {
    last[{op->getResult(0), rankOf(op->getResult(0))}] = op->getOperand(0);
    return;
  }
  if (role == Role::ToLast) {
    Value x = op->getOperand(0);
    if (Value form = last.lookup({x, rankOf(x)}))
      rewriter.replaceOp(op, form);
    return;
  }
  if ((role != Role::Root && role != Role::Flexible) || !channelsLast[nodes[op]])
    return;
  SmallVector<Value> operands;
  SmallVector<unsigned> laidOut = laidOutOperands(op);
  bool elementwise = isElementwise(op);
  for (OpOperand &operand : op->getOpOperands()) {
    Value v = operand.get();
    if (elementwise)
      v = broadcastLastOf(v, rankOf(op->getResult(0)));
    else if (llvm::is_contained(laidOut, operand.getOperandNumber()))
      v = lastOf(v, rankOf(v));
    operands.push_back(v);
  }
  rewriter.setInsertionPoint(op);
  SmallVector<Value> results;
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op)) {
    results.push_back(convertReshape(op, operands[0], rewriter, shapes));
  } else {
    // Finished before it is inserted, because then it is typed.
    Operation *copy = op->clone();
    copy->setOperands(operands);
    layout::convert(copy, op, rewriter, shapes);
    rewriter.setInsertionPoint(op);
    rewriter.insert(copy);
    results.append(copy->getResults().begin(), copy->getResults().end());
  }
  (role == Role::Root ? converted : followed)++;
  if (role == Role::Root)
    passedRemark(op->getLoc(), kPass, "converted") << remark::add("to channels last");
  SmallVector<Value> replacements;
  for (auto [i, result] : llvm::enumerate(results)) {
    if (!isLaidOutResult(op, i)) {
      replacements.push_back(result);
      continue;
    }
    int64_t rank = rankOf(result);
    Value first = nn::TransposeOp::create(rewriter, op->getLoc(), untyped(elementTypeOf(result)),
                                          result, permFromLast(rank));
    last[{first, rank}] = result;
    replacements.push_back(first);
  }
  rewriter.replaceOp(op, replacements);
}

void Converter::rewrite() {
  for (Operation *op : ops)
    rewriteOp(op);
  // Transposes back that nobody reads.
  eraseDeadOps(func, rewriter);
  func.walk([&](nn::TransposeOp op) {
    if (!op.use_empty() && last.lookup({op.getResult(), rankOf(op.getResult())}) &&
        !isView(shapes.dims(op.getResult())))
      ++transposes;
  });
}

struct ConvertLayoutPass : impl::ConvertLayoutBase<ConvertLayoutPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    Converter converter(getOperation(), shapes);
    if (!converter.hasRoots())
      return;
    converter.choose();
    converter.rewrite();
    numConverted += converter.converted;
    numFollowed += converter.followed;
    numTransposes += converter.transposes;
  }
};

} // namespace
} // namespace nnopt

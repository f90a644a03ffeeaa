//===- GroupExperts.cpp - mixtures that compute the chosen experts only ---===//
#include "passes/Passes.h"
#include "passes/group-experts/ScoredExperts.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_GROUPEXPERTS
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "group-experts";

/// Rebuilds the computation of all experts, [tokens, ...] each or [experts, tokens, ...] together, on
/// [tokens, choices, ...].
class Merger {
public:
  Merger(FuncShapes &shapes, RewriterBase &rewriter, const Route &route, Location loc)
      : shapes(shapes), rewriter(rewriter), route(route), loc(loc) {}

  /// The experts' results by number, or one value for all of them. Null, with `why`, where it does not fit.
  Value merge(ArrayRef<Value> values, bool batched, ArrayRef<Value> tokens = {}) {
    isBatched = batched;
    tokensOf = tokens;
    return merge(values);
  }
  std::string why;
  SmallVector<Operation *> ops;

private:
  Value merge(ArrayRef<Value> values);
  Value mergeMatMul(ArrayRef<Value> values);
  Value mergeElementwise(ArrayRef<Value> values);
  Value mergeOperand(ArrayRef<Value> values);
  Value shared(ArrayRef<Value> values);
  Value stack(ArrayRef<Value> constants);
  Value chosen(ArrayRef<Value> constants);
  Value fail(const Twine &reason) {
    if (why.empty())
      why = reason.str();
    return {};
  }
  template <typename OpTy, typename... Args> Value make(Type elementType, Args &&...args) {
    return OpTy::create(rewriter, loc, untyped(elementType), std::forward<Args>(args)...).getResult();
  }

  FuncShapes &shapes;
  RewriterBase &rewriter;
  const Route &route;
  Location loc;
  bool isBatched = false;
  ArrayRef<Value> tokensOf;
  DenseMap<Value, Value> done;
};

/// What all experts read, as [tokens, width]; null where it is none.
Value Merger::shared(ArrayRef<Value> values) {
  nn::Dim tokens = shapes.dims(route.choices)[0];
  Value x;
  if (isBatched) {
    x = values[0];
    if (rankOf(x) == 3 && shapes.dims(x)[0].isConst(1))
      x = make<nn::SqueezeOp>(elementTypeOf(x), x, rewriter.getDenseI64ArrayAttr({0}));
  } else {
    for (auto [v, places] : llvm::zip(values, tokensOf)) {
      Value source = v;
      if (places) {
        auto gather = v.getDefiningOp<nn::GatherOp>();
        if (!gather || gather.getAxis() != 0 || !isTokenRow(gather.getIndices(), places))
          return {};
        source = gather.getX();
      }
      if (x && x != source)
        return {};
      x = source;
    }
  }
  return rankOf(x) == 2 && shapes.dims(x)[0] == tokens ? x : Value();
}

/// Equal constants of each expert as [experts, ...].
Value Merger::stack(ArrayRef<Value> constants) {
  if (isBatched)
    return constants[0];
  SmallVector<Value> parts;
  for (Value v : constants)
    parts.push_back(make<nn::UnsqueezeOp>(elementTypeOf(v), v, rewriter.getDenseI64ArrayAttr({0})));
  return make<nn::ConcatOp>(elementTypeOf(parts[0]), ValueRange(parts), rewriter.getI64IntegerAttr(0));
}

/// A vector of each expert as the vectors of the chosen ones, [tokens, choices, width].
Value Merger::chosen(ArrayRef<Value> constants) {
  Value all = stack(constants);
  int64_t width = shapeOf(all).back();
  if (shapeOf(all)[0] != route.experts || ShapedType::isDynamic(width) ||
      cast<RankedTensorType>(all.getType()).getNumElements() != route.experts * width)
    return fail("an operand differs between experts, and is no vector");
  if (rankOf(all) != 2)
    all = make<nn::ReshapeOp>(elementTypeOf(all), all, makeIntsOp(rewriter, loc, {route.experts, width}), UnitAttr());
  return make<nn::GatherOp>(elementTypeOf(all), all, route.choices, rewriter.getI64IntegerAttr(0));
}

Value Merger::mergeMatMul(ArrayRef<Value> values) {
  SmallVector<Value> as, bs, biases;
  auto first = values[0].getDefiningOp<nn::MatMulOp>();
  for (Value v : values) {
    auto op = v.getDefiningOp<nn::MatMulOp>();
    ops.push_back(op);
    if (op.getTransposeA() || !op.getEpilogue().empty() || op.getAZero() || op.getBZero())
      return fail("a product has an epilogue, zero points or a transposed activation");
    if (op.getTransposeB() != first.getTransposeB() || bool(op.getBias()) != bool(first.getBias()) ||
        op.getB().getType() != first.getB().getType())
      return fail("the products of experts differ");
    if (!isConstant(op.getB()) || rankOf(op.getB()) != (isBatched ? 3 : 2) || (op.getBias() && !isConstant(op.getBias())))
      return fail("weights are not constant");
    as.push_back(op.getA());
    bs.push_back(op.getB());
    if (op.getBias())
      biases.push_back(op.getBias());
  }
  Value x = shared(as);
  if (!x && !(x = merge(as)))
    return {};
  Value w = stack(bs);
  if (shapeOf(w)[0] != route.experts)
    return fail("there are not as many matrices as experts");
  Type type = elementTypeOf(w);
  if (!first.getTransposeB())
    w = make<nn::TransposeOp>(type, w, rewriter.getDenseI64ArrayAttr({0, 2, 1}));
  Value y = make<nn::GroupedMatMulOp>(type, x, w, route.choices);
  if (biases.empty())
    return y;
  // A bias of a batched product is the same for all experts.
  Value bias = isBatched ? biases[0] : chosen(biases);
  return bias ? make<nn::AddOp>(type, y, bias) : Value();
}

Value Merger::mergeOperand(ArrayRef<Value> values) {
  bool equal = llvm::all_of(values, [&](Value v) {
    return v == values[0] || (scalarOf(v) && scalarOf(values[0]) && *scalarOf(v) == *scalarOf(values[0]) &&
                              elementTypeOf(v) == elementTypeOf(values[0]));
  });
  if (equal && scalarOf(values[0]) && rankOf(values[0]) <= 2)
    return values[0];
  if (llvm::all_of(values, isConstant))
    return chosen(values);
  if (!isBatched)
    if (Value x = shared(values))
      return make<nn::UnsqueezeOp>(elementTypeOf(x), x, rewriter.getDenseI64ArrayAttr({1}));
  return merge(values);
}

Value Merger::mergeElementwise(ArrayRef<Value> values) {
  Operation *first = values[0].getDefiningOp();
  for (Value v : values) {
    Operation *op = v.getDefiningOp();
    ops.push_back(op);
    if (op->getName() != first->getName() || op->getAttrDictionary() != first->getAttrDictionary())
      return fail("experts compute different things");
  }
  SmallVector<Value> operands;
  for (unsigned i = 0; i < first->getNumOperands(); ++i) {
    SmallVector<Value> each;
    for (Value v : values)
      each.push_back(v.getDefiningOp()->getOperand(i));
    operands.push_back(mergeOperand(each));
    if (!operands.back())
      return {};
  }
  OperationState state(loc, first->getName());
  state.addOperands(operands);
  state.addTypes(untyped(elementTypeOf(values[0])));
  state.addAttributes(first->getAttrs());
  return rewriter.create(state)->getResult(0);
}

Value Merger::merge(ArrayRef<Value> values) {
  if (Value known = done.lookup(values[0]))
    return known;
  auto isProduct = [](Value v) { return bool(v.getDefiningOp<nn::MatMulOp>()); };
  auto isScalarCode = [](Value v) {
    return isElementwise(v.getDefiningOp()) && !v.getDefiningOp<nn::MapOp>() && v.getDefiningOp()->getNumOperands() > 0;
  };
  Value result;
  if (isBatched && !shapes.dims(values[0])[0].isConst(route.experts))
    return fail("what experts share is used in another place than a product");
  if (llvm::all_of(values, isProduct))
    result = mergeMatMul(values);
  else if (llvm::all_of(values, isScalarCode))
    result = mergeElementwise(values);
  else
    return fail("an expert is more than products and elementwise operations");
  if (result)
    done[values[0]] = result;
  return result;
}

class Grouper {
public:
  Grouper(FuncShapes &shapes, RewriterBase &rewriter) : shapes(shapes), rewriter(rewriter) {}

  /// sum over experts of results [experts, tokens, width] * scores [experts, tokens, 1].
  bool groupBatched(nn::ReduceOp op) {
    auto mul = op.getX().getDefiningOp<nn::MulOp>();
    if (!mul || op.getKind() != nn::ReduceKind::sum || op.getDynamicAxes() || !op.getAxes() ||
        op.getAxes()->size() != 1 || op.getAxes()->front() != 0 || op.getKeepDims())
      return false;
    for (unsigned i : {0u, 1u}) {
      Value scores = mul->getOperand(1 - i);
      auto dims = shapes.dims(scores);
      auto route = dims.size() == 3 && dims[2].isConst(1) ? matchScoresByExpert(scores, shapes) : std::nullopt;
      if (route && dims[0].isConst(route->experts))
        return finish(op, *route, {mul->getOperand(i)}, {}, {}, /*batched=*/true);
    }
    return false;
  }

  /// A tree of additions whose leaves are the terms of all experts, and perhaps others.
  bool groupSum(nn::AddOp root) {
    for (Operation *user : root->getUsers())
      if (isa<nn::AddOp>(user) && root->hasOneUse() && shapes.sameDims(user->getResult(0), root.getResult()))
        return false; // It is a part of a larger one.
    SmallVector<Value> leaves, others;
    collect(root.getResult(), root, leaves);
    std::optional<Route> route;
    SmallVector<Value> results, tokens;
    int64_t found = 0;
    for (Value leaf : leaves) {
      auto term = matchTerm(leaf, shapes);
      if (!term || (route && !(*route == term->route))) {
        others.push_back(leaf);
        continue;
      }
      if (!route) {
        route = term->route;
        results.resize(route->experts);
        tokens.resize(route->experts);
      }
      if (term->expert < 0 || term->expert >= route->experts || results[term->expert])
        return refuse(root, "an expert occurs twice, or does not exist");
      results[term->expert] = term->result;
      tokens[term->expert] = term->tokens;
      ++found;
    }
    if (!route || found < 2)
      return false;
    if (found != route->experts)
      return refuse(root, "some experts do not occur");
    llvm::erase_if(others, isZeros);
    return finish(root, *route, results, tokens, others, /*batched=*/false);
  }

private:
  void collect(Value v, nn::AddOp root, SmallVectorImpl<Value> &leaves) {
    auto add = v.getDefiningOp<nn::AddOp>();
    if (!add || (add != root && !add->hasOneUse()) || !shapes.sameDims(v, root.getResult())) {
      leaves.push_back(v);
      return;
    }
    collect(add.getLhs(), root, leaves);
    collect(add.getRhs(), root, leaves);
  }

  bool refuse(Operation *root, StringRef why) {
    missedRemark(root->getLoc(), kPass, "not-grouped") << remark::reason("{0}", why);
    return false;
  }

  bool finish(Operation *root, const Route &route, ArrayRef<Value> results, ArrayRef<Value> tokens,
              ArrayRef<Value> others, bool batched) {
    Type type = elementTypeOf(root->getResult(0));
    if (!type.isF32() && !type.isF64())
      return refuse(root, "the element type is not f32 or f64");
    if (!route.choices)
      return finishScored(root, route, results, others, batched);
    if (elementTypeOf(route.choices) != rewriter.getI64Type())
      return refuse(root, "choices are not i64");
    if (shapeOf(route.choices)[1] >= route.experts)
      return refuse(root, "all experts are chosen");
    rewriter.setInsertionPoint(root);
    Operation *before = root->getPrevNode();
    Merger merger(shapes, rewriter, route, root->getLoc());
    Value sum = merger.merge(results, batched, tokens);
    if (sum) {
      merger.ops.push_back(root);
      Location loc = fusedLoc(merger.ops);
      Value scores = nn::UnsqueezeOp::create(rewriter, loc, untyped(type), route.scores, rewriter.getDenseI64ArrayAttr({2}));
      sum = nn::MulOp::create(rewriter, loc, untyped(type), sum, scores);
      sum = nn::ReduceOp::create(rewriter, loc, untyped(type), sum, Value(),
                                 nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::sum),
                                 rewriter.getDenseI64ArrayAttr({1}), rewriter.getBoolAttr(false));
      for (Value v : others)
        sum = nn::AddOp::create(rewriter, loc, untyped(type), sum, v);
      if (!shapes.sameDims(sum, root->getResult(0)))
        merger.why = "the sum has another shape";
    }
    if (!sum || !merger.why.empty()) {
      while (root->getPrevNode() != before)
        rewriter.eraseOp(root->getPrevNode());
      return refuse(root, merger.why);
    }
    passedRemark(root->getLoc(), kPass, "grouped") << remark::metric("Experts", route.experts)
                                                   << remark::metric("Choices", shapeOf(route.choices)[1]);
    rewriter.replaceOp(root, sum);
    return true;
  }

  /// The same where scores are not those of a number of choices.
  bool finishScored(Operation *root, const Route &route, ArrayRef<Value> results, ArrayRef<Value> others, bool batched) {
    rewriter.setInsertionPoint(root);
    Operation *before = root->getPrevNode();
    ScoredExperts experts(shapes, rewriter, route.scores, route.experts, root->getLoc());
    Value sum = experts.merge(results, batched);
    if (sum) {
      for (Value v : others)
        sum = nn::AddOp::create(rewriter, root->getLoc(), untyped(elementTypeOf(sum)), sum, v);
      if (!shapes.sameDims(sum, root->getResult(0)))
        experts.why = "the sum has another shape";
    }
    if (!sum || !experts.why.empty()) {
      while (root->getPrevNode() != before)
        rewriter.eraseOp(root->getPrevNode());
      return refuse(root, experts.why);
    }
    passedRemark(root->getLoc(), kPass, "scored") << remark::metric("Experts", route.experts);
    rewriter.replaceOp(root, sum);
    return true;
  }

  FuncShapes &shapes;
  RewriterBase &rewriter;
};

struct GroupExpertsPass : impl::GroupExpertsBase<GroupExpertsPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    IRRewriter rewriter(&getContext(), &shapes);
    SmallVector<Operation *> roots;
    getOperation().walk([&](Operation *op) {
      if (isa<nn::ReduceOp, nn::AddOp>(op))
        roots.push_back(op);
    });
    Grouper grouper(shapes, rewriter);
    for (Operation *op : roots) {
      auto reduce = dyn_cast<nn::ReduceOp>(op);
      numMixtures += reduce ? grouper.groupBatched(reduce) : grouper.groupSum(cast<nn::AddOp>(op));
    }
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt

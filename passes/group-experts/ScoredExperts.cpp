//===- ScoredExperts.cpp - mixtures by scores that are partly zero ----------===//
#include "passes/group-experts/ScoredExperts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace nnopt {

/// Constants of each expert, or one of all, as one of `shape`; null where the number of elements is another one.
Value ScoredExperts::stacked(ArrayRef<Value> constants, ArrayRef<int64_t> shape) {
  Value all = constants[0];
  Type type = elementTypeOf(all);
  if (!isBatched) {
    SmallVector<Value> parts;
    for (Value v : constants)
      parts.push_back(nn::UnsqueezeOp::create(rewriter, loc, untyped(type), v, rewriter.getDenseI64ArrayAttr({0})));
    all = nn::ConcatOp::create(rewriter, loc, untyped(type), parts, rewriter.getI64IntegerAttr(0));
  }
  ArrayRef<int64_t> has = shapeOf(all);
  if (has == shape)
    return all;
  if (llvm::any_of(has, ShapedType::isDynamic) || ShapedType::getNumElements(has) != ShapedType::getNumElements(shape))
    return {};
  return nn::ReshapeOp::create(rewriter, loc, untyped(type), all, makeIntsOp(rewriter, loc, shape), UnitAttr());
}

std::optional<ScoredExperts::Layer> ScoredExperts::layerOf(ArrayRef<Value> values) {
  Layer layer;
  SmallVector<Value> matrices, biases;
  nn::MatMulOp first;
  for (Value v : values) {
    Value bias;
    if (auto add = v.getDefiningOp<nn::AddOp>())
      for (unsigned i : {0u, 1u})
        if (isConstant(add->getOperand(i))) {
          bias = add->getOperand(i);
          v = add->getOperand(1 - i);
          break;
        }
    auto op = v.getDefiningOp<nn::MatMulOp>();
    if (!op)
      return std::nullopt;
    first = first ? first : op;
    if (op.getTransposeA() || !op.getEpilogue().empty() || op.getAZero() || op.getBZero() || (op.getBias() && bias))
      return fail<std::optional<Layer>>("a product has an epilogue, zero points or a transposed activation");
    if (op.getTransposeB() != first.getTransposeB() || op.getB().getType() != first.getB().getType())
      return fail<std::optional<Layer>>("the products of experts differ");
    if (op.getBias() && isBatched) // the same for all experts
      return fail<std::optional<Layer>>("a bias is shared by the experts");
    bias = bias ? bias : Value(op.getBias());
    if (!isConstant(op.getB()) || rankOf(op.getB()) != (isBatched ? 3 : 2) || (bias && !isConstant(bias)))
      return fail<std::optional<Layer>>("weights are not constant");
    matrices.push_back(op.getB());
    layer.activations.push_back(op.getA());
    if (bias)
      biases.push_back(bias);
  }
  if (!biases.empty() && biases.size() != values.size())
    return fail<std::optional<Layer>>("the products of experts differ");
  SmallVector<int64_t> shape(shapeOf(matrices[0]));
  shape.insert(shape.begin(), isBatched ? 0 : 1, int64_t(values.size()));
  if (shape[0] != experts)
    return fail<std::optional<Layer>>("there are not as many matrices as experts");
  layer.weights = stacked(matrices, shape);
  if (!first.getTransposeB()) {
    layer.weights = nn::TransposeOp::create(rewriter, loc, untyped(elementTypeOf(layer.weights)), layer.weights,
                                            rewriter.getDenseI64ArrayAttr({0, 2, 1}));
    std::swap(shape[1], shape[2]);
  }
  if (!biases.empty() && !(layer.bias = stacked(biases, {experts, shape[1]})))
    return fail<std::optional<Layer>>("an operand differs between experts, and is no vector");
  return layer;
}

/// The value [tokens, width] that all experts read; null where they read different ones.
Value ScoredExperts::read(ArrayRef<Value> activations) {
  Value x = activations[0];
  if (llvm::any_of(activations, [&](Value v) { return v != x; }))
    return {};
  if (isBatched && rankOf(x) == 3 && shapes.dims(x)[0].isConst(1)) {
    // Where it was made from rows, these.
    if (auto unsqueeze = x.getDefiningOp<nn::UnsqueezeOp>(); unsqueeze && rankOf(unsqueeze.getX()) == 2)
      x = unsqueeze.getX();
    else
      x = nn::SqueezeOp::create(rewriter, loc, untyped(elementTypeOf(x)), x, rewriter.getDenseI64ArrayAttr({0}));
  }
  return rankOf(x) == 2 && shapes.dims(x)[0] == shapes.dims(scores)[0] ? x : Value();
}

/// Finds the first products, one or two, behind scalar code that is the same for all experts.
bool ScoredExperts::findInner(ArrayRef<Value> values) {
  if (llvm::any_of(inner, [&](const auto &known) { return known.first == values[0]; }))
    return true;
  if (std::optional<Layer> layer = layerOf(values)) {
    inner.push_back({values[0], *layer});
    return inner.size() <= 2 || fail<bool>("an expert is more than two products and what is elementwise between");
  }
  if (!why.empty())
    return false;
  Operation *first = values[0].getDefiningOp();
  for (Value v : values) {
    Operation *op = v.getDefiningOp();
    if (!isa_and_nonnull<nn::Elementwise>(op) || op->getNumOperands() == 0 || rankOf(v) != (isBatched ? 3 : 2))
      return fail<bool>("an expert is more than two products and what is elementwise between");
    if (op->getName() != first->getName() || op->getAttrDictionary() != first->getAttrDictionary())
      return fail<bool>("experts compute different things");
  }
  for (unsigned i = 0; i < first->getNumOperands(); ++i) {
    SmallVector<Value> each;
    for (Value v : values)
      each.push_back(v.getDefiningOp()->getOperand(i));
    std::optional<double> scalar = nnopt::scalarOf(each[0]);
    if (scalar && llvm::all_of(each, [&](Value v) { return nnopt::scalarOf(v) == scalar; }))
      continue;
    if (!findInner(each))
      return false;
  }
  return true;
}

/// The scalar code of the hidden layer, as the first expert has it.
Value ScoredExperts::scalarOfHidden(Value v, Block &block) {
  for (auto [i, layer] : llvm::enumerate(inner))
    if (layer.first == v)
      return block.getArgument(i);
  if (std::optional<double> scalar = nnopt::scalarOf(v))
    return arith::ConstantOp::create(rewriter, loc, rewriter.getFloatAttr(elementTypeOf(v), *scalar));
  Operation *op = v.getDefiningOp();
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(scalarOfHidden(operand, block));
  return cast<nn::Elementwise>(op).buildScalar(rewriter, loc, operands);
}

Value ScoredExperts::merge(ArrayRef<Value> results, bool batched) {
  isBatched = batched;
  std::optional<Layer> down = layerOf(results);
  if (!down)
    return fail<Value>("an expert does not end in a product");
  if (!findInner(down->activations))
    return {};
  if (inner.empty() || inner[0].first == down->activations[0])
    return fail<Value>("an expert is a product by itself");
  Value x = read(inner[0].second.activations);
  if (!x || (inner.size() == 2 && read(inner[1].second.activations) != x))
    return fail<Value>("experts read something else than the tokens");
  const Layer &up = inner[0].second, gate = inner.size() == 2 ? inner[1].second : Layer();
  Type type = elementTypeOf(x);
  auto moe = nn::MoEOp::create(rewriter, loc, untyped(type), x, up.weights, up.bias, gate.weights, gate.bias, down->weights, Value(), scores);
  SmallVector<Type> types(inner.size(), type);
  SmallVector<Location> locs(inner.size(), loc);
  {
    OpBuilder::InsertionGuard guard(rewriter);
    Block *block = rewriter.createBlock(&moe.getActivation(), {}, types, locs);
    nn::YieldOp::create(rewriter, loc, scalarOfHidden(down->activations[0], *block));
  }
  if (!down->bias)
    return moe.getResult();
  // Biases count as much as their experts.
  Value biases = nn::MatMulOp::create(rewriter, loc, untyped(type), scores, down->bias, Value(), Value(), Value(), ValueRange(), false, false).getResult();
  return nn::AddOp::create(rewriter, loc, untyped(type), moe.getResult(), biases);
}

} // namespace nnopt

//===- ShapeArithmetic.cpp - sizes as values ------------------------------===//
#include "passes/fold-shapes/ShapeArithmetic.h"

using namespace mlir;

namespace nnopt {

using nn::Dim;

ShapeArithmetic::ShapeArithmetic(func::FuncOp func, FuncShapes &shapes, RewriterBase &rewriter)
    : shapes(shapes), rewriter(rewriter), entry(&func.getBody().front()) {
  for (BlockArgument argument : func.getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      for (auto [axis, d] : llvm::enumerate(shapes.dims(argument)))
        if (d.kind() == Dim::Kind::Symbol)
          symbols.try_emplace(d.opaque(), argument, (int64_t)axis);
}

template <typename Op, typename... Args> Value ShapeArithmetic::create(Args &&...args) {
  OpBuilder::InsertionGuard guard(rewriter);
  if (insertAfter)
    rewriter.setInsertionPointAfter(insertAfter);
  else
    rewriter.setInsertionPointToStart(entry);
  Operation *op = Op::create(rewriter, rewriter.getUnknownLoc(), std::forward<Args>(args)...);
  insertAfter = op;
  ours.insert(op);
  return op->getResult(0);
}

Value ShapeArithmetic::element(Dim d) {
  auto [it, isNew] = elements.try_emplace(d.opaque());
  if (!isNew)
    return it->second;
  Value v = build(d);
  return elements[d.opaque()] = v;
}

Value ShapeArithmetic::build(Dim d) {
  Type i64 = rewriter.getI64Type();
  auto combine = [&](auto make) {
    Value result;
    for (Dim operand : d.operands()) {
      Value v = element(operand);
      if (!v)
        return Value();
      result = result ? make(result, v) : v;
    }
    return result;
  };
  auto with = [&](auto tag) {
    return combine([&](Value a, Value b) { return create<decltype(tag)>(untyped(i64), a, b); });
  };
  switch (d.kind()) {
  case Dim::Kind::Const:
    return create<nn::ConstantOp>(nn::makeInts(rewriter.getContext(), {1}, {d.value()}));
  case Dim::Kind::Symbol: {
    auto [argument, axis] = symbols.lookup(d.opaque());
    if (!argument)
      return {};
    return create<nn::ShapeOp>(untyped(i64), argument, rewriter.getI64IntegerAttr(axis),
                               rewriter.getI64IntegerAttr(axis + 1));
  }
  case Dim::Kind::Add:
    return with(nn::AddOp());
  case Dim::Kind::Mul:
    return with(nn::MulOp());
  case Dim::Kind::FloorDiv:
    return with(nn::DivOp());
  case Dim::Kind::Mod:
    return combine(
        [&](Value a, Value b) { return create<nn::ModOp>(untyped(i64), a, b, UnitAttr()); });
  case Dim::Kind::Min:
    return with(nn::MinOp());
  case Dim::Kind::Max:
    return with(nn::MaxOp());
  case Dim::Kind::Broadcast:
    return {};
  }
  llvm_unreachable("kind");
}

Value ShapeArithmetic::get(ArrayRef<Dim> content, Value like) {
  auto type = cast<RankedTensorType>(like.getType());
  if (!type.hasStaticShape() || type.getRank() > 1 || !type.getElementType().isSignlessInteger() ||
      type.getElementTypeBitWidth() < 32 || content.empty() || content.size() > 16)
    return {};
  std::vector<const void *> key;
  for (Dim d : content)
    key.push_back(d.opaque());
  auto [it, isNew] = tensors.try_emplace({key, type.getAsOpaquePointer()});
  if (!isNew)
    return it->second;
  SmallVector<Value> parts;
  for (Dim d : content) {
    Value part = element(d);
    if (!part)
      return {};
    parts.push_back(part);
  }
  Type i64 = rewriter.getI64Type();
  Value v = parts.size() == 1
                ? parts[0]
                : create<nn::ConcatOp>(untyped(i64), parts, rewriter.getI64IntegerAttr(0));
  if (type.getElementType() != i64)
    v = create<nn::CastOp>(untyped(type.getElementType()), v, TypeAttr::get(type.getElementType()));
  if (type.getRank() == 0)
    v = create<nn::SqueezeOp>(untyped(type.getElementType()), v,
                              rewriter.getDenseI64ArrayAttr({0}));
  // The shape functions must see through what was built (division of a size that might be negative,
  // say, is not understood).
  auto *got = shapes.ctx.content(v);
  if (!got || ArrayRef<Dim>(*got) != content)
    return {};
  return tensors[{key, type.getAsOpaquePointer()}] = v;
}

std::optional<SmallVector<int64_t>> reshapeOperand(ArrayRef<Dim> x, ArrayRef<Dim> target) {
  SmallVector<int64_t> operand;
  bool inferred = false;
  for (auto [i, d] : llvm::enumerate(target)) {
    if (d.isConst() && d.value() != 0) {
      operand.push_back(d.value());
    } else if (i < x.size() && x[i] == d) {
      operand.push_back(0);
    } else if (!inferred && !d.isConst()) {
      operand.push_back(-1);
      inferred = true;
    } else {
      return std::nullopt;
    }
  }
  return operand;
}

} // namespace nnopt

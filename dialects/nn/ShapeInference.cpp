//===- ShapeInference.cpp - facts about shapes ----------------------------===//
#include "dialects/nn/ShapeInference.h"

#include "dialects/nn/ShapeHelpers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nnopt::nn {

//===----------------------------------------------------------------------===//
// ShapeContext
//===----------------------------------------------------------------------===//

/// The entry of `nn.dims` for each dimension of a function argument, else null.
static ArrayAttr namedDims(Value v) {
  auto argument = dyn_cast<BlockArgument>(v);
  if (!argument || !argument.getOwner()->isEntryBlock())
    return {};
  auto func = dyn_cast_or_null<FunctionOpInterface>(argument.getOwner()->getParentOp());
  return func ? func.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "nn.dims") : ArrayAttr();
}

const ValueInfo &ShapeContext::info(Value v) {
  if (auto it = infos.find(v); it != infos.end())
    return *it->second;
  auto info = std::make_unique<ValueInfo>();
  auto type = dyn_cast<RankedTensorType>(v.getType());
  info->elementType = type ? type.getElementType() : v.getType();
  ArrayAttr named = namedDims(v);
  for (int64_t i = 0, e = type ? type.getRank() : 0; i < e; ++i) {
    Attribute entry = named && i < (int64_t)named.size() ? named[i] : Attribute();
    auto name = dyn_cast_or_null<StringAttr>(entry);
    auto size = dyn_cast_or_null<IntegerAttr>(entry);
    if (!type.isDynamicDim(i))
      info->dims.push_back(constant(type.getDimSize(i)));
    else if (size)
      info->dims.push_back(constant(size.getInt()));
    else if (name && !name.getValue().empty())
      info->dims.push_back(dims_.symbol(name.getValue()));
    else
      info->dims.push_back(unknown("d"));
  }
  const ValueInfo &result = *(infos[v] = std::move(info));
  if (type && shape::hasContentType(type.getElementType()) && shape::smallCount(result.dims)) {
    if (auto data = ConstantData::get(v)) {
      SmallVector<Dim> content;
      for (int64_t i = 0; i < data->size(); ++i)
        content.push_back(constant(data->asInt(i)));
      setContent(v, content);
    }
  }
  return result;
}

const SmallVector<Dim, 8> *ShapeContext::content(Value v) {
  const ValueInfo &i = info(v);
  return i.content ? &*i.content : nullptr;
}

std::optional<SmallVector<int64_t>> ShapeContext::constantContent(Value v) {
  const auto *elements = content(v);
  if (!elements)
    return std::nullopt;
  SmallVector<int64_t> values;
  for (Dim d : *elements) {
    if (!d.isConst())
      return std::nullopt;
    values.push_back(d.value());
  }
  return values;
}

Dim ShapeContext::scalarContent(Value v) {
  const auto *elements = v ? content(v) : nullptr;
  return elements && elements->size() == 1 ? elements->front() : Dim();
}

void ShapeContext::set(Value v, Type elementType, ArrayRef<Dim> dims) {
  auto &entry = infos[v];
  // The old entry may be what `dims` points into.
  auto fresh = std::make_unique<ValueInfo>();
  fresh->elementType = elementType;
  fresh->dims.assign(dims.begin(), dims.end());
  entry = std::move(fresh);
}

void ShapeContext::setContent(Value v, ArrayRef<Dim> content) {
  auto it = infos.find(v);
  assert(it != infos.end() && "content of a value without dimensions");
  ValueInfo &i = *it->second;
  if (!shape::hasContentType(i.elementType) ||
      shape::smallCount(i.dims) != std::optional<int64_t>(content.size()))
    return;
  i.content.emplace(content.begin(), content.end());
}

/// The type that the facts amount to.
static Type typeOf(const ValueInfo &info) {
  if (isa<SequenceType, OptionalType, MapType>(info.elementType))
    return info.elementType;
  SmallVector<int64_t> shape;
  for (Dim d : info.dims)
    shape.push_back(d.typeDim());
  return RankedTensorType::get(shape, info.elementType);
}

LogicalResult ShapeContext::infer(Operation *op) {
  auto function = dyn_cast<ShapeFunction>(op);
  if (!function)
    return success();
  if (failed(function.inferShapes(*this)))
    return failure();
  for (Value result : op->getResults()) {
    const ValueInfo &i = info(result);
    for (Dim d : i.dims)
      if (d.isConst() && d.value() < 0)
        return op->emitOpError("has a result of negative size ") << shape::str(i.dims);
    result.setType(typeOf(i));
  }
  return success();
}

LogicalResult ShapeContext::inferRegion(Region &region) {
  for (Block &block : region) {
    for (Operation &op : block) {
      if (isa<ShapeFunction>(op)) {
        if (failed(infer(&op)))
          return failure();
        continue;
      }
      for (Region &nested : op.getRegions())
        if (failed(inferRegion(nested)))
          return failure();
      if (auto func = dyn_cast<FunctionOpInterface>(op))
        refineFunctionType(func);
    }
  }
  return success();
}

void refineFunctionType(FunctionOpInterface func) {
  if (func.isExternal())
    return;
  Block &entry = func.getFunctionBody().front();
  SmallVector<Type> inputs(entry.getArgumentTypes()), results(func.getResultTypes());
  for (Block &block : func.getFunctionBody())
    if (!block.empty() && block.back().hasTrait<OpTrait::ReturnLike>())
      results = SmallVector<Type>(block.back().getOperandTypes());
  func.setType(func.cloneTypeWith(inputs, results));
}

bool isShapeOperandOf(Operation *op, unsigned index) {
  return TypeSwitch<Operation *, bool>(op)
      .Case<ShapeOp, SizeOp, ConstantOfShapeOp>([](auto) { return true; })
      .Case<ReshapeOp, ExpandOp, TileOp, RandomOp>([&](auto) { return index == 1; })
      .Case<SplitOp, SliceOp, Col2ImOp, DFTOp>([&](auto) { return index >= 1; })
      .Case<TopKOp, OneHotOp, CumSumOp, CumProdOp, ReduceOp, TriluOp>([&](auto) { return index == 1; })
      .Case<PadOp>(
          [&](PadOp pad) { return index >= 1 && pad->getOperand(index) != pad.getValue(); })
      .Case<ResizeOp>([&](auto) { return index >= 1; })
      .Default(false);
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

namespace shape {

std::string str(ArrayRef<Dim> dims) {
  std::string text = "[";
  for (auto [i, d] : llvm::enumerate(dims))
    text += (i ? ", " : "") + d.str();
  return text + "]";
}

bool differ(Dim a, Dim b) {
  if (a == b)
    return false;
  Dim difference = a - b;
  return difference.isAtLeast(1) || (b - a).isAtLeast(1);
}

std::optional<int64_t> smallCount(ArrayRef<Dim> dims) {
  int64_t count = 1;
  for (Dim d : dims) {
    if (!d.isConst() || d.value() < 0 || d.value() > kMaxContent)
      return std::nullopt;
    count *= d.value();
    if (count > kMaxContent)
      return std::nullopt;
  }
  return count;
}

Dim unknownDim(ShapeContext &ctx, Operation *op, unsigned r, unsigned rank, unsigned i,
               StringRef why) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(r).getType());
  if (type && type.getRank() == (int64_t)rank && !type.isDynamicDim(i))
    return ctx.constant(type.getDimSize(i));
  return ctx.unknown(why);
}

std::optional<Dims> partialContent(ShapeContext &ctx, Value v) {
  if (const auto *content = ctx.content(v))
    return Dims(content->begin(), content->end());
  auto count = smallCount(ctx.dims(v));
  if (!count)
    return std::nullopt;
  if (auto concat = v.getDefiningOp<ConcatOp>(); concat && ctx.rank(v) == 1) {
    Dims all;
    for (Value input : concat.getInputs()) {
      auto part = partialContent(ctx, input);
      if (!part)
        return std::nullopt;
      all.append(*part);
    }
    return all;
  }
  if (Operation *op = v.getDefiningOp())
    if (isa<ReshapeOp, SqueezeOp, UnsqueezeOp, FlattenOp, CastOp>(op))
      if (hasContentType(ctx.info(op->getOperand(0)).elementType))
        return partialContent(ctx, op->getOperand(0));
  return Dims(*count, Dim());
}

void copyInfo(ShapeContext &ctx, Value from, Value to) {
  const ValueInfo &i = ctx.info(from);
  ctx.set(to, i.elementType, i.dims);
  if (i.content)
    ctx.setContent(to, *i.content);
}

LogicalResult checkAxis(Operation *op, int64_t axis, int64_t rank) {
  if (axis >= 0 && axis < rank)
    return success();
  return op->emitOpError("axis ") << axis << " is out of range for rank " << rank;
}

LogicalResult checkRank(Operation *op, ShapeContext &ctx, Value v, StringRef name, unsigned rank) {
  if (ctx.rank(v) == rank)
    return success();
  return op->emitOpError() << name << " must have rank " << rank << ", got " << str(ctx.dims(v));
}

LogicalResult checkSame(Operation *op, Dim a, Dim b, StringRef what) {
  if (!differ(a, b))
    return success();
  return op->emitOpError() << what << " do not agree: " << a.str() << " and " << b.str();
}

SmallVector<int64_t> rowMajorStrides(ArrayRef<Dim> dims) {
  SmallVector<int64_t> strides(dims.size(), 1);
  for (int64_t i = (int64_t)dims.size() - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * dims[i + 1].value();
  return strides;
}

SmallVector<int64_t> unflatten(int64_t flat, ArrayRef<Dim> dims) {
  SmallVector<int64_t> position(dims.size());
  for (int64_t i = (int64_t)dims.size() - 1; i >= 0; --i) {
    position[i] = flat % dims[i].value();
    flat /= dims[i].value();
  }
  return position;
}

bool mentionsNewSymbol(Dim d, DimContext &ctx, size_t count) {
  if (d.kind() == Dim::Kind::Symbol)
    return llvm::is_contained(ctx.symbols().drop_front(count), d);
  return llvm::any_of(d.operands(), [&](Dim o) { return mentionsNewSymbol(o, ctx, count); });
}

} // namespace shape
} // namespace nnopt::nn

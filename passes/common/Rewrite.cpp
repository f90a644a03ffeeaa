//===- Rewrite.cpp - what the passes share --------------------------------===//
#include "passes/common/Rewrite.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>
#include <cstring>

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

FuncShapes::FuncShapes(func::FuncOp func) : ctx(dimContext), func(func) {}

/// Bounds symbols by the module's `nn.dim_bounds` (the importer writes it: [low, high], -1: none).
static void boundSymbols(func::FuncOp func, nn::DimContext &dims) {
  auto bounds = func->getParentOp()->getAttrOfType<DictionaryAttr>("nn.dim_bounds");
  if (!bounds)
    return;
  for (NamedAttribute bound : bounds) {
    auto range = dyn_cast<ArrayAttr>(bound.getValue());
    if (!range || range.size() != 2 || !isa<IntegerAttr>(range[0]) || !isa<IntegerAttr>(range[1]))
      continue;
    int64_t low = cast<IntegerAttr>(range[0]).getInt(), high = cast<IntegerAttr>(range[1]).getInt();
    dims.setBounds(dims.symbol(bound.getName()), low,
                   high < 0 ? std::nullopt : std::optional<int64_t>(high));
  }
}

LogicalResult FuncShapes::infer() {
  if (func.isExternal())
    return success();
  boundSymbols(func, dimContext);
  if (failed(ctx.inferRegion(func.getBody())))
    return failure();
  nn::refineFunctionType(cast<FunctionOpInterface>(func.getOperation()));
  return success();
}

void applyShapePatterns(func::FuncOp func, FuncShapes &shapes, RewritePatternSet patterns, bool topDown) {
  GreedyRewriteConfig config;
  config.setListener(&shapes);
  config.setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
  if (topDown)
    config.setUseTopDownTraversal(true);
  (void)applyPatternsGreedily(func, std::move(patterns), config);
}

bool isPlainF32(nn::LinearOp op) {
  return op.getEpilogue().empty() && elementTypeOf(op->getResult(0)).isF32() &&
         elementTypeOf(op.getActivation()).isF32() && elementTypeOf(op.getWeight()).isF32();
}

bool FuncShapes::isOneElement(Value v) {
  return llvm::all_of(dims(v), [](nn::Dim d) { return d.isConst(1); });
}

void FuncShapes::notifyOperationInserted(Operation *op, OpBuilder::InsertPoint previous) {
  // Moved operations keep their shapes; contents of a new region are announced one by one.
  if (!previous.isSet() && isa<nn::ShapeFunction>(op))
    (void)ctx.infer(op);
}

void FuncShapes::notifyOperationErased(Operation *op) {
  for (Value result : op->getResults())
    ctx.erase(result);
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Value argument : block.getArguments())
        ctx.erase(argument);
}

Location fusedLoc(ArrayRef<Operation *> ops) {
  SmallVector<Location> locs;
  for (Operation *op : ops)
    if (!llvm::is_contained(locs, op->getLoc()))
      locs.push_back(op->getLoc());
  return FusedLoc::get(ops.front()->getContext(), locs);
}

int64_t eraseDeadOps(func::FuncOp func, RewriterBase &rewriter) {
  int64_t erased = 0;
  SmallVector<Operation *> ops;
  // Inner operations come before the operation that holds them, so that a backward walk sees users
  // first.
  func.walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : llvm::reverse(ops))
    if (op != func && !op->hasTrait<OpTrait::IsTerminator>() && isOpTriviallyDead(op)) {
      rewriter.eraseOp(op);
      ++erased;
    }
  return erased;
}

//===----------------------------------------------------------------------===//
// Reshapes
//===----------------------------------------------------------------------===//

/// The shape operand of a reshape of a value of dimensions `from` to `to`, as reshape's -1 and 0.
static std::optional<SmallVector<int64_t>> targetOf(ArrayRef<nn::Dim> from, ArrayRef<nn::Dim> to) {
  SmallVector<int64_t> target;
  bool inferred = false;
  for (auto [i, d] : llvm::enumerate(to)) {
    if (d.isConst() && d.value() != 0)
      target.push_back(d.value());
    else if (i < from.size() && from[i] == d)
      target.push_back(0);
    else if (!inferred && !d.isConst()) {
      target.push_back(-1);
      inferred = true;
    } else {
      return std::nullopt;
    }
  }
  return target;
}

Value reshapeTo(Value x, ArrayRef<nn::Dim> to, OpBuilder &rewriter, FuncShapes &shapes,
                       Location loc) {
  if (shapes.dims(x) == to)
    return x;
  auto target = targetOf(shapes.dims(x), to);
  if (!target)
    return {};
  Value operand = makeIntsOp(rewriter, loc, *target);
  Value result =
      nn::ReshapeOp::create(rewriter, loc, untyped(elementTypeOf(x)), x, operand, UnitAttr());
  return shapes.dims(result) == to ? result : Value();
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

std::optional<std::vector<double>> numbersOf(Value v) {
  if (!isConstant(v))
    return std::nullopt;
  Type type = elementTypeOf(v);
  if (!type.isIntOrFloat())
    return std::nullopt;
  auto data = nn::ConstantData::get(v);
  if (!data)
    return std::nullopt;
  std::vector<double> values(data->size());
  if (type.isF32()) { // Weights: worth a loop without a type switch per element.
    const char *bytes = data->bytes().data();
    for (double &value : values) {
      float f;
      std::memcpy(&f, bytes, sizeof(f));
      value = f;
      bytes += sizeof(f);
    }
    return values;
  }
  for (int64_t i = 0, e = data->size(); i < e; ++i)
    values[i] = data->asDouble(i);
  return values;
}

std::optional<double> scalarOf(Value v) {
  if (!isConstant(v) || cast<RankedTensorType>(v.getType()).getNumElements() != 1)
    return std::nullopt;
  auto values = numbersOf(v);
  return values ? std::optional<double>(values->front()) : std::nullopt;
}

bool isScalar(Value v, double expected) {
  auto value = scalarOf(v);
  // Exporters write decimal constants such as 0.7978845 with varying care: accept a few ulp of f32.
  return value && std::fabs(*value - expected) <= 1e-6 * std::max(1.0, std::fabs(expected));
}

ElementsAttr makeNumbers(RankedTensorType type, ArrayRef<double> values, StringRef name) {
  if (type.getElementType().isF64())
    return nn::makeConstant(
        type, ArrayRef<char>((const char *)values.data(), values.size() * sizeof(double)), name);
  assert(type.getElementType().isF32() && "only f32 and f64 constants are made from numbers");
  std::vector<float> floats(values.begin(), values.end());
  return nn::makeConstant(
      type, ArrayRef<char>((const char *)floats.data(), floats.size() * sizeof(float)), name);
}

Value makeNumbersOp(OpBuilder &b, Location loc, Type elementType, ArrayRef<int64_t> shape,
                    ArrayRef<double> values, StringRef name) {
  return nn::ConstantOp::create(
      b, loc, makeNumbers(RankedTensorType::get(shape, elementType), values, name));
}

Value makeIntsOp(OpBuilder &b, Location loc, ArrayRef<int64_t> values) {
  return nn::ConstantOp::create(b, loc,
                                nn::makeInts(b.getContext(), {(int64_t)values.size()}, values));
}

std::optional<std::vector<double>> vectorAlong(Value v, int64_t axis, int64_t rank, int64_t size) {
  if (!isConstant(v) || rankOf(v) > rank || ShapedType::isDynamic(size))
    return std::nullopt;
  ArrayRef<int64_t> shape = shapeOf(v);
  int64_t offset = rank - shape.size();
  for (auto [i, d] : llvm::enumerate(shape))
    if (d != 1 && ((int64_t)i + offset != axis || d != size))
      return std::nullopt;
  auto values = numbersOf(v);
  if (!values || values->empty())
    return std::nullopt;
  if (values->size() == 1)
    values->assign(size, double(values->front()));
  return values;
}

std::vector<char> transposeBytes(ArrayRef<char> bytes, ArrayRef<int64_t> shape,
                                 ArrayRef<int64_t> perm, int64_t elementBytes) {
  size_t rank = shape.size();
  SmallVector<int64_t> sourceStrides(rank, 1);
  for (int64_t i = (int64_t)rank - 2; i >= 0; --i)
    sourceStrides[i] = sourceStrides[i + 1] * shape[i + 1];
  SmallVector<int64_t> outShape(rank), strides(rank), index(rank, 0);
  int64_t count = 1;
  for (size_t i = 0; i < rank; ++i) {
    outShape[i] = shape[perm[i]];
    strides[i] = sourceStrides[perm[i]];
    count *= outShape[i];
  }
  std::vector<char> result(count * elementBytes);
  int64_t source = 0;
  for (int64_t n = 0; n < count; ++n) {
    std::copy_n(bytes.data() + source * elementBytes, elementBytes,
                result.data() + n * elementBytes);
    for (int64_t i = (int64_t)rank - 1; i >= 0; --i) {
      source += strides[i];
      if (++index[i] < outShape[i])
        break;
      source -= strides[i] * outShape[i];
      index[i] = 0;
    }
  }
  return result;
}

SmallVector<int64_t> invertPermutation(ArrayRef<int64_t> perm) {
  SmallVector<int64_t> inverse(perm.size());
  for (auto [i, p] : llvm::enumerate(perm))
    inverse[p] = i;
  return inverse;
}

bool isIdentity(ArrayRef<int64_t> perm) {
  for (auto [i, p] : llvm::enumerate(perm))
    if ((int64_t)i != p)
      return false;
  return true;
}

} // namespace nnopt

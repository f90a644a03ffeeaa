//===- NarrowWeights.cpp - weights in fewer bits than the product -----------===//
#include "dialects/nn/NarrowWeights.h"

#include "dialects/nn/Constants.h"
#include <numeric>

using namespace mlir;

namespace nnopt::nn {

/// Groups are whole words of eight 4-bit weights.
static constexpr int64_t kGroupUnit = 8;

static ArrayRef<int64_t> shapeOf(Value v) { return cast<RankedTensorType>(v.getType()).getShape(); }
static bool isStatic(Value v) { return cast<RankedTensorType>(v.getType()).hasStaticShape(); }

/// The operand whose elements `op` keeps in their order; a slice: whose first rows or columns it keeps.
static Value keptOperand(Operation *op) {
  if (isa_and_nonnull<ReshapeOp, FlattenOp, SqueezeOp, UnsqueezeOp>(op))
    return op->getOperand(0);
  auto slice = dyn_cast_or_null<SliceOp>(op);
  if (!slice || !isStatic(slice.getX()) || cast<RankedTensorType>(slice.getX().getType()).getRank() != 2)
    return {};
  auto all = [](Value v, int64_t expected) {
    std::optional<ConstantData> data = v ? ConstantData::get(v) : std::nullopt;
    if (!data)
      return false;
    for (int64_t i = 0; i < data->size(); ++i)
      if (data->asInt(i) != expected)
        return false;
    return true;
  };
  bool fromStart = all(slice.getStarts(), 0) && (!slice.getSteps() || all(slice.getSteps(), 1));
  return fromStart ? slice.getX() : Value();
}

static bool is16Bit(Type type) { return type.isF16() || type.isBF16(); }

static bool isWideningKind(Operation *op) {
  if (auto cast = dyn_cast_or_null<CastOp>(op))
    return cast.getTo().isF32() && is16Bit(elementTypeOf(cast.getX().getType()));
  auto dequantize = dyn_cast_or_null<DequantizeOp>(op);
  if (!dequantize || !(dequantize.getTo().isF32() || is16Bit(dequantize.getTo())))
    return false;
  auto integer = dyn_cast<IntegerType>(elementTypeOf(dequantize.getX().getType()));
  return integer && integer.getWidth() <= 8 && integer.getWidth() > 1;
}

/// `shape`, in row-major order, is a matrix of `rows` rows: where in a parameter, which broadcasts to `shape`, the elements
/// of the rows (or of the columns) are. Rows and columns must be whole dimensions.
std::optional<NarrowWeights::Places> NarrowWeights::placesOf(Value parameter, ArrayRef<int64_t> shape, ArrayRef<int64_t> matrix,
                                                             bool transposed) {
  ArrayRef<int64_t> own = shapeOf(parameter);
  if (own.size() > shape.size())
    return std::nullopt;
  // What a step along each dimension adds.
  SmallVector<int64_t> steps(shape.size(), 0);
  int64_t stride = 1;
  for (size_t i = own.size(); i-- > 0;) {
    size_t d = shape.size() - own.size() + i;
    if (own[i] != 1 && own[i] != shape[d])
      return std::nullopt;
    steps[d] = own[i] == 1 ? 0 : stride;
    stride *= own[i];
  }
  size_t split = shape.size();
  int64_t inner = 1;
  while (split > 0 && inner < matrix[1])
    inner *= shape[--split];
  if (inner != matrix[1])
    return std::nullopt;
  auto along = [&](size_t begin, size_t end) {
    std::vector<int64_t> places = {0};
    for (size_t d = begin; d < end; ++d) {
      std::vector<int64_t> next;
      next.reserve(places.size() * shape[d]);
      for (int64_t place : places)
        for (int64_t i = 0; i < shape[d]; ++i)
          next.push_back(place + i * steps[d]);
      places = std::move(next);
    }
    return places;
  };
  Places result{along(0, split), along(split, shape.size())};
  if (transposed)
    std::swap(result.depth, result.columns);
  return result;
}

std::optional<NarrowWeights> NarrowWeights::get(MatMulOp op, bool of16Bit) {
  Type rows = elementTypeOf(op.getA().getType());
  if (!(rows.isF32() || (of16Bit && is16Bit(rows))) || rows != elementTypeOf(op.getB().getType()) || op.getTransposeA() ||
      op.getAZero() || op.getBZero() || (op.getBias() && !isa<FloatType>(elementTypeOf(op.getBias().getType()))))
    return std::nullopt;
  return of(op.getB(), op.getTransposeB());
}

std::optional<NarrowWeights> NarrowWeights::get(GatherOp op) {
  // Rows that are known are constants, too.
  if (op.getAxis() != 0 || op.getIndices().getDefiningOp<ConstantOp>() || !elementTypeOf(op.getX().getType()).isF32())
    return std::nullopt;
  return of(op.getX(), /*transposed=*/true);
}

std::optional<NarrowWeights> NarrowWeights::of(Value b, bool transposed) {
  if (!isStatic(b) || shapeOf(b).size() != 2)
    return std::nullopt;
  NarrowWeights w;
  ArrayRef<int64_t> matrix = shapeOf(b);
  w.depth = matrix[transposed ? 1 : 0];
  w.columns = matrix[transposed ? 0 : 1];
  if (w.columns < 2 || w.depth < 1)
    return std::nullopt;
  Operation *def = b.getDefiningOp();
  while (Value kept = keptOperand(def)) {
    if (isa<SliceOp>(def)) {
      // It must be the last to change the matrix.
      if (matrix != shapeOf(b) || shapeOf(def->getResult(0)) != matrix)
        return std::nullopt;
      matrix = shapeOf(kept);
    }
    def = kept.getDefiningOp();
  }
  if (!isWideningKind(def) || matrix.size() != 2)
    return std::nullopt;
  w.values = def->getOperand(0);
  // Sizes that do not fit each other come from parameters that broadcast against the values.
  if (!isStatic(w.values) || cast<RankedTensorType>(w.values.getType()).getNumElements() != matrix[0] * matrix[1])
    return std::nullopt;
  w.depthStride = transposed ? 1 : matrix[1];
  w.columnStride = transposed ? matrix[1] : 1;
  w.group = w.depth;
  auto dequantize = dyn_cast<DequantizeOp>(def);
  if (!dequantize)
    return w;
  w.scale = dequantize.getScale();
  w.zero = dequantize.getZeroPoint();
  for (auto [parameter, places] : {std::pair(w.scale, &w.scaleOf), std::pair(w.zero, &w.zeroOf)}) {
    if (!parameter)
      continue;
    std::optional<Places> found =
        isStatic(parameter) ? placesOf(parameter, shapeOf(w.values), matrix, transposed) : std::nullopt;
    if (!found)
      return std::nullopt;
    for (int64_t k = 1; k < w.depth; ++k)
      if (found->depth[k] != found->depth[k - 1])
        w.group = std::gcd(w.group == w.depth ? k : w.group, k);
    *places = std::move(*found);
  }
  if (w.group != w.depth && w.group % kGroupUnit != 0)
    return std::nullopt;
  return w;
}

DequantizeOp NarrowWeights::byteRows(MatMulOp op) {
  auto rows = op.getA().getDefiningOp<DequantizeOp>();
  if (!rows || !rows.getTo().isF32() || rows.getZeroPoint() || !elementTypeOf(rows.getX().getType()).isSignlessInteger(8) ||
      !elementTypeOf(rows.getScale().getType()).isF32())
    return {};
  ArrayRef<int64_t> shape = shapeOf(rows.getX()), scales = shapeOf(rows.getScale());
  if (shape.empty() || shape.size() != scales.size() || scales.back() != 1 || shape.drop_back() != scales.drop_back())
    return {};
  std::optional<NarrowWeights> weights = get(op);
  return weights && !weights->isFloat() ? rows : DequantizeOp();
}

bool NarrowWeights::isByteRows(Operation *op) {
  return isa<DequantizeOp>(op) && !op->use_empty() && llvm::all_of(op->getUsers(), [&](Operation *user) {
    auto matmul = dyn_cast<MatMulOp>(user);
    return matmul && byteRows(matmul) == op;
  });
}

bool NarrowWeights::isWidening(Operation *op, bool of16Bit) {
  if (!isWideningKind(op) || op->use_empty())
    return false;
  SmallVector<Value> work = {op->getResult(0)};
  while (!work.empty()) {
    Value v = work.pop_back_val();
    for (OpOperand &use : v.getUses()) {
      Operation *user = use.getOwner();
      if (keptOperand(user) && use.getOperandNumber() == 0 && !user->use_empty()) {
        work.push_back(user->getResult(0));
        continue;
      }
      auto matmul = dyn_cast<MatMulOp>(user);
      auto gather = dyn_cast<GatherOp>(user);
      bool reads = (matmul && &use == &matmul.getBMutable() && get(matmul, of16Bit)) ||
                   (gather && &use == &gather.getXMutable() && get(gather));
      if (!reads)
        return false;
    }
  }
  return true;
}

} // namespace nnopt::nn

//===- Direct.cpp - constants computed without compiling ------------------===//
#include "passes/fold-constants/Direct.h"

#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <cstring>

using namespace mlir;

namespace nnopt {

/// Elementwise operations up to this many elements are computed here.
constexpr int64_t kMaxDirect = 4096;

/// The same elements under another shape: blobs are shared, not copied.
static ElementsAttr withShape(ElementsAttr value, RankedTensorType type) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  if (auto dense = dyn_cast<DenseElementsAttr>(value))
    return dense.reshape(type);
  return {};
}

static ElementsAttr transposed(nn::TransposeOp op, ElementsAttr value) {
  auto type = op.getType();
  if (auto dense = dyn_cast<DenseElementsAttr>(value); dense && dense.isSplat())
    return dense.reshape(type);
  auto data = nn::ConstantData::get(value);
  if (!data)
    return {};
  std::vector<char> bytes = transposeBytes(data->bytes(), data->type().getShape(), op.getPerm(),
                                           nn::elementBytes(type.getElementType()));
  return nn::makeConstant(type, bytes, "transposed");
}

/// Entries of a short vector in another order (scales of a resize that changed its layout).
static ElementsAttr gathered(nn::GatherOp op, ArrayRef<ElementsAttr> values) {
  auto data = nn::ConstantData::get(values[0]), indices = nn::ConstantData::get(values[1]);
  if (!data || !indices || data->type().getRank() != 1 || indices->size() > kMaxDirect)
    return {};
  int64_t width = nn::elementBytes(data->type().getElementType());
  std::vector<char> bytes;
  for (int64_t i = 0; i < indices->size(); ++i) {
    int64_t index = indices->asInt(i);
    index += index < 0 ? data->size() : 0;
    if (index < 0 || index >= data->size())
      return {};
    const char *from = data->bytes().data() + index * width;
    bytes.insert(bytes.end(), from, from + width);
  }
  return nn::makeConstant(op.getType(), bytes, "gathered");
}

//===----------------------------------------------------------------------===//
// Elementwise operations in double or int64
//===----------------------------------------------------------------------===//

/// f32 results are computed in double and rounded once: for + - * / and sqrt that is the f32 result
/// exactly (double has more than twice the bits), for others it is at least as good.
static std::optional<double> onFloats(Operation *op, ArrayRef<double> v) {
  return TypeSwitch<Operation *, std::optional<double>>(op)
      .Case<nn::AddOp>([&](auto) { return v[0] + v[1]; })
      .Case<nn::SubOp>([&](auto) { return v[0] - v[1]; })
      .Case<nn::MulOp>([&](auto) { return v[0] * v[1]; })
      .Case<nn::DivOp>([&](auto) { return v[0] / v[1]; })
      .Case<nn::PowOp>([&](auto) { return std::pow(v[0], v[1]); })
      .Case<nn::NegOp>([&](auto) { return -v[0]; })
      .Case<nn::AbsOp>([&](auto) { return std::fabs(v[0]); })
      .Case<nn::SqrtOp>([&](auto) { return std::sqrt(v[0]); })
      .Case<nn::ReciprocalOp>([&](auto) { return 1 / v[0]; })
      .Case<nn::ExpOp>([&](auto) { return std::exp(v[0]); })
      .Case<nn::LogOp>([&](auto) { return std::log(v[0]); })
      .Case<nn::FloorOp>([&](auto) { return std::floor(v[0]); })
      .Case<nn::CeilOp>([&](auto) { return std::ceil(v[0]); })
      .Case<nn::ReluOp>([&](auto) { return v[0] < 0 ? 0 : v[0]; })
      .Default(std::nullopt);
}

/// Integers wrap around as in two's complement.
static std::optional<int64_t> onInts(Operation *op, ArrayRef<int64_t> v) {
  auto wrap = [](uint64_t x) { return std::optional<int64_t>((int64_t)x); };
  uint64_t a = v[0], b = v.size() > 1 ? v[1] : 0;
  return TypeSwitch<Operation *, std::optional<int64_t>>(op)
      .Case<nn::AddOp>([&](auto) { return wrap(a + b); })
      .Case<nn::SubOp>([&](auto) { return wrap(a - b); })
      .Case<nn::MulOp>([&](auto) { return wrap(a * b); })
      .Case<nn::NegOp>([&](auto) { return wrap(0 - a); })
      .Case<nn::MinOp>([&](auto) { return std::min(v[0], v[1]); })
      .Case<nn::MaxOp>([&](auto) { return std::max(v[0], v[1]); })
      .Default(std::nullopt);
}

static bool isPlainFloat(Type t) { return t.isF32() || t.isF64(); }
static bool isPlainInt(Type t) { return t.isSignlessInteger(32) || t.isSignlessInteger(64); }

/// Appends a value of an f32, f64, i32 or i64 element.
template <typename T> static void appendAs(std::vector<char> &bytes, T value) {
  const char *p = (const char *)&value;
  bytes.insert(bytes.end(), p, p + sizeof(T));
}
static void append(std::vector<char> &bytes, Type type, double value) {
  type.isF32() ? appendAs<float>(bytes, value) : appendAs<double>(bytes, value);
}
static void append(std::vector<char> &bytes, Type type, int64_t value) {
  type.isSignlessInteger(32) ? appendAs<int32_t>(bytes, value) : appendAs<int64_t>(bytes, value);
}

/// Position in an operand of shape `shape` of flat element `flat` of a result of shape `result`.
static int64_t broadcastIndex(int64_t flat, ArrayRef<int64_t> result, ArrayRef<int64_t> shape) {
  int64_t index = 0, stride = 1;
  for (int64_t i = (int64_t)result.size() - 1, j = (int64_t)shape.size() - 1; j >= 0; --i, --j) {
    if (shape[j] != 1)
      index += flat % result[i] * stride;
    stride *= shape[j];
    flat /= result[i];
  }
  return index;
}

static ElementsAttr elementwise(Operation *op, ArrayRef<ElementsAttr> values, ArrayRef<const Unrounded *> unrounded,
                                Unrounded &result) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  Type to = type.getElementType();
  if (!type.hasStaticShape() || type.getNumElements() > kMaxDirect ||
      !(isPlainFloat(to) || isPlainInt(to)))
    return {};
  SmallVector<nn::ConstantData> data;
  for (ElementsAttr value : values) {
    auto one = nn::ConstantData::get(value);
    Type from = one ? one->type().getElementType() : Type();
    bool ok =
        one && (isa<nn::CastOp>(op) ? isPlainFloat(from) || isPlainInt(from) || from.isInteger(1)
                                    : from == to);
    if (!ok)
      return {};
    data.push_back(std::move(*one));
  }
  // Where a function jumps, the rounded element is what the model sees.
  bool jumps = isa<nn::FloorOp, nn::CeilOp>(op) || !isPlainFloat(to);
  std::vector<char> bytes;
  for (int64_t flat = 0, e = type.getNumElements(); flat < e; ++flat) {
    SmallVector<double> floats;
    SmallVector<int64_t> ints;
    for (auto [d, exact] : llvm::zip(data, unrounded)) {
      int64_t i = broadcastIndex(flat, type.getShape(), d.type().getShape());
      if (isPlainFloat(d.type().getElementType()))
        floats.push_back(exact && !jumps ? (*exact)[i] : d.asDouble(i));
      else
        ints.push_back(d.asInt(i));
    }
    if (isa<nn::CastOp>(op)) {
      if (isPlainFloat(to)) {
        result.push_back(floats.empty() ? (double)ints[0] : floats[0]);
        append(bytes, to, result.back());
        continue;
      }
      // Out of range is left to the kernels' rules.
      if (!floats.empty() && !(std::fabs(floats[0]) < 2147483647.0))
        return {};
      append(bytes, to, floats.empty() ? ints[0] : (int64_t)floats[0]);
    } else if (isPlainFloat(to)) {
      auto v = onFloats(op, floats);
      if (!v)
        return {};
      result.push_back(*v);
      append(bytes, to, *v);
    } else {
      auto v = onInts(op, ints);
      if (!v)
        return {};
      append(bytes, to, *v);
    }
  }
  return nn::makeConstant(type, bytes, "folded");
}

bool isDirect(Operation *op) {
  auto type = op->getNumResults() == 1 ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : RankedTensorType();
  if (!type || !type.hasStaticShape())
    return false;
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp>(op))
    return true;
  return isa<nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp, nn::PowOp, nn::NegOp, nn::AbsOp, nn::SqrtOp, nn::ReciprocalOp,
             nn::ExpOp, nn::LogOp, nn::FloorOp, nn::CeilOp, nn::ReluOp, nn::CastOp>(op) &&
         type.getNumElements() <= kMaxDirect;
}

ElementsAttr computeDirectly(Operation *op, ArrayRef<ElementsAttr> values, ArrayRef<const Unrounded *> unrounded,
                             Unrounded &result) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  if (!type.hasStaticShape())
    return {};
  const Unrounded *exact = unrounded.front();
  if (isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op)) {
    if (exact)
      result = *exact;
    return withShape(values[0], type);
  }
  if (auto transpose = dyn_cast<nn::TransposeOp>(op)) {
    if (exact) {
      std::vector<char> bytes = transposeBytes(ArrayRef<char>((const char *)exact->data(), exact->size() * sizeof(double)),
                                               shapeOf(transpose.getX()), transpose.getPerm(), sizeof(double));
      result.resize(exact->size());
      std::memcpy(result.data(), bytes.data(), bytes.size());
    }
    return transposed(transpose, values[0]);
  }
  if (auto gather = dyn_cast<nn::GatherOp>(op))
    return gathered(gather, values);
  if (isa<nn::Elementwise>(op))
    return elementwise(op, values, unrounded, result);
  return {};
}

} // namespace nnopt

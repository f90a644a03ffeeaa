//===- Constants.cpp - reading and making constant tensors ----------------===//
#include "dialects/nn/Constants.h"

#include "dialects/nn/NN.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/bit.h"
#include <cstring>

using namespace mlir;

namespace nnopt::nn {

/// Constants of up to this many elements are `dense` attributes: readable in text and foldable.
static constexpr int64_t kMaxDense = 64;

int64_t elementBytes(Type type) {
  if (isHostType(type))
    return 0; // Not in memory that kernels see.
  return std::max<int64_t>(1, (type.getIntOrFloatBitWidth() + 7) / 8);
}

/// int4 and int2.
static bool isNarrowSigned(Type type) {
  return type.isSignlessInteger() && type.getIntOrFloatBitWidth() < 8 && !type.isInteger(1);
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

std::optional<ConstantData> ConstantData::get(Attribute attr) {
  ConstantData data;
  auto elements = dyn_cast_or_null<ElementsAttr>(attr);
  if (!elements || !isa<RankedTensorType>(elements.getShapedType()))
    return std::nullopt;
  data.tensorType = cast<RankedTensorType>(elements.getShapedType());
  Type type = data.tensorType.getElementType();
  if (!type.isIntOrFloat())
    return std::nullopt;
  int64_t width = elementBytes(type), count = data.tensorType.getNumElements();

  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || (int64_t)blob->getData().size() < count * width)
      return std::nullopt;
    data.view = blob->getData().take_front(count * width);
    return data;
  }
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense)
    return std::nullopt;
  if (type.isInteger(1)) {
    // The attribute may pack bools; in memory each is a byte.
    if (dense.isSplat()) {
      data.owned.assign(count, dense.getSplatValue<bool>());
    } else {
      data.owned.reserve(count);
      for (bool b : dense.getValues<bool>())
        data.owned.push_back(b);
    }
    return data;
  }
  ArrayRef<char> raw = dense.getRawData();
  if (isNarrowSigned(type)) {
    // The attribute holds clean bits, memory sign-extended ones.
    unsigned bits = type.getIntOrFloatBitWidth();
    for (int64_t i = 0; i < count; ++i)
      data.owned.push_back(llvm::SignExtend32((uint8_t)raw[dense.isSplat() ? 0 : i], bits));
    return data;
  }
  if (!dense.isSplat() || count <= 1) {
    data.view = raw.take_front(count * width);
    return data;
  }
  data.owned.resize(count * width);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(data.owned.data() + i * width, raw.data(), width);
  return data;
}

std::optional<ConstantData> ConstantData::get(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : ConstantOp();
  return constant ? get(constant.getValue()) : std::nullopt;
}

/// Element i as its bits, zero-extended.
static uint64_t bitsOf(ArrayRef<char> bytes, int64_t width, int64_t i) {
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + i * width, width); // Little endian.
  return bits;
}

/// IEEE binary16 to float, exactly.
static float halfToFloat(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, magnitude = uint32_t(h & 0x7fff) << 13;
  if (magnitude >= 0x0f800000) // Infinity, NaN.
    return llvm::bit_cast<float>(sign | magnitude | 0x70000000);
  // The exponent biases differ by 112: times 2^112, which also makes subnormals right.
  float f = llvm::bit_cast<float>(magnitude) * llvm::bit_cast<float>(uint32_t(127 + 112) << 23);
  return llvm::bit_cast<float>(llvm::bit_cast<uint32_t>(f) | sign);
}

static double toDouble(Type type, uint64_t bits) {
  if (type.isF32())
    return llvm::bit_cast<float>(uint32_t(bits));
  if (type.isF64())
    return llvm::bit_cast<double>(bits);
  if (type.isBF16())
    return llvm::bit_cast<float>(uint32_t(bits) << 16);
  if (type.isF16())
    return halfToFloat(bits);
  if (auto floatType = dyn_cast<FloatType>(type)) {
    llvm::APFloat value(floatType.getFloatSemantics(), llvm::APInt(floatType.getWidth(), bits));
    bool lossy;
    value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &lossy);
    return value.convertToDouble();
  }
  unsigned width = type.getIntOrFloatBitWidth();
  if (type.isUnsignedInteger() || width == 1)
    return double(bits);
  return double(llvm::SignExtend64(bits, width));
}

double ConstantData::asDouble(int64_t i) const {
  Type type = tensorType.getElementType();
  return toDouble(type, bitsOf(bytes(), elementBytes(type), i));
}

int64_t ConstantData::asInt(int64_t i) const {
  Type type = tensorType.getElementType();
  uint64_t bits = bitsOf(bytes(), elementBytes(type), i);
  if (isa<FloatType>(type))
    return int64_t(toDouble(type, bits));
  unsigned width = type.getIntOrFloatBitWidth();
  if (type.isUnsignedInteger() || width == 1)
    return int64_t(bits);
  return llvm::SignExtend64(bits, width);
}

std::vector<float> ConstantData::asFloats() const {
  std::vector<float> values(size());
  Type type = tensorType.getElementType();
  if (type.isF32()) {
    std::memcpy(values.data(), bytes().data(), values.size() * sizeof(float));
    return values;
  }
  int64_t width = elementBytes(type);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = toDouble(type, bitsOf(bytes(), width, i));
  return values;
}

//===----------------------------------------------------------------------===//
// Making
//===----------------------------------------------------------------------===//

/// A resource attribute; the manager makes the name unique.
static ElementsAttr makeResource(RankedTensorType type, AsmResourceBlob blob, StringRef name) {
  return DenseResourceElementsAttr::get(type, name.empty() ? "constant" : name, std::move(blob));
}

static ElementsAttr makeDense(RankedTensorType type, ArrayRef<char> bytes) {
  if (isNarrowSigned(type.getElementType())) {
    std::vector<char> clean(bytes.begin(), bytes.end());
    for (char &c : clean)
      c &= (1 << type.getElementTypeBitWidth()) - 1;
    return DenseElementsAttr::getFromRawBuffer(type, clean);
  }
  if (!type.getElementType().isInteger(1))
    return DenseElementsAttr::getFromRawBuffer(type, bytes);
  SmallVector<bool> bools;
  for (char c : bytes)
    bools.push_back(c != 0);
  return DenseElementsAttr::get(type, bools);
}

ElementsAttr makeConstant(RankedTensorType type, ArrayRef<char> bytes, StringRef name) {
  assert((int64_t)bytes.size() == type.getNumElements() * elementBytes(type.getElementType()));
  if (type.getNumElements() <= kMaxDense)
    return makeDense(type, bytes);
  return makeResource(type, HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64), name);
}

ElementsAttr makeConstantView(RankedTensorType type, ArrayRef<char> bytes, StringRef name) {
  assert((int64_t)bytes.size() == type.getNumElements() * elementBytes(type.getElementType()));
  if (type.getNumElements() <= kMaxDense)
    return makeDense(type, bytes);
  // Files align tensors to nothing in particular; readers go through ConstantData.
  return makeResource(type, UnmanagedAsmResourceBlob::allocateWithAlign(bytes, /*align=*/1), name);
}

template <typename T> static ArrayRef<char> asBytes(ArrayRef<T> values) {
  return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

ElementsAttr makeFloats(MLIRContext *ctx, ArrayRef<int64_t> shape, ArrayRef<float> values,
                        StringRef name) {
  return makeConstant(RankedTensorType::get(shape, Float32Type::get(ctx)), asBytes(values), name);
}

/// float to IEEE binary16, halves to even; finite numbers stay finite.
static uint16_t floatToHalf(float f) {
  uint32_t bits = llvm::bit_cast<uint32_t>(f), magnitude = bits & 0x7fffffff;
  uint16_t sign = bits >> 16 & 0x8000;
  if (magnitude >= 0x7f800000) // Infinity, NaN.
    return sign | 0x7c00 | (magnitude > 0x7f800000 ? 0x200 : 0);
  if (magnitude < 0x38800000) { // Subnormal: multiples of 2^-24, the last bit of numbers from 0.5 to 1.
    float shifted = llvm::bit_cast<float>(magnitude) + 0.5f;
    return sign | (llvm::bit_cast<uint32_t>(shifted) - llvm::bit_cast<uint32_t>(0.5f));
  }
  uint32_t rounded = (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13;
  return sign | std::min<uint32_t>(rounded - (112 << 10), 0x7bff);
}

ElementsAttr makeHalves(MLIRContext *ctx, ArrayRef<int64_t> shape, ArrayRef<float> values, StringRef name) {
  std::vector<uint16_t> halves(values.size());
  std::transform(values.begin(), values.end(), halves.begin(), floatToHalf);
  return makeConstant(RankedTensorType::get(shape, Float16Type::get(ctx)), asBytes(ArrayRef(halves)), name);
}

ElementsAttr makeInts(MLIRContext *ctx, ArrayRef<int64_t> shape, ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get(shape, IntegerType::get(ctx, 64));
  return makeConstant(type, asBytes(values), "ints");
}

} // namespace nnopt::nn

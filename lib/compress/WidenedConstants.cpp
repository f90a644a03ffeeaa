//===- WidenedConstants.cpp - constants in fewer bits -----------------------===//

#include "lib/compress/WidenedConstants.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;

namespace nnopt::compress {

int64_t groupFor(int64_t columns, int64_t wanted) {
  for (int64_t group = wanted / kGroupUnit * kGroupUnit; group >= kGroupUnit; group -= kGroupUnit)
    if (columns % group == 0)
      return group;
  return columns;
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

/// Integers [rows, columns] as a constant, blocks of columns being a dimension of their own: [rows, blocks, size] or
/// [blocks, size, rows]; and what broadcasts along such a block with size 1.
static Value codesConstant(RewriterBase &rewriter, Location loc, const RoundedWeights::Codes &codes, int64_t blocks, bool rowsLast,
                           Type type, StringRef name) {
  int64_t rows = codes.rows(), columns = codes.cols(), size = columns / blocks;
  std::vector<char> bytes(rows * columns);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      bytes[rowsLast ? c * rows + r : r * columns + c] = char(codes(r, c));
  SmallVector<int64_t> shape = rowsLast ? SmallVector<int64_t>{blocks, size, rows} : SmallVector<int64_t>{rows, blocks, size};
  if (blocks == 1)
    shape.erase(shape.begin() + (rowsLast ? 0 : 1));
  return nn::ConstantOp::create(rewriter, loc, nn::makeConstant(RankedTensorType::get(shape, type), bytes, name));
}

static Value scalesConstant(RewriterBase &rewriter, Location loc, const Matrix &scales, bool rowsLast) {
  int64_t rows = scales.rows(), blocks = scales.cols();
  Matrix ordered = rowsLast ? Matrix(scales.transpose()) : scales;
  SmallVector<int64_t> shape = rowsLast ? SmallVector<int64_t>{blocks, 1, rows} : SmallVector<int64_t>{rows, blocks, 1};
  if (blocks == 1)
    shape = rowsLast ? SmallVector<int64_t>{rows} : SmallVector<int64_t>{rows, 1};
  ArrayRef<float> values(ordered.data(), size_t(ordered.size()));
  return nn::ConstantOp::create(rewriter, loc, nn::makeFloats(rewriter.getContext(), shape, values, "weight_scale"));
}

Value widenedIntegers(RewriterBase &rewriter, Location loc, const RoundedWeights &rounded, int bits, ArrayRef<int64_t> shape,
                      bool rowsLast) {
  bool symmetric = !rounded.zeros.size();
  int64_t blocks = rounded.scales.cols();
  Type f32 = rewriter.getF32Type();
  Type type = IntegerType::get(rewriter.getContext(), bits, symmetric ? IntegerType::Signless : IntegerType::Unsigned);
  Value codes = codesConstant(rewriter, loc, rounded.codes, blocks, rowsLast, type, "quantized_weight");
  Value scale = scalesConstant(rewriter, loc, rounded.scales, rowsLast), zero;
  if (!symmetric) {
    // One for each block: blocks of one element.
    zero = codesConstant(rewriter, loc, rounded.zeros, blocks, rowsLast, type, "zero_point");
    if (blocks == 1 && rowsLast)
      zero = nn::SqueezeOp::create(rewriter, loc, untyped(type), zero, rewriter.getDenseI64ArrayAttr({0}));
  }
  Value wide = nn::DequantizeOp::create(rewriter, loc, untyped(f32), codes, scale, zero, TypeAttr::get(f32));
  if (blocks == 1)
    return wide;
  return nn::ReshapeOp::create(rewriter, loc, untyped(f32), wide, makeIntsOp(rewriter, loc, shape), /*allow_zero=*/false);
}

//===----------------------------------------------------------------------===//
// Halves
//===----------------------------------------------------------------------===//

static llvm::APFloat toHalf(float v, StringRef type) {
  llvm::APFloat f(v);
  bool loses;
  f.convert(type == "bf16" ? llvm::APFloat::BFloat() : llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &loses);
  return f;
}

Value widenedHalves(RewriterBase &rewriter, Location loc, ArrayRef<float> values, ArrayRef<int64_t> shape, StringRef type) {
  std::vector<char> bytes;
  bytes.reserve(values.size() * 2);
  for (float v : values) {
    uint64_t bits = toHalf(v, type).bitcastToAPInt().getZExtValue();
    bytes.push_back(char(bits & 255));
    bytes.push_back(char(bits >> 8));
  }
  Type element = type == "bf16" ? Type(rewriter.getBF16Type()) : rewriter.getF16Type(), f32 = rewriter.getF32Type();
  Value constant =
      nn::ConstantOp::create(rewriter, loc, nn::makeConstant(RankedTensorType::get(shape, element), bytes, "narrow_weight"));
  return nn::CastOp::create(rewriter, loc, untyped(f32), constant, f32, /*saturate=*/true);
}

std::vector<float> roundedToHalves(ArrayRef<float> values, StringRef type) {
  std::vector<float> result;
  for (float v : values) {
    llvm::APFloat half = toHalf(v, type);
    bool loses;
    half.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &loses);
    result.push_back(half.convertToFloat());
  }
  return result;
}

} // namespace nnopt::compress

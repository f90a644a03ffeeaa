//===- Quantization.cpp - import rules of quantize and dequantize ---------===//
//
// These are written out in primitive operations; passes that know integer kernels find the pattern.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Scale or zero point of one number, or of one for each index along an axis, shaped to broadcast.
Value alongAxis(Node &n, Value x, Value v) {
  if (n.rank(v) == 0)
    return v;
  if (n.rank(v) == 1 && n.dim(v, 0).isConst(1))
    return n.scalar(v);
  n.needRank(v, 1, 1);
  int64_t rank = n.rank(x), axis = n.axis(n.i("axis", 1), rank);
  Ints after;
  for (int64_t i = 1; i < rank - axis; ++i)
    after.push_back(i);
  return after.empty() ? v : n.unsqueeze(v, after);
}

void refuseBlocks(Node &n) {
  n.ignore({"axis"});
  if (n.i("block_size", 0) != 0)
    n.unsupported("attribute 'block_size'", "blocked quantization is not supported");
}

/// (x - zero_point) * scale, computed in the type of the scale (f32 at least).
void importDequantize(Node &n) {
  refuseBlocks(n);
  Value x = n.in(0), scale = n.in(1);
  n.needFloat(scale);
  if (int64_t dtype = n.i("output_dtype", 0); dtype && elementType(n.ctx(), dtype) != n.elt(scale))
    n.unsupported("attribute 'output_dtype'", "must be the type of the scale");
  Type result = n.elt(scale), f32 = n.b().getF32Type();
  // Differences of integers are exact in f32 for 8 and 16 bits.
  Value wide = n.convert(x, f32);
  if (n.hasIn(2)) {
    n.needSameType({x, n.in(2)});
    wide = n.make<nn::SubOp>(wide, n.convert(alongAxis(n, x, n.in(2)), f32));
  }
  n.out(0, n.convert(n.make<nn::MulOp>(wide, n.convert(alongAxis(n, x, scale), f32)), result));
}

/// saturate(round(x / scale) + zero_point) for the 8- and 16-bit integers.
void importQuantize(Node &n) {
  refuseBlocks(n);
  n.ignore({"saturate", "precision"});
  Value x = n.in(0), scale = n.in(1), zero = n.optIn(2);
  n.needFloat(x);
  Type f32 = n.b().getF32Type(), result = n.b().getIntegerType(8, false);
  if (int64_t dtype = n.i("output_dtype", 0))
    result = elementType(n.ctx(), dtype);
  if (zero)
    result = n.elt(zero);
  auto type = dyn_cast_or_null<IntegerType>(result);
  if (!type || type.getWidth() > 16 || type.getWidth() == 1)
    n.unsupported("type", "only 8- and 16-bit integers are supported");
  Value y = n.make<nn::RoundOp>(
      n.make<nn::DivOp>(n.convert(x, f32), n.convert(alongAxis(n, x, scale), f32)));
  if (zero)
    y = n.make<nn::AddOp>(y, n.convert(alongAxis(n, x, zero), f32));
  double span = double(int64_t(1) << type.getWidth()), low = type.isUnsigned() ? 0 : -span / 2;
  y = n.make<nn::ClipOp>(y, n.number(low, f32), n.number(low + span - 1, f32));
  n.out(0, n.convert(y, type));
}

/// u8 with the range of x widened to hold 0: scale = (max - min) / 255, zero = round(-min / scale).
void importDynamicQuantize(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  Type type = n.elt(x), u8 = n.b().getIntegerType(8, false);
  Ints all;
  for (unsigned a = 0; a < n.rank(x); ++a)
    all.push_back(a);
  Value zero = n.number(0, type), top = n.number(255, type);
  Value high = n.make<nn::MaxOp>(n.reduce(x, nn::ReduceKind::max, all, false), zero);
  Value low = n.make<nn::MinOp>(n.reduce(x, nn::ReduceKind::min, all, false), zero);
  Value scale = n.make<nn::DivOp>(n.make<nn::SubOp>(high, low), top);
  Value point = n.make<nn::DivOp>(n.make<nn::SubOp>(zero, low), scale);
  point = n.make<nn::RoundOp>(n.make<nn::ClipOp>(point, zero, top));
  Value y = n.make<nn::AddOp>(n.make<nn::RoundOp>(n.make<nn::DivOp>(x, scale)), point);
  n.out(0, n.convert(n.make<nn::ClipOp>(y, zero, top), u8));
  n.out(1, scale);
  n.out(2, n.convert(point, u8));
}

} // namespace

void registerQuantization(Registry &r) {
  r.add("DequantizeLinear", 2, 3, importDequantize, 1, 10);
  r.add("QuantizeLinear", 2, 3, importQuantize, 1, 10);
  r.add("DynamicQuantizeLinear", 1, 1, importDynamicQuantize, 3, 11);
}

} // namespace nnopt::onnx

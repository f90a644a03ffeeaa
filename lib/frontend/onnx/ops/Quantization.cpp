//===- Quantization.cpp - import rules of quantize and dequantize ---------===//
#include "lib/frontend/onnx/ops/Quantized.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

Value dequantize(Node &n, Value x, Value scale, Value zero, Type to) {
  return n.make<nn::DequantizeOp>(x, scale, zero, TypeAttr::get(to ? to : n.elt(scale)));
}

Value quantize(Node &n, Value x, Value scale, Value zero, Type to) {
  return n.make<nn::QuantizeOp>(x, scale, zero, TypeAttr::get(to), n.b().getBoolAttr(true), TypeAttr());
}

Value requantize(Node &n, Value accumulator, Value multiplier, Value zero) {
  Type f32 = n.b().getF32Type();
  Value y = n.make<nn::MulOp>(n.convert(accumulator, f32), multiplier);
  return quantize(n, y, n.number(1, f32), zero, n.elt(zero));
}

/// Whether a scale or zero point is one number.
static bool isOneNumber(Node &n, Value v) {
  return n.rank(v) == 0 || (n.rank(v) == 1 && n.dim(v, 0).isConst(1));
}

Value alongAxis(Node &n, Value v, int64_t axis, int64_t rank) {
  if (isOneNumber(n, v))
    return n.scalar(v);
  n.needRank(v, 1, 1);
  Ints after;
  for (int64_t i = 1; i < rank - axis; ++i)
    after.push_back(i);
  return after.empty() ? v : n.unsqueeze(v, after);
}

Quantized quantizeDynamically(Node &n, Value x) {
  n.needFloat(x);
  Type type = n.elt(x), u8 = n.b().getIntegerType(8, false);
  Ints all;
  for (unsigned a = 0; a < n.rank(x); ++a)
    all.push_back(a);
  // The range, widened to hold 0, is mapped to [0, 255].
  Value zero = n.number(0, type), top = n.number(255, type);
  Value high = n.make<nn::MaxOp>(n.reduce(x, nn::ReduceKind::max, all, false), zero);
  Value low = n.make<nn::MinOp>(n.reduce(x, nn::ReduceKind::min, all, false), zero);
  Value range = n.make<nn::SubOp>(high, low);
  // A tensor of zeros has any scale; onnxruntime takes 1.
  Value scale = n.make<nn::WhereOp>(n.make<nn::EqualOp>(range, zero), n.number(1, type),
                                    n.make<nn::DivOp>(range, top));
  Value point = n.make<nn::DivOp>(n.make<nn::SubOp>(zero, low), scale);
  point = n.convert(n.make<nn::RoundOp>(n.make<nn::ClipOp>(point, zero, top)), u8);
  return {quantize(n, x, scale, point, u8), scale, point};
}

Value unpackBits(Node &n, Value bytes, int64_t bits) {
  if (bits == 8)
    return bytes;
  if (bits != 2 && bits != 4)
    n.unsupported("attribute 'bits'", "only 2, 4 and 8 are supported");
  Type u8 = n.b().getIntegerType(8, false);
  int64_t rank = n.rank(bytes), perByte = 8 / bits;
  Values fields;
  for (int64_t i = 0; i < perByte; ++i) {
    Value field = bytes;
    if (i)
      field = n.make<nn::BitShiftOp>(field, n.number(i * bits, u8), n.flag(true));
    if (i + 1 < perByte)
      field = n.make<nn::BitwiseAndOp>(field, n.number((1 << bits) - 1, u8));
    fields.push_back(n.unsqueeze(field, {rank}));
  }
  Value all = n.make<nn::ConcatOp>(fields, n.i64(rank));
  Ints shape(rank, 0);
  if (!n.dim(bytes, rank - 1).isConst())
    n.unsupported("shape", "the packed dimension must be static");
  shape.back() = n.dim(bytes, rank - 1).value() * perByte;
  all = n.reshape(all, shape);
  return n.convert(all, n.b().getIntegerType(bits, false));
}

namespace {

/// The operands of QuantizeLinear and DequantizeLinear, with scale and zero point shaped to broadcast.
/// Blocks become a dimension of their own where sizes are known; the result then has to get `shape`.
struct LinearOperands {
  Value x, scale, zero;
  std::optional<Ints> shape;

  LinearOperands(Value x, Value scale, Value zero) : x(x), scale(scale), zero(zero) {}
  explicit LinearOperands(Node &n) : x(n.in(0)), scale(n.in(1)), zero(n.optIn(2)) {
    int64_t axis = n.i("axis", 1), block = n.i("block_size", 0), rank = n.rank(x);
    n.needFloat(scale);
    if (block < 0)
      n.invalid("attribute 'block_size' must not be negative");
    // A vector beside a scalar has one element too, known or not.
    bool isOne = isOneNumber(n, scale) || (zero && n.rank(scale) == 1 && n.rank(zero) == 0);
    if (zero && n.rank(zero) != n.rank(scale) && (!isOne || n.rank(zero) > 1))
      n.invalid("scale and zero point have different shapes");
    if (isOne) {
      scale = n.scalar(scale);
      zero = zero ? n.scalar(zero) : zero;
    } else if (!block) {
      axis = n.axis(axis, rank);
      scale = alongAxis(n, scale, axis, rank);
      zero = zero ? alongAxis(n, zero, axis, rank) : zero;
    } else {
      n.needRank(scale, rank, rank);
      splitBlocks(n, n.axis(axis, rank), block);
    }
  }

  void splitBlocks(Node &n, int64_t axis, int64_t block) {
    Dim size = n.dim(x, axis);
    auto isSplit = [&](Value v) { return v && n.rank(v) > 0; }; // a single zero point broadcasts
    // One block broadcasts as it is, and so do blocks of one element.
    if (size.isConst(block) || block == 1)
      return;
    bool split = size.isConst() && size.value() && size.value() % block == 0;
    Ints before(axis, 0), after;
    for (Dim d : n.dims(x).drop_front(axis + 1)) {
      split &= d.isConst() && d.value();
      after.push_back(split ? d.value() : 0);
    }
    if (!split) {
      // Number i / block of the blocks for index i.
      Value index = n.make<nn::DivOp>(n.countTo(n.sizeOf(x, axis)), n.intConstant(block));
      for (Value *v : {&scale, &zero})
        if (isSplit(*v))
          *v = n.make<nn::GatherOp>(*v, index, n.i64(axis));
      return;
    }
    Ints blocks = before;
    shape = before;
    shape->push_back(size.value());
    blocks.append({size.value() / block, block});
    for (int64_t d : after) {
      shape->push_back(d);
      blocks.push_back(d);
    }
    x = n.reshape(x, blocks);
    for (Value *v : {&scale, &zero})
      if (isSplit(*v))
        *v = n.unsqueeze(*v, {axis + 1});
  }

  Value result(Node &n, Value y) { return shape ? n.reshape(y, *shape) : y; }
};

/// The type an attribute names; null where it is absent.
Type typeAttribute(Node &n, StringRef name) {
  int64_t value = n.i(name, 0);
  if (!value)
    return {};
  Type type = elementType(n.ctx(), value);
  if (!type)
    n.unsupported("attribute '" + name + "'", "element type " + dataTypeName(value) + " is not supported");
  return type;
}

/// The zero point of a float type can only be 0.
Value dropFloatZero(Node &n, Value zero, Type type) { return isa<FloatType>(type) ? Value() : zero; }

void importDequantize(Node &n) {
  LinearOperands o(n);
  if (o.zero)
    n.needSameType({o.x, o.zero});
  Type to = typeAttribute(n, "output_dtype");
  Value zero = dropFloatZero(n, o.zero, n.elt(o.x));
  n.out(0, o.result(n, dequantize(n, o.x, o.scale, zero, to)));
}

void importQuantize(Node &n) {
  LinearOperands o(n);
  Type to = typeAttribute(n, "output_dtype"), precision = typeAttribute(n, "precision");
  if (to && o.zero && n.elt(o.zero) != to)
    n.invalid("attribute 'output_dtype' is not the type of the zero point");
  if (o.zero)
    to = n.elt(o.zero);
  if (!to)
    to = n.b().getIntegerType(8, false);
  if (to.getIntOrFloatBitWidth() > 16 || to.isInteger(1) || to.isF16() || to.isBF16())
    n.unsupported("type", "only integers of up to 16 bits and floats of up to 8 are supported");
  Value zero = dropFloatZero(n, o.zero, to);
  Value y = n.make<nn::QuantizeOp>(o.x, o.scale, zero, TypeAttr::get(to),
                                   n.b().getBoolAttr(isa<IntegerType>(to) || n.i("saturate", 1)),
                                   precision ? TypeAttr::get(precision) : TypeAttr());
  n.out(0, o.result(n, y));
}

void importDynamicQuantize(Node &n) {
  Quantized q = quantizeDynamically(n, n.in(0));
  n.outs({q.values, q.scale, q.zero});
}

} // namespace

Value dequantizeBlocks(Node &n, Value x, Value scale, Value zero, int64_t axis, int64_t block) {
  LinearOperands o(x, scale, zero);
  o.splitBlocks(n, axis, block);
  return o.result(n, dequantize(n, o.x, o.scale, o.zero));
}

void registerQuantization(Registry &r) {
  for (std::string domain : {"", "com.microsoft."}) {
    int64_t since = domain.empty() ? 10 : 1;
    r.add(domain + "DequantizeLinear", 2, 3, importDequantize, 1, since);
    r.add(domain + "QuantizeLinear", 2, 3, importQuantize, 1, since);
  }
  r.add("DynamicQuantizeLinear", 1, 1, importDynamicQuantize, 3, 11);
}

} // namespace nnopt::onnx

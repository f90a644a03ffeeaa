//===- ContribQuantization.cpp - com.microsoft: quantized operators -------===//
//
// Elementwise operators and pooling on quantized tensors, and products with weights of few bits.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/ops/Quantized.h"
#include "lib/frontend/onnx/ops/Window.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// A tensor with one scale and one zero point (may be absent).
struct Tensor {
  Value x, scale, zero;

  /// Three operands of the node from `first` on.
  Tensor(Node &n, unsigned first) : x(n.in(first)), scale(n.scalar(n.in(first + 1))), zero(n.optIn(first + 2)) {
    if (zero) {
      n.needSameType({x, zero});
      zero = n.scalar(zero);
    }
  }
  Value real(Node &n) { return dequantize(n, x, scale, zero); }
  /// x - zero, as exact floats.
  Value difference(Node &n) { return dequantize(n, x, n.number(1, n.b().getF32Type()), zero); }
};

/// The scale of the result and its zero point, two operands from `first` on; `type` is the result's.
struct Target {
  Value scale, zero;

  Target(Node &n, unsigned first, Type type) : scale(n.scalar(n.in(first))), zero(n.optIn(first + 1)) {
    zero = zero ? n.scalar(zero) : n.number(0, type);
  }
  Value quantized(Node &n, Value y) { return quantize(n, y, scale, zero, n.elt(zero)); }
  /// y * from / scale, rounded.
  Value rescaled(Node &n, Value y, Value from) {
    return requantize(n, y, n.make<nn::DivOp>(from, scale), zero);
  }
};

void importAdd(Node &n) {
  Tensor a(n, 0), b(n, 3);
  Target c(n, 6, n.elt(a.x));
  n.out(0, c.quantized(n, n.make<nn::AddOp>(a.real(n), b.real(n))));
}

void importMul(Node &n) {
  Tensor a(n, 0), b(n, 3);
  Target c(n, 6, n.elt(a.x));
  Value product = n.make<nn::MulOp>(a.difference(n), b.difference(n)); // exact
  n.out(0, c.rescaled(n, product, n.make<nn::MulOp>(a.scale, b.scale)));
}

void importSigmoid(Node &n) {
  Tensor x(n, 0);
  Target y(n, 3, n.elt(x.x));
  n.out(0, y.quantized(n, n.make<nn::SigmoidOp>(x.real(n))));
}

void importLeakyRelu(Node &n) {
  Tensor x(n, 0);
  Target y(n, 3, n.elt(x.x));
  n.out(0, y.quantized(n, n.make<nn::LeakyReluOp>(x.real(n), n.f64(n.f("alpha", 0.01f)))));
}

/// `opset` is that of the Softmax it stands for: before 13 the operand is a matrix split at `axis`.
void importSoftmax(Node &n) {
  Tensor x(n, 0);
  Target y(n, 3, n.elt(x.x));
  int64_t rank = n.rank(x.x), opset = n.i("opset");
  int64_t axis = n.axis(n.i("axis", opset < 13 ? 1 : -1), rank);
  Value real = x.real(n);
  if (opset >= 13 || axis == rank - 1) {
    n.out(0, y.quantized(n, n.make<nn::SoftmaxOp>(real, n.i64(axis), n.flag(false))));
    return;
  }
  Value rows = n.make<nn::SoftmaxOp>(n.make<nn::FlattenOp>(real, n.i64(axis)), n.i64(1), n.flag(false));
  n.out(0, y.quantized(n, n.make<nn::ReshapeOp>(rows, n.shapeOf(real), n.flag(true))));
}

void importConcat(Node &n) {
  if (n.numInputs() < 5 || n.numInputs() % 3 != 2)
    n.invalid("it needs three inputs for each tensor");
  Target y(n, 0, n.elt(n.in(1)));
  Values parts;
  for (unsigned i = 2; i < n.numInputs(); i += 3)
    parts.push_back(Tensor(n, i).real(n));
  int64_t axis = n.axis(n.i("axis"), n.rank(parts[0]));
  n.out(0, y.quantized(n, n.make<nn::ConcatOp>(parts, n.i64(axis))));
}

void importWhere(Node &n) {
  Tensor a(n, 1), b(n, 4);
  Target y(n, 7, n.elt(a.x));
  n.needBool(n.in(0));
  n.out(0, y.quantized(n, n.make<nn::WhereOp>(n.in(0), a.real(n), b.real(n))));
}

/// Means of x - zero, whose sums are exact, are scaled afterwards.
template <typename Pool> void averages(Node &n, Pool pool) {
  Tensor x(n, 0);
  Target y(n, 3, n.elt(x.x));
  n.needRank(x.x, 3);
  n.out(0, y.rescaled(n, pool(x.difference(n)), x.scale));
}

void importGlobalAveragePool(Node &n) {
  bool last = n.i("channels_last", 0);
  averages(n, [&](Value x) {
    Ints axes;
    for (int64_t a = last ? 1 : 2, end = n.rank(x) - (last ? 1 : 0); a < end; ++a)
      axes.push_back(a);
    return n.reduce(x, nn::ReduceKind::mean, axes, true);
  });
}

void importAveragePool(Node &n) {
  bool last = n.i("channels_last", 0);
  averages(n, [&](Value x) {
    int64_t rank = n.rank(x);
    Ints toFirst = {0, rank - 1}, toLast = {0};
    for (int64_t i = 1; i < rank - 1; ++i) {
      toFirst.push_back(i);
      toLast.push_back(i + 1);
    }
    toLast.push_back(1);
    if (last)
      x = n.transpose(x, toFirst);
    Value y = averagePool(n, x);
    return last ? n.transpose(y, toLast) : y;
  });
}

/// A times the transpose of weights [N, K] in blocks of integers with few bits.
void importMatMulNBits(Node &n) {
  Value a = n.in(0), scales = n.in(2), zeros = n.optIn(3);
  int64_t bits = n.i("bits", 4), columns = n.i("N"), depth = n.i("K"), block = n.i("block_size");
  n.ignore({"accuracy_level"}); // ours is never below f32
  n.needFloat(a);
  if (n.i("weight_prepacked", 0) != 0)
    n.unsupported("attribute 'weight_prepacked'", "only 0 (not prepacked) is supported");
  if (n.hasIn(4))
    n.unsupported("input g_idx", "groups in another order than the blocks are not supported");
  if (columns < 1 || depth < 1 || block < 1 || block * bits % 8)
    n.invalid("K, N and block_size must be positive, and a block must fill its bytes");
  int64_t blocks = (depth + block - 1) / block;
  Value w = unpackBits(n, n.reshape(n.in(1), {columns, blocks, block * bits / 8}), bits);
  scales = n.unsqueeze(n.reshape(scales, {columns, blocks}), {2});
  Type type = n.elt(a);
  Value real;
  if (zeros && isa<FloatType>(n.elt(zeros))) {
    Value difference = n.make<nn::SubOp>(
        n.convert(w, n.elt(zeros)), n.unsqueeze(n.reshape(zeros, {columns, blocks}), {2}));
    real = n.convert(n.make<nn::MulOp>(difference, n.convert(scales, n.elt(zeros))), type);
  } else {
    Value zero = n.number(double(int64_t(1) << (bits - 1)), n.elt(w));
    if (zeros) {
      int64_t bytes = (blocks * bits + 7) / 8;
      zeros = unpackBits(n, n.reshape(zeros, {columns, bytes}), bits);
      if (bytes * 8 / bits != blocks)
        zeros = n.slice(zeros, 1, 0, blocks);
      zero = n.unsqueeze(zeros, {2});
    }
    real = dequantize(n, w, scales, zero, type);
  }
  real = n.reshape(real, {columns, blocks * block});
  if (blocks * block != depth)
    real = n.slice(real, 1, 0, depth);
  n.out(0, n.matmul(a, real, n.optIn(5), false, true));
}

/// Slices of a table in blocks of integers with few bits: embeddings.
void importGatherBlockQuantized(Node &n) {
  Value table = n.in(0), scales = n.in(2), zeros = n.optIn(3);
  int64_t bits = n.i("bits", 4), block = n.i("block_size", 128);
  if (n.elt(table).isUnsignedInteger(8)) {
    // Elements of fewer bits share bytes, and 0 is the middle of their range unless there are zero points.
    table = unpackBits(n, table, bits);
    if (zeros)
      zeros = unpackBits(n, zeros, bits);
    else
      zeros = n.number(double(int64_t(1) << (bits - 1)), n.elt(table));
  }
  int64_t rank = n.rank(table), axis = n.axis(n.i("quantize_axis", 1), rank), gathered = n.axis(n.i("gather_axis", 0), rank);
  n.needRank(scales, rank, rank);
  if (block < 1)
    n.invalid("block_size must be positive");
  // Bytes may hold more zero points than there are blocks.
  if (zeros && n.rank(zeros) == rank && n.dim(scales, rank - 1).isConst())
    zeros = n.slice(zeros, rank - 1, 0, n.dim(scales, rank - 1).value());
  n.out(0, n.make<nn::GatherOp>(dequantizeBlocks(n, table, scales, zeros, axis, block), n.in(1), n.i64(gathered)));
}

} // namespace

void registerContribQuantization(Registry &r) {
  r.add("com.microsoft.QLinearAdd", 7, 8, importAdd, 1, 1);
  r.add("com.microsoft.QLinearMul", 7, 8, importMul, 1, 1);
  r.add("com.microsoft.QLinearSigmoid", 4, 5, importSigmoid, 1, 1);
  r.add("com.microsoft.QLinearLeakyRelu", 4, 5, importLeakyRelu, 1, 1);
  r.add("com.microsoft.QLinearSoftmax", 5, 5, importSoftmax, 1, 1);
  r.add("com.microsoft.QLinearConcat", 5, Registry::any, importConcat, 1, 1);
  r.add("com.microsoft.QLinearWhere", 8, 9, importWhere, 1, 1);
  r.add("com.microsoft.QLinearAveragePool", 4, 5, importAveragePool, 1, 1);
  r.add("com.microsoft.QLinearGlobalAveragePool", 5, 5, importGlobalAveragePool, 1, 1);
  r.add("com.microsoft.MatMulNBits", 3, 6, importMatMulNBits, 1, 1);
  r.add("com.microsoft.GatherBlockQuantized", 3, 4, importGatherBlockQuantized, 1, 1);
}

} // namespace nnopt::onnx

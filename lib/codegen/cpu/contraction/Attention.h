//===- Attention.h - what the attention kernels share -----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_ATTENTION_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_ATTENTION_H

#include "dialects/nn/Precision.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

namespace nnopt::cpu {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What both kernels share. Where empty rows are `zero`, a row that sees no key, or only keys that its mask excludes, is 0:
/// its largest score is -inf, which counts as 0, and the sum of its exponentials is 0, which counts as 1.
struct Attention {
  Kernel &k;
  nn::AttentionOp op;
  nn::Dim batch, heads, queries, keyHeads, keys, width, valueWidth;
  Buffer q, keyBuffer, value, out;
  std::optional<Buffer> mask;
  mlir::Type operandType;
  mlir::Type type; // scores and sums

  /// `strided`: the kernel reads q, k and v and writes the result by itself.
  Attention(Kernel &k, nn::AttentionOp op, bool strided) : k(k), op(op) {
    Lowering &l = k.lowering;
    const nn::Dims qd = l.dims(op.getQ()), kd = l.dims(op.getK()), vd = l.dims(op.getV());
    batch = qd[0];
    heads = qd[1];
    queries = qd[2];
    width = qd[3];
    keyHeads = kd[1];
    keys = kd[2];
    valueWidth = vd[3];
    operandType = l.shapes.info(op.getQ()).elementType;
    type = operandType.isF64() ? operandType : mlir::Type(k.b.getF32Type());
    if (op.getMask())
      mask = k.read(op.getMask());
    if (strided)
      return;
    q = k.read(op.getQ());
    keyBuffer = k.read(op.getK());
    value = k.read(op.getV());
    out = k.write(op.getResult());
  }

  bool emptyRowsAreZero() { return op.getEmptyRows() == nn::EmptyRows::zero; }
  bool isNarrow() const { return operandType.getIntOrFloatBitWidth() < 32; }
  /// Whether products are of bf16 (sums and softmax are not), as narrow-to-bf16 says by an attribute.
  bool productsAreNarrow() const { return op->hasAttr(nn::kBf16Products) && operandType.isF32(); }
  /// A scalar as a product takes it.
  mlir::Value asFactor(mlir::Value v) {
    return productsAreNarrow() ? k.toFloat(k.fromFloat(v, k.b.getBF16Type())) : v;
  }
  /// A scalar rounded to the type of the operands, where that is narrower than the one of the computation.
  mlir::Value rounded(mlir::Value v) { return k.rounded(v, operandType); }
  double scale() { return op.getScale().convertToDouble(); }
  /// The scale is no part of adjust(): the exponential applies it, to differences of scores.
  bool scaleLater = false;
  double softcap() { return op.getSoftcap().convertToDouble(); }
  mlir::Value number(double x, int64_t lanes) { return lanes ? k.constant(k.vec(lanes, type), x) : k.constant(type, x); }

  /// 0 for a scalar.
  static int64_t lanesOf(mlir::Value v) {
    auto vector = llvm::dyn_cast<mlir::VectorType>(v.getType());
    return vector ? vector.getNumElements() : 0;
  }

  /// Keys that query row `row` may see, before masking.
  Ix visible(Ix row) {
    Ix count = k.dim(keys);
    if (!op.getCausal())
      return count;
    Ix shift = op.getCausalFromEnd() ? count - k.dim(queries) : k.c(0);
    return (row + shift + 1).max(k.c(0)).min(count);
  }

  /// First element of the mask for a query, and the distance of neighbouring keys (0 or 1).
  struct MaskRow {
    Ix offset, step;
  };
  MaskRow maskRow(Ix image, Ix head, Ix row) {
    MaskRow result{k.c(0), k.c(0)};
    llvm::SmallVector<Ix> strides = k.strides(mask->dims);
    Ix at[] = {image, head, row};
    nn::Dim full[] = {batch, heads, queries, keys};
    size_t missing = 4 - mask->dims.size();
    for (size_t d = 0; d < mask->dims.size(); ++d) {
      nn::Dim size = mask->dims[d];
      Ix stride = size.isConst(1) ? k.c(0) : strides[d];
      if (!size.isConst(1) && size != full[missing + d])
        stride = k.selectIx(k.dim(size) == 1, k.c(0), stride);
      if (missing + d == 3)
        result.step = stride;
      else
        result.offset = result.offset + at[missing + d] * stride;
    }
    return result;
  }

  /// Scale (unless it was applied to q and k), soft cap and mask of scores; `m`: the mask's elements for
  /// them, or null. Where empty rows are `zero`, what a mask excludes is -inf whatever its score is.
  mlir::Value adjust(mlir::Value s, mlir::Value m) {
    int64_t lanes = lanesOf(s);
    auto mul = [&](mlir::Value a, double b) -> mlir::Value {
      return rounded(mlir::arith::MulFOp::create(k.b, k.loc, a, number(b, lanes)));
    };
    if (scale() != 1 && !isNarrow() && !scaleLater)
      s = mul(s, scale());
    if (softcap() > 0)
      s = mul(rounded(mlir::math::TanhOp::create(k.b, k.loc, mul(s, 1 / softcap()))), softcap());
    if (!m)
      return s;
    mlir::Value excluded = number(-infinity, lanes);
    if (mlir::getElementTypeOrSelf(m.getType()).isInteger(1))
      return k.select(m, s, op.getMaskValue() ? number(op.getMaskValue()->convertToDouble(), lanes) : excluded);
    m = k.fromFloat(k.toFloat(m), s.getType());
    mlir::Value sum = rounded(mlir::arith::AddFOp::create(k.b, k.loc, s, m));
    return emptyRowsAreZero() ? k.select(isExcluded(m), excluded, sum) : sum;
  }
  /// v == -inf.
  mlir::Value isExcluded(mlir::Value v) {
    return mlir::arith::CmpFOp::create(k.b, k.loc, mlir::arith::CmpFPredicate::OEQ, v, number(-infinity, lanesOf(v)));
  }
  /// What is subtracted from the scores of a row whose largest is `top`.
  mlir::Value shiftOf(mlir::Value top) {
    return emptyRowsAreZero() ? k.select(isExcluded(top), number(0, 0), top) : top;
  }
  /// What the exponentials of a row are divided by.
  mlir::Value divisorOf(mlir::Value sum) {
    if (!emptyRowsAreZero())
      return sum;
    mlir::Value none = mlir::arith::CmpFOp::create(k.b, k.loc, mlir::arith::CmpFPredicate::OEQ, sum, number(0, 0));
    return k.select(none, number(1, 0), sum);
  }
  /// The product of a row of q and one of k. Narrow operands are scaled and rounded before.
  mlir::Value score(Ix qRow, Ix keyRow) {
    Ix depth = k.dim(width);
    if (productsAreNarrow())
      return k.loop(k.c(0), depth, 1, {number(0, 0)}, [&](Ix i, mlir::ValueRange in) {
        mlir::Value a = asFactor(k.load(q, qRow + i)), b = asFactor(k.load(keyBuffer, keyRow + i));
        return llvm::SmallVector<mlir::Value>{multiplyAdd(k, a, b, in[0])};
      })[0];
    if (!isNarrow())
      return dotProduct(k, q, qRow, k.c(1), keyBuffer, keyRow, k.c(1), depth, number(0, 0));
    auto scaled = [&](const Buffer &buffer, Ix at, double factor) {
      mlir::Value x = loadAs(k, buffer, at, type);
      return rounded(mlir::arith::MulFOp::create(k.b, k.loc, x, rounded(number(factor, 0))));
    };
    double root = std::sqrt(std::fabs(scale()));
    mlir::Value sum = k.loop(k.c(0), depth, 1, {number(0, 0)}, [&](Ix i, mlir::ValueRange in) {
      mlir::Value a = scaled(q, qRow + i, scale() < 0 ? -root : root), b = scaled(keyBuffer, keyRow + i, root);
      return llvm::SmallVector<mlir::Value>{multiplyAdd(k, a, b, in[0])};
    })[0];
    return rounded(sum);
  }
};

} // namespace nnopt::cpu

#endif

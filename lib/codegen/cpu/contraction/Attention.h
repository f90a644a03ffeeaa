//===- Attention.h - what the attention kernels share -----------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_ATTENTION_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_ATTENTION_H

#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

namespace nnopt::cpu {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What both kernels share.
struct Attention {
  Kernel &k;
  nn::AttentionOp op;
  nn::Dim batch, heads, queries, keyHeads, keys, width, valueWidth;
  Buffer q, keyBuffer, value, out;
  std::optional<Buffer> mask;
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
    type = l.shapes.info(op.getQ()).elementType.isF64() ? k.b.getF64Type() : k.b.getF32Type();
    if (op.getMask())
      mask = k.read(op.getMask());
    if (strided)
      return;
    q = k.read(op.getQ());
    keyBuffer = k.read(op.getK());
    value = k.read(op.getV());
    out = k.write(op.getResult());
  }

  double scale() { return op.getScale().convertToDouble(); }
  double softcap() { return op.getSoftcap().convertToDouble(); }
  mlir::Value number(double x, int64_t lanes) { return lanes ? k.constant(k.vec(lanes, type), x) : k.constant(type, x); }

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

  /// Scale, soft cap and mask of scores; `m`: the mask's elements for them, or null.
  mlir::Value adjust(mlir::Value s, mlir::Value m) {
    int64_t lanes = mlir::isa<mlir::VectorType>(s.getType()) ? mlir::cast<mlir::VectorType>(s.getType()).getNumElements() : 0;
    auto mul = [&](mlir::Value a, double b) -> mlir::Value { return mlir::arith::MulFOp::create(k.b, k.loc, a, number(b, lanes)); };
    if (scale() != 1)
      s = mul(s, scale());
    if (softcap() > 0)
      s = mul(mlir::math::TanhOp::create(k.b, k.loc, mul(s, 1 / softcap())), softcap());
    if (!m)
      return s;
    if (mlir::getElementTypeOrSelf(m.getType()).isInteger(1)) {
      double otherwise = op.getMaskValue() ? op.getMaskValue()->convertToDouble() : -infinity;
      return k.select(m, s, number(otherwise, lanes));
    }
    return mlir::arith::AddFOp::create(k.b, k.loc, s, k.fromFloat(k.toFloat(m), s.getType()));
  }
};

} // namespace nnopt::cpu

#endif

//===- Attention.cpp - attention row by row ----------------------------------===//

#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

using namespace mlir;

namespace nnopt::cpu {

/// One query row at a time: its scores are kept in memory of the thread.
static LogicalResult emitRows(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  const nn::Dims q = lowering.dims(op.getQ()), kd = lowering.dims(op.getK()), v = lowering.dims(op.getV());
  nn::Dim heads = q[1], queries = q[2], keys = kd[2];
  Kernel k(lowering, op, "attention_rows");
  Buffer qb = k.read(op.getQ()), kb = k.read(op.getK()), vb = k.read(op.getV());
  std::optional<Buffer> mask;
  if (op.getMask())
    mask = k.read(op.getMask());
  Buffer out = k.write(op.getResult());
  Type type = qb.valueType.isF64() ? qb.valueType : Type(k.b.getF32Type());
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  Buffer scores = k.at(k.scratch(keys * bytes), type);
  Buffer sums = k.at(k.scratch(v[3] * bytes), type);
  Ix width = k.dim(q[3]), valueWidth = k.dim(v[3]), keyCount = k.dim(keys);
  Value negInf = k.constant(type, -std::numeric_limits<double>::infinity());
  auto number = [&](double x) { return k.constant(type, x); };
  auto mul = [&](Value a, Value b) -> Value { return arith::MulFOp::create(k.b, k.loc, a, b); };

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, {q[0], heads, queries});
    Ix keyHead = at[1] / (k.dim(heads) / k.dim(kd[1]).max(k.c(1)));
    Ix qRow = task * width;
    Ix kMatrix = (at[0] * k.dim(kd[1]) + keyHead) * keyCount * width;
    Ix vMatrix = (at[0] * k.dim(v[1]) + keyHead) * keyCount * valueWidth;
    // Keys that this query may see.
    Ix visible = keyCount;
    if (op.getCausal()) {
      Ix shift = op.getCausalFromEnd() ? keyCount - k.dim(queries) : k.c(0);
      visible = (at[2] + shift + 1).max(k.c(0)).min(keyCount);
    }
    Ix maskRow = k.c(0);
    Ix maskStep = k.c(1);
    if (mask) {
      SmallVector<Ix> strides = k.strides(mask->dims);
      nn::Dims full{q[0], heads, queries, keys};
      size_t missing = 4 - mask->dims.size();
      for (size_t d = 0; d < mask->dims.size(); ++d) {
        nn::Dim size = mask->dims[d];
        Ix stride = size.isConst(1) ? k.c(0) : strides[d];
        if (!size.isConst(1) && size != full[missing + d])
          stride = k.selectIx(k.dim(size) == 1, k.c(0), stride);
        if (missing + d == 3)
          maskStep = stride;
        else
          maskRow = maskRow + at[missing + d] * stride;
      }
      if (mask->dims.empty())
        maskStep = k.c(0);
    }

    Value largest = k.loop(k.c(0), visible, 1, {negInf}, [&](Ix j, ValueRange in) {
      Value s = dotProduct(k, qb, qRow, k.c(1), kb, kMatrix + j * width, k.c(1), width, number(0));
      s = mul(s, number(op.getScale().convertToDouble()));
      double cap = op.getSoftcap().convertToDouble();
      if (cap > 0)
        s = mul(math::TanhOp::create(k.b, k.loc, mul(s, number(1 / cap))), number(cap));
      if (mask) {
        Value m = k.load(*mask, maskRow + j * maskStep);
        if (m.getType().isInteger(1))
          s = k.select(m, s, negInf);
        else
          s = arith::AddFOp::create(k.b, k.loc, s, k.fromFloat(k.toFloat(m), type));
      }
      k.store(scores, j, s);
      return SmallVector<Value>{arith::MaximumFOp::create(k.b, k.loc, in[0], s)};
    })[0];
    Value total = k.loop(k.c(0), visible, 1, {number(0)}, [&](Ix j, ValueRange in) {
      Value shifted = arith::SubFOp::create(k.b, k.loc, k.load(scores, j), largest);
      Value e = math::ExpOp::create(k.b, k.loc, shifted);
      k.store(scores, j, e);
      return SmallVector<Value>{arith::AddFOp::create(k.b, k.loc, in[0], e)};
    })[0];
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) { k.store(sums, d, number(0)); });
    k.loop(k.c(0), visible, 1, [&](Ix j) {
      Value p = k.load(scores, j);
      k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
        Value x = loadAs(k, vb, vMatrix + j * valueWidth + d, type);
        k.store(sums, d, multiplyAdd(k, p, x, k.load(sums, d)));
      });
    });
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
      Value y = arith::DivFOp::create(k.b, k.loc, k.load(sums, d), total);
      k.store(out, task * valueWidth + d, k.fromFloat(y, out.valueType));
    });
  });
  k.flops = q[0] * heads * queries * keys * (q[3] + v[3]) * 2;
  double work = double(constantDim(keys).value_or(128)) * constantDim(q[3]).value_or(64);
  k.grain = taskGrain(40 * work, 0);
  lowering.launch(k, q[0] * heads * queries);
  return success();
}

static RegisterEmitter rows({"nn.attention", "attention-rows", 0, nullptr, emitRows});

} // namespace nnopt::cpu

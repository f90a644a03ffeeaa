//===- AttentionReference.cpp - attention row by row ----------------------===//
#include "lib/codegen/cpu/contraction/Attention.h"

using namespace mlir;

namespace nnopt::cpu {

/// One query row at a time: its scores are kept in memory of the thread.
static LogicalResult emitRows(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::AttentionOp>(operation);
  Kernel k(lowering, op, "attention_rows");
  Attention a(k, op, /*strided=*/false);
  Type type = a.type;
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  Buffer scores = k.at(k.scratch(a.keys * bytes), type);
  Buffer sums = k.at(k.scratch(a.valueWidth * bytes), type);
  Ix width = k.dim(a.width), valueWidth = k.dim(a.valueWidth), keyCount = k.dim(a.keys);

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    SmallVector<Ix> at = k.delinearize(task, {a.batch, a.heads, a.queries});
    Ix keyHead = at[1] / (k.dim(a.heads) / k.dim(a.keyHeads).max(k.c(1)));
    Ix qRow = task * width;
    Ix matrix = (at[0] * k.dim(a.keyHeads) + keyHead) * keyCount;
    Ix keyMatrix = matrix * width, valueMatrix = matrix * valueWidth;
    Ix visible = a.visible(at[2]);
    Attention::MaskRow maskRow{k.c(0), k.c(0)};
    if (a.mask)
      maskRow = a.maskRow(at[0], at[1], at[2]);

    // Where the steps of softmax are rounded.
    auto step = [&](Value v) { return op.getWideSoftmax() ? v : a.rounded(v); };
    Value largest = k.loop(k.c(0), visible, 1, {a.number(-infinity, 0)}, [&](Ix j, ValueRange in) {
      Value s = a.score(qRow, keyMatrix + j * width);
      s = a.adjust(s, a.mask ? k.load(*a.mask, maskRow.offset + j * maskRow.step) : Value());
      k.store(scores, j, s);
      return SmallVector<Value>{arith::MaximumFOp::create(k.b, k.loc, in[0], s)};
    })[0];
    Value shift = a.shiftOf(largest);
    Value total = k.loop(k.c(0), visible, 1, {a.number(0, 0)}, [&](Ix j, ValueRange in) {
      Value shifted = step(arith::SubFOp::create(k.b, k.loc, k.load(scores, j), shift));
      Value e = step(math::ExpOp::create(k.b, k.loc, shifted));
      k.store(scores, j, a.asFactor(e));
      return SmallVector<Value>{arith::AddFOp::create(k.b, k.loc, in[0], e)};
    })[0];
    Value divisor = a.divisorOf(step(total));
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) { k.store(sums, d, a.number(0, 0)); });
    k.loop(k.c(0), visible, 1, [&](Ix j) {
      Value p = a.rounded(arith::DivFOp::create(k.b, k.loc, k.load(scores, j), divisor));
      k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
        Value x = a.asFactor(loadAs(k, a.value, valueMatrix + j * valueWidth + d, type));
        k.store(sums, d, multiplyAdd(k, p, x, k.load(sums, d)));
      });
    });
    k.loop(k.c(0), valueWidth, 1, [&](Ix d) {
      Value y = k.load(sums, d);
      if (op.getEmptyRows() == nn::EmptyRows::nan_to_zero)
        y = k.select(arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, divisor, a.number(0, 0)), y, a.number(0, 0));
      k.store(a.out, task * valueWidth + d, k.fromFloat(y, a.out.valueType));
    });
  });
  k.flops = a.batch * a.heads * a.queries * a.keys * (a.width + a.valueWidth) * 2;
  double work = double(constantDim(a.keys).value_or(128)) * constantDim(a.width).value_or(64);
  k.grain = taskGrain(40 * work, 0);
  lowering.launch(k, a.batch * a.heads * a.queries);
  return success();
}

static RegisterEmitter rows({"nn.attention", "attention-rows", 0, nullptr, emitRows});

} // namespace nnopt::cpu

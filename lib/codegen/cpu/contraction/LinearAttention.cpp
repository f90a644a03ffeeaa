//===- LinearAttention.cpp - attention as a recurrence --------------------===//
//
// One task is a key head of a sequence. Its state [d, e] stays in memory of the thread (L1 or L2), and
// every step runs along rows of the state, so that the inner loops are over neighbours.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

using namespace mlir;
namespace nnopt::cpu {

static LogicalResult emitLinearAttention(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::LinearAttentionOp>(operation);
  nn::Dims qDims = lowering.dims(op.getQ()), stateDims = lowering.dims(op.getPresent());
  nn::Dim batch = qDims[0], width = stateDims[2], valueWidth = stateDims[3];
  int64_t keyHeads = op.getKeyHeads(), group = int64_t(op.getHeads()) / keyHeads;
  Kernel k(lowering, op, "linear_attention");
  Type f32 = k.b.getF32Type();
  Buffer q = k.read(op.getQ()), key = k.read(op.getK()), value = k.read(op.getV());
  auto optional = [&](Value v) { return v ? std::optional<Buffer>(k.read(v)) : std::nullopt; };
  std::optional<Buffer> past = optional(op.getPast()), decay = optional(op.getDecay()), beta = optional(op.getBeta());
  Buffer out = k.write(op.getResult()), present = k.write(op.getPresent());
  Buffer state = k.at(k.scratch(width * valueWidth * 4), f32), row = k.at(k.scratch(valueWidth * 4), f32);
  Ix d = k.dim(width), e = k.dim(valueWidth), length = k.dim(qDims[1]);
  Value zero = k.constant(f32, 0);
  auto mul = [&](Value a, Value b) -> Value { return arith::MulFOp::create(k.b, k.loc, a, b); };
  auto read = [&](const Buffer &buffer, Ix at) { return loadAs(k, buffer, at, f32); };
  /// row += factor * row i of the state, or the other way round.
  auto addToRow = [&](Value factor, Ix i) {
    k.loop(k.c(0), e, 1, [&](Ix m) {
      k.store(row, m, multiplyAdd(k, factor, k.load(state, i * e + m), k.load(row, m)));
    });
  };
  auto clearRow = [&] { k.loop(k.c(0), e, 1, [&](Ix m) { k.store(row, m, zero); }); };

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    Ix image = task / keyHeads, head = task % keyHeads, first = task * d * e;
    k.loop(k.c(0), d * e, 1, [&](Ix i) { k.store(state, i, past ? read(*past, first + i) : zero); });
    k.loop(k.c(0), length, 1, [&](Ix t) {
      Ix position = image * length + t;
      Ix keyAt = (position * keyHeads + head) * d, valueAt = (position * keyHeads + head) * e;
      if (decay) {
        // One number for a head, or one for each of its rows.
        nn::Dim size = decay->dims[2];
        Ix each = k.dim(size.floorDiv(keyHeads)), at = position * k.dim(size) + head * each;
        k.loop(k.c(0), d, 1, [&](Ix i) {
          Ix own = k.selectIx(each == 1, k.c(0), i);
          Value factor = math::ExpOp::create(k.b, k.loc, read(*decay, at + own));
          k.loop(k.c(0), e, 1, [&](Ix m) { k.store(state, i * e + m, mul(k.load(state, i * e + m), factor)); });
        });
      }
      clearRow();
      if (beta) {
        k.loop(k.c(0), d, 1, [&](Ix i) { addToRow(read(key, keyAt + i), i); });
        Ix size = k.dim(beta->dims[2]);
        Value rate = read(*beta, position * size + k.selectIx(size == 1, k.c(0), head));
        k.loop(k.c(0), e, 1, [&](Ix m) {
          Value error = arith::SubFOp::create(k.b, k.loc, read(value, valueAt + m), k.load(row, m));
          k.store(row, m, mul(rate, error));
        });
      } else {
        k.loop(k.c(0), e, 1, [&](Ix m) { k.store(row, m, read(value, valueAt + m)); });
      }
      k.loop(k.c(0), d, 1, [&](Ix i) {
        Value factor = read(key, keyAt + i);
        k.loop(k.c(0), e, 1, [&](Ix m) {
          k.store(state, i * e + m, multiplyAdd(k, factor, k.load(row, m), k.load(state, i * e + m)));
        });
      });
      k.loop(k.c(0), k.c(group), 1, [&](Ix g) {
        Ix at = position * (keyHeads * group) + head * group + g;
        clearRow();
        k.loop(k.c(0), d, 1, [&](Ix i) { addToRow(read(q, at * d + i), i); });
        k.loop(k.c(0), e, 1, [&](Ix m) {
          Value y = mul(k.load(row, m), k.constant(f32, op.getScale().convertToDouble()));
          k.store(out, at * e + m, k.fromFloat(y, out.valueType));
        });
      });
    });
    k.loop(k.c(0), d * e, 1,
           [&](Ix i) { k.store(present, first + i, k.fromFloat(k.load(state, i), present.valueType)); });
  });
  k.flops = batch * keyHeads * qDims[1] * width * valueWidth * (4 + 2 * group);
  double work = double(constantDim(width).value_or(64)) * constantDim(valueWidth).value_or(64);
  k.grain = taskGrain(10 * work, 0);
  lowering.launch(k, batch * keyHeads);
  return success();
}

static RegisterEmitter linearAttention({"nn.linear_attention", "linear-attention", 0, nullptr, emitLinearAttention});

} // namespace nnopt::cpu

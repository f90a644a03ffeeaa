//===- Softmax.cpp - softmax and log_softmax --------------------------------===//
//
// Three passes over data that stays in cache: maximum, exponentials and their sum, scaling. A row
// whose maximum is -inf (fully masked) gives NaN, as -inf - -inf is NaN.
//
// Types narrower than f32 are rounded where the function body of ONNX Softmax has a result: the shifted
// elements, the exponentials, their sum. The sum itself is in f32.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

Value exp(Kernel &k, Value v) { return math::ExpOp::create(k.b, k.loc, v); }
/// The larger one. NaN may get lost here: it comes back when the maximum is subtracted.
Value larger(Kernel &k, Value a, Value b) {
  return k.select(arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, a, b), a, b);
}
Value log(Kernel &k, Value v) { return math::LogOp::create(k.b, k.loc, v); }

LogicalResult emitReference(Operation *op, Lowering &l) {
  auto softmax = cast<nn::SoftmaxOp>(op);
  Kernel k(l, op, softmax.getLog() ? "log_softmax" : "softmax");
  Buffer x = k.read(softmax.getX()), out = k.write(softmax.getResult());
  unsigned axis = softmax.getAxis(), rank = x.rank();
  nn::Dim inner = l.product(x.dims, axis + 1, rank), rows = l.product(x.dims, 0, axis) * inner;
  Ix n = k.dim(x.dims[axis]), stride = k.dim(inner);
  Type type = computeType(x.valueType);
  k.loop(k.begin, k.end, 1, [&](Ix row) {
    Ix base = row / stride * n * stride + row % stride;
    auto element = [&](Ix i) { return k.toFloat(k.load(x, base + i * stride)); };
    auto rounded = [&](Value v) { return softmax.getLog() ? v : k.rounded(v, x.valueType); };
    Value max = k.loop(k.c(0), n, 1, ValueRange{floatConstant(k, type, -INFINITY)}, [&](Ix i, ValueRange acc) {
      return SmallVector<Value>{fmax(k, acc[0], element(i))};
    })[0];
    Value sum = k.loop(k.c(0), n, 1, ValueRange{floatConstant(k, type, 0)}, [&](Ix i, ValueRange acc) {
      return SmallVector<Value>{fadd(k, acc[0], rounded(exp(k, rounded(fsub(k, element(i), max)))))};
    })[0];
    sum = rounded(sum);
    Value logSum = softmax.getLog() ? log(k, sum) : Value();
    k.loop(k.c(0), n, 1, [&](Ix i) {
      Value shifted = rounded(fsub(k, element(i), max));
      Value v = softmax.getLog() ? fsub(k, shifted, logSum) : fdiv(k, rounded(exp(k, shifted)), sum);
      k.store(out, base + i * stride, k.fromFloat(v, out.valueType));
    });
  });
  k.grain = x.dims[axis].isConst() ? std::max<int64_t>(1, 1024 / std::max<int64_t>(1, x.dims[axis].value())) : 4;
  l.launch(k, rows);
  return success();
}

struct Fast {
  nn::SoftmaxOp op;
  Lowering &l;
  Kernel k;
  Buffer x, out;
  Type type;
  bool isLog;

  Fast(nn::SoftmaxOp op, Lowering &l)
      : op(op), l(l), k(l, op, op.getLog() ? "log_softmax" : "softmax"), x(k.read(op.getX())),
        out(k.write(op.getResult())), type(computeType(x.valueType)), isLog(op.getLog()) {
    k.allowInPlace(op.getX(), op.getResult());
  }

  VectorShape vectorShape(nn::Dim n, int64_t unroll) const {
    VectorShape shape{l.target.lanes(type.getIntOrFloatBitWidth() / 8), unroll, canMask(l.target, storageBytes(x))};
    if (n.isConst()) {
      shape.unroll = std::clamp<int64_t>(n.value() / shape.lanes, 1, unroll);
      if (n.value() < shape.lanes && !shape.masked)
        shape.lanes = llvm::bit_floor(uint64_t(std::max<int64_t>(1, n.value())));
    }
    return shape;
  }

  LogicalResult emit() {
    unsigned axis = op.getAxis(), rank = x.rank();
    nn::Dim n = x.dims[axis], outer = l.product(x.dims, 0, axis), inner = l.product(x.dims, axis + 1, rank);
    nn::Dim total = l.numElements(op.getX());
    k.bytes = total * (2 * storageBytes(x));
    k.flops = total * 20;
    if (inner.isConst(1))
      emitRows(n, outer);
    else
      emitColumns(n, outer, inner);
    return success();
  }

  Value load(Ix i, const Step &step) { return k.toFloat(loadStep(k, x, i, step)); }
  Value rounded(Value v) { return isLog ? v : k.rounded(v, x.valueType); }
  /// e^(v - max), which is at most 1: 2^((v - max) log2 e) is the cheaper form where every bit of the power does
  /// not have to be right; the logarithm of a sum near 1 needs them.
  Value exponential(Value v, Value max) {
    Value shifted = rounded(fsub(k, v, max));
    if (!type.isF32() || isNarrow() || isLog)
      return rounded(exp(k, shifted));
    Value log2e = like(k, floatConstant(k, type, llvm::numbers::log2e), shifted.getType());
    return math::Exp2Op::create(k.b, k.loc, fmul(k, shifted, log2e));
  }
  bool isNarrow() const { return x.valueType != type; }
  /// Exponentials times factorOf(sum) are the result. Products round otherwise than quotients, which only
  /// matters where a result is rounded a second time.
  Value factorOf(Value sum) {
    if (isLog)
      return log(k, sum);
    return isNarrow() ? rounded(sum) : fdiv(k, like(k, floatConstant(k, type, 1), sum.getType()), sum);
  }
  Value scaled(Value e, Value factor) { return isNarrow() ? fdiv(k, e, factor) : fmul(k, e, factor); }

  /// The axis is contiguous: vectors along it.
  void emitRows(nn::Dim n, nn::Dim outer) {
    VectorShape shape = vectorShape(n, 4);
    bool multiple = isMultipleOf(n, shape.lanes);
    Ix size = k.dim(n);
    int64_t perTask = n.isConst() ? std::max<int64_t>(1, 1024 / std::max<int64_t>(1, n.value())) : 1;
    Value lowest = floatConstant(k, type, -INFINITY), zero = floatConstant(k, type, 0);
    k.loop(k.begin * perTask, (k.end * perTask).min(k.dim(outer)), 1, [&](Ix row) {
      Ix base = row * size;
      RowReduction maximum;
      maximum.type = type;
      maximum.identity = lowest;
      maximum.merge = [&](Value a, Value c) { return larger(k, a, c); };
      maximum.step = [&](Value acc, Ix i, const Step &step) {
        return larger(k, acc, fillMasked(k, load(base + i, step), lowest, step));
      };
      Value max = reduceRow(k, k.c(0), size, shape, multiple, maximum);

      RowReduction total;
      total.type = type;
      total.identity = zero;
      total.merge = [&](Value a, Value c) { return fadd(k, a, c); };
      total.step = [&](Value acc, Ix i, const Step &step) {
        Value v = exponential(load(base + i, step), like(k, max, step));
        // They wait for their sum in the result.
        if (!isLog)
          storeStep(k, out, base + i, k.fromFloat(v, out.valueType), step);
        return fadd(k, acc, fillMasked(k, v, zero, step));
      };
      Value sum = reduceRow(k, k.c(0), size, shape, multiple, total);

      Value factor = factorOf(sum);
      vectorLoop(k, k.c(0), size, shape, multiple, [&](const Step &step) {
        for (Ix i : step.at) {
          Value v;
          if (isLog)
            v = fsub(k, fsub(k, load(base + i, step), like(k, max, step)), like(k, factor, step));
          else
            v = scaled(k.toFloat(loadStep(k, out, base + i, step)), like(k, factor, step));
          storeStep(k, out, base + i, k.fromFloat(v, out.valueType), step);
        }
      });
    });
    k.grain = perTask > 1 ? 2 : 1;
    l.launch(k, outer.ceilDiv(l.c(perTask)));
  }

  /// Another axis: each lane does one position of the axes after it.
  void emitColumns(nn::Dim n, nn::Dim outer, nn::Dim inner) {
    VectorShape shape = vectorShape(inner, 2);
    int64_t block = shape.lanes * shape.unroll;
    nn::Dim blocks = inner.ceilDiv(l.c(block));
    Ix size = k.dim(n), stride = k.dim(inner);
    k.loop(k.begin, k.end, 1, [&](Ix task) {
      Ix first = task % k.dim(blocks) * block, base = task / k.dim(blocks) * (size * stride);
      Ix width = inner.isConst() && inner.value() % block == 0 ? k.c(block) : (stride - first).min(k.c(block));
      vectorLoop(k, k.c(0), width, shape, isMultipleOf(inner, shape.lanes),
                 [&](const Step &step) { columns(base + first, size, stride, step); });
    });
    int64_t perTask = n.isConst() ? n.value() * block : 1024;
    k.grain = std::max<int64_t>(1, 1024 / std::max<int64_t>(1, perTask));
    l.launch(k, outer * blocks);
  }

  void columns(Ix base, Ix n, Ix stride, const Step &step) {
    auto pass = [&](double identity, function_ref<Value(Value acc, Value v, unsigned u, Ix at)> body) {
      SmallVector<Value> init(step.at.size(), like(k, floatConstant(k, type, identity), step));
      return k.loop(k.c(0), n, 1, init, [&](Ix i, ValueRange accs) {
        SmallVector<Value> next;
        for (auto [u, at] : llvm::enumerate(step.at)) {
          Ix offset = base + i * stride + at;
          next.push_back(body(accs[u], load(offset, step), u, offset));
        }
        return next;
      });
    };
    SmallVector<Value> max = pass(-INFINITY, [&](Value acc, Value v, unsigned, Ix) { return larger(k, acc, v); });
    SmallVector<Value> sum = pass(0, [&](Value acc, Value v, unsigned u, Ix at) {
      Value e = exponential(v, max[u]);
      if (!isLog)
        storeStep(k, out, at, k.fromFloat(e, out.valueType), step);
      return fadd(k, acc, e);
    });
    SmallVector<Value> factor;
    for (Value s : sum)
      factor.push_back(factorOf(s));
    k.loop(k.c(0), n, 1, [&](Ix i) {
      for (auto [u, at] : llvm::enumerate(step.at)) {
        Ix offset = base + i * stride + at;
        Value v;
        if (isLog)
          v = fsub(k, fsub(k, load(offset, step), max[u]), factor[u]);
        else
          v = scaled(k.toFloat(loadStep(k, out, offset, step)), factor[u]);
        storeStep(k, out, offset, k.fromFloat(v, out.valueType), step);
      }
    });
  }
};

LogicalResult emitFast(Operation *op, Lowering &l) { return Fast(cast<nn::SoftmaxOp>(op), l).emit(); }

RegisterEmitter reference({"nn.softmax", "softmax-reference", 0, nullptr, emitReference});
RegisterEmitter fast({"nn.softmax", "softmax", 10, nullptr, emitFast});

} // namespace
} // namespace nnopt::cpu

//===- ChannelNorm.cpp - lp_norm and lrn ------------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Statistics.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

//===----------------------------------------------------------------------===//
// lp_norm: x / max((sum |x|^p)^(1/p), floor) along an axis; 0 where that is 0
//===----------------------------------------------------------------------===//

Value normTerm(Kernel &k, Value v, int64_t p) {
  return p == 1 ? Value(math::AbsFOp::create(k.b, k.loc, v)) : fmul(k, v, v);
}

/// x / norm from the sum of terms, 0 where that is 0.
Value normalize(Kernel &k, Value v, Value sum, int64_t p, double floor) {
  Type type = v.getType();
  Value norm = p == 1 ? sum : Value(math::SqrtOp::create(k.b, k.loc, sum));
  if (floor > 0) {
    Value least = like(k, floatConstant(k, getElementTypeOrSelf(type), floor), type);
    return fdiv(k, v, arith::MaximumFOp::create(k.b, k.loc, norm, least));
  }
  Value zero = like(k, floatConstant(k, getElementTypeOrSelf(type), 0), type);
  Value isZero = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OEQ, norm, zero);
  return k.select(isZero, zero, fdiv(k, v, norm));
}

// Lanes run along the axes after `axis`; where there are none, along the axis itself.
LogicalResult emitLpNorm(Operation *op, Lowering &l, bool vectors) {
  auto norm = cast<nn::LpNormOp>(op);
  Kernel k(l, op, "lp_norm");
  Buffer x = k.read(norm.getX()), out = k.write(norm.getResult());
  int64_t p = norm.getP();
  double floor = norm.getFloor().convertToDouble();
  unsigned axis = norm.getAxis(), rank = x.rank();
  nn::Dim n = x.dims[axis], outer = l.product(x.dims, 0, axis), inner = l.product(x.dims, axis + 1, rank);
  Type type = computeType(x.valueType);
  Ix size = k.dim(n), stride = k.dim(inner);
  auto load = [&](Ix i, const Step &step) { return k.toFloat(loadStep(k, x, i, step)); };
  auto finish = [&](Ix i, Value sum, const Step &step) {
    storeStep(k, out, i, k.fromFloat(normalize(k, load(i, step), sum, p, floor), out.valueType), step);
  };
  bool rows = inner.isConst(1);
  VectorShape shape;
  if (vectors)
    shape = rowShape(l, rows ? n : inner, type, {x.storageType, out.storageType}, rows ? 4 : 1);
  bool multiple = isMultipleOf(rows ? n : inner, shape.lanes);

  k.loop(k.begin, k.end, 1, [&](Ix task) {
    Ix base = task * size * stride;
    if (rows) {
      Value sum = sumRow(k, type, size, shape, multiple,
                         [&](Ix i, const Step &step) { return normTerm(k, load(base + i, step), p); });
      vectorLoop(k, k.c(0), size, shape, multiple, [&](const Step &step) {
        for (Ix i : step.at)
          finish(base + i, like(k, sum, step), step);
      });
      return;
    }
    vectorLoop(k, k.c(0), stride, shape, multiple, [&](const Step &step) {
      Ix first = base + step.at[0];
      Value zero = like(k, floatConstant(k, type, 0), step);
      Value sum = k.loop(k.c(0), size, 1, ValueRange{zero}, [&](Ix i, ValueRange acc) {
        return SmallVector<Value>{fadd(k, acc[0], normTerm(k, load(first + i * stride, step), p))};
      })[0];
      k.loop(k.c(0), size, 1, [&](Ix i) { finish(first + i * stride, sum, step); });
    });
  });
  nn::Dim perTask = n * inner;
  k.grain = perTask.isConst() ? std::max<int64_t>(1, 4096 / std::max<int64_t>(1, perTask.value())) : 1;
  l.launch(k, outer);
  return success();
}

LogicalResult referenceLpNorm(Operation *op, Lowering &l) { return emitLpNorm(op, l, false); }
LogicalResult fastLpNorm(Operation *op, Lowering &l) { return emitLpNorm(op, l, true); }

//===----------------------------------------------------------------------===//
// lrn: x / (bias + alpha / size * (sum of x^2 over `size` neighbouring channels))^beta
//===----------------------------------------------------------------------===//

/// v^-beta for v > 0.
Value negativePower(Kernel &k, Value v, double beta) {
  Type type = v.getType();
  Value one = like(k, floatConstant(k, getElementTypeOrSelf(type), 1), type);
  auto root = [&](Value a) { return Value(math::SqrtOp::create(k.b, k.loc, a)); };
  if (beta == 1)
    return fdiv(k, one, v);
  if (beta == 0.5)
    return fdiv(k, one, root(v));
  if (beta == 0.75) {
    Value r = root(v);
    return fdiv(k, one, fmul(k, r, root(r)));
  }
  Value exponent = like(k, floatConstant(k, getElementTypeOrSelf(type), -beta), type);
  return math::ExpOp::create(k.b, k.loc, fmul(k, exponent, math::LogOp::create(k.b, k.loc, v)));
}

LogicalResult emitLRN(Operation *op, Lowering &l, bool vectors) {
  auto lrn = cast<nn::LRNOp>(op);
  Kernel k(l, op, "lrn");
  Buffer x = k.read(lrn.getX()), out = k.write(lrn.getResult());
  int64_t size = lrn.getSize(), before = (size - 1) / 2, after = size - 1 - before;
  double alpha = lrn.getAlpha().convertToDouble() / size, beta = lrn.getBeta().convertToDouble();
  Type type = computeType(x.valueType);
  nn::Dim channels = x.dims[1], inner = l.product(x.dims, 2, x.rank());
  Ix c = k.dim(channels), stride = k.dim(inner);
  VectorShape shape;
  if (vectors)
    shape = rowShape(l, inner, type, {x.storageType, out.storageType}, 2);
  k.loop(k.begin, k.end, 1, [&](Ix task) {
    Ix channel = task % c, image = task / c * c;
    Ix low = (channel - before).max(k.c(0)), high = (channel + (after + 1)).min(c);
    vectorLoop(k, k.c(0), stride, shape, isMultipleOf(inner, shape.lanes), [&](const Step &step) {
      SmallVector<Value> zeros(step.at.size(), like(k, floatConstant(k, type, 0), step));
      auto load = [&](Ix ch, Ix i) { return k.toFloat(loadStep(k, x, (image + ch) * stride + i, step)); };
      SmallVector<Value> sums = k.loop(low, high, 1, zeros, [&](Ix ch, ValueRange accs) {
        SmallVector<Value> next;
        for (auto [acc, i] : llvm::zip(accs, step.at)) {
          Value v = load(ch, i);
          next.push_back(fadd(k, acc, fmul(k, v, v)));
        }
        return next;
      });
      for (auto [sum, i] : llvm::zip(sums, step.at)) {
        Value base = fadd(k, fmul(k, sum, like(k, floatConstant(k, type, alpha), step)),
                          like(k, floatConstant(k, type, lrn.getBias().convertToDouble()), step));
        Value v = fmul(k, load(channel, i), negativePower(k, base, beta));
        storeStep(k, out, (image + channel) * stride + i, k.fromFloat(v, out.valueType), step);
      }
    });
  });
  k.grain = inner.isConst() ? std::max<int64_t>(1, 2048 / std::max<int64_t>(1, inner.value())) : 4;
  l.launch(k, x.dims[0] * channels);
  return success();
}

LogicalResult referenceLRN(Operation *op, Lowering &l) { return emitLRN(op, l, false); }
LogicalResult fastLRN(Operation *op, Lowering &l) { return emitLRN(op, l, true); }

RegisterEmitter lpNormReference({"nn.lp_norm", "lp-norm-reference", 0, nullptr, referenceLpNorm});
RegisterEmitter lpNorm({"nn.lp_norm", "lp-norm", 10, nullptr, fastLpNorm});
RegisterEmitter lrnReference({"nn.lrn", "lrn-reference", 0, nullptr, referenceLRN});
RegisterEmitter lrn({"nn.lrn", "lrn", 10, nullptr, fastLRN});

} // namespace
} // namespace nnopt::cpu

//===- Select.cpp - arg_reduce, one_hot, trilu, non_zero ------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

//===----------------------------------------------------------------------===//
// nn.arg_reduce
//===----------------------------------------------------------------------===//

LogicalResult emitArgReduce(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ArgReduceOp>(operation);
  nn::Dims dims = lowering.dims(op.getX());
  unsigned axis = op.getAxis();
  nn::Dim outer = lowering.product(dims, 0, axis), inner = lowering.product(dims, axis + 1, dims.size());

  Kernel k(lowering, op, op.getMax() ? "argmax" : "argmin");
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  Ix size = k.dim(dims[axis]), stride = k.dim(inner);
  forTasks(k, [&](Ix task) {
    Ix base = task / stride * size * stride + task % stride;
    // The position is -1 until the first element has been seen.
    auto found = k.loop(k.c(0), size, 1, {k.constant(x.valueType, 0), k.c(-1)}, [&](Ix i, ValueRange state) {
      Ix position(&k, state[1]);
      Value v = k.load(x, base + i * stride);
      Value better = op.getMax() ? greater(k, v, state[0], x.isUnsigned) : greater(k, state[0], v, x.isUnsigned);
      if (op.getSelectLast())
        better = lor(k, better, equal(k, v, state[0]));
      better = lor(k, better, position < 0);
      return SmallVector<Value>{k.select(better, v, state[0]), k.select(better, i, position)};
    });
    k.store(y, task, Ix(&k, found[1]).max(k.c(0)));
  });
  k.grain = 16;
  lowering.launch(k, outer * inner);
  return success();
}

//===----------------------------------------------------------------------===//
// nn.one_hot
//===----------------------------------------------------------------------===//

LogicalResult emitOneHot(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::OneHotOp>(operation);
  nn::Dims dims = lowering.dims(op.getResult());
  int64_t axis = op.getAxis() < 0 ? op.getAxis() + dims.size() : op.getAxis();
  if (!isResolved(lowering, op, dims[axis]) &&
      failed(defineSymbol(lowering, op, dims[axis], op.getDepth())))
    return failure();
  nn::Dim inner = lowering.product(dims, axis + 1, dims.size());

  Kernel k(lowering, op, "one_hot");
  Buffer indices = k.read(op.getIndices()), values = k.read(op.getValues()), y = k.write(op.getResult());
  Ix depth = k.dim(dims[axis]), post = k.dim(inner);
  Value off = k.load(values, k.c(0)), on = k.load(values, k.c(1));
  forTasks(k, [&](Ix task) {
    Ix index = wrapIndex(k, elementToIndex(k, k.load(indices, task), indices.isUnsigned), depth);
    Ix base = task / post * depth * post + task % post;
    k.loop(k.c(0), depth, 1, [&](Ix d) { k.store(y, base + d * post, k.select(d == index, on, off)); });
  });
  k.grain = 16;
  lowering.launch(k, lowering.product(dims, 0, axis) * inner);
  return success();
}

//===----------------------------------------------------------------------===//
// nn.trilu
//===----------------------------------------------------------------------===//

LogicalResult emitTrilu(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::TriluOp>(operation);
  nn::Dims dims = lowering.dims(op.getX());
  unsigned rank = dims.size();

  Kernel k(lowering, op, op.getUpper() ? "triu" : "tril");
  Buffer x = k.read(op.getX());
  Ix diagonal = k.c(0);
  if (op.getK()) {
    Buffer in = k.read(op.getK());
    diagonal = elementToIndex(k, k.load(in, k.c(0)), in.isUnsigned);
  }
  Buffer y = k.write(op.getResult());
  k.allowInPlace(op.getX(), op.getResult());
  Ix rows = k.dim(dims[rank - 2]), columns = k.dim(dims[rank - 1]);
  forTasks(k, [&](Ix row) {
    // Row i keeps columns from i + k on (upper) or up to i + k (lower).
    Ix first = (row % rows + diagonal + (op.getUpper() ? 0 : 1)).max(k.c(0)).min(columns);
    Ix base = row * columns;
    Value zero = k.constant(x.valueType, 0);
    auto clear = [&](Ix j) { k.store(y, base + j, zero); };
    auto keep = [&](Ix j) { k.store(y, base + j, k.load(x, base + j)); };
    if (op.getUpper()) {
      k.loop(k.c(0), first, 1, clear);
      k.loop(first, columns, 1, keep);
    } else {
      k.loop(k.c(0), first, 1, keep);
      k.loop(first, columns, 1, clear);
    }
  });
  k.grain = 8;
  lowering.launch(k, lowering.product(dims, 0, rank - 1));
  return success();
}

//===----------------------------------------------------------------------===//
// nn.non_zero
//===----------------------------------------------------------------------===//

/// Whether an element is not zero; NaN counts as non-zero.
Value isNonZero(Kernel &k, Value v) {
  if (v.getType().isInteger(1))
    return v;
  if (isa<FloatType>(v.getType())) {
    Value wide = k.toFloat(v);
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, wide, k.constant(wide.getType(), 0));
  }
  return arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ne, v, k.constant(v.getType(), 0));
}

LogicalResult emitNonZero(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::NonZeroOp>(operation);
  nn::Dims dims = lowering.dims(op.getX());
  nn::Dim total = lowering.numElements(op.getX()), count = lowering.dims(op.getResult())[1];

  if (!isResolved(lowering, op, count) &&
      failed(defineSymbol(lowering, op, count, [&](Kernel &k) {
        Buffer x = k.read(op.getX());
        auto sum = k.loop(k.c(0), k.dim(total), 1, {k.c(0)}, [&](Ix i, ValueRange state) {
          Value one = arith::ExtUIOp::create(k.b, k.loc, k.b.getI64Type(), isNonZero(k, k.load(x, i)));
          return SmallVector<Value>{Ix(&k, state[0]) + Ix(&k, one)};
        });
        return Ix(&k, sum[0]);
      })))
    return failure();

  Kernel k(lowering, op, "non_zero");
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  Ix columns = k.dim(count);
  k.loop(k.c(0), k.dim(total), 1, {k.c(0)}, [&](Ix i, ValueRange state) {
    Ix position(&k, state[0]);
    return k.ifElse(
        isNonZero(k, k.load(x, i)), k.b.getI64Type(),
        [&] {
          auto coordinates = k.delinearize(i, dims);
          for (auto [axis, coordinate] : llvm::enumerate(coordinates))
            k.store(y, columns * int64_t(axis) + position, coordinate);
          return SmallVector<Value>{position + 1};
        },
        [&] { return SmallVector<Value>{position}; });
  });
  lowering.launch(k, lowering.c(1));
  return success();
}

RegisterEmitter argReduce({"nn.arg_reduce", "arg-reduce", 0, nullptr, emitArgReduce});
RegisterEmitter oneHot({"nn.one_hot", "one-hot", 0, nullptr, emitOneHot});
RegisterEmitter trilu({"nn.trilu", "trilu", 0, nullptr, emitTrilu});
RegisterEmitter nonZero({"nn.non_zero", "non-zero", 0, nullptr, emitNonZero});

} // namespace
} // namespace nnopt::cpu

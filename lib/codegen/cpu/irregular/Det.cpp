//===- Det.cpp - determinants ---------------------------------------------===//
#include "lib/codegen/cpu/Float.h"
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// A task is one matrix: Gaussian elimination with partial pivoting in f64; the determinant is the product of
/// the pivots, negated for each exchange of rows.
LogicalResult emitDet(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::DetOp>(operation);
  const nn::Dims &dims = lowering.dims(op.getX());
  nn::Dim size = dims.back();
  Kernel k(lowering, op, "det");
  Buffer x = k.read(op.getX()), y = k.write(op.getResult());
  Type f64 = k.b.getF64Type();
  Buffer a = k.at(k.scratch(size * size * 8), f64);
  Ix n = k.dim(size);
  auto at = [&](Ix row, Ix column) { return Float(&k, k.load(a, row * n + column)); };
  forTasks(k, [&](Ix task) {
    k.loop(k.c(0), n * n, 1, [&](Ix i) { k.store(a, i, Float(&k, k.toFloat(k.load(x, task * n * n + i))).as(f64).v); });
    Value det = k.loop(k.c(0), n, 1, {k.constant(f64, 1)}, [&](Ix column, ValueRange state) {
      Ix pivot(&k, k.loop(column + 1, n, 1, {column}, [&](Ix row, ValueRange best) {
        Ix row0(&k, best[0]);
        return SmallVector<Value>{k.selectIx(at(row, column).abs() > at(row0, column).abs(), row, row0)};
      })[0]);
      Value same = pivot == column;
      k.ifThen(lnot(k, same), [&] {
        k.loop(column, n, 1, [&](Ix j) {
          Float upper = at(column, j), lower = at(pivot, j);
          k.store(a, column * n + j, lower.v);
          k.store(a, pivot * n + j, upper.v);
        });
      });
      Float value = at(column, column);
      // Below a pivot of zero there are only zeros.
      k.ifThen(lnot(k, value == value.like(0)), [&] {
        k.loop(column + 1, n, 1, [&](Ix row) {
          Float factor = at(row, column) / value;
          k.loop(column + 1, n, 1, [&](Ix j) { k.store(a, row * n + j, (at(row, j) - factor * at(column, j)).v); });
        });
      });
      Float signedValue = Float::choose(same, value, value.like(0) - value);
      return SmallVector<Value>{(Float(&k, state[0]) * signedValue).v};
    })[0];
    k.store(y, task, k.fromFloat(det, y.valueType));
  });
  lowering.launch(k, lowering.product(dims, 0, dims.size() - 2));
  return success();
}

RegisterEmitter det({"nn.det", "det", 0, nullptr, emitDet});

} // namespace
} // namespace nnopt::cpu

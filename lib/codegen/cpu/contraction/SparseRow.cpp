//===- SparseRow.cpp - a row with many zeros times a matrix ---------------===//
//
// Behind relu (or a threshold) about half of the elements are zero, and with one row the weights are
// read for it alone: their rows for zeros need not be read at all. Each thread lists what is not zero
// once. With more rows, few columns of weights are zero for all of them.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// Elements that are prefetched ahead.
constexpr int64_t ahead = 12;
/// Below this depth listing costs more than it saves. Weights beyond the caches, in multiples of L2, are read faster as
/// one stream than with gaps (measured: 1.3 times slower at 9 MB, of which half is skipped).
constexpr int64_t leastDepth = 128, mostCaches = 4;

bool isZeroConstant(Value v) {
  auto constant = v.getDefiningOp<arith::ConstantOp>();
  auto number = constant ? dyn_cast<FloatAttr>(constant.getValue()) : FloatAttr();
  return number && number.getValue().isZero();
}

/// Whether scalar code gives zero for a range of inputs: relu, thresholds, and products with such.
bool hasZeros(Value v) {
  Operation *op = v.getDefiningOp();
  if (auto select = dyn_cast_or_null<arith::SelectOp>(op))
    return isZeroConstant(select.getTrueValue()) || isZeroConstant(select.getFalseValue());
  if (isa_and_nonnull<arith::MaximumFOp, arith::MaxNumFOp>(op))
    return isZeroConstant(op->getOperand(0)) || isZeroConstant(op->getOperand(1));
  if (isa_and_nonnull<arith::MulFOp>(op))
    return hasZeros(op->getOperand(0)) || hasZeros(op->getOperand(1));
  return false;
}

/// The same of a tensor. Movement of elements changes nothing.
bool isOftenZero(Value v) {
  Operation *op = v.getDefiningOp();
  if (isa_and_nonnull<nn::ReshapeOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp>(op))
    return isOftenZero(op->getOperand(0));
  if (isa_and_nonnull<nn::ReluOp, nn::ThresholdedReluOp>(op))
    return true;
  Region *code = nullptr;
  if (auto linear = dyn_cast_or_null<nn::LinearOp>(op))
    code = &linear.getEpilogue();
  else if (auto map = dyn_cast_or_null<nn::MapOp>(op))
    code = &map.getBody();
  if (!code || code->empty())
    return false;
  return hasZeros(code->front().getTerminator()->getOperand(cast<OpResult>(v).getResultNumber()));
}

bool match(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  Type element = lowering.shapes.info(op.getA()).elementType;
  auto typeIs = [&](Value v) { return !v || lowering.shapes.info(v).elementType == element; };
  if (!(element.isF32() || element.isF64()) || !typeIs(op.getB()) || !typeIs(op.getBias()) || shape.transposeA ||
      !shape.bShared || !shape.m.isConst(1) || !shape.depth.isConst() || !shape.n.isConst())
    return false;
  if (shape.depth.value() < leastDepth || !isOftenZero(op.getA()))
    return false;
  if (shape.depth.value() * shape.n.value() * nn::elementBytes(element) > mostCaches * lowering.target.l2Bytes)
    return false;
  std::optional<nn::ConstantData> weights = lowering.constant(op.getB());
  // A zero times an infinite weight is NaN.
  return weights && (!element.isF32() || llvm::all_of(weights->asFloats(), [](float w) { return std::isfinite(w); }));
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  Type element = lowering.shapes.info(op.getA()).elementType;
  int64_t bytes = nn::elementBytes(element), depth = shape.depth.value(), columns = shape.n.value();
  Kernel k(lowering, op, "matmul_sparse_row_" + dimText(shape.n) + "x" + dimText(shape.depth));
  PanelLoop loop;
  loop.tile.lanes = lowering.target.lanes(bytes);
  // Wide panels: the part of a row of weights that is read at once is long enough for memory to be fast.
  int64_t vectors = llvm::divideCeil(columns, loop.tile.lanes), widest = lowering.target.vectorRegisters / 2;
  loop.tile.nv = llvm::divideCeil(vectors, llvm::alignTo(llvm::divideCeil(vectors, widest), 2));
  loop.rows = shape.m;
  loop.columns = shape.n;
  loop.outer = lowering.c(1);
  PanelSource source;
  source.columns = columns;
  source.channels = depth;
  source.columnStride = shape.transposeB ? depth : 1;
  source.channelStride = shape.transposeB ? 1 : columns;
  Buffer a = k.read(op.getA());
  std::vector<char> packed = packPanels(source, lowering.constant(op.getB())->bytes(), bytes, loop.tile);
  Buffer b = k.weights(packed, element, {int64_t(packed.size()) / bytes});
  Type i32 = k.b.getI32Type();
  Buffer list = k.at(k.scratch(lowering.c((depth + ahead) * 4)), i32);
  Finish finish(k, op, op.getBias(), element, shape.bVector);

  auto asElement = [&](Ix i) { return arith::TruncIOp::create(k.b, k.loc, i32, i).getResult(); };
  Value zero = k.constant(element, 0);
  Ix count(&k, k.loop(k.c(0), k.c(depth), 1, {k.c(0)}, [&](Ix i, ValueRange in) {
    Ix found(&k, in[0]);
    k.store(list, found, asElement(i));
    Value counts = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, k.load(a, i), zero);
    return SmallVector<Value>{found + k.selectIx(counts, k.c(1), k.c(0))};
  })[0]);
  k.loop(count, count + ahead, 1, [&](Ix i) { k.store(list, i, asElement(k.c(0))); });
  emitPanelLoop(
      k, loop, [&](PanelAt &at) { return SmallVector<Value>{k.ptrAdd(b.ptr, at.column * depth, element)}; },
      [&](PanelAt &at, TileAt &t, ValueRange state) {
        int64_t width = at.nv * loop.tile.lanes;
        VectorType type = k.vec(loop.tile.lanes, element);
        SmallVector<Value> acc = finish.start(1, at.column, at.nv, loop.tile.lanes, at.masks);
        acc = k.loop(k.c(0), count, 1, acc, [&](Ix i, ValueRange in) {
          Ix next = k.toIndex(k.load(list, i + ahead)), row = k.toIndex(k.load(list, i));
          Value x = k.splat(k.load(a, row), loop.tile.lanes);
          SmallVector<Value> sums;
          for (int64_t j = 0; j < at.nv; ++j) {
            k.prefetch(state[0], next * width + j * loop.tile.lanes, element);
            Value w = k.loadAt(state[0], row * width + j * loop.tile.lanes, type, loop.tile.lanes * bytes);
            sums.push_back(multiplyAdd(k, x, w, in[j]));
          }
          return sums;
        });
        finish.store(1, [&](Ix i) { return i; }, at.column, at.nv, loop.tile.lanes, at.masks, acc);
      });
  k.flops = shape.n * depth * 2;
  k.bytes = shape.n * depth * bytes;
  k.grain = taskGrain(0, double(bytes * depth * loop.tile.nr()) / 2);
  lowering.launch(k, loop.tasks());
  return success();
}

RegisterEmitter sparse({"nn.matmul", "matmul-sparse-row", 15, match, emit});

} // namespace
} // namespace nnopt::cpu

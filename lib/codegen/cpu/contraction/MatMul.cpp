//===- MatMul.cpp - matrix product by register tiles ------------------------===//

#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/MatrixTiles.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

using namespace mlir;

namespace nnopt::cpu {

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

MatMulShape::MatMulShape(nn::MatMulOp op, Lowering &lowering) {
  aDims = lowering.dims(op.getA());
  bDims = lowering.dims(op.getB());
  nn::Dim one = lowering.c(1);
  aVector = aDims.size() == 1;
  bVector = bDims.size() == 1;
  transposeA = op.getTransposeA() && !aVector;
  transposeB = op.getTransposeB() && !bVector;
  if (aVector)
    aDims.insert(aDims.begin(), one);
  if (bVector)
    bDims.push_back(one);
  size_t ra = aDims.size(), rb = bDims.size();
  m = aDims[ra - (transposeA ? 1 : 2)];
  depth = aDims[ra - (transposeA ? 2 : 1)];
  transposeA &= !m.isConst(1); // a single row and a single column are the same in memory
  // Either may know the contracted size better.
  if (nn::Dim other = bDims[rb - (transposeB ? 1 : 2)]; other.isConst())
    depth = other;
  n = bDims[rb - (transposeB ? 2 : 1)];
  // The batch of the result: broadcast of the leading dimensions.
  size_t rank = std::max(ra, rb) - 2;
  nn::Dims result = lowering.dims(op.getResult());
  batch.assign(result.begin(), result.begin() + rank);
  aBatch.assign(aDims.begin(), aDims.end() - 2);
  bBatch.assign(bDims.begin(), bDims.end() - 2);
  while (aBatch.size() < rank)
    aBatch.insert(aBatch.begin(), one);
  while (bBatch.size() < rank)
    bBatch.insert(bBatch.begin(), one);
  auto isOne = [](nn::Dim d) { return d.isConst(1); };
  bShared = llvm::all_of(bBatch, isOne);
  // Without a batch of its own B multiplies all rows of A alike; they are contiguous.
  if (bShared && !transposeA) {
    m = nn::product(lowering.dimContext(), batch) * m;
    batch.clear();
    aBatch.clear();
    bBatch.clear();
  }
  outer = nn::product(lowering.dimContext(), batch);
}

Ix MatMulShape::batchOffset(Kernel &k, Ix index, const nn::Dims &own, nn::Dim matrix) const {
  if (batch.empty())
    return k.c(0);
  SmallVector<Ix> at = k.delinearize(index, batch);
  SmallVector<Ix> strides = k.strides(own);
  Ix offset = k.c(0);
  for (size_t d = 0; d < own.size(); ++d) {
    if (own[d].isConst(1))
      continue;
    Ix term = at[d] * strides[d];
    if (own[d] != batch[d])
      term = k.selectIx(k.dim(own[d]) == 1, k.c(0), term);
    offset = offset + term;
  }
  return offset * k.dim(matrix);
}

//===----------------------------------------------------------------------===//
// The emitter
//===----------------------------------------------------------------------===//

static bool matchNarrow(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  return shape.bShared && !shape.transposeA && shape.depth.isConst() && shape.depth.value() > 0 &&
         NarrowProduct::matches(lowering, narrowOperands(op), op.getBias(), op.getResult(), op.getEpilogue());
}

static bool matchFloats(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  Type element = lowering.shapes.info(op.getA()).elementType;
  if (element != lowering.shapes.info(op.getB()).elementType)
    return false;
  if (op.getBias() && lowering.shapes.info(op.getBias()).elementType != element)
    return false;
  return element.isF32() || element.isF64();
}

static bool matchTiled(Operation *operation, Lowering &lowering) {
  return matchFloats(operation, lowering) || matchNarrow(operation, lowering);
}

/// C = A B with tiles of C in registers. Constant B: packed at compile time. Other B: each panel is
/// packed into memory of the thread, unless there are so few rows that reading it in place is cheaper.
static LogicalResult emitTiled(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  // Four bytes or two bf16 of the contracted dimension are one 32-bit element of a panel.
  bool isNarrow = matchNarrow(op, lowering);
  Type rowElement = lowering.shapes.info(op.getA()).elementType;
  if (isNarrow)
    rowElement = IntegerType::get(op.getContext(), rowElement.getIntOrFloatBitWidth());
  Type element = isNarrow ? IntegerType::get(op.getContext(), 32) : rowElement;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  std::optional<nn::ConstantData> weights;
  if (shape.bShared)
    weights = lowering.constant(op.getB());

  TileQuery query;
  query.rows = constantDim(shape.m);
  query.columns = constantDim(shape.n);
  query.depth = constantDim(shape.depth);
  bool usesTiles = isNarrow && MatrixTiles::suits(lowering, narrowOperands(op), query.rows, *query.columns, *query.depth);
  NarrowProduct::Unit unit = usesTiles ? NarrowProduct::Unit::Tiles : NarrowProduct::Unit::Vectors;
  if (isNarrow)
    query.depth = NarrowProduct::steps(rowElement, *query.depth, unit);
  query.elementBytes = bytes;
  query.mayHalve = weights && !isNarrow;
  if (!shape.transposeA)
    query.maxRows = maxRowsForPitch(lowering.target, query.depth ? std::optional(*query.depth * bytes) : std::nullopt);
  int64_t parts = 1;
  Type resultType = lowering.shapes.info(op.getResult()).elementType;
  if (weights && !isNarrow && !shape.transposeA && resultType == element)
    parts = chooseDepthBlocks(lowering.target, query.rows, *query.depth, bytes);
  int64_t partDepth = parts > 1 ? llvm::divideCeil(*query.depth, parts) : 0;
  if (parts > 1)
    query.depth = partDepth;
  Tile tile = usesTiles ? MatrixTiles::resultTile(query.rows, *query.columns, true) : chooseTile(lowering, op, query);

  std::string name = "matmul_" + dimText(shape.outer) + "x" + dimText(shape.m) + "x" + dimText(shape.n) + "x" +
                     dimText(shape.depth);
  Kernel k(lowering, op, name);
  Buffer a = k.read(op.getA());
  PanelLoop loop;
  loop.tile = tile;
  loop.rows = shape.m;
  loop.columns = shape.n;
  loop.outer = shape.outer;
  Buffer b;
  Value scratch;
  std::optional<NarrowProduct> narrow;
  PanelSource source;
  if (weights) {
    int64_t depth = shape.depth.value(), n = shape.n.value();
    source.columns = n;
    source.channels = depth;
    source.columnStride = shape.transposeB ? depth : 1;
    source.channelStride = shape.transposeB ? 1 : n;
  }
  if (isNarrow) {
    narrow.emplace(k, narrowOperands(op), source, 1, tile, unit);
    b = narrow->panels;
    loop.packedDepth = *query.depth;
  } else if (weights) {
    std::vector<char> packed = packPanels(source, weights->bytes(), bytes, tile);
    b = k.weights(packed, element, {int64_t(packed.size()) / bytes});
    loop.packedDepth = shape.depth.value();
  } else {
    b = k.read(op.getB());
    scratch = k.scratch(shape.depth * (tile.nr() * bytes));
  }
  Finish finish(k, op, op.getBias(), narrow ? narrow->accumulator() : element, shape.bVector);
  if (parts == 1)
    finish.allowInPlace();
  // Elements of a panel's column.
  std::optional<int64_t> depthValue = isNarrow ? query.depth : constantDim(shape.depth), panels = constantDim(loop.panels());
  loop.blockTiles =
      chooseBlockTiles(lowering.target, tile, constantDim(shape.m), query.depth.value_or(1024) * bytes, panels);
  loop.depthBlocks = parts;

  Ix depth = isNarrow ? k.c(*depthValue) : k.dim(shape.depth), rows = k.dim(shape.m), rowLength = k.dim(shape.depth);
  std::optional<MatrixTiles> tiles;
  if (usesTiles)
    tiles.emplace(k, *narrow, op.getA(), tile, shape.depth.value());
  bool prefetch = !usesTiles && weights && depthValue && *depthValue * shape.n.value() * bytes >= (128 << 10);

  int64_t prefetchShift = choosePrefetchShift(tile, query.rows);
  emitPanelLoop(
      k, loop,
      [&](PanelAt &at) {
        Ix aOffset = shape.batchOffset(k, at.outer, shape.aBatch, shape.m * shape.depth);
        SmallVector<Value> state{k.ptrAdd(a.ptr, aOffset, rowElement)};
        if (weights) {
          int64_t width = at.nv * tile.lanes;
          state.push_back(k.ptrAdd(b.ptr, at.column * depth + at.depthBlock * (partDepth * width), element));
          return state;
        }
        Value base = k.ptrAdd(b.ptr, shape.batchOffset(k, at.outer, shape.bBatch, shape.depth * shape.n), element);
        int64_t width = at.nv * tile.lanes;
        auto pack = [&] {
          packPanel(k, base, depth, k.dim(shape.n), k.dim(shape.transposeB ? shape.depth : shape.n), shape.transposeB, scratch, at, tile.lanes, element);
          return SmallVector<Value>{scratch, k.c(width)};
        };
        // Packing pays from a few tiles on.
        if (at.tail || shape.transposeB) {
          state.append(pack());
          return state;
        }
        auto inPlace = [&] {
          return SmallVector<Value>{k.ptrAdd(base, at.column, element), k.dim(shape.n)};
        };
        state.append(k.ifElse(at.tiles < 3, {scratch.getType(), k.b.getI64Type()}, inPlace, pack));
        return state;
      },
      [&](PanelAt &at, TileAt &t, ValueRange state) {
        Accumulate inner;
        inner.element = element;
        inner.nv = at.nv;
        inner.lanes = tile.lanes;
        if (narrow)
          narrow->configure(inner);
        Ix firstDepth = at.depthBlock * partDepth;
        inner.depth = parts == 1 ? rowLength : (depth - firstDepth).min(k.c(partDepth));
        if (parts > 1 && *depthValue % parts == 0)
          inner.depth = k.c(partDepth);
        inner.panel = state[1];
        for (int64_t i = 0; i < t.mr; ++i) {
          Ix row = t.row + i;
          inner.rows.push_back(k.ptrAdd(state[0], shape.transposeA ? row : row * rowLength + firstDepth, rowElement));
        }
        if (shape.transposeA)
          inner.rowStep = rows;
        if (!weights) {
          inner.aligned = at.tail || shape.transposeB;
          if (!inner.aligned)
            inner.pitch = Ix(&k, state[2]);
        } else if (prefetch && !at.tail && t.mr == tile.mr) {
          Ix steps = isNarrow ? depth : inner.depth;
          Value next = k.ptrAdd(inner.panel, depth * tile.nr() + t.index * steps / (int64_t(1) << prefetchShift) * tile.lanes,
                                element);
          inner.prefetch = k.select(t.index < (tile.nv << prefetchShift), next, inner.panel);
          inner.prefetchShift = prefetchShift;
        }
        Ix firstRow = at.outer * rows + t.row;
        auto rowOf = [&](Ix i) { return firstRow + i; };
        if (tiles) {
          inner.tiles = &*tiles;
          inner.rowPitch = rowLength * int64_t(rowElement.getIntOrFloatBitWidth() / 8);
          tiles->begin(t.mr);
          emitAccumulate(k, inner, {});
          return tiles->end(finish, *narrow, t.mr, rowOf, at, at.column);
        }
        SmallVector<Value> acc =
            finish.startPart(at.depthBlock, parts, t.mr, rowOf, at.column, at.nv, tile.lanes, at.masks);
        if (narrow)
          narrow->start(acc, t.mr, at.column, at.nv, at.masks);
        acc = emitAccumulate(k, inner, acc);
        if (narrow)
          narrow->finish(acc, t.mr, at.column, at.nv, at.masks);
        finish.storePart(at.depthBlock, parts, t.mr, rowOf, at.column, at.nv, tile.lanes, at.masks, acc);
      });
  if (tiles)
    tiles->release();

  k.flops = shape.outer * shape.m * shape.n * shape.depth * 2;
  int64_t rowBytes = rowElement.getIntOrFloatBitWidth() / 8;
  k.bytes = (shape.outer * shape.m * (shape.n + shape.depth) + shape.depth * shape.n) * rowBytes;
  double taskFlops = 2.0 * tile.mr * tile.nr() * depthValue.value_or(512);
  double taskBytes = double(bytes) * tile.nr() * depthValue.value_or(512);
  if (query.rows.value_or(1 << 20) > 4 * tile.mr)
    taskBytes /= 8;
  k.grain = taskGrain(taskFlops, taskBytes);
  lowering.launch(k, loop.tasks());
  return success();
}

//===----------------------------------------------------------------------===//
// Few results per operand row
//===----------------------------------------------------------------------===//

/// One column, or one or two rows times a transposed matrix that is not constant (a decoding step of
/// attention): nothing is used twice, so every result is a sum along the contracted dimension.
static bool matchDot(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  if (!matchFloats(op, lowering) || shape.transposeA)
    return false;
  if (shape.n.isConst(1))
    return true;
  return shape.transposeB && shape.m.isConst() && shape.m.value() <= 2 && !lowering.constant(op.getB());
}

static LogicalResult emitDot(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::MatMulOp>(operation);
  MatMulShape shape(op, lowering);
  Type element = lowering.shapes.info(op.getA()).elementType;
  Kernel k(lowering, op, "matmul_dot_" + dimText(shape.m) + "x" + dimText(shape.n) + "x" + dimText(shape.depth));
  Buffer a = k.read(op.getA()), b = k.read(op.getB());
  Finish finish(k, op, op.getBias(), element, shape.bVector);
  Ix m = k.dim(shape.m), n = k.dim(shape.n), depth = k.dim(shape.depth);
  // A task is one result. With one column B is contiguous whether transposed or not.
  k.loop(k.begin, k.end, 1, [&](Ix task) {
    Ix column = task % n, row = task / n;
    Ix index = row / m;
    Ix aRow = shape.batchOffset(k, index, shape.aBatch, shape.m * shape.depth) + row % m * depth;
    Ix bRow = shape.batchOffset(k, index, shape.bBatch, shape.depth * shape.n) + column * depth;
    Value sum = dotProduct(k, a, aRow, k.c(1), b, bRow, k.c(1), depth, finish.biasScalar(column));
    finish.storeOne(row, column, 0, Value(), sum);
  });
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  k.flops = shape.outer * shape.m * shape.n * shape.depth * 2;
  k.bytes = (shape.outer * shape.m * shape.depth + shape.outer * shape.n * shape.depth) * bytes;
  k.grain = taskGrain(0, double(bytes) * constantDim(shape.depth).value_or(512));
  lowering.launch(k, shape.outer * shape.m * shape.n);
  return success();
}

static RegisterEmitter dot({"nn.matmul", "matmul-dot", 20, matchDot, emitDot});
static RegisterEmitter tiled({"nn.matmul", "matmul-tiled", 10, matchTiled, emitTiled});

} // namespace nnopt::cpu

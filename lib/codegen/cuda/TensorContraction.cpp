//===- TensorContraction.cpp - kernels of products on tensor cores ----------===//

#include "lib/codegen/cuda/TensorContraction.h"
#include "dialects/nn/Precision.h"
#include "lib/codegen/cuda/Device.h"

using namespace mlir;

namespace nnopt::cuda {

const Machine &machineOf(Lowering &l) { return static_cast<Device *>(l.options.device)->machine; }

std::optional<MmaTypes> tensorTypes(nn::LinearOp op, Lowering &l, Value leftZero, Value rightZero) {
  auto typeOf = [&](Value v) { return l.shapes.info(v).elementType; };
  std::optional<MmaTypes> types =
      mmaTypes(typeOf(op.getActivation()), typeOf(op.getWeight()),
               l.options.tf32 || op->hasAttr(nn::kBf16Products)); // tf32 has more bits than bf16
  if (!types || !canRunEpilogue(op.getEpilogue()))
    return std::nullopt;
  Type sum = types->sumType(op.getContext());
  if (!types->isInteger())
    return isa<FloatType>(typeOf(op->getResult(0))) && !typeOf(op->getResult(0)).isF64()
               ? types
               : std::nullopt;
  // Sums are i32 up to the epilogue; zero points of weights are known, and there is one of
  // activations.
  Type accumulator = op.getEpilogue().empty() ? typeOf(op->getResult(0))
                                              : op.getEpilogue().front().getArgument(0).getType();
  auto isSingle = [&](Value v) {
    return llvm::all_of(l.dims(v), [](nn::Dim d) { return d.isConst(1); });
  };
  if (accumulator != sum || (op.getBias() && typeOf(op.getBias()) != sum) ||
      !l.constant(op.getWeight()) || (leftZero && !isSingle(leftZero)) ||
      (rightZero && !l.constant(rightZero)))
    return std::nullopt;
  return types;
}

TensorOperand tensorMatrix(Kernel &k, const TensorContraction &c, const Buffer &buf, bool aligned,
                           Ix base, nn::Dim size, nn::Dim depth, bool along) {
  const MmaTypes &types = c.types;
  TensorOperand operand;
  operand.buffer = buf;
  operand.alongDepth = along;
  operand.needsRounding = types.isTf32();
  operand.piece = pieceBytes(along ? depth : size, types.elementBytes(), aligned);
  // Elements that lie across words of shared memory are copied alone, bytes not at all.
  if (!along && types.elementBytes() != 2)
    operand.piece = types.elementBytes() == 4 ? 4 : 0;
  Ix n = k.dim(size), d = k.dim(depth);
  operand.prepare = [base, along, d](Ix x) -> SmallVector<Ix> {
    return {base + (along ? x * d : x), x};
  };
  bool wholeSteps = isMultiple(depth, c.tile.depthBytes / types.elementBytes());
  operand.locate = [&k, along, wholeSteps, n, d](ArrayRef<Ix> prepared, Ix depth) {
    Value inside = prepared[1] < n;
    return std::pair(prepared[0] + (along ? depth : depth * n),
                     wholeSteps ? inside : k.land(inside, depth < d));
  };
  return operand;
}

namespace {

/// Numbers of a block's tile: columns change fastest, but within strips of rows, so that blocks
/// that run at the same time read few rows and columns.
struct Place {
  Ix slice, index, rowTile, columnTile;

  Place(Kernel &k, const TensorContraction &c, nn::Dim rowTiles, nn::Dim columnTiles) {
    constexpr int64_t strip = 8;
    Ix rows = k.dim(rowTiles), columns = k.dim(columnTiles), tiles = k.dim(rowTiles * columnTiles);
    Ix rest = k.block / tiles, tile = k.block % tiles;
    slice = rest % c.tile.slices;
    index = rest / c.tile.slices;
    if (rowTiles.isConst() && rowTiles.value() <= strip) {
      rowTile = tile % rows;
      columnTile = tile / rows;
      return;
    }
    Ix perStrip = columns * strip, first = tile / perStrip * strip,
       height = (rows - first).min(k.c(strip));
    rowTile = first + tile % perStrip % height;
    columnTile = tile % perStrip / height;
  }
};

} // namespace

LogicalResult emitTensorContraction(Lowering &l, const TensorContraction &c) {
  const TensorTile &tile = c.tile;
  bool split = tile.slices > 1;
  nn::Dim rowTiles = c.m.ceilDiv(l.c(tile.rows)), columnTiles = c.n.ceilDiv(l.c(tile.columns));
  std::string name =
      llvm::formatv("tensor_{0}_{1}_{2}x{3}{4}", c.name, c.types.text(), tile.rows, tile.columns,
                    split ? "_split" + std::to_string(tile.slices) : "");
  TempTensor parts;
  Type sum = c.types.sumType(c.op->getContext());
  if (split)
    parts = l.temp(sum, {l.c(tile.slices), c.count, c.m, c.n});

  Kernel k(l, c.op, name, tile.threads());
  if (c.leftZero && !l.constant(c.leftZero)) // it is read first
    k.waitForLaunches();
  Place at(k, c, rowTiles, columnTiles);
  Ix weights = c.weights ? c.weightsOf(k, at.index) : Ix();
  TensorProduct p{c.types, tile, c.left(k, at.index),
                  c.weights  ? c.weights->operand(k, weights)
                  : c.narrow ? TensorOperand()
                             : c.right(k, at.index),
                  c.depth};
  p.slice = at.slice;
  p.firstRow = at.rowTile * tile.rows;
  p.firstColumn = at.columnTile * tile.columns;
  p.rows = k.dim(c.m);
  p.columns = k.dim(c.n);
  std::unique_ptr<RightOperand> narrow;
  if (c.narrow)
    narrow = c.narrow(k, p.firstColumn);
  p.own = narrow.get();
  p.rightIsConstant = c.weights || p.own;
  p.rowSums = c.weights && c.weights->hasZeros();
  std::optional<TensorWeights::Terms> terms;
  if (c.weights)
    terms.emplace(k, *c.weights, c.leftZero, /*ofRows=*/true, /*ofColumns=*/!split);
  // Stores sums in a kernel whose epilogue this is.
  auto finish = [&](Kernel &k, Epilogue &epilogue, Ix index, Ix row, Ix column,
                    ArrayRef<Value> sums) {
    auto [r, col] = c.place(k, index, row, column);
    epilogue.store(r, col, sums);
  };
  k.flops = c.flops;
  nn::Dim when = c.when ? c.when : l.c(1), blocks = c.count * rowTiles * columnTiles * when;
  if (!split) {
    Epilogue epilogue(k, c.op, c.noColumns);
    p.storeLanes = c.alignedColumns >= 4 ? epilogue.lanes(c.alignedColumns) : 1;
    emitTensorTile(k, p, [&](Ix row, Ix column, ArrayRef<Value> sums, Value rowSum) {
      SmallVector<Value> all(sums);
      if (terms)
        terms->add(weights, column, rowSum, all);
      finish(k, epilogue, at.index, row, column, all);
    });
    k.launch(blocks);
    return success();
  }

  Buffer to = k.write(parts);
  p.storeLanes = isMultiple(c.n, 4) ? 4 : 1;
  Ix first = (at.slice * k.dim(c.count) + at.index) * (p.rows * p.columns);
  emitTensorTile(k, p, [&](Ix row, Ix column, ArrayRef<Value> sums, Value rowSum) {
    SmallVector<Value> all(sums);
    if (terms)
      terms->add(weights, column, rowSum, all);
    k.storeLanes(to, first + row * p.columns + column, all);
  });
  k.launch(blocks * tile.slices);

  constexpr int64_t threads = 128;
  Kernel s(l, c.op, name + "_sum", threads);
  Buffer from = s.read(parts);
  Epilogue epilogue(s, c.op, c.noColumns);
  std::optional<TensorWeights::Terms> columnTerms;
  if (c.weights)
    columnTerms.emplace(s, *c.weights, c.leftZero, /*ofRows=*/false, /*ofColumns=*/true);
  int64_t lanes = isMultiple(c.n, 4) && c.alignedColumns >= 4 ? epilogue.lanes() : 1;
  nn::Dim elements = c.count * c.m * c.n, vectors = elements.floorDiv(lanes);
  Ix vector = s.block * threads + s.thread;
  s.ifThen(vector < s.dim(vectors), [&] {
    Ix element = vector * lanes, column = element % s.dim(c.n), row = element / s.dim(c.n);
    SmallVector<Value> sums = s.loadLanes(from, element, lanes);
    for (int64_t slice = 1; slice < tile.slices; ++slice) {
      SmallVector<Value> more = s.loadLanes(from, s.dim(elements) * slice + element, lanes);
      for (auto [a, b] : llvm::zip(sums, more))
        a = c.types.isInteger() ? arith::AddIOp::create(s.b, s.loc, a, b).getResult()
                                : arith::AddFOp::create(s.b, s.loc, a, b).getResult();
    }
    Ix index = row / s.dim(c.m);
    if (columnTerms)
      columnTerms->add(c.weightsOf(s, index), column, Value(), sums);
    finish(s, epilogue, index, row % s.dim(c.m), column, sums);
  });
  s.bytes = elements * (4 * tile.slices);
  s.launch(vectors.ceilDiv(l.c(threads)) * when);
  return success();
}

} // namespace nnopt::cuda

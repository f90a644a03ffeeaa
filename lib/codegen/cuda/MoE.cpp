//===- MoE.cpp - mixtures of experts, products chosen for each row ----------===//
//
// Few rows (decoding): a warp computes a hidden unit, then a result; blocks of experts that a row has no score for end at
// once, so that only the weights of chosen experts are read. Many rows: each expert lists its rows; its two products
// are tiles over the list (Gale et al. 2022, "MegaBlocks", section 4), and what the experts of a row give is added up in the
// order of the experts.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Vectorize.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Gemm.h"
#include "lib/codegen/cuda/Gemv.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t maxFewRows = 8, warps = 4, blockThreads = warps * warpSize;

/// 1 where there are few rows, 0 where there are more, perhaps known at run time only.
nn::Dim hasFew(Lowering &l, nn::Dim rows) { return l.c(maxFewRows).floorDiv(rows.max(l.c(1))).min(l.c(1)); }

//===----------------------------------------------------------------------===//
// nn.moe
//===----------------------------------------------------------------------===//

bool match(Operation *operation, Lowering &l) {
  auto op = cast<nn::MoEOp>(operation);
  return areFloats(l, {op.getX(), op.getW1(), op.getW2(), op.getScore(), op.getW3(), op.getBias1(), op.getBias3(), op.getBias()}) &&
         canRunScalars(op.getActivation());
}

struct Mixture {
  nn::MoEOp op;
  Lowering &l;
  nn::Dim rows, experts, hidden, in, out;
  Type element, f32;

  Mixture(nn::MoEOp op, Lowering &l) : op(op), l(l) {
    const nn::Dims &dims = l.dims(op.getX()), &w2 = l.dims(op.getW2());
    rows = l.product(dims, 0, dims.size() - 1);
    in = dims.back(), experts = w2[0], out = w2[1], hidden = w2[2];
    element = l.shapes.info(op.getX()).elementType;
    f32 = Float32Type::get(op.getContext());
  }

  void emit() {
    nn::Dim few = hasFew(l, rows);
    if (!few.isConst(0)) {
      TempTensor units = l.temp(f32, {rows.min(l.c(maxFewRows)), experts, hidden});
      emitFewHidden(units, few);
      emitFewResults(units, few);
    }
    if (!few.isConst(1))
      emitLists(l.c(1) - few);
  }

  static Value load(Kernel &k, const Buffer &buffer, Ix at) { return k.toFloat(k.load(buffer, at)); }
  /// Anything but zero, NaN too.
  static Value isChosen(Kernel &k, Value score) {
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::UNE, score, k.f32(0));
  }
  /// A hidden unit from its sums (two where there is w3), times the score.
  Value unit(Kernel &k, ArrayRef<Value> sums, Value score) {
    SmallVector<Value> args;
    for (Value sum : sums)
      args.push_back(k.fromFloat(sum, element));
    return cpu::fmul(k, k.toFloat(k.inlineScalarRegion(op.getActivation(), args)[0]), score);
  }

  //--- few rows -----------------------------------------------------------------

  void emitFewHidden(const TempTensor &units, nn::Dim when) {
    Kernel k(l, op, "moe_hidden", blockThreads);
    Buffer x = k.read(op.getX()), scores = k.read(op.getScore()), result = k.write(units);
    SmallVector<Value> weights = {op.getW1()}, biases = {op.getBias1()};
    if (op.getW3()) {
      weights.push_back(op.getW3());
      biases.push_back(op.getBias3());
    }
    SmallVector<Value> operands(weights);
    operands.push_back(op.getX());
    int64_t lanes = rowLanes(l, operands, in);
    nn::Dim tiles = hidden.ceilDiv(warps);
    Ix place = k.block / k.dim(tiles), row = place / k.dim(experts), expert = place % k.dim(experts);
    Ix j = k.block % k.dim(tiles) * warps + k.thread / warpSize, H = k.dim(hidden);
    Value score = load(k, scores, place);
    SmallVector<Buffer> matrices, biasBuffers;
    for (auto [w, b] : llvm::zip(weights, biases)) {
      matrices.push_back(k.read(w));
      biasBuffers.push_back(b ? k.read(b) : Buffer());
    }
    k.ifThen(k.land(isChosen(k, score), j < H), [&] {
      SmallVector<Value> sums;
      for (auto [w, b, bias] : llvm::zip(matrices, biasBuffers, biases)) {
        Ix unit = expert * H + j;
        Value sum = sumOfWarp(k, laneProduct(k, x, row * k.dim(in), w, unit * k.dim(in), in, lanes, k.f32(0)));
        sums.push_back(bias ? cpu::fadd(k, sum, load(k, b, unit)) : sum);
      }
      k.ifThen(k.thread % warpSize == 0, [&] { k.store(result, place * H + j, unit(k, sums, score)); });
    });
    k.flops = rows * hidden * in * (2 * int64_t(weights.size()));
    k.launch(rows * experts * tiles * when);
  }

  void emitFewResults(const TempTensor &units, nn::Dim when) {
    Kernel k(l, op, "moe_results", blockThreads);
    Buffer scores = k.read(op.getScore()), h = k.read(units), w = k.read(op.getW2()), result = k.write(op.getResult());
    Buffer bias = op.getBias() ? k.read(op.getBias()) : Buffer();
    int64_t lanes = std::min<int64_t>(4, rowLanes(l, {op.getW2()}, hidden));
    nn::Dim tiles = out.ceilDiv(warps);
    Ix row = k.block / k.dim(tiles), o = k.block % k.dim(tiles) * warps + k.thread / warpSize;
    k.ifThen(o < k.dim(out), [&] {
      Value sum = k.loop(k.c(0), k.dim(experts), 1, {k.f32(0)}, [&](Ix e, ValueRange in) {
        Ix place = row * k.dim(experts) + e;
        return k.ifElse(
            isChosen(k, load(k, scores, place)), {k.b.getF32Type()},
            [&] {
              Ix line = (e * k.dim(out) + o) * k.dim(hidden);
              return SmallVector<Value>{laneProduct(k, h, place * k.dim(hidden), w, line, hidden, lanes, in[0])};
            },
            [&] { return SmallVector<Value>{in[0]}; });
      })[0];
      sum = sumOfWarp(k, sum);
      if (op.getBias())
        sum = cpu::fadd(k, sum, load(k, bias, o));
      k.ifThen(k.thread % warpSize == 0, [&] { k.store(result, row * k.dim(out) + o, k.fromFloat(sum, result.valueType)); });
    });
    k.flops = rows * hidden * out * 2;
    k.launch(rows * tiles * when);
  }

  //--- many rows ------------------------------------------------------------------

  void emitLists(nn::Dim when) {
    Type i32 = IntegerType::get(op.getContext(), 32);
    TempTensor list = l.temp(i32, {experts, rows}), places = l.temp(i32, {rows, experts}), counts = l.temp(i32, {experts});
    emitList(list, places, counts, when);
    TempTensor units = l.temp(f32, {experts, rows, hidden}), gate = units, results = l.temp(f32, {experts, rows, out});
    if (op.getW3()) {
      gate = l.temp(f32, {experts, rows, hidden});
      emitHidden(op.getW3(), op.getBias3(), list, counts, gate, nullptr, when);
    }
    emitHidden(op.getW1(), op.getBias1(), list, counts, units, op.getW3() ? &gate : nullptr, when, /*activates=*/true);
    emitProduct("moe_down", op.getW2(), counts, hidden, out, when, nullptr, &units, [&](Kernel &k) {
      Buffer result = k.write(results);
      return [this, &k, result](Ix expert, Ix row, Ix column, ArrayRef<Value> sums) {
        k.storeLanes(result, (expert * k.dim(rows) + row) * k.dim(out) + column, sums);
      };
    });
    emitSum(places, results, when);
  }

  /// The rows of each expert in order, and where they are in its list (-1: not in it). A thread has neighbouring rows.
  void emitList(const TempTensor &list, const TempTensor &places, const TempTensor &counts, nn::Dim when) {
    constexpr int64_t threads = 256;
    Kernel k(l, op, "moe_list", threads);
    Buffer scores = k.read(op.getScore()), listed = k.write(list), place = k.write(places), count = k.write(counts);
    Buffer found = k.shared(k.b.getI64Type(), threads);
    Ix expert = k.block, all = k.dim(rows), each = k.dim(rows.ceilDiv(threads));
    Ix low = (k.thread * each).min(all), high = (low + each).min(all);
    auto chosen = [&](Ix row) { return isChosen(k, load(k, scores, row * k.dim(experts) + expert)); };
    auto next = [&](Ix n, Ix row) { return n + k.selectIx(chosen(row), k.c(1), k.c(0)); };
    Value own = k.loop(low, high, 1, {k.c(0)}, [&](Ix row, ValueRange in) {
      return SmallVector<Value>{next(Ix(&k, in[0]), row)};
    })[0];
    k.store(found, k.thread, own);
    k.barrier();
    Value before = k.loop(k.c(0), k.thread, 1, {k.c(0)}, [&](Ix t, ValueRange in) {
      return SmallVector<Value>{Ix(&k, in[0]) + Ix(&k, k.load(found, t))};
    })[0];
    auto small = [&](Ix v) -> Value { return arith::TruncIOp::create(k.b, k.loc, k.b.getI32Type(), v); };
    Value last = k.loop(low, high, 1, {before}, [&](Ix row, ValueRange in) {
      Ix at(&k, in[0]);
      Value isIn = chosen(row);
      k.ifThen(isIn, [&] { k.store(listed, expert * all + at, small(row)); });
      k.store(place, row * k.dim(experts) + expert, small(k.selectIx(isIn, at, k.c(-1))));
      return SmallVector<Value>{at + k.selectIx(isIn, k.c(1), k.c(0))};
    })[0];
    k.ifThen(k.thread == threads - 1, [&] { k.store(count, expert, small(Ix(&k, last))); });
    k.launch(experts * when);
  }

  using Store = std::function<void(Ix expert, Ix row, Ix column, ArrayRef<Value> sums)>;
  /// Tiles of [rows of each expert, depth] times w[expert]: rows of x that `list` names, or rows of `left`.
  void emitProduct(StringRef name, Value w, const TempTensor &counts, nn::Dim depth, nn::Dim columns, nn::Dim when,
                   const TempTensor *list, const TempTensor *left, function_ref<Store(Kernel &)> makeStore) {
    Tile tile = Tile::choose(rows, columns, experts);
    Kernel k(l, op, name, tile.threads());
    Buffer matrix = k.read(w), count = k.read(counts), x = left ? k.read(*left) : k.read(op.getX());
    Buffer listed = list ? k.read(*list) : Buffer();
    Store store = makeStore(k);
    nn::Dim rowTiles = rows.ceilDiv(l.c(tile.rows)), columnTiles = columns.ceilDiv(l.c(tile.columns));
    Ix columnTile = k.block % k.dim(columnTiles), rest = k.block / k.dim(columnTiles);
    Ix rowTile = rest % k.dim(rowTiles), expert = rest / k.dim(rowTiles);
    Ix height = k.toIndex(k.load(count, expert)), firstRow = rowTile * tile.rows;
    bool alignedX = left ? isMultiple(depth, 4) : isAligned(l, op.getX());
    k.ifThen(firstRow < height, [&] {
      TileOperand rowsOf = matrixOperand(k, x, alignedX, left ? expert * k.dim(rows * depth) : k.c(0), rows, depth, /*along=*/true);
      if (list)
        rowsOf.prepare = [&](Ix row) -> SmallVector<Ix> {
          // Behind the last row the last one is read, and not used.
          Ix source = k.toIndex(k.load(listed, expert * k.dim(rows) + row.min(height - 1)));
          return {source * k.dim(depth), k.c(0)};
        };
      bool alignedW = isAligned(l, w) && isMultiple(depth, 4);
      TileOperand right = matrixOperand(k, matrix, alignedW, expert * k.dim(columns * depth), columns, depth, /*along=*/true);
      int64_t lanes = isMultiple(columns, 4) ? 4 : 1;
      emitTile(k, tile, depth, rowsOf, right, firstRow, columnTile * tile.columns, height, k.dim(columns), lanes,
               [&](Ix row, Ix column, ArrayRef<Value> sums) { store(expert, row, column, sums); });
    });
    k.flops = rows * columns * depth * 2;
    k.launch(experts * rowTiles * columnTiles * when);
  }

  /// w x + bias for the rows of each expert, which are all hidden units or, with `gate`, one of their two parts.
  void emitHidden(Value w, Value bias, const TempTensor &list, const TempTensor &counts, const TempTensor &to,
                  const TempTensor *gate, nn::Dim when, bool activates = false) {
    emitProduct(activates ? "moe_up" : "moe_gate", w, counts, in, hidden, when, &list, nullptr, [&](Kernel &k) {
      Buffer result = k.write(to), biases = bias ? k.read(bias) : Buffer(), other = gate ? k.read(*gate) : Buffer();
      Buffer scores = k.read(op.getScore()), listed = k.read(list);
      bool hasBias = bool(bias), hasGate = gate;
      return [=, &k](Ix expert, Ix row, Ix column, ArrayRef<Value> sums) {
        SmallVector<Value> values;
        Ix at = (expert * k.dim(rows) + row) * k.dim(hidden) + column;
        for (auto [i, sum] : llvm::enumerate(sums)) {
          Value v = sum;
          if (hasBias)
            v = cpu::fadd(k, v, load(k, biases, expert * k.dim(hidden) + column + int64_t(i)));
          if (activates) {
            SmallVector<Value> both = {v};
            if (hasGate)
              both.push_back(k.load(other, at + int64_t(i)));
            Ix source = k.toIndex(k.load(listed, expert * k.dim(rows) + row));
            v = unit(k, both, load(k, scores, source * k.dim(experts) + expert));
          }
          values.push_back(v);
        }
        k.storeLanes(result, at, values);
      };
    });
  }

  /// Adds up what the experts of a row give.
  void emitSum(const TempTensor &places, const TempTensor &results, nn::Dim when) {
    constexpr int64_t threads = 256;
    Kernel k(l, op, "moe_sum", threads);
    Buffer place = k.read(places), parts = k.read(results), result = k.write(op.getResult());
    Buffer bias = op.getBias() ? k.read(op.getBias()) : Buffer();
    nn::Dim total = rows * out;
    Ix i = k.block * threads + k.thread;
    k.ifThen(i < k.dim(total), [&] {
      Ix row = i / k.dim(out), column = i % k.dim(out);
      Value start = op.getBias() ? load(k, bias, column) : k.f32(0);
      Value sum = k.loop(k.c(0), k.dim(experts), 1, {start}, [&](Ix e, ValueRange in) {
        Ix at = k.toIndex(k.load(place, row * k.dim(experts) + e));
        return k.ifElse(
            k.c(0) <= at, {k.b.getF32Type()},
            [&] {
              Value part = k.load(parts, (e * k.dim(rows) + at) * k.dim(out) + column);
              return SmallVector<Value>{cpu::fadd(k, in[0], part)};
            },
            [&] { return SmallVector<Value>{in[0]}; });
      })[0];
      k.store(result, i, k.fromFloat(sum, result.valueType));
    });
    k.launch(total.ceilDiv(threads) * when);
  }
};

LogicalResult emit(Operation *op, Lowering &l) {
  Mixture(cast<nn::MoEOp>(op), l).emit();
  return success();
}

RegisterEmitter moe({"nn.moe", "cuda-moe", 10, match, emit});

//===----------------------------------------------------------------------===//
// nn.grouped_matmul
//===----------------------------------------------------------------------===//

bool matchGrouped(Operation *operation, Lowering &l) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  return areFloats(l, {op.getX(), op.getW(), op.getResult()});
}

/// A warp computes a result.
LogicalResult emitGrouped(Operation *operation, Lowering &l) {
  auto op = cast<nn::GroupedMatMulOp>(operation);
  Kernel k(l, op, "grouped_matmul", blockThreads);
  const nn::Dims &w = l.dims(op.getW()), &choices = l.dims(op.getGroup());
  nn::Dim places = choices[0] * choices[1], columns = w[1], depth = w[2], tiles = columns.ceilDiv(warps);
  Buffer x = k.read(op.getX()), matrices = k.read(op.getW()), groups = k.read(op.getGroup()), out = k.write(op.getResult());
  int64_t lanes = rowLanes(l, {op.getX(), op.getW()}, depth);
  Ix place = k.block / k.dim(tiles), column = k.block % k.dim(tiles) * warps + k.thread / warpSize;
  k.ifThen(column < k.dim(columns), [&] {
    Ix group = k.toIndex(k.load(groups, place), groups.isUnsigned);
    Ix row = l.dims(op.getX()).size() == 3 ? place : place / k.dim(choices[1]);
    Value sum = laneProduct(k, x, row * k.dim(depth), matrices, (group * k.dim(columns) + column) * k.dim(depth), depth, lanes, k.f32(0));
    sum = sumOfWarp(k, sum);
    k.ifThen(k.thread % warpSize == 0, [&] { k.store(out, place * k.dim(columns) + column, k.fromFloat(sum, out.valueType)); });
  });
  k.flops = places * columns * depth * 2;
  k.launch(places * tiles);
  return success();
}

RegisterEmitter grouped({"nn.grouped_matmul", "cuda-grouped-matmul", 10, matchGrouped, emitGrouped});

} // namespace
} // namespace nnopt::cuda

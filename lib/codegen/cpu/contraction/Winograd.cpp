//===- Winograd.cpp - 3x3 convolution by F(4x4, 3x3) and F(2x2, 3x3) ----------===//
//
// S. Winograd, "Arithmetic Complexity of Computations" (1980); A. Lavin and S. Gray, "Fast
// Algorithms for Convolutional Neural Networks" (CVPR 2016). A tile of r x r results comes from
// (r + 2) x (r + 2) inputs d and 3x3 weights g as A^T [(G g G^T) . (B^T d B)] A: 36 products for 144
// with r = 4, 16 for 36 with r = 2. Over channels these are as many matrix products,
// [tiles, in] x [in, out], by the register tiles of all contractions.
//
// The interpolation points of F(4, 3) are 0, 3/4, -3/4, 3/2, -3/2 and infinity. They cost as much as the
// usual 0, 1, -1, 2, -2 and round better: on random data with 256 channels the largest error is
// 2.2e-6 of the largest result, against 1.1e-5 (and 2e-6 of direct convolution). Those of F(2, 3) are
// 0, 1, -1 and infinity.
//
// F(4, 3) does the least work where tiles are full. Images of few pixels waste its tiles, and its
// weights are twice those of F(2, 3), which then wins.
//
// A task is one panel of output channels for one block of tiles. The transformed inputs V of a block
// are made once by each thread that enters it and stay in L2; the products M of a panel are
// transformed back and stored before the next panel begins.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// One of the algorithms, along one dimension: `outTile` results from `inTile` inputs.
struct Algorithm {
  int64_t outTile, inTile;
  double weights[6][3]; // G: for each point p the powers 1, p, p^2 over the product of its distances
                        // from the other finite points
  int64_t products() const { return inTile * inTile; }
};

/// The points of F(4, 3) other than 0 and infinity: both signs of these.
constexpr double pointA = 0.75, pointB = 1.5;
constexpr double a2 = pointA * pointA, b2 = pointB * pointB;
constexpr double scale0 = 1 / (a2 * b2), scaleA = 1 / (2 * a2 * (a2 - b2)), scaleB = 1 / (2 * b2 * (b2 - a2));

constexpr Algorithm f43 = {4,
                           6,
                           {{scale0, 0, 0},
                            {scaleA, scaleA * pointA, scaleA * a2},
                            {scaleA, -scaleA * pointA, scaleA * a2},
                            {scaleB, scaleB * pointB, scaleB * b2},
                            {scaleB, -scaleB * pointB, scaleB * b2},
                            {0, 0, 1}}};
constexpr Algorithm f23 = {2, 4, {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}}};

/// G g G^T of all weights [out][in][3][3], in double, as [product][out][in].
std::vector<float> transformWeights(const Algorithm &f, const nn::ConstantData &weights, int64_t out, int64_t in) {
  std::vector<float> source = weights.asFloats(), result(f.products() * out * in);
  for (int64_t i = 0; i < out * in; ++i) {
    const float *g = source.data() + i * 9;
    double half[6][3];
    for (int64_t r = 0; r < f.inTile; ++r)
      for (int64_t c = 0; c < 3; ++c) {
        half[r][c] = 0;
        for (int64_t j = 0; j < 3; ++j)
          half[r][c] += f.weights[r][j] * g[j * 3 + c];
      }
    for (int64_t r = 0; r < f.inTile; ++r)
      for (int64_t c = 0; c < f.inTile; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < 3; ++j)
          sum += half[r][j] * f.weights[c][j];
        result[(r * f.inTile + c) * out * in + i] = float(sum);
      }
  }
  return result;
}

struct Vectors {
  Kernel &k;
  int64_t lanes;
  Value constant(double v) { return k.constant(k.vec(lanes, k.b.getF32Type()), v); }
  Value add(Value a, Value b) { return arith::AddFOp::create(k.b, k.loc, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(k.b, k.loc, a, b); }
  Value times(double factor, Value a) { return arith::MulFOp::create(k.b, k.loc, a, constant(factor)); }
  /// a * factor + b.
  Value scaled(double factor, Value a, Value b) { return multiplyAdd(k, a, constant(factor), b); }

  /// B^T d for one column or row of inputs: for each point the coefficients of the product of (x - q)
  /// over the other finite points q, for infinity over all of them.
  SmallVector<Value, 6> input(ArrayRef<Value> d) {
    if (d.size() == 4)
      return {sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[3], d[1])};
    Value evenA = scaled(-b2, d[2], d[4]), oddA = scaled(-b2, d[1], d[3]);
    Value evenB = scaled(-a2, d[2], d[4]), oddB = scaled(-a2, d[1], d[3]);
    return {scaled(a2 * b2, d[0], scaled(-(a2 + b2), d[2], d[4])),
            scaled(pointA, oddA, evenA),
            scaled(-pointA, oddA, evenA),
            scaled(pointB, oddB, evenB),
            scaled(-pointB, oddB, evenB),
            scaled(a2 * b2, d[1], scaled(-(a2 + b2), d[3], d[5]))};
  }
  /// A^T m: row i is the i-th powers of the points.
  SmallVector<Value, 4> output(ArrayRef<Value> m) {
    Value s1 = add(m[1], m[2]), d1 = sub(m[1], m[2]);
    if (m.size() == 4)
      return {add(m[0], s1), add(d1, m[3])};
    Value s2 = add(m[3], m[4]), d2 = sub(m[3], m[4]);
    return {add(add(m[0], s1), s2), scaled(pointB, d2, times(pointA, d1)), scaled(b2, s2, times(a2, s1)),
            scaled(b2 * pointB, d2, scaled(a2 * pointA, d1, m[5]))};
  }
};

struct Sizes {
  int64_t in, out, lanes, block; // block: tiles
  Tile tile;
  int64_t inPitch() const { return llvm::alignTo(in, lanes); }
  int64_t rows() const { return llvm::alignTo(block, tile.mr); }
  // One line more than a block, so that the 36 matrices do not share cache sets.
  int64_t inMatrix() const { return rows() * inPitch() + lanes; }
  int64_t outMatrix() const { return rows() * tile.nr() + lanes; }
};

struct Winograd {
  Kernel &k;
  const Algorithm &f;
  const ConvShape &shape;
  Sizes sizes;
  Buffer x;
  Finish &finish;
  Value zeros, inputs, outputs, parked; // V, M, and the results of a tile
  Type f32() { return k.b.getF32Type(); }
  Ix tileRows, tileColumns;

  void transformInput(Ix tile, Ix slot);
  void clearInput(Ix first, Ix last);
  void transformOutput(const PanelAt &at, Ix tile, Ix slot);
  void multiply(const PanelAt &at, Value panel, Ix rowTiles);
};

void Winograd::transformInput(Ix tile, Ix slot) {
  const ConvDim &h = shape.dims[0], &w = shape.dims[1];
  Ix height = k.dim(h.in), width = k.dim(w.in);
  Ix tx = tile % tileColumns, rest = tile / tileColumns;
  Ix ty = rest % tileRows, image = rest / tileRows;
  Ix y0 = ty * f.outTile + h.first, x0 = tx * f.outTile + w.first;
  Ix base = image * height * width * sizes.in;
  Ix rowStride = width * sizes.in;
  Vectors v{k, sizes.lanes};
  auto transform = [&](function_ref<Value(int64_t, int64_t, Ix)> load) {
    k.loop(k.c(0), k.c(sizes.in), sizes.lanes, [&](Ix c) {
      SmallVector<SmallVector<Value, 6>> columns;
      for (int64_t col = 0; col < f.inTile; ++col) {
        SmallVector<Value> d;
        for (int64_t row = 0; row < f.inTile; ++row)
          d.push_back(load(row, col, c));
        columns.push_back(v.input(d));
      }
      for (int64_t row = 0; row < f.inTile; ++row) {
        SmallVector<Value> d;
        for (int64_t col = 0; col < f.inTile; ++col)
          d.push_back(columns[col][row]);
        SmallVector<Value, 6> t = v.input(d);
        for (int64_t col = 0; col < f.inTile; ++col)
          k.storeAt(inputs, slot * sizes.inPitch() + c + (row * f.inTile + col) * sizes.inMatrix(), t[col],
                    sizes.lanes * 4);
      }
    });
  };
  auto loadVector = [&](Value pointer, Ix offset, Ix c) {
    if (sizes.in % sizes.lanes == 0)
      return k.loadAt(pointer, offset, k.vec(sizes.lanes, f32()));
    return k.loadMasked(k.at(pointer, f32()), offset, sizes.lanes, k.mask(k.c(sizes.in) - c, sizes.lanes));
  };
  Value interior = k.land(k.land(k.c(0) <= y0, (y0 + f.inTile) <= height), k.land(k.c(0) <= x0, (x0 + f.inTile) <= width));
  k.ifThen(
      interior,
      [&] {
        Value corner = k.ptrAdd(x.ptr, base + y0 * rowStride + x0 * sizes.in, f32());
        transform([&](int64_t row, int64_t col, Ix c) {
          return loadVector(corner, rowStride * row + col * sizes.in + c, c);
        });
      },
      [&] {
        SmallVector<Value> pointers;
        for (int64_t row = 0; row < f.inTile; ++row)
          for (int64_t col = 0; col < f.inTile; ++col) {
            Ix y = y0 + row, xx = x0 + col;
            Value inside = k.land(y.inRange(height), xx.inRange(width));
            pointers.push_back(k.select(inside, k.ptrAdd(x.ptr, base + y * rowStride + xx * sizes.in, f32()), zeros));
          }
        transform([&](int64_t row, int64_t col, Ix c) { return loadVector(pointers[row * f.inTile + col], c, c); });
      });
}

/// Zeros in the slots [first, last), which are multiplied with the others but hold no tile. What other kernels left in the memory may be
/// denormal numbers, each of which costs Intel's cores more than a hundred cycles.
void Winograd::clearInput(Ix first, Ix last) {
  Value zero = k.constant(k.vec(sizes.lanes, f32()), 0);
  k.loop(first, last, 1, [&](Ix slot) {
    k.loop(k.c(0), k.c(f.products()), 1, [&](Ix p) {
      k.loop(k.c(0), k.c(sizes.inPitch()), sizes.lanes, [&](Ix c) {
        k.storeAt(inputs, slot * sizes.inPitch() + c + p * sizes.inMatrix(), zero, sizes.lanes * 4);
      });
    });
  });
}

void Winograd::multiply(const PanelAt &at, Value panel, Ix rowTiles) {
  const Tile &tile = sizes.tile;
  int64_t width = at.nv * tile.lanes;
  int64_t shift = choosePrefetchShift(tile, sizes.block);
  VectorType vector = k.vec(tile.lanes, f32());
  k.loop(k.c(0), k.c(f.products()), 1, [&](Ix p) {
    k.loop(k.c(0), rowTiles, 1, [&](Ix t) {
      Accumulate inner;
      inner.element = f32();
      inner.nv = at.nv;
      inner.lanes = tile.lanes;
      inner.depth = k.c(sizes.in);
      inner.panel = k.ptrAdd(panel, p * (sizes.in * width), f32());
      for (int64_t i = 0; i < tile.mr; ++i)
        inner.rows.push_back(
            k.ptrAdd(inputs, p * sizes.inMatrix() + (t * tile.mr + i) * sizes.inPitch(), f32()));
      Value ahead =
          k.ptrAdd(inner.panel, t * (sizes.in >> shift) * tile.lanes + sizes.in * width, f32());
      inner.prefetch = k.select(t < (tile.nv << shift), ahead, inner.panel);
      inner.prefetchShift = shift;
      SmallVector<Value> acc(tile.mr * at.nv, k.constant(vector, 0));
      acc = emitAccumulate(k, inner, acc);
      for (int64_t i = 0; i < tile.mr; ++i)
        for (int64_t j = 0; j < at.nv; ++j)
          k.storeAt(outputs, p * sizes.outMatrix() + (t * tile.mr + i) * tile.nr() + j * tile.lanes,
                    acc[i * at.nv + j], tile.lanes * 4);
    });
  });
}

void Winograd::transformOutput(const PanelAt &at, Ix tile, Ix slot) {
  Ix height = k.dim(shape.dims[0].out), width = k.dim(shape.dims[1].out);
  Ix tx = tile % tileColumns, rest = tile / tileColumns;
  Ix ty = rest % tileRows, image = rest / tileRows;
  Ix y0 = ty * f.outTile, x0 = tx * f.outTile;
  Ix firstRow = (image * height + y0) * width + x0; // as a row of the result
  Vectors v{k, sizes.lanes};
  VectorType vector = k.vec(sizes.lanes, f32());
  Value whole = k.land((y0 + f.outTile) <= height, (x0 + f.outTile) <= width);
  Ix heightLeft = (height - y0).min(k.c(f.outTile)), widthLeft = (width - x0).min(k.c(f.outTile));
  for (int64_t j = 0; j < at.nv; ++j) {
    SmallVector<SmallVector<Value, 4>> columns;
    for (int64_t col = 0; col < f.inTile; ++col) {
      SmallVector<Value> m;
      for (int64_t row = 0; row < f.inTile; ++row)
        m.push_back(k.loadAt(outputs,
                             slot * sizes.tile.nr() + (row * f.inTile + col) * sizes.outMatrix() + j * sizes.lanes,
                             vector, sizes.lanes * 4));
      columns.push_back(v.output(m));
    }
    Ix column = at.column + j * sizes.lanes;
    Value bias = finish.bias(column, 1, sizes.lanes, {at.masks[j]})[0];
    SmallVector<Value> results;
    for (int64_t row = 0; row < f.outTile; ++row) {
      SmallVector<Value> m;
      for (int64_t col = 0; col < f.inTile; ++col)
        m.push_back(columns[col][row]);
      for (Value r : v.output(m))
        results.push_back(v.add(r, bias));
    }
    // At the border some of the results do not exist; a loop over what does is short code.
    auto parkAndLoop = [&] {
      for (int64_t i = 0; i < f.outTile * f.outTile; ++i)
        k.storeAt(parked, k.c(i * sizes.lanes), results[i], sizes.lanes * 4);
      k.loop(k.c(0), heightLeft, 1, [&](Ix y) {
        k.loop(k.c(0), widthLeft, 1, [&](Ix xx) {
          Value r = k.loadAt(parked, (y * f.outTile + xx) * sizes.lanes, vector, sizes.lanes * 4);
          finish.storeOne(firstRow + y * width + xx, column, sizes.lanes, at.masks[j], r);
        });
      });
    };
    if (finish.isLong()) {
      parkAndLoop();
      continue;
    }
    k.ifThen(
        whole,
        [&] {
          for (int64_t i = 0; i < f.outTile * f.outTile; ++i)
            finish.storeOne(firstRow + width * (i / f.outTile) + i % f.outTile, column, sizes.lanes, at.masks[j], results[i]);
        },
        parkAndLoop);
  }
}

/// Sizes that are unknown are mostly those of images: large.
int64_t sizeOf(const ConvDim &d) { return constantDim(d.out).value_or(56); }

/// Estimated cycles of one thread: 32 multiply-adds per cycle, `bandwidth` bytes of weights per cycle.
double directCycles(double positions, double in, double out, double bandwidth) {
  return std::max(positions * 9 * in * out / 32 / 0.88, 9 * in * out * 4 / bandwidth);
}
double transformCycles(const Algorithm &f, double tiles, double in, double out) {
  return tiles * f.products() * (in / 16 * 3 + out / 16 * 2.8);
}
double winogradCycles(const Algorithm &f, double tiles, double in, double out, double bandwidth) {
  double products = f.products();
  double multiply = std::max(tiles * products * in * out / 32 / 0.85, products * in * out * 4 / bandwidth);
  return multiply + transformCycles(f, tiles, in, out);
}

double positionsOf(const ConvShape &shape) {
  double positions = constantDim(shape.batch).value_or(1);
  for (const ConvDim &d : shape.dims)
    positions *= sizeOf(d);
  return positions;
}
double tilesOf(const Algorithm &f, const ConvShape &shape) {
  double tiles = constantDim(shape.batch).value_or(1);
  for (const ConvDim &d : shape.dims)
    tiles *= llvm::divideCeil(sizeOf(d), f.outTile);
  return tiles;
}

/// The algorithm that is expected to be faster than direct convolution, or null.
const Algorithm *choose(const ConvShape &shape, Lowering &lowering) {
  int64_t lanes = lowering.target.lanes(4);
  // Bytes per cycle of a core (5: 19 GB/s from memory at 3.7 GHz), which takes several for a cycle of the estimates above where its
  // multiply-add units have less than 512 bits.
  double bandwidth = (lowering.weightsStayCached() ? 10 : 5) * 512.0 / double(lowering.target.multiplyBits);
  double positions = positionsOf(shape);
  // Vectors of results are computed whole.
  double in = shape.inPerGroup, out = llvm::alignTo(shape.outPerGroup, lanes);
  double best = 0.85 * directCycles(positions, in, out, bandwidth);
  const Algorithm *chosen = nullptr;
  for (const Algorithm *f : {&f43, &f23}) {
    double cycles = winogradCycles(*f, tilesOf(*f, shape), in, out, bandwidth);
    if (cycles < best) {
      best = cycles;
      chosen = f;
    }
  }
  return chosen;
}

/// The algorithm that the operation asks for (nn.kernel = {out_tile = 4}), else the one that choose() takes.
const Algorithm *algorithmOf(nn::ConvOp op, const ConvShape &shape, Lowering &lowering) {
  auto wanted = op->getAttrOfType<DictionaryAttr>("nn.kernel");
  auto outTile = wanted ? wanted.getAs<IntegerAttr>("out_tile") : IntegerAttr();
  for (const Algorithm *f : {&f43, &f23})
    if (outTile && outTile.getInt() == f->outTile)
      return f;
  return choose(shape, lowering);
}

bool match(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  if (!lowering.options.winograd || op.getGroup() != 1 ||
      !isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), op.getChannelsLast()) ||
      !lowering.shapes.info(op.getX()).elementType.isF32())
    return false;
  ConvShape shape(op, lowering);
  if (shape.dims.size() != 2 || shape.inPerGroup < 8 || shape.outPerGroup < 8) // half a vector
    return false;
  for (const ConvDim &d : shape.dims)
    if (d.taps != 3 || d.inStep != 1 || d.tapStep != 1)
      return false;
  return algorithmOf(op, shape, lowering);
}

LogicalResult emit(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::ConvOp>(operation);
  ConvShape shape(op, lowering);
  const Algorithm &f = *algorithmOf(op, shape, lowering);
  int64_t products = f.products();
  nn::Dim tileRows = shape.dims[0].out.ceilDiv(lowering.c(f.outTile));
  nn::Dim tileColumns = shape.dims[1].out.ceilDiv(lowering.c(f.outTile));
  nn::Dim tiles = shape.batch * tileRows * tileColumns;

  Sizes sizes;
  sizes.in = shape.inPerGroup;
  sizes.out = shape.outPerGroup;
  sizes.lanes = lowering.target.lanes(4);
  // V takes at most 0.45 of L2, or 0.65 where that is all tiles: weights are then read once, and mostly come from memory. Else equal
  // blocks where the number of tiles is known.
  auto tilesIn = [&](int64_t percent) {
    return std::max<int64_t>(8, lowering.target.l2Bytes * percent / 100 / (products * sizes.inPitch() * 4));
  };
  sizes.block = std::min<int64_t>(tilesIn(45), 96);
  if (std::optional<int64_t> known = constantDim(tiles)) {
    if (*known <= std::min<int64_t>(tilesIn(65), 96))
      sizes.block = *known;
    sizes.block = llvm::divideCeil(*known, llvm::divideCeil(*known, sizes.block));
  }
  TileQuery query;
  query.rows = sizes.block;
  query.columns = sizes.out;
  query.depth = sizes.in;
  query.maxRows = maxRowsForPitch(lowering.target, sizes.inPitch() * 4);
  sizes.tile = chooseTile(lowering, op, query);
  const Tile &tile = sizes.tile;

  std::vector<float> transformed = transformWeights(f, *lowering.constant(op.getW()), sizes.out, sizes.in);
  PanelSource source;
  source.columns = sizes.out;
  source.channels = sizes.in;
  source.columnStride = sizes.in;
  source.tapOffsets.clear();
  for (int64_t p = 0; p < products; ++p)
    source.tapOffsets.push_back(p * sizes.out * sizes.in);
  std::vector<char> packed =
      packPanels(source, ArrayRef(reinterpret_cast<const char *>(transformed.data()), transformed.size() * 4), 4, tile);
  transformed = {};

  Kernel k(lowering, op, "conv_winograd" + std::to_string(f.outTile) + "_" + shape.text());
  Buffer x = k.read(op.getX());
  Buffer weights = k.weights(packed, k.b.getF32Type(), {int64_t(packed.size()) / 4});
  Finish finish(k, op, op.getBias(), k.b.getF32Type());
  finish.allowInPlace();
  std::vector<char> zeroBytes(sizes.in * 4);
  Winograd winograd{k, f, shape, sizes, x, finish, {}, {}, {}, {}, {}, {}};
  winograd.zeros = k.weights(zeroBytes, k.b.getF32Type(), {sizes.in}).ptr;
  int64_t inputBytes = products * sizes.inMatrix() * 4, outputBytes = products * sizes.outMatrix() * 4;
  winograd.inputs = k.scratch(lowering.c(inputBytes + outputBytes + f.outTile * f.outTile * sizes.lanes * 4));
  winograd.outputs = k.ptrAdd(winograd.inputs, k.c(inputBytes / 4), k.b.getF32Type());
  winograd.parked = k.ptrAdd(winograd.outputs, k.c(outputBytes / 4), k.b.getF32Type());
  winograd.tileRows = k.dim(tileRows);
  winograd.tileColumns = k.dim(tileColumns);

  int64_t nr = tile.nr(), panels = llvm::divideCeil(sizes.out, nr), rest = sizes.out % nr;
  nn::Dim blocks = tiles.ceilDiv(lowering.c(sizes.block));
  k.loop(k.begin / panels, (k.end - 1).max(k.begin) / panels + 1, 1, [&](Ix block) {
    Ix low = (k.begin - block * panels).max(k.c(0)), high = (k.end - block * panels).min(k.c(panels));
    Ix first = block * sizes.block;
    Ix count = (k.dim(tiles) - first).min(k.c(sizes.block));
    k.loop(k.c(0), count, 1, [&](Ix slot) { winograd.transformInput(first + slot, slot); });
    Ix rowTiles = (count + (tile.mr - 1)) / tile.mr;
    winograd.clearInput(count, rowTiles * tile.mr);
    k.loop(low, high, 1, [&](Ix panel) {
      auto run = [&](bool tail) {
        PanelAt at;
        at.column = panel * nr;
        at.nv = tail ? llvm::divideCeil(rest, tile.lanes) : tile.nv;
        at.masks.assign(at.nv, Value());
        if (tail && rest % tile.lanes)
          at.masks.back() = k.mask(k.c(rest % tile.lanes), tile.lanes);
        Value weightsAt = k.ptrAdd(weights.ptr, at.column * (products * sizes.in), k.b.getF32Type());
        winograd.multiply(at, weightsAt, rowTiles);
        k.loop(k.c(0), count, 1, [&](Ix slot) { winograd.transformOutput(at, first + slot, slot); });
      };
      if (rest == 0)
        return run(false);
      if (panels == 1)
        return run(true);
      k.ifThen(panel < k.c(panels - 1), [&] { run(false); }, [&] { run(true); });
    });
  });

  k.flops = shape.flops(lowering);
  k.bytes = (lowering.numElements(op.getX()) + lowering.numElements(op.getResult())) * 4 + int64_t(packed.size());
  k.grain = taskGrain(2.0 * products * sizes.block * sizes.in * nr, 0);
  lowering.launch(k, blocks * panels);
  return success();
}

RegisterEmitter winogradEmitter({"nn.conv", "conv-winograd", 30, match, emit});

} // namespace

double winogradRatio(nn::ConvOp op, Lowering &lowering) {
  if (!match(op, lowering))
    return 1;
  ConvShape shape(op, lowering);
  const Algorithm &f = *algorithmOf(op, shape, lowering);
  double in = shape.inPerGroup, out = llvm::alignTo(shape.outPerGroup, lowering.target.lanes(4));
  double tiles = tilesOf(f, shape);
  double multiply = tiles * f.products() * in * out / 32 / 0.85, direct = positionsOf(shape) * 9 * in * out / 32 / 0.88;
  return std::min(1.0, (multiply + transformCycles(f, tiles, in, out)) / direct);
}

} // namespace nnopt::cpu

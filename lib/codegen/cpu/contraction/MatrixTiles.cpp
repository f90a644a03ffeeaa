//===- MatrixTiles.cpp - contractions by the tile registers of AMX -----------===//

#include "lib/codegen/cpu/contraction/MatrixTiles.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {
/// Tile registers: sums, then rows, then the panel.
constexpr int64_t sumsTiles = 4, allTiles = 8;
/// Below, most of a panel's tile is multiplied with nothing, and reading it bounds the product anyhow.
constexpr int64_t leastRows = 4;
} // namespace

bool MatrixTiles::suits(Lowering &lowering, const NarrowOperands &o, std::optional<int64_t> rows, int64_t columns,
                        int64_t runLength) {
  Type x = lowering.shapes.info(o.x).elementType, w = lowering.shapes.info(o.w).elementType;
  if (!lowering.target.amx || w.isUnsignedInteger(8))
    return false;
  if (o.wZero) {
    nn::ConstantData zeros = *lowering.constant(o.wZero);
    for (int64_t i = 0; i < zeros.size(); ++i)
      if (zeros.asInt(i) != 0)
        return false;
  }
  int64_t runBytes = runLength * (x.getIntOrFloatBitWidth() / 8);
  return (!rows || *rows >= leastRows) && columns >= height && 2 * runBytes >= rowBytes;
}

Tile MatrixTiles::resultTile(std::optional<int64_t> rows, int64_t columns, bool isEven) {
  bool isTall = isEven && (!rows || *rows > height);
  int64_t vectors = llvm::divideCeil(columns, height);
  Tile tile;
  tile.lanes = height;
  tile.nv = std::min<int64_t>(vectors, isTall ? sumsTiles / 2 : sumsTiles);
  tile.mr = std::min<int64_t>(rows.value_or(2 * height), isTall ? 2 * height : height);
  return tile;
}

MatrixTiles::MatrixTiles(Kernel &k, const NarrowProduct &narrow, Value x, const Tile &tile, int64_t runLength)
    : k(k), tile(tile) {
  Type element = k.lowering.shapes.info(x).elementType;
  pairs = element.isBF16();
  signedRows = !element.isUnsignedInteger(8);
  int64_t sumsBytes = tile.mr * tile.nr() * 4;
  int64_t copyBytes = tile.mr * llvm::alignTo(runLength * (element.getIntOrFloatBitWidth() / 8), rowBytes);
  sums = k.scratch(k.lowering.c(sumsBytes + copyBytes));
  copies = k.ptrAdd(sums, k.c(sumsBytes), k.b.getI8Type());
  k.lowering.program.cpuFeatures |= NNOPT_CPU_AMX;
  loadConfiguration(tile.mr);
}

void MatrixTiles::call(StringRef name, ArrayRef<int64_t> tiles, ValueRange operands) {
  SmallVector<Value> args;
  for (int64_t number : tiles)
    args.push_back(LLVM::ConstantOp::create(k.b, k.loc, k.b.getI8Type(), k.b.getI8IntegerAttr(number)));
  llvm::append_range(args, operands);
  LLVM::CallIntrinsicOp::create(k.b, k.loc, k.b.getStringAttr(("llvm.x86." + name).str()), args);
}

void MatrixTiles::loadConfiguration(int64_t mr) {
  // Palette 1; bytes of a row of each tile from byte 16 on, as 16-bit numbers; rows from byte 48 on.
  std::vector<char> configuration(64);
  configuration[0] = 1;
  auto set = [&](int64_t number, int64_t rows) {
    configuration[16 + 2 * number] = rowBytes;
    configuration[48 + number] = rows;
  };
  for (int64_t i = 0; i < rowTiles(mr); ++i) {
    int64_t rows = std::min(height, mr - i * height);
    for (int64_t j = 0; j < tile.nv; ++j)
      set(sumsTile(i, j), rows);
    set(sumsTiles + i, rows);
  }
  for (int64_t number = sumsTiles + rowTiles(mr); number < allTiles; ++number)
    set(number, height);
  call("ldtilecfg", {}, {k.weights(configuration, k.b.getI8Type(), {64}).ptr});
}

void MatrixTiles::begin(int64_t mr) {
  // A new configuration makes all tiles 0.
  if (mr != tile.mr)
    return loadConfiguration(mr);
  for (int64_t i = 0; i < rowTiles(mr); ++i)
    for (int64_t j = 0; j < tile.nv; ++j)
      call("tilezero", {sumsTile(i, j)});
}

Value MatrixTiles::copyAt(Ix index, int64_t row) {
  return k.ptrAdd(copies, index * (tile.mr * rowBytes) + row * rowBytes, k.b.getI8Type());
}

void MatrixTiles::copyRows(const Accumulate &a, Ix index, int64_t count) {
  Type i8 = k.b.getI8Type();
  Value mask = count < rowBytes ? k.mask(k.c(count), rowBytes) : Value();
  for (auto [row, from] : llvm::enumerate(a.rows)) {
    Buffer source = k.at(from, i8);
    Value bytes = mask ? k.loadMasked(source, index * rowBytes, rowBytes, mask) : k.load(source, index * rowBytes, rowBytes);
    k.storeAt(copyAt(index, row), k.c(0), bytes, rowBytes);
  }
}

void MatrixTiles::step(const Accumulate &a, Value rows, Ix pitch, Ix index) {
  int64_t heights = rowTiles(a.rows.size()), panelTiles = allTiles - sumsTiles - heights;
  Ix panelPitch = k.c(a.nv * rowBytes);
  Value panel = k.ptrAdd(a.panel, index * (height * a.nv * rowBytes), k.b.getI8Type());
  for (int64_t i = 0; i < heights; ++i)
    call("tileloadd64", {sumsTiles + i}, {k.ptrAdd(rows, pitch * (i * height), k.b.getI8Type()), pitch});
  StringRef multiply = pairs ? "tdpbf16ps" : signedRows ? "tdpbssd" : "tdpbusd";
  for (int64_t j = 0; j < a.nv; ++j) {
    int64_t number = sumsTiles + heights + j % panelTiles;
    call("tileloadd64", {number}, {k.ptrAdd(panel, k.c(j * rowBytes), k.b.getI8Type()), panelPitch});
    for (int64_t i = 0; i < heights; ++i)
      call(multiply, {sumsTile(i, j), sumsTiles + i, number});
  }
}

void MatrixTiles::accumulate(const Accumulate &a) {
  int64_t bytes = *a.depth.constant() * (4 / a.perStep), whole = bytes / rowBytes, rest = bytes % rowBytes;
  bool isEven = Value(a.rowPitch) != nullptr;
  Ix copyPitch = k.c(rowBytes);
  if (!isEven)
    k.loop(k.c(0), k.c(whole), 1, [&](Ix index) { copyRows(a, index, rowBytes); });
  if (rest)
    copyRows(a, k.c(whole), rest);
  k.loop(k.c(0), k.c(whole), 1, [&](Ix index) {
    if (isEven)
      step(a, k.ptrAdd(a.rows[0], index * rowBytes, k.b.getI8Type()), a.rowPitch, index);
    else
      step(a, copyAt(index, 0), copyPitch, index);
  });
  if (rest)
    step(a, copyAt(k.c(whole), 0), copyPitch, k.c(whole));
}

void MatrixTiles::end(Finish &finish, NarrowProduct &narrow, int64_t mr, function_ref<Ix(Ix)> rowOf, const PanelAt &at,
                      Ix column) {
  int64_t width = at.nv * tile.lanes;
  for (int64_t i = 0; i < rowTiles(mr); ++i)
    for (int64_t j = 0; j < at.nv; ++j)
      call("tilestored64", {sumsTile(i, j)},
           {k.ptrAdd(sums, k.c(i * height * width + j * tile.lanes), k.b.getI32Type()), k.c(4 * width)});
  Type element = narrow.accumulator();
  k.loop(k.c(0), k.c(mr), 1, [&](Ix row) {
    SmallVector<Value> acc = finish.start(1, column, at.nv, tile.lanes, at.masks);
    narrow.start(acc, 1, column, at.nv, at.masks);
    for (int64_t j = 0; j < at.nv; ++j) {
      Value sum = k.load(k.at(sums, element), row * width + j * tile.lanes, tile.lanes);
      if (matchPattern(acc[j], m_AnyZeroFloat()) || matchPattern(acc[j], m_Zero()))
        acc[j] = sum;
      else
        acc[j] = pairs ? arith::AddFOp::create(k.b, k.loc, acc[j], sum).getResult()
                     : arith::AddIOp::create(k.b, k.loc, acc[j], sum).getResult();
    }
    finish.store(1, [&](Ix i) { return rowOf(row + i); }, column, at.nv, tile.lanes, at.masks, acc);
  });
  if (mr != tile.mr)
    loadConfiguration(tile.mr);
}

void MatrixTiles::release() { call("tilerelease", {}); }

} // namespace nnopt::cpu

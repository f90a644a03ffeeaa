//===- ByteRows.cpp - attention over keys and values of 8 bits --------------===//

#include "lib/codegen/cpu/contraction/ByteRows.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Neighbouring elements that are computed together.
struct Part {
  int64_t column, lanes;
};

/// A row as whole vectors and, at its end, ever smaller ones: nothing behind a row may be read.
SmallVector<Part> partsOf(int64_t width, int64_t lanes) {
  SmallVector<Part> parts;
  for (int64_t column = 0; column < width; column += lanes) {
    while (column + lanes > width)
      lanes /= 2;
    parts.push_back({column, lanes});
  }
  return parts;
}

Value loadBytes(Kernel &k, Value row, Ix column, int64_t lanes) {
  return k.toFloat(k.loadAt(row, column, k.vec(lanes, k.b.getI8Type()), 1));
}
Value loadFloats(Kernel &k, Value row, Ix column, int64_t lanes) { return k.loadAt(row, column, k.vec(lanes, k.b.getF32Type()), 4); }
Value rowAt(Kernel &k, const ByteRows &rows, Ix row) { return k.ptrAdd(rows.bytes, row * rows.pitch, k.b.getI8Type()); }
Value scaleAt(Kernel &k, const ByteRows &rows, Ix row) { return k.loadAt(rows.scales, row * rows.scalePitch, k.b.getF32Type()); }

/// Bytes between what is read and what is fetched from memory ahead: conversions leave the CPU's own prefetchers little room, and these
/// stop at the ends of pages.
constexpr int64_t kAhead = 4096;

/// Fetches the row that is read a while after the one at `row`.
void prefetchBehind(Kernel &k, const ByteRows &rows, Value row) {
  constexpr int64_t kLine = 64;
  Ix behind = rows.pitch * std::max<int64_t>(1, kAhead / rows.width);
  for (int64_t d = 0; d < rows.width; d += kLine)
    k.prefetch(row, behind + d, k.b.getI8Type());
}

/// The sums of the elements of each vector, as one vector. As many vectors as they have elements: each round adds neighbours of two
/// vectors, so that none is reduced by itself.
Value sumsOfEach(Kernel &k, SmallVector<Value> vectors) {
  int64_t lanes = vectors.size();
  SmallVector<int64_t> even, odd;
  for (int64_t i = 0; i < lanes; ++i) {
    even.push_back(2 * i);
    odd.push_back(2 * i + 1);
  }
  while (vectors.size() > 1) {
    SmallVector<Value> next;
    for (size_t i = 0; i < vectors.size(); i += 2) {
      Value a = vector::ShuffleOp::create(k.b, k.loc, vectors[i], vectors[i + 1], even);
      Value b = vector::ShuffleOp::create(k.b, k.loc, vectors[i], vectors[i + 1], odd);
      next.push_back(arith::AddFOp::create(k.b, k.loc, a, b));
    }
    vectors = next;
  }
  return vectors.front();
}

/// Scales of rows [first, first + lanes).
Value scalesOf(Kernel &k, const ByteRows &rows, Ix first, Ix count, int64_t lanes, Value inside) {
  if (rows.scalePitch.constant() == 1) {
    Buffer scales = k.at(rows.scales, k.b.getF32Type());
    return inside ? k.loadMasked(scales, first, lanes, inside) : k.load(scales, first, lanes);
  }
  SmallVector<Value> each;
  for (int64_t i = 0; i < lanes; ++i)
    each.push_back(scaleAt(k, rows, inside ? (first + i).min(count - 1) : first + i));
  return vector::FromElementsOp::create(k.b, k.loc, k.vec(lanes, k.b.getF32Type()), each);
}

/// factors[j] *= scales[j]
void multiplyByScales(Kernel &k, Value factors, const ByteRows &rows, Ix count, int64_t lanes) {
  auto multiply = [&](Ix j, Type type, Value scale) {
    k.storeAt(factors, j, arith::MulFOp::create(k.b, k.loc, k.loadAt(factors, j, type, 4), scale), 4);
  };
  Ix whole = rows.scalePitch.constant() == 1 ? count / lanes * lanes : k.c(0);
  k.loop(k.c(0), whole, lanes, [&](Ix j) { multiply(j, k.vec(lanes, k.b.getF32Type()), loadFloats(k, rows.scales, j, lanes)); });
  k.loop(whole, count, 1, [&](Ix j) { multiply(j, k.b.getF32Type(), scaleAt(k, rows, j)); });
}

} // namespace

void widenByteRows(Kernel &k, const ByteRows &rows, Ix first, Ix count, Value to, int64_t lanes) {
  k.loop(k.c(0), count, 1, [&](Ix j) {
    Value row = rowAt(k, rows, first + j), scale = scaleAt(k, rows, first + j);
    for (Part part : partsOf(rows.width, lanes)) {
      Value x = arith::MulFOp::create(k.b, k.loc, loadBytes(k, row, k.c(part.column), part.lanes), k.splat(scale, part.lanes));
      k.storeAt(to, j * rows.width + part.column, x, 4);
    }
  });
}

Value byteRowProducts(Kernel &k, Value x, const ByteRows &rows, Ix first, Ix count, int64_t lanes, Value inside) {
  SmallVector<Value> starts, sums(lanes, k.constant(k.vec(lanes, k.b.getF32Type()), 0));
  for (int64_t i = 0; i < lanes; ++i)
    starts.push_back(rowAt(k, rows, inside ? (first + i).min(count - 1) : first + i));
  int64_t whole = rows.width / lanes * lanes;
  for (Value start : starts)
    prefetchBehind(k, rows, start);
  sums = k.loop(k.c(0), k.c(whole), lanes, sums, [&](Ix d, ValueRange in) {
    Value factor = loadFloats(k, x, d, lanes);
    SmallVector<Value> next;
    for (int64_t i = 0; i < lanes; ++i)
      next.push_back(multiplyAdd(k, factor, loadBytes(k, starts[i], d, lanes), in[i]));
    return next;
  });
  Value products = sumsOfEach(k, sums);
  // The end of a row, where it is no whole vector.
  for (int64_t d = whole; d < rows.width; ++d) {
    SmallVector<Value> column;
    for (Value start : starts)
      column.push_back(k.toFloat(k.loadAt(start, k.c(d), k.b.getI8Type())));
    Value bytes = vector::FromElementsOp::create(k.b, k.loc, k.vec(lanes, k.b.getF32Type()), column);
    products = multiplyAdd(k, k.splat(k.loadAt(x, k.c(d), k.b.getF32Type()), lanes), bytes, products);
  }
  return arith::MulFOp::create(k.b, k.loc, products, scalesOf(k, rows, first, count, lanes, inside));
}

void sumByteRows(Kernel &k, Value factors, const ByteRows &rows, Ix count, int64_t lanes,
                 function_ref<void(int64_t column, Value sums)> store) {
  multiplyByScales(k, factors, rows, count, lanes);
  SmallVector<Part> all = partsOf(rows.width, lanes);
  size_t most = k.target().vectorRegisters >= 32 ? 16 : 8;
  for (ArrayRef<Part> left = all; !left.empty(); left = left.drop_front(std::min(most, left.size()))) {
    ArrayRef<Part> parts = left.take_front(most);
    // Several sums of each result hide the latency of multiply-adds.
    size_t sets = std::max<size_t>(1, 8 / parts.size());
    SmallVector<Value> sums;
    for (size_t s = 0; s < sets; ++s)
      for (Part part : parts)
        sums.push_back(k.constant(k.vec(part.lanes, k.b.getF32Type()), 0));
    auto add = [&](Ix j, size_t set, SmallVector<Value> &next) {
      Value row = rowAt(k, rows, j), factor = k.loadAt(factors, j, k.b.getF32Type());
      if (parts.begin() == all.begin())
        prefetchBehind(k, rows, row);
      for (auto [i, part] : llvm::enumerate(parts)) {
        Value &sum = next[set * parts.size() + i];
        sum = multiplyAdd(k, k.splat(factor, part.lanes), loadBytes(k, row, k.c(part.column), part.lanes), sum);
      }
    };
    Ix whole = count / int64_t(sets) * int64_t(sets);
    sums = k.loop(k.c(0), whole, sets, sums, [&](Ix j, ValueRange in) {
      SmallVector<Value> next(in);
      for (size_t s = 0; s < sets; ++s)
        add(j + int64_t(s), s, next);
      return next;
    });
    sums = k.loop(whole, count, 1, sums, [&](Ix j, ValueRange in) {
      SmallVector<Value> next(in);
      add(j, 0, next);
      return next;
    });
    for (auto [i, part] : llvm::enumerate(parts)) {
      Value sum = sums[i];
      for (size_t s = 1; s < sets; ++s)
        sum = arith::AddFOp::create(k.b, k.loc, sum, sums[s * parts.size() + i]);
      store(part.column, sum);
    }
  }
}

} // namespace nnopt::cpu

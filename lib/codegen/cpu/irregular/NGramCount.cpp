//===- NGramCount.cpp - nn.ngram_count ------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// One task is one row. From each position, for each distance between elements, the tree of n-grams is
/// descended as far as the row's elements lead; each end of an n-gram on the way counts.
LogicalResult emitNGramCount(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::NGramCountOp>(operation);
  const nn::Dims &dims = lowering.dims(op.getX());
  nn::Dim rows = dims.size() == 2 ? dims[0] : lowering.c(1);
  Kernel k(lowering, op, "ngram_count");
  Buffer x = k.read(op.getX()), begins = k.read(op.getNodeBegin()), keys = k.read(op.getEdgeKeys());
  Buffer next = k.read(op.getEdgeNodes()), columnsOf = k.read(op.getColumnsOf()), y = k.write(op.getResult());
  Ix size = k.dim(dims.back()), columns = k.c(op.getColumns());
  int64_t minLength = op.getMinLength(), maxLength = op.getMaxLength();
  auto integer = [&](const Buffer &table, Ix at) { return k.toIndex(k.load(table, at)); };
  // The edge of `node` for `key`, or the number of edges.
  auto findEdge = [&](Ix node, Value key, Ix end) {
    auto range = k.whileLoop(
        {integer(begins, node), end}, [&](ValueRange s) { return Ix(&k, s[0]) < Ix(&k, s[1]); },
        [&](ValueRange s) {
          Ix low(&k, s[0]), high(&k, s[1]), middle = (low + high) / 2;
          Value right = greater(k, key, k.load(keys, middle), false);
          return SmallVector<Value>{k.selectIx(right, middle + 1, low), k.selectIx(right, high, middle)};
        });
    return Ix(&k, range[0]);
  };

  forTasks(k, [&](Ix row) {
    Ix in = row * size, out = row * columns;
    k.loop(k.c(0), columns, 1, [&](Ix j) { k.store(y, out + j, k.f32(0)); });
    k.loop(k.c(1), k.c(int64_t(op.getMaxSkip()) + 2), 1, [&](Ix distance) {
      k.loop(k.c(0), size, 1, [&](Ix start) {
        k.whileLoop(
            {k.c(0), start, k.c(0)}, // node, position, length; a node of -1 ends
            [&](ValueRange s) {
              Value go = k.land(Ix(&k, s[0]) >= k.c(0), Ix(&k, s[1]) < size);
              return k.land(go, Ix(&k, s[2]) < maxLength);
            },
            [&](ValueRange s) {
              Ix node(&k, s[0]), position(&k, s[1]), length = Ix(&k, s[2]) + 1;
              Value key = k.load(x, in + position);
              Ix end = integer(begins, node + 1);
              Ix edge = findEdge(node, key, end);
              auto after = k.ifElse(
                  edge < end, k.b.getI64Type(),
                  [&] {
                    Value same = equal(k, k.load(keys, edge), key);
                    return SmallVector<Value>{k.selectIx(same, integer(next, edge), k.c(-1))};
                  },
                  [&] { return SmallVector<Value>{k.c(-1)}; });
              Ix reached(&k, after[0]);
              k.ifThen(reached >= k.c(0), [&] {
                Ix column = integer(columnsOf, reached);
                // 1-grams are the same at every distance.
                Value counts = k.land(column >= k.c(0), length >= k.c(minLength));
                counts = k.land(counts, lor(k, distance == 1, k.c(1) < length));
                k.ifThen(counts, [&] {
                  Value old = k.load(y, out + column);
                  k.store(y, out + column, arith::AddFOp::create(k.b, k.loc, old, k.f32(1)));
                });
              });
              return SmallVector<Value>{reached, position + distance, length};
            });
      });
    });
  });
  lowering.launch(k, rows);
  return success();
}

RegisterEmitter nGramCount({"nn.ngram_count", "ngram-count", 0, nullptr, emitNGramCount});

} // namespace
} // namespace nnopt::cpu

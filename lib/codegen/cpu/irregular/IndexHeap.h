//===- IndexHeap.h - heaps of positions -------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_IRREGULAR_INDEXHEAP_H
#define NNOPT_LIB_CODEGEN_CPU_IRREGULAR_INDEXHEAP_H

#include "lib/codegen/cpu/irregular/Helpers.h"

namespace nnopt::cpu {

/// A binary heap of positions (i64) in memory, entries [base, base + size) of a buffer. `above(a, b)` is
/// whether position a belongs above b; it must be a strict total order, so that what comes out does not
/// depend on how the heap was built.
class IndexHeap {
public:
  IndexHeap(Kernel &k, Buffer entries, Ix base, std::function<mlir::Value(Ix, Ix)> above)
      : k(k), entries(entries), base(base), above(std::move(above)) {}

  Ix get(Ix i) { return {&k, k.load(entries, base + i)}; }
  void set(Ix i, Ix entry) { k.store(entries, base + i, entry); }

  /// Makes a heap of `size` entries that are there in any order.
  void build(Ix size) {
    k.loop(k.c(0), size / 2, 1, [&](Ix i) {
      Ix at = size / 2 - 1 - i;
      siftDown(at, size, get(at));
    });
  }
  /// Takes the root away from a heap of `size` entries; entry size - 1 is free then.
  Ix pop(Ix size) {
    Ix root = get(k.c(0));
    siftDown(k.c(0), size - 1, get(size - 1));
    return root;
  }
  /// Sorts entries in any order: what belongs above comes last.
  void sort(Ix size) {
    build(size);
    k.loop(k.c(0), size, 1, [&](Ix i) {
      Ix left = size - i;
      Ix root = pop(left);
      set(left - 1, root);
    });
  }

private:
  /// Puts `entry` at `position` or below, where entries of [0, size) below `position` form heaps.
  void siftDown(Ix position, Ix size, Ix entry) {
    mlir::Value go = k.constant(k.b.getI1Type(), 1);
    auto end = k.whileLoop(
        {position, go}, [&](mlir::ValueRange state) { return state[1]; },
        [&](mlir::ValueRange state) {
          Ix at(&k, state[0]), left = at * 2 + 1;
          return k.ifElse(
              left < size, {k.b.getI64Type(), k.b.getI1Type()},
              [&] {
                Ix right = k.selectIx(left + 1 < size, left + 1, left);
                Ix child = k.selectIx(above(get(right), get(left)), right, left);
                mlir::Value up = above(get(child), entry);
                k.ifThen(up, [&] { set(at, get(child)); });
                return llvm::SmallVector<mlir::Value>{k.selectIx(up, child, at), up};
              },
              [&] { return llvm::SmallVector<mlir::Value>{at, k.constant(k.b.getI1Type(), 0)}; });
        });
    k.ifThen(position < size, [&] { set(Ix(&k, end[0]), entry); });
  }

  Kernel &k;
  Buffer entries;
  Ix base;
  std::function<mlir::Value(Ix, Ix)> above;
};

} // namespace nnopt::cpu

#endif

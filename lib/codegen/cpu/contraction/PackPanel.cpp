//===- PackPanel.cpp - panels of operands that are not constant --------------===//

#include "lib/codegen/cpu/contraction/Microkernel.h"

using namespace mlir;

namespace nnopt::cpu {

/// Transposes `lanes` vectors of `lanes` elements in registers: log2(lanes) rounds of two-vector
/// shuffles that exchange ever smaller blocks.
static void transposeRegisters(Kernel &k, SmallVectorImpl<Value> &rows) {
  int64_t lanes = rows.size();
  for (int64_t d = lanes / 2; d >= 1; d /= 2) {
    SmallVector<int64_t> low(lanes), high(lanes);
    for (int64_t p = 0; p < lanes; ++p) {
      low[p] = p & d ? lanes + p - d : p;
      high[p] = p & d ? lanes + p : p + d;
    }
    for (int64_t i = 0; i < lanes; ++i) {
      if (i & d)
        continue;
      Value a = rows[i], b = rows[i + d];
      rows[i] = vector::ShuffleOp::create(k.b, k.loc, a, b, low);
      rows[i + d] = vector::ShuffleOp::create(k.b, k.loc, a, b, high);
    }
  }
}

void packPanel(Kernel &k, Value b, Ix depth, Ix n, Ix pitch, bool transposed, Value panel, const PanelAt &at,
               int64_t lanes, Type element) {
  int64_t width = at.nv * lanes;
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  VectorType type = k.vec(lanes, element);
  if (!transposed) {
    k.loop(k.c(0), depth, 1, [&](Ix row) {
      for (int64_t j = 0; j < at.nv; ++j) {
        Ix from = row * pitch + at.column + j * lanes;
        Value v = at.masks[j] ? k.loadMasked(k.at(b, element), from, lanes, at.masks[j]) : k.loadAt(b, from, type);
        k.storeAt(panel, row * width + j * lanes, v, lanes * bytes);
      }
    });
    return;
  }
  Ix whole = depth / lanes * lanes;
  bool ends = llvm::any_of(at.masks, [](Value mask) { return bool(mask); });
  k.loop(k.c(0), k.c(at.nv), 1, [&](Ix j) {
    SmallVector<Value> columns;
    for (int64_t i = 0; i < lanes; ++i) {
      Ix column = at.column + (j * lanes + i);
      columns.push_back(k.ptrAdd(b, (ends ? column.min(n - 1) : column) * pitch, element));
    }
    Value target = k.ptrAdd(panel, j * lanes, element);
    k.loop(k.c(0), whole, lanes, [&](Ix row) {
      SmallVector<Value> rows;
      for (Value column : columns)
        rows.push_back(k.loadAt(column, row, type));
      transposeRegisters(k, rows);
      for (int64_t i = 0; i < lanes; ++i)
        k.storeAt(target, (row + i) * width, rows[i], lanes * bytes);
    });
    k.loop(whole, depth, 1, [&](Ix row) {
      for (int64_t i = 0; i < lanes; ++i)
        k.storeAt(target, row * width + i, k.loadAt(columns[i], row, element));
    });
  });
}

} // namespace nnopt::cpu

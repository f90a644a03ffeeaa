//===- UnsupportedTable.cpp - all problems in one table -------------------===//
#include "lib/frontend/onnx/Import.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace nnopt::onnx {

void printUnsupportedTable(raw_ostream &os, ArrayRef<Problem> problems) {
  struct Row {
    std::array<std::string, 5> cells;
    unsigned count;
  };
  std::vector<Row> rows;
  StringMap<size_t> known;
  rows.push_back({{"op", "opset", "what", "reason", "node"}, 0});
  for (const Problem &p : problems) {
    auto [it, fresh] = known.try_emplace(
        join(ArrayRef<std::string>{p.op, p.opset, p.what, p.reason}, "\n"), rows.size());
    if (!fresh)
      ++rows[it->second].count;
    else
      rows.push_back({{p.op, p.opset, p.what, p.reason, p.node}, 1});
  }
  std::array<size_t, 5> width{};
  for (Row &row : rows) {
    if (row.count > 1)
      row.cells[4] += formatv(" (and {0} more)", row.count - 1);
    for (size_t i = 0; i < width.size(); ++i)
      width[i] = std::max(width[i], row.cells[i].size());
  }
  for (const Row &row : rows) {
    for (size_t i = 0; i + 1 < width.size(); ++i)
      os << row.cells[i] << std::string(width[i] + 2 - row.cells[i].size(), ' ');
    os << row.cells.back() << "\n";
  }
}

} // namespace nnopt::onnx

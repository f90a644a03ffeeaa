//===- SparsePattern.cpp - which weights may be zero together ---------------===//

#include "lib/compress/SparsePattern.h"
#include "lib/compress/Technique.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <numeric>

namespace nnopt::compress {

std::optional<SparsePattern> SparsePattern::parse(const std::string &text) {
  SparsePattern p;
  auto [first, rest] = llvm::StringRef(text).split(',');
  if (auto [kept, of] = first.split(':'); !of.empty()) {
    if (kept.getAsInteger(10, p.kept) || of.getAsInteger(10, p.of) || p.kept < 1 ||
        p.kept >= p.of || p.of > 64 || !rest.empty() || text.back() == ',')
      return std::nullopt;
    return p;
  }
  std::optional<double> share = percentOf(first);
  if (!share || !(*share > 0 && *share < 1))
    return std::nullopt;
  p.share = *share;
  if (rest.empty() && text.back() != ',')
    return p;
  if (rest == "block=f32" || rest == "block=int8") {
    p.columnsOfLane = rest == "block=f32" ? 1 : 4;
    return p;
  }
  auto [rows, columns] = rest.split('x');
  if (!rows.consume_front("block=") || rows.getAsInteger(10, p.blockRows) ||
      columns.getAsInteger(10, p.blockColumns) || p.blockRows < 1 || p.blockColumns < 1 ||
      p.blockRows > 64 || p.blockColumns > 64)
    return std::nullopt;
  return p;
}

SparsePattern SparsePattern::withLanes(int64_t lanes) const {
  SparsePattern p = *this;
  if (columnsOfLane) {
    p.blockRows = lanes;
    p.blockColumns = columnsOfLane;
    p.columnsOfLane = 0;
  }
  return p;
}

std::string SparsePattern::text() const {
  if (of)
    return std::to_string(kept) + ":" + std::to_string(of);
  std::string result = llvm::formatv("{0}%", std::round(share * 1e6) / 1e4).str();
  if (auto dot = result.find('.'); dot != std::string::npos) {
    std::string number = result.substr(0, result.size() - 1);
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.')
      number.pop_back();
    result = number + "%";
  }
  if (columnsOfLane)
    result += columnsOfLane == 1 ? ",block=f32" : ",block=int8";
  else if (blockRows != 1 || blockColumns != 1)
    result += ",block=" + std::to_string(blockRows) + "x" + std::to_string(blockColumns);
  return result;
}

namespace {

/// The indices of the `count` largest of `scores`.
std::vector<int64_t> largest(const std::vector<float> &scores, int64_t count) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  auto before = [&](int64_t a, int64_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  std::nth_element(order.begin(), order.begin() + count, order.end(), before);
  order.resize(count);
  return order;
}

/// Of each group of columns in each row.
Mask keepOfGroups(const Matrix &scores, int64_t kept, int64_t of) {
  Mask mask = Mask::Constant(scores.rows(), scores.cols(), false);
  for (int64_t r = 0; r < scores.rows(); ++r)
    for (int64_t begin = 0; begin < scores.cols(); begin += of) {
      int64_t size = std::min(of, scores.cols() - begin);
      std::vector<float> group(scores.row(r).data() + begin, scores.row(r).data() + begin + size);
      for (int64_t k : largest(group, std::min(kept, size)))
        mask(r, begin + k) = true;
    }
  return mask;
}

} // namespace

Mask keepLargest(const Matrix &scores, const SparsePattern &pattern, Scope scope) {
  if (pattern.of)
    return keepOfGroups(scores, pattern.kept, pattern.of);
  int64_t rows = scores.rows(), columns = scores.cols(), br = pattern.blockRows, bc = pattern.blockColumns;
  // A span of columns has a block for each column that one can begin with.
  int64_t stride = pattern.columnStride, span = bc * stride;
  int64_t down = (rows + br - 1) / br, across = columns / span * stride + std::min(stride, columns % span);
  Mask mask = Mask::Constant(rows, columns, false);
  auto forEachOf = [&](int64_t band, int64_t block, auto each) {
    int64_t c0 = block / stride * span + block % stride;
    for (int64_t r = band * br; r < std::min(rows, band * br + br); ++r)
      for (int64_t c = c0; c < std::min(columns, c0 + span); c += stride)
        each(r, c);
  };
  for (int64_t first = 0; first < down; first += scope == Scope::Row ? 1 : down) {
    int64_t bands = scope == Scope::Row ? 1 : down;
    std::vector<float> sums;
    for (int64_t i = 0; i < bands; ++i)
      for (int64_t j = 0; j < across; ++j) {
        float sum = 0;
        forEachOf(first + i, j, [&](int64_t r, int64_t c) { sum += scores(r, c); });
        sums.push_back(sum);
      }
    int64_t count = std::llround((1 - pattern.share) * double(sums.size()));
    for (int64_t k : largest(sums, count))
      forEachOf(first + k / across, k % across, [&](int64_t r, int64_t c) { mask(r, c) = true; });
  }
  return mask;
}

} // namespace nnopt::compress

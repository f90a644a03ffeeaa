//===- ChannelMap.cpp - affine maps of channels ---------------------------===//
#include "passes/common/ChannelMap.h"

#include <cmath>

using namespace mlir;

namespace nnopt {

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

bool ChannelMap::isScaled() const {
  return llvm::any_of(scale, [](double s) { return s != 1; });
}
bool ChannelMap::isShifted() const {
  return llvm::any_of(shift, [](double t) { return t != 0; });
}

static std::vector<double> spread(const std::vector<double> &v, int64_t n) {
  return v.size() == 1 ? std::vector<double>(n, v.front()) : v;
}
std::vector<double> ChannelMap::scales(int64_t n) const { return spread(scale, n); }
std::vector<double> ChannelMap::shifts(int64_t n) const { return spread(shift, n); }

ChannelMap ChannelMap::along(int64_t newAxis) const {
  ChannelMap map = *this;
  map.axis = newAxis;
  if (llvm::all_equal(scale) && llvm::all_equal(shift)) {
    map.axis = kNumbers;
    map.scale.resize(1);
    map.shift.resize(1);
  }
  return map;
}

ChannelMap ChannelMap::channels(int64_t start, int64_t step, int64_t n) const {
  if (axis == kNumbers)
    return *this;
  ChannelMap part{axis, {}, {}};
  for (int64_t i = 0; i < n; ++i) {
    part.scale.push_back(scale[start + i * step]);
    part.shift.push_back(shift[start + i * step]);
  }
  return part.along(axis);
}

/// The dimension of both; false where they differ.
static bool commonAxis(const ChannelMap &a, const ChannelMap &b, int64_t &axis, size_t &size) {
  axis = std::max(a.axis, b.axis);
  size = std::max(a.size(), b.size());
  return a.axis == b.axis || a.axis == ChannelMap::kNumbers || b.axis == ChannelMap::kNumbers;
}

std::optional<ChannelMap> compose(const ChannelMap &outer, const ChannelMap &inner) {
  ChannelMap map{0, {}, {}};
  size_t n;
  if (!commonAxis(outer, inner, map.axis, n))
    return std::nullopt;
  auto so = outer.scales(n), to = outer.shifts(n), si = inner.scales(n), ti = inner.shifts(n);
  for (size_t c = 0; c < n; ++c) {
    map.scale.push_back(so[c] * si[c]);
    map.shift.push_back(so[c] * ti[c] + to[c]);
  }
  return map;
}

std::optional<ChannelMap> sum(const ChannelMap &a, const ChannelMap &b, double sign) {
  ChannelMap map{0, {}, {}};
  size_t n;
  if (!commonAxis(a, b, map.axis, n))
    return std::nullopt;
  auto sa = a.scales(n), ta = a.shifts(n), sb = b.scales(n), tb = b.shifts(n);
  for (size_t c = 0; c < n; ++c) {
    map.scale.push_back(sa[c] + sign * sb[c]);
    map.shift.push_back(ta[c] + sign * tb[c]);
  }
  return map;
}

std::optional<ChannelMap> reshapeMap(const ChannelMap &map, ArrayRef<nn::Dim> from,
                                     ArrayRef<nn::Dim> to) {
  if (map.axis == ChannelMap::kNumbers)
    return map;
  nn::DimContext &ctx = from[map.axis].context();
  auto before = [&](ArrayRef<nn::Dim> dims, size_t i) { return product(ctx, dims.take_front(i)); };
  // The same dimension with as many elements before it.
  for (size_t j = 0; j < to.size(); ++j)
    if (to[j] == from[map.axis] && before(to, j) == before(from, map.axis))
      return map.along(j);
  // Otherwise the smallest blocks of dimensions around it that correspond, if they are static.
  auto findCut = [&](size_t i) -> std::optional<size_t> {
    for (size_t j = 0; j <= to.size(); ++j)
      if (before(to, j) == before(from, i))
        return j;
    return std::nullopt;
  };
  size_t fromBegin = map.axis, fromEnd = map.axis + 1;
  while (!findCut(fromBegin))
    --fromBegin; // Ends at 0: both products are 1.
  while (fromEnd < from.size() && !findCut(fromEnd))
    ++fromEnd;
  size_t toBegin = *findCut(fromBegin);
  std::optional<size_t> toEnd = fromEnd == from.size() ? to.size() : findCut(fromEnd);
  auto isStatic = [](ArrayRef<nn::Dim> dims) {
    return llvm::all_of(dims, [](nn::Dim d) { return d.isConst(); });
  };
  if (!toEnd || *toEnd < toBegin || !isStatic(from.slice(fromBegin, fromEnd - fromBegin)) ||
      !isStatic(to.slice(toBegin, *toEnd - toBegin)))
    return std::nullopt;
  auto count = [](ArrayRef<nn::Dim> dims) {
    int64_t n = 1;
    for (nn::Dim d : dims)
      n *= d.value();
    return n;
  };
  int64_t total = count(from.slice(fromBegin, fromEnd - fromBegin));
  int64_t inner = count(from.slice(map.axis + 1, fromEnd - map.axis - 1));
  if (total != count(to.slice(toBegin, *toEnd - toBegin)) || total > (1 << 24))
    return std::nullopt;
  for (size_t j = toBegin; j < *toEnd; ++j) {
    int64_t size = to[j].value(), innerTo = count(to.slice(j + 1, *toEnd - j - 1));
    std::vector<int64_t> channel(size, -1);
    bool tells = true;
    for (int64_t i = 0; i < total && tells; ++i) {
      int64_t c = i / inner % (int64_t)map.size();
      int64_t &known = channel[i / innerTo % size];
      tells = known < 0 || (map.scale[known] == map.scale[c] && map.shift[known] == map.shift[c]);
      known = c;
    }
    if (!tells)
      continue;
    ChannelMap result{(int64_t)j, {}, {}};
    for (int64_t c : channel) {
      result.scale.push_back(map.scale[c]);
      result.shift.push_back(map.shift[c]);
    }
    return result.along(j);
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

std::string readBatchNorm(nn::BatchNormOp op, ChannelMap &map) {
  Type type = elementTypeOf(op.getX());
  if (!type.isF32() && !type.isF64())
    return "the element type is not f32 or f64";
  auto scale = numbersOf(op.getScale()), bias = numbersOf(op.getBias()),
       mean = numbersOf(op.getMean()), variance = numbersOf(op.getVariance());
  if (!scale || !bias || !mean || !variance)
    return "its parameters are not constant";
  double epsilon = op.getEpsilon().convertToDouble();
  size_t channels = scale->size();
  if (bias->size() != channels || mean->size() != channels || variance->size() != channels)
    return "its parameters differ in size";
  map = {op.getChannelsLast() ? rankOf(op.getX()) - 1 : 1, {}, {}};
  for (size_t c = 0; c < channels; ++c) {
    double v = (*variance)[c] + epsilon;
    if (!(v > 0))
      return "variance + epsilon is not positive";
    double s = (*scale)[c] / std::sqrt(v);
    map.scale.push_back(s);
    map.shift.push_back((*bias)[c] - s * (*mean)[c]);
  }
  return "";
}

/// A constant operand as one number for each position along one dimension of `x`, or one in all.
static std::optional<ChannelMap> readConstant(Value constant, Value x) {
  if (!isConstant(constant) || rankOf(constant) > rankOf(x) ||
      elementTypeOf(constant) != elementTypeOf(x))
    return std::nullopt;
  int64_t offset = rankOf(x) - rankOf(constant), axis = ChannelMap::kNumbers;
  for (auto [i, d] : llvm::enumerate(shapeOf(constant))) {
    if (d == 1)
      continue;
    // Along two dimensions, or along one that it enlarges.
    if (axis != ChannelMap::kNumbers || shapeOf(x)[i + offset] != d)
      return std::nullopt;
    axis = i + offset;
  }
  auto values = numbersOf(constant);
  if (!values || values->empty())
    return std::nullopt;
  std::vector<double> zeros(values->size(), 0);
  return ChannelMap{axis, std::move(*values), std::move(zeros)};
}

/// One operation as a map of its operand x.
static std::optional<ChannelMap> readStep(Operation *op, Value &x, std::string &why) {
  if (auto norm = dyn_cast_or_null<nn::BatchNormOp>(op)) {
    ChannelMap map;
    x = norm.getX();
    why = readBatchNorm(norm, map);
    return why.empty() ? std::optional<ChannelMap>(map) : std::nullopt;
  }
  if (!isa_and_nonnull<nn::NegOp, nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp>(op))
    return std::nullopt;
  Type type = elementTypeOf(op->getResult(0));
  if (!type.isF32() && !type.isF64())
    return std::nullopt;
  if (isa<nn::NegOp>(op)) {
    x = op->getOperand(0);
    return ChannelMap{ChannelMap::kNumbers, {-1}, {0}};
  }
  bool constantFirst = isConstant(op->getOperand(0));
  x = op->getOperand(constantFirst ? 1 : 0);
  Value constant = op->getOperand(constantFirst ? 0 : 1);
  if (!isConstant(constant) || (isa<nn::DivOp>(op) && constantFirst))
    return std::nullopt;
  std::optional<ChannelMap> c;
  if (x.getType() == op->getResult(0).getType())
    c = readConstant(constant, x);
  if (!c) {
    why = "the constant does not depend on one dimension alone";
    return std::nullopt;
  }
  if (isa<nn::MulOp>(op))
    return c;
  if (isa<nn::DivOp>(op)) {
    for (double &v : c->scale) {
      if (v == 0) {
        why = "division by zero";
        return std::nullopt;
      }
      v = 1 / v;
    }
    return c;
  }
  std::swap(c->scale, c->shift);
  double sign = isa<nn::SubOp>(op) ? -1 : 1;
  for (double &t : c->shift)
    t *= constantFirst ? 1 : sign;
  c->scale.assign(c->shift.size(), constantFirst ? sign : 1);
  return c;
}

/// Chains are read by recursion, so they are cut at this length.
constexpr int kMaxDepth = 100;

static AffineChain readChain(Value y, Block *block, int depth, std::string &why);

/// a(x) + b(x): RepBN (Guo et al. 2024, "SLAB") is BN(x) + eta x, with s = sqrt(variance + epsilon)
/// (gamma + eta s) (x - mean) / s + beta + eta mean.
static AffineChain readSum(Operation *op, int depth, std::string &why) {
  AffineChain none{op->getResult(0), op->getResult(0), {}, {}};
  Value y = op->getResult(0);
  if (!isa<nn::AddOp, nn::SubOp>(op) || op->getOperand(0).getType() != y.getType() ||
      op->getOperand(1).getType() != y.getType())
    return none;
  Type type = elementTypeOf(y);
  if (!type.isF32() && !type.isF64())
    return none;
  std::string ignored;
  AffineChain a = readChain(op->getOperand(0), op->getBlock(), depth + 1, ignored);
  AffineChain b = readChain(op->getOperand(1), op->getBlock(), depth + 1, ignored);
  if (a.x != b.x || (a.ops.empty() && b.ops.empty()))
    return none;
  auto map = sum(a.map, b.map, isa<nn::SubOp>(op) ? -1 : 1);
  if (!map)
    return none;
  AffineChain chain{y, a.x, *map, a.ops, a.hasBatchNorm || b.hasBatchNorm};
  chain.ops.append(b.ops);
  chain.ops.push_back(op);
  return chain;
}

static AffineChain readChain(Value y, Block *block, int depth, std::string &why) {
  AffineChain chain{y, y, {}, {}};
  Operation *op = y.getDefiningOp();
  if (!op || op->getBlock() != block || (depth > 0 && !y.hasOneUse()) || depth > kMaxDepth)
    return chain;
  Value x;
  std::optional<ChannelMap> step = readStep(op, x, why);
  if (!step)
    return op->getNumResults() == 1 ? readSum(op, depth, why) : chain;
  std::string ignored;
  AffineChain inner = readChain(x, block, depth + 1, ignored);
  std::optional<ChannelMap> both = compose(*step, inner.map);
  if (!both) { // Along another dimension: the chain begins here.
    inner = {x, x, {}, {}};
    both = step;
  }
  chain = {y, inner.x, *both, inner.ops, inner.hasBatchNorm || isa<nn::BatchNormOp>(op)};
  chain.ops.push_back(op);
  return chain;
}

AffineChain readAffine(Value y, std::string &why) {
  Operation *op = y.getDefiningOp();
  AffineChain chain = readChain(y, op ? op->getBlock() : nullptr, 0, why);
  llvm::sort(chain.ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return chain;
}

SmallVector<Operation *> collectChains(func::FuncOp func) {
  SmallVector<Operation *> ops, ends;
  func.walk([&](Operation *op) {
    if (isa<nn::BatchNormOp, nn::NegOp, nn::AddOp, nn::SubOp, nn::MulOp, nn::DivOp>(op))
      ops.push_back(op);
  });
  DenseSet<Operation *> taken;
  // From the end, so that the longest chains are found first.
  for (Operation *op : llvm::reverse(ops)) {
    if (taken.contains(op))
      continue;
    std::string why;
    AffineChain chain = readAffine(op->getResult(0), why);
    taken.insert(chain.ops.begin(), chain.ops.end());
    bool hasConstant = llvm::any_of(op->getOperands(), isConstant);
    if (!chain.ops.empty() || hasConstant || isa<nn::BatchNormOp>(op))
      ends.push_back(op);
  }
  std::reverse(ends.begin(), ends.end());
  return ends;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

Value makeAffine(RewriterBase &rewriter, Location loc, Value x, const ChannelMap &map) {
  SmallVector<int64_t> shape;
  if (map.axis != ChannelMap::kNumbers) {
    shape.assign(rankOf(x) - map.axis, 1);
    shape[0] = map.size();
  }
  Type type = elementTypeOf(x);
  if (map.isScaled()) {
    Value scale = makeNumbersOp(rewriter, loc, type, shape, map.scale, "scale");
    x = nn::MulOp::create(rewriter, loc, x.getType(), x, scale);
  }
  if (map.isShifted()) {
    Value shift = makeNumbersOp(rewriter, loc, type, shape, map.shift, "shift");
    x = nn::AddOp::create(rewriter, loc, x.getType(), x, shift);
  }
  return x;
}

} // namespace nnopt

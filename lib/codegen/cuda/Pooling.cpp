//===- Pooling.cpp - max, average and Lp pooling ----------------------------===//
//
// A thread has one position of the result: of some neighbouring channels where these are last, so that a warp reads and writes whole
// lines in either layout. Elements of small windows are all loaded at once, those outside from the nearest place inside.
//
// Where positions are last and rows are multiples of what an access holds, a thread has neighbours of a row: it reads all that their
// windows cover in whole accesses, combines it along the other axes first, then each window along the row.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/memory/Pool.h"
#include "lib/codegen/cuda/Device.h"
#include "lib/codegen/cuda/Kernel.h"
#include <map>
#include <set>

using namespace mlir;

namespace nnopt::cuda {
namespace {

constexpr int64_t threads = 256, maxUnrolled = 16, maxSpan = 24; // maxSpan: columns that a thread reads of a row

/// Positions of maxima are left to plain loops, and so are powers that GPUs lack.
bool match(Operation *op, Lowering &l) {
  auto max = dyn_cast<nn::MaxPoolOp>(op);
  Type type = l.shapes.info(op->getOperand(0)).elementType;
  return l.dims(op->getOperand(0)).size() >= 3 && (max ? !max.getIndices() && (isFloat(type) || isa<IntegerType>(type)) : isFloat(type));
}

class PoolKernel {
public:
  PoolKernel(Operation *op, Lowering &l) : op(op), l(l), k(l, op, op->getName().stripDialect(), threads), p(op, l, k) {
    last = p.spatial - 1;
    for (int64_t n : p.kernel)
      window *= n;
  }

  LogicalResult emit() {
    bool aligned = isAligned(l, op->getOperand(0)) && isAligned(l, op->getResult(0));
    bool rows = aligned && !p.channelsLast && planRow();
    if (aligned && p.channelsLast)
      for (lanes = std::min<int64_t>(8, 16 / cpu::storageBytes(p.x)); lanes > 1 && !isMultiple(p.channels(), lanes);)
        lanes /= 2;
    nn::Dim vectors = l.numElements(op->getResult(0)).floorDiv(lanes);
    Ix i = k.block * threads + k.thread;
    k.ifThen(i < k.dim(vectors), [&] {
      SmallVector<Ix> index = k.delinearize(i * lanes, p.out.dims);
      strides = k.strides(p.x.dims);
      unsigned channelAxis = p.channelsLast ? p.x.rank() - 1 : 1;
      Ix base = index[0] * strides[0] + index[channelAxis] * strides[channelAxis], count = k.c(1);
      for (unsigned s = 0; s < p.spatial; ++s) {
        starts.push_back(p.start(s, index[p.axisOf(s)]));
        auto [first, end] = p.valid(s, starts[s]);
        low.push_back(first);
        high.push_back(end);
        if (!rows || s != last)
          count = count * counted(s, starts[s], first, end);
      }
      SmallVector<Value> results;
      if (rows)
        results = combineRow(visit(0, last, base, Value(), {}, [&](Ix offset, Value inside) { return loadRow(offset, inside); }));
      else
        results = visit(0, p.spatial, base, Value(), SmallVector<Value>(lanes, p.identity()),
                        [&](Ix offset, Value inside) { return loadChannels(offset, inside); });
      for (auto [n, v] : llvm::enumerate(results)) {
        if (p.isMean()) {
          Ix own = count;
          if (rows) {
            Ix start = starts[last] + int64_t(n) * p.strides[last];
            auto [first, end] = p.valid(last, start);
            own = own * counted(last, start, first, end);
          }
          Value divisor = arith::SIToFPOp::create(k.b, k.loc, p.type, own);
          v = arith::DivFOp::create(k.b, k.loc, v, divisor, arith::FastMathFlagsAttr::get(k.b.getContext(), arith::FastMathFlags::afn));
        }
        v = p.lower(v);
      }
      k.storeLanes(p.out, i * lanes, results);
    });
    k.launch(vectors.ceilDiv(l.c(threads)));
    return success();
  }

private:
  /// One access along a row: `count` columns from `first` on, relative to where the first window would start without padding.
  struct Access {
    int64_t first, count;
    bool inside; // of the input for sure
  };

  int64_t reach(unsigned s) { return (p.kernel[s] - 1) * p.dilations[s] + 1; }
  /// Whether no window leaves the input along axis s.
  bool isInside(unsigned s) {
    nn::Dim size = p.size(s), results = p.outSize(s);
    return p.pads[s] == 0 && size.isConst() && results.isConst() && (results.value() - 1) * p.strides[s] + reach(s) <= size.value();
  }
  Ix counted(unsigned s, Ix start, Ix first, Ix end) {
    return isInside(s) ? k.c(p.kernel[s]) : p.counted(s, start, first, end);
  }

  /// Chooses how many neighbours of a row a thread has, and its accesses to the input. False where a row has none.
  bool planRow() {
    nn::Dim width = p.size(last), outWidth = p.outSize(last);
    if (window > maxUnrolled || !width.isConst() || !outWidth.isConst())
      return false;
    int64_t most = 16 / cpu::storageBytes(p.x), stride = p.strides[last], pad = p.pads[last];
    for (lanes = std::min<int64_t>(8, most); lanes > 1 && (outWidth.value() % lanes || (lanes - 1) * stride + reach(last) > maxSpan);)
      lanes /= 2;
    if (lanes == 1)
      return false;
    int64_t chunk = most;
    while (width.value() % chunk || lanes * stride % chunk)
      chunk /= 2;
    std::set<int64_t> columns; // those that are in a window
    for (int64_t lane = 0; lane < lanes; ++lane)
      for (int64_t w = 0; w < p.kernel[last]; ++w)
        columns.insert(lane * stride - pad + w * p.dilations[last]);
    int64_t end = (outWidth.value() - lanes) * stride;
    auto access = [&](int64_t first, int64_t count) {
      accesses.push_back({first, count, first >= 0 && end + first + count <= width.value()});
    };
    for (auto it = columns.begin(); it != columns.end();) {
      int64_t first = *it - ((*it % chunk) + chunk) % chunk;
      auto next = columns.lower_bound(first + chunk);
      if (std::distance(it, next) * 2 >= chunk)
        access(first, chunk);
      else
        for (auto c = it; c != next; ++c)
          access(*c, 1);
      it = next;
    }
    return true;
  }

  using Load = function_ref<SmallVector<Value>(Ix offset, Value inside)>;

  /// The elements of the window's axes from s to `end`, combined with those before; `load` has what is at one place of these axes.
  SmallVector<Value> visit(unsigned s, unsigned end, Ix offset, Value inside, ValueRange accs, Load load) {
    if (s == end) {
      SmallVector<Value> values = load(offset, inside);
      for (auto [v, acc] : llvm::zip(values, accs)) // of none at first
        v = p.combine(acc, v);
      return values;
    }
    Ix stride = strides[p.axisOf(s)];
    if (window > maxUnrolled)
      return k.loop(low[s], high[s], 1, accs, [&](Ix at, ValueRange inner) {
        return visit(s + 1, end, offset + (starts[s] + at * p.dilations[s]) * stride, inside, inner, load);
      });
    SmallVector<Value> values(accs);
    for (int64_t at = 0; at < p.kernel[s]; ++at) {
      Ix position = starts[s] + at * p.dilations[s], size = k.dim(p.size(s));
      Value here = inside;
      if (!isInside(s)) {
        here = position.inRange(size);
        here = inside ? k.land(inside, here) : here;
        position = position.max(k.c(0)).min(size - 1);
      }
      values = visit(s + 1, end, offset + position * stride, here, values, load);
    }
    return values;
  }

  SmallVector<Value> lifted(Ix offset, int64_t count, Value inside) {
    SmallVector<Value> values = k.loadLanes(p.x, offset, count);
    for (Value &v : values) {
      v = p.lift(v);
      v = inside ? k.select(inside, v, p.identity()) : v;
    }
    return values;
  }
  SmallVector<Value> loadChannels(Ix offset, Value inside) { return lifted(offset, lanes, inside); }

  /// What all accesses have of a row that begins at `offset`, one after the other.
  SmallVector<Value> loadRow(Ix offset, Value inside) {
    SmallVector<Value> values;
    for (const Access &access : accesses) {
      Ix column = starts[last] + (access.first + p.pads[last]);
      Value here = inside;
      if (!access.inside) {
        // An access that is no single column is aligned, as the row is: it is inside or outside as a whole.
        Value own = column.inRange(k.dim(p.size(last)));
        here = inside ? k.land(inside, own) : own;
        column = column.max(k.c(0)).min(k.dim(p.size(last)) - access.count);
      }
      llvm::append_range(values, lifted(offset + column, access.count, here));
    }
    return values;
  }

  /// The windows of a row of what loadRow loads.
  SmallVector<Value> combineRow(ValueRange row) {
    std::map<int64_t, Value> at;
    for (const Access &access : accesses)
      for (int64_t i = 0; i < access.count; ++i, row = row.drop_front())
        at[access.first + i] = row.front();
    SmallVector<Value> results;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value acc;
      for (int64_t w = 0; w < p.kernel[last]; ++w) {
        Value v = at[lane * p.strides[last] - p.pads[last] + w * p.dilations[last]];
        acc = acc ? p.combine(acc, v) : v;
      }
      results.push_back(acc);
    }
    return results;
  }

  Operation *op;
  Lowering &l;
  Kernel k;
  cpu::Pool p;
  unsigned last; // of the spatial axes
  int64_t lanes = 1, window = 1;
  SmallVector<Access> accesses;
  SmallVector<Ix> strides, starts, low, high;
};

LogicalResult emit(Operation *op, Lowering &l) { return PoolKernel(op, l).emit(); }

RegisterEmitter max({"nn.max_pool", "cuda-max-pool", 10, match, emit});
RegisterEmitter avg({"nn.avg_pool", "cuda-avg-pool", 10, match, emit});
RegisterEmitter lp({"nn.lp_pool", "cuda-lp-pool", 10, match, emit});

} // namespace
} // namespace nnopt::cuda

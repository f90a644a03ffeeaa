//===- Space.cpp - strided iteration spaces ---------------------------------===//

#include "lib/codegen/cpu/memory/Space.h"
#include "lib/codegen/cpu/memory/Vectorize.h"

using namespace mlir;

namespace nnopt::cpu {

nn::Dims rowMajor(nn::DimContext &ctx, ArrayRef<nn::Dim> dims) {
  nn::Dims strides(dims.size());
  nn::Dim stride = ctx.constant(1);
  for (size_t d = dims.size(); d-- > 0;) {
    strides[d] = stride;
    stride = stride * dims[d];
  }
  return strides;
}

nn::Dims broadcastStrides(nn::DimContext &ctx, ArrayRef<nn::Dim> dims, ArrayRef<nn::Dim> to) {
  return broadcastStrides(ctx, dims, rowMajor(ctx, dims), to);
}

nn::Dims broadcastStrides(nn::DimContext &ctx, ArrayRef<nn::Dim> dims, ArrayRef<nn::Dim> own, ArrayRef<nn::Dim> to) {
  nn::Dims strides(to.size(), ctx.constant(0));
  size_t missing = to.size() - dims.size();
  for (size_t d = 0; d < dims.size(); ++d) {
    nn::Dim size = dims[d], result = to[d + missing];
    if (size.isConst(1))
      continue;
    bool full = size == result || size.isConst() || size.isAtLeast(2);
    // A size of 0 cannot matter: then there is nothing to visit.
    strides[d + missing] = full ? own[d] : own[d] * (size - 1).min(ctx.constant(1));
  }
  return strides;
}

Space broadcastSpace(nn::DimContext &ctx, ArrayRef<nn::Dim> to, ArrayRef<nn::Dims> operands) {
  Space space;
  space.sizes.assign(to.begin(), to.end());
  for (const nn::Dims &dims : operands)
    space.strides.push_back(broadcastStrides(ctx, dims, to));
  return space;
}

void Space::eraseAxis(unsigned axis) {
  sizes.erase(sizes.begin() + axis);
  for (nn::Dims &s : strides)
    s.erase(s.begin() + axis);
}

void Space::collapse(nn::DimContext &ctx) {
  for (unsigned axis = rank(); axis-- > 0;)
    if (sizes[axis].isConst(1))
      eraseAxis(axis);
  for (unsigned axis = rank(); axis-- > 1;) {
    bool mergeable = llvm::all_of(
        strides, [&](const nn::Dims &s) { return s[axis - 1] == s[axis] * sizes[axis]; });
    if (!mergeable)
      continue;
    sizes[axis - 1] = sizes[axis - 1] * sizes[axis];
    for (nn::Dims &s : strides)
      s[axis - 1] = s[axis];
    eraseAxis(axis);
  }
  if (rank() == 0) {
    sizes.push_back(ctx.constant(1));
    for (nn::Dims &s : strides)
      s.push_back(ctx.constant(1));
  }
}

void Space::splitInner(nn::DimContext &ctx, int64_t maxInner, int64_t multiple) {
  if (!sizes.back().isConst() || sizes.back().value() <= maxInner)
    return;
  int64_t size = sizes.back().value(), part = 0;
  for (int64_t p = multiple; p <= maxInner; p += multiple)
    if (size % p == 0)
      part = p;
  // Rows that are too short cost more than they bring.
  if (part * 8 < maxInner)
    return;
  sizes.back() = ctx.constant(size / part);
  sizes.push_back(ctx.constant(part));
  for (nn::Dims &s : strides) {
    nn::Dim stride = s.back();
    s.back() = stride * part;
    s.push_back(stride);
  }
}

nn::Dim Space::rows(nn::DimContext &ctx) const {
  return nn::product(ctx, ArrayRef<nn::Dim>(sizes).drop_back());
}

nn::Dim Space::inner(nn::DimContext &ctx) const { return sizes.empty() ? ctx.constant(1) : sizes.back(); }

Tasks divide(Lowering &l, const Space &space, int64_t elements, int64_t multiple) {
  Tasks tasks;
  if (space.rank() <= 1) {
    tasks.flat = true;
    tasks.perTask = l.c(std::max<int64_t>(1, elements / multiple) * multiple);
    tasks.count = space.sizes[0].ceilDiv(tasks.perTask);
    return tasks;
  }
  nn::Dim inner = space.sizes.back();
  if (inner.isConst())
    tasks.perTask = l.c(std::max<int64_t>(1, elements / std::max<int64_t>(1, inner.value())));
  else
    tasks.perTask = l.c(elements).floorDiv(inner.max(l.c(1))).max(l.c(1));
  tasks.count = space.rows(l.dimContext()).ceilDiv(tasks.perTask);
  return tasks;
}

void forRows(Kernel &k, const Space &space, const Tasks &tasks,
             function_ref<void(ArrayRef<Ix>, Ix, Ix)> body) {
  Ix per = k.dim(tasks.perTask);
  Ix low = k.begin * per;
  if (tasks.flat) {
    Ix high = (k.end * per).min(k.dim(space.sizes[0]));
    SmallVector<Ix> zeros(space.strides.size(), k.c(0));
    body(zeros, low, high);
    return;
  }
  Ix high = (k.end * per).min(k.dim(space.rows(k.lowering.dimContext())));
  SmallVector<nn::Dims> outer;
  for (const nn::Dims &s : space.strides)
    outer.emplace_back(ArrayRef<nn::Dim>(s).drop_back());
  Ix inner = k.dim(space.sizes.back());
  forEachIndex(k, ArrayRef<nn::Dim>(space.sizes).drop_back(), outer, low, high, {},
               [&](ArrayRef<Ix> offsets, ValueRange) {
                 body(offsets, k.c(0), inner);
                 return SmallVector<Value>();
               });
}

SmallVector<Value> forEachIndex(Kernel &k, ArrayRef<nn::Dim> sizes, ArrayRef<nn::Dims> strides, Ix low, Ix high,
                                ValueRange carried,
                                function_ref<SmallVector<Value>(ArrayRef<Ix>, ValueRange)> body) {
  unsigned rank = sizes.size(), operands = strides.size();
  if (rank == 0) {
    // A single tuple, visited if the range holds it.
    SmallVector<Ix> zeros(operands, k.c(0));
    if (low.constant() == 0 && high.constant() == 1)
      return body(zeros, carried);
    return k.loop(low, high, 1, carried, [&](Ix, ValueRange values) { return body(zeros, values); });
  }
  if (rank == 1) {
    return k.loop(low, high, 1, carried, [&](Ix i, ValueRange values) {
      SmallVector<Ix> offsets;
      for (const nn::Dims &s : strides)
        offsets.push_back(i * k.dim(s[0]));
      return body(offsets, values);
    });
  }

  // Loop-carried: index along each axis but the first, operand offsets, then the caller's values.
  // A range that begins at 0 may be empty because a size is 0: no division then.
  SmallVector<Ix> first(rank, k.c(0));
  if (low.constant() != 0)
    first = k.delinearize(low, sizes);
  SmallVector<Value> init;
  for (unsigned axis = 1; axis < rank; ++axis)
    init.push_back(first[axis]);
  for (const nn::Dims &s : strides) {
    Ix offset = k.c(0);
    for (unsigned axis = 0; axis < rank; ++axis)
      offset = offset + first[axis] * k.dim(s[axis]);
    init.push_back(offset);
  }
  llvm::append_range(init, carried);
  SmallVector<Value> last = k.loop(low, high, 1, init, [&](Ix, ValueRange values) {
    SmallVector<Ix> index, offsets;
    for (unsigned axis = 1; axis < rank; ++axis)
      index.push_back(Ix(&k, values[axis - 1]));
    for (unsigned o = 0; o < operands; ++o)
      offsets.push_back(Ix(&k, values[rank - 1 + o]));
    SmallVector<Value> results = body(offsets, values.drop_front(rank - 1 + operands));

    // The innermost index advances; each that reaches its size returns to 0 and carries over.
    for (unsigned o = 0; o < operands; ++o)
      offsets[o] = offsets[o] + k.dim(strides[o][rank - 1]);
    Ix carry = k.c(1);
    for (unsigned axis = rank; axis-- > 1;) {
      Ix &i = index[axis - 1];
      i = i + carry;
      Value wrap = i == k.dim(sizes[axis]);
      i = k.selectIx(wrap, k.c(0), i);
      carry = k.selectIx(wrap, k.c(1), k.c(0));
      for (unsigned o = 0; o < operands; ++o) {
        nn::Dim jump = strides[o][axis - 1] - strides[o][axis] * sizes[axis];
        if (!jump.isConst(0))
          offsets[o] = k.selectIx(wrap, offsets[o] + k.dim(jump), offsets[o]);
      }
    }
    SmallVector<Value> next;
    for (Ix i : index)
      next.push_back(i);
    for (Ix o : offsets)
      next.push_back(o);
    llvm::append_range(next, results);
    return next;
  });
  return SmallVector<Value>(ArrayRef<Value>(last).drop_front(rank - 1 + operands));
}

} // namespace nnopt::cpu

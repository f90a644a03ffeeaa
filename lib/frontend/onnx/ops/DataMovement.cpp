//===- DataMovement.cpp - import rules of operators that move data --------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

Value shapeOperand(Node &n, Value shape, StringRef what) {
  n.needInt(shape);
  n.needRank(shape, 1, 1);
  if (n.dim(shape, 0).isConst())
    return shape;
  if (auto rank = n.declaredRank(0))
    return n.withLength(shape, *rank, what);
  n.unsupported(what, "its length must be known when compiling, or the rank of the result declared");
}

namespace {

void importReshape(Node &n) {
  Value shape = shapeOperand(n, n.in(1), "shape");
  n.out(0, n.make<nn::ReshapeOp>(n.in(0), shape, n.flag(n.i("allowzero", 0))));
}

void importFlatten(Node &n) {
  Value x = n.in(0);
  int64_t rank = n.rank(x), axis = n.i("axis", 1);
  if (axis < -rank || axis > rank)
    n.invalid("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  n.out(0, n.make<nn::FlattenOp>(x, n.i64(axis < 0 ? axis + rank : axis)));
}

/// The axes of Squeeze, Unsqueeze: an attribute before opset 13, an operand since. Where they are
/// not known, the operand is in `unknown`: its length still gives the rank of the result.
struct Axes {
  std::optional<Ints> known;
  Value unknown;
  int64_t count = 0;

  explicit Axes(Node &n) {
    if (n.version() < 13) {
      known = n.ints("axes");
    } else if (n.hasIn(1)) {
      n.needInt(n.in(1));
      known = n.content(n.in(1));
      if (!known)
        unknown = n.in(1);
    }
    if (known)
      count = known->size();
    if (!unknown)
      return;
    n.needRank(unknown, 0, 1);
    if (n.rank(unknown) == 1 && !n.dim(unknown, 0).isConst()) {
      std::optional<int64_t> rank = n.declaredRank(0);
      if (!rank)
        n.unsupported("axes", "their number must be known when compiling, or the rank of the result declared");
      count = std::abs(*rank - int64_t(n.rank(n.in(0))));
      unknown = n.withLength(unknown, count, "axes");
      return;
    }
    count = n.rank(unknown) == 0 ? 1 : n.dim(unknown, 0).value();
  }
};

/// 0 and 1 for each of `rank` dimensions: whether it is not among `axes`, which are data.
Value keptDims(Node &n, Value axes, int64_t rank) {
  Type i64 = n.b().getI64Type();
  Value zero = n.intConstant(0);
  axes = n.reshape(n.convert(axes, i64), {1, -1});
  axes = n.make<nn::WhereOp>(n.make<nn::LessOp>(axes, zero), n.make<nn::AddOp>(axes, n.intConstant(rank)), axes);
  Ints all;
  for (int64_t d = 0; d < rank; ++d)
    all.push_back(d);
  Value hits = n.make<nn::EqualOp>(n.unsqueeze(n.intsConstant(all), {1}), axes);
  Value count = n.reduce(n.convert(hits, i64), nn::ReduceKind::sum, {1}, false);
  return n.convert(n.make<nn::EqualOp>(count, zero), i64);
}

/// x under a shape that was computed from axes. Wrong axes would make another number of elements: then the
/// result is empty.
Value reshapeByAxes(Node &n, Value x, Value shape) {
  Value total = n.reduce(shape, nn::ReduceKind::prod, {0}, false);
  Value right = n.make<nn::EqualOp>(total, n.make<nn::SizeOp>(x));
  shape = n.make<nn::MulOp>(shape, n.convert(right, n.b().getI64Type()));
  return n.make<nn::ReshapeOp>(x, shape, n.flag(true));
}

/// Dimensions of x by positions, which are clamped.
Value dimsAt(Node &n, Value x, Value positions) {
  Value clamped = n.make<nn::ClipOp>(positions, n.intConstant(0), n.intConstant(n.rank(x) - 1));
  return n.make<nn::GatherOp>(n.shapeOf(x), clamped, n.i64(0));
}

/// A dimension of the result is 1 at an axis, and else the dimension of x as many as there are between.
Value unsqueezeUnknown(Node &n, Value x, Axes &axes) {
  int64_t rank = n.rank(x) + axes.count;
  if (n.rank(x) == 0)
    return n.reshape(x, Ints(rank, 1));
  Value kept = keptDims(n, axes.unknown, rank);
  Value count = n.make<nn::CumSumOp>(kept, n.intConstant(0), n.flag(true), n.flag(false));
  Value isKept = n.make<nn::EqualOp>(kept, n.intConstant(1));
  return reshapeByAxes(n, x, n.make<nn::WhereOp>(isKept, dimsAt(n, x, count), n.intConstant(1)));
}

void importSqueeze(Node &n) {
  Value x = n.in(0);
  Axes given(n);
  if (given.unknown) {
    if (given.count > n.rank(x))
      n.invalid("there are more axes than dimensions");
    n.out(0, squeezeUnknown(n, x, given.unknown, n.rank(x) - given.count));
    return;
  }
  Ints axes;
  if (given.known) {
    axes = n.axes(*given.known, n.rank(x));
    llvm::sort(axes);
  } else {
    bool dynamic = false;
    for (auto [i, d] : enumerate(n.dims(x))) {
      dynamic |= !d.isConst();
      if (d.isConst(1))
        axes.push_back(i);
    }
    if (dynamic)
      n.importer.warn("node '" + Twine(mlir::cast<NameLoc>(n.location()).getName().getValue()) +
                      "': it has no axes; dimensions that are not known when compiling are taken to be "
                      "other than 1");
  }
  n.out(0, axes.empty() ? x : n.squeeze(x, axes));
}

void importUnsqueeze(Node &n) {
  Axes given(n);
  if (given.unknown) {
    n.out(0, unsqueezeUnknown(n, n.in(0), given));
    return;
  }
  if (!given.known)
    n.invalid("axes are missing");
  Ints axes = n.axes(*given.known, n.rank(n.in(0)) + given.count);
  llvm::sort(axes);
  n.out(0, axes.empty() ? n.in(0) : n.unsqueeze(n.in(0), axes));
}

void importTranspose(Node &n) {
  Value x = n.in(0);
  int64_t rank = n.rank(x);
  Ints perm;
  if (auto given = n.ints("perm")) {
    perm = n.axes(*given, rank);
    if (int64_t(perm.size()) != rank)
      n.invalid("attribute 'perm' has " + Twine(perm.size()) + " entries for rank " + Twine(rank));
  } else {
    for (int64_t a = rank; a-- > 0;)
      perm.push_back(a);
  }
  n.out(0, n.transpose(x, perm));
}

/// Ones in front of a shape of unknown length change nothing.
void importExpand(Node &n) {
  Value shape = n.in(1);
  n.needInt(shape);
  n.needRank(shape, 1, 1);
  if (!n.dim(shape, 0).isConst()) {
    std::optional<int64_t> rank = n.declaredRank(0);
    if (!rank)
      n.unsupported("shape", "its length must be known when compiling, or the rank of the result declared");
    shape = n.withLength(shape, *rank, "shape", 1, /*inFront=*/true);
  }
  n.out(0, n.make<nn::ExpandOp>(n.in(0), shape));
}

void importConcat(Node &n) {
  Values all = n.allIn();
  n.needSameType(all);
  n.needRank(all[0], 1);
  int64_t axis = n.axis(n.i("axis"), n.rank(all[0]));
  n.out(0, all.size() == 1 ? all[0] : n.make<nn::ConcatOp>(all, n.i64(axis)));
}

/// Sizes are an attribute before opset 13, an operand since; equal parts without them.
void importSplit(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 1);
  int64_t axis = n.axis(n.i("axis", 0), n.rank(x)), parts = n.numOutputs();
  Value sizes = n.version() < 13 ? Value() : n.optIn(1);
  if (n.version() < 13)
    if (auto split = n.ints("split"))
      sizes = n.intsConstant(*split);
  if (n.version() >= 18) {
    int64_t given = n.i("num_outputs", parts);
    if (given != parts)
      n.invalid("num_outputs is " + Twine(given) + ", but there are " + Twine(parts) + " outputs");
  }
  if (parts == 0)
    n.invalid("it has no outputs");
  if (sizes)
    n.needInt(sizes);
  Dim total = n.dim(x, axis);
  if (!sizes && n.version() < 18 && total.isConst() && total.value() % parts != 0)
    n.invalid("dimension " + Twine(total.value()) + " cannot be split into " + Twine(parts) +
              " equal parts");
  n.outs(n.makeN<nn::SplitOp>(parts, x, sizes, n.i64(axis)));
}

/// Axes without negative ones, where they are known.
Value positiveAxes(Node &n, Value axes, int64_t rank) {
  if (!axes)
    return axes;
  n.needInt(axes);
  n.needRank(axes, 1, 1);
  if (auto given = n.content(axes)) {
    Ints positive = n.axes(*given, rank);
    return positive == *given ? axes : n.intsConstant(positive);
  }
  return axes;
}

void importSlice(Node &n) {
  Value x = n.in(0), starts, ends, axes, steps;
  if (n.version() < 10) {
    auto s = n.ints("starts"), e = n.ints("ends"), a = n.ints("axes");
    if (!s || !e)
      n.invalid("attributes 'starts' and 'ends' are needed");
    starts = n.intsConstant(*s);
    ends = n.intsConstant(*e);
    if (a)
      axes = n.intsConstant(*a);
  } else {
    starts = n.in(1);
    ends = n.in(2);
    axes = n.optIn(3);
    steps = n.optIn(4);
  }
  int64_t rank = n.rank(x);
  axes = positiveAxes(n, axes, rank);
  bool isKnown = true;
  for (Value v : {starts, ends, axes, steps})
    if (v) {
      n.needInt(v);
      n.needRank(v, 1, 1);
      isKnown &= n.dim(v, 0).isConst();
    }
  if (!isKnown) {
    starts = n.byAxis(starts, axes, rank, 0);
    ends = n.byAxis(ends, axes, rank, std::numeric_limits<int64_t>::max());
    if (steps)
      steps = n.byAxis(steps, axes, rank, 1);
    axes = Value();
  }
  n.out(0, n.make<nn::SliceOp>(x, starts, ends, axes, steps));
}

/// `isContrib`: that of com.microsoft, an early form of the one of opset 11.
void pad(Node &n, bool isContrib) {
  Value x = n.in(0), pads, value, axes;
  std::string mode = n.s("mode", "constant");
  auto kind = nn::symbolizePadMode(mode);
  if (!kind || (*kind == nn::PadMode::wrap && n.version() < 19))
    n.invalid("unknown mode '" + mode + "'");
  if (n.version() < 11 && !isContrib) {
    auto given = n.ints("pads");
    if (!given)
      n.invalid("attribute 'pads' is missing");
    pads = n.intsConstant(*given);
    value = n.number(n.f("value", 0), n.elt(x));
  } else {
    pads = n.in(1);
    value = n.optIn(2);
    axes = n.optIn(3);
    if (isContrib && n.rank(pads) == 2)
      pads = n.reshape(pads, {-1});
  }
  n.needInt(pads);
  n.needRank(pads, 1, 1);
  int64_t rank = n.rank(x);
  axes = positiveAxes(n, axes, rank);
  if (axes && !(n.dim(pads, 0).isConst() && n.dim(axes, 0).isConst())) {
    auto sides = n.makeN<nn::SplitOp>(2, pads, Value(), n.i64(0));
    pads = n.make<nn::ConcatOp>(ValueRange{n.byAxis(sides[0], axes, rank, 0), n.byAxis(sides[1], axes, rank, 0)}, n.i64(0));
    axes = Value();
  } else if (!axes) {
    pads = n.withLength(pads, 2 * rank, "pads");
  }
  if (value) {
    n.needSameType({x, value});
    value = n.scalar(value);
  }
  if (*kind != nn::PadMode::constant)
    value = Value();
  n.out(0, n.make<nn::PadOp>(x, pads, value, axes, nn::PadModeAttr::get(n.ctx(), *kind)));
}

void importTile(Node &n) {
  n.needInt(n.in(1));
  Value repeats = n.withLength(n.in(1), n.rank(n.in(0)), "repeats", 1);
  if (auto known = n.content(repeats); known && any_of(*known, [](int64_t r) { return r < 0; }))
    n.invalid("repeats must not be negative");
  n.out(0, n.make<nn::TileOp>(n.in(0), repeats));
}

void importTrilu(Node &n) {
  n.needRank(n.in(0), 2);
  Value k = n.hasIn(1) ? n.scalar(n.in(1)) : Value();
  n.out(0, n.make<nn::TriluOp>(n.in(0), k, n.flag(n.i("upper", 1))));
}

void importDepthToSpace(Node &n) {
  std::string mode = n.s("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    n.invalid("unknown mode '" + mode + "'");
  int64_t block = n.i("blocksize");
  if (block < 1)
    n.invalid("blocksize must be positive");
  n.needRank(n.in(0), 4, 4);
  n.out(0, n.make<nn::DepthToSpaceOp>(n.in(0), n.i64(block), n.flag(mode == "CRD")));
}

void importSpaceToDepth(Node &n) {
  int64_t block = n.i("blocksize");
  if (block < 1)
    n.invalid("blocksize must be positive");
  std::string mode = n.s("mode", "DCR");
  if (mode != "DCR" && mode != "CRD")
    n.invalid("unknown mode '" + mode + "'");
  n.needRank(n.in(0), 4, 4);
  n.out(0, n.make<nn::SpaceToDepthOp>(n.in(0), n.i64(block), n.flag(mode == "CRD")));
}

/// Padding by half of what is missing on both sides, the larger half behind; negative where there is too much.
void importCenterCropPad(Node &n) {
  Value x = n.in(0), shape = n.in(1);
  n.needInt(shape);
  n.needRank(shape, 1, 1);
  Ints axes;
  if (auto given = n.ints("axes")) {
    axes = n.axes(*given, n.rank(x));
  } else {
    for (int64_t a = 0; a < int64_t(n.rank(x)); ++a)
      axes.push_back(a);
  }
  shape = n.convert(n.withLength(shape, axes.size(), "shape"), n.b().getI64Type());
  if (axes.empty()) {
    n.out(0, x);
    return;
  }
  Values sizes;
  for (int64_t a : axes)
    sizes.push_back(n.make<nn::ShapeOp>(x, n.i64(a), n.i64(a + 1)));
  Value size = n.make<nn::ConcatOp>(sizes, n.i64(0)), missing = n.make<nn::SubOp>(shape, size);
  // Half of it toward zero, as halves of numbers that are not negative.
  Value zero = n.intConstant(0), two = n.intConstant(2);
  Value added = n.make<nn::DivOp>(n.make<nn::MaxOp>(missing, zero), two);
  Value removed = n.make<nn::DivOp>(n.make<nn::MaxOp>(n.make<nn::NegOp>(missing), zero), two);
  Value before = n.make<nn::SubOp>(added, removed), after = n.make<nn::SubOp>(missing, before);
  Value pads = n.make<nn::ConcatOp>(ValueRange{before, after}, n.i64(0));
  n.out(0, n.make<nn::PadOp>(x, pads, Value(), n.intsConstant(axes), nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant)));
}

void importReverseSequence(Node &n) {
  Value x = n.in(0), lengths = n.in(1);
  n.needRank(x, 2);
  n.needRank(lengths, 1, 1);
  n.needInt(lengths);
  int64_t batch = n.i("batch_axis", 1), time = n.i("time_axis", 0);
  if (batch < 0 || batch > 1 || time != 1 - batch)
    n.invalid("batch_axis and time_axis must be 0 and 1, or 1 and 0");
  n.out(0, n.make<nn::ReverseSequenceOp>(x, lengths, n.i64(batch), n.i64(time)));
}

void importIdentity(Node &n) { n.out(0, n.in(0)); }

} // namespace

/// Dimension j of the result is the j-th dimension of x that stays: before it are those of which at most j
/// stay up to them.
Value squeezeUnknown(Node &n, Value x, Value axes, int64_t left) {
  if (left == 0)
    return n.reshape(x, {});
  Value stays = n.make<nn::CumSumOp>(keptDims(n, axes, n.rank(x)), n.intConstant(0), n.flag(false), n.flag(false));
  Value before = n.make<nn::LessOrEqualOp>(n.unsqueeze(stays, {0}),
                                           n.unsqueeze(n.countTo(n.intConstant(left)), {1}));
  Value position = n.reduce(n.convert(before, n.b().getI64Type()), nn::ReduceKind::sum, {1}, false);
  return reshapeByAxes(n, x, dimsAt(n, x, position));
}

void registerDataMovement(Registry &r) {
  r.add("Reshape", 2, 2, importReshape);
  r.add("Flatten", 1, 1, importFlatten);
  r.add("Squeeze", 1, 2, importSqueeze);
  r.add("Unsqueeze", 1, 2, importUnsqueeze);
  r.add("Transpose", 1, 1, importTranspose);
  r.add("Expand", 2, 2, importExpand, 1, 8);
  r.add("Concat", 1, Registry::any, importConcat);
  r.add("Split", 1, 2, importSplit, Registry::any);
  r.add("Slice", 1, 5, importSlice);
  r.add("Pad", 1, 4, [](Node &n) { pad(n, false); });
  r.add("com.microsoft.Pad", 2, 3, [](Node &n) { pad(n, true); }, 1, 1);
  r.add("Tile", 2, 2, importTile);
  r.add("Trilu", 1, 2, importTrilu, 1, 14);
  r.add("DepthToSpace", 1, 1, importDepthToSpace);
  r.add("SpaceToDepth", 1, 1, importSpaceToDepth);
  r.add("CenterCropPad", 2, 2, importCenterCropPad, 1, 18);
  r.add("ReverseSequence", 2, 2, importReverseSequence, 1, 10);
  r.add("Identity", 1, 1, importIdentity);
}

} // namespace nnopt::onnx

//===- CleanupSlices.cpp - parts that undo each other ---------------------===//
#include "passes/Passes.h"
#include "passes/common/ChannelMap.h"
#include "passes/common/Parts.h"


using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_CLEANUPSLICES
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "cleanup-slices";

template <typename OpTy> struct PartPattern : ShapePattern<OpTy> {
  using ShapePattern<OpTy>::ShapePattern;
  using ShapePattern<OpTy>::shapes;
  /// Replaces the result by `with`, says so, and succeeds; fails where the two are not proven to have equal shapes.
  LogicalResult replace(PatternRewriter &rewriter, OpTy op, Value with, StringRef what) const {
    if (!shapes.sameDims(with, op.getResult()))
      return failure();
    passedRemark(op.getLoc(), kPass, "rewritten") << remark::add("{0}", what);
    rewriter.replaceOp(op, with);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Gathers and splits that are slices
//===----------------------------------------------------------------------===//

struct GatherToSlice : PartPattern<nn::GatherOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::GatherOp op, PatternRewriter &rewriter) const override {
    auto indices = shapes.ctx.constantContent(op.getIndices());
    int64_t axis = op.getAxis(), rank = rankOf(op.getIndices());
    // Numbers and truth values choose something elsewhere (experts by their places): their patterns are on gathers.
    if (!indices || indices->empty() || rank > 1 || isConstant(op.getX()) || !isa<FloatType>(elementTypeOf(op.getX())))
      return failure();
    int64_t first = indices->front(), count = indices->size();
    for (int64_t i = 0; i < count; ++i)
      if ((*indices)[i] != first + i)
        return failure();
    // A slice clamps what a gather may not have: all positions must be inside.
    nn::Dim size = shapes.dims(op.getX())[axis];
    bool inside = first >= 0 ? size.isAtLeast(first + count) : size.isAtLeast(-first) && first + count <= 0;
    if (!inside) {
      missedRemark(op.getLoc(), kPass, "gather") << remark::reason("a position may lie outside: the size is {0}", size.str());
      return failure();
    }
    int64_t end = first + count == 0 ? std::numeric_limits<int64_t>::max() : first + count;
    Value slice = makeSlice(op.getX(), axis, first, end, rewriter, op.getLoc());
    if (rank == 0)
      slice = nn::SqueezeOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(slice)), slice,
                                    rewriter.getDenseI64ArrayAttr({axis}));
    return replace(rewriter, op, slice, "a gather of neighbours is a slice");
  }
};

/// Elements [start, end) of the concatenation, as an operand or a part of one; null where they come from several.
Value partOfConcat(nn::ConcatOp concat, int64_t start, int64_t end, PatternRewriter &rewriter, FuncShapes &shapes,
                   Location loc) {
  int64_t axis = concat.getAxis(), at = 0;
  for (Value input : concat.getInputs()) {
    nn::Dim size = shapes.dims(input)[axis];
    if (!size.isConst())
      return {};
    if (start >= at && end <= at + size.value() && start < end)
      return start == at && end == at + size.value() ? input
                                                     : makeSlice(input, axis, start - at, end - at, rewriter, loc);
    at += size.value();
  }
  return {};
}

struct SliceOfConcat : PartPattern<nn::SliceOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::SliceOp op, PatternRewriter &rewriter) const override {
    auto concat = op.getX().getDefiningOp<nn::ConcatOp>();
    if (!concat || shapes.ctx.content(op.getResult()))
      return failure();
    auto part = readPart(op.getResult(), concat.getAxis(), shapes);
    if (!part || part->whole != op.getX())
      return failure();
    Value v = partOfConcat(concat, part->start, part->start + part->size, rewriter, shapes, op.getLoc());
    return v ? replace(rewriter, op, v, "a slice of one operand of a concatenation") : failure();
  }
};

struct SplitOfConcat : PartPattern<nn::SplitOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::SplitOp op, PatternRewriter &rewriter) const override {
    auto concat = op.getX().getDefiningOp<nn::ConcatOp>();
    SmallVector<Value> used;
    for (Value part : op.getResults())
      if (!part.use_empty())
        used.push_back(part);
    int64_t axis = op.getAxis();
    if (used.size() == 1 && op.getNumResults() > 1) {
      auto part = readPart(used[0], axis, shapes);
      if (!part || part->whole != op.getX())
        return failure();
      Value slice = makeSlice(op.getX(), axis, part->start, part->start + part->size, rewriter, op.getLoc());
      if (!shapes.sameDims(slice, used[0]))
        return failure();
      rewriter.replaceAllUsesWith(used[0], slice);
      rewriter.eraseOp(op);
      return success();
    }
    if (!concat || axis != int64_t(concat.getAxis()) || used.empty())
      return failure();
    SmallVector<Value> parts;
    for (Value result : op.getResults()) {
      auto part = readPart(result, axis, shapes);
      if (!part || part->whole != op.getX())
        return failure();
      Value v = partOfConcat(concat, part->start, part->start + part->size, rewriter, shapes, op.getLoc());
      if (!v || !shapes.sameDims(v, result))
        return failure();
      parts.push_back(v);
    }
    passedRemark(op.getLoc(), kPass, "rewritten") << remark::add("parts of a concatenation");
    rewriter.replaceOp(op, parts);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Concatenations
//===----------------------------------------------------------------------===//

struct FlattenConcats : PartPattern<nn::ConcatOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::ConcatOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> inputs;
    for (Value v : op.getInputs()) {
      auto inner = v.getDefiningOp<nn::ConcatOp>();
      if (inner && inner->hasOneUse() && inner.getAxis() == op.getAxis() && inner->getBlock() == op->getBlock())
        inputs.append(inner.getInputs().begin(), inner.getInputs().end());
      else
        inputs.push_back(v);
    }
    if (inputs.size() == op.getInputs().size() || shapes.ctx.content(op.getResult()))
      return failure();
    Value flat = nn::ConcatOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(op.getResult())), inputs, op.getAxisAttr());
    return replace(rewriter, op, flat, "one concatenation");
  }
};

/// Operands with each run of neighbouring parts of one value as one part of it.
SmallVector<std::pair<Part, unsigned>> mergeNeighbours(ArrayRef<Value> inputs, int64_t axis, FuncShapes &shapes) {
  SmallVector<std::pair<Part, unsigned>> merged; // A part and how many operands it stands for.
  for (Value v : inputs) {
    auto part = readPart(v, axis, shapes);
    if (!part)
      return {};
    Part *last = merged.empty() ? nullptr : &merged.back().first;
    if (last && last->whole == part->whole && part->whole != v && last->start + last->size == part->start) {
      last->size += part->size;
      ++merged.back().second;
    } else {
      merged.push_back({*part, 1});
    }
  }
  return merged;
}

Value partOf(const Part &part, int64_t axis, PatternRewriter &rewriter, FuncShapes &shapes, Location loc) {
  if (shapes.dims(part.whole)[axis].isConst(part.size))
    return part.whole;
  return makeSlice(part.whole, axis, part.start, part.start + part.size, rewriter, loc);
}

struct ConcatOfParts : PartPattern<nn::ConcatOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::ConcatOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> inputs(op.getInputs());
    int64_t axis = op.getAxis();
    auto merged = mergeNeighbours(inputs, axis, shapes);
    if (merged.empty() || merged.size() == inputs.size() || shapes.ctx.content(op.getResult()))
      return failure();
    SmallVector<Value> parts;
    unsigned at = 0;
    for (auto &[part, count] : merged) {
      parts.push_back(count == 1 ? inputs[at] : partOf(part, axis, rewriter, shapes, op.getLoc()));
      at += count;
    }
    Value result = parts.size() == 1 ? parts[0]
                                     : nn::ConcatOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(op.getResult())),
                                                            parts, op.getAxisAttr())
                                           .getResult();
    return replace(rewriter, op, result, "neighbouring parts of one value");
  }
};

/// concat(s_i x_i + t_i) = s x + t, where the x_i are neighbouring parts of one value.
struct ConcatOfMaps : PartPattern<nn::ConcatOp> {
  using PartPattern::PartPattern;
  LogicalResult matchAndRewrite(nn::ConcatOp op, PatternRewriter &rewriter) const override {
    int64_t axis = op.getAxis();
    if (op.getInputs().size() < 2)
      return failure();
    SmallVector<Value> inputs;
    SmallVector<Operation *> ops;
    ChannelMap map{axis, {}, {}};
    for (Value v : op.getInputs()) {
      std::string why;
      AffineChain chain = readAffine(v, why);
      nn::Dim size = shapes.dims(v)[axis];
      if (chain.ops.empty() || !v.hasOneUse() || !size.isConst() || !shapes.sameDims(chain.x, v) ||
          (chain.map.axis != ChannelMap::kNumbers && chain.map.axis != axis))
        return failure();
      auto scale = chain.map.scales(size.value()), shift = chain.map.shifts(size.value());
      map.scale.insert(map.scale.end(), scale.begin(), scale.end());
      map.shift.insert(map.shift.end(), shift.begin(), shift.end());
      inputs.push_back(chain.x);
      ops.append(chain.ops);
    }
    auto merged = mergeNeighbours(inputs, axis, shapes);
    if (merged.size() != 1)
      return failure();
    ops.push_back(op);
    Location loc = fusedLoc(ops);
    Value x = partOf(merged[0].first, axis, rewriter, shapes, loc);
    return replace(rewriter, op, makeAffine(rewriter, loc, x, map.along(axis)), "one map of all channels");
  }
};

struct CleanupSlicesPass : impl::CleanupSlicesBase<CleanupSlicesPass> {
  void runOnOperation() override {
    FuncShapes shapes(getOperation());
    if (failed(shapes.infer()))
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    patterns.add<GatherToSlice, SliceOfConcat, SplitOfConcat, FlattenConcats, ConcatOfParts, ConcatOfMaps>(&getContext(),
                                                                                                          shapes);
    applyShapePatterns(getOperation(), shapes, std::move(patterns));
    nn::refineFunctionType(cast<FunctionOpInterface>(getOperation().getOperation()));
  }
};

} // namespace
} // namespace nnopt

//===- ShapeFunctionsControlFlow.cpp - if and loop ------------------------===//
#include "dialects/nn/ShapeHelpers.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace nnopt::nn {

static YieldOp yieldOf(Region &region) { return cast<YieldOp>(region.front().back()); }

/// The number of symbols so far, among them all that values from outside the regions have: what is
/// created later belongs to the inside.
static size_t countOuterSymbols(Operation *op, ShapeContext &ctx) {
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(op->getRegions(), captured);
  captured.insert(op->operand_begin(), op->operand_end());
  for (Value v : captured)
    ctx.info(v);
  return ctx.dimContext().symbols().size();
}

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

/// Copies facts of what the taken branch yields to the results.
static void copyBranch(IfOp op, Region &branch, ShapeContext &ctx) {
  for (auto [value, result] : llvm::zip(yieldOf(branch).getValues(), op.getResults()))
    shape::copyInfo(ctx, value, result);
}

/// What holds whichever branch is taken: dimensions on which the branches differ, or that depend
/// on data inside a branch, become fresh symbols.
static LogicalResult joinBranches(IfOp op, ShapeContext &ctx, size_t symbolsBefore) {
  for (unsigned r = 0; r < op.getNumResults(); ++r) {
    Value thenValue = yieldOf(op.getThenBranch()).getValues()[r];
    Value elseValue = yieldOf(op.getElseBranch()).getValues()[r];
    ValueInfo a = ctx.info(thenValue), b = ctx.info(elseValue);
    if (!isa<RankedTensorType>(thenValue.getType()))
      if (Type joined = joinTypes(a.elementType, b.elementType)) {
        ctx.set(op.getResult(r), joined, {});
        continue;
      }
    if (a.elementType != b.elementType)
      return op.emitOpError("branches yield ")
             << a.elementType << " and " << b.elementType << " as result " << r;
    if (a.dims.size() != b.dims.size())
      return op.emitOpError("branches yield different ranks as result ")
             << r << ": " << shape::str(a.dims) << " and " << shape::str(b.dims);
    Dims dims;
    for (auto [x, y] : llvm::zip(a.dims, b.dims)) {
      bool same = x == y && !shape::mentionsNewSymbol(x, ctx.dimContext(), symbolsBefore);
      dims.push_back(same ? x : ctx.unknown("if"));
    }
    ctx.set(op.getResult(r), a.elementType, dims);
    if (a.content && b.content && a.content == b.content && llvm::none_of(*a.content, [&](Dim d) {
          return shape::mentionsNewSymbol(d, ctx.dimContext(), symbolsBefore);
        }))
      ctx.setContent(op.getResult(r), *a.content);
  }
  return success();
}

LogicalResult IfOp::inferShapes(ShapeContext &ctx) {
  size_t symbolsBefore = countOuterSymbols(*this, ctx);
  Dim condition = ctx.scalarContent(getCondition());
  if (!condition || !condition.isConst()) {
    if (failed(ctx.inferRegion(getThenBranch())) || failed(ctx.inferRegion(getElseBranch())))
      return failure();
    return joinBranches(*this, ctx, symbolsBefore);
  }
  Region &taken = condition.isConst(0) ? getElseBranch() : getThenBranch();
  Region &other = condition.isConst(0) ? getThenBranch() : getElseBranch();
  if (failed(ctx.inferRegion(taken)))
    return failure();
  {
    // Exporters leave branches behind whose shapes contradict each other when not taken.
    ScopedDiagnosticHandler quiet(getContext(), [](Diagnostic &) { return success(); });
    (void)ctx.inferRegion(other);
  }
  copyBranch(*this, taken, ctx);
  return success();
}

//===----------------------------------------------------------------------===//
// Loop
//===----------------------------------------------------------------------===//

/// Forgets what an earlier round found out inside a loop body: the static sizes of that round may
/// not hold, and unknown sizes are read from result types.
static void forget(Region &region, ShapeContext &ctx) {
  region.walk([&](Operation *op) {
    if (isa<ConstantOp>(op) || !isa<ShapeFunction>(op))
      return;
    for (Value result : op->getResults()) {
      ctx.erase(result);
      if (auto type = dyn_cast<RankedTensorType>(result.getType())) {
        SmallVector<int64_t> shape(type.getRank(), ShapedType::kDynamic);
        result.setType(RankedTensorType::get(shape, type.getElementType()));
      }
    }
  });
}

static void setArgument(ShapeContext &ctx, Value argument, Type elementType, ArrayRef<Dim> dims) {
  ctx.set(argument, elementType, dims);
  if (!isa<RankedTensorType>(argument.getType()))
    return argument.setType(elementType);
  SmallVector<int64_t> shape;
  for (Dim d : dims)
    shape.push_back(d.typeDim());
  argument.setType(RankedTensorType::get(shape, elementType));
}


/// Dimensions of the carried values that hold in every iteration: the initial ones where the body
/// keeps them, else a symbol. Runs the body's shape functions until that is stable. Bit i of
/// `changes[k]` says that dimension i of value k changes.
static FailureOr<SmallVector<Dims>> inferBody(LoopOp op, ShapeContext &ctx,
                                              SmallVector<SmallVector<bool>> &changes) {
  Block &body = op.getBody().front();
  SmallVector<Dims> carried;
  // Element types; of values that are no tensors the types.
  SmallVector<Type> types;
  SmallVector<int> rounds(op.getCarried().size(), 0);
  for (Value v : op.getCarried()) {
    carried.push_back(Dims(ctx.dims(v)));
    types.push_back(ctx.info(v).elementType);
    changes.emplace_back(carried.back().size(), false);
  }
  Type i64 = IntegerType::get(op.getContext(), 64), i1 = IntegerType::get(op.getContext(), 1);
  setArgument(ctx, body.getArgument(0), i64, {});
  setArgument(ctx, body.getArgument(1), i1, {});
  for (bool stable = false; !stable;) {
    stable = true;
    YieldOp yield = yieldOf(op.getBody());
    for (auto [k, initial] : llvm::enumerate(op.getCarried())) {
      Value argument = body.getArgument(2 + k);
      setArgument(ctx, argument, types[k], carried[k]);
      // A value that is only passed on keeps its content.
      if (yield.getValues()[1 + k] == argument && ctx.content(initial))
        ctx.setContent(argument, SmallVector<Dim, 8>(*ctx.content(initial)));
    }
    if (failed(ctx.inferRegion(op.getBody())))
      return failure();
    for (unsigned k = 0; k < carried.size(); ++k) {
      Value nextValue = yield.getValues()[1 + k];
      if (Type type = ctx.info(nextValue).elementType; type != types[k]) {
        Type joined = joinTypes(types[k], type);
        if (!joined || isa<RankedTensorType>(nextValue.getType()))
          return op.emitOpError("carried value ") << k << " changes its type: " << types[k] << " becomes " << type;
        // Elements of different ranks make joins go in circles.
        if (joined != types[k] && ++rounds[k] <= 3) {
          types[k] = rounds[k] == 3 ? unrankedElements(joined) : joined;
          stable = false;
        }
      }
      ArrayRef<Dim> next = ctx.dims(nextValue);
      if (next.size() != carried[k].size())
        return op.emitOpError("carried value ")
               << k << " changes its rank: " << shape::str(carried[k]) << " becomes "
               << shape::str(next);
      for (unsigned i = 0; i < next.size(); ++i) {
        if (next[i] == carried[k][i] || changes[k][i])
          continue;
        changes[k][i] = true;
        carried[k][i] = ctx.unknown("loop");
        stable = false;
      }
    }
    if (!stable)
      forget(op.getBody(), ctx);
  }
  return carried;
}

/// The exact number of iterations where nothing but the trip count ends the loop, else null.
static Dim iterations(LoopOp op, ShapeContext &ctx) {
  Dim trips = ctx.scalarContent(op.getTripCount());
  if (!trips || !(trips.isConst() || trips.isAtLeast(0)))
    return {};
  if (op.getCondition()) {
    Dim first = ctx.scalarContent(op.getCondition());
    if (first && first.isConst(0))
      return ctx.constant(0);
    if (!first || !first.isConst(1))
      return {};
  }
  Value next = yieldOf(op.getBody()).getValues().front();
  // Passing on the condition that was true (or absent) keeps it true.
  if (next != op.getBody().front().getArgument(1)) {
    Dim again = ctx.scalarContent(next);
    if (!again || !again.isConst(1))
      return trips.isConst() && trips.value() <= 0 ? ctx.constant(0) : Dim();
  }
  return trips.isConst() && trips.value() < 0 ? ctx.constant(0) : trips;
}

LogicalResult LoopOp::inferShapes(ShapeContext &ctx) {
  size_t symbolsBefore = countOuterSymbols(*this, ctx);
  SmallVector<SmallVector<bool>> changes;
  FailureOr<SmallVector<Dims>> carried = inferBody(*this, ctx, changes);
  if (failed(carried))
    return failure();
  YieldOp yield = yieldOf(getBody());
  unsigned count = getCarried().size();
  Dim trips = iterations(*this, ctx);
  for (unsigned k = 0; k < count; ++k) {
    Dims dims = (*carried)[k];
    for (unsigned i = 0; i < dims.size(); ++i) {
      if (!changes[k][i])
        continue;
      // A size that grows by the same amount in each iteration is known at the end.
      Dim growth = ctx.dims(yield.getValues()[1 + k])[i] - dims[i];
      bool isSteady = !shape::mentionsNewSymbol(growth, ctx.dimContext(), symbolsBefore);
      dims[i] =
          isSteady && trips ? ctx.dims(getCarried()[k])[i] + growth * trips : ctx.unknown("loop");
    }
    ctx.set(getResult(k), ctx.info(getBody().front().getArgument(2 + k)).elementType, dims);
    Value argument = getBody().front().getArgument(2 + k);
    if (yield.getValues()[1 + k] == argument && ctx.content(argument))
      ctx.setContent(getResult(k), SmallVector<Dim, 8>(*ctx.content(argument)));
  }
  for (unsigned r = count; r < getNumResults(); ++r) {
    Value scanned = yield.getValues()[1 + r];
    Dims dims{trips ? trips : ctx.unknown("trips")};
    for (Dim d : ctx.dims(scanned)) {
      // A size that belongs to one iteration cannot be named outside.
      bool inner = shape::mentionsNewSymbol(d, ctx.dimContext(), symbolsBefore);
      dims.push_back(inner ? ctx.unknown("scan") : d);
    }
    ctx.set(getResult(r), ctx.info(scanned).elementType, dims);
  }
  return success();
}

} // namespace nnopt::nn

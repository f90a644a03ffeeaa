//===- Routes.cpp - how a graph spells the choice of experts --------------===//
#include "passes/group-experts/Routes.h"

using namespace mlir;

namespace nnopt {

Value withoutUnitDims(Value v) {
  while (auto *op = v.getDefiningOp()) {
    if (!isa<nn::SqueezeOp, nn::UnsqueezeOp>(op))
      break;
    v = op->getOperand(0);
  }
  return v;
}

bool isZeros(Value v) {
  if (auto fill = v.getDefiningOp<nn::ConstantOfShapeOp>()) {
    auto value = fill.getValue();
    return isa<FloatType>(value.getElementType()) && value.isSplat() && value.getSplatValue<APFloat>().isZero();
  }
  if (auto expand = v.getDefiningOp<nn::ExpandOp>())
    return isScalar(expand.getX(), 0);
  auto numbers = numbersOf(v);
  return numbers && llvm::all_of(*numbers, [](double d) { return d == 0; });
}

/// Indices of a topk along the last of two dimensions: no two of a row are equal.
static bool areChoices(Value v) {
  auto topk = v.getDefiningOp<nn::TopKOp>();
  return topk && v == topk.getIndices() && rankOf(v) == 2 && topk.getAxis() == 1 && !shapeOf(v).empty() &&
         !ShapedType::isDynamic(shapeOf(v)[1]);
}

/// Scores [tokens, experts] with zeros: of scores below a threshold (any condition), and of tokens that an expert did not choose (Zhou et
/// al. 2022, "Mixture-of-Experts with Expert Choice Routing", section 3.2).
static bool leavesOut(Value v) {
  Operation *op = v.getDefiningOp();
  if (auto where = dyn_cast_or_null<nn::WhereOp>(op))
    return isZeros(where.getX()) || isZeros(where.getY());
  if (auto mul = dyn_cast_or_null<nn::MulOp>(op))
    return llvm::any_of(mul->getOperands(), [](Value factor) {
      auto cast = factor.getDefiningOp<nn::CastOp>();
      return cast && elementTypeOf(cast.getX()).isInteger(1);
    });
  auto scatter = dyn_cast_or_null<nn::ScatterElementsOp>(op);
  auto topk = scatter ? scatter.getIndices().getDefiningOp<nn::TopKOp>() : nn::TopKOp();
  return topk && scatter.getAxis() == 0 && topk.getAxis() == 0 && scatter.getIndices() == topk.getIndices() && isZeros(scatter.getX());
}

std::optional<Route> matchDenseScores(Value v, FuncShapes &shapes) {
  if (rankOf(v) == 2 && shapes.dims(v)[1].isConst() && leavesOut(v))
    return Route{Value(), v, shapes.dims(v)[1].value()};
  auto scatter = v.getDefiningOp<nn::ScatterElementsOp>();
  if (!scatter || scatter.getAxis() != 1 || !isZeros(scatter.getX()) || !areChoices(scatter.getIndices()) ||
      !shapes.sameDims(scatter.getIndices(), scatter.getUpdates()))
    return std::nullopt;
  nn::Dim experts = shapes.dims(v).back();
  auto reduction = scatter.getReduction();
  if (!experts.isConst() || (reduction != nn::ScatterReduction::none && reduction != nn::ScatterReduction::add))
    return std::nullopt;
  return Route{scatter.getIndices(), scatter.getUpdates(), experts.value()};
}

std::optional<Route> matchScoresByExpert(Value v, FuncShapes &shapes) {
  v = withoutUnitDims(v);
  if (auto transpose = v.getDefiningOp<nn::TransposeOp>())
    return transpose.getPerm() == ArrayRef<int64_t>{1, 0} ? matchDenseScores(transpose.getX(), shapes) : std::nullopt;
  // Of one token the scores are a row and a column.
  auto reshape = v.getDefiningOp<nn::ReshapeOp>();
  auto route = reshape ? matchDenseScores(reshape.getX(), shapes) : std::nullopt;
  return route && shapes.dims(reshape.getX())[0].isConst(1) ? route : std::nullopt;
}

/// Column `expert` of scores [tokens, experts], as [tokens, 1].
static std::optional<Term> matchColumn(Value v, FuncShapes &shapes) {
  Term term;
  if (shapes.dims(v).size() != 2 || !shapes.dims(v).back().isConst(1))
    return std::nullopt;
  Value source;
  if (auto slice = v.getDefiningOp<nn::SliceOp>()) {
    auto starts = shapes.ctx.constantContent(slice.getStarts());
    auto axes = slice.getAxes() ? shapes.ctx.constantContent(slice.getAxes()) : std::nullopt;
    if (!starts || !axes || starts->size() != 1 || (axes->front() != 1 && axes->front() != -1))
      return std::nullopt;
    term.expert = starts->front();
    source = slice.getX();
  } else if (auto gather = withoutUnitDims(v).getDefiningOp<nn::GatherOp>()) {
    auto index = scalarOf(gather.getIndices());
    if (!index || gather.getAxis() != 1)
      return std::nullopt;
    term.expert = int64_t(*index);
    source = gather.getX();
  } else {
    return std::nullopt;
  }
  auto route = matchDenseScores(source, shapes);
  if (!route)
    return std::nullopt;
  term.route = *route;
  if (term.expert < 0)
    term.expert += route->experts;
  return term;
}

namespace {

/// Where the bool matrix [k, tokens] "choice j of token t is this expert" is true.
struct Places {
  Value choices;
  int64_t expert, experts;
  nn::NonZeroOp found;
  bool operator==(const Places &o) const { return found == o.found; }
};

} // namespace

/// x where v is x with its dimensions permuted; of one token and one choice that is a reshape.
static Value matchTransposed(Value v, ArrayRef<int64_t> perm) {
  if (auto transpose = v.getDefiningOp<nn::TransposeOp>())
    return transpose.getPerm() == perm ? transpose.getX() : Value();
  auto reshape = v.getDefiningOp<nn::ReshapeOp>();
  if (!reshape || rankOf(reshape.getX()) != (int64_t)perm.size() || rankOf(v) != (int64_t)perm.size())
    return {};
  ArrayRef<int64_t> from = shapeOf(reshape.getX()), to = shapeOf(v);
  for (auto [i, p] : llvm::enumerate(perm))
    if (ShapedType::isDynamic(to[i]) || to[i] != from[p])
      return {};
  return llvm::count_if(to, [](int64_t d) { return d != 1; }) <= 1 ? reshape.getX() : Value();
}

/// non_zero(gather(transpose(one_hot(choices)), expert)).
static std::optional<Places> matchPlaces(Value v) {
  auto found = v.getDefiningOp<nn::NonZeroOp>();
  auto cast = found ? found.getX().getDefiningOp<nn::CastOp>() : nn::CastOp();
  Value row = cast ? cast.getX() : found ? found.getX() : Value();
  // An index, or a list of one and its dimension gone.
  int64_t listed = 0;
  if (auto squeeze = row ? row.getDefiningOp<nn::SqueezeOp>() : nn::SqueezeOp()) {
    if (squeeze.getAxes() != ArrayRef<int64_t>{0})
      return std::nullopt;
    row = squeeze.getX();
    listed = 1;
  }
  auto gather = row ? row.getDefiningOp<nn::GatherOp>() : nn::GatherOp();
  auto expert = gather ? scalarOf(gather.getIndices()) : std::nullopt;
  if (!expert || gather.getAxis() != 0 || rankOf(gather.getIndices()) != listed)
    return std::nullopt;
  Value placed = matchTransposed(gather.getX(), {2, 1, 0});
  auto hot = placed ? placed.getDefiningOp<nn::OneHotOp>() : nn::OneHotOp();
  if (!hot || (hot.getAxis() != 2 && hot.getAxis() != -1) ||
      !areChoices(hot.getIndices()))
    return std::nullopt;
  auto experts = scalarOf(hot.getDepth());
  auto values = numbersOf(hot.getValues());
  if (!experts || !values || values->size() != 2 || (*values)[0] != 0 || (*values)[1] == 0)
    return std::nullopt;
  int64_t index = int64_t(*expert);
  return Places{hot.getIndices(), index < 0 ? index + int64_t(*experts) : index, int64_t(*experts), found};
}

/// Row `row` of the places as a column or vector: 0 is the choice, 1 the token.
static std::optional<Places> matchPlaceRow(Value v, unsigned row) {
  v = withoutUnitDims(v);
  auto split = v.getDefiningOp<nn::SplitOp>();
  if (split) {
    auto transpose = split.getX().getDefiningOp<nn::TransposeOp>();
    bool ok = split.getAxis() == 1 && split.getNumResults() == 2 && v == split.getResult(row) && transpose &&
              transpose.getPerm() == ArrayRef<int64_t>{1, 0};
    return ok ? matchPlaces(transpose.getX()) : std::nullopt;
  }
  // One row of the matrix itself.
  if (auto gather = v.getDefiningOp<nn::GatherOp>(); gather && gather.getAxis() == 0 && isScalar(gather.getIndices(), row))
    return matchPlaces(gather.getX());
  return std::nullopt;
}

bool isTokenRow(Value v, Value places) {
  auto row = matchPlaceRow(v, 1);
  return row && row->found.getResult() == places;
}

/// gather(reshape(scores, [tokens * k, 1]), token * k + choice): one score for each place.
static bool isScoreOfPlaces(Value v, const Places &places, Value &scores, FuncShapes &shapes) {
  auto gather = v.getDefiningOp<nn::GatherOp>();
  while (!gather && v.getDefiningOp<nn::ReshapeOp>()) {
    v = v.getDefiningOp<nn::ReshapeOp>().getX();
    gather = v.getDefiningOp<nn::GatherOp>();
  }
  if (!gather || gather.getAxis() != 0)
    return false;
  auto add = gather.getIndices().getDefiningOp<nn::AddOp>();
  if (!add)
    return false;
  for (unsigned i : {0u, 1u}) {
    auto choice = matchPlaceRow(add->getOperand(i), 0);
    if (!choice || !(*choice == places))
      continue;
    Value start = add->getOperand(1 - i);
    auto mul = start.getDefiningOp<nn::MulOp>();
    for (unsigned j : {0u, 1u}) {
      // A factor of 1 may be gone.
      auto token = matchPlaceRow(mul ? mul->getOperand(j) : start, 1);
      auto count = mul ? scalarOf(mul->getOperand(1 - j)) : std::optional<double>(1);
      if (!token || !(*token == places) || !count || *count != double(shapeOf(places.choices)[1]))
        continue;
      Value source = gather.getX();
      while (Operation *op = source.getDefiningOp()) {
        if (!isa<nn::ReshapeOp, nn::FlattenOp, nn::UnsqueezeOp, nn::SqueezeOp>(op))
          break;
        if (shapes.sameDims(source, places.choices))
          break;
        source = op->getOperand(0);
      }
      scores = source;
      return shapes.sameDims(source, places.choices);
    }
  }
  return false;
}

/// scatter_elements(zeros, expand(tokens), result * score): the rows of an expert back in their places. No token
/// occurs twice, as its choices differ.
static std::optional<Term> matchScattered(Value v, FuncShapes &shapes) {
  auto scatter = v.getDefiningOp<nn::ScatterElementsOp>();
  if (!scatter || scatter.getAxis() != 0 || rankOf(v) != 2 || !isZeros(scatter.getX()) ||
      (scatter.getReduction() != nn::ScatterReduction::none && scatter.getReduction() != nn::ScatterReduction::add))
    return std::nullopt;
  auto wide = scatter.getIndices().getDefiningOp<nn::ExpandOp>();
  auto places = wide ? matchPlaceRow(wide.getX(), 1) : std::nullopt;
  Value updates = scatter.getUpdates();
  if (auto expand = updates.getDefiningOp<nn::ExpandOp>(); expand && shapes.dims(expand.getX()).back() == shapes.dims(v).back())
    updates = expand.getX();
  auto mul = updates.getDefiningOp<nn::MulOp>();
  if (!places || !mul)
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    Term term;
    if (!isScoreOfPlaces(mul->getOperand(1 - i), *places, term.route.scores, shapes))
      continue;
    term.route.choices = places->choices;
    term.route.experts = places->experts;
    term.expert = places->expert;
    term.result = mul->getOperand(i);
    term.tokens = places->found.getResult();
    return term;
  }
  return std::nullopt;
}

std::optional<Term> matchTerm(Value v, FuncShapes &shapes) {
  if (auto scattered = matchScattered(v, shapes))
    return scattered;
  auto mul = v.getDefiningOp<nn::MulOp>();
  if (!mul)
    return std::nullopt;
  for (unsigned i : {0u, 1u})
    if (auto term = matchColumn(mul->getOperand(1 - i), shapes)) {
      term->result = mul->getOperand(i);
      return term;
    }
  return std::nullopt;
}

} // namespace nnopt

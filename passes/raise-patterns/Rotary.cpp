//===- Rotary.cpp - rotary position embedding written out -----------------===//
//
// (a, b) becomes (a cos - b sin, b cos + a sin) for pairs of elements of a row (Su et al. 2021, equation 34): halves
// of the row, or neighbours; part by part and put together, or as x cos + rotated(x) sin.
//
//===----------------------------------------------------------------------===//
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

/// One element of each pair of the last dimension of `x`, or of the dimension before the last where pairs have a
/// dimension of their own in x.
struct Part {
  Value x;
  bool interleaved = false, second = false;
};

std::optional<int64_t> onlyElement(Value v, FuncShapes &shapes) {
  auto content = v ? shapes.ctx.constantContent(v) : std::nullopt;
  return content && content->size() == 1 ? std::optional(content->front()) : std::nullopt;
}

/// Whether `pairs` has a dimension of pairs for the last one of `whole`.
bool isInPairs(ArrayRef<nn::Dim> pairs, ArrayRef<nn::Dim> whole) {
  return pairs.size() == whole.size() + 1 && pairs.back().isConst(2) && pairs.drop_back(2) == whole.drop_back() &&
         pairs[pairs.size() - 2] * 2 == whole.back();
}
Value withoutReshapes(Value v) {
  while (auto reshape = v.getDefiningOp<nn::ReshapeOp>())
    v = reshape.getX();
  return v;
}

/// Position `index` of the dimension of pairs behind x, or of x itself.
std::optional<Part> matchPart(Value v, FuncShapes &shapes) {
  int64_t rank = rankOf(v);
  if (auto slice = v.getDefiningOp<nn::SliceOp>()) {
    auto start = onlyElement(slice.getStarts(), shapes), axis = onlyElement(slice.getAxes(), shapes);
    auto step = slice.getSteps() ? onlyElement(slice.getSteps(), shapes) : std::optional<int64_t>(1);
    auto size = shapes.dims(slice.getX()).back(), part = shapes.dims(v).back();
    if (!start || !axis || !step || (*axis != rank - 1 && *axis != -1) || !size.isConst() || !part.isConst() ||
        size.value() != 2 * part.value())
      return std::nullopt;
    int64_t from = *start < 0 ? *start + size.value() : *start;
    if (*step == 2 && (from == 0 || from == 1))
      return Part{slice.getX(), true, from == 1};
    if (*step == 1 && (from == 0 || from == part.value()))
      return Part{slice.getX(), false, from != 0};
    return std::nullopt;
  }
  if (auto split = v.getDefiningOp<nn::SplitOp>()) {
    if (split.getNumResults() != 2 || split.getAxis() != rank - 1 || !shapes.sameDims(split.getResult(0), split.getResult(1)))
      return std::nullopt;
    return Part{split.getX(), false, v == split.getResult(1)};
  }
  // One element of pairs that have a dimension of their own.
  Value pairs;
  std::optional<int64_t> index;
  if (auto gather = v.getDefiningOp<nn::GatherOp>(); gather && gather.getAxis() == rank && rankOf(gather.getIndices()) == 0) {
    pairs = gather.getX();
    index = onlyElement(gather.getIndices(), shapes);
  } else if (auto squeeze = v.getDefiningOp<nn::SqueezeOp>(); squeeze && squeeze.getAxes() == ArrayRef<int64_t>{rank}) {
    if (auto part = matchPart(squeeze.getX(), shapes)) {
      pairs = part->x;
      index = part->second;
    }
  }
  if (!pairs || !index || *index < -2 || *index > 1 || !shapes.dims(pairs).back().isConst(2))
    return std::nullopt;
  return Part{pairs, true, *index == 1 || *index == -1};
}

/// a op b where v is the result of OpTy, in either order where `swap` is set.
template <typename OpTy> std::pair<Value, Value> operandsOf(Value v, bool swap = false) {
  auto op = v.getDefiningOp<OpTy>();
  if (!op)
    return {};
  return swap ? std::pair(op->getOperand(1), op->getOperand(0)) : std::pair(op->getOperand(0), op->getOperand(1));
}

class Matcher {
public:
  Matcher(FuncShapes &shapes, Value result) : shapes(shapes), result(result) {}
  Value x, cos, sin;
  bool interleaved = false;

  /// x cos + rotated(x) sin.
  bool matchSum() {
    for (bool swap : {false, true}) {
      auto [direct, turned] = operandsOf<nn::AddOp>(result, swap);
      for (bool swapTurned : {false, true}) {
        auto [rotated, s] = operandsOf<nn::MulOp>(turned, swapTurned);
        if (!rotated || !matchRotated(rotated))
          continue;
        for (bool swapDirect : {false, true}) {
          auto [same, c] = operandsOf<nn::MulOp>(direct, swapDirect);
          if (same && (same == x || (isInPairs(shapes.dims(x), shapes.dims(same)) &&
                                     withoutReshapes(same) == withoutReshapes(x))))
            return x = same, cos = c, sin = s, isRotary();
        }
      }
    }
    return false;
  }

  /// Both parts put together: concat, or as pairs.
  bool matchParts() {
    Value first, second;
    if (!matchJoined(result, first, second) || !first.getDefiningOp<nn::SubOp>())
      return false;
    auto [ac, bs] = operandsOf<nn::SubOp>(first);
    for (bool swapA : {false, true})
      for (bool swapB : {false, true}) {
        auto [a, c] = operandsOf<nn::MulOp>(ac, swapA);
        auto [b, s] = operandsOf<nn::MulOp>(bs, swapB);
        if (a && b && isPair(a, b) && matchSecond(second, a, b, c, s))
          return isRotary();
      }
    return false;
  }

private:
  /// v = the elements of `first` and `second` as pairs of one dimension.
  bool matchJoined(Value v, Value &first, Value &second) {
    auto concat = v.getDefiningOp<nn::ConcatOp>();
    interleaved = false;
    if (!concat) {
      auto reshape = v.getDefiningOp<nn::ReshapeOp>();
      concat = reshape ? reshape.getX().getDefiningOp<nn::ConcatOp>() : nn::ConcatOp();
      interleaved = true;
    }
    if (!concat || concat.getInputs().size() != 2 || concat.getAxis() != rankOf(concat.getResult()) - 1)
      return false;
    first = concat.getInputs()[0];
    second = concat.getInputs()[1];
    if (!interleaved)
      return true;
    for (Value *part : {&first, &second}) {
      auto unsqueeze = part->getDefiningOp<nn::UnsqueezeOp>();
      if (!unsqueeze || unsqueeze.getAxes() != ArrayRef<int64_t>{rankOf(unsqueeze.getX())})
        return false;
      *part = unsqueeze.getX();
    }
    auto from = shapes.dims(first), to = shapes.dims(v);
    return from.size() == to.size() && from.drop_back() == to.drop_back() && from.back() * 2 == to.back();
  }
  /// Whether a and b are both parts of x, which is set.
  bool isPair(Value a, Value b) {
    auto first = matchPart(a, shapes), second = matchPart(b, shapes);
    if (!first || !second || first->x != second->x || first->second || !second->second ||
        first->interleaved != interleaved || second->interleaved != interleaved)
      return false;
    x = first->x;
    return true;
  }
  /// (-b, a) put together.
  bool matchRotated(Value v) {
    Value negative, a;
    if (!matchJoined(v, negative, a))
      return false;
    auto neg = negative.getDefiningOp<nn::NegOp>();
    return neg && isPair(a, neg.getX());
  }
  /// b cos + a sin, with the angles c and s of the first part or their other halves.
  bool matchSecond(Value v, Value a, Value b, Value c, Value s) {
    for (bool swap : {false, true}) {
      auto [bc, as] = operandsOf<nn::AddOp>(v, swap);
      for (bool swapB : {false, true})
        for (bool swapA : {false, true}) {
          auto [b2, c2] = bc ? operandsOf<nn::MulOp>(bc, swapB) : std::pair<Value, Value>();
          auto [a2, s2] = as ? operandsOf<nn::MulOp>(as, swapA) : std::pair<Value, Value>();
          if (b2 && a2 && b2 == b && a2 == a && (cos = joined(c, c2)) && (sin = joined(s, s2)))
            return true;
        }
    }
    return false;
  }
  /// The angles of which `first` and `second` are the parts: one for each pair where they are the same.
  Value joined(Value first, Value second) {
    if (first == second)
      return first;
    auto a = matchPart(first, shapes), b = matchPart(second, shapes);
    bool ok = a && b && a->x == b->x && !a->second && b->second && a->interleaved == interleaved && b->interleaved == interleaved;
    return ok && rankOf(a->x) == rankOf(first) ? a->x : Value();
  }
  /// That the angles broadcast to x follows from the shape of the result.
  bool isRotary() {
    Type type = elementTypeOf(result);
    auto dims = shapes.dims(result);
    if (!isa<FloatType>(type) || (!shapes.sameDims(x, result) && !isInPairs(shapes.dims(x), dims)) || !dims.back().isConst() || dims.back().value() % 2)
      return false;
    for (Value angles : {cos, sin}) {
      auto own = shapes.dims(angles);
      if (elementTypeOf(angles) != type || own.empty() || own.size() > dims.size() ||
          (own.back() != dims.back() && own.back() * 2 != dims.back()))
        return false;
    }
    return true;
  }

  FuncShapes &shapes;
  Value result;
};

template <typename OpTy, bool (Matcher::*match)()> struct RaiseRotary : RaisePattern<OpTy> {
  using RaisePattern<OpTy>::RaisePattern;
  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    Matcher m(this->shapes, op.getResult());
    if (!(m.*match)())
      return failure();
    Value x = reshapeTo(m.x, nn::Dims(this->shapes.dims(op.getResult())), rewriter, this->shapes, op.getLoc());
    if (!x)
      return failure();
    Value raised = nn::RotaryOp::create(rewriter, op.getLoc(), untyped(elementTypeOf(x)), x, m.cos, m.sin,
                                        m.interleaved ? rewriter.getUnitAttr() : UnitAttr());
    replaceRaised(rewriter, op, raised);
    return success();
  }
};

} // namespace

void addRotaryPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaiseRotary<nn::AddOp, &Matcher::matchSum>, RaiseRotary<nn::ConcatOp, &Matcher::matchParts>,
               RaiseRotary<nn::ReshapeOp, &Matcher::matchParts>>(patterns.getContext(), shapes);
}

} // namespace nnopt

//===- Attention.cpp - scaled dot-product attention written out -----------===//
//
// softmax(scale * q k^T + mask) v (Vaswani et al. 2017, equation 1), as exporters spell it: the scale on
// q, on k, on both (its root) or on the scores, several masks, added or by a Where, repeated key heads,
// and a Where that turns the NaN of a row without keys into zeros.
//
//===----------------------------------------------------------------------===//
#include "passes/raise-patterns/Match.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace nnopt {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Scores as a function of q k^T: softcap, scale and masks in the order in which they are applied.
struct Scores {
  nn::MatMulOp product;
  double scale = 1, softcap = 0;
  /// Added to the scores, or (bool) choosing scores; all in the dimensions of `product`.
  SmallVector<Value> added;
  struct Choice {
    Value condition;
    bool negated;
    double otherwise;
  };
  SmallVector<Choice> choices;
  /// Factor of all that was added before it.
  SmallVector<double> addedScale;
  SmallVector<Operation *> ops;
};

class Matcher {
public:
  Matcher(FuncShapes &shapes, RewriterBase &rewriter) : shapes(shapes), rewriter(rewriter) {}
  /// Raises attention whose last product is `root`. Says why not where it looks like one.
  bool raise(nn::MatMulOp root);

private:
  bool matchScores(Value v, Scores &s);
  bool keepsRows(Value from, Value to);
  bool place(Value &mask, ArrayRef<nn::Dim> space, nn::MatMulOp product);
  std::string whyNot(Scores &s, nn::SoftmaxOp softmax, nn::MatMulOp root);
  Value combineMasks(Scores &s, Location loc, std::optional<double> &maskValue);
  bool isCausal(Value mask, ArrayRef<nn::Dim> scores, bool &fromEnd);
  Value pullScale(Value v, double &scale, SmallVectorImpl<Operation *> &ops);
  Value swapLastTwo(Value v, Location loc);
  Value withoutRepeat(Value v, int64_t &group);
  Value rankFour(Value v, Location loc);

  FuncShapes &shapes;
  RewriterBase &rewriter;
};

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// Whether a mask leaves the dimensions of scores as they are. The number of keys need not be proven: the
/// product with the values takes exactly as many probabilities as there are values.
bool Matcher::keepsRows(Value from, Value to) {
  auto a = shapes.dims(from), b = shapes.dims(to);
  return a.size() == b.size() && !a.empty() && a.drop_back() == b.drop_back();
}

/// A mask that broadcasts to `space`, a view of the scores that only differs by dimensions of one element,
/// in the dimensions of the product.
bool Matcher::place(Value &mask, ArrayRef<nn::Dim> space, nn::MatMulOp product) {
  nn::Dims scores(shapes.dims(product.getResult())), dims(shapes.dims(mask));
  if (space.drop_back() == ArrayRef<nn::Dim>(scores).drop_back())
    return dims.size() <= scores.size();
  dims.insert(dims.begin(), space.size() - dims.size(), shapes.ctx.constant(1));
  nn::Dims placed;
  size_t from = 0;
  for (nn::Dim d : scores) {
    while (from < space.size() && space[from] != d && space[from].isConst(1) && dims[from].isConst(1))
      ++from;
    if (from < space.size() && space[from] == d)
      placed.push_back(dims[from++]);
    else if (d.isConst(1))
      placed.push_back(d);
    else
      return false;
  }
  for (; from < space.size(); ++from)
    if (!space[from].isConst(1) || !dims[from].isConst(1))
      return false;
  mask = reshapeTo(mask, placed, rewriter, shapes, mask.getLoc());
  return bool(mask);
}

/// Reads v as scores. A value that others use too has to be computed for them anyhow.
bool Matcher::matchScores(Value v, Scores &s) {
  Operation *op = v.getDefiningOp();
  if (!op || !v.hasOneUse())
    return false;
  auto descend = [&](Value x) {
    if (!matchScores(x, s))
      return false;
    s.ops.push_back(op);
    return true;
  };
  if (auto product = dyn_cast<nn::MatMulOp>(op)) {
    s.product = product;
    s.ops.push_back(op);
    return !product.getBias() && product.getEpilogue().empty() && !product.getTransposeA() &&
           rankOf(product.getA()) >= 2 && rankOf(product.getB()) >= 2;
  }
  if (isa<nn::ReshapeOp, nn::SqueezeOp, nn::UnsqueezeOp>(op))
    return descend(op->getOperand(0));
  if (isa<nn::MulOp, nn::DivOp>(op)) {
    for (unsigned i : {0u, 1u}) {
      auto factor = scalarOf(op->getOperand(1 - i));
      if (!factor || (isa<nn::DivOp>(op) && (i == 1 || *factor == 0)) || !shapes.sameDims(op->getOperand(i), v))
        continue;
      double f = isa<nn::DivOp>(op) ? 1 / *factor : *factor;
      auto tanh = op->getOperand(i).getDefiningOp<nn::TanhOp>();
      if (tanh && f > 0 && tanh->hasOneUse()) {
        // f tanh(s) = f tanh((f s) / f): a soft cap of f on f s.
        if (!descend(tanh.getX()) || s.softcap != 0 || !s.added.empty() || !s.choices.empty())
          return false;
        s.ops.push_back(tanh);
        s.softcap = f;
        s.scale *= f;
        return true;
      }
      if (!descend(op->getOperand(i)) || s.softcap != 0 || !s.choices.empty())
        return false;
      s.scale *= f;
      for (double &scale : s.addedScale)
        scale *= f;
      return true;
    }
    return false;
  }
  auto add = dyn_cast<nn::AddOp>(op);
  auto where = dyn_cast<nn::WhereOp>(op);
  if (!add && !where)
    return false;
  for (unsigned i : {0u, 1u}) {
    Value x = op->getOperand(where ? 1 + i : i), other = op->getOperand(where ? 2 - i : 1 - i);
    std::optional<double> otherwise = where ? scalarOf(other) : std::nullopt;
    Scores inner;
    if ((where && !otherwise) || !keepsRows(x, v) || !matchScores(x, inner))
      continue;
    Value mask = where ? where.getCondition() : other;
    if (!place(mask, shapes.dims(v), inner.product))
      return false;
    s = std::move(inner);
    s.ops.push_back(op);
    if (where) {
      s.choices.push_back({mask, i == 1, *otherwise});
    } else {
      s.added.push_back(mask);
      s.addedScale.push_back(1);
    }
    return true;
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

/// All masks as one: added values, or a bool mask whose other scores become `maskValue`.
Value Matcher::combineMasks(Scores &s, Location loc, std::optional<double> &maskValue) {
  Value sum;
  Type type = elementTypeOf(s.product.getResult());
  for (auto [mask, scale] : llvm::zip(s.added, s.addedScale)) {
    Value m = mask;
    if (scale != 1)
      m = nn::MulOp::create(rewriter, loc, untyped(type), m, makeNumbersOp(rewriter, loc, type, {}, {scale}, "scale"));
    sum = sum ? nn::AddOp::create(rewriter, loc, untyped(type), sum, m).getResult() : m;
  }
  Value chosen;
  Type boolean = rewriter.getI1Type();
  for (const Scores::Choice &choice : s.choices) {
    Value c = choice.condition;
    if (choice.negated)
      c = nn::LogicalNotOp::create(rewriter, loc, untyped(boolean), c);
    chosen = chosen ? nn::LogicalAndOp::create(rewriter, loc, untyped(boolean), chosen, c).getResult() : c;
    if (choice.otherwise != -infinity)
      maskValue = choice.otherwise;
  }
  if (!sum || !chosen)
    return sum ? sum : chosen;
  return nn::WhereOp::create(rewriter, loc, untyped(type), chosen, sum,
                             makeNumbersOp(rewriter, loc, type, {}, {-infinity}, "masked"));
}

/// Whether an added mask is 0 where the key is not later than the query (shifted), and -infinity elsewhere;
/// the lowest f32 counts as that. Slices of a constant table are looked through.
bool Matcher::isCausal(Value mask, ArrayRef<nn::Dim> scores, bool &fromEnd) {
  nn::Dims dims(shapes.dims(mask));
  nn::Dim queries = scores[scores.size() - 2], keys = scores.back();
  if (dims.size() < 2 || dims.back() != keys || dims[dims.size() - 2] != queries ||
      llvm::any_of(ArrayRef(dims).drop_back(2), [](nn::Dim d) { return !d.isConst(1); }))
    return false;
  nn::Dim start[2] = {shapes.ctx.constant(0), shapes.ctx.constant(0)};
  while (Operation *op = mask.getDefiningOp()) {
    if (auto slice = dyn_cast<nn::SliceOp>(op)) {
      auto *starts = shapes.ctx.content(slice.getStarts());
      auto axes = slice.getAxes() ? shapes.ctx.constantContent(slice.getAxes()) : std::nullopt;
      auto steps = slice.getSteps() ? shapes.ctx.constantContent(slice.getSteps()) : SmallVector<int64_t>{};
      if (!starts || (slice.getAxes() && !axes) || !steps || llvm::any_of(*steps, [](int64_t s) { return s != 1; }))
        return false;
      int64_t rank = rankOf(slice.getX());
      for (auto [i, begin] : llvm::enumerate(*starts)) {
        int64_t axis = axes ? (*axes)[i] : int64_t(i);
        axis = (axis < 0 ? axis + rank : axis) - (rank - 2);
        if (!begin.isAtLeast(0))
          return false;
        if (axis < 0) {
          if (!begin.isConst(0))
            return false;
          continue;
        }
        start[axis] = start[axis] + begin;
      }
      mask = slice.getX();
    } else if (isa<nn::UnsqueezeOp, nn::SqueezeOp, nn::ReshapeOp>(op) && shapes.dims(op->getOperand(0)).size() >= 2 &&
               shapes.dims(op->getOperand(0)).take_back(2) == shapes.dims(mask).take_back(2)) {
      mask = op->getOperand(0);
    } else {
      break;
    }
  }
  auto type = cast<RankedTensorType>(mask.getType());
  auto table = type.hasStaticShape() && type.getNumElements() <= (1 << 24) ? numbersOf(mask) : std::nullopt;
  if (!table || type.getNumElements() != type.getShape().take_back(2)[0] * type.getShape().back() || table->empty())
    return false;
  int64_t rows = type.getShape().take_back(2)[0], columns = type.getShape().back();
  // The first row says how far the diagonal is shifted.
  auto visible = [&](int64_t row, int64_t column) { return (*table)[row * columns + column] == 0; };
  int64_t shift = -1;
  while (shift + 1 < columns && visible(0, shift + 1))
    ++shift;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double m = (*table)[i * columns + j];
      if (j <= i + shift ? m != 0 : m > -3.4e38)
        return false;
    }
  // Key c0 + j <= query r0 + i + shift.
  nn::Dim distance = start[0] + shift - start[1];
  fromEnd = distance == keys - queries && !distance.isConst(0);
  return distance.isConst(0) || fromEnd;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

static bool isMovement(Operation *op) {
  return isa_and_nonnull<nn::TransposeOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::ExpandOp,
                         nn::SliceOp>(op);
}

/// Takes factors of an operand out, through operations that only move elements and have no other use.
Value Matcher::pullScale(Value v, double &scale, SmallVectorImpl<Operation *> &ops) {
  Value at = v;
  while (at.hasOneUse() && isMovement(at.getDefiningOp()))
    at = at.getDefiningOp()->getOperand(0);
  Operation *op = at.getDefiningOp();
  if (!at.hasOneUse() || !isa_and_nonnull<nn::MulOp, nn::DivOp>(op))
    return v;
  for (unsigned i : {0u, 1u}) {
    auto factor = scalarOf(op->getOperand(1 - i));
    Value x = op->getOperand(i);
    if (!factor || (isa<nn::DivOp>(op) && (i == 1 || *factor == 0)) || x.getType() != at.getType() ||
        !shapes.sameDims(x, at))
      continue;
    scale *= isa<nn::DivOp>(op) ? 1 / *factor : *factor;
    ops.push_back(op);
    rewriter.replaceAllUsesWith(at, x);
    return v == at ? x : v;
  }
  return v;
}

Value Matcher::swapLastTwo(Value v, Location loc) {
  SmallVector<int64_t> perm = llvm::to_vector(llvm::seq<int64_t>(0, rankOf(v)));
  if (auto transpose = v.getDefiningOp<nn::TransposeOp>()) {
    perm.assign(transpose.getPerm().begin(), transpose.getPerm().end());
    v = transpose.getX();
  }
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return isIdentity(perm) ? v
                          : nn::TransposeOp::create(rewriter, loc, untyped(elementTypeOf(v)), v,
                                                    rewriter.getDenseI64ArrayAttr(perm))
                                .getResult();
}

/// Keys or values [b, h, s, d] where v is [b, h * group, s, d] made of group copies of each head.
Value Matcher::withoutRepeat(Value v, int64_t &group) {
  group = 1;
  auto reshape = v.getDefiningOp<nn::ReshapeOp>();
  auto expand = reshape ? reshape.getX().getDefiningOp<nn::ExpandOp>() : nn::ExpandOp();
  if (!expand)
    return v;
  auto from = shapes.dims(expand.getX()), to = shapes.dims(expand.getResult()), flat = shapes.dims(v);
  if (from.size() != 5 || to.size() != 5 || flat.size() != 4 || !from[2].isConst(1) || !to[2].isConst())
    return v;
  for (unsigned i : {0u, 1u, 3u, 4u})
    if (from[i] != to[i])
      return v;
  if (flat[0] != to[0] || flat[1] != to[1] * to[2] || flat[2] != to[3] || flat[3] != to[4])
    return v;
  group = to[2].value();
  auto unsqueeze = expand.getX().getDefiningOp<nn::UnsqueezeOp>();
  if (unsqueeze && unsqueeze.getAxes() == ArrayRef<int64_t>{2})
    return unsqueeze.getX();
  return nn::SqueezeOp::create(rewriter, v.getLoc(), untyped(elementTypeOf(v)), expand.getX(),
                               rewriter.getDenseI64ArrayAttr({2}));
}

Value Matcher::rankFour(Value v, Location loc) {
  int64_t missing = 4 - rankOf(v);
  if (missing == 0)
    return v;
  return nn::UnsqueezeOp::create(
      rewriter, loc, untyped(elementTypeOf(v)), v,
      rewriter.getDenseI64ArrayAttr(llvm::to_vector(llvm::seq<int64_t>(0, missing))));
}

//===----------------------------------------------------------------------===//
// The whole
//===----------------------------------------------------------------------===//

/// p where v = where(is_nan(p), 0, p), else null.
static Value matchNaNToZero(Value v) {
  auto where = v.getDefiningOp<nn::WhereOp>();
  auto isNaN = where ? where.getCondition().getDefiningOp<nn::IsNaNOp>() : nn::IsNaNOp();
  if (!isNaN || !isScalar(where.getX(), 0) || where.getY() != isNaN.getX() || !isNaN->hasOneUse())
    return {};
  return isNaN.getX();
}

std::string Matcher::whyNot(Scores &s, nn::SoftmaxOp softmax, nn::MatMulOp root) {
  Type type = elementTypeOf(root.getResult());
  if (!type.isF32() && !type.isF64())
    return "the element type is not f32 or f64";
  if (root.getTransposeA() || root.getBias() || !root.getEpilogue().empty())
    return "the product with the values has a bias, an epilogue or transposed probabilities";
  auto q = shapes.dims(s.product.getA()), k = shapes.dims(s.product.getB()), v = shapes.dims(root.getB());
  if (q.size() > 4 || q.size() != k.size() || q.size() != v.size())
    return "q, k and v have different ranks, or more than 4 dimensions";
  if (!q.back().isConst() || !v[v.size() - (root.getTransposeB() ? 2 : 1)].isConst() || q.back().isConst(0))
    return "the size of a head is not static";
  for (auto [i, d] : llvm::enumerate(q.drop_back(2))) {
    bool isHead = q.size() == 4 && i == 1;
    bool sharedHead = isHead && k[i].isConst(1) && v[i].isConst(1) && d.isConst();
    if (!sharedHead && (k[i] != d || v[i] != d))
      return "q, k and v broadcast";
  }
  bool finite = false;
  for (const Scores::Choice &choice : s.choices)
    finite |= choice.otherwise != -infinity;
  if (finite && (s.choices.size() > 1 || !s.added.empty()))
    return "several masks, of which one sets scores to a number";
  return "";
}

bool Matcher::raise(nn::MatMulOp root) {
  Value p = root.getA();
  SmallVector<Operation *> ops;
  Value nanFree = matchNaNToZero(p);
  auto softmax = (nanFree ? nanFree : p).getDefiningOp<nn::SoftmaxOp>();
  if (!softmax || softmax.getLog() || softmax.getAxis() != rankOf(softmax.getX()) - 1)
    return false;
  Location loc = root.getLoc();
  rewriter.setInsertionPoint(root);
  Scores s;
  bool matched = matchScores(softmax.getX(), s);
  std::string why;
  int64_t uses = nanFree ? 2 : 1;
  if (!s.product)
    return false; // Softmax of something else.
  if (!matched)
    why = "the scores are not a product that is scaled and masked, or have other users";
  else if (std::distance(softmax->use_begin(), softmax->use_end()) != uses || !p.hasOneUse())
    why = "the probabilities have other users";
  else
    why = whyNot(s, softmax, root);
  if (!why.empty()) {
    missedRemark(loc, kRaisePass, "not-raised") << remark::add("nn.attention") << remark::reason("{0}", why);
    return false;
  }
  ops = s.ops;
  ops.push_back(softmax);
  if (nanFree)
    ops.push_back(p.getDefiningOp());

  Value q = s.product.getA(), k = s.product.getB(), v = root.getB();
  q = pullScale(q, s.scale, ops);
  k = pullScale(k, s.scale, ops);
  ops.push_back(root);
  loc = fusedLoc(ops);
  if (!s.product.getTransposeB())
    k = swapLastTwo(k, loc);
  if (root.getTransposeB())
    v = swapLastTwo(v, loc);
  int64_t keyGroup, valueGroup;
  Value oneKey = withoutRepeat(k, keyGroup), oneValue = withoutRepeat(v, valueGroup);
  if (keyGroup == valueGroup && keyGroup > 1 && shapes.dims(q)[1].isConst())
    k = oneKey, v = oneValue;

  std::optional<double> maskValue;
  Value mask = combineMasks(s, loc, maskValue);
  bool causal = false, fromEnd = false;
  if (mask && !elementTypeOf(mask).isInteger(1) && isCausal(mask, shapes.dims(s.product.getResult()), fromEnd)) {
    causal = true;
    mask = {};
  }
  int64_t rank = rankOf(q);
  auto flag = [&](bool on) { return on ? rewriter.getUnitAttr() : UnitAttr(); };
  Value result = nn::AttentionOp::create(
      rewriter, loc, untyped(elementTypeOf(q)), rankFour(q, loc), rankFour(k, loc), rankFour(v, loc), mask,
      rewriter.getF64FloatAttr(s.scale), flag(causal), flag(causal && fromEnd), rewriter.getF64FloatAttr(s.softcap),
      maskValue ? rewriter.getF64FloatAttr(*maskValue) : FloatAttr(), 
      nn::EmptyRowsAttr::get(rewriter.getContext(), nanFree ? nn::EmptyRows::nan_to_zero : nn::EmptyRows::nan),
      UnitAttr());
  passedRemark(loc, kRaisePass, "raised") << remark::add("nn.attention");
  if (rank < 4)
    result = nn::SqueezeOp::create(rewriter, loc, root.getType(), result,
                                   rewriter.getDenseI64ArrayAttr(llvm::to_vector(llvm::seq<int64_t>(0, 4 - rank))));
  rewriter.replaceOp(root, result);
  return true;
}

} // namespace

int64_t raiseAttention(func::FuncOp func, FuncShapes &shapes) {
  IRRewriter rewriter(func.getContext(), &shapes);
  SmallVector<nn::MatMulOp> roots;
  func.walk([&](nn::MatMulOp op) { roots.push_back(op); });
  Matcher matcher(shapes, rewriter);
  int64_t count = 0;
  for (nn::MatMulOp root : roots)
    count += matcher.raise(root);
  eraseDeadOps(func, rewriter);
  return count;
}

} // namespace nnopt

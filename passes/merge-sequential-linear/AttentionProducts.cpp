//===- AttentionProducts.cpp - products around attention ------------------===//
//
// With probabilities P of one head, (P (x Wv + bv)) Wo + bo = P (x Wv Wo + bv Wo + bo), since the rows of P sum to 1;
// and the scores (x Wq + bq) (y Wk + bk)^T are (x Wq Wk^T + bq Wk^T) y^T but for terms that are the same for all
// keys, which softmax does not see (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", names
// the two products OV and QK). Several heads would need a product each of full width.
//
//===----------------------------------------------------------------------===//
#include "passes/merge-sequential-linear/AttentionProducts.h"

#include "mlir/IR/IRMapping.h"
#include "passes/common/LinearPath.h"

using namespace mlir;

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "merge-sequential-linear";

/// A product of rows with constant weights.
struct Product {
  nn::MatMulOp op;
  LinearForm form;
};

class AttentionMerger {
public:
  AttentionMerger(nn::AttentionOp attention, FuncShapes &shapes, IRRewriter &rewriter)
      : attention(attention), shapes(shapes), rewriter(rewriter) {}
  bool mergeValues();
  bool mergeScores();

private:
  std::optional<Product> readProduct(Value v);
  std::optional<Product> producerOf(Value operand);
  std::optional<Product> readerOf(Value result);
  bool keepsRows(Operation *op);
  Value asRows(Value x, Value like);
  void replaceAttention(Value q, Value k, Value v, Location loc);

  nn::AttentionOp attention;
  FuncShapes &shapes;
  IRRewriter &rewriter;
};

/// Whether an operation gives the elements other dimensions, but for the last one.
bool AttentionMerger::keepsRows(Operation *op) {
  return isa_and_nonnull<nn::ReshapeOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::FlattenOp>(op) &&
         rankOf(op->getResult(0)) > 0 && shapes.dims(op->getOperand(0)).back() == shapes.dims(op->getResult(0)).back();
}

std::optional<Product> AttentionMerger::readProduct(Value v) {
  std::string why;
  auto matmul = v.getDefiningOp<nn::MatMulOp>();
  auto step = matmul ? readLinearStep(v, why) : std::nullopt;
  if (!step || matmul->getBlock() != attention->getBlock())
    return std::nullopt;
  Product product{matmul, LinearForm::identity(step->geometry.in, 0)};
  if (!applyStep(product.form, *step).empty())
    return std::nullopt;
  return product;
}

/// The product that makes an operand, which nobody else reads.
std::optional<Product> AttentionMerger::producerOf(Value operand) {
  while (operand.hasOneUse() && keepsRows(operand.getDefiningOp()))
    operand = operand.getDefiningOp()->getOperand(0);
  return operand.hasOneUse() ? readProduct(operand) : std::nullopt;
}

std::optional<Product> AttentionMerger::readerOf(Value result) {
  while (result.hasOneUse()) {
    Operation *user = *result.getUsers().begin();
    if (auto matmul = dyn_cast<nn::MatMulOp>(user); matmul && matmul.getA() == result)
      return readProduct(matmul.getResult());
    if (!keepsRows(user))
      break;
    result = user->getResult(0);
  }
  return std::nullopt;
}

/// x with the dimensions of `like`, but for the last one.
Value AttentionMerger::asRows(Value x, Value like) {
  nn::Dims dims(shapes.dims(like));
  dims.back() = shapes.dims(x).back();
  return reshapeTo(x, dims, rewriter, shapes, attention.getLoc());
}

void AttentionMerger::replaceAttention(Value q, Value k, Value v, Location loc) {
  IRMapping mapping;
  mapping.map(attention.getQ(), q);
  mapping.map(attention.getK(), k);
  mapping.map(attention.getV(), v);
  Operation *merged = rewriter.clone(*attention, mapping);
  merged->setLoc(loc);
  passedRemark(loc, kPass, "merged") << remark::metric("Operations", 3);
  attention->replaceAllUsesWith(merged);
  eraseUnused(attention, rewriter);
  attention = cast<nn::AttentionOp>(merged);
}

/// a b for a [n, m] and b [m, k]; either may be given transposed.
std::vector<double> multiply(ArrayRef<double> a, bool transposeA, ArrayRef<double> b, int64_t n, int64_t m, int64_t k) {
  std::vector<double> c(n * k, 0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      double left = transposeA ? a[j * n + i] : a[i * m + j];
      for (int64_t l = 0; l < k; ++l)
        c[i * k + l] += left * b[j * k + l];
    }
  return c;
}

/// The form of a product with the (transposed) weights of `second`, `out` elements, of what `first` makes.
LinearForm compose(const LinearForm &second, bool transposeSecond, const LinearForm &first, int64_t out) {
  LinearForm both = LinearForm::identity(first.in, 0);
  both.out = out;
  both.groups = 1;
  both.weights = multiply(second.weights, transposeSecond, first.weights, out, first.out, first.in);
  both.bias = multiply(second.weights, transposeSecond, first.bias, out, first.out, 1);
  return both;
}

bool AttentionMerger::mergeValues() {
  auto make = producerOf(attention.getV()), read = readerOf(attention.getResult());
  if (!make || !read)
    return false;
  int64_t width = make->form.out, out = read->form.out;
  auto miss = [&](const llvm::Twine &why) {
    missedRemark(read->op.getLoc(), kPass, "not-merged") << remark::reason("{0}", why.str());
    return false;
  };
  // Values of `width` elements become ones of `out`; the product behind goes away.
  if (out > width)
    return miss("merged with the product that makes the values, they would have " + llvm::Twine(out) +
                " elements instead of " + llvm::Twine(width));
  bool isShifted = llvm::any_of(read->form.bias, [](double b) { return b != 0; });
  if (isShifted && attention.getEmptyRows() != nn::EmptyRows::nan)
    return miss("rows of probabilities may be zero: they do not sum to 1");
  LinearForm both = compose(read->form, false, make->form, out);
  for (int64_t o = 0; o < out; ++o)
    both.bias[o] += read->form.bias[o];
  Location loc = fusedLoc({make->op, attention, read->op});
  rewriter.setInsertionPoint(attention);
  Value v = emitForm(rewriter, loc, both, make->op.getA(), untyped(elementTypeOf(attention.getV())));
  v = asRows(v, attention.getV());
  if (!v)
    return miss("the dimensions of the values are not known well enough");
  replaceAttention(attention.getQ(), attention.getK(), v, loc);
  rewriter.setInsertionPointAfter(attention);
  Value result = asRows(attention.getResult(), read->op.getResult());
  rewriter.replaceAllUsesWith(read->op.getResult(), result);
  eraseUnused(read->op, rewriter);
  return true;
}

bool AttentionMerger::mergeScores() {
  auto query = producerOf(attention.getQ()), key = producerOf(attention.getK());
  if (!query || !key || query->op == key->op)
    return false;
  int64_t width = query->form.out, out = key->form.in;
  auto miss = [&](const llvm::Twine &why) {
    missedRemark(query->op.getLoc(), kPass, "not-merged") << remark::reason("{0}", why.str());
    return false;
  };
  if (out > width)
    return miss("merged with the product that makes the keys, they would have " + llvm::Twine(out) +
                " elements instead of " + llvm::Twine(width));
  bool isShifted = llvm::any_of(key->form.bias, [](double b) { return b != 0; });
  if (isShifted && attention.getSoftcap().convertToDouble() != 0)
    return miss("the soft cap sees the shift of the keys");
  if (isShifted && attention.getMaskValue())
    return miss("scores that a mask replaces do not have the shift of the keys");
  LinearForm both = compose(key->form, true, query->form, out);
  Location loc = fusedLoc({query->op, key->op, attention});
  rewriter.setInsertionPoint(attention);
  Value q = emitForm(rewriter, loc, both, query->op.getA(), untyped(elementTypeOf(attention.getQ())));
  q = asRows(q, attention.getQ());
  Value k = asRows(key->op.getA(), attention.getK());
  if (!q || !k)
    return miss("the dimensions of queries or keys are not known well enough");
  replaceAttention(q, k, attention.getV(), loc);
  return true;
}

} // namespace

int64_t mergeAroundAttention(func::FuncOp func, FuncShapes &shapes, IRRewriter &rewriter) {
  SmallVector<nn::AttentionOp> attentions;
  func.walk([&](nn::AttentionOp op) {
    Type type = elementTypeOf(op.getResult());
    if ((type.isF32() || type.isF64()) && shapes.dims(op.getQ())[1].isConst(1) && shapes.dims(op.getK())[1].isConst(1))
      attentions.push_back(op);
  });
  int64_t count = 0;
  for (nn::AttentionOp op : attentions) {
    AttentionMerger merger(op, shapes, rewriter);
    count += merger.mergeValues();
    count += merger.mergeScores();
  }
  return count;
}

} // namespace nnopt

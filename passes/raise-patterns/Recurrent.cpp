//===- Recurrent.cpp - cells of an LSTM written out -----------------------===//
//
// c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), where i, f, g and o are quarters of
// W x + R h + b (Hochreiter and Schmidhuber 1997; with forget gates: Gers et al. 2000, equations 3 to 9).
//
//===----------------------------------------------------------------------===//
#include "passes/raise-patterns/Match.h"

using namespace mlir;

namespace nnopt {
namespace {

/// One quarter of the last dimension of `gates`.
struct Quarter {
  Value gates;
  int64_t number = -1;
};

std::optional<Quarter> matchQuarter(Value v, FuncShapes &shapes) {
  int64_t rank = rankOf(v);
  if (auto split = v.getDefiningOp<nn::SplitOp>()) {
    if (split.getNumResults() != 4 || split.getAxis() != rank - 1)
      return std::nullopt;
    for (Value part : split.getResults())
      if (!shapes.sameDims(part, v))
        return std::nullopt;
    return Quarter{split.getX(), cast<OpResult>(v).getResultNumber()};
  }
  auto slice = v.getDefiningOp<nn::SliceOp>();
  if (!slice || !slice.getAxes())
    return std::nullopt;
  auto starts = shapes.ctx.constantContent(slice.getStarts()), axes = shapes.ctx.constantContent(slice.getAxes());
  auto steps = slice.getSteps() ? shapes.ctx.constantContent(slice.getSteps()) : std::nullopt;
  nn::Dim all = shapes.dims(slice.getX()).back(), part = shapes.dims(v).back();
  bool ok = starts && axes && axes->size() == 1 && (axes->front() == rank - 1 || axes->front() == -1) &&
            (!slice.getSteps() || (steps && steps->front() == 1)) && part.isConst() && all == part * 4 &&
            starts->front() >= 0 && starts->front() % std::max<int64_t>(part.value(), 1) == 0;
  return ok ? std::optional(Quarter{slice.getX(), starts->front() / part.value()}) : std::nullopt;
}

/// W x of a sum, with its weight as [4 hidden, inputs].
struct Product {
  nn::MatMulOp op;
  std::vector<double> weight;
  int64_t inputs = 0;
};

struct RaiseLSTMCell : RaisePattern<nn::MulOp> {
  using RaisePattern::RaisePattern;
  LogicalResult matchAndRewrite(nn::MulOp op, PatternRewriter &rewriter) const override {
    for (unsigned i : {0u, 1u}) {
      auto out = op->getOperand(i).getDefiningOp<nn::SigmoidOp>();
      auto tanh = op->getOperand(1 - i).getDefiningOp<nn::TanhOp>();
      auto cell = tanh ? tanh.getX().getDefiningOp<nn::AddOp>() : nn::AddOp();
      if (out && cell && succeeded(raise(op, out, cell, rewriter)))
        return success();
    }
    return failure();
  }

private:
  LogicalResult raise(nn::MulOp op, nn::SigmoidOp out, nn::AddOp cell, PatternRewriter &rewriter) const;
  bool matchSum(Value v, SmallVectorImpl<Product> &products, std::vector<double> &bias) const;
};

/// Reads v as a sum of two products with constant weights, and constants.
bool RaiseLSTMCell::matchSum(Value v, SmallVectorImpl<Product> &products, std::vector<double> &bias) const {
  auto addConstant = [&](Value c) {
    auto numbers = vectorAlong(c, 1, 2, bias.size());
    if (numbers)
      for (auto [sum, x] : llvm::zip(bias, *numbers))
        sum += x;
    return numbers.has_value();
  };
  if (auto add = v.getDefiningOp<nn::AddOp>())
    return add->hasOneUse() && matchSum(add.getLhs(), products, bias) && matchSum(add.getRhs(), products, bias);
  if (isConstant(v))
    return addConstant(v);
  auto product = v.getDefiningOp<nn::MatMulOp>();
  if (!product || !product->hasOneUse() || product.getTransposeA() || !product.getEpilogue().empty() ||
      product.getAZero() || product.getBZero() || rankOf(product.getA()) != 2 || rankOf(product.getB()) != 2 ||
      products.size() == 2)
    return false;
  auto numbers = numbersOf(product.getB());
  if (!numbers || (product.getBias() && !addConstant(product.getBias())))
    return false;
  int64_t rows = bias.size(), inputs = int64_t(numbers->size()) / rows;
  if (!product.getTransposeB()) {
    std::vector<double> turned(numbers->size());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < inputs; ++c)
        turned[r * inputs + c] = (*numbers)[c * rows + r];
    numbers = std::move(turned);
  }
  products.push_back({product, std::move(*numbers), inputs});
  return true;
}

LogicalResult RaiseLSTMCell::raise(nn::MulOp op, nn::SigmoidOp out, nn::AddOp cell, PatternRewriter &rewriter) const {
  Type type = elementTypeOf(op.getResult());
  if ((!type.isF32() && !type.isF64()) || rankOf(op.getResult()) != 2)
    return failure();
  // The two products of the cell: one has a tanh, the other the state.
  nn::SigmoidOp in, forget;
  nn::TanhOp candidate;
  Value state;
  for (Value part : {cell.getLhs(), cell.getRhs()}) {
    auto mul = part.getDefiningOp<nn::MulOp>();
    if (!mul)
      return failure();
    Value a = mul.getLhs(), b = mul.getRhs();
    if (!a.getDefiningOp<nn::SigmoidOp>())
      std::swap(a, b);
    auto gate = a.getDefiningOp<nn::SigmoidOp>();
    auto tanh = b.getDefiningOp<nn::TanhOp>();
    if (!gate)
      return failure();
    if (tanh && !candidate && matchQuarter(tanh.getX(), shapes))
      in = gate, candidate = tanh;
    else
      forget = gate, state = b;
  }
  if (!in || !forget)
    return failure();
  // Order of the gates of nn.lstm: input, output, forget, cell.
  SmallVector<int64_t> order;
  Value gates;
  for (Value v : {in.getX(), out.getX(), forget.getX(), candidate.getX()}) {
    auto quarter = matchQuarter(v, shapes);
    if (!quarter || (gates && gates != quarter->gates) || llvm::is_contained(order, quarter->number))
      return failure();
    gates = quarter->gates;
    order.push_back(quarter->number);
  }
  nn::Dim width = shapes.dims(state).back();
  if (rankOf(gates) != 2 || rankOf(state) != 2 || !width.isConst() || !shapes.sameDims(state, op.getResult()) ||
      shapes.dims(gates).back() != width * 4)
    return failure();
  int64_t hidden = width.value();
  SmallVector<Product> products;
  std::vector<double> bias(4 * hidden, 0);
  Operation *sum = gates.getDefiningOp<nn::AddOp>();
  if (!sum || !matchSum(sum->getOperand(0), products, bias) || !matchSum(sum->getOperand(1), products, bias) ||
      products.size() != 2)
    return failure();
  // Either may be the recurrent one if its input is as wide as the state.
  if (products[1].inputs != hidden)
    std::swap(products[0], products[1]);
  if (products[1].inputs != hidden)
    return failure();
  for (Product &p : products)
    if (shapes.dims(p.op.getA())[0] != shapes.dims(state)[0])
      return failure();

  rewriter.setInsertionPoint(cell);
  Location loc = fusedLoc({products[0].op, products[1].op, cell, op});
  auto ordered = [&](ArrayRef<double> rows, int64_t length) {
    std::vector<double> result;
    for (int64_t number : order)
      llvm::append_range(result, rows.slice(number * hidden * length, hidden * length));
    return result;
  };
  auto weight = [&](const Product &p, StringRef name) {
    return makeNumbersOp(rewriter, loc, type, {1, 4 * hidden, p.inputs}, ordered(p.weight, p.inputs), name);
  };
  std::vector<double> biases = ordered(bias, 1);
  biases.resize(8 * hidden, 0);
  auto first = rewriter.getDenseI64ArrayAttr({0});
  auto step = [&](Value v) -> Value { return nn::UnsqueezeOp::create(rewriter, loc, untyped(type), v, first); };
  Value x = step(products[0].op.getA()), h = step(products[1].op.getA()), c = step(state);
  SmallVector<Type> types(3, untyped(type));
  auto lstm = nn::LSTMOp::create(
      rewriter, loc, types, x, weight(products[0], "lstm_w"), weight(products[1], "lstm_r"),
      makeNumbersOp(rewriter, loc, type, {1, 8 * hidden}, biases, "lstm_bias"), Value(), h, c, Value(),
      nn::DirectionAttr::get(rewriter.getContext(), nn::Direction::forward),
      rewriter.getStrArrayAttr({"sigmoid", "tanh", "tanh"}), FloatAttr(), UnitAttr());
  auto last = [&](Value v) -> Value { return nn::SqueezeOp::create(rewriter, loc, untyped(type), v, first); };
  Value newCell = last(lstm.getYC()), newState = last(lstm.getYH());
  passedRemark(loc, kRaisePass, "raised") << remark::add("nn.lstm");
  rewriter.replaceOp(cell, newCell);
  rewriter.replaceOp(op, newState);
  return success();
}

} // namespace

void addRecurrentPatterns(RewritePatternSet &patterns, FuncShapes &shapes) {
  patterns.add<RaiseLSTMCell>(patterns.getContext(), shapes);
}

} // namespace nnopt

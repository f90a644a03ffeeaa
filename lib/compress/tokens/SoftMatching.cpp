//===- SoftMatching.cpp - which tokens are merged ---------------------------===//

#include "lib/compress/tokens/SoftMatching.h"

using namespace mlir;

namespace nnopt::compress {

/// A constant matrix of conditions, `holds(row, column)`.
static Value conditions(OpBuilder &b, Location loc, int64_t size, llvm::function_ref<bool(int64_t, int64_t)> holds) {
  SmallVector<bool> values;
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j)
      values.push_back(holds(i, j));
  return nn::ConstantOp::create(b, loc, DenseElementsAttr::get(RankedTensorType::get({size, size}, b.getI1Type()), ArrayRef<bool>(values)));
}

MergedTokens mergeTokens(OpBuilder &b, Location loc, Value x, Value metric, Value size, int64_t count) {
  int64_t tokens = shapeOf(x)[1], left = tokens - count;
  Type f32 = b.getF32Type(), i1 = b.getI1Type(), i64 = b.getI64Type();
  auto make = [&](auto op, Type type, auto &&...args) -> Value {
    return decltype(op)::create(b, loc, untyped(type), std::forward<decltype(args)>(args)...)->getResult(0);
  };
  auto number = [&](double v) { return makeNumbersOp(b, loc, f32, {}, {v}, "number"); };
  auto asRow = [&](Value column) { return make(nn::ReshapeOp(), f32, column, makeIntsOp(b, loc, {0, 1, tokens}), UnitAttr()); };
  auto sum = [&](Value v) {
    return make(nn::ReduceOp(), f32, v, Value(), nn::ReduceKindAttr::get(b.getContext(), nn::ReduceKind::sum), b.getDenseI64ArrayAttr({2}), b.getBoolAttr(true));
  };

  // How much each token is like its best partner: less than any cosine for those that stay.
  Value unit = make(nn::LpNormOp(), f32, metric, b.getI64IntegerAttr(2), b.getI64IntegerAttr(2), b.getF64FloatAttr(1e-12));
  Value alike = nn::MatMulOp::create(b, loc, untyped(f32), unit, unit, Value(), Value(), Value(), ValueRange(), false, true).getResult();
  Value pairs = conditions(b, loc, tokens, [](int64_t i, int64_t j) { return i > 0 && i % 2 == 0 && j % 2 == 1; });
  alike = make(nn::WhereOp(), f32, pairs, alike, number(-3));
  auto best = nn::TopKOp::create(b, loc, TypeRange{untyped(f32), untyped(i64)}, alike, makeIntsOp(b, loc, {1}), b.getI64IntegerAttr(2),
                                 b.getUnitAttr(), b.getUnitAttr());

  // The place of each token by falling similarity: how many come before it.
  Value of = best.getValues(), others = asRow(of);
  Value earlier = conditions(b, loc, tokens, [](int64_t i, int64_t j) { return j < i; });
  Value ties = make(nn::LogicalAndOp(), i1, make(nn::EqualOp(), i1, others, of), earlier);
  Value before = make(nn::LogicalOrOp(), i1, make(nn::GreaterOp(), i1, others, of), ties);
  Value rank = sum(make(nn::CastOp(), f32, before, TypeAttr::get(f32)));
  // The first ones go where their partners are, the others close the ranks.
  Value goes = make(nn::LessOp(), i1, rank, number(double(count)));
  Value ofPartner = make(nn::GatherElementsOp(), f32, rank, best.getIndices(), b.getI64IntegerAttr(1));
  Value row = make(nn::SubOp(), f32, make(nn::WhereOp(), f32, goes, ofPartner, rank), number(double(count)));

  // Weights of the tokens in each row, and their means.
  std::vector<double> rows;
  for (int64_t i = 0; i < left; ++i)
    rows.push_back(double(i));
  Value isIn = make(nn::EqualOp(), i1, asRow(row), makeNumbersOp(b, loc, f32, {left, 1}, rows, "rows"));
  Value weights = make(nn::WhereOp(), f32, isIn, size ? asRow(size) : number(1), number(0));
  Value sizes = sum(weights);
  Value sums = nn::MatMulOp::create(b, loc, untyped(f32), weights, x, Value(), Value(), Value(), ValueRange(), false, false).getResult();
  return {make(nn::DivOp(), f32, sums, sizes), sizes, make(nn::CastOp(), i64, row, TypeAttr::get(i64))};
}

} // namespace nnopt::compress

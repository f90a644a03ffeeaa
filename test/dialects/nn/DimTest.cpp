//===- DimTest.cpp - symbolic dimensions ----------------------------------===//
#include "dialects/nn/Dim.h"

#include <gtest/gtest.h>
#include <random>

using namespace nnopt::nn;

namespace {

struct DimTest : testing::Test {
  DimContext ctx;
  Dim b = ctx.symbol("batch"), s = ctx.symbol("seq"), t = ctx.symbol("t");
  Dim c(int64_t v) { return ctx.constant(v); }
};

TEST_F(DimTest, EqualExpressionsAreTheSameNode) {
  EXPECT_EQ(b * s + 1, s * b + 1);
  EXPECT_EQ((b + s) * (b + s), b * b + b * s * 2 + s * s);
  EXPECT_EQ(b + s - b, s);
  EXPECT_EQ(b - b, c(0));
  EXPECT_NE(b, s);
  EXPECT_EQ(ctx.symbol("seq"), s);
  EXPECT_EQ((b * 4).typeDim(), mlir::ShapedType::kDynamic);
  EXPECT_EQ(c(7).typeDim(), 7);
}

TEST_F(DimTest, PrintsInNormalOrder) {
  EXPECT_EQ((s * b * 4 + 1).str(), "4*batch*seq + 1");
  EXPECT_EQ((b - s - 2).str(), "batch - seq - 2");
  EXPECT_EQ(((s + 1).floorDiv(2)).str(), "((seq + 1) floordiv 2)");
  EXPECT_EQ(b.broadcast(s).str(), "broadcast(batch, seq)");
  EXPECT_EQ(Dim().str(), "?");
}

TEST_F(DimTest, DividesExactly) {
  EXPECT_EQ((s * 12).floorDiv(12), s);
  EXPECT_EQ((b * s * 768).floorDiv(768), b * s);
  EXPECT_EQ((b * s * 768).floorDiv(b * 12), s * 64);
  EXPECT_EQ((b * s + b).floorDiv(s + 1), b);
  EXPECT_EQ((b * s * 8 + b * 4).floorDiv(s * 2 + 1), b * 4);
  EXPECT_EQ((b * s * 6).floorDiv(b * 4), (s * 3).floorDiv(2));
}

TEST_F(DimTest, DividesWithRest) {
  EXPECT_EQ((s * 12 + 13).floorDiv(12), s + 1);
  EXPECT_EQ((s * 12 - 1).floorDiv(12), s - 1);
  EXPECT_EQ((s * 7).floorDiv(2), s * 3 + s.floorDiv(2));
  EXPECT_EQ((s * 2 + 1).floorDiv(4), s.floorDiv(2));
  EXPECT_EQ(s.floorDiv(2).floorDiv(3), s.floorDiv(6));
  EXPECT_EQ(s.ceilDiv(2).ceilDiv(2), s.ceilDiv(4));
  EXPECT_EQ(s.ceilDiv(1), s);
  EXPECT_EQ((s * 2).ceilDiv(2), s);
  EXPECT_EQ(c(7).ceilDiv(2), c(4));
  EXPECT_EQ(c(-7).floorDiv(2), c(-4));
}

TEST_F(DimTest, Remainders) {
  EXPECT_EQ((s * 12 + 5).mod(c(12)), c(5));
  EXPECT_EQ((s * 4).mod(c(2)), c(0));
  EXPECT_EQ((b * s).mod(b), c(0));
  EXPECT_EQ(c(-3).mod(c(5)), c(2));
  EXPECT_EQ((s * 4).mod(c(6)), (s * 2).mod(c(3)) * 2);
  ctx.setBounds(t, 0, 7);
  EXPECT_EQ(t.mod(c(8)), t);
  EXPECT_EQ((s * 8 + t).floorDiv(8), s);
}

TEST_F(DimTest, MinAndMaxUseBounds) {
  EXPECT_EQ(s.max(c(0)), s);
  EXPECT_EQ(s.min(c(0)), c(0));
  EXPECT_EQ(s.min(s + 3), s);
  EXPECT_EQ(s.max(s + 3), s + 3);
  EXPECT_EQ(s.min(b), b.min(s));
  EXPECT_EQ(s.min(c(std::numeric_limits<int64_t>::max())), s);
  EXPECT_EQ(s.min(b).min(s), s.min(b));
  ctx.setBounds(s, 1, 512);
  EXPECT_EQ(s.min(c(1024)), s);
  EXPECT_EQ(s.min(c(100)).kind(), Dim::Kind::Min);
}

TEST_F(DimTest, Broadcast) {
  EXPECT_EQ(s.broadcast(c(1)), s);
  EXPECT_EQ(c(1).broadcast(s), s);
  EXPECT_EQ(s.broadcast(c(4)), c(4));
  EXPECT_EQ(s.broadcast(s), s);
  EXPECT_EQ(s.broadcast(b), b.broadcast(s));
  EXPECT_EQ(s.broadcast(b).broadcast(b), s.broadcast(b));
  // Something even is not 1, so it is the result; a table of 512 rows cut to s rows has s.
  EXPECT_EQ(s.broadcast(s.ceilDiv(2) * 2), s.ceilDiv(2) * 2);
  EXPECT_EQ(s.broadcast(s.min(c(512))), s);
  EXPECT_EQ(s.min(c(1)).broadcast(s).kind(), Dim::Kind::Broadcast);
  ctx.setBounds(t, 2, std::nullopt);
  EXPECT_EQ(t.broadcast(s), t);
}

TEST_F(DimTest, LowerBounds) {
  EXPECT_TRUE((b * s + 3).isAtLeast(3));
  EXPECT_FALSE((b * s - 1).isAtLeast(0));
  EXPECT_TRUE((s - s.min(c(5))).isAtLeast(0));
  EXPECT_TRUE((s - s.floorDiv(2)).isAtLeast(0));
  EXPECT_TRUE((s.max(b) - b).isAtLeast(0));
  EXPECT_TRUE((s - s.mod(c(4))).isAtLeast(0));
  ctx.setBounds(s, 1, std::nullopt);
  EXPECT_TRUE(s.isAtLeast(1));
  EXPECT_TRUE((b * s - b).isAtLeast(0));
  EXPECT_FALSE(s.isAtLeast(2));
}

TEST_F(DimTest, FreshSymbolsHaveNewNames) {
  EXPECT_EQ(ctx.freshSymbol("loop").str(), "loop");
  EXPECT_EQ(ctx.freshSymbol("loop").str(), "loop_1");
  EXPECT_EQ(ctx.freshSymbol("batch").str(), "batch_1");
  EXPECT_EQ(ctx.symbols().size(), 6u);
}

/// An expression of random operations together with its value.
struct Sample {
  Dim dim;
  int64_t value;
};

Sample randomExpression(DimContext &ctx, std::mt19937 &rng,
                        const std::vector<std::pair<Dim, int64_t>> &symbols, int depth) {
  auto pick = [&](int n) { return int(rng() % n); };
  if (depth == 0 || pick(5) == 0) {
    if (pick(2)) {
      auto &symbol = symbols[pick(symbols.size())];
      return {symbol.first, symbol.second};
    }
    int64_t v = pick(9);
    return {ctx.constant(v), v};
  }
  Sample x = randomExpression(ctx, rng, symbols, depth - 1);
  Sample y = randomExpression(ctx, rng, symbols, depth - 1);
  int64_t k = 1 + pick(8);
  auto floorDiv = [](int64_t a, int64_t b) { return a / b - (a % b != 0 && a < 0); };
  switch (pick(8)) {
  case 0:
    return {x.dim + y.dim, x.value + y.value};
  case 1:
    return {x.dim - y.dim, x.value - y.value};
  case 2:
    return {x.dim * y.dim, x.value * y.value};
  case 3:
    return {x.dim.floorDiv(k), floorDiv(x.value, k)};
  case 4:
    return {x.dim.mod(ctx.constant(k)), x.value - floorDiv(x.value, k) * k};
  case 5:
    return {x.dim.min(y.dim), std::min(x.value, y.value)};
  case 6:
    return {x.dim.max(y.dim), std::max(x.value, y.value)};
  default:
    // Division by an expression needs a positive one.
    if (y.value < 1 || !y.dim.isAtLeast(1))
      return x;
    return {x.dim.floorDiv(y.dim), floorDiv(x.value, y.value)};
  }
}

// Whatever is simplified, the value stays the same, and proved bounds hold.
TEST(DimProperty, SimplificationKeepsValues) {
  std::mt19937 rng(20240607);
  for (int round = 0; round < 4000; ++round) {
    DimContext ctx;
    std::vector<std::pair<Dim, int64_t>> symbols;
    for (const char *name : {"a", "b", "c"}) {
      int64_t low = rng() % 3, value = low + rng() % 9;
      symbols.push_back({ctx.symbol(name), value});
      ctx.setBounds(symbols.back().first, low,
                    rng() % 2 ? std::optional<int64_t>(value + rng() % 4) : std::nullopt);
    }
    Sample sample = randomExpression(ctx, rng, symbols, 4);
    auto value = ctx.evaluate(sample.dim, [&](Dim symbol) -> std::optional<int64_t> {
      for (auto &[dim, v] : symbols)
        if (dim == symbol)
          return v;
      return std::nullopt;
    });
    ASSERT_TRUE(value.has_value()) << sample.dim.str();
    ASSERT_EQ(*value, sample.value) << sample.dim.str();
    ASSERT_FALSE(sample.dim.isAtLeast(sample.value + 1)) << sample.dim.str();
  }
}

} // namespace

//===- ConstantsTest.cpp - constant tensors -------------------------------===//
#include "dialects/nn/Constants.h"

#include "dialects/nn/NN.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace nnopt::nn;

namespace {

struct ConstantsTest : testing::Test {
  MLIRContext ctx;
  Builder b{&ctx};
  ConstantsTest() { ctx.loadDialect<NNDialect>(); }

  template <typename T> ElementsAttr make(Type element, std::vector<T> values) {
    auto type = RankedTensorType::get({(int64_t)values.size()}, element);
    return makeConstant(type, {reinterpret_cast<char *>(values.data()), values.size() * sizeof(T)},
                        "weights");
  }
};

TEST_F(ConstantsTest, SmallConstantsAreDense) {
  ElementsAttr attr = makeInts(&ctx, {2, 2}, {1, -2, 3, 4});
  EXPECT_TRUE(isa<DenseElementsAttr>(attr));
  auto data = ConstantData::get(attr);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->asInt(1), -2);
  EXPECT_EQ(data->asDouble(3), 4.0);
  EXPECT_EQ(data->size(), 4);
}

TEST_F(ConstantsTest, LargeConstantsAreBlobs) {
  std::vector<float> values(100);
  for (int i = 0; i < 100; ++i)
    values[i] = i * 0.5f;
  ElementsAttr attr = makeFloats(&ctx, {10, 10}, values, "w");
  EXPECT_TRUE(isa<DenseResourceElementsAttr>(attr));
  auto data = ConstantData::get(attr);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->asFloats(), values);
}

TEST_F(ConstantsTest, ViewsAreNotCopied) {
  // On purpose at an odd address, as tensors in model files are.
  std::vector<char> file(1 + 4 * 100);
  float x = 2.5f;
  std::memcpy(file.data() + 1 + 4 * 7, &x, 4);
  auto type = RankedTensorType::get({100}, b.getF32Type());
  auto data = ConstantData::get(makeConstantView(type, ArrayRef<char>(file).drop_front(1), "view"));
  ASSERT_TRUE(data);
  EXPECT_EQ(data->bytes().data(), file.data() + 1);
  EXPECT_EQ(data->asDouble(7), 2.5);
}

TEST_F(ConstantsTest, BoolsAreBytes) {
  auto type = RankedTensorType::get({3}, b.getI1Type());
  auto data = ConstantData::get(makeConstant(type, ArrayRef<char>{1, 0, 1}, "mask"));
  ASSERT_TRUE(data);
  EXPECT_EQ(data->bytes(), (ArrayRef<char>{1, 0, 1}));
  auto splat = ConstantData::get(DenseElementsAttr::get(type, true));
  EXPECT_EQ(splat->bytes(), (ArrayRef<char>{1, 1, 1}));
}

TEST_F(ConstantsTest, SplatsAreExpanded) {
  auto type = RankedTensorType::get({4}, b.getF32Type());
  auto data = ConstantData::get(DenseElementsAttr::get(type, 1.5f));
  EXPECT_EQ(data->asFloats(), (std::vector<float>{1.5f, 1.5f, 1.5f, 1.5f}));
  // Equal elements are stored as one as well.
  EXPECT_EQ(ConstantData::get(makeInts(&ctx, {3}, {7, 7, 7}))->asInt(2), 7);
}

TEST_F(ConstantsTest, HalfPrecision) {
  auto half = ConstantData::get(
      make<uint16_t>(b.getF16Type(), {0x3c00, 0xc000, 0x0001, 0x7c00, 0x7e00, 0x8000, 0x7bff}));
  EXPECT_EQ(half->asDouble(0), 1.0);
  EXPECT_EQ(half->asDouble(1), -2.0);
  EXPECT_EQ(half->asDouble(2), std::ldexp(1.0, -24));
  EXPECT_TRUE(std::isinf(half->asDouble(3)));
  EXPECT_TRUE(std::isnan(half->asDouble(4)));
  EXPECT_TRUE(std::signbit(half->asDouble(5)));
  EXPECT_EQ(half->asDouble(6), 65504.0);
  auto brain = ConstantData::get(make<uint16_t>(b.getBF16Type(), {0x3f80, 0xc040}));
  EXPECT_EQ(brain->asFloats(), (std::vector<float>{1.0f, -3.0f}));
}

TEST_F(ConstantsTest, HalvesAreRounded) {
  // Every half is itself, but for the payload of NaN; what lies between two goes to the nearest, halves to even.
  std::vector<uint16_t> bits;
  for (unsigned i = 0; i < 0x7c00; ++i)
    bits.insert(bits.end(), {uint16_t(i), uint16_t(i | 0x8000)});
  auto halves = ConstantData::get(make<uint16_t>(b.getF16Type(), bits));
  std::vector<float> values = halves->asFloats(), between;
  auto again = ConstantData::get(makeHalves(&ctx, {int64_t(values.size())}, values, "halves"));
  EXPECT_EQ(again->bytes(), halves->bytes());
  for (size_t i = 0; i + 2 < values.size(); i += 2)
    between.push_back((values[i] + values[i + 2]) / 2);
  auto rounded = ConstantData::get(makeHalves(&ctx, {int64_t(between.size())}, between, "halves"))->asFloats();
  for (size_t i = 0; i < between.size(); ++i)
    ASSERT_EQ(rounded[i], values[2 * (i + i % 2)]);
  auto ends = ConstantData::get(makeHalves(&ctx, {5}, {-3.4e38f, 65520.0f, INFINITY, NAN, 1e-9f}, "halves"));
  EXPECT_EQ(ends->asDouble(0), -65504.0);
  EXPECT_EQ(ends->asDouble(1), 65504.0);
  EXPECT_TRUE(std::isinf(ends->asDouble(2)));
  EXPECT_TRUE(std::isnan(ends->asDouble(3)));
  EXPECT_EQ(ends->asDouble(4), 0.0);
}

TEST_F(ConstantsTest, SignednessDecidesTheValue) {
  auto u8 =
      ConstantData::get(make<uint8_t>(IntegerType::get(&ctx, 8, IntegerType::Unsigned), {200, 3}));
  EXPECT_EQ(u8->asInt(0), 200);
  auto s8 = ConstantData::get(make<uint8_t>(b.getI8Type(), {200, 3}));
  EXPECT_EQ(s8->asInt(0), -56);
}

TEST_F(ConstantsTest, EmptyTensors) {
  auto data = ConstantData::get(makeInts(&ctx, {0}, {}));
  ASSERT_TRUE(data);
  EXPECT_EQ(data->size(), 0);
  EXPECT_TRUE(data->bytes().empty());
}

} // namespace

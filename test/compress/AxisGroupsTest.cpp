//===- AxisGroupsTest.cpp - what can be removed, and with what --------------===//

#include "lib/compress/prune/PrunableGroups.h"
#include "lib/driver/Driver.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace nnopt;
using namespace nnopt::compress;

namespace {

class AxisGroupsTest : public ::testing::Test {
protected:
  AxisGroupsTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  void parse(const std::string &body) {
    module = parseSourceString<ModuleOp>(body, &context);
    ASSERT_TRUE(module);
    main = module->lookupSymbol<func::FuncOp>("main");
    shapes = std::make_unique<FuncShapes>(main);
    ASSERT_TRUE(succeeded(shapes->infer()));
    groups = std::make_unique<AxisGroups>(main, *shapes);
  }
  /// Groups as text: units x (dimension: indices of the first unit), for values that are no
  /// constants.
  std::string text() {
    std::string result;
    for (const AxisGroups::Group &group : groups->groups()) {
      result += std::to_string(group.units.size()) + ":";
      for (const AxisGroups::Member &m : group.units.front()) {
        const AxisGroups::Place &p = groups->places()[m.place];
        if (p.user)
          continue;
        result += " " + std::to_string(p.dim) + "[";
        for (int64_t i : m.indices)
          result += (i == m.indices.front() ? "" : ",") + std::to_string(i);
        result += "]";
      }
      result += "\n";
    }
    return result;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  func::FuncOp main;
  std::unique_ptr<FuncShapes> shapes;
  std::unique_ptr<AxisGroups> groups;
};

TEST_F(AxisGroupsTest, FusedProductsSplitIntoHeads) {
  // 3 x 2 heads x 2: who picks q, k and v fixes the 3; a head is two elements of each third.
  parse(R"(
func.func @main(%x: tensor<1x5x4xf32>) -> tensor<1x5x4xf32> {
  %w = nn.constant dense<1.0> : tensor<4x12xf32>
  %o = nn.constant dense<1.0> : tensor<4x4xf32>
  %split = nn.constant dense<[0, 0, 3, 2, 2]> : tensor<5xi64>
  %merge = nn.constant dense<[0, 0, 4]> : tensor<3xi64>
  %i0 = nn.constant dense<0> : tensor<i64>
  %i1 = nn.constant dense<1> : tensor<i64>
  %i2 = nn.constant dense<2> : tensor<i64>
  %0 = nn.matmul %x, %w : (tensor<1x5x4xf32>, tensor<4x12xf32>) -> tensor<1x5x12xf32>
  %1 = nn.reshape %0, %split : (tensor<1x5x12xf32>, tensor<5xi64>) -> tensor<1x5x3x2x2xf32>
  %2 = nn.transpose %1 {perm = array<i64: 2, 0, 3, 1, 4>} : (tensor<1x5x3x2x2xf32>) -> tensor<3x1x2x5x2xf32>
  %q = nn.gather %2, %i0 {axis = 0 : i64} : (tensor<3x1x2x5x2xf32>, tensor<i64>) -> tensor<1x2x5x2xf32>
  %k = nn.gather %2, %i1 {axis = 0 : i64} : (tensor<3x1x2x5x2xf32>, tensor<i64>) -> tensor<1x2x5x2xf32>
  %v = nn.gather %2, %i2 {axis = 0 : i64} : (tensor<3x1x2x5x2xf32>, tensor<i64>) -> tensor<1x2x5x2xf32>
  %a = nn.attention %q, %k, %v {scale = 1.0 : f64} : (tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>, tensor<1x2x5x2xf32>) -> tensor<1x2x5x2xf32>
  %b = nn.transpose %a {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x5x2xf32>) -> tensor<1x5x2x2xf32>
  %c = nn.reshape %b, %merge : (tensor<1x5x2x2xf32>, tensor<3xi64>) -> tensor<1x5x4xf32>
  %y = nn.matmul %c, %o : (tensor<1x5x4xf32>, tensor<4x4xf32>) -> tensor<1x5x4xf32>
  return %y : tensor<1x5x4xf32>
})");
  EXPECT_EQ(text(), "2: 2[0,1,4,5,8,9] 3[0] 2[0] 1[0] 1[0] 1[0] 1[0] 2[0] 2[0,1]\n");
  // Half of the heads are half of all products but the one for q k^T, which has none with
  // constants.
  PrunedWork work(main, *groups, *shapes, [](nn::Dim) { return 1; });
  double all = 5 * 4 * 12 + 2 * 5 * 5 * (2 + 2) + 5 * 4 * 4;
  EXPECT_DOUBLE_EQ(work.after({0}), all);
  EXPECT_DOUBLE_EQ(work.after({1}), all / 2);
}

TEST_F(AxisGroupsTest, SumsJoinChannelsAndConcatenationsKeepThemApart) {
  parse(R"(
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %a = nn.constant dense<1.0> : tensor<2x3xf32>
  %b = nn.constant dense<2.0> : tensor<2x4xf32>
  %c = nn.constant dense<1.0> : tensor<7x1xf32>
  %0 = nn.matmul %x, %a : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %1 = nn.matmul %x, %a : (tensor<?x2xf32>, tensor<2x3xf32>) -> tensor<?x3xf32>
  %2 = nn.add %0, %1 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %3 = nn.matmul %x, %b : (tensor<?x2xf32>, tensor<2x4xf32>) -> tensor<?x4xf32>
  %4 = nn.concat %2, %3 {axis = 1 : i64} : (tensor<?x3xf32>, tensor<?x4xf32>) -> tensor<?x7xf32>
  %y = nn.matmul %4, %c : (tensor<?x7xf32>, tensor<7x1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
})");
  EXPECT_EQ(text(), "3: 1[0] 1[0] 1[0] 1[0]\n4: 1[0] 1[3]\n");
  // What the first layer makes and what the last one reads.
  std::vector<LinearLayer> layers;
  for (Operation &op : main.getBody().front())
    if (auto layer = LinearLayer::get(&op))
      layers.push_back(*layer);
  std::vector<Refusal> refused;
  // Too few to lose 4 at once.
  EXPECT_TRUE(findPrunable(*groups, layers, {}, refused).empty());
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_NE(refused[0].reason.find("too few"), std::string::npos);
}

TEST_F(AxisGroupsTest, BarriersAndFixedAxesHaveReasons) {
  parse(R"(
func.func @main(%x: tensor<2x2xf32>) -> tensor<2x8xf32> {
  %a = nn.constant dense<1.0> : tensor<2x8xf32>
  %b = nn.constant dense<1.0> : tensor<8x8xf32>
  %0 = nn.matmul %x, %a : (tensor<2x2xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = nn.softmax %0 {axis = 1 : i64} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = nn.matmul %1, %b : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<2x8xf32>
  %3 = nn.transpose %2 {perm = array<i64: 1, 0>} : (tensor<2x8xf32>) -> tensor<8x2xf32>
  %4 = nn.matmul %2, %3 : (tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<2x2xf32>
  %5 = nn.inverse %4 : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %y = nn.matmul %5, %2 : (tensor<2x2xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
})");
  EXPECT_EQ(text(), "");
  ASSERT_EQ(groups->barriers().size(), 1u);
  EXPECT_EQ(groups->barriers()[0].op->getName().getStringRef(), "nn.inverse");
  Operation *first = &*std::next(main.getBody().front().begin(), 2);
  auto out = groups->placeOf(first, nn::AxisTies::result(0, 1));
  ASSERT_TRUE(out);
  ASSERT_TRUE(groups->fixedBy(*out, 0));
  EXPECT_TRUE(isa<nn::SoftmaxOp>(*groups->fixedBy(*out, 0)));
}

} // namespace

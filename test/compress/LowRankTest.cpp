//===- LowRankTest.cpp - layers in stages, blocks left out ------------------===//

#include "lib/compress/Technique.h"
#include "lib/driver/Driver.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <random>

using namespace mlir;
using namespace nnopt;
using namespace nnopt::compress;

namespace {

Matrix normal(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> d;
  return Matrix::NullaryExpr(rows, columns, [&] { return d(rng); });
}

/// An nn.constant of a matrix.
std::string constant(const std::string &name, const Matrix &m) {
  std::string type = std::to_string(m.rows()) + "x" + std::to_string(m.cols()) + "xf32",
              text = name + " = nn.constant dense<[";
  char number[32];
  for (int64_t r = 0; r < m.rows(); ++r) {
    text += r ? ", [" : "[";
    for (int64_t c = 0; c < m.cols(); ++c) {
      std::snprintf(number, sizeof number, "%s%.9e", c ? ", " : "", double(m(r, c)));
      text += number;
    }
    text += "]";
  }
  return text + "]> : tensor<" + type + ">\n";
}

class LowRankTest : public ::testing::Test {
protected:
  LowRankTest() : context(registry(), MLIRContext::Threading::DISABLED) {
    context.loadAllAvailableDialects();
  }
  static DialectRegistry registry() {
    DialectRegistry r;
    registerAllDialects(r);
    return r;
  }
  func::FuncOp parse(const std::string &text) {
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    return module->lookupSymbol<func::FuncOp>("main");
  }
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

/// Moments of rows x, and of d that they stand for.
std::shared_ptr<Gram> momentsOf(const Matrix &x, const Matrix &d) {
  auto gram = std::make_shared<Gram>();
  float share = 1.0f / float(x.rows());
  gram->h = x.transpose() * x * share;
  gram->cross = d.transpose() * x * share;
  gram->dense = d.transpose() * d * share;
  gram->mean = x.colwise().mean();
  gram->denseMean = d.colwise().mean();
  gram->rows = x.rows();
  return gram;
}

/// Queries, keys and values of one input: three matrices, each of rank 16, that look at the same 16
/// directions.
std::string threeProducts() {
  Matrix common = normal(64, 16, 1);
  std::string text = "func.func @main(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, "
                     "tensor<?x32xf32>, tensor<?x32xf32>) {\n";
  for (int i = 0; i < 3; ++i) {
    std::string n = std::to_string(i);
    text += constant("%w" + n, common * normal(16, 32, 2 + i) / 8) + "%" + n +
            " = nn.matmul %x, %w" + n +
            " : (tensor<?x64xf32>, tensor<64x32xf32>) -> tensor<?x32xf32>\n";
  }
  return text + "return %0, %1, %2 : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>\n}";
}

TEST_F(LowRankTest, SharesTheFirstStage) {
  func::FuncOp main = parse(threeProducts());
  std::unique_ptr<Technique> technique = createLowRankTechnique();
  EXPECT_EQ(technique->configure("50%"), "");
  std::vector<Refusal> refused;
  std::vector<Site> sites = technique->sites(main, refused);
  ASSERT_EQ(sites.size(), 3u);
  Matrix x = normal(500, 64, 9);
  Observations observations;
  for (Site &site : sites)
    observations.setGram(site.op, momentsOf(x, x));
  technique->plan(sites, observations);
  std::vector<Option> options;
  for (Site &site : sites) {
    ASSERT_EQ(technique->options(site, observations).size(), 1u);
    options.push_back(technique->options(site, observations)[0]);
    EXPECT_EQ(technique->check(site.op, options.back()), "");
    // 16 x (64 + 96) parameters of 6,144: alone, each could keep only rank 8.
    EXPECT_EQ(options.back().name, "matrix-16");
    EXPECT_EQ(*matrixOf(options.back().tensors, "stage0"), *matrixOf(options[0].tensors, "stage0"));
    LayerWeights original = LinearLayer::get(site.op)->weights();
    EXPECT_LT(observations.gram(site.op)->relativeError(
                  original, *technique->weights(site.op, options.back())),
              1e-8);
  }
  // Solved anew, the first stage is still that of the others, and errors of what comes before are
  // made up for.
  Matrix mixed = x * (Matrix::Identity(64, 64) + 0.05 * normal(64, 64, 10));
  std::shared_ptr<Gram> gram = momentsOf(mixed, x);
  LayerWeights original = LinearLayer::get(sites[1].op)->weights();
  double before = gram->relativeError(original, *technique->weights(sites[1].op, options[1]));
  ASSERT_TRUE(technique->refit(sites[1].op, options[1], *gram));
  EXPECT_LT(gram->relativeError(original, *technique->weights(sites[1].op, options[1])),
            0.9 * before);
  EXPECT_EQ(*matrixOf(options[1].tensors, "stage0"), *matrixOf(options[0].tensors, "stage0"));
  // Alone, the layer undoes the mixing.
  options[1].parameters.erase("shared_first");
  ASSERT_TRUE(technique->refit(sites[1].op, options[1], *gram));
  EXPECT_LT(gram->relativeError(original, *technique->weights(sites[1].op, options[1])), 1e-4);
}

TEST_F(LowRankTest, WrongOptions) {
  func::FuncOp main = parse(threeProducts());
  std::unique_ptr<Technique> technique = createLowRankTechnique();
  for (const char *spec : {"", "50", "0%", "100%", "half%", "-5%"})
    EXPECT_NE(technique->configure(spec), "") << spec;
  std::vector<Refusal> refused;
  Operation *op = technique->sites(main, refused)[0].op;
  auto option = [](nlohmann::json parameters, Matrix first, Matrix second, int64_t bias) {
    return Option{"",
                  "",
                  parameters,
                  {{"stage0", arrayOf(first)},
                   {"stage1", arrayOf(second)},
                   {"bias", arrayOf(Vector(Vector::Zero(bias)))}}};
  };
  nlohmann::json good = {{"structure", "matrix"}, {"ranks", {8}}};
  Matrix first = Matrix::Zero(8, 64), second = Matrix::Zero(32, 8);
  EXPECT_EQ(technique->check(op, option(good, first, second, 32)), "");
  EXPECT_NE(technique->check(op, option(good, first, second, 31)), "");
  EXPECT_NE(technique->check(op, option(good, Matrix::Zero(8, 63), second, 32)), "");
  EXPECT_NE(
      technique->check(op, option({{"structure", "matrix"}, {"ranks", {9}}}, first, second, 32)),
      "");
  EXPECT_NE(
      technique->check(op, option({{"structure", "matrix"}, {"ranks", {8, 8}}}, first, second, 32)),
      "");
  EXPECT_NE(
      technique->check(op, option({{"structure", "spatial"}, {"ranks", {8}}}, first, second, 32)),
      "");
  EXPECT_NE(technique->check(
                op, option({{"structure", "tucker"}, {"ranks", {-1, 3}}}, first, second, 32)),
            "");
  EXPECT_NE(technique->check(op, option({{"structure", 3}}, first, second, 32)), "");
  EXPECT_NE(technique->check(op, Option{"", "", good, {}}), "");
}

/// Two blocks on tokens, of one of which another output needs the layer, and sums that are no blocks.
TEST_F(LowRankTest, BlocksThatMayGo) {
  func::FuncOp main = parse(R"(
func.func @main(%x: tensor<?x4x2xf32>) -> (tensor<?x4x2xf32>, tensor<?x4x2xf32>) {
  %w = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %h = nn.matmul %x, %w : (tensor<?x4x2xf32>, tensor<2x2xf32>) -> tensor<?x4x2xf32>
  %r = nn.relu %h : (tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  %y = nn.add %x, %r : (tensor<?x4x2xf32>, tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  %e = nn.exp %y : (tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  %n = nn.add %e, %y : (tensor<?x4x2xf32>, tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  %g = nn.matmul %n, %w : (tensor<?x4x2xf32>, tensor<2x2xf32>) -> tensor<?x4x2xf32>
  %t = nn.tanh %g : (tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  %z = nn.add %t, %n : (tensor<?x4x2xf32>, tensor<?x4x2xf32>) -> tensor<?x4x2xf32>
  return %z, %g : tensor<?x4x2xf32>, tensor<?x4x2xf32>
})");
  std::unique_ptr<Technique> technique = createDropLayerTechnique();
  std::vector<Refusal> refused;
  std::vector<Site> sites = technique->sites(main, refused);
  ASSERT_EQ(sites.size(), 1u);
  EXPECT_EQ(sites[0].inside.size(), 2u);
  EXPECT_EQ(sites[0].regressor, main.getArgument(0));

  // What is linear is found.
  Matrix x = normal(300, 2, 1), map = normal(2, 2, 2), shift = normal(1, 2, 3);
  Matrix y = (x * map.transpose()).rowwise() + shift.row(0);
  Observations observations;
  observations.setGram(sites[0].op, momentsOf(x, y));
  std::vector<Option> options = technique->options(sites[0], observations);
  ASSERT_EQ(options.size(), 2u);
  EXPECT_EQ(options[0].name, "drop");
  EXPECT_LT((*matrixOf(options[1].tensors, "map") - map).cwiseAbs().maxCoeff(), 1e-2);
  EXPECT_LT((matrixOf(options[1].tensors, "shift")->transpose() - shift).cwiseAbs().maxCoeff(),
            1e-2);
  IRRewriter rewriter(&context);
  EXPECT_EQ(technique->apply(rewriter, sites[0].op, options[0]), main.getArgument(0));

  EXPECT_EQ(technique->check(sites[0].op, options[1]), "");
  EXPECT_NE(technique->check(sites[0].inside[0], options[0]), "");
  EXPECT_NE(technique->check(sites[0].op, Option{"half", "", {}, {}}), "");
  options[1].tensors.erase("shift");
  EXPECT_NE(technique->check(sites[0].op, options[1]), "");
}

} // namespace

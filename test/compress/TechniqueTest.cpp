//===- TechniqueTest.cpp - the interface serves other techniques ------------===//
//
// Two small techniques that have nothing to do with quantization go through candidates, the switch
// model, costs and recipes: one that prunes weights and one that splits a matrix product in two
// (low rank).
//
//===----------------------------------------------------------------------===//

#include "lib/compress/Calibrate.h"
#include "lib/compress/LayerCost.h"
#include "lib/compress/OutputError.h"
#include "lib/compress/Recipe.h"
#include "lib/compress/SwitchModel.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstdio>
#include <unistd.h>

using namespace mlir;
using namespace nnopt;
using namespace nnopt::compress;

namespace {

std::vector<Site> matmuls(func::FuncOp func) {
  std::vector<Site> sites;
  SiteNames names;
  for (nn::MatMulOp op : func.getBody().front().getOps<nn::MatMulOp>())
    if (isConstant(op.getB()))
      sites.push_back({op, names.of(op), {op.getA()}, Value(), /*wantsGram=*/true, {}});
  return sites;
}

/// Zeros the smallest weights.
class Prune : public Technique {
public:
  StringRef name() const override { return "prune"; }
  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &) const override {
    return matmuls(func);
  }
  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    EXPECT_GT(observations.of(site.observed[0]).count(), 0);
    return {{"half", "", {{"share", 0.5}}, {}}, {"most", "", {{"share", 0.75}}, {}}};
  }
  std::string check(Operation *op, const Option &o) const override {
    return o.parameters.contains("share") ? "" : "no share";
  }
  Value apply(RewriterBase &rewriter, Operation *op, const Option &o) const override {
    return LinearLayer::get(op)->withWeights(rewriter, *weights(op, o));
  }
  std::optional<LayerWeights> weights(Operation *op, const Option &o) const override {
    LayerWeights w = LinearLayer::get(op)->weights();
    std::vector<float> sorted;
    for (float v : w.weights.reshaped())
      sorted.push_back(std::fabs(v));
    llvm::sort(sorted);
    float threshold = sorted[size_t(double(sorted.size()) * o.parameters["share"].get<double>())];
    w.weights = w.weights.unaryExpr([&](float v) { return std::fabs(v) < threshold ? 0 : v; });
    return w;
  }
};

/// W [k, n] as two factors: here the first column times ones, which is exact for matrices of equal
/// columns.
class RankOne : public Technique {
public:
  StringRef name() const override { return "rank-one"; }
  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &) const override {
    return matmuls(func);
  }
  std::vector<Option> options(const Site &, const Observations &) const override {
    return {{"factors", "", nlohmann::json::object(), {}}};
  }
  std::string check(Operation *, const Option &) const override { return ""; }
  Value apply(RewriterBase &rewriter, Operation *op, const Option &) const override {
    auto matmul = cast<nn::MatMulOp>(op);
    int64_t k = shapeOf(matmul.getB())[0], n = shapeOf(matmul.getB())[1];
    std::vector<double> w = *numbersOf(matmul.getB()), column;
    for (int64_t i = 0; i < k; ++i)
      column.push_back(w[i * n]);
    rewriter.setInsertionPoint(op);
    Location loc = op->getLoc();
    Type f32 = rewriter.getF32Type();
    Value first = makeNumbersOp(rewriter, loc, f32, {k, 1}, column, "first");
    Value second = makeNumbersOp(rewriter, loc, f32, {1, n}, std::vector<double>(n, 1), "second");
    Value inner = nn::MatMulOp::create(rewriter, loc, untyped(f32), matmul.getA(), first, Value(),
                                       Value(), Value(), ValueRange(), false, false)
                      .getResult();
    return nn::MatMulOp::create(rewriter, loc, untyped(f32), inner, second, matmul.getBias(),
                                Value(), Value(), ValueRange(), false, false)
        .getResult();
  }
};

const char *kModel = R"(
func.func @main(%x: tensor<?x4xf32> {nn.name = "x", nn.dims = ["batch", 4]}) -> (tensor<?x2xf32> {nn.name = "y"}) {
  %w = nn.constant dense<[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]> : tensor<4x2xf32>
  %v = nn.constant dense<[[1.0, 0.5], [-2.0, 0.25]]> : tensor<2x2xf32>
  %mean = nn.reduce %x {kind = #nn.reduce_kind<mean>, axes = array<i64: 1>, keep_dims = true} : (tensor<?x4xf32>) -> tensor<?x1xf32>
  %first = nn.matmul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %0 = nn.add %first, %mean : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %relu = nn.relu %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %1 = nn.mul %relu, %mean : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %2 = nn.matmul %1, %v : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %2 : tensor<?x2xf32>
})";

class TechniqueTest : public ::testing::Test {
protected:
  TechniqueTest() : context(registry(), MLIRContext::Threading::DISABLED) {
    context.loadAllAvailableDialects();
    module = parseSourceString<ModuleOp>(kModel, &context);
    std::vector<float> x;
    for (int i = 0; i < 40 * 4; ++i)
      x.push_back(float(i % 7));
    std::string error;
    path = "compress-test-" + std::to_string(getpid()) + ".npz";
    EXPECT_TRUE(npz::write(path, {{"x", 'f', 4, {40, 4}, x.data()}}, error)) << error;
  }
  ~TechniqueTest() override { std::remove(path.c_str()); }
  static DialectRegistry registry() {
    DialectRegistry r;
    registerAllDialects(r);
    return r;
  }
  func::FuncOp main() { return module->lookupSymbol<func::FuncOp>("main"); }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::string path;
};

TEST_F(TechniqueTest, GoThroughTheEngine) {
  Techniques techniques;
  techniques.push_back(std::make_unique<Prune>());
  techniques.push_back(std::make_unique<RankOne>());
  CompileSettings settings;
  std::vector<Refusal> refused;
  std::vector<Candidate> candidates;
  llvm::SmallVector<Value> taps;
  std::vector<LinearLayer> layers;
  std::vector<std::pair<Technique *, Site>> found;
  for (auto &t : techniques)
    for (Site &site : t->sites(main(), refused)) {
      found.push_back({t.get(), site});
      candidateAt(candidates, site);
    }
  ASSERT_EQ(candidates.size(), 2u); // both techniques offer something at each product
  for (Candidate &c : candidates) {
    taps.push_back(c.site.observed[0]);
    layers.push_back(*LinearLayer::get(c.site.op));
  }
  settings.quickly = true;
  TappedModel tapped(*module, taps, settings);
  Dataset data(path, main());
  EXPECT_EQ(data.usable(), 40);
  Observations observations;
  TappedModel::Wanted wanted;
  wanted.layers = layers;
  tapped.observe(data, wanted, observations, [](double) {});
  EXPECT_EQ(observations[taps[0]].count(), 40 * 4);
  auto shapes = tapped.shapes(data);
  EXPECT_EQ(shapes[taps[1]], (std::vector<int64_t>{1, 2}));
  for (auto &[technique, site] : found)
    for (Option &o : technique->options(site, observations))
      candidateAt(candidates, site).offers.push_back({technique, site.name, o});
  ASSERT_EQ(candidates[0].offers.size(), 3u); // prune half, prune most, factors

  SwitchModel model(*module, candidates, settings, SwitchModel::Computes::All);
  auto first = [&](const Choice &choice) { return (*model.run(data, 0, 32, choice))[0].at(2); };
  double original = first({-1, -1});
  EXPECT_GT(model.siteError(0, -1), 0);
  EXPECT_TRUE(model.changesWeights(0, 0));
  EXPECT_FALSE(model.changesWeights(0, 2));
  EXPECT_EQ(model.siteError(0, 2), 0); // equal columns
  EXPECT_GT(model.siteError(1, 2), 0);
  EXPECT_NE(first({1, -1}), original);
  EXPECT_NEAR(first({2, -1}), original, 1e-5 * std::fabs(original));

  // The same by branches, and in parts: what passes between them, and the mean of the input, is all that the second one needs.
  SwitchModel branches(*module, candidates, settings);
  ASSERT_EQ(branches.partCount(), 2u);
  EXPECT_EQ(branches.partOf(0), 0u);
  EXPECT_EQ(branches.partOf(1), 1u);
  std::vector<Choice> choices;
  for (int a = -1; a < 3; ++a)
    for (int b = -1; b < 3; ++b)
      choices.push_back({a, b});
  std::vector<double> errors = outputErrors(branches, choices, data, {0, 40});
  EXPECT_EQ(errors[0], 0);
  for (auto [choice, error] : llvm::zip(choices, errors)) {
    ErrorSum alone;
    for (int64_t begin : {0, 32}) {
      int64_t count = data.countAt(begin);
      std::vector<HostTensor> reference = std::move(*model.run(data, begin, count, {-1, -1}));
      std::vector<HostTensor> wanted = std::move(*model.run(data, begin, count, choice));
      alone.add(reference, wanted);
      HostTensor state = branches.runParts(0, 1, data, begin, count, choice, nullptr);
      branches.runParts(1, 2, data, begin, count, choice, &state);
      const HostTensor &y = (*branches.outputs())[0];
      ASSERT_EQ(y.shape, wanted[0].shape);
      for (int64_t e = 0; e < y.count(); ++e)
        EXPECT_NEAR(y.at(e), wanted[0].at(e), 1e-5 * (1 + std::fabs(wanted[0].at(e))));
    }
    EXPECT_NEAR(error, alone.relative(), 1e-5 * (1 + error));
  }

  // Moments of the first product's rows, and the errors that they predict.
  const Gram *gram = observations.gram(candidates[0].site.op);
  ASSERT_TRUE(gram);
  EXPECT_EQ(gram->rows, 40);
  double square = 0, mean = 0;
  for (int i = 0; i < 40; ++i) {
    square += (i * 4 + 1) % 7 * ((i * 4 + 1) % 7) / 40.0;
    mean += (i * 4 + 1) % 7 / 40.0;
  }
  EXPECT_NEAR(gram->h(1, 1), square, 1e-4);
  EXPECT_NEAR(gram->mean(1), mean, 1e-5);
  auto predicted = [&](int offer) {
    return gram->relativeError(
        layers[0].weights(),
        *techniques[0]->weights(layers[0].op(), candidates[0].offers[offer].option));
  };
  EXPECT_GT(predicted(0), 0);
  EXPECT_GT(predicted(1), predicted(0));

  // Products of bf16 are an option where the target has them.
  for (bool bf16 : {false, true}) {
    std::unique_ptr<Technique> quantize = createQuantizeTechnique();
    cpu::Target target;
    target.bf16 = bf16;
    quantize->setTarget(target);
    std::vector<Option> options = quantize->options(quantize->sites(main(), refused)[0], observations);
    EXPECT_EQ(llvm::count_if(options, [](const Option &o) { return o.name == "bf16-products"; }), bf16 ? 1 : 0);
  }

  LayerCosts costs(settings);
  const LayerCosts::Measured &before = costs.of(candidates[0].site.op, {}, nullptr, shapes);
  const LayerCosts::Measured &after = costs.of(candidates[0].site.op, {}, &candidates[0].offers[2], shapes);
  costs.settle();
  EXPECT_GT(before.milliseconds, 0);
  EXPECT_GT(after.milliseconds, 0);

  // Arrays go into a file beside the recipe.
  Recipe recipe;
  recipe.steps.push_back({"prune", candidates[0].offers[1].site, candidates[0].offers[1].option});
  recipe.steps[0].option.tensors["mask"] = arrayOf(Matrix(Matrix::Ones(2, 3)));
  double expected = first({1, -1});
  std::string file = path + ".json";
  recipe.write(file);
  Recipe again = Recipe::read(file);
  EXPECT_EQ(again.text(), recipe.text());
  EXPECT_EQ(*matrixOf(again.steps[0].option.tensors, "mask"), Matrix(Matrix::Ones(2, 3)));
  std::string error;
  EXPECT_TRUE(npz::write(file + ".npz", {{"0/mask", 'f', 4, {1}, "0000"}}, error));
  EXPECT_THROW(Recipe::read(file), ToolError);
  std::remove((file + ".npz").c_str());
  EXPECT_THROW(Recipe::read(file), ToolError);
  std::remove(file.c_str());
  applyRecipe(*module, again, techniques);
  CompiledGraph replayed(*module, settings, 1);
  EXPECT_EQ(replayed.run(data.inputs(0, 32))[0].at(2), expected);
  again.steps[0].site = "elsewhere";
  EXPECT_THROW(applyRecipe(*module, again, techniques), ToolError);
}

/// A convolution's rows are the patches under its kernel.
TEST_F(TechniqueTest, RowsOfConvolutions) {
  const char *text = R"(
func.func @main(%x: tensor<1x2x3x4xf32> {nn.name = "x"}) -> (tensor<1x1x2x2xf32> {nn.name = "y"}) {
  %w = nn.constant dense<[[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]]> : tensor<1x2x2x2xf32>
  %y = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 1 : i64}
      : (tensor<1x2x3x4xf32>, tensor<1x2x2x2xf32>) -> tensor<1x1x2x2xf32>
  return %y : tensor<1x1x2x2xf32>
})";
  auto parsed = parseSourceString<ModuleOp>(text, &context);
  auto conv =
      *parsed->lookupSymbol<func::FuncOp>("main").getBody().front().getOps<nn::ConvOp>().begin();
  LinearLayer layer = *LinearLayer::get(conv);
  EXPECT_EQ(layer.columns(), 8);
  HostTensor x("x", OnnxFloat, {1, 2, 3, 4});
  for (int i = 0; i < 24; ++i)
    reinterpret_cast<float *>(x.data())[i] = float(i + 1);
  CompiledGraph graph(*parsed, {}, 1);
  std::vector<HostTensor> inputs;
  inputs.emplace_back("x", OnnxFloat, std::vector<int64_t>{1, 2, 3, 4});
  std::memcpy(inputs[0].data(), x.data(), x.bytes());
  const HostTensor &y = graph.run(std::move(inputs))[0];
  EXPECT_EQ(layer.rowCount(x.shape), 4);
  Matrix product = layer.rowsOf(x, 1) * layer.weights().weights.transpose();
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(product(i, 0), y.at(i));
  EXPECT_EQ(layer.rowsOf(x, 3).rows(), 2);
  EXPECT_EQ(layer.rowsOf(x, 3).row(1), layer.rowsOf(x, 1).row(3));
}

/// Each group of a convolution is a matrix; the rows of its result and of what a sum adds to it
/// belong to those of the activation.
TEST_F(TechniqueTest, RowsOfGroupsAndSums) {
  const char *text = R"(
func.func @main(%x: tensor<2x4x3x3xf32> {nn.name = "x"}) -> (tensor<2x4x3x3xf32> {nn.name = "y"}) {
  %w = nn.constant dense<[[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]], [[[5.0]], [[6.0]]], [[[7.0]], [[8.0]]]]> : tensor<4x2x1x1xf32>
  %c = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64}
      : (tensor<2x4x3x3xf32>, tensor<4x2x1x1xf32>) -> tensor<2x4x3x3xf32>
  %y = nn.add %c, %x : (tensor<2x4x3x3xf32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  return %y : tensor<2x4x3x3xf32>
})";
  auto parsed = parseSourceString<ModuleOp>(text, &context);
  auto main = parsed->lookupSymbol<func::FuncOp>("main");
  nn::ConvOp conv = *main.getBody().front().getOps<nn::ConvOp>().begin();
  EXPECT_FALSE(LinearLayer::get(conv));
  LinearLayer layer = *LinearLayer::get(conv, nullptr, Groups::Taken);
  EXPECT_EQ(layer.groups(), 2);
  EXPECT_EQ(layer.columns(), 2);
  EXPECT_EQ(besideInSum(conv->getResult(0)), main.getArgument(0));
  EXPECT_FALSE(besideInSum((*main.getBody().front().getOps<nn::AddOp>().begin())->getResult(0)));
  std::vector<HostTensor> inputs;
  inputs.emplace_back("x", OnnxFloat, std::vector<int64_t>{2, 4, 3, 3});
  HostTensor x("x", OnnxFloat, {2, 4, 3, 3});
  for (int i = 0; i < 72; ++i)
    reinterpret_cast<float *>(x.data())[i] = float(i * i % 11);
  std::memcpy(inputs[0].data(), x.data(), x.bytes());
  CompiledGraph graph(*parsed, {}, 1);
  const HostTensor &y = graph.run(std::move(inputs))[0];
  Matrix w = layer.weights().weights;
  for (int64_t step : {1, 4}) {
    Matrix sum = layer.resultRowsOf(x, step), expected = layer.resultRowsOf(y, step);
    for (int64_t g = 0; g < 2; ++g)
      sum.middleCols(2 * g, 2) += layer.rowsOf(x, step, g) * w.middleRows(2 * g, 2).transpose();
    EXPECT_EQ(sum, expected);
  }
}

} // namespace

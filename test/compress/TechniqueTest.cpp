//===- TechniqueTest.cpp - the interface serves other techniques ------------===//
//
// Two small techniques that have nothing to do with quantization go through candidates, the switch model, costs and
// recipes: one that prunes weights and one that splits a matrix product in two (low rank).
//
//===----------------------------------------------------------------------===//

#include "lib/compress/Calibrate.h"
#include "lib/compress/LayerCost.h"
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
      sites.push_back({op, names.of(op), {op.getA()}, Value()});
  return sites;
}

/// Zeros the smallest weights.
class Prune : public Technique {
public:
  StringRef name() const override { return "prune"; }
  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &) const override { return matmuls(func); }
  std::vector<Option> options(const Site &site, const Observations &observations) const override {
    EXPECT_GT(observations.find(site.observed[0])->second.count(), 0);
    return {{"half", "", {{"share", 0.5}}}, {"most", "", {{"share", 0.75}}}};
  }
  std::string check(Operation *op, const Option &o) const override { return o.parameters.contains("share") ? "" : "no share"; }
  Value apply(RewriterBase &rewriter, Operation *op, const Option &o) const override {
    auto matmul = cast<nn::MatMulOp>(op);
    std::vector<double> w = *numbersOf(matmul.getB()), sorted;
    for (double v : w)
      sorted.push_back(std::fabs(v));
    llvm::sort(sorted);
    double threshold = sorted[size_t(double(sorted.size()) * o.parameters["share"].get<double>())];
    for (double &v : w)
      v = std::fabs(v) < threshold ? 0 : v;
    rewriter.setInsertionPoint(op);
    Value pruned = makeNumbersOp(rewriter, op->getLoc(), rewriter.getF32Type(), shapeOf(matmul.getB()), w, "pruned");
    nn::LinearOp linear = matmul;
    return linear.cloneWith(rewriter, op->getLoc(), matmul.getA(), pruned, matmul.getBias())->getResult(0);
  }
};

/// W [k, n] as two factors: here the first column times ones, which is exact for matrices of equal columns.
class RankOne : public Technique {
public:
  StringRef name() const override { return "rank-one"; }
  std::vector<Site> sites(func::FuncOp func, std::vector<Refusal> &) const override { return matmuls(func); }
  std::vector<Option> options(const Site &, const Observations &) const override { return {{"factors", "", nlohmann::json::object()}}; }
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
    Value inner = nn::MatMulOp::create(rewriter, loc, untyped(f32), matmul.getA(), first, Value(), Value(), Value(), ValueRange(), false, false).getResult();
    return nn::MatMulOp::create(rewriter, loc, untyped(f32), inner, second, matmul.getBias(), Value(), Value(), ValueRange(), false, false).getResult();
  }
};

const char *kModel = R"(
func.func @main(%x: tensor<?x4xf32> {nn.name = "x", nn.dims = ["batch", 4]}) -> (tensor<?x2xf32> {nn.name = "y"}) {
  %w = nn.constant dense<[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]> : tensor<4x2xf32>
  %v = nn.constant dense<[[1.0, 0.5], [-2.0, 0.25]]> : tensor<2x2xf32>
  %0 = nn.matmul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %1 = nn.relu %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
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
  for (auto &t : techniques)
    for (Site &site : t->sites(main(), refused)) {
      if (!llvm::is_contained(taps, site.observed[0]))
        taps.push_back(site.observed[0]);
      candidates.push_back({t.get(), site, {}});
    }
  ASSERT_EQ(candidates.size(), 4u);
  settings.quickly = true;
  TappedModel tapped(*module, taps, settings);
  Dataset data(path, main());
  EXPECT_EQ(data.usable(), 40);
  Observations observations;
  tapped.observe(data, observations, [](double) {});
  EXPECT_EQ(observations[taps[0]].count(), 40 * 4);
  auto shapes = tapped.shapes(data);
  EXPECT_EQ(shapes[taps[1]], (std::vector<int64_t>{1, 2}));
  for (Candidate &c : candidates)
    c.options = c.technique->options(c.site, observations);
  candidates.erase(candidates.begin() + 1); // prune the first product, or factor both
  ASSERT_EQ(candidates[0].options.size(), 2u);

  SwitchModel model(*module, candidates, settings);
  auto first = [&](const Choice &choice) { return (*model.run(data, 0, 32, choice))[0].at(2); };
  double original = first({-1, -1, -1});
  EXPECT_GT(model.siteError(0, -1), 0);
  EXPECT_GT(model.siteError(0, 0), 0);
  EXPECT_GT(model.siteError(0, 1), model.siteError(0, 0));
  EXPECT_EQ(model.siteError(1, 0), 0); // equal columns
  EXPECT_GT(model.siteError(2, 0), 0);
  EXPECT_NE(first({1, -1, -1}), original);

  LayerCosts costs(settings);
  EXPECT_GT(costs.of(candidates[0], -1, shapes).milliseconds, 0);
  EXPECT_GT(costs.of(candidates[1], 0, shapes).milliseconds, 0);

  Recipe recipe;
  recipe.steps.push_back({"prune", candidates[0].site.name, candidates[0].options[1]});
  double expected = first({1, -1, -1});
  Recipe again = Recipe::parse(recipe.text(), "test");
  EXPECT_EQ(again.text(), recipe.text());
  applyRecipe(*module, again, techniques);
  CompiledGraph replayed(*module, settings, 1);
  EXPECT_EQ(replayed.run(data.inputs(0, 32))[0].at(2), expected);
  again.steps[0].site = "elsewhere";
  EXPECT_THROW(applyRecipe(*module, again, techniques), ToolError);
}

} // namespace

//===- SwitchModel.cpp - a model with all options at once -------------------===//

#include "lib/compress/SwitchModel.h"

using namespace mlir;

namespace nnopt::compress {

/// sum of (x - y)^2, or of x^2 without y.
static Value sumOfSquares(RewriterBase &rewriter, Location loc, Value x, Value y) {
  Type f32 = rewriter.getF32Type();
  if (y)
    x = nn::SubOp::create(rewriter, loc, untyped(f32), x, y);
  return nn::ReduceOp::create(rewriter, loc, untyped(f32), x, Value(),
                              nn::ReduceKindAttr::get(rewriter.getContext(), nn::ReduceKind::sum_square),
                              DenseI64ArrayAttr(), rewriter.getBoolAttr(false));
}

OwningOpRef<ModuleOp> SwitchModel::build(ModuleOp module, const std::vector<Candidate> &candidates) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(module->clone(mapping));
  auto main = copy->lookupSymbol<func::FuncOp>("main");
  MLIRContext *ctx = module.getContext();
  auto named = [&](const std::string &name) {
    return DictionaryAttr::get(ctx, NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, name)));
  };
  // Switches are arguments; they exist before shapes are inferred.
  auto condition = RankedTensorType::get({}, IntegerType::get(ctx, 1));
  std::vector<std::vector<Value>> switches(candidates.size());
  for (auto [i, c] : llvm::enumerate(candidates))
    for (size_t k = 0; k < c.options.size(); ++k) {
      unsigned at = main.getNumArguments();
      if (failed(main.insertArgument(at, condition, named("nnopt.switch/" + std::to_string(i) + "/" + std::to_string(k)), main.getLoc())))
        throw ToolError(1, "compression: the graph takes no switches");
      switches[i].push_back(main.getArgument(at));
    }
  FuncShapes shapes(main);
  if (failed(shapes.infer()))
    throw ToolError(1, "compression: shapes cannot be computed");
  IRRewriter rewriter(ctx, &shapes);
  SmallVector<Value> sums;
  llvm::DenseMap<Value, Value> choices; // what users of a site's result read, as techniques may share an operation
  for (auto [i, c] : llvm::enumerate(candidates)) {
    Operation *op = mapping.lookup(c.site.op->getResult(0)).getDefiningOp();
    Value original = op->getResult(0), before = choices.try_emplace(original, original).first->second, chosen = before;
    Type element = elementTypeOf(original);
    SmallVector<Operation *> users(before.getUsers());
    std::vector<Value> results;
    for (const Option &option : c.options)
      results.push_back(c.technique->apply(rewriter, op, option));
    rewriter.setInsertionPointAfter(before.getDefiningOp());
    for (Value v : results)
      if (Operation *definition = v.getDefiningOp(); definition->getBlock() == op->getBlock() && before.getDefiningOp()->isBeforeInBlock(definition))
        rewriter.setInsertionPointAfter(definition);
    sums.push_back(sumOfSquares(rewriter, op->getLoc(), original, {}));
    for (auto [k, v] : llvm::enumerate(results)) {
      sums.push_back(sumOfSquares(rewriter, op->getLoc(), v, original));
      chosen = nn::WhereOp::create(rewriter, op->getLoc(), untyped(element), switches[i][k], v, chosen);
    }
    for (Operation *user : users)
      rewriter.modifyOpInPlace(user, [&] { user->replaceUsesOfWith(before, chosen); });
    choices[original] = chosen;
  }
  Operation *end = main.getBody().front().getTerminator();
  for (auto [i, sum] : llvm::enumerate(sums)) {
    unsigned at = main.getNumResults();
    if (failed(main.insertResult(at, sum.getType(), named("nnopt.sum/" + std::to_string(i)))))
      throw ToolError(1, "compression: the graph takes no taps");
    end->insertOperands(end->getNumOperands(), sum);
  }
  return copy;
}

SwitchModel::SwitchModel(ModuleOp module, const std::vector<Candidate> &candidates, const CompileSettings &settings) {
  OwningOpRef<ModuleOp> built = build(module, candidates);
  graph = std::make_unique<CompiledGraph>(*built, settings, /*threads=*/0);
  for (const Candidate &c : candidates)
    optionCounts.push_back(c.options.size());
}

std::vector<HostTensor> *SwitchModel::run(const Dataset &data, int64_t first, int64_t count, const Choice &choice) {
  std::vector<HostTensor> inputs = data.inputs(first, count);
  for (size_t i = 0; i < optionCounts.size(); ++i)
    for (size_t k = 0; k < optionCounts[i]; ++k) {
      inputs.emplace_back("", OnnxBool, std::vector<int64_t>{});
      *inputs.back().data() = choice[i] == int(k);
    }
  std::vector<HostTensor> &outputs = graph->run(std::move(inputs));
  size_t sums = 0;
  for (size_t n : optionCounts)
    sums += n + 1;
  errors.clear();
  for (size_t i = outputs.size() - sums; i < outputs.size(); ++i)
    errors.push_back(outputs[i].at(0));
  visible.clear();
  for (size_t i = 0; i < outputs.size() - sums; ++i)
    visible.push_back(std::move(outputs[i]));
  return &visible;
}

double SwitchModel::siteError(size_t site, int option) const {
  size_t at = 0;
  for (size_t i = 0; i < site; ++i)
    at += optionCounts[i] + 1;
  return errors[at + 1 + option];
}

} // namespace nnopt::compress

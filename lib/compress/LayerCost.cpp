//===- LayerCost.cpp - what a layer costs on this machine -------------------===//

#include "lib/compress/LayerCost.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nnopt::compress {

/// The operations of a site, in graph order.
static SmallVector<Operation *> operationsOf(const Site &site) {
  SmallVector<Operation *> ops(site.inside);
  ops.push_back(site.op);
  return ops;
}

SmallVector<Value> LayerCosts::inputsOf(const Site &site) {
  SmallVector<Operation *> ops = operationsOf(site);
  llvm::SetVector<Value> inputs;
  for (Operation *op : ops)
    for (Value v : op->getOperands())
      if (!isConstant(v) && !llvm::is_contained(ops, v.getDefiningOp()))
        inputs.insert(v);
  return inputs.takeVector();
}

/// What the cost of a layer depends on.
static std::string keyOf(const Candidate &c, int offer, ArrayRef<std::vector<int64_t>> shapes) {
  std::string key;
  llvm::raw_string_ostream os(key);
  for (Operation *op : operationsOf(c.site)) {
    os << op->getName() << " " << op->getAttrDictionary();
    for (Value v : op->getOperands())
      os << " " << v.getType() << (isConstant(v) ? " constant" : "");
  }
  for (const std::vector<int64_t> &shape : shapes)
    os << " " << shapeText(shape);
  if (offer >= 0)
    os << " " << c.offers[offer].technique->costKey(c.offers[offer].option);
  return key;
}

LayerCosts::Measured LayerCosts::of(const Candidate &c, int offer,
                                    const llvm::DenseMap<Value, std::vector<int64_t>> &shapesOf) {
  Operation *op = c.site.op;
  SmallVector<Value> reads = inputsOf(c.site);
  SmallVector<std::vector<int64_t>> shapes;
  for (Value v : reads)
    shapes.push_back(shapesOf.lookup(v));
  std::string key = keyOf(c, offer, shapes);
  if (auto it = known.find(key); it != known.end())
    return it->second;

  // A function of the operation alone. Sizes are static, as in the run that is being timed.
  MLIRContext *ctx = op->getContext();
  Location loc = op->getLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  auto main = func::FuncOp::create(b, loc, "main", b.getFunctionType({}, {}));
  Block *body = main.addEntryBlock();
  b.setInsertionPointToStart(body);
  func::ReturnOp::create(b, loc, ValueRange());
  IRRewriter plain(ctx);
  plain.setInsertionPoint(body->getTerminator());
  auto addArgument = [&](Type element, ArrayRef<int64_t> shape) {
    unsigned at = main.getNumArguments();
    auto name = NamedAttribute(StringAttr::get(ctx, "nn.name"),
                               StringAttr::get(ctx, "x" + std::to_string(at)));
    if (failed(main.insertArgument(at, RankedTensorType::get(shape, element),
                                   DictionaryAttr::get(ctx, name), loc)))
      throw ToolError(1, "compression: a layer cannot be measured");
    return main.getArgument(at);
  };
  IRMapping mapping;
  for (auto [v, shape] : llvm::zip(reads, shapes))
    mapping.map(v, addArgument(elementTypeOf(v), shape));
  Operation *copy = nullptr;
  for (Operation *inner : operationsOf(c.site)) {
    for (Value v : inner->getOperands())
      if (!mapping.contains(v))
        plain.clone(*v.getDefiningOp(), mapping); // a constant
    copy = plain.clone(*inner, mapping);
  }
  FuncShapes inferred(main);
  if (failed(inferred.infer()))
    throw ToolError(1, "compression: shapes of a layer cannot be computed");
  IRRewriter rewriter(ctx, &inferred);
  Value result = copy->getResult(0);
  if (offer >= 0) {
    const Technique *technique = c.offers[offer].technique;
    result = technique->apply(rewriter, copy, c.offers[offer].option);
    rewriter.eraseOp(copy);
    // What the layers around it would deliver is an argument.
    SmallVector<Operation *> meets;
    main.walk([&](Operation *inner) {
      if (technique->isMeetingPoint(inner))
        meets.push_back(inner);
    });
    for (Operation *inner : meets) {
      auto type = cast<RankedTensorType>(inner->getResult(0).getType());
      Value delivered = addArgument(type.getElementType(), type.getShape());
      inner->getResult(0).replaceAllUsesWith(delivered);
      inner->erase();
    }
  }
  Operation *end = body->getTerminator();
  auto name = NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, "y"));
  if (failed(main.insertResult(0, result.getType(), DictionaryAttr::get(ctx, name))))
    throw ToolError(1, "compression: a layer cannot be measured");
  end->insertOperands(0, result);

  CompiledGraph graph(*module, settings, /*threads=*/1);
  std::vector<HostTensor> inputs;
  for (size_t i = 0; i < nnopt_model_input_count(graph.model()); ++i) {
    const nnopt_tensor_info *info = nnopt_model_input(graph.model(), i);
    inputs.emplace_back(info->name, info->onnx_type,
                        std::vector<int64_t>(info->dims, info->dims + info->rank));
  }
  Measured measured{graph.measure(std::move(inputs), 40), graph.weightBytes()};
  return known[key] = measured;
}

} // namespace nnopt::compress

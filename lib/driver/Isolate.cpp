//===- Isolate.cpp - some operations as a model of their own ----------------===//

#include "lib/driver/Isolate.h"
#include "passes/common/Rewrite.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nnopt {

SmallVector<Value> inputsOf(ArrayRef<Operation *> ops) {
  llvm::SetVector<Value> inputs;
  for (Operation *op : ops)
    for (Value v : op->getOperands())
      if (!isConstant(v) && !llvm::is_contained(ops, v.getDefiningOp()))
        inputs.insert(v);
  return inputs.takeVector();
}

Isolated::Isolated(ArrayRef<Operation *> ops, function_ref<std::vector<int64_t>(Value)> shapeOf) {
  Location loc = ops.back()->getLoc();
  module = ModuleOp::create(loc);
  OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
  main = func::FuncOp::create(b, loc, "main", b.getFunctionType({}, {}));
  b.setInsertionPointToStart(main.addEntryBlock());
  b.setInsertionPoint(func::ReturnOp::create(b, loc, ValueRange()));
  IRMapping mapping;
  for (Value v : inputsOf(ops))
    mapping.map(v, addArgument(elementTypeOf(v), shapeOf(v)));
  for (Operation *op : ops) {
    for (Value v : op->getOperands())
      if (!mapping.contains(v))
        b.clone(*v.getDefiningOp(), mapping); // a constant
    last = b.clone(*op, mapping);
  }
}

static DictionaryAttr named(MLIRContext *ctx, const std::string &name) {
  return DictionaryAttr::get(ctx, NamedAttribute(StringAttr::get(ctx, "nn.name"), StringAttr::get(ctx, name)));
}

Value Isolated::addArgument(Type element, ArrayRef<int64_t> shape) {
  unsigned at = main.getNumArguments();
  LogicalResult inserted = main.insertArgument(at, RankedTensorType::get(shape, element),
                                               named(element.getContext(), "x" + std::to_string(at)), main.getLoc());
  assert(succeeded(inserted) && "an argument at the end always fits");
  (void)inserted;
  return main.getArgument(at);
}

void Isolated::addResult(Value value) {
  unsigned at = main.getNumResults();
  LogicalResult inserted =
      main.insertResult(at, value.getType(), named(value.getContext(), "y" + std::to_string(at)));
  assert(succeeded(inserted) && "a result at the end always fits");
  (void)inserted;
  Operation *end = main.getBody().front().getTerminator();
  end->insertOperands(end->getNumOperands(), value);
}

} // namespace nnopt

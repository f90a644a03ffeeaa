//===- WidenF16.cpp - f32 between the operations of f16 models ------------===//
#include "passes/Passes.h"
#include "passes/common/Rewrite.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_WIDENF16
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "widen-f16";

bool isF16(Value v) { return isa<RankedTensorType>(v.getType()) && elementTypeOf(v).isF16(); }

/// Whether an operation means something else with f32.
bool needsF16(Operation *op) {
  if (isa<nn::BitCastOp, nn::QuantizeOp, nn::CustomOp, nn::HostCall, nn::MapOp, nn::MoEOp>(op) || nn::touchesHostValues(op))
    return true;
  if (auto linear = dyn_cast<nn::LinearOp>(op))
    return !linear.getEpilogue().empty();
  if (isa<nn::CastOp, nn::DequantizeOp>(op))
    return false;
  return llvm::any_of(op->getAttrs(), [](NamedAttribute attribute) {
    auto type = dyn_cast<TypeAttr>(attribute.getValue());
    return type && type.getValue().isF16();
  });
}

class Widener {
public:
  explicit Widener(func::FuncOp func) : func(func), b(func.getContext()) {}

  int64_t run() {
    for (BlockArgument argument : func.getArguments())
      if (isF16(argument))
        keep(argument);
    // Regions of control flow before what follows them.
    SmallVector<Operation *> ops;
    func.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op != func)
        ops.push_back(op);
    });
    for (Operation *op : ops)
      visit(op);
    return widened;
  }

private:
  /// An f16 value that stays, and is cast for those who read f32.
  void keep(Value v) {
    b.setInsertionPointAfterValue(v);
    auto wide = convert(v, b.getF32Type());
    v.replaceAllUsesExcept(wide, wide.getOperation());
    narrow[wide] = v;
  }

  nn::CastOp convert(Value v, Type to) {
    return nn::CastOp::create(b, v.getLoc(), RankedTensorType::get(shapeOf(v), to), v, to, /*saturate=*/true);
  }

  /// The f16 value of a widened one.
  Value narrowed(Value v) {
    if (Value known = narrow.lookup(v))
      return known;
    b.setInsertionPointAfterValue(v);
    return narrow[v] = convert(v, b.getF16Type());
  }

  void visit(Operation *op) {
    if (isa<func::ReturnOp>(op)) {
      for (auto [operand, type] : llvm::zip(op->getOpOperands(), func.getResultTypes()))
        if (nn::elementTypeOf(type).isF16() && !isF16(operand.get()))
          operand.set(narrowed(operand.get()));
      return;
    }
    if (needsF16(op)) {
      for (OpOperand &operand : op->getOpOperands())
        if (wide.contains(operand.get()) || narrow.contains(operand.get()))
          operand.set(narrowed(operand.get()));
      for (Value v : op->getResults())
        if (isF16(v)) {
          keep(v);
          missedRemark(op->getLoc(), kPass, "kept") << remark::reason("its f16 means something else than f32");
        }
      return;
    }
    bool changed = false;
    auto widen = [&](Value v) {
      if (!isF16(v))
        return;
      v.setType(RankedTensorType::get(shapeOf(v), b.getF32Type()));
      wide.insert(v);
      changed = true;
    };
    llvm::for_each(op->getResults(), widen);
    for (Region &region : op->getRegions())
      for (Block &block : region)
        llvm::for_each(block.getArguments(), widen);
    if (auto cast = dyn_cast<nn::CastOp>(op); cast && wide.contains(cast.getX()) && cast.getTo().isF32())
      cast.getResult().replaceAllUsesWith(cast.getX());
    if (!changed)
      return;
    ++widened;
    if (auto constant = dyn_cast<nn::ConstantOp>(op))
      constant.setValueAttr(floatsOf(constant.getValue()));
    if (auto filled = dyn_cast<nn::ConstantOfShapeOp>(op))
      filled.setValueAttr(floatsOf(filled.getValue()));
    if (auto cast = dyn_cast<nn::CastOp>(op)) {
      cast.setTo(b.getF32Type());
      if (elementTypeOf(cast.getX()).isF32())
        cast.getResult().replaceAllUsesWith(cast.getX());
    }
    if (auto dequantize = dyn_cast<nn::DequantizeOp>(op))
      dequantize.setTo(b.getF32Type());
  }

  static ElementsAttr floatsOf(ElementsAttr value) {
    nn::ConstantData data = *nn::ConstantData::get(value);
    return nn::makeFloats(value.getContext(), data.type().getShape(), data.asFloats(), "wide");
  }

  func::FuncOp func;
  OpBuilder b;
  int64_t widened = 0;
  DenseSet<Value> wide; ///< f32 values that were f16.
  DenseMap<Value, Value> narrow;
};

struct WidenF16Pass : impl::WidenF16Base<WidenF16Pass> {
  void runOnOperation() override {
    numWidened += Widener(getOperation()).run();
    IRRewriter rewriter(&getContext());
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt

//===- ScalarRegion.cpp - scalar code as elementwise nodes ----------------===//
//
// The body of nn.map and epilogues is scalar code (arith, math); as ONNX nodes the same operations
// work on whole tensors, and broadcasting does what the region does for each element. Integers in a
// region are signless: a value of an unsigned tensor keeps its ONNX type until it is extended or
// converted, and an operation for which that makes a difference is refused.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// An operation that is one node with the same operands.
StringRef plainType(Operation *op) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case<arith::AddFOp, arith::AddIOp>([](auto) { return "Add"; })
      .Case<arith::SubFOp, arith::SubIOp>([](auto) { return "Sub"; })
      .Case<arith::MulFOp, arith::MulIOp>([](auto) { return "Mul"; })
      .Case<arith::DivFOp, arith::DivSIOp>([](auto) { return "Div"; })
      .Case<arith::NegFOp>([](auto) { return "Neg"; })
      .Case<arith::MaximumFOp, arith::MaxSIOp>([](auto) { return "Max"; })
      .Case<arith::MinimumFOp, arith::MinSIOp>([](auto) { return "Min"; })
      .Case<arith::SelectOp>([](auto) { return "Where"; })
      .Case<math::AbsFOp, math::AbsIOp>([](auto) { return "Abs"; })
      .Case<math::ExpOp>([](auto) { return "Exp"; })
      .Case<math::LogOp>([](auto) { return "Log"; })
      .Case<math::SqrtOp>([](auto) { return "Sqrt"; })
      .Case<math::ErfOp>([](auto) { return "Erf"; })
      .Case<math::TanhOp>([](auto) { return "Tanh"; })
      .Case<math::SinOp>([](auto) { return "Sin"; })
      .Case<math::CosOp>([](auto) { return "Cos"; })
      .Case<math::TanOp>([](auto) { return "Tan"; })
      .Case<math::AsinOp>([](auto) { return "Asin"; })
      .Case<math::AcosOp>([](auto) { return "Acos"; })
      .Case<math::AtanOp>([](auto) { return "Atan"; })
      .Case<math::SinhOp>([](auto) { return "Sinh"; })
      .Case<math::CoshOp>([](auto) { return "Cosh"; })
      .Case<math::AsinhOp>([](auto) { return "Asinh"; })
      .Case<math::AcoshOp>([](auto) { return "Acosh"; })
      .Case<math::AtanhOp>([](auto) { return "Atanh"; })
      .Case<math::FloorOp>([](auto) { return "Floor"; })
      .Case<math::CeilOp>([](auto) { return "Ceil"; })
      .Case<math::RoundEvenOp>([](auto) { return "Round"; })
      .Case<math::PowFOp>([](auto) { return "Pow"; })
      .Default([](auto) { return ""; });
}

class RegionExport {
public:
  RegionExport(OpExport &e) : e(e) {}

  Names run(Block &block, ArrayRef<std::string> args, ArrayRef<Type> types, ArrayRef<Type> results) {
    for (auto [arg, name, type] : llvm::zip(block.getArguments(), args, types)) {
      names[arg] = name;
      if (type.isUnsignedInteger())
        unsignedValues.insert(arg);
    }
    for (Operation &op : block.without_terminator())
      exportOp(&op);
    Names yielded;
    for (auto [v, type] : llvm::zip(block.getTerminator()->getOperands(), results)) {
      bool isUnsigned = unsignedValues.contains(v);
      yielded.push_back(type.isUnsignedInteger() == isUnsigned ? nameOf(v) : e.cast(nameOf(v), type));
    }
    return yielded;
  }

private:
  std::string nameOf(Value v) { return names.lookup(v); }
  Names operands(Operation *op) {
    Names all;
    for (Value v : op->getOperands())
      all.push_back(nameOf(v));
    return all;
  }
  std::string isNaN(Value v) { return e.step("IsNaN", {nameOf(v)}); }

  [[noreturn]] void refuse(Operation *op) {
    e.unsupported("scalar code", op->getName().getStringRef() + " has no ONNX form");
  }

  void exportOp(Operation *op) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto value = dyn_cast<FloatAttr>(constant.getValue());
      names[op->getResult(0)] = value ? e.number(value.getValueAsDouble(), value.getType())
                                      : e.number(cast<IntegerAttr>(constant.getValue()).getValue().getSExtValue(),
                                                 constant.getType());
      return;
    }
    bool fromUnsigned = llvm::any_of(op->getOperands(), [&](Value v) { return unsignedValues.contains(v); });
    // A zero extension is one only of what is unsigned (or bool, which is 0 or 1).
    bool isBool = op->getNumOperands() > 0 && op->getOperand(0).getType().isInteger(1);
    if (isa<arith::ExtUIOp, arith::UIToFPOp>(op) ? !fromUnsigned && !isBool : fromUnsigned && !isa<arith::TruncIOp>(op))
      refuse(op);
    Value result = op->getResult(0);
    if (StringRef type = plainType(op); !type.empty())
      names[result] = e.step(type, operands(op));
    else if (isa<arith::ExtFOp, arith::TruncFOp, arith::ExtSIOp, arith::ExtUIOp, arith::SIToFPOp, arith::UIToFPOp,
                 arith::FPToSIOp, arith::TruncIOp>(op))
      names[result] = e.cast(nameOf(op->getOperand(0)), result.getType());
    else if (isa<arith::AndIOp, arith::OrIOp, arith::XOrIOp>(op))
      names[result] = exportBits(op, result.getType().isInteger(1));
    else if (auto compare = dyn_cast<arith::CmpFOp>(op))
      names[result] = exportCompare(compare);
    else if (auto compare = dyn_cast<arith::CmpIOp>(op))
      names[result] = exportCompare(compare);
    else if (isa<arith::RemFOp>(op))
      names[result] = e.step("Mod", operands(op), {intAttr("fmod", 1)});
    else if (isa<arith::RemSIOp>(op))
      names[result] = e.step("Mod", operands(op), {intAttr("fmod", 1)});
    else if (isa<math::Log1pOp>(op))
      names[result] = e.step("Log", {e.step("Add", {nameOf(op->getOperand(0)), e.number(1, result.getType())})});
    else if (isa<math::RsqrtOp>(op))
      names[result] = e.step("Reciprocal", {e.step("Sqrt", operands(op))});
    else if (auto fma = dyn_cast<math::FmaOp>(op))
      names[result] = e.step("Add", {e.step("Mul", {nameOf(fma.getA()), nameOf(fma.getB())}), nameOf(fma.getC())});
    else
      refuse(op);
  }

  std::string exportBits(Operation *op, bool logical) {
    if (!logical)
      e.need(18);
    if (isa<arith::AndIOp>(op))
      return e.step(logical ? "And" : "BitwiseAnd", operands(op));
    if (isa<arith::OrIOp>(op))
      return e.step(logical ? "Or" : "BitwiseOr", operands(op));
    return e.step(logical ? "Xor" : "BitwiseXor", operands(op));
  }

  /// ONNX compares as IEEE does: false when an operand is NaN. An unordered predicate is the negation of
  /// the opposite ordered one.
  std::string exportCompare(arith::CmpFOp op) {
    using P = arith::CmpFPredicate;
    Names x = operands(op);
    auto ordered = [&](StringRef type) { return e.step(type, x); };
    auto negated = [&](StringRef type) { return e.step("Not", {e.step(type, x)}); };
    e.need(12);
    switch (op.getPredicate()) {
    case P::OEQ:
      return ordered("Equal");
    case P::OGT:
      return ordered("Greater");
    case P::OGE:
      return ordered("GreaterOrEqual");
    case P::OLT:
      return ordered("Less");
    case P::OLE:
      return ordered("LessOrEqual");
    case P::UNE:
      return negated("Equal");
    case P::UGT:
      return negated("LessOrEqual");
    case P::UGE:
      return negated("Less");
    case P::ULT:
      return negated("GreaterOrEqual");
    case P::ULE:
      return negated("Greater");
    case P::UNO:
      return op.getLhs() == op.getRhs() ? isNaN(op.getLhs()) : e.step("Or", {isNaN(op.getLhs()), isNaN(op.getRhs())});
    case P::ORD:
      return e.step("Not", {e.step("Or", {isNaN(op.getLhs()), isNaN(op.getRhs())})});
    default:
      refuse(op);
    }
  }

  std::string exportCompare(arith::CmpIOp op) {
    using P = arith::CmpIPredicate;
    Names x = operands(op);
    switch (op.getPredicate()) {
    case P::eq:
      return e.step("Equal", x);
    case P::ne:
      return e.step("Not", {e.step("Equal", x)});
    case P::slt:
      return e.step("Less", x);
    case P::sle:
      return e.step("LessOrEqual", x);
    case P::sgt:
      return e.step("Greater", x);
    case P::sge:
      return e.step("GreaterOrEqual", x);
    default:
      refuse(op);
    }
  }

  OpExport &e;
  llvm::DenseMap<Value, std::string> names;
  llvm::DenseSet<Value> unsignedValues;
};

/// Whether a value broadcasts to anything: one element.
bool isOneElement(Value v) { return tensorType(v).hasStaticShape() && tensorType(v).getNumElements() == 1; }

void exportMap(OpExport &e, nn::MapOp op) {
  Names args;
  SmallVector<Type> types, results;
  for (Value v : op.getInputs()) {
    args.push_back(e.name(v));
    types.push_back(elementTypeOf(v));
  }
  for (Value v : op.getOutputs())
    results.push_back(elementTypeOf(v));
  Names yielded = exportScalarRegion(e, op.getBody().front(), args, types, results);
  // What a result does not depend on still takes part in its shape.
  SmallVector<std::string> shapes;
  for (Value v : op->getOperands())
    if (!isOneElement(v))
      shapes.push_back(e.step("Shape", {e.name(v)}));
  for (auto [name, v] : llvm::zip(yielded, op.getOutputs())) {
    llvm::DenseSet<Value> seen;
    SmallVector<Value> work = {op.getBody().front().getTerminator()->getOperand(cast<OpResult>(v).getResultNumber())};
    unsigned inputs = 0;
    while (!work.empty()) {
      Value s = work.pop_back_val();
      if (!seen.insert(s).second)
        continue;
      if (Operation *def = s.getDefiningOp())
        work.append(def->operand_begin(), def->operand_end());
      else
        ++inputs;
    }
    if (inputs == op.getInputs().size() && op.getShapeLike().empty())
      continue;
    for (const std::string &shape : shapes)
      name = e.step("Expand", {name, shape});
  }
  e.finishAs(yielded);
}

} // namespace

Names exportScalarRegion(OpExport &e, Block &block, ArrayRef<std::string> args, ArrayRef<Type> types, ArrayRef<Type> results) {
  e.need(9);
  return RegionExport(e).run(block, args, types, results);
}

void addScalarRegions(ExportRegistry &r) { r.add<nn::MapOp>(exportMap); }

} // namespace nnopt::onnx

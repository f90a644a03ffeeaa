//===- Elementwise.cpp - export rules of elementwise operations -----------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

void exportIsInf(OpExport &e, nn::IsInfOp op) {
  e.need(10);
  Attrs attrs;
  if (!op.getDetectNegative())
    attrs.push_back(intAttr("detect_negative", 0));
  if (!op.getDetectPositive())
    attrs.push_back(intAttr("detect_positive", 0));
  e.finish("IsInf", e.allIn(), std::move(attrs));
}

void exportCast(OpExport &e, nn::CastOp op) {
  Attrs attrs = {intAttr("to", onnxDataType(op.getTo()))};
  if (!op.getSaturate()) {
    e.need(19);
    attrs.push_back(intAttr("saturate", 0));
  }
  if (op.getRoundMode() != nn::RoundMode::up) {
    e.need(24);
    attrs.push_back(stringAttr("round_mode", nn::stringifyRoundMode(op.getRoundMode())));
  }
  e.finish("Cast", e.allIn(), std::move(attrs));
}

void exportMod(OpExport &e, nn::ModOp op) {
  e.need(10);
  bool isFloat = isa<FloatType>(elementTypeOf(op.getLhs()));
  if (isFloat && !op.getFmod())
    e.need(28);
  e.finish("Mod", e.allIn(), op.getFmod() ? Attrs{intAttr("fmod", 1)} : Attrs{});
}

void exportBitShift(OpExport &e, nn::BitShiftOp op) {
  e.need(11);
  e.finish("BitShift", e.allIn(), {stringAttr("direction", op.getRight() ? "RIGHT" : "LEFT")});
}

/// Bounds are attributes before opset 11.
void exportClip(OpExport &e, nn::ClipOp op) {
  auto lo = e.numbers(op.getLo()), hi = e.numbers(op.getHi());
  if (e.opset() >= 11 || !lo || !hi) {
    e.need(11);
    e.finish("Clip", e.allIn());
    return;
  }
  e.finish("Clip", {e.in(0)}, {floatAttr("min", lo->front()), floatAttr("max", hi->front())});
}

} // namespace

void addElementwise(ExportRegistry &r) {
  r.add<nn::AbsOp>("Abs");
  r.add<nn::NegOp>("Neg");
  r.add<nn::SignOp>("Sign", 9);
  r.add<nn::CeilOp>("Ceil");
  r.add<nn::FloorOp>("Floor");
  r.add<nn::RoundOp>("Round", 11);
  r.add<nn::SqrtOp>("Sqrt");
  r.add<nn::ExpOp>("Exp");
  r.add<nn::LogOp>("Log");
  r.add<nn::SinOp>("Sin");
  r.add<nn::CosOp>("Cos");
  r.add<nn::TanOp>("Tan");
  r.add<nn::AsinOp>("Asin");
  r.add<nn::AcosOp>("Acos");
  r.add<nn::AtanOp>("Atan");
  r.add<nn::SinhOp>("Sinh", 9);
  r.add<nn::CoshOp>("Cosh", 9);
  r.add<nn::AsinhOp>("Asinh", 9);
  r.add<nn::AcoshOp>("Acosh", 9);
  r.add<nn::AtanhOp>("Atanh", 9);
  r.add<nn::ErfOp>("Erf", 9);
  r.add<nn::ReciprocalOp>("Reciprocal");
  r.add<nn::IsNaNOp>("IsNaN", 9);
  r.add<nn::IsInfOp>(exportIsInf);
  r.add<nn::LogicalNotOp>("Not");
  r.add<nn::BitwiseNotOp>("BitwiseNot", 18);
  r.add<nn::CastOp>(exportCast);

  r.add<nn::AddOp>("Add");
  r.add<nn::SubOp>("Sub");
  r.add<nn::MulOp>("Mul");
  r.add<nn::DivOp>("Div");
  r.add<nn::PowOp>("Pow");
  r.add<nn::MinOp>("Min", 8);
  r.add<nn::MaxOp>("Max", 8);
  r.add<nn::BitwiseAndOp>("BitwiseAnd", 18);
  r.add<nn::BitwiseOrOp>("BitwiseOr", 18);
  r.add<nn::BitwiseXorOp>("BitwiseXor", 18);
  r.add<nn::ModOp>(exportMod);
  r.add<nn::BitShiftOp>(exportBitShift);
  r.add<nn::EqualOp>("Equal");
  r.add<nn::LessOp>("Less");
  r.add<nn::LessOrEqualOp>("LessOrEqual", 12);
  r.add<nn::GreaterOp>("Greater");
  r.add<nn::GreaterOrEqualOp>("GreaterOrEqual", 12);
  r.add<nn::LogicalAndOp>("And");
  r.add<nn::LogicalOrOp>("Or");
  r.add<nn::LogicalXorOp>("Xor");
  r.add<nn::WhereOp>("Where", 9);
  r.add<nn::ClipOp>(exportClip);
}

} // namespace nnopt::onnx

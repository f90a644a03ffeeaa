//===- Activations.cpp - export rules of activation functions -------------===//
//
// Activations that older operator sets lack are written out by the definitions of the newer ones.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// x * sigmoid(alpha * x)
void exportSilu(OpExport &e, nn::SiluOp op) {
  std::string x = e.in(0);
  double alpha = op.getAlpha().convertToDouble();
  if (e.opset() >= 24) {
    e.finish("Swish", {x}, {floatAttr("alpha", alpha)});
    return;
  }
  std::string inner = alpha == 1 ? x : e.step("Mul", {x, e.number(alpha, elementTypeOf(op.getX()))});
  e.finish("Mul", {x, e.step("Sigmoid", {inner})});
}

/// x * tanh(softplus(x))
void exportMish(OpExport &e, nn::MishOp op) {
  std::string x = e.in(0);
  if (e.opset() >= 18)
    e.finish("Mish", {x});
  else
    e.finish("Mul", {x, e.step("Tanh", {e.step("Softplus", {x})})});
}

/// x * max(0, min(1, x / 6 + 0.5))
void exportHardSwish(OpExport &e, nn::HardSwishOp op) {
  std::string x = e.in(0);
  if (e.opset() >= 14)
    e.finish("HardSwish", {x});
  else
    e.finish("Mul", {x, e.step("HardSigmoid", {x}, {floatAttr("alpha", 1.0 / 6), floatAttr("beta", 0.5)})});
}

/// 0.5 x (1 + erf(x / sqrt(2))), or its approximation 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
void exportGelu(OpExport &e, nn::GeluOp op) {
  std::string x = e.in(0);
  if (e.opset() >= 20) {
    e.finish("Gelu", {x}, op.getTanh() ? Attrs{stringAttr("approximate", "tanh")} : Attrs{});
    return;
  }
  Type type = elementTypeOf(op.getX());
  auto c = [&](double v) { return e.number(v, type); };
  std::string inner;
  if (op.getTanh()) {
    std::string cube = e.step("Mul", {x, e.step("Mul", {x, x})});
    std::string sum = e.step("Add", {x, e.step("Mul", {cube, c(0.044715)})});
    inner = e.step("Tanh", {e.step("Mul", {sum, c(0.7978845608028654)})});
  } else {
    e.need(9);
    inner = e.step("Erf", {e.step("Mul", {x, c(0.7071067811865476)})});
  }
  e.finish("Mul", {e.step("Mul", {x, c(0.5)}), e.step("Add", {inner, c(1)})});
}

void exportHardSigmoid(OpExport &e, nn::HardSigmoidOp op) {
  e.finish("HardSigmoid", e.allIn(),
           {floatAttr("alpha", op.getAlpha().convertToDouble()), floatAttr("beta", op.getBeta().convertToDouble())});
}

template <typename OpTy> void exportAlpha(OpExport &e, OpTy op, StringRef type, int64_t since = 1) {
  e.need(since);
  e.finish(type, e.allIn(), {floatAttr("alpha", op.getAlpha().convertToDouble())});
}

void exportSelu(OpExport &e, nn::SeluOp op) {
  e.finish("Selu", e.allIn(),
           {floatAttr("alpha", op.getAlpha().convertToDouble()), floatAttr("gamma", op.getGamma().convertToDouble())});
}

void exportShrink(OpExport &e, nn::ShrinkOp op) {
  e.need(9);
  e.finish("Shrink", e.allIn(),
           {floatAttr("lambd", op.getLambd().convertToDouble()), floatAttr("bias", op.getBias().convertToDouble())});
}

} // namespace

void addActivations(ExportRegistry &r) {
  r.add<nn::TanhOp>("Tanh");
  r.add<nn::SigmoidOp>("Sigmoid");
  r.add<nn::ReluOp>("Relu");
  r.add<nn::SoftplusOp>("Softplus");
  r.add<nn::SoftsignOp>("Softsign");
  r.add<nn::PReluOp>("PRelu");
  r.add<nn::SiluOp>(exportSilu);
  r.add<nn::MishOp>(exportMish);
  r.add<nn::HardSwishOp>(exportHardSwish);
  r.add<nn::GeluOp>(exportGelu);
  r.add<nn::HardSigmoidOp>(exportHardSigmoid);
  r.add<nn::LeakyReluOp>([](OpExport &e, nn::LeakyReluOp op) { exportAlpha(e, op, "LeakyRelu"); });
  r.add<nn::EluOp>([](OpExport &e, nn::EluOp op) { exportAlpha(e, op, "Elu"); });
  r.add<nn::CeluOp>([](OpExport &e, nn::CeluOp op) { exportAlpha(e, op, "Celu", 12); });
  r.add<nn::ThresholdedReluOp>([](OpExport &e, nn::ThresholdedReluOp op) { exportAlpha(e, op, "ThresholdedRelu", 10); });
  r.add<nn::SeluOp>(exportSelu);
  r.add<nn::ShrinkOp>(exportShrink);
}

} // namespace nnopt::onnx

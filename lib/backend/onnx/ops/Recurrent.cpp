//===- Recurrent.cpp - export rules of LSTM, GRU, RNN ---------------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// As ONNX writes it: readers compare without regard to case, but not all.
std::string activationName(StringRef lower) {
  for (StringRef name : {"LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid"})
    if (name.equals_insensitive(lower))
      return name.str();
  return (Twine(llvm::toUpper(lower[0])) + lower.drop_front()).str();
}

template <typename OpTy> Attrs cellAttrs(OpTy op) {
  // `leakyrelu:0.01`: a name, alpha, beta.
  std::vector<std::string> names;
  std::vector<float> alphas, betas;
  for (StringRef activation : op.getActivations().template getAsValueRange<StringAttr>()) {
    SmallVector<StringRef> parts;
    activation.split(parts, ':');
    names.push_back(activationName(parts[0]));
    double value;
    if (parts.size() > 1 && !parts[1].getAsDouble(value))
      alphas.push_back(value);
    if (parts.size() > 2 && !parts[2].getAsDouble(value))
      betas.push_back(value);
  }
  Attrs attrs = {intAttr("hidden_size", tensorType(op.getR()).getDimSize(2)),
                 stringAttr("direction", nn::stringifyDirection(op.getDirection())), stringsAttr("activations", names)};
  if (!alphas.empty())
    attrs.push_back(floatsAttr("activation_alpha", alphas));
  if (!betas.empty())
    attrs.push_back(floatsAttr("activation_beta", betas));
  if (op.getClip())
    attrs.push_back(floatAttr("clip", op.getClip()->convertToDouble()));
  if (ShapedType::isDynamic(tensorType(op.getR()).getDimSize(2)))
    attrs.erase(attrs.begin());
  return attrs;
}

template <typename OpTy> Names cellInputs(OpExport &e, OpTy op) {
  return {e.name(op.getX()), e.name(op.getW()), e.name(op.getR()), e.name(op.getBias()), e.name(op.getSequenceLens()),
          e.name(op.getInitialH())};
}

void exportLSTM(OpExport &e, nn::LSTMOp op) {
  Names inputs = cellInputs(e, op);
  inputs.push_back(e.name(op.getInitialC()));
  inputs.push_back(e.name(op.getPeephole()));
  Attrs attrs = cellAttrs(op);
  if (op.getInputForget())
    attrs.push_back(intAttr("input_forget", 1));
  e.finishOptional("LSTM", inputs, std::move(attrs));
}

void exportGRU(OpExport &e, nn::GRUOp op) {
  Attrs attrs = cellAttrs(op);
  if (op.getLinearBeforeReset())
    attrs.push_back(intAttr("linear_before_reset", 1));
  e.finishOptional("GRU", cellInputs(e, op), std::move(attrs));
}

void exportRNN(OpExport &e, nn::RNNOp op) { e.finishOptional("RNN", cellInputs(e, op), cellAttrs(op)); }

} // namespace

void addRecurrent(ExportRegistry &r) {
  r.add<nn::LSTMOp>(exportLSTM);
  r.add<nn::GRUOp>(exportGRU);
  r.add<nn::RNNOp>(exportRNN);
}

} // namespace nnopt::onnx

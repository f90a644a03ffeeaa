//===- ControlFlow.cpp - export rules of if and loop ----------------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

pb::AttributeProto graphAttr(OpExport &e, StringRef name, Region &region) {
  pb::AttributeProto a;
  a.set_name(name.str());
  a.set_type(pb::AttributeProto::GRAPH);
  *a.mutable_g() = e.exporter.subgraph(region, baseName(e.op) + "_" + name.str());
  return a;
}

void exportIf(OpExport &e, nn::IfOp op) {
  Attrs attrs = {graphAttr(e, "then_branch", op.getThenBranch()), graphAttr(e, "else_branch", op.getElseBranch())};
  e.finish("If", e.allIn(), std::move(attrs));
}

void exportLoop(OpExport &e, nn::LoopOp op) {
  Names inputs = {op.getTripCount() ? e.shape(op.getTripCount()) : "", e.name(op.getCondition())};
  if (op.getCarried().empty()) {
    // Three inputs at least before opset 11, two since; absent ones at the end do not count.
    e.need(11);
    if (!op.getCondition())
      inputs[1] = e.number(1, IntegerType::get(op.getContext(), 1));
  }
  for (Value v : op.getCarried())
    inputs.push_back(e.name(v));
  Attrs attrs = {graphAttr(e, "body", op.getBody())};
  e.finish("Loop", inputs, std::move(attrs));
}

} // namespace

void addControlFlow(ExportRegistry &r) {
  r.add<nn::IfOp>(exportIf);
  r.add<nn::LoopOp>(exportLoop);
}

} // namespace nnopt::onnx

//===- Indexing.cpp - export rules of gather, scatter and kin -------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Indices are i32 or i64.
std::string indices(OpExport &e, Value v) {
  Type type = elementTypeOf(v);
  return type.isSignlessInteger(32) || type.isSignlessInteger(64) ? e.name(v)
                                                                  : e.cast(e.name(v), IntegerType::get(v.getContext(), 64));
}

void exportGather(OpExport &e, nn::GatherOp op) {
  e.finish("Gather", {e.in(0), indices(e, op.getIndices())}, {intAttr("axis", op.getAxis())});
}

void exportGatherElements(OpExport &e, nn::GatherElementsOp op) {
  e.need(11);
  e.finish("GatherElements", {e.in(0), indices(e, op.getIndices())}, {intAttr("axis", op.getAxis())});
}

void exportGatherND(OpExport &e, nn::GatherNDOp op) {
  e.need(op.getBatchDims() ? 12 : 11);
  e.finish("GatherND", {e.in(0), e.shape(op.getIndices())},
           op.getBatchDims() ? Attrs{intAttr("batch_dims", op.getBatchDims())} : Attrs{});
}

Attrs reductionAttr(OpExport &e, nn::ScatterReduction kind) {
  if (kind == nn::ScatterReduction::none)
    return {};
  e.need(kind == nn::ScatterReduction::add || kind == nn::ScatterReduction::mul ? 16 : 18);
  return {stringAttr("reduction", nn::stringifyScatterReduction(kind))};
}

void exportScatterElements(OpExport &e, nn::ScatterElementsOp op) {
  Attrs attrs = reductionAttr(e, op.getReduction());
  attrs.push_back(intAttr("axis", op.getAxis()));
  bool old = e.opset() < 11 && op.getReduction() == nn::ScatterReduction::none;
  e.need(old ? 9 : 11);
  e.finish(old ? "Scatter" : "ScatterElements", {e.in(0), indices(e, op.getIndices()), e.in(2)}, std::move(attrs));
}

void exportScatterND(OpExport &e, nn::ScatterNDOp op) {
  e.need(11);
  e.finish("ScatterND", {e.in(0), e.shape(op.getIndices()), e.in(2)}, reductionAttr(e, op.getReduction()));
}

void exportOneHot(OpExport &e, nn::OneHotOp op) {
  e.need(9);
  e.finish("OneHot", e.allIn(), {intAttr("axis", op.getAxis())});
}

/// k is an attribute before opset 10, and a vector of one number since.
void exportTopK(OpExport &e, nn::TopKOp op) {
  Attrs attrs = {intAttr("axis", op.getAxis())};
  auto k = e.content(op.getK());
  bool plain = op.getLargest() && op.getSorted();
  if (e.opset() < 10 && k && plain) {
    attrs.push_back(intAttr("k", k->front()));
    e.finish("TopK", {e.in(0)}, std::move(attrs));
    return;
  }
  e.need(10);
  if (!plain) {
    e.need(11);
    attrs.push_back(intAttr("largest", op.getLargest()));
    attrs.push_back(intAttr("sorted", op.getSorted()));
  }
  std::string count = e.shape(op.getK());
  if (rankOf(op.getK()) == 0)
    count = e.step("Reshape", {count, e.ints({1})});
  e.finish("TopK", {e.in(0), count}, std::move(attrs));
}

void exportTensorScatter(OpExport &e, nn::TensorScatterOp op) {
  e.need(24);
  e.finish("TensorScatter", {e.name(op.getX()), e.name(op.getUpdate()), e.name(op.getWriteIndices())},
           {intAttr("axis", op.getAxis()), stringAttr("mode", op.getCircular() ? "circular" : "linear")});
}

void exportReverseSequence(OpExport &e, nn::ReverseSequenceOp op) {
  e.need(10);
  e.finish("ReverseSequence", e.allIn(), {intAttr("batch_axis", op.getBatchAxis()), intAttr("time_axis", op.getTimeAxis())});
}

void exportUnique(OpExport &e, nn::UniqueOp op) {
  e.need(11);
  Attrs attrs = {intAttr("sorted", op.getSorted())};
  if (op.getAxis())
    attrs.push_back(intAttr("axis", *op.getAxis()));
  e.finish("Unique", {e.in(0)}, std::move(attrs));
}

void exportNonMaxSuppression(OpExport &e, nn::NonMaxSuppressionOp op) {
  e.need(10);
  auto one = [&](Value v) { return v ? e.step("Reshape", {e.name(v), e.ints({1})}) : std::string(); };
  e.finish("NonMaxSuppression",
           {e.name(op.getBoxes()), e.name(op.getScores()), one(op.getMaxBoxes()), one(op.getIouThreshold()),
            one(op.getScoreThreshold())},
           {intAttr("center_point_box", op.getCenterPointBox())});
}

} // namespace

void addIndexing(ExportRegistry &r) {
  r.add<nn::GatherOp>(exportGather);
  r.add<nn::GatherElementsOp>(exportGatherElements);
  r.add<nn::GatherNDOp>(exportGatherND);
  r.add<nn::ScatterElementsOp>(exportScatterElements);
  r.add<nn::ScatterNDOp>(exportScatterND);
  r.add<nn::TensorScatterOp>(exportTensorScatter);
  r.add<nn::ReverseSequenceOp>(exportReverseSequence);
  r.add<nn::OneHotOp>(exportOneHot);
  r.add<nn::NonZeroOp>("NonZero", 9);
  r.add<nn::TopKOp>(exportTopK);
  r.add<nn::UniqueOp>(exportUnique);
  r.add<nn::NonMaxSuppressionOp>(exportNonMaxSuppression);
}

} // namespace nnopt::onnx

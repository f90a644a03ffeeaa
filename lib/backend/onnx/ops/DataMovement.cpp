//===- DataMovement.cpp - export rules of operations that move data -------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

void exportReshape(OpExport &e, nn::ReshapeOp op) {
  if (op.getAllowZero())
    e.need(14);
  e.finish("Reshape", {e.in(0), e.shape(op.getShape())}, op.getAllowZero() ? Attrs{intAttr("allowzero", 1)} : Attrs{});
}

void exportFlatten(OpExport &e, nn::FlattenOp op) {
  e.finish("Flatten", e.allIn(), {intAttr("axis", op.getAxis())});
}

template <typename OpTy> void exportAxes(OpExport &e, OpTy op, StringRef type) {
  if (e.opset() >= 13)
    e.finish(type, {e.in(0), e.ints(op.getAxes())});
  else
    e.finish(type, {e.in(0)}, {intsAttr("axes", op.getAxes())});
}

void exportTranspose(OpExport &e, nn::TransposeOp op) {
  e.finish("Transpose", e.allIn(), {intsAttr("perm", op.getPerm())});
}

void exportExpand(OpExport &e, nn::ExpandOp op) {
  e.need(8);
  e.finish("Expand", {e.in(0), e.shape(op.getShape())});
}

void exportConcat(OpExport &e, nn::ConcatOp op) { e.finish("Concat", e.allIn(), {intAttr("axis", op.getAxis())}); }

void exportSplit(OpExport &e, nn::SplitOp op) {
  Attrs attrs = {intAttr("axis", op.getAxis())};
  Names inputs = {e.in(0)};
  if (op.getSizes()) {
    auto sizes = e.content(op.getSizes());
    if (e.opset() < 13 && sizes) {
      attrs.push_back(intsAttr("split", *sizes));
    } else {
      e.need(13);
      inputs.push_back(e.shape(op.getSizes()));
    }
  } else if (e.opset() >= 18) {
    attrs.push_back(intAttr("num_outputs", op.getNumResults()));
  } else if (int64_t size = tensorType(op.getX()).getDimSize(op.getAxis());
             ShapedType::isDynamic(size) || size % op.getNumResults() != 0) {
    e.need(18); // the last part may be shorter
  }
  e.finish("Split", inputs, std::move(attrs));
}

/// Positions are attributes before opset 10.
void exportSlice(OpExport &e, nn::SliceOp op) {
  auto starts = e.content(op.getStarts()), ends = e.content(op.getEnds());
  std::optional<Ints> axes, steps;
  if (op.getAxes())
    axes = e.content(op.getAxes());
  if (op.getSteps())
    steps = e.content(op.getSteps());
  bool known = starts && ends && (!op.getAxes() || axes);
  bool plain = !op.getSteps() || (steps && llvm::all_of(*steps, [](int64_t s) { return s == 1; }));
  if (e.opset() >= 10 || !known || !plain) {
    e.need(10);
    e.finish("Slice", {e.in(0), e.name(op.getStarts()), e.name(op.getEnds()), e.name(op.getAxes()), e.name(op.getSteps())});
    return;
  }
  Attrs attrs = {intsAttr("starts", *starts), intsAttr("ends", *ends)};
  if (axes)
    attrs.push_back(intsAttr("axes", *axes));
  e.finish("Slice", {e.in(0)}, std::move(attrs));
}

/// Pads are an attribute before opset 11, axes an operand since 18.
void exportPad(OpExport &e, nn::PadOp op) {
  if (op.getMode() == nn::PadMode::wrap)
    e.need(19);
  Attrs attrs = {stringAttr("mode", nn::stringifyPadMode(op.getMode()))};
  auto pads = e.content(op.getPads());
  if (op.getAxes() && e.opset() < 18) {
    // Pads of all dimensions, where they are known.
    auto axes = e.content(op.getAxes());
    if (pads && axes) {
      int64_t rank = rankOf(op.getX()), n = axes->size();
      Ints all(2 * rank, 0);
      for (auto [i, axis] : llvm::enumerate(*axes)) {
        int64_t at = axis < 0 ? axis + rank : axis;
        all[at] = (*pads)[i];
        all[at + rank] = (*pads)[i + n];
      }
      pads = all;
    } else {
      e.need(18);
    }
  }
  std::optional<llvm::SmallVector<double>> value;
  if (op.getValue())
    value = e.numbers(op.getValue());
  if (e.opset() < 11 && pads && (!op.getValue() || value)) {
    attrs.push_back(intsAttr("pads", *pads));
    if (value)
      attrs.push_back(floatAttr("value", value->front()));
    e.finish("Pad", {e.in(0)}, std::move(attrs));
    return;
  }
  e.need(11);
  bool all = op.getAxes() && e.opset() < 18;
  e.finish("Pad",
           {e.in(0), all && pads ? e.ints(*pads) : e.shape(op.getPads()), e.name(op.getValue()), all ? "" : e.name(op.getAxes())},
           std::move(attrs));
}

void exportTile(OpExport &e, nn::TileOp op) { e.finish("Tile", {e.in(0), e.shape(op.getRepeats())}); }

void exportTrilu(OpExport &e, nn::TriluOp op) {
  e.need(14);
  e.finish("Trilu", e.allIn(), {intAttr("upper", op.getUpper())});
}

void exportDepthToSpace(OpExport &e, nn::DepthToSpaceOp op) {
  Attrs attrs = {intAttr("blocksize", op.getBlocksize())};
  if (op.getCrd()) {
    e.need(11);
    attrs.push_back(stringAttr("mode", "CRD"));
  }
  e.finish("DepthToSpace", e.allIn(), std::move(attrs));
}

void exportSpaceToDepth(OpExport &e, nn::SpaceToDepthOp op) {
  Attrs attrs = {intAttr("blocksize", op.getBlocksize())};
  if (op.getCrd()) {
    e.need(28);
    attrs.push_back(stringAttr("mode", "CRD"));
  }
  e.finish("SpaceToDepth", e.allIn(), std::move(attrs));
}

void exportBitCast(OpExport &e, nn::BitCastOp op) {
  e.need(26);
  e.finish("BitCast", e.allIn(), {intAttr("to", onnxDataType(op.getTo()))});
}

} // namespace

void addDataMovement(ExportRegistry &r) {
  r.add<nn::ReshapeOp>(exportReshape);
  r.add<nn::FlattenOp>(exportFlatten);
  r.add<nn::SqueezeOp>([](OpExport &e, nn::SqueezeOp op) { exportAxes(e, op, "Squeeze"); });
  r.add<nn::UnsqueezeOp>([](OpExport &e, nn::UnsqueezeOp op) { exportAxes(e, op, "Unsqueeze"); });
  r.add<nn::BitCastOp>(exportBitCast);
  r.add<nn::TransposeOp>(exportTranspose);
  r.add<nn::ExpandOp>(exportExpand);
  r.add<nn::ConcatOp>(exportConcat);
  r.add<nn::SplitOp>(exportSplit);
  r.add<nn::SliceOp>(exportSlice);
  r.add<nn::PadOp>(exportPad);
  r.add<nn::TileOp>(exportTile);
  r.add<nn::TriluOp>(exportTrilu);
  r.add<nn::DepthToSpaceOp>(exportDepthToSpace);
  r.add<nn::SpaceToDepthOp>(exportSpaceToDepth);
}

} // namespace nnopt::onnx

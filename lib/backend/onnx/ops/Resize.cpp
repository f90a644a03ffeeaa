//===- Resize.cpp - export rule of resize ---------------------------------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// What Upsample and Resize of opset 10 compute: asymmetric coordinates, rounded down where
/// dimensions grow and up where they shrink.
bool isUpsample(OpExport &e, nn::ResizeOp op) {
  if (!op.getScales() || op.getMode() == nn::ResizeMode::cubic || op.getCoordinates() != nn::CoordinateMode::asymmetric)
    return false;
  if (op.getMode() == nn::ResizeMode::linear)
    return true;
  auto scales = e.numbers(op.getScales());
  if (!scales)
    return op.getNearest() == nn::NearestMode::floor;
  bool shrinks = llvm::any_of(*scales, [](double s) { return s < 1; });
  return op.getNearest() == (shrinks ? nn::NearestMode::ceil : nn::NearestMode::floor);
}

/// Whether floor(dimension * scale), as Resize computes sizes from scales, gives the result's.
bool scalesGiveSizes(OpExport &e, nn::ResizeOp op) {
  auto scales = e.numbers(op.getScales());
  RankedTensorType x = tensorType(op.getX()), y = tensorType(op.getResult());
  if (!scales || !x.hasStaticShape() || !y.hasStaticShape() || int64_t(scales->size()) != x.getRank())
    return false;
  for (auto [scale, from, to] : llvm::zip(*scales, x.getShape(), y.getShape()))
    if (int64_t(std::floor(float(from) * float(scale))) != to)
      return false;
  return true;
}

void exportResize(OpExport &e, nn::ResizeOp op) {
  StringRef mode = nn::stringifyResizeMode(op.getMode());
  std::string x = e.name(op.getX()), scales = e.name(op.getScales());
  if (e.opset() < 11 && isUpsample(e, op)) {
    Attrs attrs = {stringAttr("mode", mode)};
    if (e.opset() >= 9)
      return e.finish(e.opset() == 10 ? "Resize" : "Upsample", {x, scales}, std::move(attrs));
    if (auto known = e.numbers(op.getScales())) {
      pb::AttributeProto list;
      list.set_name("scales");
      list.set_type(pb::AttributeProto::FLOATS);
      for (double s : *known)
        list.add_floats(s);
      attrs.push_back(list);
      return e.finish("Upsample", {x}, std::move(attrs));
    }
  }
  e.need(op.getCoordinates() == nn::CoordinateMode::half_pixel_symmetric ? 19 : op.getAntialias() ? 18 : 11);
  if (op.getCoordinates() == nn::CoordinateMode::tf_half_pixel_for_nn && e.opset() > 12)
    e.unsupported("coordinates", "tf_half_pixel_for_nn ends with opset 12");
  // keep_aspect_ratio_policy was resolved to scales, and sizes that follow from them up to rounding.
  bool sizesFollow = op.getScales() && op.getSizes() && scalesGiveSizes(e, op);
  if (op.getScales() && op.getSizes() && !sizesFollow)
    e.unsupported("operands", "ONNX takes scales or sizes, and these scales do not give these sizes");
  Attrs attrs = {stringAttr("mode", mode),
                 stringAttr("coordinate_transformation_mode", nn::stringifyCoordinateMode(op.getCoordinates()))};
  // Attributes of other modes too, where an exporter has set them: the import of the export is the same graph.
  if (op.getMode() == nn::ResizeMode::nearest || op.getNearest() != nn::NearestMode::round_prefer_floor)
    attrs.push_back(stringAttr("nearest_mode", nn::stringifyNearestMode(op.getNearest())));
  if (double a = op.getCubicCoeffA().convertToDouble(); op.getMode() == nn::ResizeMode::cubic || a != -0.75)
    attrs.push_back(floatAttr("cubic_coeff_a", a));
  if (op.getAntialias())
    attrs.push_back(intAttr("antialias", 1));
  if (op.getExcludeOutside())
    attrs.push_back(intAttr("exclude_outside", 1));
  if (double value = op.getExtrapolationValue().convertToDouble(); value != 0)
    attrs.push_back(floatAttr("extrapolation_value", value));
  // Operands that are not used are empty tensors before opset 13, and may be absent since.
  std::string none = e.opset() >= 13 ? "" : e.number(0, Float32Type::get(op.getContext()), {0});
  std::string sizes = op.getSizes() && !sizesFollow ? e.shape(op.getSizes()) : "";
  std::string roi = op.getRoi() ? e.name(op.getRoi()) : none;
  e.finish("Resize", {x, roi, op.getScales() ? scales : none, sizes}, std::move(attrs));
}

} // namespace

void addResize(ExportRegistry &r) { r.add<nn::ResizeOp>(exportResize); }

} // namespace nnopt::onnx

//===- Sampling.cpp - export rules of sampled images and of signals -------===//
#include "lib/backend/onnx/Exporter.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

void exportGridSample(OpExport &e, nn::GridSampleOp op) {
  e.need(rankOf(op.getX()) == 4 ? 16 : 20);
  StringRef mode = nn::stringifyResizeMode(op.getMode());
  if (e.opset() < 20 && mode != "nearest")
    mode = mode == "linear" ? "bilinear" : "bicubic";
  e.finish("GridSample", e.allIn(),
           {stringAttr("mode", mode), stringAttr("padding_mode", nn::stringifySamplePadding(op.getPadding())),
            intAttr("align_corners", op.getAlignCorners())});
}

void exportRoiAlign(OpExport &e, nn::RoiAlignOp op) {
  e.need(op.getHalfPixel() ? 16 : 10);
  Attrs attrs = {stringAttr("mode", op.getMax() ? "max" : "avg"), intAttr("output_height", op.getHeight()),
                 intAttr("output_width", op.getWidth()), intAttr("sampling_ratio", op.getSamplingRatio()),
                 floatAttr("spatial_scale", op.getSpatialScale().convertToDouble())};
  if (e.opset() >= 16) // before, there was no half pixel
    attrs.push_back(
        stringAttr("coordinate_transformation_mode", op.getHalfPixel() ? "half_pixel" : "output_half_pixel"));
  e.finish("RoiAlign", e.allIn(), std::move(attrs));
}

void exportMaxRoiPool(OpExport &e, nn::MaxRoiPoolOp op) {
  e.finish("MaxRoiPool", e.allIn(),
           {intsAttr("pooled_shape", {int64_t(op.getHeight()), int64_t(op.getWidth())}),
            floatAttr("spatial_scale", op.getSpatialScale().convertToDouble())});
}

void exportCol2Im(OpExport &e, nn::Col2ImOp op) {
  e.need(18);
  e.finish("Col2Im", {e.name(op.getX()), e.shape(op.getImageShape()), e.shape(op.getBlockShape())},
           {intsAttr("strides", op.getStrides()), intsAttr("pads", op.getPads()), intsAttr("dilations", op.getDilations())});
}

/// The samples are what a deformable convolution multiplies with its weights: each of them by itself is one with a group for
/// each channel, whose weights are 1 at one element of the kernel and 0 elsewhere.
void exportDeformSample(OpExport &e, nn::DeformSampleOp op) {
  e.need(19);
  int64_t channels = tensorType(op.getX()).getDimSize(1), size = 1;
  if (ShapedType::isDynamic(channels))
    e.unsupported("shape", "the number of channels is not known");
  SmallVector<int64_t> shape = {0, 1};
  for (int64_t k : op.getKernel()) {
    size *= k;
    shape.push_back(k);
  }
  shape[0] = channels * size;
  std::vector<float> weights(channels * size * size, 0);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < size; ++i)
      weights[(c * size + i) * size + i] = 1;
  std::string w = e.constant(nn::makeFloats(op.getContext(), shape, weights, "samples"));
  if (!elementTypeOf(op.getX()).isF32())
    w = e.cast(w, elementTypeOf(op.getX()));
  Names inputs = {e.name(op.getX()), w, e.name(op.getOffset()), ""};
  if (op.getMask())
    inputs.push_back(e.name(op.getMask()));
  else
    inputs.pop_back();
  std::string y = e.step("DeformConv", inputs,
                         {intsAttr("kernel_shape", op.getKernel()), intsAttr("strides", op.getStrides()),
                          intsAttr("pads", op.getPads()), intsAttr("dilations", op.getDilations()), intAttr("group", channels),
                          intAttr("offset_group", op.getOffsetGroup())});
  e.finish("Reshape", {y, e.ints({0, channels * size, -1})});
}

/// `axis` is an attribute in opset 17 and an operand since 20.
void exportDFT(OpExport &e, nn::DFTOp op) {
  std::optional<Ints> axis = e.content(op.getAxis());
  e.need(axis && !(op.getInverse() && op.getOnesided()) ? 17 : 20);
  Attrs attrs = {intAttr("inverse", op.getInverse()), intAttr("onesided", op.getOnesided())};
  Names inputs = {e.name(op.getX()), e.name(op.getDftLength())};
  if (e.opset() >= 20)
    inputs.push_back(e.shape(op.getAxis()));
  else if (axis)
    attrs.push_back(intAttr("axis", axis->front()));
  e.finish("DFT", inputs, std::move(attrs));
}

} // namespace

void addSampling(ExportRegistry &r) {
  r.add<nn::GridSampleOp>(exportGridSample);
  r.add<nn::RoiAlignOp>(exportRoiAlign);
  r.add<nn::MaxRoiPoolOp>(exportMaxRoiPool);
  r.add<nn::Col2ImOp>(exportCol2Im);
  r.add<nn::DeformSampleOp>(exportDeformSample);
  r.add<nn::DFTOp>(exportDFT);
}

} // namespace nnopt::onnx

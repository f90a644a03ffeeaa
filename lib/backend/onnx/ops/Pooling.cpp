//===- Pooling.cpp - export rules of pooling ------------------------------===//
#include "lib/backend/onnx/ops/Layout.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

bool allOnes(ArrayRef<int64_t> values) {
  return llvm::all_of(values, [](int64_t v) { return v == 1; });
}

template <typename OpTy> Attrs windowAttrs(OpExport &e, OpTy op, int64_t dilationsSince) {
  Attrs attrs = {intsAttr("kernel_shape", op.getKernel()), intsAttr("strides", op.getStrides()), intsAttr("pads", op.getPads())};
  if (!allOnes(op.getDilations())) {
    e.need(dilationsSince);
    attrs.push_back(intsAttr("dilations", op.getDilations()));
  }
  if (op.getCeilMode()) {
    e.need(10);
    attrs.push_back(intAttr("ceil_mode", 1));
  }
  return attrs;
}

void exportMaxPool(OpExport &e, nn::MaxPoolOp op) {
  Attrs attrs = windowAttrs(e, op, 10);
  if (op.getColumnMajor()) {
    e.need(8);
    attrs.push_back(intAttr("storage_order", 1));
  }
  if (op.getChannelsLast() && op.getIndices())
    e.unsupported("indices", "count positions channels last");
  finishPlain(e, "MaxPool", op.getX(), {}, std::move(attrs), op.getChannelsLast());
}

void exportAvgPool(OpExport &e, nn::AvgPoolOp op) {
  Attrs attrs = windowAttrs(e, op, 19);
  if (op.getCountIncludePad())
    attrs.push_back(intAttr("count_include_pad", 1));
  finishPlain(e, "AveragePool", op.getX(), {}, std::move(attrs), op.getChannelsLast());
}

void exportLpPool(OpExport &e, nn::LpPoolOp op) {
  Attrs attrs = windowAttrs(e, op, 18);
  if (op.getCeilMode())
    e.need(18);
  attrs.push_back(intAttr("p", op.getP()));
  finishPlain(e, "LpPool", op.getX(), {}, std::move(attrs), op.getChannelsLast());
}

void exportMaxUnpool(OpExport &e, nn::MaxUnpoolOp op) {
  e.need(9);
  e.finish("MaxUnpool", e.allIn(),
           {intsAttr("kernel_shape", op.getKernel()), intsAttr("strides", op.getStrides()), intsAttr("pads", op.getPads())});
}

} // namespace

void addPooling(ExportRegistry &r) {
  r.add<nn::MaxPoolOp>(exportMaxPool);
  r.add<nn::AvgPoolOp>(exportAvgPool);
  r.add<nn::LpPoolOp>(exportLpPool);
  r.add<nn::MaxUnpoolOp>(exportMaxUnpool);
}

} // namespace nnopt::onnx

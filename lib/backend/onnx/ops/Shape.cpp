//===- Shape.cpp - export rules of shape operations -----------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

void exportShape(OpExport &e, nn::ShapeOp op) {
  int64_t rank = rankOf(op.getX()), start = op.getStart(), end = op.getEnd().value_or(rank);
  if (start == 0 && end == rank)
    e.finish("Shape", e.allIn());
  else if (e.opset() < 15)
    e.finishAs({e.shapeOf(e.in(0), rank, start, end)});
  else {
    Attrs attrs;
    if (start != 0)
      attrs.push_back(intAttr("start", start));
    if (end != rank)
      attrs.push_back(intAttr("end", end));
    e.finish("Shape", e.allIn(), std::move(attrs));
  }
}

void exportConstantOfShape(OpExport &e, nn::ConstantOfShapeOp op) {
  e.need(9);
  nn::ConstantData data = *nn::ConstantData::get(Attribute(op.getValue()));
  pb::AttributeProto value;
  value.set_name("value");
  value.set_type(pb::AttributeProto::TENSOR);
  value.mutable_t()->set_data_type(onnxDataType(data.type().getElementType()));
  value.mutable_t()->add_dims(1);
  value.mutable_t()->set_raw_data(data.bytes().data(), data.bytes().size());
  e.finish("ConstantOfShape", {e.shape(op.getShape())}, {value});
}

} // namespace

void addShapeOps(ExportRegistry &r) {
  r.add<nn::ShapeOp>(exportShape);
  r.add<nn::SizeOp>("Size");
  r.add<nn::ConstantOfShapeOp>(exportConstantOfShape);
  r.add<nn::RangeOp>("Range", 11);
}

} // namespace nnopt::onnx

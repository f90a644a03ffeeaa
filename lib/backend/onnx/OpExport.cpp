//===- OpExport.cpp - what export rules see -------------------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static pb::AttributeProto makeAttr(StringRef name, pb::AttributeProto::AttributeType type) {
  pb::AttributeProto a;
  a.set_name(name.str());
  a.set_type(type);
  return a;
}
pb::AttributeProto intAttr(StringRef name, int64_t value) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::INT);
  a.set_i(value);
  return a;
}
pb::AttributeProto floatAttr(StringRef name, double value) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::FLOAT);
  a.set_f(value);
  return a;
}
pb::AttributeProto stringAttr(StringRef name, StringRef value) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::STRING);
  a.set_s(value.str());
  return a;
}
pb::AttributeProto intsAttr(StringRef name, ArrayRef<int64_t> values) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::INTS);
  for (int64_t v : values)
    a.add_ints(v);
  return a;
}
pb::AttributeProto floatsAttr(StringRef name, ArrayRef<float> values) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::FLOATS);
  for (float v : values)
    a.add_floats(v);
  return a;
}
pb::AttributeProto stringsAttr(StringRef name, ArrayRef<std::string> values) {
  pb::AttributeProto a = makeAttr(name, pb::AttributeProto::STRINGS);
  for (const std::string &v : values)
    a.add_strings(v);
  return a;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

int64_t OpExport::opset() const { return exporter.opset; }
void OpExport::need(int64_t since) { exporter.required = std::max(exporter.required, since); }

std::string OpExport::name(Value v) const { return v ? exporter.nameOf(v) : ""; }

Names OpExport::allIn() const {
  Names all;
  for (Value v : op->getOperands())
    all.push_back(name(v));
  return all;
}

std::string OpExport::shape(Value v) {
  Type i64 = IntegerType::get(v.getContext(), 64);
  return elementTypeOf(v) == i64 ? name(v) : cast(name(v), i64);
}

std::optional<Ints> OpExport::content(Value v) const {
  auto data = nn::ConstantData::get(v);
  if (!data)
    return std::nullopt;
  Ints values;
  for (int64_t i = 0; i < data->size(); ++i)
    values.push_back(data->asInt(i));
  return values;
}

std::optional<SmallVector<double>> OpExport::numbers(Value v) const {
  auto data = nn::ConstantData::get(v);
  if (!data)
    return std::nullopt;
  SmallVector<double> values;
  for (int64_t i = 0; i < data->size(); ++i)
    values.push_back(data->asDouble(i));
  return values;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

std::string OpExport::step(StringRef type, ArrayRef<std::string> inputs, Attrs attrs) {
  pb::NodeProto *node = exporter.addNode(type, baseName(op) + "/" + type.str(), inputs, std::move(attrs));
  std::string output = exporter.newValueName(node->name() + "_output_0");
  exporter.addOutput(node, output);
  return output;
}

void OpExport::finish(StringRef type, ArrayRef<std::string> inputs, Attrs attrs) {
  pb::NodeProto *node = exporter.addNode(type, baseName(op), inputs, std::move(attrs));
  for (auto [i, v] : enumerate(op->getResults()))
    exporter.addOutput(node, exporter.nameResult(v, node->name() + "_output_" + std::to_string(i)));
}

void OpExport::finishOptional(StringRef type, ArrayRef<std::string> inputs, Attrs attrs) {
  pb::NodeProto *node = exporter.addNode(type, baseName(op), inputs, std::move(attrs));
  unsigned count = op->getNumResults();
  while (count > 1 && op->getResult(count - 1).use_empty())
    --count;
  for (unsigned i = 0; i < count; ++i) {
    Value v = op->getResult(i);
    if (v.use_empty())
      node->add_output("");
    else
      exporter.addOutput(node, exporter.nameResult(v, node->name() + "_output_" + std::to_string(i)));
  }
}

void OpExport::finishAs(ArrayRef<std::string> values) {
  for (auto [v, value] : zip(op->getResults(), values)) {
    if (!exporter.isOutput(v)) {
      exporter.bind(v, value);
      continue;
    }
    pb::NodeProto *node = exporter.addNode("Identity", baseName(op), {value}, {});
    exporter.addOutput(node, exporter.nameResult(v, ""));
  }
}

//===----------------------------------------------------------------------===//
// Constants and common pieces
//===----------------------------------------------------------------------===//

std::string OpExport::constant(ElementsAttr value) { return exporter.constant(value); }

std::string OpExport::ints(ArrayRef<int64_t> values) {
  return exporter.constant(nn::makeInts(op->getContext(), {int64_t(values.size())}, values));
}
std::string OpExport::scalar(int64_t value) { return exporter.constant(nn::makeInts(op->getContext(), {}, {value})); }

std::string OpExport::number(double value, Type type, ArrayRef<int64_t> shape) {
  Attribute element = isa<FloatType>(type) ? Attribute(FloatAttr::get(type, value))
                                           : Attribute(IntegerAttr::get(type, APInt(type.getIntOrFloatBitWidth(),
                                                                                    int64_t(value), true, true)));
  return exporter.constant(DenseElementsAttr::get(RankedTensorType::get(shape, type), element));
}

std::string OpExport::withAxes(StringRef type, std::string x, ArrayRef<int64_t> axes, int64_t since, Attrs more) {
  if (opset() >= since)
    return step(type, {x, ints(axes)}, std::move(more));
  more.push_back(intsAttr("axes", axes));
  return step(type, {x}, std::move(more));
}

std::string OpExport::transpose(std::string x, ArrayRef<int64_t> perm) {
  return step("Transpose", {x}, {intsAttr("perm", perm)});
}

std::string OpExport::cast(std::string x, Type to) {
  return step("Cast", {x}, {intAttr("to", onnxDataType(to))});
}

std::string OpExport::shapeOf(std::string x, int64_t rank, int64_t from, int64_t to) {
  if (from == 0 && to == rank)
    return step("Shape", {x});
  if (opset() >= 15) {
    Attrs attrs;
    if (from != 0)
      attrs.push_back(intAttr("start", from));
    if (to != rank)
      attrs.push_back(intAttr("end", to));
    return step("Shape", {x}, std::move(attrs));
  }
  std::string all = step("Shape", {x});
  if (opset() >= 10)
    return step("Slice", {all, ints({from}), ints({to})});
  return step("Slice", {all}, {intsAttr("starts", {from}), intsAttr("ends", {to})});
}

//===----------------------------------------------------------------------===//
// Registry
//===----------------------------------------------------------------------===//

const ExportRegistry::Rule *ExportRegistry::find(StringRef op) const {
  auto it = rules.find(op);
  return it == rules.end() ? nullptr : &it->second;
}

const ExportRegistry &ExportRegistry::get() {
  static const ExportRegistry all = [] {
    ExportRegistry r;
    addElementwise(r);
    addActivations(r);
    addScalarRegions(r);
    addShapeOps(r);
    addDataMovement(r);
    addIndexing(r);
    addContractions(r);
    addAttention(r);
    addPooling(r);
    addNormalization(r);
    addReductions(r);
    addQuantization(r);
    addRecurrent(r);
    addResize(r);
    addSampling(r);
    addRandom(r);
    addControlFlow(r);
    return r;
  }();
  return all;
}

} // namespace nnopt::onnx

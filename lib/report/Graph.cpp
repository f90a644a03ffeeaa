//===- Graph.cpp - a graph of nn operations as data -------------------------===//

#include "lib/report/Graph.h"
#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"
#include "lib/codegen/Program.h"
#include "lib/report/Work.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace json = llvm::json;

namespace nnopt::report {

std::string utf8(StringRef text) { return json::isUTF8(text) ? text.str() : json::fixUTF8(text); }

json::Array originsOf(Location loc) {
  json::Array list;
  for (StringRef name : nodeNames(loc))
    list.push_back(utf8(name));
  return list;
}

std::optional<int64_t> evaluate(nn::Dim d, const Sizes &sizes) {
  if (!d)
    return std::nullopt;
  return d.context().evaluate(d, [&](nn::Dim symbol) -> std::optional<int64_t> {
    auto it = sizes.find(symbol.symbol());
    return it == sizes.end() ? std::nullopt : std::optional(it->second);
  });
}

//===----------------------------------------------------------------------===//
// Types and attributes
//===----------------------------------------------------------------------===//

static std::string elementName(Type type) {
  if (type.isInteger(1))
    return "bool";
  std::string text;
  llvm::raw_string_ostream os(text);
  os << type;
  return text;
}

/// `f32[batch,3,224,224]`.
static std::string typeName(Value v, nn::ShapeContext &shapes) {
  const nn::ValueInfo &info = shapes.info(v);
  if (!isa<RankedTensorType>(v.getType()))
    return utf8(elementName(info.elementType));
  std::string text = elementName(info.elementType) + "[";
  for (auto [i, d] : llvm::enumerate(info.dims))
    text += (i ? "," : "") + d.str();
  return utf8(text + "]");
}

static json::Value attribute(Attribute a) {
  if (auto array = dyn_cast<DenseI64ArrayAttr>(a))
    return json::Array(array.asArrayRef());
  if (auto array = dyn_cast<ArrayAttr>(a)) {
    json::Array list;
    for (Attribute element : array)
      list.push_back(attribute(element));
    return list;
  }
  if (isa<UnitAttr>(a))
    return true;
  if (auto b = dyn_cast<BoolAttr>(a))
    return b.getValue();
  if (auto i = dyn_cast<IntegerAttr>(a); i && i.getValue().getBitWidth() <= 64)
    return i.getValue().getSExtValue();
  if (auto f = dyn_cast<FloatAttr>(a); f && std::isfinite(f.getValueAsDouble()))
    return f.getValueAsDouble();
  if (auto s = dyn_cast<StringAttr>(a))
    return utf8(s.getValue());
  std::string text;
  llvm::raw_string_ostream os(text);
  a.print(os, /*elideType=*/true);
  // Enumerations of the dialect: `#nn.direction<forward>`.
  if (StringRef(text).starts_with("#nn.") && StringRef(text).ends_with(">"))
    return utf8(StringRef(text).split('<').second.drop_back());
  return utf8(text);
}

static json::Object attributesOf(Operation *op) {
  json::Object attributes;
  for (NamedAttribute a : op->getAttrDictionary())
    if (a.getName() != "operandSegmentSizes" && a.getName() != "resultSegmentSizes")
      attributes[a.getName().getValue()] = attribute(a.getValue());
  return attributes;
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

Graph::Graph(func::FuncOp func) {
  nn::ShapeContext shapes(dims);
  // A graph that contradicts itself is reported by the compilation, with the node's name.
  ScopedDiagnosticHandler silence(func.getContext(), [](Diagnostic &) {});
  (void)shapes.inferRegion(func.getBody());
  nn::refineFunctionType(func);

  Block &body = func.getBody().front();
  for (BlockArgument arg : body.getArguments()) {
    auto name = func.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "nn.name");
    json::Object input = describe(arg, shapes);
    input["name"] = name ? utf8(name.getValue()) : "input" + std::to_string(arg.getArgNumber());
    inputs.push_back(std::move(input));
  }
  // The symbols that arguments brought in come first, before those that depend on data.
  DictionaryAttr bounds = func->getParentOp()->getAttrOfType<DictionaryAttr>("nn.dim_bounds");
  llvm::StringSet<> seen;
  for (BlockArgument arg : body.getArguments())
    for (nn::Dim d : shapes.dims(arg))
      if (d.kind() == nn::Dim::Kind::Symbol && seen.insert(d.symbol()).second) {
        auto range = bounds ? dyn_cast_or_null<ArrayAttr>(bounds.get(d.symbol())) : ArrayAttr();
        inputSymbols.emplace_back(d.symbol().str(), range ? cast<IntegerAttr>(range[0]).getInt() : 0);
      }
  addBlock(body, shapes, std::nullopt);
  for (auto [i, v] : llvm::enumerate(body.getTerminator()->getOperands())) {
    auto name = func.getResultAttrOfType<StringAttr>(i, "nn.name");
    json::Object output = describe(v, shapes);
    output["name"] = name ? utf8(name.getValue()) : "output" + std::to_string(i);
    outputs.push_back(std::move(output));
  }
}

int64_t Graph::idOf(Value v) { return ids.try_emplace(v, ids.size()).first->second; }

json::Array Graph::idsOf(ValueRange values) {
  json::Array list;
  for (Value v : values)
    list.push_back(idOf(v));
  return list;
}

json::Object Graph::describe(Value v, nn::ShapeContext &shapes) {
  return json::Object{{"id", idOf(v)}, {"type", typeName(v, shapes)}};
}

void Graph::addBlock(Block &block, nn::ShapeContext &shapes, std::optional<size_t> parent) {
  for (Operation &op : block.without_terminator()) {
    if (isa<nn::ConstantOp>(op))
      addConstant(&op, shapes);
    else
      addNode(&op, shapes, parent);
  }
}

void Graph::addConstant(Operation *op, nn::ShapeContext &shapes) {
  json::Object constant = describe(op->getResult(0), shapes);
  if (SmallVector<StringRef> names = nodeNames(op->getLoc()); !names.empty())
    constant["name"] = utf8(names.front());
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  // Integers of 32 bits and more are shapes and indices.
  Type element = type.getElementType();
  if (isa<FloatType>(element) || (element.isIntOrFloat() && element.getIntOrFloatBitWidth() <= 8))
    parameters += type.getNumElements();
  if (type.getNumElements() == 1)
    if (auto data = nn::ConstantData::get(op->getResult(0)); data && std::isfinite(data->asDouble(0)))
      constant["value"] = data->asDouble(0);
  constants.push_back(std::move(constant));
}

void Graph::addNode(Operation *op, nn::ShapeContext &shapes, std::optional<size_t> parent) {
  size_t number = nodes.size();
  positions[op] = number;
  nodes.emplace_back();
  json::Object node{
      {"op", op->getName().stripDialect()}, {"origins", originsOf(op->getLoc())}, {"inputs", idsOf(op->getOperands())}};
  json::Array results;
  for (Value result : op->getResults())
    results.push_back(describe(result, shapes));
  node["outputs"] = std::move(results);
  if (json::Object attributes = attributesOf(op); !attributes.empty())
    node["attributes"] = std::move(attributes);
  if (parent)
    node["parent"] = int64_t(*parent);

  // A region of scalar code is part of the operation; one of tensor code is a graph inside of it.
  json::Array scalars, arguments, yields;
  for (Region &region : op->getRegions())
    for (Block &block : region) {
      if (!isa<nn::IfOp, nn::LoopOp>(op)) {
        for (Operation &scalar : block.without_terminator())
          if (!isa<arith::ConstantOp>(scalar))
            scalars.push_back(scalar.getName().stripDialect());
        continue;
      }
      for (BlockArgument arg : block.getArguments())
        arguments.push_back(describe(arg, shapes));
      addBlock(block, shapes, number);
      for (Value v : block.getTerminator()->getOperands())
        yields.push_back(idOf(v));
    }
  if (!scalars.empty())
    node["scalars"] = std::move(scalars);
  if (!arguments.empty())
    node["arguments"] = std::move(arguments);
  if (!yields.empty())
    node["yields"] = std::move(yields);
  nodes[number].data = std::move(node);
  nodes[number].macs = multiplyAccumulates(op, shapes);
}

std::optional<size_t> Graph::nodeOf(Operation *op) const {
  auto it = positions.find(op);
  return it == positions.end() ? std::nullopt : std::optional(it->second);
}

std::optional<int64_t> Graph::macs(const Sizes &sizes) const {
  int64_t sum = 0;
  for (const Node &node : nodes) {
    if (!node.macs)
      continue;
    std::optional<int64_t> macs = evaluate(node.macs, sizes);
    if (!macs)
      return std::nullopt;
    sum += *macs;
  }
  return sum;
}

json::Object Graph::json(const Sizes &sizes) const {
  json::Array list;
  for (auto [i, node] : llvm::enumerate(nodes)) {
    json::Object data = node.data;
    data["id"] = int64_t(i);
    if (node.macs)
      data["macs"] = evaluate(node.macs, sizes);
    list.push_back(std::move(data));
  }
  return json::Object{{"inputs", json::Array(inputs)},
                      {"outputs", json::Array(outputs)},
                      {"constants", json::Array(constants)},
                      {"nodes", std::move(list)}};
}

} // namespace nnopt::report

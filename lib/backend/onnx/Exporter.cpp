//===- Exporter.cpp - names, graphs, the model ----------------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

std::string baseName(Operation *op) {
  if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
    return name.getName().str();
  return op->getName().stripDialect().str();
}

/// `base`, or the first of base_1, base_2, ... that is free.
template <typename Free> static std::string unique(StringRef base, Free free) {
  std::string name = base.str();
  for (int64_t i = 1; !free(name); ++i)
    name = (base + "_" + Twine(i)).str();
  return name;
}

std::string Exporter::newValueName(StringRef base) {
  return unique(base, [&](StringRef name) { return valueNames.insert(name).second; });
}

std::string Exporter::nameOf(Value v) {
  auto it = names.find(v);
  assert(it != names.end() && "a value is used before its operation");
  return it->second;
}

std::string Exporter::nameResult(Value v, StringRef base) {
  auto output = outputNames.find(v);
  std::string name = output != outputNames.end() ? output->second : newValueName(base);
  bind(v, name);
  return name;
}

pb::NodeProto *Exporter::addNode(StringRef type, StringRef base, ArrayRef<std::string> inputs, Attrs attrs) {
  pb::NodeProto *node = level->proto.add_node();
  // The first node that asks for the name of an operation is the one that keeps it.
  node->set_name(unique(base, [&](StringRef name) {
    return (name == base || !ownNames.contains(name)) && nodeNames.insert(name).second;
  }));
  node->set_op_type(type.str());
  // Absent operands at the end are left out, others have no name.
  while (!inputs.empty() && inputs.back().empty())
    inputs = inputs.drop_back();
  for (const std::string &input : inputs)
    node->add_input(input);
  for (pb::AttributeProto &a : attrs)
    node->add_attribute()->Swap(&a);
  return node;
}

void Exporter::addOutput(pb::NodeProto *node, StringRef name) {
  node->add_output(name.str());
  level->produced.insert(name);
}

/// Names of inputs, outputs and weights, which nothing else may take.
void Exporter::reserveNames(func::FuncOp main) {
  auto attrName = [](StringAttr name, const char *otherwise, int64_t i) {
    return name ? name.str() : otherwise + std::to_string(i);
  };
  for (BlockArgument arg : main.getArguments()) {
    unsigned i = arg.getArgNumber();
    bind(arg, newValueName(attrName(main.getArgAttrOfType<StringAttr>(i, "nn.name"), "input", i)));
    if (auto dims = main.getArgAttrOfType<ArrayAttr>(i, "nn.dims"))
      for (auto [axis, d] : enumerate(dims))
        // A dimension that has no name in the file is INPUT[AXIS] here (Importer::declaredDims).
        if (auto symbol = dyn_cast<StringAttr>(d); symbol && symbol != formatv("{0}[{1}]", nameOf(arg), axis).str())
          symbols.insert(symbol.getValue());
  }
  Operation *end = main.getBody().front().getTerminator();
  for (auto [i, v] : enumerate(end->getOperands())) {
    std::string name = attrName(main.getResultAttrOfType<StringAttr>(i, "nn.name"), "output", i);
    valueNames.insert(name);
    if (v.getDefiningOp() && !isa<nn::ConstantOp>(v.getDefiningOp()))
      outputNames.try_emplace(v, name);
  }
  main.walk([&](Operation *op) {
    if (!live.contains(op))
      return;
    if (isa<nn::ConstantOp>(op))
      bind(op->getResult(0), newValueName(baseName(op)));
    else
      ownNames.insert(baseName(op));
  });
}

/// What the outputs depend on; import rules leave operations behind whose value they have read.
void Exporter::markLive(func::FuncOp main) {
  SmallVector<Operation *> work = {main.getBody().front().getTerminator()};
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!op || !live.insert(op).second)
      continue;
    for (Value v : op->getOperands())
      work.push_back(v.getDefiningOp());
    for (Region &region : op->getRegions())
      for (Block &block : region)
        work.push_back(block.getTerminator());
  }
}

/// Sequences, optionals and maps have no export rules, wherever they occur.
void Exporter::refuseHostValues(func::FuncOp main) {
  auto refuse = [&](ValueRange values, StringRef op, std::string node) {
    if (llvm::none_of(values, [](Value v) {
          return isa<nn::SequenceType, nn::OptionalType, nn::MapType>(v.getType());
        }))
      return false;
    problems.push_back({op.str(), std::to_string(opset), "type", "sequences, optionals and maps are not exported", node});
    return true;
  };
  refuse(main.getArguments(), "input", "");
  main.walk([&](Operation *op) {
    if (!live.contains(op) || op->hasTrait<OpTrait::IsTerminator>())
      return;
    StringRef type = op->getName().getStringRef();
    if (refuse(op->getOperands(), type, baseName(op)) || refuse(op->getResults(), type, baseName(op)))
      return;
    for (Region &region : op->getRegions())
      for (Block &block : region)
        if (refuse(block.getArguments(), type, baseName(op)))
          return;
  });
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

static void setTensorHead(pb::TensorProto &tensor, StringRef name, const nn::ConstantData &data) {
  tensor.set_name(name.str());
  tensor.set_data_type(onnxDataType(data.type().getElementType()));
  for (int64_t d : data.type().getShape())
    tensor.add_dims(d);
}

/// Whether a constant has a shape that only broadcasts: the rules of its users write it as a vector
/// (ops/Quantization.cpp).
static bool isBroadcastParameter(nn::ConstantOp op) {
  return rankOf(op) > 1 && llvm::all_of(op->getUses(), [](OpOperand &use) {
           return isa<nn::QuantizeOp, nn::DequantizeOp>(use.getOwner()) && use.getOperandNumber() > 0;
         });
}

/// Elements narrower than a byte are one byte each here, and in files packed from the low bits on.
static std::vector<char> packed(const nn::ConstantData &data) {
  unsigned bits = data.type().getElementTypeBitWidth();
  if (bits >= 8 || data.type().getElementType().isInteger(1))
    return {};
  unsigned perByte = 8 / bits;
  std::vector<char> bytes(llvm::divideCeil(data.size(), perByte));
  for (auto [i, byte] : llvm::enumerate(data.bytes()))
    bytes[i / perByte] |= char((uint8_t(byte) & ((1u << bits) - 1)) << (i % perByte * bits));
  return bytes;
}

static ExportedModel::Weight weightOf(std::string name, nn::ConstantData data) {
  std::vector<char> narrow = packed(data);
  return {std::move(name), std::move(data), std::move(narrow)};
}

/// Weights of the main graph are written from where they are; those of subgraphs are small.
void Exporter::exportConstant(nn::ConstantOp op) {
  if (isBroadcastParameter(op))
    return;
  std::optional<nn::ConstantData> data = nn::ConstantData::get(op.getValue());
  if (!data)
    throw NoOnnxForm{"value", "its elements are not in this file (text elides large constants)"};
  if (!level->outer) {
    result->weights.push_back(weightOf(nameOf(op), std::move(*data)));
    return;
  }
  pb::TensorProto *tensor = level->proto.add_initializer();
  setTensorHead(*tensor, nameOf(op), *data);
  ExportedModel::Weight weight = weightOf(nameOf(op), std::move(*data));
  tensor->set_raw_data(weight.bytes().data(), weight.bytes().size());
}

std::string Exporter::constant(ElementsAttr value) {
  nn::ConstantData data = *nn::ConstantData::get(Attribute(value));
  std::string key;
  raw_string_ostream(key) << data.type() << "\n" << StringRef(data.bytes().data(), data.bytes().size());
  auto [it, fresh] = constants.try_emplace(key);
  if (fresh) {
    it->second = newValueName("constant");
    result->weights.push_back(weightOf(it->second, std::move(data)));
  }
  return it->second;
}

void Exporter::describe(pb::ValueInfoProto *info, StringRef name, Value v) {
  info->set_name(name.str());
  pb::TypeProto::Tensor *type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(onnxDataType(elementTypeOf(v)));
  pb::TensorShapeProto *shape = type->mutable_shape();
  for (nn::Dim dim : shapes.dims(v)) {
    pb::TensorShapeProto::Dimension *d = shape->add_dim();
    if (dim.isConst())
      d->set_dim_value(dim.value());
    else if (dim.kind() == nn::Dim::Kind::Symbol && symbols.contains(dim.symbol()))
      d->set_dim_param(dim.symbol().str());
  }
}

std::string Exporter::makeOutput(Value v, StringRef wanted, llvm::StringSet<> &taken) {
  std::string name = nameOf(v);
  if (!level->produced.contains(name) || (!wanted.empty() && name != wanted) || taken.contains(name)) {
    std::string copy = wanted.empty() ? newValueName(name + "_output") : wanted.str();
    addOutput(addNode("Identity", "Identity_" + copy, {name}, {}), copy);
    name = copy;
  }
  taken.insert(name);
  return name;
}

pb::GraphProto Exporter::subgraph(Region &region, StringRef name) {
  Level inner;
  inner.outer = level;
  level = &inner;
  inner.proto.set_name(name.str());
  Block &block = region.front();
  for (BlockArgument arg : block.getArguments()) {
    bind(arg, newValueName((name + "_input_" + Twine(arg.getArgNumber())).str()));
    describe(inner.proto.add_input(), nameOf(arg), arg);
  }
  exportBlock(block);
  llvm::StringSet<> taken;
  for (Value v : block.getTerminator()->getOperands())
    describe(inner.proto.add_output(), makeOutput(v, "", taken), v);
  level = inner.outer;
  return std::move(inner.proto);
}

void Exporter::exportBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (live.contains(&op))
      exportOp(&op);
}

void Exporter::exportOp(Operation *op) {
  try {
    for (Value v : op->getResults())
      if (!onnxDataType(elementTypeOf(v)))
        throw NoOnnxForm{"type", "ONNX has no such element type"};
    if (auto constant = dyn_cast<nn::ConstantOp>(op))
      return exportConstant(constant);
    const ExportRegistry::Rule *rule = ExportRegistry::get().find(op->getName().getStringRef());
    if (!rule)
      throw NoOnnxForm{"operation", "has no ONNX form"};
    OpExport e(*this, op);
    (*rule)(e);
  } catch (const NoOnnxForm &e) {
    problems.push_back({op->getName().getStringRef().str(), std::to_string(opset), e.what, e.reason, baseName(op)});
    for (Value v : op->getResults())
      if (!names.count(v))
        nameResult(v, baseName(op));
  }
}

LogicalResult Exporter::run() {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal())
    return module.emitError("no function @main");
  if (failed(shapes.inferRegion(main.getBody())))
    return failure();
  markLive(main);
  refuseHostValues(main);
  if (!problems.empty())
    return success();
  reserveNames(main);
  Level outermost;
  level = &outermost;
  pb::GraphProto &graph = outermost.proto;
  graph.set_name(baseName(main));
  for (BlockArgument arg : main.getArguments())
    describe(graph.add_input(), nameOf(arg), arg);
  Block &body = main.getBody().front();
  exportBlock(body);
  llvm::StringSet<> taken;
  for (auto [i, v] : enumerate(body.getTerminator()->getOperands())) {
    auto attr = main.getResultAttrOfType<StringAttr>(i, "nn.name");
    std::string name = attr ? attr.str() : "output" + std::to_string(i);
    describe(graph.add_output(), makeOutput(v, name, taken), v);
  }
  level = nullptr;

  pb::ModelProto model;
  auto original = module->getAttrOfType<IntegerAttr>("nn.ir_version");
  // Version 4 is the first where initializers need not be inputs. Sets from 19 on came with newer ones.
  int64_t needed = opset < 19 ? 4 : opset < 21 ? 9 : opset < 23 ? 10 : opset == 23 ? 11 : opset == 24 ? 12 : 13;
  model.set_ir_version(std::max(original ? original.getInt() : 8, needed));
  model.set_producer_name("nnopt");
  model.set_producer_version(NNOPT_VERSION);
  pb::OperatorSetIdProto *set = model.add_opset_import();
  set->set_domain("");
  set->set_version(opset);
  result->model = model.SerializeAsString();
  result->graph = graph.SerializeAsString();
  return success();
}

ExportResult exportModel(ModuleOp module) {
  // Without an original set: one that every runtime of the last years knows.
  constexpr int64_t usual = 17;
  auto attr = module->getAttrOfType<IntegerAttr>("nn.opset");
  int64_t opset = attr && attr.getInt() > 0 ? attr.getInt() : usual;
  ExportResult result;
  while (true) {
    Exporter exporter(module, opset);
    if (failed(exporter.run())) {
      result.exitCode = 1;
      return result;
    }
    if (exporter.required > opset) {
      opset = exporter.required;
      continue;
    }
    result.unsupported = std::move(exporter.problems);
    if (result.unsupported.empty())
      result.model = std::move(exporter.result);
    else
      result.exitCode = 4;
    return result;
  }
}

} // namespace nnopt::onnx

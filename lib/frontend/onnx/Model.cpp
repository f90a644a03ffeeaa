//===- Model.cpp - the model around the graph -----------------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

void Importer::readOpsets() {
  for (const pb::OperatorSetIdProto &o : file.model().opset_import()) {
    auto [it, fresh] = modelOpsets.try_emplace(normalizedDomain(o.domain()), o.version());
    if (!fresh && it->second != o.version())
      throw Fatal{formatv("the model imports two versions ({0}, {1}) of operator set '{2}'",
                          it->second, o.version(), o.domain())};
  }
  auto it = modelOpsets.find("");
  if (it == modelOpsets.end())
    return;
  // Older ones are checked operator by operator.
  if (it->second < 1 || it->second > Registry::newest)
    result.unsupported.push_back(
        {"*", std::to_string(it->second), "opset",
         formatv("supported are {0} to {1}, and few operators of older ones; convert the model with "
                 "onnx.version_converter",
                 Registry::oldest, Registry::newest),
         ""});
}

void Importer::readFunctions() {
  for (const pb::FunctionProto &f : file.model().functions())
    if (!functions.insert({functionKey(f.domain(), f.name(), f.overload()), &f}).second)
      throw Fatal{formatv("function '{0}.{1}' is defined more than once", f.domain(), f.name())};
}

/// Unknown names in `--dim` are a usage error that lists the known ones.
void Importer::checkDimOptions(const pb::GraphProto &graph) {
  SmallVector<std::string> known;
  for (const pb::ValueInfoProto &input : graph.input()) {
    int64_t axis = 0;
    for (const auto &d : input.type().tensor_type().shape().dim()) {
      int64_t at = axis++;
      if (d.has_dim_value() && d.dim_value() >= 0)
        continue;
      std::string name =
          d.dim_param().empty() ? formatv("{0}[{1}]", input.name(), at).str() : d.dim_param();
      if (!is_contained(known, name))
        known.push_back(name);
    }
  }
  SmallVector<StringRef> given;
  for (const auto &entry : options.dims)
    given.push_back(entry.getKey());
  llvm::sort(given);
  for (StringRef name : given) {
    const DimSpec &spec = options.dims.find(name)->second;
    std::string why;
    if (!is_contained(known, name))
      why = known.empty() ? "the model has no dynamic dimensions"
                          : "known names are " + join(known, ", ");
    else if (spec.low < 0 || (spec.high >= 0 && spec.high < spec.low))
      why = "the range is empty or negative";
    if (why.empty())
      continue;
    result.exitCode = 2;
    throw Fatal{formatv("--dim {0}: {1}", name, why)};
  }
}

void Importer::importInputs(Scope &scope, const pb::GraphProto &graph,
                            SmallVectorImpl<DictionaryAttr> &argAttrs) {
  StringSet<> seen;
  SmallVector<NamedAttribute> bounds;
  for (const pb::ValueInfoProto &input : graph.input()) {
    const std::string &name = input.name();
    if (name.empty())
      throw Fatal{"a graph input has no name"};
    if (!seen.insert(name).second)
      throw Fatal{formatv("graph input '{0}' is defined more than once", name)};
    // An initializer of the same name is the input's value.
    if (scope.tensors.contains(name) || scope.sparseTensors.contains(name))
      continue;
    auto unsupportedInput = [&](StringRef what, const Twine &reason) {
      result.unsupported.push_back({"(input)", "", what.str(), reason.str(), name});
      scope.values[name] = Binding{};
    };
    if (!input.type().has_tensor_type()) {
      if (!input.has_type() || input.type().value_case() == pb::TypeProto::VALUE_NOT_SET)
        throw Fatal{formatv("graph input '{0}' has no type", name)};
      Type type = valueType(&ctx, input.type());
      if (!type) {
        unsupportedInput("type", "sparse tensors, sequences of sequences and element types that tensors do not have "
                                 "are not supported");
        continue;
      }
      Value argument = scope.home->addArgument(type, NameLoc::get(builder.getStringAttr(name)));
      shapes.set(argument, type, {});
      scope.values[name] = Binding{Binding::Bound, argument};
      argAttrs.push_back(
          builder.getDictionaryAttr(builder.getNamedAttr("nn.name", builder.getStringAttr(name))));
      continue;
    }
    int32_t dataType = input.type().tensor_type().elem_type();
    Type element = elementType(&ctx, dataType);
    if (!element) {
      if (dataType <= 0 || dataType > pb::TensorProto::FLOAT6E3M2)
        throw Fatal{
            formatv("graph input '{0}' has the impossible element type {1}", name, dataType)};
      unsupportedInput("type", "element type " + dataTypeName(dataType) + " is not supported");
      continue;
    }
    std::optional<nn::Dims> dims = declaredDims(input);
    if (!dims) {
      unsupportedInput("shape", "its rank must be declared");
      continue;
    }
    SmallVector<int64_t> shape, known;
    SmallVector<Attribute> dimAttrs;
    for (Dim d : *dims) {
      shape.push_back(d.typeDim());
      known.push_back(d.isConst() ? d.value() : 1);
      dimAttrs.push_back(d.isConst() ? Attribute(builder.getI64IntegerAttr(d.value()))
                                     : Attribute(builder.getStringAttr(d.symbol())));
      auto bound = d.isConst() ? options.dims.end() : options.dims.find(d.symbol());
      if (bound != options.dims.end()) {
        auto [low, high] = bound->second;
        shapes.dimContext().setBounds(d, low,
                                      high < 0 ? std::nullopt : std::optional<int64_t>(high));
        if (none_of(bounds, [&](NamedAttribute a) { return a.getName() == d.symbol(); }))
          bounds.push_back(builder.getNamedAttr(d.symbol(), builder.getI64ArrayAttr({low, high})));
      }
    }
    if (!elementCount(known))
      throw Fatal{formatv("graph input '{0}' has an impossible number of elements", name)};
    Value argument = scope.home->addArgument(RankedTensorType::get(shape, element),
                                             NameLoc::get(builder.getStringAttr(name)));
    shapes.set(argument, element, *dims);
    scope.values[name] = Binding{Binding::Bound, argument};
    argAttrs.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr("nn.name", builder.getStringAttr(name)),
         builder.getNamedAttr("nn.dims", builder.getArrayAttr(dimAttrs))}));
  }
  if (!bounds.empty())
    result.module.get()->setAttr("nn.dim_bounds", builder.getDictionaryAttr(bounds));
}

void Importer::importModel() {
  const pb::ModelProto &model = file.model();
  if (!model.has_graph())
    throw Fatal{"the file holds no graph: not an ONNX model"};
  const pb::GraphProto &graph = model.graph();
  if (!model.has_ir_version())
    throw Fatal{"the model has no IR version: not an ONNX model"};
  constexpr int64_t newestIr = pb::IR_VERSION;
  if (model.ir_version() < 3)
    result.unsupported.push_back(
        {"*", "", "IR version", formatv("{0} is older than 3", model.ir_version()), ""});
  if (model.ir_version() > newestIr)
    warn(formatv("IR version {0} is newer than {1}, the newest this compiler knows",
                 model.ir_version(), newestIr));
  readOpsets();
  readFunctions();
  checkDimOptions(graph);
  if (graph.output_size() == 0)
    throw Fatal{"the graph has no outputs"};
  if (!result.unsupported.empty())
    return; // other operator sets: nothing below would be meaningful

  Location loc = NameLoc::get(builder.getStringAttr(graph.name().empty() ? "main" : graph.name()));
  result.module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(result.module->getBody());
  auto func = func::FuncOp::create(builder, loc, "main", builder.getFunctionType({}, {}));
  Scope scope;
  scope.opsets = &modelOpsets;
  scope.home = func.addEntryBlock();
  builder.setInsertionPointToEnd(scope.home);
  declareGraph(scope, graph);
  SmallVector<DictionaryAttr> argAttrs, resultAttrs;
  importInputs(scope, graph, argAttrs);

  StringSet<> needed;
  for (const pb::ValueInfoProto &out : graph.output())
    needed.insert(out.name());
  importNodes(scope, graph.node(), needed);

  Values outputs;
  StringSet<> outputNames;
  for (const pb::ValueInfoProto &out : graph.output()) {
    if (!outputNames.insert(out.name()).second)
      throw Fatal{formatv("graph output '{0}' is listed more than once", out.name())};
    if (!isDefined(scope, out.name()))
      throw Fatal{formatv("graph output '{0}' is not defined: no node produces it", out.name())};
    Binding binding;
    try {
      binding = lookup(scope, out.name());
      if (binding.kind == Binding::Bound)
        checkDeclared(scope, out.name(), binding.value);
    } catch (const Unsupported &u) {
      result.unsupported.push_back({"(output)", "", u.what, u.reason, out.name()});
    } catch (const Invalid &e) {
      throw Fatal{formatv("graph output '{0}': {1}", out.name(), e.reason)};
    }
    outputs.push_back(binding.value);
    resultAttrs.push_back(builder.getDictionaryAttr(
        builder.getNamedAttr("nn.name", builder.getStringAttr(out.name()))));
  }
  if (!result.unsupported.empty())
    return;
  func::ReturnOp::create(builder, loc, outputs);
  func.setType(
      builder.getFunctionType(scope.home->getArgumentTypes(), TypeRange(ValueRange(outputs))));
  for (auto [i, attrs] : enumerate(argAttrs))
    func.setArgAttrs(i, attrs);
  for (auto [i, attrs] : enumerate(resultAttrs))
    func.setResultAttrs(i, attrs);
  Operation *module = result.module.get();
  module->setAttr("nn.producer", builder.getStringAttr(model.producer_name()));
  module->setAttr("nn.ir_version", builder.getI64IntegerAttr(model.ir_version()));
  module->setAttr("nn.opset", builder.getI64IntegerAttr(versionOf(scope, "").value_or(0)));
  lastDiagnostic.clear();
  if (failed(verify(module)))
    throw Fatal{lastDiagnostic.empty() ? "the imported graph does not verify" : lastDiagnostic};
}

void Importer::run() {
  ctx.loadDialect<nn::NNDialect, func::FuncDialect>();
  ScopedDiagnosticHandler handler(&ctx, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error)
      return failure();
    lastDiagnostic = diagnostic.str();
    return success();
  });
  try {
    importModel();
    if (!result.unsupported.empty()) {
      result.exitCode = 4;
      result.error =
          formatv("the model uses {0} unsupported feature(s)", result.unsupported.size());
    }
  } catch (const Fatal &e) {
    if (!result.exitCode)
      result.exitCode = 3;
    result.error = e.message;
  } catch (const Invalid &e) {
    result.exitCode = 3;
    result.error = e.reason;
  }
  if (result.exitCode != 0 || options.checkOnly)
    result.module = nullptr;
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

static ImportResult importFrom(ModelFile &file, bool opened, std::string error, StringRef where,
                               MLIRContext &ctx, nn::DimContext &dims,
                               const ImportOptions &options) {
  ImportResult result;
  result.storage = file.storage();
  if (opened) {
    Importer(file, ctx, dims, options, result).run();
  } else {
    result.exitCode = 3;
    result.error = std::move(error);
  }
  result.files = file.paths();
  // One line, whatever names the file holds.
  auto printable = [](std::string &text) {
    for (char &c : text)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        c = ' ';
  };
  if (!result.error.empty())
    result.error = (where + ": " + result.error).str();
  printable(result.error);
  for (std::string &w : result.warnings)
    printable(w);
  for (Problem &p : result.unsupported)
    for (std::string *field : {&p.op, &p.opset, &p.what, &p.reason, &p.node})
      printable(*field);
  return result;
}

ImportResult importModel(StringRef path, MLIRContext &ctx, nn::DimContext &dims,
                         const ImportOptions &options) {
  ModelFile file;
  std::string error;
  bool opened = file.open(path, error);
  return importFrom(file, opened, std::move(error), path, ctx, dims, options);
}

ImportResult importModelBytes(StringRef bytes, MLIRContext &ctx, nn::DimContext &dims,
                              const ImportOptions &options) {
  ModelFile file;
  std::string error;
  bool opened = file.openBytes(bytes, error);
  return importFrom(file, opened, std::move(error), "model", ctx, dims, options);
}

} // namespace nnopt::onnx

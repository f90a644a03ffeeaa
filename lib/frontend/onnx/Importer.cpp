//===- Importer.cpp - nodes, names, functions, subgraphs ------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Function bodies are expanded in place; these stop bodies that call themselves and chains of
/// calls that multiply.
constexpr unsigned maxCallDepth = 64;
constexpr int64_t maxNodes = 300'000;
constexpr size_t maxWarnings = 20;

/// Calls `visit` with every graph among a node's attributes.
template <typename Visit> void forEachGraph(const pb::NodeProto &node, Visit visit) {
  for (const pb::AttributeProto &a : node.attribute()) {
    if (a.has_g())
      visit(a.g());
    for (const pb::GraphProto &g : a.graphs())
      visit(g);
  }
}

/// All names a graph reads, its own ones included (protobuf bounds the nesting).
void collectReads(const pb::GraphProto &graph, StringSet<> &reads) {
  for (const pb::NodeProto &node : graph.node()) {
    for (const std::string &in : node.input())
      reads.insert(in);
    forEachGraph(node, [&](const pb::GraphProto &g) { collectReads(g, reads); });
  }
  for (const pb::ValueInfoProto &out : graph.output())
    reads.insert(out.name());
}

/// Whether a rule has to be run on the indices of strings; refuses operands that it does not take.
bool hasHostOperands(Node &n, const Rule &rule) {
  bool strings = false;
  for (unsigned i = 0; i < n.numInputs() && rule.operands != Operands::Any; ++i) {
    if (!n.hasIn(i) || !nn::isHostValue(n.in(i)))
      continue;
    if (!n.isString(n.in(i)))
      throw Invalid{formatv("input {0} is a sequence, optional or map; the operator takes tensors", i)};
    if (rule.operands == Operands::Numbers)
      throw Unsupported{"type", "strings are not supported by this operator"};
    strings = true;
  }
  return strings;
}

} // namespace

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

void Importer::warn(const Twine &text) {
  std::string line = text.str();
  if (result.warnings.size() < maxWarnings && !is_contained(result.warnings, line))
    result.warnings.push_back(std::move(line));
}

void Importer::problem(const pb::NodeProto &node, StringRef opset, StringRef what, StringRef reason,
                       StringRef nodeName) {
  StringRef domain = normalizedDomain(node.domain());
  Problem p{(domain.empty() ? "" : domain + ".").str() + node.op_type(), opset.str(), what.str(),
            reason.str(), nodeName.str()};
  // Loop bodies are imported more than once.
  if (seenProblems.insert(join(ArrayRef<std::string>{p.op, p.what, p.reason, p.node}, "\n")).second)
    result.unsupported.push_back(std::move(p));
}

std::string Importer::nodeName(const Scope &scope, const pb::NodeProto &node, int64_t index) const {
  if (!node.name().empty())
    return scope.prefix + node.name();
  std::string owner = scope.owner.empty() ? scope.prefix : scope.owner + "/";
  return owner + node.op_type() + "_" + std::to_string(index);
}

std::optional<int64_t> Importer::versionOf(const Scope &scope, StringRef domain) {
  domain = normalizedDomain(domain);
  if (scope.opsets) {
    auto it = scope.opsets->find(domain);
    if (it != scope.opsets->end())
      return it->second;
  }
  auto it = modelOpsets.find(domain);
  if (it != modelOpsets.end())
    return it->second;
  return std::nullopt;
}

bool Importer::isDefined(const Scope &scope, StringRef name) const {
  for (const Scope *s = &scope; s; s = s->parent)
    if (s->values.contains(name) || s->tensors.contains(name) || s->sparseTensors.contains(name) ||
        s->produced.contains(name))
      return true;
  return false;
}

Value Importer::makeInitializer(Scope &scope, StringRef name, const pb::TensorProto *tensor,
                                const pb::SparseTensorProto *sparse) {
  TensorError error;
  ElementsAttr value = tensor ? makeTensor(&ctx, file, *tensor, name, error)
                              : makeTensor(&ctx, file, *sparse, name, error);
  if (!value) {
    if (error.unsupported)
      throw Unsupported{"initializer '" + name.str() + "'", error.text};
    throw Fatal{formatv("initializer '{0}': {1}", name, error.text)};
  }
  OpBuilder::InsertionGuard guard(builder);
  if (scope.lastConstant)
    builder.setInsertionPointAfter(scope.lastConstant);
  else
    builder.setInsertionPointToStart(scope.home);
  auto op = nn::ConstantOp::create(builder, NameLoc::get(builder.getStringAttr(name)), value);
  scope.lastConstant = op;
  (void)shapes.infer(op);
  return op->getResult(0);
}

/// Throws Unsupported for an initializer of an unsupported type, Fatal for an undefined name.
Binding Importer::lookup(Scope &scope, StringRef name) {
  for (Scope *s = &scope; s; s = s->parent) {
    auto it = s->values.find(name);
    if (it != s->values.end())
      return it->second;
    const pb::TensorProto *tensor = s->tensors.lookup(name);
    const pb::SparseTensorProto *sparse = s->sparseTensors.lookup(name);
    if (tensor || sparse) {
      // Entered first, so that a tensor that throws is reported once.
      s->values[name] = Binding{Binding::Poisoned, {}};
      Binding binding{Binding::Bound, makeInitializer(*s, name, tensor, sparse)};
      s->values[name] = binding;
      return binding;
    }
    if (s->produced.contains(name))
      throw Invalid{
          formatv(
              "input '{0}' is used before it is produced: the nodes are not in topological order "
              "or form a cycle",
              name),
          true};
  }
  throw Invalid{
      formatv(
          "input '{0}' is not defined: no graph input, initializer or earlier node has that name",
          name),
      true};
}

void Importer::bindResult(Scope &scope, StringRef name, Binding binding) {
  if (name.empty())
    return;
  scope.values[name] = binding;
  if (binding.kind == Binding::Bound)
    checkDeclared(scope, name, binding.value);
}

std::optional<nn::Dims> Importer::declaredDims(const pb::ValueInfoProto &info) {
  if (!info.type().has_tensor_type() || !info.type().tensor_type().has_shape())
    return std::nullopt;
  nn::Dims dims;
  for (const pb::TensorShapeProto::Dimension &d : info.type().tensor_type().shape().dim()) {
    if (d.has_dim_value() && d.dim_value() >= 0) {
      dims.push_back(shapes.constant(d.dim_value()));
      continue;
    }
    std::string symbol =
        d.dim_param().empty() ? formatv("{0}[{1}]", info.name(), dims.size()).str() : d.dim_param();
    auto pinned = options.dims.find(symbol);
    if (pinned != options.dims.end() && pinned->second.low == pinned->second.high)
      dims.push_back(shapes.constant(pinned->second.low));
    else
      dims.push_back(shapes.dimContext().symbol(symbol));
  }
  return dims;
}

/// A wrong element type is an error; wrong dimensions are common in exported files and harmless,
/// because only our own shapes are used.
void Importer::checkDeclared(Scope &scope, StringRef name, Value value) {
  const pb::ValueInfoProto *info = scope.declared.lookup(name);
  if (!info || info->type().value_case() == pb::TypeProto::VALUE_NOT_SET)
    return;
  if (!isa<RankedTensorType>(value.getType())) {
    Type declared = valueType(&ctx, info->type());
    if (declared && !nn::joinTypes(declared, value.getType())) {
      std::string have;
      raw_string_ostream(have) << value.getType() << ", but is declared as " << declared;
      throw Invalid{formatv("value '{0}' is {1}", name, have), true};
    }
    return;
  }
  if (!info->type().has_tensor_type())
    throw Invalid{formatv("value '{0}' is a tensor, but declared as something else", name), true};
  const auto &declared = info->type().tensor_type();
  auto type = cast<RankedTensorType>(value.getType());
  if (declared.elem_type() != pb::TensorProto::UNDEFINED &&
      elementType(&ctx, declared.elem_type()) != type.getElementType()) {
    std::string have;
    raw_string_ostream(have) << type.getElementType();
    throw Invalid{formatv("value '{0}' has element type {1}, but is declared as {2}", name, have,
                          dataTypeName(declared.elem_type())),
                  true};
  }
  if (!declared.has_shape())
    return;
  bool differs = declared.shape().dim_size() != type.getRank();
  for (int64_t i = 0; !differs && i < type.getRank(); ++i) {
    const auto &d = declared.shape().dim(i);
    differs = d.has_dim_value() && d.dim_value() >= 0 && !type.isDynamicDim(i) &&
              d.dim_value() != type.getDimSize(i);
  }
  if (differs) {
    std::string have;
    raw_string_ostream(have) << type;
    warn(formatv("value '{0}' has the type {1}, its declared shape contradicts that and is ignored",
                 name, have));
  }
}

/// After an unsupported node, its declared types (where the file has them) let the import go on,
/// so that everything unsupported is found.
void Importer::poisonOutputs(Scope &scope, const pb::NodeProto &node, Location loc) {
  for (const std::string &name : node.output()) {
    if (name.empty())
      continue;
    Binding binding;
    if (const pb::ValueInfoProto *info = scope.declared.lookup(name)) {
      auto dims = declaredDims(*info);
      Type element = elementType(&ctx, info->type().tensor_type().elem_type());
      if (dims && element) {
        SmallVector<int64_t> shape, known;
        for (Dim d : *dims) {
          shape.push_back(d.typeDim());
          known.push_back(d.isConst() ? d.value() : 1);
        }
        if (elementCount(known)) {
          auto standIn = UnrealizedConversionCastOp::create(
              builder, loc, TypeRange{RankedTensorType::get(shape, element)}, ValueRange{});
          binding = {Binding::Bound, standIn.getResult(0)};
          shapes.set(binding.value, element, *dims);
        }
      }
    }
    scope.values[name] = binding;
  }
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

template <typename Nodes> void Importer::declareProduced(Scope &scope, const Nodes &nodes) {
  for (const pb::NodeProto &node : nodes)
    for (const std::string &out : node.output()) {
      if (out.empty())
        continue;
      bool fresh = scope.produced.insert(out).second;
      if (!fresh || scope.values.contains(out) || scope.tensors.contains(out) ||
          scope.sparseTensors.contains(out))
        throw Fatal{formatv("value '{0}' is defined more than once (node '{1}', {2})", out,
                            node.name(), node.op_type())};
    }
}

void Importer::declareGraph(Scope &scope, const pb::GraphProto &graph) {
  for (const pb::TensorProto &t : graph.initializer()) {
    if (t.name().empty())
      throw Fatal{"an initializer has no name"};
    if (!scope.tensors.insert({t.name(), &t}).second)
      throw Fatal{formatv("initializer '{0}' is defined more than once", t.name())};
  }
  for (const pb::SparseTensorProto &t : graph.sparse_initializer())
    if (scope.tensors.contains(t.values().name()) ||
        !scope.sparseTensors.insert({t.values().name(), &t}).second)
      throw Fatal{formatv("initializer '{0}' is defined more than once", t.values().name())};
  for (const pb::ValueInfoProto &info : graph.value_info())
    scope.declared[info.name()] = &info;
  for (const pb::ValueInfoProto &info : graph.output())
    scope.declared[info.name()] = &info;
}

template <typename Nodes>
void Importer::importNodes(Scope &scope, const Nodes &nodes, StringSet<> needed) {
  declareProduced(scope, nodes);
  // Nodes that no output depends on are left out: they need not be supported.
  std::vector<bool> live(nodes.size());
  for (int64_t i = int64_t(nodes.size()) - 1; i >= 0; --i) {
    const pb::NodeProto &node = nodes[i];
    live[i] = any_of(node.output(),
                     [&](const std::string &out) { return !out.empty() && needed.contains(out); });
    if (!live[i])
      continue;
    for (const std::string &in : node.input())
      needed.insert(in);
    forEachGraph(node, [&](const pb::GraphProto &g) { collectReads(g, needed); });
  }
  for (int64_t i = 0; i < int64_t(nodes.size()); ++i) {
    if (live[i]) {
      importNode(scope, nodes[i], i, needed);
      continue;
    }
    for (const std::string &in : nodes[i].input())
      if (!in.empty() && !isDefined(scope, in))
        throw Fatal{formatv(
            "node '{0}' ({1}): input '{2}' is not defined: no graph input, initializer or node has "
            "that name",
            nodeName(scope, nodes[i], i), nodes[i].op_type(), in)};
  }
}

const pb::FunctionProto *Importer::findFunction(const pb::NodeProto &node) {
  return functions.lookup(functionKey(node.domain(), node.op_type(), node.overload()));
}

/// Records a node for which there is no rule at all; with `subgraphs` (where operands are unknown,
/// so that the rule itself cannot be asked) also the nodes inside it.
bool Importer::checkOperators(Scope &scope, const pb::NodeProto &node, StringRef name,
                              bool subgraphs) {
  if (findFunction(node))
    return true;
  std::optional<int64_t> version = versionOf(scope, node.domain());
  std::string opset = version ? std::to_string(*version) : "none";
  StringRef domain = normalizedDomain(node.domain());
  bool known;
  const Rule *rule =
      Registry::get().find(domain, node.op_type(), version.value_or(1), known);
  if (!known && !Registry::get().knowsDomain(domain)) {
    problem(node, opset, "operator", "unknown domain '" + node.domain() + "'", name);
    return false;
  }
  if (!version)
    throw Invalid{"the model does not import an operator set for it (opset_import)"};
  if (!rule) {
    std::string reason = known ? "not supported in this opset" : "not supported";
    if (known && domain.empty() && *version < Registry::oldest)
      reason += formatv("; convert the model to opset {0} or newer with onnx.version_converter",
                        Registry::oldest);
    problem(node, opset, "operator", reason, name);
    return false;
  }
  if (!subgraphs)
    return true;
  int64_t index = 0;
  forEachGraph(node, [&](const pb::GraphProto &g) {
    for (const pb::NodeProto &inner : g.node()) {
      std::string unnamed = formatv("{0}/{1}_{2}", name, inner.op_type(), index++);
      checkOperators(scope, inner, inner.name().empty() ? unnamed : inner.name(), true);
    }
  });
  return true;
}

void Importer::importNode(Scope &scope, const pb::NodeProto &proto, int64_t index,
                          const StringSet<> &needed) {
  std::string name = nodeName(scope, proto, index);
  Location loc = NameLoc::get(builder.getStringAttr(name));
  if (++importedNodes > maxNodes)
    throw Fatal{formatv("the model expands to more than {0} nodes", maxNodes)};
  std::optional<int64_t> version = versionOf(scope, proto.domain());
  try {
    SmallVector<Binding> bindings;
    Values inputs;
    bool poisoned = false;
    for (const std::string &in : proto.input()) {
      Binding binding = in.empty() ? Binding{Binding::Absent, {}} : lookup(scope, in);
      poisoned |= binding.kind == Binding::Poisoned;
      bindings.push_back(binding);
      inputs.push_back(binding.value);
    }
    if (!checkOperators(scope, proto, name, poisoned) || poisoned)
      return poisonOutputs(scope, proto, loc);
    if (const pb::FunctionProto *function = findFunction(proto))
      return importCall(scope, proto, *function, bindings, name);

    bool known;
    const Rule *rule = Registry::get().find(normalizedDomain(proto.domain()), proto.op_type(), *version, known);
    while (!inputs.empty() && !inputs.back())
      inputs.pop_back();
    if (inputs.size() < rule->minInputs || unsigned(proto.input_size()) > rule->maxInputs)
      throw Invalid{
          formatv("it has {0} inputs, which this operator does not take", proto.input_size())};
    if (unsigned(proto.output_size()) > rule->maxOutputs)
      throw Invalid{
          formatv("it has {0} outputs, which this operator does not give", proto.output_size())};
    SmallVector<bool> used;
    for (const std::string &out : proto.output())
      used.push_back(!out.empty() && needed.contains(out));
    Node node(*this, scope, proto, *version, loc, name, inputs, used);
    if (hasHostOperands(node, *rule))
      importMoved(node, *rule);
    else
      rule->import(node);
    for (const std::string &attribute : node.unreadAttributes())
      warn(formatv("node '{0}' ({1}): attribute '{2}' is not known and ignored", name,
                   proto.op_type(), attribute));
    for (auto [i, out] : enumerate(proto.output())) {
      Value value = node.outputs()[i];
      if (!value && used[i])
        throw Unsupported{formatv("output {0}", i), "not supported"};
      if (value)
        bindResult(scope, out, {Binding::Bound, value});
    }
  } catch (const Unsupported &u) {
    problem(proto, version ? std::to_string(*version) : "none", u.what, u.reason, name);
    poisonOutputs(scope, proto, loc);
  } catch (const Poison &) {
    poisonOutputs(scope, proto, loc);
  } catch (const Invalid &e) {
    throw Fatal{formatv("node '{0}' ({1}): {2}", name, proto.op_type(), e.reason), e.structural};
  }
}

/// Expands a local function in place of a call.
void Importer::importCall(Scope &scope, const pb::NodeProto &node,
                          const pb::FunctionProto &function, ArrayRef<Binding> inputs,
                          const std::string &name) {
  CallFrame frame;
  frame.depth = scope.frame ? scope.frame->depth + 1 : 1;
  if (frame.depth > maxCallDepth)
    throw Invalid{"function calls are nested too deeply (does a function call itself?)"};
  if (int(inputs.size()) > function.input_size() || node.output_size() > function.output_size())
    throw Invalid{"the call has more inputs or outputs than the function"};
  for (const pb::AttributeProto &a : function.attribute_proto())
    frame.attributes[a.name()] = &a;
  for (const pb::AttributeProto &a : node.attribute()) {
    if (a.ref_attr_name().empty()) {
      frame.attributes[a.name()] = &a;
    } else if (const pb::AttributeProto *outer =
                   scope.frame ? scope.frame->attributes.lookup(a.ref_attr_name()) : nullptr) {
      frame.attributes[a.name()] = outer;
    }
  }
  Scope inner;
  inner.frame = &frame;
  inner.prefix = name + "/";
  inner.home = builder.getBlock();
  auto [opsets, fresh] = functionOpsets.try_emplace(&function);
  if (fresh)
    for (const pb::OperatorSetIdProto &o : function.opset_import())
      opsets->second[normalizedDomain(o.domain())] = o.version();
  inner.opsets = &opsets->second;
  for (int i = 0; i < function.input_size(); ++i)
    inner.values[function.input(i)] =
        i < int(inputs.size()) ? inputs[i] : Binding{Binding::Absent, {}};
  for (const pb::ValueInfoProto &info : function.value_info())
    inner.declared[info.name()] = &info;
  StringSet<> needed;
  for (const std::string &out : function.output())
    needed.insert(out);
  importNodes(inner, function.node(), std::move(needed));
  for (int i = 0; i < node.output_size(); ++i)
    bindResult(scope, node.output(i), lookup(inner, function.output(i)));
}

Values Importer::importSubgraph(Node &node, const pb::GraphProto &graph, ArrayRef<Value> inputs) {
  Scope inner;
  inner.parent = &node.scope;
  inner.frame = node.scope.frame;
  inner.opsets = node.scope.opsets;
  inner.prefix = node.scope.prefix;
  inner.owner = cast<NameLoc>(node.location()).getName().str();
  inner.home = builder.getBlock();
  declareGraph(inner, graph);
  if (graph.input_size() != int(inputs.size()))
    throw Invalid{
        formatv("its subgraph has {0} inputs, {1} are needed", graph.input_size(), inputs.size())};
  for (auto [info, value] : zip(graph.input(), inputs)) {
    if (info.name().empty() || inner.values.contains(info.name()) ||
        inner.tensors.contains(info.name()))
      throw Invalid{
          formatv("input '{0}' of its subgraph is unnamed or defined twice", info.name())};
    inner.values[info.name()] = Binding{Binding::Bound, value};
    if (info.type().has_tensor_type()) {
      int32_t declared = info.type().tensor_type().elem_type();
      if (declared != pb::TensorProto::UNDEFINED &&
          elementType(&ctx, declared) != nn::elementTypeOf(value.getType()))
        throw Invalid{formatv(
            "input '{0}' of its subgraph is declared with another element type ({1}) than it gets",
            info.name(), dataTypeName(declared))};
    }
  }
  StringSet<> needed;
  for (const pb::ValueInfoProto &out : graph.output())
    needed.insert(out.name());
  importNodes(inner, graph.node(), std::move(needed));
  Values outputs;
  for (const pb::ValueInfoProto &out : graph.output()) {
    Binding binding = lookup(inner, out.name());
    if (binding.kind == Binding::Absent)
      throw Invalid{formatv("output '{0}' of its subgraph is an absent value", out.name())};
    if (binding.kind == Binding::Poisoned)
      throw Poison{};
    outputs.push_back(binding.value);
  }
  return outputs;
}

void Importer::clearBlock(Block &block) {
  block.walk([&](Operation *op) {
    for (Value v : op->getResults())
      shapes.erase(v);
    for (Region &region : op->getRegions())
      for (Block &inner : region)
        for (Value v : inner.getArguments())
          shapes.erase(v);
  });
  while (!block.empty()) {
    block.back().dropAllUses();
    block.back().erase();
  }
}

} // namespace nnopt::onnx

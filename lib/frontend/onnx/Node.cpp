//===- Node.cpp - what import rules see -----------------------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"
#include "llvm/ADT/SmallBitVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

//===----------------------------------------------------------------------===//
// Operands and attributes
//===----------------------------------------------------------------------===//

Node::Node(Importer &importer, Scope &scope, const pb::NodeProto &proto, int64_t version,
           Location loc, std::string name, ArrayRef<Value> inputs, ArrayRef<bool> used)
    : importer(importer), scope(scope), proto(proto), version_(version), loc(loc),
      name(std::move(name)), inputs(inputs), used(used), results(proto.output_size()) {}

StringRef Node::op() const { return proto.op_type(); }

Value Node::in(unsigned i) const {
  if (!hasIn(i))
    invalid("input " + Twine(i) + " is missing");
  return inputs[i];
}

Values Node::allIn() const {
  Values all;
  for (unsigned i = 0; i < numInputs(); ++i)
    all.push_back(in(i));
  return all;
}

const pb::AttributeProto *Node::attr(StringRef wanted) {
  consumed.insert(wanted);
  for (const pb::AttributeProto &a : proto.attribute()) {
    if (a.name() != wanted)
      continue;
    if (a.ref_attr_name().empty())
      return &a;
    if (!scope.frame)
      invalid("attribute '" + wanted +
              "' refers to an attribute of a function, but is not inside one");
    return scope.frame->attributes.lookup(a.ref_attr_name());
  }
  return nullptr;
}

const pb::AttributeProto *Node::attrOf(StringRef wanted, int type) {
  const pb::AttributeProto *a = attr(wanted);
  // Old files leave the type out.
  if (a && a->type() != pb::AttributeProto::UNDEFINED && a->type() != type)
    invalid("attribute '" + wanted + "' has the wrong type");
  return a;
}

int64_t Node::i(StringRef wanted, int64_t otherwise) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::INT);
  return a ? a->i() : otherwise;
}

int64_t Node::i(StringRef wanted) {
  if (!hasAttr(wanted))
    invalid("attribute '" + wanted + "' is missing");
  return i(wanted, 0);
}

std::optional<double> Node::optF(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::FLOAT);
  return a ? std::optional<double>(a->f()) : std::nullopt;
}

double Node::f(StringRef wanted, double otherwise) { return optF(wanted).value_or(otherwise); }

std::string Node::s(StringRef wanted, StringRef otherwise) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::STRING);
  return a ? a->s() : otherwise.str();
}

std::optional<Ints> Node::ints(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::INTS);
  return a ? std::optional<Ints>(Ints(a->ints().begin(), a->ints().end())) : std::nullopt;
}

std::optional<std::vector<std::string>> Node::strings(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::STRINGS);
  return a ? std::optional<std::vector<std::string>>({a->strings().begin(), a->strings().end()})
           : std::nullopt;
}

std::optional<std::vector<double>> Node::floats(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::FLOATS);
  return a ? std::optional<std::vector<double>>({a->floats().begin(), a->floats().end()}) : std::nullopt;
}

ElementsAttr Node::tensor(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::TENSOR);
  if (!a)
    return {};
  TensorError error;
  ElementsAttr value = makeTensor(ctx(), importer.file, a->t(), wanted, error);
  if (!value && error.unsupported)
    unsupported("attribute '" + wanted + "'", error.text);
  if (!value)
    invalid("attribute '" + wanted + "': " + error.text);
  return value;
}

Type Node::declaredType(unsigned i) {
  if (int(i) >= proto.output_size())
    return {};
  const pb::ValueInfoProto *info = scope.declared.lookup(proto.output(i));
  return info ? valueType(ctx(), info->type()) : Type();
}

const pb::GraphProto &Node::graph(StringRef wanted) {
  const pb::AttributeProto *a = attrOf(wanted, pb::AttributeProto::GRAPH);
  if (!a || !a->has_g())
    invalid("attribute '" + wanted + "' is missing");
  return a->g();
}

std::vector<std::string> Node::unreadAttributes() const {
  std::vector<std::string> unread;
  for (const pb::AttributeProto &a : proto.attribute())
    if (!consumed.contains(a.name()))
      unread.push_back(a.name());
  return unread;
}

//===----------------------------------------------------------------------===//
// Facts and checks
//===----------------------------------------------------------------------===//

nn::ShapeContext &Node::shapes() { return importer.shapes; }
OpBuilder &Node::b() { return importer.builder; }

std::optional<Ints> Node::content(Value v) {
  if (auto known = shapes().constantContent(v))
    return Ints(known->begin(), known->end());
  return std::nullopt;
}

Ints Node::needContent(Value v, StringRef what) {
  if (auto known = content(v))
    return *known;
  unsupported(what, "must be known when compiling");
}

int64_t Node::needScalar(Value v, StringRef what) {
  Ints known = needContent(v, what);
  if (known.size() != 1)
    invalid(what + " must have one element, not " + Twine(known.size()));
  return known[0];
}

std::optional<int64_t> Node::declaredRank(unsigned i) {
  auto type = dyn_cast_or_null<RankedTensorType>(declaredType(i));
  return type ? std::optional(type.getRank()) : std::nullopt;
}

std::optional<SmallVector<double>> Node::numbers(Value v) {
  SmallVector<double> result;
  if (auto data = nn::ConstantData::get(v)) {
    if (data->size() > 1024)
      return std::nullopt;
    for (int64_t i = 0; i < data->size(); ++i)
      result.push_back(data->asDouble(i));
    return result;
  }
  if (auto known = content(v))
    return SmallVector<double>(known->begin(), known->end());
  return std::nullopt;
}

void Node::unsupported(const Twine &what, const Twine &reason) const {
  throw Unsupported{what.str(), reason.str()};
}

void Node::invalid(const Twine &reason) const { throw Invalid{reason.str()}; }

int64_t Node::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    invalid("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

Ints Node::axes(ArrayRef<int64_t> given, int64_t rank) {
  Ints result;
  SmallBitVector seen(rank);
  for (int64_t a : given) {
    a = axis(a, rank);
    if (seen.test(a))
      invalid("axis " + Twine(a) + " is given twice");
    seen.set(a);
    result.push_back(a);
  }
  return result;
}

void Node::needRank(Value v, unsigned low, unsigned high) {
  unsigned r = rank(v);
  if (r >= low && r <= high)
    return;
  if (high == ~0u)
    invalid("an operand has rank " + Twine(r) + ", at least " + Twine(low) + " is needed");
  invalid("an operand has rank " + Twine(r) + ", " + Twine(low) +
          (high == low ? "" : " to " + std::to_string(high)) + " is needed");
}

static std::string typeText(Type type) {
  std::string text;
  raw_string_ostream(text) << type;
  return text;
}

void Node::needFloat(Value v) {
  if (!isa<FloatType>(elt(v)))
    invalid("an operand of type " + typeText(elt(v)) + " should be floating point");
}
void Node::needInt(Value v) {
  if (!isa<IntegerType>(elt(v)) || elt(v).isInteger(1))
    invalid("an operand of type " + typeText(elt(v)) + " should be an integer");
}
void Node::needBool(Value v) {
  if (!elt(v).isInteger(1))
    invalid("an operand of type " + typeText(elt(v)) + " should be bool");
}
void Node::needSameType(ArrayRef<Value> values) {
  for (Value v : values.drop_front())
    if (elt(v) != elt(values[0]))
      invalid("operands have different element types, " + typeText(elt(values[0])) + " and " +
              typeText(elt(v)));
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

Type Node::placeholder() { return RankedTensorType::get({}, b().getF32Type()); }

void Node::infer(Operation *op) {
  importer.lastDiagnostic.clear();
  if (failed(shapes().infer(op)))
    invalid(importer.lastDiagnostic.empty()
                ? "shapes or types of its operands contradict each other"
                : importer.lastDiagnostic);
  for (Value result : op->getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    Ints dims;
    for (int64_t d : type.getShape())
      dims.push_back(ShapedType::isDynamic(d) ? 1 : d);
    if (!elementCount(dims))
      invalid("its result would have the impossible type " + typeText(result.getType()));
  }
}

Value Node::constant(ElementsAttr value) {
  auto op = nn::ConstantOp::create(b(), loc, value);
  infer(op);
  return op->getResult(0);
}

Value Node::intsConstant(ArrayRef<int64_t> values) {
  return constant(nn::makeInts(ctx(), {int64_t(values.size())}, values));
}
Value Node::intConstant(int64_t value) { return constant(nn::makeInts(ctx(), {}, {value})); }

static ElementsAttr splatOrList(ArrayRef<double> values, Type type, ArrayRef<int64_t> shape) {
  SmallVector<Attribute> elements;
  for (double v : values)
    elements.push_back(isa<FloatType>(type)
                           ? Attribute(FloatAttr::get(type, v))
                           : Attribute(IntegerAttr::get(type, APInt(type.getIntOrFloatBitWidth(),
                                                                    int64_t(v), true, true))));
  return DenseElementsAttr::get(RankedTensorType::get(shape, type), elements);
}

Value Node::number(double value, Type type, ArrayRef<int64_t> shape) {
  return constant(splatOrList({value}, type, shape));
}
Value Node::numbersConstant(ArrayRef<double> values, Type type) {
  return constant(splatOrList(values, type, {int64_t(values.size())}));
}

Value Node::convert(Value v, Type type) {
  if (elt(v) == type)
    return v;
  return make<nn::CastOp>(v, TypeAttr::get(type), b().getBoolAttr(true));
}

Value Node::slice(Value v, int64_t axis, int64_t start, int64_t end, int64_t step) {
  Value steps = step == 1 ? Value() : intsConstant({step});
  return make<nn::SliceOp>(v, intsConstant({start}), intsConstant({end}), intsConstant({axis}),
                           steps);
}

Value Node::scalar(Value v) {
  unsigned r = rank(v);
  if (r == 0)
    return v;
  Ints all;
  for (unsigned a = 0; a < r; ++a) {
    if (dim(v, a).isConst() && !dim(v, a).isConst(1))
      invalid("an operand that should be a scalar has more than one element");
    all.push_back(a);
  }
  return squeeze(v, all);
}

Value Node::withLength(Value v, int64_t length, StringRef what, double fill, bool inFront) {
  needRank(v, 1, 1);
  if (dim(v, 0).isConst(length))
    return v;
  if (dim(v, 0).isConst())
    invalid(what + " has " + Twine(dim(v, 0).value()) + " elements where " + Twine(length) + " are needed");
  Value none = intsConstant({0}), missing = make<nn::SubOp>(intsConstant({length}), shapeOf(v));
  Value pads = make<nn::ConcatOp>(ValueRange{inFront ? missing : none, inFront ? none : missing}, i64(0));
  return make<nn::PadOp>(v, pads, number(fill, elt(v)), Value(), nn::PadModeAttr::get(ctx(), nn::PadMode::constant));
}

Value Node::byAxis(Value entries, Value axes, int64_t rank, int64_t otherwise) {
  if (!axes)
    axes = countTo(sizeOf(entries, 0));
  return make<nn::ScatterElementsOp>(intsConstant(Ints(rank, otherwise)), convert(axes, b().getI64Type()),
                                     convert(entries, b().getI64Type()), i64(0),
                                     nn::ScatterReductionAttr::get(ctx(), nn::ScatterReduction::none));
}

Value Node::reduce(Value v, nn::ReduceKind kind, ArrayRef<int64_t> axes, bool keepDims) {
  Ints sorted(axes);
  llvm::sort(sorted);
  return make<nn::ReduceOp>(v, Value(), nn::ReduceKindAttr::get(ctx(), kind), i64s(sorted),
                            b().getBoolAttr(keepDims));
}

//===----------------------------------------------------------------------===//
// Registry
//===----------------------------------------------------------------------===//

void Registry::accept(Operands operands, ArrayRef<StringRef> ops) {
  for (StringRef op : ops) {
    auto it = rules.find(op);
    assert(it != rules.end() && "no such operator");
    for (Rule &rule : it->second)
      rule.operands = operands;
  }
}

void Registry::addCustom(StringRef domain, StringRef op, Rule rule) {
  domains.insert(domain);
  rules[ruleKey(domain, op)] = {rule};
}

void registerImportRule(StringRef domain, StringRef op, unsigned minInputs, unsigned maxInputs,
                        unsigned maxOutputs, void (*import)(Node &)) {
  Registry::instance().addCustom(
      normalizedDomain(domain), op,
      {0, std::numeric_limits<int64_t>::max(), minInputs, maxInputs, maxOutputs, import});
}

const Rule *Registry::find(StringRef domain, StringRef op, int64_t version, bool &known) const {
  auto it = rules.find(ruleKey(domain, op));
  known = it != rules.end();
  if (!known)
    return nullptr;
  for (const Rule &rule : it->second)
    if (rule.since <= version && version <= rule.until)
      return &rule;
  return nullptr;
}

Registry &Registry::instance() {
  static Registry all = [] {
    Registry r;
    registerElementwise(r);
    registerDataMovement(r);
    registerShapeOps(r);
    registerIndexing(r);
    registerConvolution(r);
    registerPooling(r);
    registerNormalization(r);
    registerReduction(r);
    registerContraction(r);
    registerRecurrent(r);
    registerAttention(r);
    registerRotaryEmbedding(r);
    registerResize(r);
    registerVision(r);
    registerSignal(r);
    registerControlFlow(r);
    registerQuantizedContraction(r);
    registerContribAttention(r);
    registerContribFused(r);
    registerContribMisc(r);
    registerContribMoE(r);
    registerContribNormalization(r);
    registerContribQuantization(r);
    registerLinearAttention(r);
    registerLoss(r);
    registerRandom(r);
    registerTraining(r);
    registerQuantization(r);
    registerStrings(r);
    registerSequences(r);
    registerEncoders(r);
    registerTrees(r);
    registerLinearModels(r);
    registerFeatures(r);
    return r;
  }();
  return all;
}

} // namespace nnopt::onnx

//===- Sequences.cpp - import rules of sequences and optionals ------------===//
//
// Where it is known how a sequence was made, its elements are used directly and no sequence remains.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

nn::SequenceType sequenceType(Node &n, Value v) {
  auto type = dyn_cast<nn::SequenceType>(v.getType());
  if (!type)
    n.invalid("an operand should be a sequence");
  return type;
}

/// The elements where they are known, in a block that sees them.
std::optional<Values> knownElements(Value sequence) {
  auto op = sequence.getDefiningOp<nn::SequenceConstructOp>();
  if (!op)
    return std::nullopt;
  return Values(op.getInputs());
}

std::optional<int64_t> knownPosition(Node &n, Value position, int64_t size, int64_t otherwise) {
  int64_t at = otherwise;
  if (position) {
    auto known = n.content(position);
    if (!known || known->size() != 1)
      return std::nullopt;
    at = known->front() < 0 ? known->front() + size : known->front();
  }
  return at;
}

Value position(Node &n, unsigned i) {
  Value v = n.optIn(i);
  if (v)
    n.needInt(v);
  return v ? n.scalar(v) : v;
}

Value construct(Node &n, ValueRange elements, Type element) {
  return n.make<nn::SequenceConstructOp>(elements, TypeAttr::get(element));
}

/// The type of an element that is taken out: what the sequence knows, and what the file declares.
Type elementOf(Node &n, Type element, Type declared) {
  if (!isa<UnrankedTensorType>(element))
    return element;
  if (auto ranked = dyn_cast_or_null<RankedTensorType>(declared); ranked && ranked.getElementType() == nn::elementTypeOf(element))
    return ranked;
  n.unsupported("type", "the rank of an element is not known when compiling; declare the shape of its sequence");
}

} // namespace

Value sequenceAt(Node &n, Value sequence, Value position, Type declared) {
  nn::SequenceType type = sequenceType(n, sequence);
  if (auto elements = knownElements(sequence))
    if (auto at = knownPosition(n, position, elements->size(), 0)) {
      if (*at < 0 || *at >= int64_t(elements->size()))
        n.invalid("position " + Twine(*at) + " is out of range: the sequence has " + Twine(elements->size()) + " elements");
      return (*elements)[*at];
    }
  return n.make<nn::SequenceAtOp>(sequence, position, TypeAttr::get(elementOf(n, type.getElement(), declared)));
}

Value sequenceInsert(Node &n, Value sequence, Value x, Value position) {
  nn::SequenceType type = sequenceType(n, sequence);
  if (auto elements = knownElements(sequence))
    if (auto at = knownPosition(n, position, elements->size(), elements->size());
        at && *at >= 0 && *at <= int64_t(elements->size())) {
      elements->insert(elements->begin() + *at, x);
      return construct(n, *elements, type.getElement());
    }
  return n.make<nn::SequenceInsertOp>(sequence, x, position);
}

Value optionalOf(Node &n, Value v) { return n.make<nn::OptionalConstructOp>(v, TypeAttr::get(v.getType())); }

Value optionalGet(Node &n, Value optional, Type declared) {
  auto type = cast<nn::OptionalType>(optional.getType());
  if (auto op = optional.getDefiningOp<nn::OptionalConstructOp>(); op && op.getValue())
    return op.getValue();
  return n.make<nn::OptionalGetOp>(optional, TypeAttr::get(elementOf(n, type.getElement(), declared)));
}

namespace {

void importSequenceConstruct(Node &n) {
  Values elements = n.allIn();
  for (Value v : elements)
    if (!isa<RankedTensorType>(v.getType()))
      n.invalid("the elements of a sequence are tensors");
  n.needSameType(elements);
  n.out(0, construct(n, elements, elements[0].getType()));
}

void importSequenceEmpty(Node &n) {
  int64_t type = n.i("dtype", pb::TensorProto::FLOAT);
  Type element = elementType(n.ctx(), type);
  if (!element)
    n.unsupported("attribute 'dtype'", "element type " + dataTypeName(type) + " is not supported");
  n.out(0, construct(n, {}, UnrankedTensorType::get(element)));
}

void importSequenceInsert(Node &n) { n.out(0, sequenceInsert(n, n.in(0), n.in(1), position(n, 2))); }

void importSequenceErase(Node &n) {
  Value sequence = n.in(0), at = position(n, 1);
  nn::SequenceType type = sequenceType(n, sequence);
  if (auto elements = knownElements(sequence))
    if (auto i = knownPosition(n, at, elements->size(), int64_t(elements->size()) - 1);
        i && *i >= 0 && *i < int64_t(elements->size())) {
      elements->erase(elements->begin() + *i);
      return n.out(0, construct(n, *elements, type.getElement()));
    }
  n.out(0, n.make<nn::SequenceEraseOp>(sequence, at));
}

void importSequenceAt(Node &n) {
  if (!n.hasIn(1))
    n.invalid("input 1 is missing");
  n.out(0, sequenceAt(n, n.in(0), position(n, 1), n.declaredType(0)));
}

void importSequenceLength(Node &n) {
  sequenceType(n, n.in(0));
  if (auto elements = knownElements(n.in(0)))
    return n.out(0, n.intConstant(elements->size()));
  n.out(0, n.make<nn::SequenceLengthOp>(n.in(0)));
}

void importConcatFromSequence(Node &n) {
  nn::SequenceType type = sequenceType(n, n.in(0));
  bool newAxis = n.i("new_axis", 0);
  auto elements = knownElements(n.in(0));
  if (elements && !elements->empty()) {
    int64_t axis = n.axis(n.i("axis"), n.rank((*elements)[0]) + newAxis);
    bool numbers = none_of(*elements, [](Value v) { return nn::isHostValue(v); });
    if (numbers) {
      for (Value &v : *elements)
        v = newAxis ? n.unsqueeze(v, {axis}) : v;
      return n.out(0, n.make<nn::ConcatOp>(*elements, n.i64(axis)));
    }
  }
  auto element = dyn_cast<RankedTensorType>(type.getElement());
  auto declared = dyn_cast_or_null<RankedTensorType>(n.declaredType(0));
  if (!element && !declared)
    n.unsupported("type", "the rank of the result is not known when compiling; declare its shape");
  int64_t rank = element ? element.getRank() : declared.getRank() - newAxis;
  n.out(0, n.make<nn::ConcatFromSequenceOp>(n.in(0), n.i64(n.axis(n.i("axis"), rank + newAxis)), n.flag(newAxis),
                                            n.i64(rank)));
}

/// The parts' sizes where they are known.
std::optional<Ints> knownParts(Node &n, Dim total, Value split) {
  if (!total.isConst())
    return std::nullopt;
  Ints parts;
  int64_t each = 1, size = total.value();
  if (split) {
    auto known = n.content(split);
    if (!known)
      return std::nullopt;
    if (n.rank(split) == 1)
      return *known;
    each = known->front();
  }
  if (each < 1 || size / each > 256)
    return std::nullopt;
  for (int64_t at = 0; at < size; at += each)
    parts.push_back(std::min(each, size - at));
  return parts;
}

void importSplitToSequence(Node &n) {
  Value x = n.in(0), split = n.optIn(1);
  n.needRank(x, 1);
  int64_t axis = n.axis(n.i("axis", 0), n.rank(x));
  bool squeeze = !split && !n.i("keepdims", 1);
  if (split) {
    n.i("keepdims", 1); // only without split
    n.needInt(split);
    n.needRank(split, 0, 1);
  }
  auto parts = n.isString(x) ? std::nullopt : knownParts(n, n.dim(x, axis), split);
  if (!parts || parts->empty())
    return n.out(0, n.make<nn::SplitToSequenceOp>(x, split, n.i64(axis), n.flag(squeeze)));
  Values elements;
  for (Value v : n.makeN<nn::SplitOp>(parts->size(), x, n.intsConstant(*parts), n.i64(axis)))
    elements.push_back(squeeze ? n.squeeze(v, {axis}) : v);
  n.out(0, construct(n, elements, elements[0].getType()));
}

//===----------------------------------------------------------------------===//
// Optionals
//===----------------------------------------------------------------------===//

void importOptional(Node &n) {
  if (n.hasIn(0)) {
    if (isa<nn::OptionalType>(n.in(0).getType()))
      n.invalid("the operand is an optional itself");
    n.ignore({"type"});
    return n.out(0, optionalOf(n, n.in(0)));
  }
  const pb::AttributeProto *a = n.attr("type");
  Type type = a ? valueType(n.ctx(), a->tp()) : Type();
  if (!type || isa<nn::OptionalType>(type))
    n.invalid("without an operand, attribute 'type' must be the type of a tensor or sequence");
  n.out(0, n.make<nn::OptionalConstructOp>(Value(), TypeAttr::get(type)));
}

void importOptionalGetElement(Node &n) {
  bool isOptional = isa<nn::OptionalType>(n.in(0).getType());
  n.out(0, isOptional ? optionalGet(n, n.in(0), n.declaredType(0)) : n.in(0));
}

Value boolConstant(Node &n, bool value) {
  return n.constant(DenseElementsAttr::get(RankedTensorType::get({}, n.b().getI1Type()), value));
}

void importOptionalHasElement(Node &n) {
  if (!n.hasIn(0) || !isa<nn::OptionalType>(n.in(0).getType()))
    return n.out(0, boolConstant(n, n.hasIn(0)));
  if (auto op = n.in(0).getDefiningOp<nn::OptionalConstructOp>())
    return n.out(0, boolConstant(n, bool(op.getValue())));
  n.out(0, n.make<nn::OptionalHasOp>(n.in(0)));
}

} // namespace

void registerSequences(Registry &r) {
  r.add("SequenceConstruct", 1, Registry::any, importSequenceConstruct, 1, 11);
  r.add("SequenceEmpty", 0, 0, importSequenceEmpty, 1, 11);
  r.add("SequenceInsert", 2, 3, importSequenceInsert, 1, 11);
  r.add("SequenceErase", 1, 2, importSequenceErase, 1, 11);
  r.add("SequenceAt", 2, 2, importSequenceAt, 1, 11);
  r.add("SequenceLength", 1, 1, importSequenceLength, 1, 11);
  r.add("ConcatFromSequence", 1, 1, importConcatFromSequence, 1, 11);
  r.add("SplitToSequence", 1, 2, importSplitToSequence, 1, 11);
  r.add("Optional", 0, 1, importOptional, 1, 15);
  r.add("OptionalGetElement", 1, 1, importOptionalGetElement, 1, 15);
  r.add("OptionalHasElement", 0, 1, importOptionalHasElement, 1, 15);
  r.accept(Operands::Any,
           {"SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceAt", "SequenceLength",
            "ConcatFromSequence", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement"});
}

} // namespace nnopt::onnx

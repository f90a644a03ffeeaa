//===- Encoders.cpp - import rules of encoders of ai.onnx.ml --------------===//
//
// An encoder finds the position of each element among its keys (-1: none of them) and takes the value there.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Keys or values: strings or numbers.
struct List {
  std::vector<std::string> strings;
  std::optional<nn::ConstantData> numbers;
  bool isString = false;

  static List ofStrings(std::vector<std::string> values) { return {std::move(values), std::nullopt, true}; }
  static List ofNumbers(ElementsAttr values) { return {{}, nn::ConstantData::get(Attribute(values)), false}; }
  size_t size() const { return isString ? strings.size() : numbers->size(); }
  Type type() const { return numbers->type().getElementType(); }
  ArrayRef<char> element(size_t i) const {
    int64_t width = nn::elementBytes(type());
    return numbers->bytes().slice(i * width, width);
  }
};

ElementsAttr floatsAttr(Node &n, ArrayRef<double> values) {
  SmallVector<float> narrow(values.begin(), values.end());
  return nn::makeFloats(n.ctx(), {int64_t(values.size())}, narrow, "");
}
ElementsAttr intsAttr(Node &n, ArrayRef<int64_t> values) {
  return nn::makeInts(n.ctx(), {int64_t(values.size())}, values);
}

Value constantOf(Node &n, Type type, ArrayRef<char> bytes) {
  int64_t count = bytes.size() / nn::elementBytes(type);
  return n.constant(nn::makeConstant(RankedTensorType::get({count}, type), bytes, "table"));
}

/// Positions (i64) of the elements of x among the keys; `order[i]` is the key that position i stands for.
Value positions(Node &n, Value x, const List &keys, std::vector<size_t> &order) {
  if (keys.isString != n.isString(x))
    n.invalid("the keys have another type than the operand");
  order.clear();
  if (keys.isString) {
    SmallVector<StringRef> list(keys.strings.begin(), keys.strings.end());
    for (size_t i = 0; i < keys.size(); ++i)
      order.push_back(i);
    return n.make<nn::StringLookupOp>(x, n.b().getStrArrayAttr(list));
  }
  if (keys.type() != n.elt(x))
    n.invalid("the keys have another type than the operand");
  bool isFloat = isa<FloatType>(keys.type());
  auto before = [&](size_t a, size_t b) {
    if (!isFloat)
      return keys.numbers->asInt(a) < keys.numbers->asInt(b);
    double u = keys.numbers->asDouble(a), v = keys.numbers->asDouble(b);
    return u < v || (std::isnan(v) && !std::isnan(u));
  };
  for (size_t i = 0; i < keys.size(); ++i)
    order.push_back(i);
  std::stable_sort(order.begin(), order.end(), before);
  // Of equal keys the first counts.
  order.erase(std::unique(order.begin(), order.end(), [&](size_t a, size_t b) { return !before(a, b) && !before(b, a); }),
              order.end());
  std::vector<char> sorted;
  for (size_t i : order)
    sorted.insert(sorted.end(), keys.element(i).begin(), keys.element(i).end());
  return n.make<nn::LookupOp>(x, constantOf(n, keys.type(), sorted));
}

/// The value of each element's key, and `otherwise` (one element) where it is none.
Value encode(Node &n, Value x, const List &keys, const List &values, const List &otherwise) {
  if (keys.size() != values.size())
    n.invalid("there are " + Twine(keys.size()) + " keys and " + Twine(values.size()) + " values");
  std::vector<size_t> order;
  Value at = n.make<nn::AddOp>(positions(n, x, keys, order), n.intConstant(1));
  if (values.isString) {
    std::vector<std::string> all{otherwise.strings.front()};
    for (size_t i : order)
      all.push_back(values.strings[i]);
    return n.make<nn::StringTakeOp>(stringsConstant(n, all), at);
  }
  if (otherwise.type() != values.type())
    n.invalid("the default value has another type than the values");
  std::vector<char> all(otherwise.element(0).begin(), otherwise.element(0).end());
  for (size_t i : order)
    all.insert(all.end(), values.element(i).begin(), values.element(i).end());
  return n.make<nn::GatherOp>(constantOf(n, values.type(), all), at, n.i64(0));
}

std::optional<List> listOf(Node &n, const std::string &name) {
  if (ElementsAttr value = n.tensor(name + "_tensor")) {
    auto strings = dyn_cast<DenseStringElementsAttr>(value);
    if (!strings)
      return List::ofNumbers(value);
    std::vector<std::string> all;
    for (StringRef s : strings.getValues<StringRef>())
      all.push_back(s.str());
    return List::ofStrings(std::move(all));
  }
  if (auto values = n.strings(name + "_strings"))
    return List::ofStrings(*values);
  if (auto values = n.ints(name + "_int64s"))
    return List::ofNumbers(intsAttr(n, *values));
  if (auto values = n.floats(name + "_floats"))
    return List::ofNumbers(floatsAttr(n, *values));
  return std::nullopt;
}

void importLabelEncoder(Node &n) {
  Value x = n.in(0);
  std::string text = n.s("default_string", "_Unused");
  int64_t integer = n.i("default_int64", -1);
  if (n.version() < 2) {
    List classes = List::ofStrings(n.strings("classes_strings").value_or(std::vector<std::string>()));
    Ints count;
    for (size_t i = 0; i < classes.size(); ++i)
      count.push_back(i);
    List numbers = List::ofNumbers(intsAttr(n, count));
    n.out(0, n.isString(x) ? encode(n, x, classes, numbers, List::ofNumbers(intsAttr(n, {integer})))
                           : encode(n, x, numbers, classes, List::ofStrings({text})));
    return;
  }
  double real = n.f("default_float", -0.0);
  auto keys = listOf(n, "keys"), values = listOf(n, "values");
  if (!keys || !values)
    n.invalid("it has no keys or no values");
  List otherwise;
  if (ElementsAttr value = n.tensor("default_tensor")) {
    auto strings = dyn_cast<DenseStringElementsAttr>(value);
    otherwise = strings ? List::ofStrings({(*strings.getValues<StringRef>().begin()).str()}) : List::ofNumbers(value);
  } else if (values->isString) {
    otherwise = List::ofStrings({text});
  } else if (isa<FloatType>(values->type())) {
    std::vector<char> bytes;
    otherwise = List::ofNumbers(values->type().isF64() ? ElementsAttr(DenseElementsAttr::get(
                                                             RankedTensorType::get({1}, values->type()), real))
                                                       : floatsAttr(n, {real}));
  } else {
    Type type = values->type();
    otherwise = List::ofNumbers(DenseElementsAttr::get(
        RankedTensorType::get({1}, type), APInt(type.getIntOrFloatBitWidth(), uint64_t(integer), false, true)));
  }
  if (otherwise.isString != values->isString || otherwise.size() < 1)
    n.invalid("the default value has another type than the values");
  n.out(0, encode(n, x, *keys, *values, otherwise));
}

void importCategoryMapper(Node &n) {
  Value x = n.in(0);
  List strings = List::ofStrings(n.strings("cats_strings").value_or(std::vector<std::string>()));
  List numbers = List::ofNumbers(intsAttr(n, n.ints("cats_int64s").value_or(Ints())));
  List number = List::ofNumbers(intsAttr(n, {n.i("default_int64", -1)})),
       text = List::ofStrings({n.s("default_string", "_Unused")});
  n.out(0, n.isString(x) ? encode(n, x, strings, numbers, number) : encode(n, x, numbers, strings, text));
}

void importOneHotEncoder(Node &n) {
  Value x = n.in(0);
  auto words = n.strings("cats_strings");
  auto numbers = n.ints("cats_int64s");
  List keys = words && !words->empty() ? List::ofStrings(*words) : List::ofNumbers(intsAttr(n, numbers.value_or(Ints())));
  if (!keys.size())
    n.invalid("it has no categories");
  if (!n.i("zeros", 1))
    n.importer.warn("OneHotEncoder with zeros = 0: an element of no category gives zeros, no error");
  if (!keys.isString && !n.isString(x))
    x = n.convert(x, n.b().getI64Type());
  std::vector<size_t> order;
  Value at = n.unsqueeze(positions(n, x, keys, order), {int64_t(n.rank(x))});
  // Which position each category has in the table; equal categories share one.
  Ints columns(keys.size(), -2);
  for (auto [position, key] : enumerate(order))
    columns[key] = position;
  n.out(0, n.convert(n.make<nn::EqualOp>(at, n.intsConstant(columns)), n.b().getF32Type()));
}

//===----------------------------------------------------------------------===//
// Maps
//===----------------------------------------------------------------------===//

Value keysConstant(Node &n, StringRef strings, StringRef integers) {
  auto words = n.strings(strings);
  auto numbers = n.ints(integers);
  if (words && !words->empty())
    return stringsConstant(n, *words);
  if (!numbers)
    n.invalid("attribute '" + strings + "' or '" + integers + "' is needed");
  return n.intsConstant(*numbers);
}

void importZipMap(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  if (n.rank(x) == 1)
    x = n.unsqueeze(x, {0});
  n.needRank(x, 2, 2);
  n.out(0, n.make<nn::ZipMapOp>(x, keysConstant(n, "classlabels_strings", "classlabels_int64s")));
}

nn::MapType needMap(Node &n, Value v) {
  auto type = dyn_cast<nn::MapType>(v.getType());
  if (!type)
    n.invalid("the operand should be a map");
  return type;
}

void importDictVectorizer(Node &n) {
  nn::MapType type = needMap(n, n.in(0));
  Value keys = keysConstant(n, "string_vocabulary", "int64_vocabulary");
  if (n.elt(keys) != type.getKey())
    n.invalid("the vocabulary has another type than the keys of the map");
  n.out(0, n.make<nn::MapLookupOp>(n.in(0), keys));
}

void importCastMap(Node &n) {
  nn::MapType type = needMap(n, n.in(0));
  if (!type.getKey().isSignlessInteger(64))
    n.invalid("the keys of the map should be int64");
  std::string form = n.s("map_form", "DENSE"), to = n.s("cast_to", "TO_FLOAT");
  int64_t size = form == "SPARSE" ? n.i("max_map", 1) : 0;
  Type element = to == "TO_FLOAT"    ? Type(n.b().getF32Type())
                 : to == "TO_INT64"  ? Type(n.b().getI64Type())
                 : to == "TO_STRING" ? Type(nn::StringType::get(n.ctx()))
                                     : Type();
  if (!element || (form != "DENSE" && form != "SPARSE") || size < 0)
    n.invalid("attribute cast_to, map_form or max_map");
  n.ignore({"max_map"});
  Value row = n.make<nn::MapValuesOp>(n.in(0), n.i64(size));
  bool strings = n.isString(row) || isa<nn::StringType>(element);
  n.out(0, n.elt(row) == element ? row : strings ? convertString(n, row, element) : n.convert(row, element));
}

} // namespace

void registerEncoders(Registry &r) {
  r.add("ai.onnx.ml.LabelEncoder", 1, 1, importLabelEncoder);
  r.add("ai.onnx.ml.CategoryMapper", 1, 1, importCategoryMapper);
  r.add("ai.onnx.ml.OneHotEncoder", 1, 1, importOneHotEncoder);
  r.add("ai.onnx.ml.ZipMap", 1, 1, importZipMap);
  r.add("ai.onnx.ml.DictVectorizer", 1, 1, importDictVectorizer);
  r.add("ai.onnx.ml.CastMap", 1, 1, importCastMap);
  r.accept(Operands::Any, {"ai.onnx.ml.LabelEncoder", "ai.onnx.ml.CategoryMapper", "ai.onnx.ml.OneHotEncoder",
                           "ai.onnx.ml.DictVectorizer", "ai.onnx.ml.CastMap"});
}

} // namespace nnopt::onnx

//===- Strings.cpp - import rules of operators on strings -----------------===//
#include "lib/frontend/onnx/Importer.h"
#include "lib/frontend/onnx/ModelFile.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

Value stringsConstant(Node &n, ArrayRef<std::string> values) {
  return n.constant(makeStrings(n.ctx(), {int64_t(values.size())}, values));
}

/// All strings of the operands become one vector, each operand the tensor of its positions in it; what the rule
/// makes of the positions says which strings the result has.
void importMoved(Node &n, const Rule &rule) {
  Values operands, strings;
  for (unsigned i = 0; i < n.numInputs(); ++i)
    operands.push_back(n.optIn(i));
  // What padding puts in where the operator does not say: zeros elsewhere.
  if (n.op() == "Pad" && !n.hasIn(2)) {
    operands.resize(std::max<size_t>(operands.size(), 3));
    operands[2] = n.constant(makeStrings(n.ctx(), {}, {""}));
  }
  Value start = n.intConstant(0), one = n.intConstant(1);
  for (Value &v : operands) {
    if (!v || !n.isString(v))
      continue;
    Value end = n.make<nn::AddOp>(start, n.make<nn::SizeOp>(v));
    Value positions = n.make<nn::RangeOp>(start, end, one);
    strings.push_back(v);
    v = n.make<nn::ReshapeOp>(positions, n.make<nn::ShapeOp>(v, n.i64(0), IntegerAttr()), n.flag(true));
    start = end;
  }
  Value pool = strings.size() == 1 ? strings[0] : n.make<nn::StringPoolOp>(strings);
  Node moved(n, operands);
  rule.import(moved);
  for (auto [i, v] : enumerate(moved.outputs()))
    if (v)
      n.out(i, n.make<nn::StringTakeOp>(pool, v));
  for (const pb::AttributeProto &a : n.proto.attribute())
    n.attr(a.name()); // read by the rule, or reported there
}

Value convertString(Node &n, Value v, Type type) {
  if (isa<nn::StringType>(type)) {
    bool direct = isa<IntegerType>(n.elt(v)) || n.elt(v).isF64();
    return n.make<nn::NumberToStringOp>(direct ? v : n.convert(v, n.b().getF32Type()));
  }
  bool direct = isa<IntegerType>(type) || type.isF32() || type.isF64();
  Type read = direct ? type : Type(n.b().getF32Type());
  return n.convert(n.make<nn::StringToNumberOp>(v, TypeAttr::get(read)), type);
}

namespace {

void needStrings(Node &n, Value v) {
  if (!n.isString(v))
    n.invalid("an operand should be a tensor of strings");
}

void importStringConcat(Node &n) {
  needStrings(n, n.in(0));
  needStrings(n, n.in(1));
  n.out(0, n.make<nn::StringConcatOp>(n.in(0), n.in(1)));
}

void importStringSplit(Node &n) {
  needStrings(n, n.in(0));
  IntegerAttr limit = n.hasAttr("maxsplit") ? n.i64(n.i("maxsplit")) : IntegerAttr();
  n.outs(n.makeN<nn::StringSplitOp>(2, n.in(0), n.b().getStringAttr(n.s("delimiter", "")), limit));
}

void importStringNormalizer(Node &n) {
  needStrings(n, n.in(0));
  std::string change = n.s("case_change_action", "NONE");
  if (change != "NONE" && change != "LOWER" && change != "UPPER")
    n.invalid("attribute 'case_change_action' must be NONE, LOWER or UPPER");
  SmallVector<StringRef> words;
  auto given = n.strings("stopwords").value_or(std::vector<std::string>());
  for (const std::string &word : given)
    words.push_back(word);
  n.out(0, n.make<nn::StringNormalizeOp>(n.in(0), n.b().getStringAttr(change), n.flag(n.i("is_case_sensitive", 0)),
                                         n.b().getStringAttr(n.s("locale", "")), n.b().getStrArrayAttr(words)));
}

void importRegexFullMatch(Node &n) {
  needStrings(n, n.in(0));
  n.out(0, n.make<nn::RegexFullMatchOp>(n.in(0), n.b().getStringAttr(n.s("pattern", ""))));
}

void importImageDecoder(Node &n) {
  if (!n.elt(n.in(0)).isUnsignedInteger(8))
    n.invalid("the operand should be uint8");
  n.needRank(n.in(0), 1, 1);
  std::string format = n.s("pixel_format", "RGB");
  if (format != "RGB" && format != "BGR" && format != "Grayscale")
    n.invalid("attribute 'pixel_format' must be RGB, BGR or Grayscale");
  n.out(0, n.make<nn::ImageDecodeOp>(n.in(0), n.b().getStringAttr(format)));
}

//===----------------------------------------------------------------------===//
// TfIdfVectorizer
//===----------------------------------------------------------------------===//

/// The n-grams of the pool as the tree of nn.ngram_count.
struct NGramTree {
  std::vector<std::map<int64_t, int64_t>> edges{1};
  std::vector<int64_t> columns{-1};

  void add(ArrayRef<int64_t> gram, int64_t column) {
    int64_t node = 0;
    for (int64_t key : gram) {
      auto [it, fresh] = edges[node].try_emplace(key, edges.size());
      node = it->second;
      if (fresh) {
        edges.emplace_back();
        columns.push_back(-1);
      }
    }
    columns[node] = column;
  }
};

void importTfIdf(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 1, 2);
  int64_t minLength = n.i("min_gram_length"), maxLength = n.i("max_gram_length"), maxSkip = n.i("max_skip_count");
  auto counts = n.ints("ngram_counts"), indexes = n.ints("ngram_indexes"), numbers = n.ints("pool_int64s");
  auto words = n.strings("pool_strings");
  auto weights = n.floats("weights");
  std::string mode = n.s("mode", "TF");
  if (!counts || !indexes || (!numbers && !words))
    n.invalid("attributes ngram_counts, ngram_indexes and one of pool_int64s and pool_strings are needed");
  if (minLength < 1 || maxLength < minLength || maxLength > int64_t(counts->size()) || maxSkip < 0 || maxSkip > 1 << 20)
    n.invalid("min_gram_length, max_gram_length and max_skip_count do not fit");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    n.invalid("attribute 'mode' must be TF, IDF or TFIDF");
  Ints pool = numbers.value_or(Ints());
  if (words) {
    if (!n.isString(x))
      n.invalid("there is a pool of strings, but the operand is no tensor of strings");
    SmallVector<StringRef> keys;
    StringMap<int64_t> ids;
    for (const std::string &word : *words) {
      auto [it, fresh] = ids.try_emplace(word, ids.size());
      if (fresh)
        keys.push_back(word);
      pool.push_back(it->second);
    }
    x = n.make<nn::StringLookupOp>(x, n.b().getStrArrayAttr(keys));
  } else {
    n.needInt(x);
    x = n.convert(x, n.b().getI64Type());
  }
  // ngram_counts[i] is where the (i + 1)-grams start.
  NGramTree tree;
  size_t gram = 0;
  int64_t columns = 0;
  for (auto [i, start] : enumerate(*counts)) {
    int64_t end = i + 1 < counts->size() ? (*counts)[i + 1] : int64_t(pool.size()), length = i + 1;
    if (start < 0 || end < start || end > int64_t(pool.size()) || (end - start) % length)
      n.invalid("ngram_counts does not fit the pool");
    for (int64_t at = start; at < end; at += length, ++gram) {
      if (gram >= indexes->size() || (*indexes)[gram] < 0 || (*indexes)[gram] > 1 << 28)
        n.invalid("ngram_indexes does not fit the pool");
      tree.add(ArrayRef<int64_t>(pool).slice(at, length), (*indexes)[gram]);
      columns = std::max(columns, (*indexes)[gram] + 1);
    }
  }
  Ints begins, keys, nodes;
  for (auto &edges : tree.edges) {
    begins.push_back(keys.size());
    for (auto [key, node] : edges) {
      keys.push_back(key);
      nodes.push_back(node);
    }
  }
  begins.push_back(keys.size());
  Value result = n.make<nn::NGramCountOp>(x, n.intsConstant(begins), n.intsConstant(keys), n.intsConstant(nodes),
                                          n.intsConstant(tree.columns), n.i64(columns), n.i64(minLength),
                                          n.i64(maxLength), n.i64(maxSkip));
  if (mode != "TF" && weights) {
    std::vector<float> byColumn(columns, 1);
    if (weights->size() != indexes->size())
      n.invalid("there are not as many weights as n-grams");
    for (auto [column, weight] : zip(*indexes, *weights))
      byColumn[column] = float(weight);
    Value scale = n.constant(nn::makeFloats(n.ctx(), {columns}, byColumn, "weights")), zero = n.number(0, n.b().getF32Type());
    if (mode == "IDF")
      result = n.make<nn::WhereOp>(n.make<nn::GreaterOp>(result, zero), scale, zero);
    else
      result = n.make<nn::MulOp>(result, scale);
  } else if (mode == "IDF") {
    result = n.convert(n.make<nn::GreaterOp>(result, n.number(0, n.b().getF32Type())), n.b().getF32Type());
  }
  n.out(0, result);
}

} // namespace

void registerStrings(Registry &r) {
  r.add("StringConcat", 2, 2, importStringConcat, 1, 20);
  r.add("StringSplit", 1, 1, importStringSplit, 2, 20);
  r.add("StringNormalizer", 1, 1, importStringNormalizer, 1, 10);
  r.add("RegexFullMatch", 1, 1, importRegexFullMatch, 1, 20);
  r.add("TfIdfVectorizer", 1, 1, importTfIdf, 1, 9);
  r.add("ImageDecoder", 1, 1, importImageDecoder, 1, 20);
  r.accept(Operands::Any, {"StringConcat", "StringSplit", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer",
                           "Cast", "CastLike", "Equal", "Shape", "Size", "Identity"});
  r.accept(Operands::Moved, {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Concat", "Split",
                             "Slice", "Pad", "Tile", "DepthToSpace", "SpaceToDepth", "Gather", "GatherElements",
                             "GatherND", "Scatter", "ScatterElements", "ScatterND", "Compress", "Where"});
}

} // namespace nnopt::onnx

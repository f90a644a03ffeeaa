//===- Importer.h - what import rules see -----------------------*- C++ -*-===//
//
// An import rule maps one ONNX operator to nn operations. It gets a `Node`: the operands as
// values, the attributes, and builders that type each new operation at once by its shape function.
// Rules report what they cannot do by throwing `Unsupported`, and what contradicts the ONNX
// specification by throwing `Invalid`; both are caught in Importer.cpp and never leave this folder.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_FRONTEND_ONNX_IMPORTER_H
#define NNOPT_FRONTEND_ONNX_IMPORTER_H

#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"
#include "lib/frontend/onnx/Import.h"
#include "lib/frontend/onnx/Proto.h"
#include "lib/frontend/onnx/Tensors.h"
#include "llvm/ADT/StringSet.h"

namespace nnopt::onnx {

using llvm::StringSet;
using mlir::Type;
using mlir::Value;
using nn::Dim;
using Ints = llvm::SmallVector<int64_t>;
using Values = llvm::SmallVector<Value>;

/// Thrown by rules; see the top of the file.
struct Unsupported {
  std::string what, reason;
};
struct Invalid {
  std::string reason;
  /// About names and graphs; else about shapes and types, which a branch that is never taken may
  /// get wrong.
  bool structural = false;
};
/// A subgraph depends on something unsupported that was already recorded.
struct Poison {};
/// An invalid model, with the whole message.
struct Fatal {
  std::string message;
  bool structural = true;
};

/// What a name stands for.
struct Binding {
  enum Kind { Bound, Absent, Poisoned } kind = Poisoned;
  Value value; ///< set where Bound
};

/// Attributes that a call of a local function passes to its body.
struct CallFrame {
  llvm::StringMap<const pb::AttributeProto *> attributes;
  unsigned depth = 0;
};

using Opsets = llvm::StringMap<int64_t>;

/// Names of one graph or function body.
struct Scope {
  Scope *parent = nullptr; ///< the graph around a subgraph
  const CallFrame *frame = nullptr;
  const Opsets *opsets = nullptr;
  std::string prefix; ///< of node names, in function bodies
  std::string owner;  ///< node that holds this subgraph, to name its unnamed nodes
  /// Initializers become constants at the start of this block, in order of first use.
  mlir::Block *home = nullptr;
  mlir::Operation *lastConstant = nullptr;
  llvm::StringMap<Binding> values;
  llvm::StringMap<const pb::TensorProto *> tensors;
  llvm::StringMap<const pb::SparseTensorProto *> sparseTensors;
  llvm::StringMap<const pb::ValueInfoProto *> declared;
  /// Names that nodes of this graph produce, for error messages.
  llvm::StringSet<> produced;
};

/// "ai.onnx" is another name of the standard domain, "".
inline llvm::StringRef normalizedDomain(llvm::StringRef domain) {
  return domain == "ai.onnx" ? "" : domain;
}
/// The key of an operator's rules.
inline std::string ruleKey(llvm::StringRef domain, llvm::StringRef op) {
  domain = normalizedDomain(domain);
  return domain.empty() ? op.str() : (domain + "." + op).str();
}
/// The key under which a local function is known.
inline std::string functionKey(llvm::StringRef domain, llvm::StringRef name,
                               llvm::StringRef overload) {
  return (normalizedDomain(domain) + "\n" + name + "\n" + overload).str();
}

class Importer;

/// One ONNX node as import rules see it.
class Node {
public:
  Node(Importer &importer, Scope &scope, const pb::NodeProto &proto, int64_t version,
       mlir::Location loc, std::string name, llvm::ArrayRef<Value> inputs,
       llvm::ArrayRef<bool> used);
  /// The same node with other operands.
  Node(const Node &node, llvm::ArrayRef<Value> inputs)
      : Node(node.importer, node.scope, node.proto, node.version_, node.loc, node.name, inputs, node.used) {}

  llvm::StringRef op() const;
  /// Version of the operator set.
  int64_t version() const { return version_; }

  //===--- Operands and results -------------------------------------------===//
  unsigned numInputs() const { return inputs.size(); }
  unsigned numOutputs() const { return results.size(); }
  bool hasIn(unsigned i) const { return i < inputs.size() && inputs[i]; }
  /// A required operand.
  Value in(unsigned i) const;
  /// Null where absent.
  Value optIn(unsigned i) const { return i < inputs.size() ? inputs[i] : Value(); }
  /// All operands; none may be absent.
  Values allIn() const;
  /// Whether output i has a name and somebody reads it.
  bool isUsed(unsigned i) const { return i < used.size() && used[i]; }
  void out(unsigned i, Value v) { results[i] = v; }
  void outs(mlir::ValueRange values) {
    for (auto [i, v] : llvm::enumerate(values))
      if (i < results.size())
        results[i] = v;
  }
  llvm::ArrayRef<Value> outputs() const { return results; }

  //===--- Attributes -----------------------------------------------------===//
  /// Null when absent (function bodies may refer to attributes their caller did not give).
  const pb::AttributeProto *attr(llvm::StringRef name);
  bool hasAttr(llvm::StringRef name) { return attr(name); }
  int64_t i(llvm::StringRef name, int64_t otherwise);
  int64_t i(llvm::StringRef name); ///< required
  double f(llvm::StringRef name, double otherwise);
  std::optional<double> optF(llvm::StringRef name);
  std::string s(llvm::StringRef name, llvm::StringRef otherwise);
  std::optional<Ints> ints(llvm::StringRef name);
  std::optional<std::vector<std::string>> strings(llvm::StringRef name);
  std::optional<std::vector<double>> floats(llvm::StringRef name);
  /// The constant of a tensor attribute, or null.
  mlir::ElementsAttr tensor(llvm::StringRef name);
  const pb::GraphProto &graph(llvm::StringRef name);
  /// Names a rule deliberately does not read.
  void ignore(std::initializer_list<llvm::StringRef> names) {
    for (llvm::StringRef n : names)
      consumed.insert(n);
  }
  /// Attributes that no rule has asked for.
  std::vector<std::string> unreadAttributes() const;

  //===--- Facts ----------------------------------------------------------===//
  nn::ShapeContext &shapes();
  unsigned rank(Value v) { return shapes().rank(v); }
  llvm::ArrayRef<Dim> dims(Value v) { return shapes().dims(v); }
  Dim dim(Value v, unsigned i) { return shapes().dims(v)[i]; }
  /// The element type of a tensor, the type of a sequence, optional or map.
  mlir::Type elt(Value v) { return nn::elementTypeOf(v.getType()); }
  bool isString(Value v) { return mlir::isa<nn::StringType>(elt(v)); }
  /// The type that output i is declared with in the file, or null.
  mlir::Type declaredType(unsigned i);
  /// The elements of an integer operand where known; rules turn such operands into attributes.
  std::optional<Ints> content(Value v);
  /// content(), or Unsupported naming `what`.
  Ints needContent(Value v, llvm::StringRef what);
  int64_t needScalar(Value v, llvm::StringRef what);
  /// The rank that output i has in the file.
  std::optional<int64_t> declaredRank(unsigned i);
  /// The elements of a constant of any numeric type as doubles; nothing when not constant.
  std::optional<llvm::SmallVector<double>> numbers(Value v);

  //===--- Checks ---------------------------------------------------------===//
  [[noreturn]] void unsupported(const llvm::Twine &what, const llvm::Twine &reason) const;
  [[noreturn]] void invalid(const llvm::Twine &reason) const;
  /// `axis` made non-negative; Invalid unless in [-rank, rank).
  int64_t axis(int64_t axis, int64_t rank);
  /// The same for a list without repetitions.
  Ints axes(llvm::ArrayRef<int64_t> axes, int64_t rank);
  /// Invalid unless the ranks (element types) are as an operator needs them.
  void needRank(Value v, unsigned low, unsigned high = ~0u);
  void needFloat(Value v);
  void needInt(Value v);
  void needBool(Value v);
  void needSameType(llvm::ArrayRef<Value> values);

  //===--- Building -------------------------------------------------------===//
  mlir::OpBuilder &b();
  mlir::MLIRContext *ctx() { return b().getContext(); }
  mlir::Location location() const { return loc; }
  mlir::IntegerAttr i64(int64_t v) { return b().getI64IntegerAttr(v); }
  mlir::FloatAttr f64(double v) { return b().getF64FloatAttr(v); }
  mlir::UnitAttr flag(bool v) { return v ? b().getUnitAttr() : mlir::UnitAttr(); }
  mlir::DenseI64ArrayAttr i64s(llvm::ArrayRef<int64_t> v) { return b().getDenseI64ArrayAttr(v); }

  /// Creates an operation with one result and types it; Invalid when the shapes contradict.
  template <typename OpTy, typename... Args> Value make(Args &&...args) {
    auto op = OpTy::create(b(), loc, placeholder(), std::forward<Args>(args)...);
    infer(op);
    return op->getResult(0);
  }
  /// The same with `n` results, all given as one type list.
  template <typename OpTy, typename... Args> mlir::ResultRange makeN(unsigned n, Args &&...args) {
    llvm::SmallVector<mlir::Type> types(n, placeholder());
    auto op = OpTy::create(b(), loc, types, std::forward<Args>(args)...);
    infer(op);
    return op->getResults();
  }
  /// A type for results until the shape function gives the real one.
  mlir::Type placeholder();
  /// Types an operation that was created by hand.
  void infer(mlir::Operation *op);

  Value constant(mlir::ElementsAttr value);
  Value intsConstant(llvm::ArrayRef<int64_t> values); ///< i64 [n]
  Value intConstant(int64_t value);                   ///< i64 scalar
  /// A number as a tensor of an element type (scalar by default).
  Value number(double value, mlir::Type type, llvm::ArrayRef<int64_t> shape = {});
  Value numbersConstant(llvm::ArrayRef<double> values, mlir::Type type);
  Value convert(Value v, mlir::Type type);
  Value transpose(Value v, llvm::ArrayRef<int64_t> perm) {
    return make<nn::TransposeOp>(v, i64s(perm));
  }
  Value squeeze(Value v, llvm::ArrayRef<int64_t> axes) {
    return make<nn::SqueezeOp>(v, i64s(axes));
  }
  Value unsqueeze(Value v, llvm::ArrayRef<int64_t> axes) {
    return make<nn::UnsqueezeOp>(v, i64s(axes));
  }
  /// A reshape whose 0 entries copy the dimension and one entry may be -1.
  Value reshape(Value v, llvm::ArrayRef<int64_t> shape) {
    return make<nn::ReshapeOp>(v, intsConstant(shape), mlir::UnitAttr());
  }
  /// x[start:end] along an axis.
  Value slice(Value v, int64_t axis, int64_t start, int64_t end, int64_t step = 1);
  /// An operand of one element as a scalar.
  Value scalar(Value v);
  /// A reshape to sizes that are known when the model runs, in pieces that are concatenated.
  Value reshapeTo(Value v, mlir::ValueRange sizes) {
    return make<nn::ReshapeOp>(v, make<nn::ConcatOp>(sizes, i64(0)), flag(true));
  }
  /// A vector that should have `length` elements: where its length is not known, cut, or filled with `fill` in front
  /// or behind.
  Value withLength(Value v, int64_t length, llvm::StringRef what, double fill = 0, bool inFront = false);
  /// Entries for some axes as an i64 vector of one for each of `rank` dimensions: `otherwise` where there is none.
  /// Without `axes` they are for the first dimensions.
  Value byAxis(Value entries, Value axes, int64_t rank, int64_t otherwise);
  Value reduce(Value v, nn::ReduceKind kind, llvm::ArrayRef<int64_t> axes, bool keepDims);
  Value matmul(Value a, Value b, Value bias = {}, bool transposeA = false, bool transposeB = false) {
    return make<nn::MatMulOp>(a, b, bias, Value(), Value(), mlir::ValueRange(), flag(transposeA),
                              flag(transposeB));
  }
  /// Dimensions start..end of v (to the last without `end`) as an i64 tensor.
  Value shapeOf(Value v, int64_t start = 0, std::optional<int64_t> end = {}) {
    return make<nn::ShapeOp>(v, i64(start), end ? i64(*end) : mlir::IntegerAttr());
  }
  /// One dimension as an i64 scalar.
  Value sizeOf(Value v, int64_t axis) { return squeeze(shapeOf(v, axis, axis + 1), {0}); }
  /// 0, 1, ... below a scalar.
  Value countTo(Value limit) {
    return make<nn::RangeOp>(intConstant(0), limit, intConstant(1));
  }

  Importer &importer;
  Scope &scope;
  const pb::NodeProto &proto;

private:
  /// `type` is an AttributeProto::AttributeType.
  const pb::AttributeProto *attrOf(llvm::StringRef name, int type);

  int64_t version_;
  mlir::Location loc;
  std::string name;
  llvm::ArrayRef<Value> inputs;
  llvm::ArrayRef<bool> used;
  Values results;
  llvm::StringSet<> consumed;
};

/// What the operands of a rule may be besides tensors of numbers.
enum class Operands {
  Numbers, ///< nothing else
  Moved,   ///< strings, which the operator only moves: the rule then moves their indices
  Any,     ///< strings, sequences, optionals and maps; the rule looks at what it gets
};

/// An import rule and what the operator's schema says of it.
struct Rule {
  int64_t since, until; ///< versions of the operator set, both included
  unsigned minInputs, maxInputs;
  unsigned maxOutputs;
  void (*import)(Node &);
  Operands operands = Operands::Numbers;
};

/// Rules by operator: `Add`, and `ai.onnx.ml.Scaler` outside of the standard domain. Plugins add more.
class Registry {
public:
  static constexpr unsigned any = ~0u;
  static constexpr int64_t newest = 28; ///< newest opset the rules were checked against
  /// Oldest opset of the standard domain that all rules know; older ones only have rules that say so.
  static constexpr int64_t oldest = 6;

  /// `since` 0: from the oldest opset (of other domains the first) on.
  Rule &add(llvm::StringRef op, unsigned minInputs, unsigned maxInputs, void (*import)(Node &),
            unsigned maxOutputs = 1, int64_t since = 0, int64_t until = newest) {
    llvm::StringRef domain = op.contains('.') ? op.rsplit('.').first : "";
    domains.insert(domain);
    if (since == 0)
      since = domain.empty() ? oldest : 1;
    rules[op].push_back({since, until, minInputs, maxInputs, maxOutputs, import});
    return rules[op].back();
  }
  /// Says what else the operands of all rules of some operators may be.
  void accept(Operands operands, llvm::ArrayRef<llvm::StringRef> ops);
  /// A rule of another domain, for every version of its operator set.
  void addCustom(llvm::StringRef domain, llvm::StringRef op, Rule rule);
  /// Null where there is none for that version; `known` tells whether another version has one.
  const Rule *find(llvm::StringRef domain, llvm::StringRef op, int64_t version, bool &known) const;
  bool knowsDomain(llvm::StringRef domain) const { return domains.contains(domain); }
  /// All rules, made once.
  static const Registry &get() { return instance(); }

private:
  friend void registerImportRule(llvm::StringRef, llvm::StringRef, unsigned, unsigned, unsigned, void (*)(Node &));
  static Registry &instance();
  llvm::StringSet<> domains; ///< that have rules
  llvm::StringMap<llvm::SmallVector<Rule, 2>> rules;
};

/// Adds the rule of an operator of a domain of its own: for plugins, which call it when they are loaded.
void registerImportRule(llvm::StringRef domain, llvm::StringRef op, unsigned minInputs, unsigned maxInputs,
                        unsigned maxOutputs, void (*import)(Node &));

// One function for each file in ops/.
void registerElementwise(Registry &r);
void registerDataMovement(Registry &r);
void registerShapeOps(Registry &r);
void registerIndexing(Registry &r);
void registerConvolution(Registry &r);
void registerPooling(Registry &r);
void registerNormalization(Registry &r);
void registerReduction(Registry &r);
void registerContraction(Registry &r);
void registerRecurrent(Registry &r);
void registerAttention(Registry &r);
void registerRotaryEmbedding(Registry &r);
void registerResize(Registry &r);
void registerVision(Registry &r);
void registerSignal(Registry &r);
void registerControlFlow(Registry &r);
void registerQuantizedContraction(Registry &r);
// The domain com.microsoft.
void registerContribAttention(Registry &r);
void registerContribFused(Registry &r);
void registerContribMisc(Registry &r);
void registerContribMoE(Registry &r);
void registerContribNormalization(Registry &r);
void registerContribQuantization(Registry &r);
void registerLinearAttention(Registry &r);
void registerLoss(Registry &r);
void registerRandom(Registry &r);
void registerTraining(Registry &r);
void registerQuantization(Registry &r);
void registerStrings(Registry &r);
void registerSequences(Registry &r);
void registerEncoders(Registry &r);
void registerTrees(Registry &r);
void registerLinearModels(Registry &r);
void registerFeatures(Registry &r);

// DataMovement.cpp
/// A vector whose length is the rank of the result: where it is not known, as long as the result's declared shape.
Value shapeOperand(Node &n, Value shape, llvm::StringRef what);
/// x without axes that are data: an integer vector, after which `left` dimensions stay.
Value squeezeUnknown(Node &n, Value x, Value axes, int64_t left);

// Strings.cpp
/// Runs a rule that only moves elements on the indices of strings, and takes the strings at the end.
void importMoved(Node &n, const Rule &rule);
/// Strings as numbers or numbers as strings.
Value convertString(Node &n, Value v, mlir::Type type);
Value stringsConstant(Node &n, llvm::ArrayRef<std::string> values);

// Sequences.cpp
Value sequenceAt(Node &n, Value sequence, Value position, mlir::Type declared);
Value sequenceInsert(Node &n, Value sequence, Value x, Value position);
Value optionalOf(Node &n, Value v);
Value optionalGet(Node &n, Value optional, mlir::Type declared);

// ControlFlow.cpp
/// A loop over values that keep their types, for at most so many iterations. `body` gives a bool scalar, whether to go
/// on, and the next values.
Values repeat(Node &n, int64_t most, llvm::ArrayRef<Value> initial, llvm::function_ref<Values(llvm::ArrayRef<Value>)> body);

// Classifiers.cpp
/// Scores after `post_transform` (NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT).
Value postTransform(Node &n, Value scores, llvm::StringRef transform);
/// Class labels (attributes classlabels_strings and `integers`) at i64 indices.
Value labelsAt(Node &n, Value indices, llvm::StringRef integers);
/// The number of class labels.
int64_t countLabels(Node &n, llvm::StringRef integers);

/// Imports one model.
class Importer {
public:
  Importer(ModelFile &file, mlir::MLIRContext &ctx, nn::DimContext &dims,
           const ImportOptions &options, ImportResult &result)
      : file(file), ctx(ctx), options(options), result(result), builder(&ctx), shapes(dims) {}

  void run();

  /// Imports a subgraph at the current insertion point: its inputs are bound to `inputs` and the
  /// values of its outputs are returned.
  Values importSubgraph(Node &node, const pb::GraphProto &graph, llvm::ArrayRef<Value> inputs);
  /// Removes the operations of a block and what is known of their results.
  void clearBlock(mlir::Block &block);
  /// Warns, with a limit on the number of warnings.
  void warn(const llvm::Twine &text);

  ModelFile &file;
  mlir::MLIRContext &ctx;
  const ImportOptions &options;
  ImportResult &result;
  mlir::OpBuilder builder;
  nn::ShapeContext shapes;
  /// Random operations without a seed so far: each has a stream of its own.
  int64_t randomStreams = 0;
  /// Text of the last diagnostic (shape functions and verifiers report through them).
  std::string lastDiagnostic;

private:
  void importModel();
  void readOpsets();
  void readFunctions();
  void checkDimOptions(const pb::GraphProto &graph);
  void importInputs(Scope &scope, const pb::GraphProto &graph,
                    llvm::SmallVectorImpl<mlir::DictionaryAttr> &argAttrs);
  void declareGraph(Scope &scope, const pb::GraphProto &graph);
  template <typename Nodes> void declareProduced(Scope &scope, const Nodes &nodes);
  template <typename Nodes>
  void importNodes(Scope &scope, const Nodes &nodes, llvm::StringSet<> needed);
  void importNode(Scope &scope, const pb::NodeProto &node, int64_t index,
                  const llvm::StringSet<> &needed);
  void importCall(Scope &scope, const pb::NodeProto &node, const pb::FunctionProto &function,
                  llvm::ArrayRef<Binding> inputs, const std::string &name);
  bool checkOperators(Scope &scope, const pb::NodeProto &node, llvm::StringRef nodeName,
                      bool subgraphs);
  bool isDefined(const Scope &scope, llvm::StringRef name) const;
  Binding lookup(Scope &scope, llvm::StringRef name);
  std::string nodeName(const Scope &scope, const pb::NodeProto &node, int64_t index) const;
  Value makeInitializer(Scope &scope, llvm::StringRef name, const pb::TensorProto *tensor,
                        const pb::SparseTensorProto *sparse);
  void bindResult(Scope &scope, llvm::StringRef name, Binding binding);
  void poisonOutputs(Scope &scope, const pb::NodeProto &node, mlir::Location loc);
  void checkDeclared(Scope &scope, llvm::StringRef name, Value value);
  std::optional<nn::Dims> declaredDims(const pb::ValueInfoProto &info);
  void problem(const pb::NodeProto &node, llvm::StringRef opset, llvm::StringRef what,
               llvm::StringRef reason, llvm::StringRef nodeName);
  const pb::FunctionProto *findFunction(const pb::NodeProto &node);
  std::optional<int64_t> versionOf(const Scope &scope, llvm::StringRef domain);

  llvm::StringMap<const pb::FunctionProto *> functions;
  Opsets modelOpsets;
  std::map<const pb::FunctionProto *, Opsets> functionOpsets;
  llvm::StringSet<> seenProblems;
  int64_t importedNodes = 0;
};

} // namespace nnopt::onnx

#endif

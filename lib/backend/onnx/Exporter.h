//===- Exporter.h - what export rules see -----------------------*- C++ -*-===//
//
// An export rule writes one nn operation as ONNX nodes. It gets an `OpExport`: the ONNX names of the
// operands, and functions that add nodes. Most operations are one node of one operator; where the
// model's operator set is too old for it, a rule writes the operation out in older operators, or
// asks for a newer set with `need`. What has no ONNX form is reported by throwing `Unsupported`.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_BACKEND_ONNX_EXPORTER_H
#define NNOPT_BACKEND_ONNX_EXPORTER_H

#include "dialects/nn/NN.h"
#include "lib/backend/onnx/Export.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "onnx-ml.pb.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include <functional>
#include <map>

namespace nnopt::onnx {

using mlir::Type;
using mlir::Value;
using Ints = llvm::SmallVector<int64_t>;
using Names = llvm::SmallVector<std::string>;
using Attrs = std::vector<pb::AttributeProto>;

pb::AttributeProto intAttr(llvm::StringRef name, int64_t value);
pb::AttributeProto floatAttr(llvm::StringRef name, double value);
pb::AttributeProto stringAttr(llvm::StringRef name, llvm::StringRef value);
pb::AttributeProto intsAttr(llvm::StringRef name, llvm::ArrayRef<int64_t> values);
pb::AttributeProto floatsAttr(llvm::StringRef name, llvm::ArrayRef<float> values);
pb::AttributeProto stringsAttr(llvm::StringRef name, llvm::ArrayRef<std::string> values);

/// The first name among the locations of an operation, its mnemonic where there is none: the name of
/// its node.
std::string baseName(mlir::Operation *op);

/// Thrown by rules; see the top of the file.
struct NoOnnxForm {
  std::string what, reason;
};

class Exporter;

/// One nn operation as export rules see it.
class OpExport {
public:
  OpExport(Exporter &exporter, mlir::Operation *op) : exporter(exporter), op(op) {}

  /// The operator set of the model that is being written.
  int64_t opset() const;
  /// The rule uses what exists since an operator set only: the model will have at least that.
  void need(int64_t since);
  [[noreturn]] void unsupported(const llvm::Twine &what, const llvm::Twine &reason) const {
    throw NoOnnxForm{what.str(), reason.str()};
  }

  //===--- Operands -------------------------------------------------------===//
  /// The ONNX name of a value; empty for a null value.
  std::string name(mlir::Value v) const;
  /// Of operand i.
  std::string in(unsigned i) const { return name(op->getOperand(i)); }
  Names allIn() const;
  /// A shape operand as i64, as operators want it.
  std::string shape(mlir::Value v);
  /// The elements of an integer operand that is a constant.
  std::optional<Ints> content(mlir::Value v) const;
  /// The elements of a constant of any type as doubles.
  std::optional<llvm::SmallVector<double>> numbers(mlir::Value v) const;

  //===--- Nodes ----------------------------------------------------------===//
  /// Adds a helper node with one output and returns its name.
  std::string step(llvm::StringRef type, llvm::ArrayRef<std::string> inputs, Attrs attrs = {});
  /// Adds the node whose outputs are the results of the operation.
  void finish(llvm::StringRef type, llvm::ArrayRef<std::string> inputs, Attrs attrs = {});
  /// The same for an operator whose outputs are optional: those that nobody reads are left out.
  void finishOptional(llvm::StringRef type, llvm::ArrayRef<std::string> inputs, Attrs attrs);
  /// The results are these values.
  void finishAs(llvm::ArrayRef<std::string> values);

  //===--- Constants: initializers, one for each content -------------------===//
  std::string constant(mlir::ElementsAttr value);
  std::string ints(llvm::ArrayRef<int64_t> values); ///< i64 [n]
  std::string scalar(int64_t value);                ///< i64 []
  std::string number(double value, mlir::Type type, llvm::ArrayRef<int64_t> shape = {});

  //===--- Common pieces ----------------------------------------------------===//
  /// Squeeze and its like: `axes` is an attribute at first and an operand since opset `since`.
  std::string withAxes(llvm::StringRef type, std::string x, llvm::ArrayRef<int64_t> axes, int64_t since = 13,
                       Attrs more = {});
  std::string transpose(std::string x, llvm::ArrayRef<int64_t> perm);
  std::string cast(std::string x, mlir::Type to);
  /// The dimensions [from, to) of x as an i64 tensor.
  std::string shapeOf(std::string x, int64_t rank, int64_t from, int64_t to);

  Exporter &exporter;
  mlir::Operation *op;
};

inline mlir::RankedTensorType tensorType(mlir::Value v) { return mlir::cast<mlir::RankedTensorType>(v.getType()); }
inline mlir::Type elementTypeOf(mlir::Value v) { return tensorType(v).getElementType(); }
inline int64_t rankOf(mlir::Value v) { return tensorType(v).getRank(); }

/// Rules by operation.
class ExportRegistry {
public:
  using Rule = std::function<void(OpExport &)>;

  template <typename OpTy> void add(void (*rule)(OpExport &, OpTy)) {
    rules[OpTy::getOperationName()] = [rule](OpExport &e) { rule(e, mlir::cast<OpTy>(e.op)); };
  }
  /// An operation that is one node with the same operands, since opset `since`.
  template <typename OpTy> void add(llvm::StringRef type, int64_t since = 1) {
    rules[OpTy::getOperationName()] = [type, since](OpExport &e) {
      e.need(since);
      e.finish(type, e.allIn());
    };
  }
  const Rule *find(llvm::StringRef op) const;
  /// All rules, made once.
  static const ExportRegistry &get();

private:
  llvm::StringMap<Rule> rules;
};

// One function for each file in ops/.
void addElementwise(ExportRegistry &r);
void addActivations(ExportRegistry &r);
void addScalarRegions(ExportRegistry &r);
void addShapeOps(ExportRegistry &r);
void addDataMovement(ExportRegistry &r);
void addIndexing(ExportRegistry &r);
void addContractions(ExportRegistry &r);
void addAttention(ExportRegistry &r);
void addPooling(ExportRegistry &r);
void addNormalization(ExportRegistry &r);
void addReductions(ExportRegistry &r);
void addQuantization(ExportRegistry &r);
void addRecurrent(ExportRegistry &r);
void addResize(ExportRegistry &r);
void addSampling(ExportRegistry &r);
void addRandom(ExportRegistry &r);
void addControlFlow(ExportRegistry &r);

/// The scalar code of a region (map body, epilogue) as nodes on tensors: `args` are the values of
/// its arguments, whose tensors have element types `types`. Returns what it yields, as tensors of
/// element types `results`. Broadcasting does the rest.
Names exportScalarRegion(OpExport &e, mlir::Block &block, llvm::ArrayRef<std::string> args,
                         llvm::ArrayRef<mlir::Type> types, llvm::ArrayRef<mlir::Type> results);

/// Writes one module at one operator set.
class Exporter {
public:
  Exporter(mlir::ModuleOp module, int64_t opset) : opset(opset), required(opset), module(module), shapes(dims) {}

  /// Fails after a diagnostic. What has no ONNX form is in `problems`; if `required` is above `opset`
  /// nothing else is valid.
  mlir::LogicalResult run();

  //===--- for rules ------------------------------------------------------===//
  std::string nameOf(mlir::Value v);
  std::string newValueName(llvm::StringRef base);
  pb::NodeProto *addNode(llvm::StringRef type, llvm::StringRef baseName, llvm::ArrayRef<std::string> inputs, Attrs attrs);
  void addOutput(pb::NodeProto *node, llvm::StringRef name);
  /// Gives a result a name: the one its graph output has, or one made from the operation's.
  std::string nameResult(mlir::Value v, llvm::StringRef base);
  void bind(mlir::Value v, llvm::StringRef name) { names[v] = name.str(); }
  bool isOutput(mlir::Value v) const { return outputNames.count(v); }
  /// An initializer of the main graph, once for each content.
  std::string constant(mlir::ElementsAttr value);
  /// A region as a subgraph with `inputs` as inputs and the yielded values as outputs.
  pb::GraphProto subgraph(mlir::Region &region, llvm::StringRef name);

  int64_t opset, required;
  std::vector<Problem> problems;
  std::unique_ptr<ExportedModel> result = std::make_unique<ExportedModel>();

private:
  void exportBlock(mlir::Block &block);
  void exportOp(mlir::Operation *op);
  void exportConstant(nn::ConstantOp op);
  void describe(pb::ValueInfoProto *info, llvm::StringRef name, mlir::Value v);
  /// The name of an output of the current graph, which a node of that graph makes: `wanted` unless empty.
  std::string makeOutput(mlir::Value v, llvm::StringRef wanted, llvm::StringSet<> &taken);
  void markLive(mlir::func::FuncOp main);
  void refuseHostValues(mlir::func::FuncOp main);
  void reserveNames(mlir::func::FuncOp main);

  mlir::ModuleOp module;
  nn::DimContext dims;
  nn::ShapeContext shapes;
  llvm::DenseSet<mlir::Operation *> live;
  llvm::DenseMap<mlir::Value, std::string> names, outputNames;
  llvm::StringSet<> valueNames, nodeNames, symbols;
  /// Names that operations have by their locations: only the first operation of each may take it.
  llvm::StringSet<> ownNames;
  std::map<std::string, std::string> constants; // type and bytes -> name

  /// The graph that nodes are added to, and the values its nodes make.
  struct Level {
    pb::GraphProto proto;
    llvm::StringSet<> produced;
    Level *outer = nullptr;
  };
  Level *level = nullptr;
};

} // namespace nnopt::onnx

#endif

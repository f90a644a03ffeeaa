//===- Graph.h - a graph of nn operations as data ---------------*- C++ -*-===//
#ifndef NNOPT_LIB_REPORT_GRAPH_H
#define NNOPT_LIB_REPORT_GRAPH_H

#include "dialects/nn/ShapeInference.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

namespace nnopt::report {

/// Sizes of symbolic dimensions that figures are given for.
using Sizes = llvm::StringMap<int64_t>;

/// The operations of a function and what connects them. Everything is copied: the function may be
/// rewritten afterwards.
class Graph {
public:
  /// Takes the function as it is now. The types of its values are refined on the way, as any pass
  /// would refine them.
  explicit Graph(mlir::func::FuncOp func);

  size_t nodeCount() const { return nodes.size(); }
  int64_t parameters = 0; // elements of constants that are no shape arithmetic

  /// Position of an operation among the nodes, where it is one.
  std::optional<size_t> nodeOf(mlir::Operation *op) const;
  /// Multiply-accumulates of one run; nothing where a size is missing.
  std::optional<int64_t> macs(const Sizes &sizes) const;
  /// Names of symbols that inputs have, with their bounds.
  const std::vector<std::pair<std::string, int64_t>> &symbols() const { return inputSymbols; }

  llvm::json::Object json(const Sizes &sizes) const;

private:
  struct Node {
    llvm::json::Object data;
    nn::Dim macs;
  };
  void addBlock(mlir::Block &block, nn::ShapeContext &shapes, std::optional<size_t> parent);
  void addConstant(mlir::Operation *op, nn::ShapeContext &shapes);
  void addNode(mlir::Operation *op, nn::ShapeContext &shapes, std::optional<size_t> parent);
  int64_t idOf(mlir::Value v);
  llvm::json::Array idsOf(mlir::ValueRange values);
  llvm::json::Object describe(mlir::Value v, nn::ShapeContext &shapes);

  nn::DimContext dims;
  std::vector<Node> nodes;
  llvm::json::Array constants, inputs, outputs;
  std::vector<std::pair<std::string, int64_t>> inputSymbols;
  llvm::DenseMap<mlir::Value, int64_t> ids;
  llvm::DenseMap<mlir::Operation *, size_t> positions;
};

/// Text that JSON can hold: what is no UTF-8 is replaced.
std::string utf8(llvm::StringRef text);
/// The ONNX nodes that a location names.
llvm::json::Array originsOf(mlir::Location loc);
/// `d` for these sizes.
std::optional<int64_t> evaluate(nn::Dim d, const Sizes &sizes);

} // namespace nnopt::report

#endif

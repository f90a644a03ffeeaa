//===- Export.h - the nn dialect to ONNX files ------------------*- C++ -*-===//
#ifndef NNOPT_BACKEND_ONNX_EXPORT_H
#define NNOPT_BACKEND_ONNX_EXPORT_H

#include "dialects/nn/Constants.h"
#include "lib/frontend/onnx/Import.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <string>
#include <vector>

namespace nnopt::onnx {

/// A model ready to be written. Weights stay where they are (views of the mapped source or of
/// resources of the context, which must outlive this) until they are written.
class ExportedModel {
public:
  struct Weight {
    std::string name;
    nn::ConstantData data;
    std::vector<char> packed; ///< of elements narrower than a byte, as files have them

    llvm::ArrayRef<char> bytes() const { return packed.empty() ? data.bytes() : llvm::ArrayRef<char>(packed); }
  };
  /// Everything of the file but the weights: ModelProto without its graph, and the GraphProto.
  std::string model, graph;
  std::vector<Weight> weights;

  /// Whether one file could not hold it: protobuf messages are smaller than 2 GB.
  bool needsDataFile() const;
  /// Writes the model; with a `dataFile` (a name in the same folder) its large weights are left
  /// to writeData.
  void write(llvm::raw_ostream &os, llvm::StringRef dataFile = "") const;
  void writeData(llvm::raw_ostream &os) const;
};

struct ExportResult {
  std::unique_ptr<ExportedModel> model; ///< null when exitCode is not 0
  std::vector<Problem> unsupported;
  int exitCode = 0; ///< 0 done, 1 the graph is broken (a diagnostic says how), 4 something has no ONNX form
};

/// Makes a standard ONNX model of function `main`: the operator set of the model it came from
/// (`nn.opset`), or the lowest newer one that has every operator it needs. Names of inputs and
/// outputs are those of the attributes importModel sets, names of nodes and initializers come from
/// the locations.
ExportResult exportModel(mlir::ModuleOp module);

} // namespace nnopt::onnx

#endif

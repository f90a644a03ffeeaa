//===- Import.h - ONNX files to the nn dialect ------------------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_IMPORT_H
#define NNOPT_FRONTEND_ONNX_IMPORT_H

#include "dialects/nn/Dim.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <string>
#include <vector>

namespace nnopt::onnx {

/// What `--dim` says of one dimension: pinned (low == high), bounded, or bounded below only
/// (high < 0).
struct DimSpec {
  int64_t low = 0;
  int64_t high = -1;
};

struct ImportOptions {
  /// By symbol name, or `INPUT[AXIS]` for a dimension without a name.
  llvm::StringMap<DimSpec> dims;
  /// Only look for what is unsupported; the module is not returned.
  bool checkOnly = false;
};

/// One thing that cannot be compiled.
struct Problem {
  std::string op;    ///< operator, with its domain where that is not the standard one
  std::string opset; ///< version of the operator set the model imports
  std::string what;  ///< attribute, type or shape it is about, or "operator"
  std::string reason;
  std::string node; ///< node name, or OpType_index for an unnamed one
};

struct ImportResult {
  /// Bytes the module's constants are views of (the mapped files): must outlive the module and
  /// every constant made from it. Declared first so that it is destroyed last.
  std::shared_ptr<void> storage;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Paths of the model and of the external data it uses.
  std::vector<std::string> files;
  std::vector<Problem> unsupported;
  /// 0 done, 2 wrong options (unknown dimension name), 3 invalid or unreadable model,
  /// 4 something is unsupported.
  int exitCode = 0;
  std::string error; ///< one line; empty when exitCode is 0
  std::vector<std::string> warnings;
};

/// Reads the model at `path` into a module with one function `main`:
///  - arguments are the graph inputs that are no initializers, with attributes `nn.name` and
///    `nn.dims` (symbol names and integers); results have `nn.name`;
///  - the module has `nn.producer`, `nn.opset`, `nn.ir_version` and, for bounded symbols,
///    `nn.dim_bounds` = {symbol = [low, high]} (high -1: none), which are also set in `dims`;
///  - the location of each operation is the name of its ONNX node (`OpType_index` where it has
///  none).
/// Never throws or terminates, whatever the file holds.
ImportResult importModel(llvm::StringRef path, mlir::MLIRContext &ctx, nn::DimContext &dims,
                         const ImportOptions &options);

/// The same for a model in memory, which must outlive the module. External data is refused.
ImportResult importModelBytes(llvm::StringRef bytes, mlir::MLIRContext &ctx, nn::DimContext &dims,
                              const ImportOptions &options);

/// One table of all problems, equal ones in one line with a count.
void printUnsupportedTable(llvm::raw_ostream &os, llvm::ArrayRef<Problem> problems);

} // namespace nnopt::onnx

#endif

//===- Isolate.h - some operations as a model of their own ------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_ISOLATE_H
#define NNOPT_LIB_DRIVER_ISOLATE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <functional>
#include <vector>

namespace nnopt {

/// A module whose `main` has copies of operations, constants that they read, and nothing else.
struct Isolated {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp main;
  /// The copy of the last operation. Its results are not returned yet.
  mlir::Operation *last = nullptr;

  /// `ops` are in graph order; what they read besides constants and each other become arguments, of these shapes.
  Isolated(llvm::ArrayRef<mlir::Operation *> ops,
           llvm::function_ref<std::vector<int64_t>(mlir::Value)> shapeOf);
  mlir::Value addArgument(mlir::Type element, llvm::ArrayRef<int64_t> shape);
  void addResult(mlir::Value value);
};

/// What operations read besides constants and each other's results.
llvm::SmallVector<mlir::Value> inputsOf(llvm::ArrayRef<mlir::Operation *> ops);

} // namespace nnopt

#endif

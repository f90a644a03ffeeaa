//===- Passes.h - all passes ------------------------------------*- C++ -*-===//
//
// Declarations of every pass, gathered from passes/*/*.td by the build.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_PASSES_H
#define NNOPT_PASSES_PASSES_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace nnopt {
#define GEN_PASS_DECL
#include "passes/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"
} // namespace nnopt

#endif

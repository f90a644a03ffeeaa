//===- Rules.h - what commutes with pooling and resizing --------*- C++ -*-===//
//
// Each rule looks at one operation and gives the value that stands for its result from now on; null where it does not
// apply. `why` says what is in the way where something looks like it.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_PASSES_REORDER_RESAMPLING_RULES_H
#define NNOPT_PASSES_REORDER_RESAMPLING_RULES_H

#include "passes/common/Rewrite.h"

namespace nnopt::resampling {

struct Rewriter {
  mlir::IRRewriter &rewriter;
  FuncShapes &shapes;
  std::string why;

  mlir::Value refuse(const llvm::Twine &reason) {
    why = reason.str();
    return {};
  }
};

/// A 1x1 convolution of stride 1 without padding and epilogue, of plain floats.
bool isPointwise(nn::ConvOp op);

// Pooling.cpp
mlir::Value poolBeforeConv(mlir::Operation *pool, Rewriter &r);
mlir::Value moveOverMaxPool(mlir::Operation *op, Rewriter &r);
mlir::Value reduceWholeWindow(mlir::Operation *pool, Rewriter &r);

// Resizing.cpp
mlir::Value convBeforeResize(nn::ConvOp conv, Rewriter &r);
mlir::Value elementwiseBeforeResize(mlir::Operation *op, Rewriter &r);
mlir::Value transposedConv(nn::ConvOp conv, Rewriter &r);

} // namespace nnopt::resampling

#endif

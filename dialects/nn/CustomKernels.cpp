//===- CustomKernels.cpp - what is known of kernels from outside ----------===//
#include "dialects/nn/CustomKernels.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace nnopt::nn {

static llvm::StringMap<CustomShapeFunction> &customKernels() {
  static llvm::StringMap<CustomShapeFunction> kernels;
  return kernels;
}

void registerCustomKernel(StringRef kernel, CustomShapeFunction shapes) { customKernels()[kernel] = shapes; }

LogicalResult CustomOp::inferShapes(ShapeContext &ctx) {
  auto it = customKernels().find(getKernel());
  if (it == customKernels().end())
    return emitOpError("kernel '") << getKernel() << "' is not known; load the plugin that registers it (--load-pass-plugin)";
  return it->second(*this, ctx);
}

} // namespace nnopt::nn

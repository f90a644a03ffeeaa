//===- ClampedCube.cpp - an operator from outside in a plugin ---------------===//
//
// com.example.ClampedCube(x; limit) = min(max(x^3, -limit), limit) on f32 tensors. See docs/custom-operators.md.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/CustomKernels.h"
#include "lib/frontend/onnx/Importer.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

using namespace mlir;
using namespace nnopt;

/// The result has the type of the first operand.
static LogicalResult shapeOfFirst(nn::CustomOp op, nn::ShapeContext &ctx) {
  const nn::ValueInfo &x = ctx.info(op.getInputs()[0]);
  ctx.set(op.getResult(0), x.elementType, x.dims);
  return success();
}

/// The attribute becomes a constant operand of the kernel.
static void importClampedCube(onnx::Node &n) {
  if (!n.elt(n.in(0)).isF32())
    n.unsupported("type", "only float is supported");
  double limit = n.f("limit", 1);
  if (!(limit > 0))
    n.invalid("attribute 'limit' must be positive");
  Value operands[] = {n.in(0), n.number(limit, n.elt(n.in(0)))};
  n.outs(n.makeN<nn::CustomOp>(1, operands, n.b().getStringAttr("clamped_cube")));
}

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "ClampedCube", "1", [] {
            nn::registerCustomKernel("clamped_cube", shapeOfFirst);
            onnx::registerImportRule("com.example", "ClampedCube", /*minInputs=*/1, /*maxInputs=*/1, /*maxOutputs=*/1,
                                     importClampedCube);
          }};
}

//===- WrongPass.cpp - a pass that is wrong on purpose ----------------------===//
//
// `wrong-add` makes every addition a subtraction: what --bisect and --verify must find.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

using namespace mlir;

namespace {

struct WrongAddPass : PassWrapper<WrongAddPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(WrongAddPass)
  StringRef getArgument() const final { return "wrong-add"; }
  StringRef getDescription() const final { return "Make every addition a subtraction (for tests)"; }
  void runOnOperation() final {
    getOperation().walk([](nnopt::nn::AddOp op) {
      OpBuilder b(op);
      auto sub = nnopt::nn::SubOp::create(b, op.getLoc(), op.getType(), op.getLhs(), op.getRhs());
      op.getResult().replaceAllUsesWith(sub.getResult());
      op.erase();
    });
  }
};

} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "WrongPass", "1", [] { PassRegistration<WrongAddPass>(); }};
}

//===- main.cpp - nnopt-reduce: makes a graph that fails smaller --------------===//

#include "lib/driver/PassList.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  if (nnopt::printsVersion(argc, argv))
    return nnopt::ExitDone;
  mlir::DialectRegistry registry;
  nnopt::registerAllDialects(registry);
  nnopt::registerAllPasses();
  mlir::MLIRContext context(registry);
  return mlir::asMainReturnCode(mlir::mlirReduceMain(argc, argv, context));
}

//===- main.cpp - nnopt-lsp-server: the language server of .mlir files with nn operations ---===//

#include "lib/driver/Driver.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  if (nnopt::printsVersion(argc, argv))
    return nnopt::ExitDone;
  mlir::DialectRegistry registry;
  nnopt::registerAllDialects(registry);
  return mlir::asMainReturnCode(mlir::MlirLspServerMain(argc, argv, registry));
}

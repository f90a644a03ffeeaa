//===- import_fuzzer.cpp - libFuzzer target of the ONNX importer ----------===//
//
// Any bytes must end in an exit code and, if that is not 0, in a message of one line.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Dim.h"
#include "lib/frontend/onnx/Import.h"
#include <cstdio>
#include <cstdlib>

static void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "import_fuzzer: %s\n", what);
  std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace nnopt;
  mlir::MLIRContext ctx(mlir::MLIRContext::Threading::DISABLED);
  nn::DimContext dims;
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  onnx::ImportResult result = onnx::importModelBytes(bytes, ctx, dims, {});
  int code = result.exitCode;
  require(code == 0 || code == 3 || code == 4, "unexpected exit code");
  require((code == 0) == result.error.empty(), "error text and exit code contradict each other");
  require((code == 0) == bool(result.module), "module and exit code contradict each other");
  require(code != 4 || !result.unsupported.empty(), "nothing is listed as unsupported");
  require(result.error.find('\n') == std::string::npos, "error text of several lines");
  std::string table;
  llvm::raw_string_ostream os(table);
  onnx::printUnsupportedTable(os, result.unsupported);
  return 0;
}

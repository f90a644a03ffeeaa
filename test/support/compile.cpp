//===- compile.cpp - the compiler as a function, for Python tests -----------===//
//
// Half of the time to compile a small model goes into loading LLVM. A Python test that compiles thousands of them
// loads this library once and forks: isolated.py.
//
//===----------------------------------------------------------------------===//

#include "lib/driver/PassList.h"

using namespace nnopt;

/// Compiles as `nnopt-compile --quiet` does; `emit` is "lib" or "nn". Returns the exit code, messages go to stderr.
extern "C" __attribute__((visibility("default"))) int nnopt_test_compile(const char *model, const char *output, int optLevel,
                                                                         const char *emit) {
  static std::once_flag registered;
  std::call_once(registered, registerAllPasses);
  DriverOptions options;
  options.model = model;
  options.output = output;
  options.optLevel = optLevel;
  options.emit = llvm::StringRef(emit) == "nn" ? EmitKind::NN : EmitKind::Lib;
  options.quiet = true;
  return compileModel(options);
}

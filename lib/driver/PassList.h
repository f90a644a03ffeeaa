//===- PassList.h - passes by name ------------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_PASSLIST_H
#define NNOPT_LIB_DRIVER_PASSLIST_H

#include "lib/driver/Driver.h"
#include "mlir/Pass/PassManager.h"

namespace nnopt {

/// Makes every pass and pipeline known by name.
void registerAllPasses();
/// Loads a plugin: its passes, import rules and kernels become known. False with a message on failure.
bool loadPlugin(llvm::StringRef path, std::string &error);

/// A pass (or a registered pipeline) as text, with its options, and the operation it is said to run on
/// (empty: its own).
struct PassText {
  std::string anchor, text;
};
/// The passes of a textual pipeline one by one: "builtin.module(a,func.func(b{x=1},c))" gives {"", "a"},
/// {"func.func", "b{x=1}"}, {"func.func", "c"}.
std::vector<PassText> splitPipeline(llvm::StringRef text);

/// Adds the passes that the options ask for: options.passes, or the default ones. False with a message when
/// options.passes is no pipeline. `pm` nests implicitly.
bool addPasses(mlir::OpPassManager &pm, const DriverOptions &options, std::string &error);

} // namespace nnopt

#endif

//===- Layers.h - the lowered program as a table ----------------*- C++ -*-===//
#ifndef NNOPT_LIB_REPORT_LAYERS_H
#define NNOPT_LIB_REPORT_LAYERS_H

#include "lib/codegen/Program.h"
#include "lib/report/Measure.h"

namespace nnopt::report {

/// One object for each launch and copy, in the order in which a run first reaches them. `graph` is
/// the one that was lowered; `measured` may be null.
llvm::json::Array layersOf(const Program &program, const Graph &graph, const Sizes &sizes, const Measurement *measured);

} // namespace nnopt::report

#endif

//===- Verify.h - comparing with ONNX test data -----------------*- C++ -*-===//
#ifndef NNOPT_TOOLS_NNOPT_RUN_VERIFY_H
#define NNOPT_TOOLS_NNOPT_RUN_VERIFY_H

#include "tools/common/runner.h"

namespace nnopt {

/// Runs an artifact on one ONNX test data set (a folder with input_N.pb and output_N.pb), or on
/// every one in a folder of such folders, and prints a line for each output. Elements a and b
/// (expected) match if |a - b| <= atol + rtol * |b|; NaN matches NaN. Returns the exit status: 1 on
/// a mismatch.
int verifyTestData(Runner &runner, const std::string &folder, double rtol, double atol);

} // namespace nnopt

#endif

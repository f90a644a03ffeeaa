//===- Remarks.h - what passes say, kept ------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_REPORT_REMARKS_H
#define NNOPT_LIB_REPORT_REMARKS_H

#include "mlir/IR/Location.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/JSON.h"

namespace nnopt::report {

/// The remarks of a context from construction on, in order, equal ones once with a count.
class Remarks {
public:
  explicit Remarks(mlir::MLIRContext &ctx);
  llvm::json::Array json() const;

private:
  struct Remark {
    std::string kind, pass, name, message;
    mlir::Location loc;
    llvm::json::Object values;
    int64_t count;
  };
  class Streamer;
  /// Shared with the streamer, which the context owns.
  std::shared_ptr<std::vector<Remark>> list = std::make_shared<std::vector<Remark>>();
};

} // namespace nnopt::report

#endif

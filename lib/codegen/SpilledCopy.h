//===- SpilledCopy.h - big weights outside of memory ------------*- C++ -*-===//
//
// Packed weights wait in temporary files until the artifact is written, so that the compiler needs memory for one of
// them at a time.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_CODEGEN_SPILLEDCOPY_H
#define NNOPT_CODEGEN_SPILLEDCOPY_H

#include "llvm/ADT/ArrayRef.h"
#include <memory>

namespace nnopt {

/// A copy of bytes in a file without a name, mapped read-only; the file goes with the object.
class SpilledCopy {
public:
  /// Null where there is no room for the file.
  static std::shared_ptr<SpilledCopy> make(llvm::ArrayRef<char> bytes);
  SpilledCopy(const SpilledCopy &) = delete;
  SpilledCopy &operator=(const SpilledCopy &) = delete;
  ~SpilledCopy();
  llvm::ArrayRef<char> bytes() const { return view; }

private:
  explicit SpilledCopy(llvm::ArrayRef<char> view) : view(view) {}
  llvm::ArrayRef<char> view;
};

} // namespace nnopt

#endif

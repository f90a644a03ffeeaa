//===- Cache.h - results that are kept between runs -------------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_CACHE_H
#define NNOPT_LIB_DRIVER_CACHE_H

#include "lib/codegen/cpu/Compile.h"
#include "llvm/ADT/StringRef.h"
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace nnopt {

/// A folder of results by content: measurements, and the object code of kernels in a folder inside. A result belongs to this
/// build of the compiler and to this CPU. Processes may share the folder: files appear whole, and what cannot be read or
/// written is as if it were not there. What was not used for 30 days goes, and so does the oldest beyond 64 MB of
/// measurements and 256 MB of code.
class Cache {
public:
  /// Where results are kept by default: $XDG_CACHE_HOME/nnopt, ~/.cache/nnopt; empty where there is no home.
  static std::string defaultDirectory();
  /// An empty path: nothing is kept.
  explicit Cache(std::string directory);

  /// `kind` keeps users apart: "tune". `key` is all that the result depends on, besides compiler and CPU.
  std::optional<nlohmann::json> find(llvm::StringRef kind, llvm::StringRef key) const;
  void store(llvm::StringRef kind, llvm::StringRef key, const nlohmann::json &result) const;
  /// Object code, for compileKernels(). Outlives this object.
  cpu::ObjectCache objects() const;
  const std::string &directory() const { return path; }

private:
  std::string path, origin;
};

/// Object code that is kept as long as what this returns, or a copy of it. For one thread at a time.
cpu::ObjectCache objectsInMemory();

} // namespace nnopt

#endif

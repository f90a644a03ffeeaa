//===- Artifact.h - writing the files that are handed out -------*- C++ -*-===//
#ifndef NNOPT_LIB_DRIVER_ARTIFACT_H
#define NNOPT_LIB_DRIVER_ARTIFACT_H

#include "lib/codegen/Program.h"
#include "llvm/ADT/StringRef.h"
#include "runtime/format.h"
#include <string>

namespace nnopt {

/// Writes `path` by writing a temporary file beside it and renaming. `write` returns false with
/// `error` set on failure; nothing is left behind then. Failures name the file and the reason.
bool writeFileAtomically(llvm::StringRef path, llvm::function_ref<bool(llvm::raw_fd_ostream &os)> write,
                         std::string &error);

/// Joins objects into one.
bool linkRelocatable(llvm::ArrayRef<llvm::SmallVector<char, 0>> objects, llvm::SmallVectorImpl<char> &out,
                     std::string &error);

/// What artifacts have besides code.
struct ArtifactOptions {
  uint32_t cpuFeatures = 0;   // that are needed: NNOPT_CPU_*
  bool encodeWeights = false; // in fewer bytes, that are decoded when the artifact is opened (runtime/encoding.h)
};

/// Links `objects` into a shared object in process (lld) and appends the program's weights and the
/// trailer: the artifact of runtime/format.h. `written`, if not null, gets the trailer.
bool writeArtifact(llvm::StringRef path, llvm::ArrayRef<llvm::SmallVector<char, 0>> objects, const Program &program,
                   const ArtifactOptions &options, std::string &error, nnopt_trailer *written = nullptr);

} // namespace nnopt

#endif

//===- Versions.h - several programs in one artifact ------------*- C++ -*-===//
//
// --target=a,b makes programs for several CPUs, --dim=NAME=128,256,* for some sizes of a dimension beside one for all.
// The runtime chooses: the CPU when a model is opened, sizes in each run (runtime/versions.c).
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_DRIVER_VERSIONS_H
#define NNOPT_LIB_DRIVER_VERSIONS_H

#include "lib/driver/Driver.h"

namespace nnopt {

/// The CPUs of a list of target names, most demanding first. False with a message for names that are unknown or
/// cannot be in one file.
bool parseTargets(llvm::StringRef list, std::vector<cpu::Target> &targets, std::string &error);

/// Sets of --dim texts without lists, one for each program: every combination of the sizes in lists, most specific
/// first; the last one is without all of them. False with a message for lists that do not end in `*`, or for too many
/// combinations.
bool expandDims(llvm::ArrayRef<std::string> dims, std::vector<std::vector<std::string>> &sets, std::string &error);

/// "seq=128; seq=256; all other sizes; each for x86-64-v4, x86-64-v3"
std::string describeVersions(llvm::ArrayRef<std::vector<std::string>> sets, llvm::ArrayRef<cpu::Target> targets);

/// One program of an artifact.
struct Version {
  std::string descriptorSymbol;
  uint32_t cpuFeatures;
  bool general; // takes all sizes: ends the versions of a CPU
};

/// Emits the array of nnopt_version for `target`, as `symbol`.
bool emitVersions(llvm::ArrayRef<Version> versions, const cpu::Target &target, llvm::StringRef symbol,
                  llvm::SmallVectorImpl<char> &object, std::string &error);

} // namespace nnopt

#endif

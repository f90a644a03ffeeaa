//===- replacement.h - files that appear whole or not at all ----*- C++ -*-===//
#ifndef NNOPT_TOOLS_COMMON_REPLACEMENT_H
#define NNOPT_TOOLS_COMMON_REPLACEMENT_H

#include <string>

namespace nnopt {

/// A new version of the file `path`: written under another name, then put in its place. Renaming
/// would replace devices and pipes (/dev/null, /dev/stdout) by a file: into these it is copied.
class Replacement {
public:
  explicit Replacement(const std::string &path);
  /// Removes what was not committed.
  ~Replacement();
  Replacement(const Replacement &) = delete;
  /// The name to write to.
  const std::string &name() const { return temporary; }
  /// Puts the finished file in its place. Returns 0 or an errno.
  int commit();

private:
  std::string path, temporary;
  bool special = false;
};

} // namespace nnopt

#endif

//===- replacement.cpp - files that appear whole or not at all --------------===//

#include "tools/common/replacement.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

namespace nnopt {

Replacement::Replacement(const std::string &path) : path(path) {
  struct stat st;
  special = stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
  const char *folder = std::getenv("TMPDIR");
  temporary = (special ? std::string(folder && *folder ? folder : "/tmp") + "/nnopt" : path) + ".tmp" +
              std::to_string(getpid());
}

Replacement::~Replacement() {
  if (!temporary.empty())
    unlink(temporary.c_str());
}

static int copyInto(const char *from, const char *to) {
  FILE *in = std::fopen(from, "rb"), *out = in ? std::fopen(to, "wb") : nullptr;
  bool ok = in && out;
  int reason = ok ? 0 : errno;
  char block[1 << 16];
  while (ok) {
    size_t count = std::fread(block, 1, sizeof block, in);
    if (count == 0)
      break;
    ok = std::fwrite(block, 1, count, out) == count;
  }
  ok = ok && !std::ferror(in) && std::fflush(out) == 0;
  if (!ok && !reason)
    reason = errno ? errno : EIO;
  if (out && std::fclose(out) && !reason)
    reason = errno;
  if (in)
    std::fclose(in);
  return reason;
}

int Replacement::commit() {
  if (special)
    return copyInto(temporary.c_str(), path.c_str());
  if (std::rename(temporary.c_str(), path.c_str()))
    return errno;
  temporary.clear();
  return 0;
}

} // namespace nnopt

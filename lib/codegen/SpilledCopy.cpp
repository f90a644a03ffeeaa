//===- SpilledCopy.cpp - big weights outside of memory ----------------------===//
#include "lib/codegen/SpilledCopy.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;

namespace nnopt {

std::shared_ptr<SpilledCopy> SpilledCopy::make(ArrayRef<char> bytes) {
  SmallString<128> path;
  int fd;
  if (sys::fs::createTemporaryFile("nnopt", "weights", fd, path))
    return nullptr;
  auto cleanup = make_scope_exit([&] { close(fd); });
  sys::fs::remove(path);
  for (size_t written = 0; written < bytes.size();) {
    ssize_t n = write(fd, bytes.data() + written, bytes.size() - written);
    if (n <= 0)
      return nullptr;
    written += n;
  }
  void *address = mmap(nullptr, bytes.size(), PROT_READ, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED)
    return nullptr;
  return std::shared_ptr<SpilledCopy>(new SpilledCopy({static_cast<const char *>(address), bytes.size()}));
}

SpilledCopy::~SpilledCopy() { munmap(const_cast<char *>(view.data()), view.size()); }

} // namespace nnopt

//===- DropPages.cpp - memory of mapped files -------------------------------===//
#include "dialects/nn/DropPages.h"
#include "llvm/Support/LineIterator.h"
#include "llvm/Support/MemoryBuffer.h"
#include <sys/mman.h>
#include <unistd.h>

using namespace llvm;

namespace nnopt::nn {

/// Whether all of [begin, end) is one read-only mapping of a file; of other memory the content would be lost.
static bool isMappedFile(uint64_t begin, uint64_t end) {
  auto maps = MemoryBuffer::getFileAsStream("/proc/self/maps");
  if (!maps)
    return false;
  for (line_iterator line(**maps); !line.is_at_end(); ++line) {
    // 7f0000000000-7f0000001000 r--p 00000000 08:01 1234 /path
    SmallVector<StringRef> fields;
    line->split(fields, ' ', -1, /*KeepEmpty=*/false);
    if (fields.size() < 5)
      continue;
    auto [low, high] = fields[0].split('-');
    uint64_t from, to;
    if (low.getAsInteger(16, from) || high.getAsInteger(16, to) || begin < from || begin >= to)
      continue;
    return end <= to && fields[1].take_front(2) == "r-" && fields[4] != "0";
  }
  return false;
}

void dropPages(ArrayRef<char> bytes) {
  // Looking at the mappings takes longer than what less is worth.
  constexpr size_t worthwhile = 1 << 20;
  if (bytes.size() < worthwhile)
    return;
  uint64_t page = sysconf(_SC_PAGESIZE), begin = reinterpret_cast<uintptr_t>(bytes.data());
  uint64_t end = (begin + bytes.size()) / page * page;
  begin = (begin + page - 1) / page * page;
  if (begin < end && isMappedFile(begin, end))
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}

} // namespace nnopt::nn

//===- npz_fuzzer.cpp - libFuzzer target of the npz reader ----------------===//
//
// Any bytes must end in arrays that are what they say, or in a message of one line.
//
//===----------------------------------------------------------------------===//
#include "tools/common/npz.h"
#include <cstdio>
#include <cstdlib>

static void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "npz_fuzzer: %s\n", what);
  std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace nnopt;
  npz::Arrays arrays;
  std::string error;
  bool ok = npz::read(data, size, "memory", arrays, error);
  require(ok == error.empty(), "result and error text contradict each other");
  require(error.find('\n') == std::string::npos, "error text of several lines");
  for (const auto &[name, array] : arrays)
    require(array.data.size() == static_cast<size_t>(array.count()) * array.width,
            "size and shape differ");
  // A single member, without the zip file around it: checksums would hide it from the fuzzer.
  npz::Array array;
  error.clear();
  ok = npz::parseNpy(reinterpret_cast<const char *>(data), size, array, error);
  require(ok == error.empty(), "result and error text of a member contradict each other");
  require(!ok || array.data.size() == static_cast<size_t>(array.count()) * array.width,
          "member: size and shape");
  return 0;
}

//===- Utf8.h - code points of UTF-8 ----------------------------*- C++ -*-===//
#ifndef NNOPT_RUNTIME_OPS_UTF8_H
#define NNOPT_RUNTIME_OPS_UTF8_H

#include <cstdint>
#include <string>
#include <string_view>

namespace nnopt::utf8 {

constexpr uint32_t none = 0xffffffff;

/// The first code point of a string that is not empty, and its length in bytes; `none` and 1 for bytes that are
/// no UTF-8.
inline uint32_t decode(std::string_view s, size_t &length) {
  unsigned char first = static_cast<unsigned char>(s[0]);
  length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  uint32_t c = length <= 1 ? first : first & (0x7fu >> length);
  bool good = length && length <= s.size();
  for (size_t i = 1; good && i < length; ++i) {
    good = (s[i] & 0xc0) == 0x80;
    c = c << 6 | (s[i] & 0x3f);
  }
  if (good && c < 0x110000)
    return c;
  length = 1;
  return none;
}

/// Appends a code point below 0x110000.
inline void encode(uint32_t c, std::string &out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  // 110xxxxx, 1110xxxx, 11110xxx, then 10xxxxxx.
  out += static_cast<char>((0xff00u >> (more + 1) & 0xff) | c >> 6 * more);
  while (more-- > 0)
    out += static_cast<char>(0x80 | (c >> 6 * more & 0x3f));
}

} // namespace nnopt::utf8

#endif

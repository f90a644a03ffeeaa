//===- Image.h - decoded images ---------------------------------*- C++ -*-===//
#ifndef NNOPT_RUNTIME_OPS_IMAGE_H
#define NNOPT_RUNTIME_OPS_IMAGE_H

#include "runtime/ops/Operation.h"

#include <cstdint>

namespace nnopt::ops {

/// Eight bits for each of red, green, blue.
struct Image {
  /// Throws Failure for sizes that no image has.
  Image(int64_t width, int64_t height);
  uint8_t *pixel(int64_t x, int64_t y) { return rgb.data() + 3 * (y * width + x); }
  int64_t width, height;
  std::vector<uint8_t> rgb;
};

struct Bytes {
  const uint8_t *data;
  size_t size;
  bool startsWith(std::string_view magic, size_t at = 0) const {
    return size >= at + magic.size() && !std::memcmp(data + at, magic.data(), magic.size());
  }
};

// One decoder for each format; they throw Failure for damaged files and variants that are not supported.
Image decodeBmp(Bytes bytes);
Image decodePnm(Bytes bytes);
Image decodeJpeg(Bytes bytes);
Image decodePng(Bytes bytes);
Image decodeTiff(Bytes bytes);
Image decodeWebp(Bytes bytes);
Image decodeJpeg2000(Bytes bytes);

} // namespace nnopt::ops

#endif

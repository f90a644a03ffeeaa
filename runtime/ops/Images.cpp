//===- Images.cpp - image_decode, and the formats that need no library ------===//
#include "runtime/ops/Image.h"

#include <algorithm>

namespace nnopt::ops {

Image::Image(int64_t width, int64_t height) : width(width), height(height) {
  if (width < 1 || height < 1 || width > 1 << 20 || height > 1 << 20 || width * height > int64_t(1) << 29)
    throw Failure("the image has the impossible size " + std::to_string(width) + " x " + std::to_string(height));
  rgb.resize(static_cast<size_t>(3 * width * height));
}

//===----------------------------------------------------------------------===//
// BMP
//===----------------------------------------------------------------------===//

namespace {

/// Bits of a pixel that hold one color, scaled to eight.
struct Mask {
  explicit Mask(uint32_t mask) : mask(mask) {
    while (mask && !(mask >> shift & 1))
      ++shift;
    top = mask >> shift;
  }
  uint8_t of(uint32_t pixel) const {
    return top ? static_cast<uint8_t>((uint64_t(pixel & mask) >> shift) * 255 / top) : 0;
  }
  uint32_t mask, top = 0;
  int shift = 0;
};

} // namespace

Image decodeBmp(Bytes b) {
  auto u16 = [&](size_t at) { return uint32_t(b.data[at] | b.data[at + 1] << 8); };
  auto u32 = [&](size_t at) { return u16(at) | u16(at + 2) << 16; };
  auto damaged = [] { return Failure("the BMP image is damaged"); };
  if (b.size < 26)
    throw damaged();
  size_t header = u32(14), start = u32(10);
  bool old = header == 12;
  if ((!old && header < 40) || header > b.size - 14)
    throw damaged();
  int64_t width = old ? u16(18) : static_cast<int32_t>(u32(18)), height = old ? u16(20) : static_cast<int32_t>(u32(22));
  uint32_t bits = old ? u16(24) : u16(28), compression = old ? 0 : u32(30);
  if (compression != 0 && compression != 3)
    throw Failure("compressed BMP images are not supported", NNOPT_UNSUPPORTED);
  bool topDown = height < 0;
  Image image(width, topDown ? -height : height);
  uint32_t masks[3] = {0xff0000, 0xff00, 0xff};
  if (bits == 16)
    masks[0] = 0x7c00, masks[1] = 0x3e0, masks[2] = 0x1f;
  if (compression == 3) {
    if (b.size < 66)
      throw damaged();
    for (size_t i = 0; i < 3; ++i)
      masks[i] = u32(54 + 4 * i);
  }
  size_t palette = 14 + header, entry = old ? 3 : 4, colors = size_t(1) << std::min(bits, 8u);
  if (bits <= 8 && !old && u32(46) && u32(46) < colors)
    colors = u32(46);
  bool known = bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32;
  uint64_t stride = (uint64_t(width) * bits + 31) / 32 * 4;
  if (!known || (bits <= 8 && palette + colors * entry > b.size) || start > b.size ||
      stride * uint64_t(image.height) > b.size - start)
    throw damaged();
  Mask red(masks[0]), green(masks[1]), blue(masks[2]);
  for (int64_t y = 0; y < image.height; ++y) {
    size_t row = start + stride * static_cast<size_t>(topDown ? y : image.height - 1 - y);
    for (int64_t x = 0; x < width; ++x) {
      uint8_t *to = image.pixel(x, y);
      size_t at = row + static_cast<size_t>(x) * bits / 8;
      if (bits <= 8) {
        size_t shift = 8 - bits - static_cast<size_t>(x) * bits % 8;
        size_t index = size_t(b.data[at] >> shift) & ((1u << bits) - 1);
        const uint8_t *color = b.data + palette + std::min(index, colors - 1) * entry;
        to[0] = color[2], to[1] = color[1], to[2] = color[0];
      } else if (bits == 24) {
        to[0] = b.data[at + 2], to[1] = b.data[at + 1], to[2] = b.data[at];
      } else {
        uint32_t pixel = bits == 16 ? u16(at) : u32(at);
        to[0] = red.of(pixel), to[1] = green.of(pixel), to[2] = blue.of(pixel);
      }
    }
  }
  return image;
}

//===----------------------------------------------------------------------===//
// PBM, PGM, PPM
//===----------------------------------------------------------------------===//

namespace {

class PnmReader {
public:
  explicit PnmReader(Bytes b) : b(b) {}
  size_t at = 2;

  /// The next decimal number, after white space and comments; a bitmap's digits may stand side by side.
  uint32_t number(bool oneDigit = false) {
    while (at < b.size && (isSpace(b.data[at]) || b.data[at] == '#')) {
      if (b.data[at] == '#')
        while (at < b.size && b.data[at] != '\n')
          ++at;
      else
        ++at;
    }
    uint64_t value = 0;
    size_t first = at;
    while (at < b.size && b.data[at] >= '0' && b.data[at] <= '9' && !(oneDigit && at > first))
      value = std::min<uint64_t>(value * 10 + (b.data[at++] - '0'), 1u << 30);
    if (at == first)
      throw Failure("the PNM image is damaged");
    return static_cast<uint32_t>(value);
  }
  static bool isSpace(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); }

private:
  Bytes b;
};

} // namespace

Image decodePnm(Bytes b) {
  PnmReader reader(b);
  int kind = b.data[1] - '0';
  bool text = kind <= 3, bitmap = kind == 1 || kind == 4, color = kind == 3 || kind == 6;
  uint32_t width = reader.number(), height = reader.number(), top = bitmap ? 1 : reader.number();
  Image image(width, height);
  if (top < 1 || top > 65535)
    throw Failure("the PNM image is damaged");
  size_t start = reader.at + 1, samples = color ? 3 : 1, bytes = top > 255 ? 2 : 1;
  size_t stride = bitmap ? (size_t(width) + 7) / 8 : size_t(width) * samples * bytes;
  if (!text && (start > b.size || stride * height > b.size - start))
    throw Failure("the PNM image is truncated");
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) {
      uint8_t *to = image.pixel(x, y);
      for (size_t c = 0; c < samples; ++c) {
        size_t row = start + static_cast<size_t>(y) * stride;
        size_t at = row + (static_cast<size_t>(x) * samples + c) * bytes;
        uint32_t v = text     ? reader.number(bitmap)
                     : bitmap ? b.data[row + static_cast<size_t>(x) / 8] >> (7 - x % 8) & 1
                     : bytes == 2 ? uint32_t(b.data[at] << 8 | b.data[at + 1])
                                  : b.data[at];
        v = std::min(v, top);
        to[c] = static_cast<uint8_t>(bitmap ? (v ? 0 : 255) : (v * 255 + top / 2) / top); // a bitmap's 1 is black
      }
      if (samples == 1)
        to[1] = to[2] = to[0];
    }
  return image;
}

//===----------------------------------------------------------------------===//
// image_decode
//===----------------------------------------------------------------------===//

namespace {

Image decode(Bytes b) {
  if (b.startsWith("BM"))
    return decodeBmp(b);
  if (b.startsWith("\xff\xd8\xff"))
    return decodeJpeg(b);
  if (b.startsWith("\x89PNG"))
    return decodePng(b);
  if (b.startsWith("RIFF") && b.startsWith("WEBP", 8))
    return decodeWebp(b);
  if (b.startsWith(std::string_view("II*\0", 4)) || b.startsWith(std::string_view("MM\0*", 4)))
    return decodeTiff(b);
  if (b.startsWith(std::string_view("\0\0\0\x0cjP  ", 8)) || b.startsWith("\xff\x4f\xff\x51"))
    return decodeJpeg2000(b);
  if (b.size > 2 && b.data[0] == 'P' && b.data[1] >= '1' && b.data[1] <= '6')
    return decodePnm(b);
  throw Failure("the data is no image in one of the formats BMP, JPEG, JPEG 2000, PNG, PNM, TIFF, WebP");
}

struct ImageDecode : Operation {
  ImageDecode(const nnopt_value_api *api, const Attributes &a) : Operation(api), format(a.string("pixel_format")) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needKind(in[0], NNOPT_KIND_TENSOR);
    if (in[0].type() != UInt8)
      throw Failure("the operand should be uint8");
    Image image = decode({reinterpret_cast<const uint8_t *>(in[0].data()), in[0].count()});
    bool gray = format == "Grayscale";
    Value result = tensor(UInt8, {image.height, image.width, gray ? 1 : 3});
    uint8_t *to = reinterpret_cast<uint8_t *>(result.data());
    for (int64_t i = 0; i < image.width * image.height; ++i) {
      const uint8_t *p = image.rgb.data() + 3 * i;
      if (gray) // ITU-R BT.601 luma, rounded
        *to++ = static_cast<uint8_t>((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
      else
        for (int c = 0; c < 3; ++c)
          *to++ = p[format == "BGR" ? 2 - c : c];
    }
    return {result};
  }
  std::string format;
};

} // namespace

void addImages(std::vector<nnopt_host_operation> &table) { table.push_back(entry<ImageDecode>("image_decode")); }

} // namespace nnopt::ops

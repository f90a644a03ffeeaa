//===- ImageCodecs.cpp - formats that libraries decode ----------------------===//
#include "runtime/ops/Image.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <jpeglib.h>
#include <memory>
#include <openjpeg.h>
#include <png.h>
#include <tiffio.h>
#include <webp/decode.h>

namespace nnopt::ops {
namespace {

[[noreturn]] void cannotDecode(const char *format, const std::string &why) {
  throw Failure("the " + std::string(format) + " image cannot be decoded" + (why.empty() ? "" : ": " + why));
}

//===----------------------------------------------------------------------===//
// JPEG
//===----------------------------------------------------------------------===//

struct JpegErrors : jpeg_error_mgr {
  jmp_buf target;
  char text[JMSG_LENGTH_MAX];
};

/// Decodes into rgb, which has room for the size that it found in a first call without rgb. No C++ objects
/// here: errors jump over this function.
bool runJpeg(Bytes b, JpegErrors &errors, uint8_t *rgb, unsigned &width, unsigned &height) {
  jpeg_decompress_struct info;
  info.err = jpeg_std_error(&errors);
  errors.error_exit = [](j_common_ptr info) {
    JpegErrors *e = static_cast<JpegErrors *>(info->err);
    e->format_message(info, e->text);
    longjmp(e->target, 1);
  };
  errors.output_message = [](j_common_ptr) {};
  jpeg_create_decompress(&info);
  if (setjmp(errors.target)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_mem_src(&info, b.data, b.size);
  jpeg_read_header(&info, TRUE);
  width = info.image_width;
  height = info.image_height;
  if (rgb) {
    bool cmyk = info.num_components == 4;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info);
    JSAMPARRAY line = (*info.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&info), JPOOL_IMAGE, width * 4, 1);
    while (info.output_scanline < height) {
      uint8_t *to = rgb + size_t(3) * width * info.output_scanline;
      jpeg_read_scanlines(&info, line, 1);
      for (unsigned x = 0; x < width; ++x, to += 3)
        for (int c = 0; c < 3; ++c) // CMYK in files is inverted (Adobe)
          to[c] = cmyk ? static_cast<uint8_t>(line[0][4 * x + c] * line[0][4 * x + 3] / 255) : line[0][3 * x + c];
    }
    jpeg_finish_decompress(&info);
  }
  jpeg_destroy_decompress(&info);
  return true;
}

} // namespace

Image decodeJpeg(Bytes b) {
  auto errors = std::make_unique<JpegErrors>();
  unsigned width = 0, height = 0;
  if (!runJpeg(b, *errors, nullptr, width, height))
    cannotDecode("JPEG", errors->text);
  Image image(width, height);
  if (!runJpeg(b, *errors, image.rgb.data(), width, height))
    cannotDecode("JPEG", errors->text);
  return image;
}

//===----------------------------------------------------------------------===//
// PNG
//===----------------------------------------------------------------------===//

Image decodePng(Bytes b) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  struct Free {
    png_image &png;
    ~Free() { png_image_free(&png); }
  } free{png};
  if (!png_image_begin_read_from_memory(&png, b.data, b.size))
    cannotDecode("PNG", png.message);
  Image image(png.width, png.height);
  // Colors of transparent pixels stay what they are: alpha is read and dropped, not blended.
  bool alpha = png.format & PNG_FORMAT_FLAG_ALPHA;
  png.format = alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  std::vector<uint8_t> rgba(alpha ? image.rgb.size() / 3 * 4 : 0);
  if (!png_image_finish_read(&png, nullptr, alpha ? rgba.data() : image.rgb.data(), 0, nullptr))
    cannotDecode("PNG", png.message);
  for (size_t i = 0; i < rgba.size() / 4; ++i)
    std::copy_n(rgba.data() + 4 * i, 3, image.rgb.data() + 3 * i);
  return image;
}

//===----------------------------------------------------------------------===//
// TIFF
//===----------------------------------------------------------------------===//

namespace {

struct TiffMemory {
  Bytes bytes;
  uint64_t at = 0;
};
TiffMemory &memoryOf(thandle_t handle) { return *static_cast<TiffMemory *>(handle); }
tmsize_t readTiff(thandle_t handle, void *to, tmsize_t size) {
  TiffMemory &m = memoryOf(handle);
  uint64_t left = m.at < m.bytes.size ? m.bytes.size - m.at : 0;
  size_t n = static_cast<size_t>(std::min<uint64_t>(left, static_cast<uint64_t>(size)));
  if (n)
    std::memcpy(to, m.bytes.data + m.at, n);
  m.at += n;
  return static_cast<tmsize_t>(n);
}
toff_t seekTiff(thandle_t handle, toff_t offset, int whence) {
  TiffMemory &m = memoryOf(handle);
  m.at = (whence == SEEK_CUR ? m.at : whence == SEEK_END ? m.bytes.size : 0) + offset;
  return m.at;
}

} // namespace

Image decodeTiff(Bytes b) {
  TIFFSetErrorHandler(nullptr);
  TIFFSetWarningHandler(nullptr);
  TiffMemory memory{b};
  std::unique_ptr<TIFF, void (*)(TIFF *)> tiff(
      TIFFClientOpen(
          "memory", "rm", &memory, readTiff, [](thandle_t, void *, tmsize_t) { return tmsize_t(0); }, seekTiff,
          [](thandle_t) { return 0; }, [](thandle_t h) { return toff_t(memoryOf(h).bytes.size); }, nullptr, nullptr),
      TIFFClose);
  uint32_t width = 0, height = 0;
  if (!tiff || !TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width) ||
      !TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height))
    cannotDecode("TIFF", "");
  Image image(width, height);
  std::vector<uint32_t> raster(size_t(width) * height);
  if (!TIFFReadRGBAImageOriented(tiff.get(), width, height, raster.data(), ORIENTATION_TOPLEFT, 1))
    cannotDecode("TIFF", "its compression or kind of pixels is not supported, or it is damaged");
  for (size_t i = 0; i < raster.size(); ++i) {
    image.rgb[3 * i] = static_cast<uint8_t>(TIFFGetR(raster[i]));
    image.rgb[3 * i + 1] = static_cast<uint8_t>(TIFFGetG(raster[i]));
    image.rgb[3 * i + 2] = static_cast<uint8_t>(TIFFGetB(raster[i]));
  }
  return image;
}

//===----------------------------------------------------------------------===//
// WebP
//===----------------------------------------------------------------------===//

Image decodeWebp(Bytes b) {
  int width = 0, height = 0;
  if (!WebPGetInfo(b.data, b.size, &width, &height))
    cannotDecode("WebP", "");
  Image image(width, height);
  if (!WebPDecodeRGBInto(b.data, b.size, image.rgb.data(), image.rgb.size(), 3 * width))
    cannotDecode("WebP", "it is damaged or an animation");
  return image;
}

//===----------------------------------------------------------------------===//
// JPEG 2000
//===----------------------------------------------------------------------===//

namespace {

struct J2kMemory {
  Bytes bytes;
  size_t at = 0;
};
OPJ_SIZE_T readJ2k(void *to, OPJ_SIZE_T size, void *user) {
  J2kMemory &m = *static_cast<J2kMemory *>(user);
  if (m.at >= m.bytes.size)
    return static_cast<OPJ_SIZE_T>(-1);
  size_t n = std::min<size_t>(size, m.bytes.size - m.at);
  std::memcpy(to, m.bytes.data + m.at, n);
  m.at += n;
  return n;
}
OPJ_OFF_T skipJ2k(OPJ_OFF_T count, void *user) {
  J2kMemory &m = *static_cast<J2kMemory *>(user);
  if (count < 0 || static_cast<uint64_t>(count) > m.bytes.size - m.at)
    return -1;
  m.at += static_cast<size_t>(count);
  return count;
}
OPJ_BOOL seekJ2k(OPJ_OFF_T offset, void *user) {
  J2kMemory &m = *static_cast<J2kMemory *>(user);
  if (offset < 0 || static_cast<uint64_t>(offset) > m.bytes.size)
    return OPJ_FALSE;
  m.at = static_cast<size_t>(offset);
  return OPJ_TRUE;
}

/// Sample of a component at a pixel of the whole image, as eight bits.
uint8_t sample(const opj_image_comp_t &c, uint32_t x, uint32_t y) {
  x = std::min(x / std::max(c.dx, 1u), c.w - 1);
  y = std::min(y / std::max(c.dy, 1u), c.h - 1);
  int64_t v = c.data[size_t(y) * c.w + x] + (c.sgnd ? int64_t(1) << (c.prec - 1) : 0);
  v = c.prec > 8 ? v >> (c.prec - 8) : c.prec < 8 ? v * 255 / ((1 << c.prec) - 1) : v;
  return static_cast<uint8_t>(std::clamp<int64_t>(v, 0, 255));
}

} // namespace

Image decodeJpeg2000(Bytes b) {
  J2kMemory memory{b};
  std::unique_ptr<opj_stream_t, void (*)(opj_stream_t *)> stream(
      reinterpret_cast<opj_stream_t *>(opj_stream_default_create(OPJ_TRUE)),
      [](opj_stream_t *s) { opj_stream_destroy(s); });
  opj_stream_set_user_data(stream.get(), &memory, nullptr);
  opj_stream_set_user_data_length(stream.get(), b.size);
  opj_stream_set_read_function(stream.get(), readJ2k);
  opj_stream_set_skip_function(stream.get(), skipJ2k);
  opj_stream_set_seek_function(stream.get(), seekJ2k);
  bool raw = b.data[0] == 0xff;
  std::unique_ptr<opj_codec_t, void (*)(opj_codec_t *)> codec(
      reinterpret_cast<opj_codec_t *>(opj_create_decompress(raw ? OPJ_CODEC_J2K : OPJ_CODEC_JP2)),
      [](opj_codec_t *c) { opj_destroy_codec(c); });
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t *read = nullptr;
  bool good = codec && opj_setup_decoder(codec.get(), &parameters) && opj_read_header(stream.get(), codec.get(), &read);
  std::unique_ptr<opj_image_t, void (*)(opj_image_t *)> source(read, opj_image_destroy);
  if (!good || !source || source->x1 <= source->x0 || source->y1 <= source->y0)
    cannotDecode("JPEG 2000", "");
  Image image(source->x1 - source->x0, source->y1 - source->y0); // refuses absurd sizes before decoding
  if (!opj_decode(codec.get(), stream.get(), source.get()))
    cannotDecode("JPEG 2000", "it is damaged");
  if (source->color_space != OPJ_CLRSPC_SRGB && source->color_space != OPJ_CLRSPC_GRAY &&
      source->color_space != OPJ_CLRSPC_UNSPECIFIED && source->color_space != OPJ_CLRSPC_UNKNOWN)
    throw Failure("JPEG 2000 images are supported in sRGB and gray only", NNOPT_UNSUPPORTED);
  uint32_t count = source->numcomps;
  for (uint32_t c = 0; c < std::min(count, 3u); ++c)
    if (!source->comps[c].data || !source->comps[c].w || !source->comps[c].h || source->comps[c].prec < 1 ||
        source->comps[c].prec > 31)
      cannotDecode("JPEG 2000", "");
  if (!count)
    cannotDecode("JPEG 2000", "");
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      for (uint32_t c = 0; c < 3; ++c)
        image.pixel(x, y)[c] = sample(source->comps[count < 3 ? 0 : c], static_cast<uint32_t>(x), static_cast<uint32_t>(y));
  return image;
}

} // namespace nnopt::ops

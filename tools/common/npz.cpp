//===- npz.cpp - reading and writing numpy's .npz files ---------------------===//

#include "tools/common/npz.h"
#include "tools/common/replacement.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

namespace nnopt::npz {

std::string Array::typeName() const {
  switch (kind) {
  case 'f':
    return "float" + std::to_string(width * 8);
  case 'i':
    return "int" + std::to_string(width * 8);
  case 'u':
    return "uint" + std::to_string(width * 8);
  case 'c':
    return "complex" + std::to_string(width * 8);
  case 'b':
    return "bool";
  default:
    return kind + std::to_string(kind == 'U' ? width / 4 : width);
  }
}

namespace {

/// Text of a file as it may stand in a message: control characters become question marks.
std::string onOneLine(std::string text) {
  for (char &c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 127)
      c = '?';
  return text;
}


/// The header of an .npy file: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
public:
  HeaderParser(const char *begin, const char *end) : at(begin), end(end) {}

  bool parse(std::string &descr, bool &fortran, std::vector<int64_t> &shape) {
    bool haveDescr = false, haveOrder = false, haveShape = false;
    if (!eat('{'))
      return false;
    while (!eat('}')) {
      std::string key;
      if (!string(key) || !eat(':'))
        return false;
      bool ok = false;
      if (key == "descr")
        ok = haveDescr = string(descr);
      else if (key == "fortran_order")
        ok = haveOrder = boolean(fortran);
      else if (key == "shape")
        ok = haveShape = tuple(shape);
      if (!ok)
        return false;
      if (!eat(',') && !(at < end && *at == '}'))
        return false;
    }
    return haveDescr && haveOrder && haveShape;
  }

private:
  void space() {
    while (at < end && std::isspace(static_cast<unsigned char>(*at)))
      ++at;
  }
  bool eat(char c) {
    space();
    if (at == end || *at != c)
      return false;
    ++at;
    space();
    return true;
  }
  bool string(std::string &text) {
    space();
    if (at == end || (*at != '\'' && *at != '"'))
      return false;
    char quote = *at++;
    const char *close = std::find(at, end, quote);
    if (close == end)
      return false;
    text.assign(at, close);
    at = close + 1;
    space();
    return true;
  }
  bool word(const char *w) {
    size_t n = std::strlen(w);
    if (static_cast<size_t>(end - at) < n || std::memcmp(at, w, n))
      return false;
    at += n;
    space();
    return true;
  }
  bool boolean(bool &value) {
    space();
    value = word("True");
    return value || word("False");
  }
  bool tuple(std::vector<int64_t> &values) {
    if (!eat('('))
      return false;
    values.clear();
    while (!eat(')')) {
      int64_t v = 0;
      const char *start = at;
      while (at < end && std::isdigit(static_cast<unsigned char>(*at)))
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at++ - '0', &v))
          return false;
      if (at == start || values.size() >= 64)
        return false;
      if (at < end && *at == 'L') // Python 2
        ++at;
      values.push_back(v);
      if (!eat(',') && !(at < end && *at == ')'))
        return false;
    }
    return true;
  }

  const char *at, *end;
};

/// Splits "<f4"; width is in bytes.
bool parseDescr(const std::string &descr, bool &bigEndian, char &kind, size_t &width) {
  if (descr.size() < 3 || descr.size() > 12 || !std::strchr("<>|=", descr[0]) ||
      !std::strchr("fiubcVUS", descr[1]))
    return false;
  bigEndian = descr[0] == '>';
  kind = descr[1];
  width = 0;
  for (char c : descr.substr(2)) {
    if (!std::isdigit(static_cast<unsigned char>(c)))
      return false;
    width = width * 10 + static_cast<size_t>(c - '0');
  }
  if (kind == 'U')
    width *= 4;
  if (kind == 'f' || kind == 'i' || kind == 'u')
    return width == 1 || width == 2 || width == 4 || width == 8;
  if (kind == 'c')
    return width == 8 || width == 16;
  return kind != 'b' || width == 1;
}

/// Everything in front of the elements; `size` may be less than the whole file as long as it holds
/// the header.
struct Header {
  size_t length = 0;
  bool fortran = false, bigEndian = false;
  uint64_t bytes = 0;
};

bool parseHeader(const char *data, size_t size, Header &header, Array &array, std::string &error) {
  if (size < 10 || std::memcmp(data, "\x93NUMPY", 6)) {
    error = "not in .npy format";
    return false;
  }
  auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(data[i])); };
  size_t version = byte(6), start = version == 1 ? 10 : 12;
  if (version < 1 || version > 3 || size < start) {
    error = "unknown version of the .npy format";
    return false;
  }
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1)
    length |= byte(10) << 16 | byte(11) << 24;
  if (length > size - start) {
    error = "truncated header";
    return false;
  }
  std::string descr;
  if (!HeaderParser(data + start, data + start + length)
           .parse(descr, header.fortran, array.shape)) {
    error = "malformed header, or records (only plain arrays are supported)";
    return false;
  }
  if (!parseDescr(descr, header.bigEndian, array.kind, array.width)) {
    error = "unsupported element type '" + onOneLine(descr.substr(0, 20)) + "'";
    return false;
  }
  header.length = start + length;
  // An empty array may have absurd other dimensions: only the product counts.
  header.bytes = array.width;
  if (std::count(array.shape.begin(), array.shape.end(), 0))
    header.bytes = 0;
  for (int64_t d : array.shape)
    if (header.bytes &&
        (__builtin_mul_overflow(header.bytes, static_cast<uint64_t>(d), &header.bytes) ||
         header.bytes > uint64_t(1) << 46)) {
      error = "absurd shape";
      return false;
    }
  return true;
}

/// Turns column-major elements into row-major ones.
void transpose(Array &array) {
  size_t rank = array.shape.size(), width = array.width;
  if (rank < 2 || array.data.empty())
    return;
  std::vector<char> out(array.data.size());
  std::vector<int64_t> index(rank, 0);
  std::vector<size_t> stride(rank);
  size_t step = width;
  for (size_t d = 0; d < rank; ++d) {
    stride[d] = step;
    step *= static_cast<size_t>(array.shape[d]);
  }
  size_t from = 0;
  for (size_t to = 0; to < out.size(); to += width) {
    std::memcpy(&out[to], &array.data[from], width);
    for (size_t d = rank; d-- > 0;) {
      from += stride[d];
      if (++index[d] < array.shape[d])
        break;
      from -= stride[d] * static_cast<size_t>(array.shape[d]);
      index[d] = 0;
    }
  }
  array.data = std::move(out);
}

void finish(const Header &header, Array &array) {
  size_t unit = array.kind == 'c' ? array.width / 2 : array.kind == 'U' ? 4 : array.width;
  bool swappable = std::strchr("fiucU", array.kind) != nullptr;
  if (header.bigEndian && swappable && unit > 1)
    for (size_t i = 0; i + unit <= array.data.size(); i += unit)
      std::reverse(array.data.begin() + static_cast<std::ptrdiff_t>(i),
                   array.data.begin() + static_cast<std::ptrdiff_t>(i + unit));
  if (header.fortran)
    transpose(array);
}

struct CloseZip {
  void operator()(zip_t *z) const { zip_discard(z); }
};
struct CloseFile {
  void operator()(zip_file_t *f) const { zip_fclose(f); }
};
using Zip = std::unique_ptr<zip_t, CloseZip>;

/// Reads one member. Memory grows with what is really there, not with what headers promise.
bool readMember(zip_t *zip, zip_uint64_t index, Array &array, std::string &error) {
  std::unique_ptr<zip_file_t, CloseFile> file(zip_fopen_index(zip, index, 0));
  if (!file) {
    error = zip_strerror(zip);
    return false;
  }
  std::vector<char> data;
  Header header;
  bool parsed = false;
  uint64_t want = 0; // bytes of the member, once the header is known
  size_t used = 0, room = 1 << 16;
  for (;;) {
    if (used == data.size())
      data.resize(parsed ? std::min<uint64_t>(want + 1, used + (size_t(64) << 20)) : used + room);
    zip_int64_t n = zip_fread(file.get(), data.data() + used, data.size() - used);
    if (n < 0) {
      error = std::string("damaged: ") + zip_file_strerror(file.get());
      return false;
    }
    used += static_cast<size_t>(n);
    if (!parsed && (n == 0 || used == data.size())) {
      if (!parseHeader(data.data(), used, header, array, error)) {
        // The header may be longer than what is there so far.
        if (error != "truncated header" || n == 0 || used > (1 << 24))
          return false;
        continue;
      }
      parsed = true;
      want = header.length + header.bytes;
    }
    if (parsed && used > want) {
      error = "longer than its header says";
      return false;
    }
    if (n == 0)
      break;
  }
  if (used != want) {
    error = "truncated: " + std::to_string(used) + " bytes, expected " + std::to_string(want);
    return false;
  }
  data.resize(used);
  data.erase(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(header.length));
  array.data = std::move(data);
  finish(header, array);
  return true;
}

bool readZip(zip_t *zip, const std::string &path, Arrays &arrays, std::string &error) {
  zip_int64_t count = zip_get_num_entries(zip, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const char *raw = zip_get_name(zip, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    std::string name = raw ? raw : "";
    if (name.size() < 4 || name.compare(name.size() - 4, 4, ".npy"))
      continue;
    name.resize(name.size() - 4);
    Array array;
    std::string reason;
    if (!readMember(zip, static_cast<zip_uint64_t>(i), array, reason)) {
      error = path + ": array '" + onOneLine(name) + "': " + reason;
      return false;
    }
    if (!arrays.emplace(name, std::move(array)).second) {
      error = path + ": array '" + onOneLine(name) + "' is there twice";
      return false;
    }
  }
  return true;
}

std::string zipError(int code) {
  zip_error_t e;
  zip_error_init_with_code(&e, code);
  std::string text = zip_error_strerror(&e);
  zip_error_fini(&e);
  return text;
}

} // namespace

bool parseNpy(const char *data, size_t size, Array &array, std::string &error) {
  Header header;
  if (!parseHeader(data, size, header, array, error))
    return false;
  if (size - header.length != header.bytes) {
    error = "truncated, or longer than its header says";
    return false;
  }
  array.data.assign(data + header.length, data + size);
  finish(header, array);
  return true;
}

bool read(const std::string &path, Arrays &arrays, std::string &error) {
  struct stat status;
  if (stat(path.c_str(), &status)) {
    error = path + ": cannot be read: " + std::strerror(errno);
    return false;
  }
  if (!S_ISREG(status.st_mode)) {
    error = path + ": not a file";
    return false;
  }
  // libzip takes an empty file for an empty archive; numpy writes 22 bytes for one.
  if (status.st_size == 0) {
    error = path + ": not an .npz file: empty";
    return false;
  }
  int code = 0;
  Zip zip(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!zip) {
    error = path + ": not an .npz file: " + zipError(code);
    return false;
  }
  try {
    return readZip(zip.get(), path, arrays, error);
  } catch (const std::bad_alloc &) {
    error = path + ": out of memory";
    return false;
  }
}

bool read(const void *data, size_t size, const std::string &name, Arrays &arrays,
          std::string &error) {
  if (size == 0) {
    error = name + ": not an .npz file: empty";
    return false;
  }
  zip_error_t e;
  zip_error_init(&e);
  zip_source_t *source = zip_source_buffer_create(data, size, 0, &e);
  Zip zip(source ? zip_open_from_source(source, ZIP_RDONLY, &e) : nullptr);
  if (!zip) {
    error = name + ": not an .npz file: " + zip_error_strerror(&e);
    if (source)
      zip_source_free(source);
    zip_error_fini(&e);
    return false;
  }
  zip_error_fini(&e);
  try {
    return readZip(zip.get(), name, arrays, error);
  } catch (const std::bad_alloc &) {
    error = name + ": out of memory";
    return false;
  }
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static std::string npyHeader(const Entry &entry) {
  std::string descr = entry.width > 1 && entry.kind != 'V' && entry.kind != 'S' ? "<" : "|";
  descr += entry.kind + std::to_string(entry.kind == 'U' ? entry.width / 4 : entry.width);
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < entry.shape.size(); ++i)
    text += (i ? " " : "") + std::to_string(entry.shape[i]) +
            (i + 1 < entry.shape.size() || entry.shape.size() == 1 ? "," : "");
  text += "), }";
  // Elements start at a multiple of 64 bytes.
  size_t start = 10 + text.size() + 1;
  text.append((64 - start % 64) % 64, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 255);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

bool write(const std::string &path, const std::vector<Entry> &entries, std::string &error) {
  Replacement target(path);
  const std::string &temporary = target.name();
  auto fail = [&](const std::string &reason) {
    error = path + ": cannot be written: " + reason;
    return false;
  };
  int code = 0;
  Zip zip(zip_open(temporary.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code));
  if (!zip)
    return fail(zipError(code));
  for (const Entry &entry : entries) {
    std::string header = npyHeader(entry);
    uint64_t bytes = entry.width;
    for (int64_t d : entry.shape)
      bytes *= static_cast<uint64_t>(d);
    // libzip frees the memory when the source goes.
    char *memory = static_cast<char *>(std::malloc(header.size() + bytes));
    if (!memory)
      return fail("out of memory");
    std::memcpy(memory, header.data(), header.size());
    if (bytes)
      std::memcpy(memory + header.size(), entry.data, bytes);
    zip_source_t *source = zip_source_buffer(zip.get(), memory, header.size() + bytes, 1);
    if (!source) {
      std::free(memory);
      return fail(zip_strerror(zip.get()));
    }
    zip_int64_t index =
        zip_file_add(zip.get(), (entry.name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      return fail(zip_strerror(zip.get()));
    }
    // 1980-01-01: bytes depend on the arrays only.
    if (zip_set_file_compression(zip.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) ||
        zip_file_set_dostime(zip.get(), static_cast<zip_uint64_t>(index), 0, 33, 0))
      return fail(zip_strerror(zip.get()));
  }
  if (entries.empty()) {
    // libzip deletes archives without members; an empty one is 22 bytes.
    static const char empty[22] = {'P', 'K', 5, 6};
    FILE *file = std::fopen(temporary.c_str(), "wb");
    bool ok = file && std::fwrite(empty, sizeof empty, 1, file) == 1;
    ok = file && std::fclose(file) == 0 && ok;
    if (!ok)
      return fail(std::strerror(errno));
  } else if (zip_close(zip.get())) {
    return fail(zip_strerror(zip.get()));
  } else {
    (void)zip.release();
  }
  if (int reason = target.commit())
    return fail(std::strerror(reason));
  return true;
}

} // namespace nnopt::npz

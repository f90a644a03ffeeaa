//===- npz.h - reading and writing numpy's .npz files -----------*- C++ -*-===//
//
// An .npz file is a zip of .npy files. Files may come from anywhere: sizes are checked before
// memory is asked for, and every failure is a message, never an exception.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_TOOLS_COMMON_NPZ_H
#define NNOPT_TOOLS_COMMON_NPZ_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nnopt::npz {

struct Array {
  /// numpy's kind: 'f' float, 'i', 'u', 'b' bool, 'c' complex, 'V' raw bytes, 'U' and 'S' text.
  char kind = 'V';
  /// Bytes of one element (4 for each character of 'U').
  size_t width = 1;
  std::vector<int64_t> shape;
  /// Elements in row-major order, little endian; whatever the file had is converted.
  std::vector<char> data;

  int64_t count() const {
    int64_t n = 1;
    for (int64_t d : shape)
      n *= d;
    return n;
  }
  /// numpy's name of the element type: "float32", "int64", "V2".
  std::string typeName() const;
};

using Arrays = std::map<std::string, Array>;

/// Reads all arrays of a file, keyed by name. False with a one-line `error` that starts with the
/// path.
bool read(const std::string &path, Arrays &arrays, std::string &error);
/// The same of a file in memory; `name` is for messages.
bool read(const void *data, size_t size, const std::string &name, Arrays &arrays,
          std::string &error);
/// Reads the contents of a single .npy file.
bool parseNpy(const char *data, size_t size, Array &array, std::string &error);

/// An array to be written: data is compact, row-major, little endian.
struct Entry {
  std::string name;
  char kind;
  size_t width;
  std::vector<int64_t> shape;
  const void *data;
};

/// Writes an uncompressed file (beside `path`, then renamed): the same arrays give the same bytes.
bool write(const std::string &path, const std::vector<Entry> &entries, std::string &error);

} // namespace nnopt::npz

#endif

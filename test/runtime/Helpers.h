//===- Helpers.h - opening and running hand-built models --------*- C++ -*-===//
#ifndef NNOPT_TEST_RUNTIME_HELPERS_H
#define NNOPT_TEST_RUNTIME_HELPERS_H

#include "nnopt/runtime.hpp"
#include "test/runtime/Builder.h"

#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <unistd.h>

namespace nnopt::test {

/// A file in the temporary folder that goes away with this object.
class TemporaryFile {
public:
  TemporaryFile() {
    const char *folder = std::getenv("TMPDIR");
    path = std::string(folder ? folder : "/tmp") + "/nnopt-test-XXXXXX";
    int file = mkstemp(path.data());
    EXPECT_GE(file, 0);
    close(file);
  }
  explicit TemporaryFile(const std::string &bytes) : TemporaryFile() { write(bytes); }
  ~TemporaryFile() { unlink(path.c_str()); }
  TemporaryFile(const TemporaryFile &) = delete;
  void write(const std::string &bytes) const {
    FILE *file = std::fopen(path.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
  }
  std::string path;
};

inline std::string readFile(const std::string &path) {
  std::string bytes;
  FILE *file = std::fopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path;
  char piece[4096];
  for (size_t n; file && (n = std::fread(piece, 1, sizeof piece, file)) > 0;)
    bytes.append(piece, n);
  if (file)
    std::fclose(file);
  return bytes;
}

/// A model that is linked into the test.
class Linked {
public:
  explicit Linked(const Builder &builder)
      : blob(builder.serialize()),
        weights(std::string(builder.weights.begin(), builder.weights.end())),
        hasWeights(!builder.weights.empty()) {
    descriptor = {NNOPT_FORMAT_VERSION, KernelCount_, testKernels,
                  reinterpret_cast<const uint8_t *>(blob.data()), blob.size() * 8};
  }
  Model open(const Options &options = {}) const {
    return Model(descriptor, hasWeights ? weights.path : "", options);
  }

  std::vector<uint64_t> blob;
  nnopt_descriptor descriptor;

private:
  TemporaryFile weights;
  bool hasWeights;
};

/// Expects that `body` throws an Error with this code and a message that contains `part`.
template <typename Body> void expectError(int code, const std::string &part, Body body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected: " << part;
  } catch (const Error &e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  }
}

template <typename T> Array<T> array(std::vector<int64_t> shape, std::vector<T> elements) {
  Array<T> a(std::move(shape));
  EXPECT_EQ(static_cast<size_t>(a.size()), elements.size());
  std::copy(elements.begin(), elements.end(), a.begin());
  return a;
}

/// 0, 1, 2, ...
inline Array<float> counting(std::vector<int64_t> shape) {
  Array<float> a(std::move(shape));
  for (int64_t i = 0; i < a.size(); ++i)
    a[i] = static_cast<float>(i);
  return a;
}

template <typename T> std::vector<T> elements(const Tensor &t) {
  return std::vector<T>(t.begin<T>(), t.end<T>());
}
template <typename T> std::vector<T> elements(const Array<T> &a) {
  return std::vector<T>(a.begin(), a.end());
}

/// What affineModel(factor) computes.
inline std::vector<float> affine(const std::vector<float> &x, float factor = 1) {
  std::vector<float> y;
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(2 * x[i] * static_cast<float>(i % 3 + 1) * factor);
  return y;
}

} // namespace nnopt::test

#endif

//===- NpzTest.cpp - reading and writing .npz files -------------------------===//

#include "tools/common/npz.h"
#include "test/runtime/Helpers.h"

#include <random>
#include <zip.h>

using namespace nnopt;
using nnopt::test::TemporaryFile;

namespace {

/// A .npy file with a header as given.
std::string npy(const std::string &header, const std::string &data, char version = 1) {
  std::string text = header + "\n";
  std::string out("\x93NUMPY", 6);
  out += version;
  out += '\0';
  out += static_cast<char>(text.size() & 255);
  out += static_cast<char>(text.size() >> 8 & 255);
  if (version > 1)
    out += std::string(2, '\0');
  return out + text + data;
}

std::string header(const std::string &descr, const std::string &shape,
                   const char *fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }";
}

/// Writes members as they are, deflated.
void writeZip(const std::string &path,
              const std::vector<std::pair<std::string, std::string>> &members) {
  int code = 0;
  zip_t *zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  ASSERT_NE(zip, nullptr);
  for (const auto &[name, data] : members) {
    zip_source_t *source = zip_source_buffer(zip, data.data(), data.size(), 0);
    ASSERT_GE(zip_file_add(zip, name.c_str(), source, ZIP_FL_ENC_UTF_8), 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

TEST(Npz, RoundTrip) {
  TemporaryFile file;
  float floats[] = {1, 2, 3, 4, 5, 6};
  int64_t scalar = -7;
  char flag = 1;
  std::vector<npz::Entry> entries = {{"a/b:0", 'f', 4, {2, 3}, floats},
                                     {"n", 'i', 8, {}, &scalar},
                                     {"flag", 'b', 1, {1}, &flag},
                                     {"raw", 'V', 2, {3}, floats},
                                     {"none", 'f', 4, {0, 5}, nullptr}};
  std::string error;
  ASSERT_TRUE(npz::write(file.path, entries, error)) << error;
  std::string bytes = test::readFile(file.path);
  npz::Arrays arrays;
  ASSERT_TRUE(npz::read(file.path, arrays, error)) << error;
  ASSERT_EQ(arrays.size(), 5u);
  EXPECT_EQ(arrays["a/b:0"].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(arrays["a/b:0"].typeName(), "float32");
  EXPECT_EQ(std::memcmp(arrays["a/b:0"].data.data(), floats, sizeof floats), 0);
  EXPECT_EQ(arrays["n"].shape.size(), 0u);
  EXPECT_EQ(std::memcmp(arrays["n"].data.data(), &scalar, 8), 0);
  EXPECT_EQ(arrays["flag"].kind, 'b');
  EXPECT_EQ(arrays["raw"].typeName(), "V2");
  EXPECT_EQ(arrays["none"].data.size(), 0u);
  ASSERT_TRUE(npz::write(file.path, entries, error)) << error;
  EXPECT_EQ(test::readFile(file.path), bytes); // no time in it
  ASSERT_TRUE(npz::write(file.path, {}, error)) << error;
  arrays.clear();
  EXPECT_TRUE(npz::read(file.path, arrays, error)) << error;
  EXPECT_TRUE(arrays.empty());
}

TEST(Npz, UnwritablePlaces) {
  std::string error;
  EXPECT_FALSE(npz::write("/nonexistent/out.npz", {}, error));
  EXPECT_NE(error.find("/nonexistent/out.npz: cannot be written"), std::string::npos) << error;
  char one = 1;
  EXPECT_FALSE(npz::write("/nonexistent/out.npz", {{"x", 'b', 1, {}, &one}}, error));
}

TEST(Npz, DeflatedBigEndianAndColumnMajor) {
  TemporaryFile file;
  writeZip(file.path, {{"big.npy", npy(header(">i2", "(3,)"), std::string("\0\1\0\2\1\0", 6))},
                       {"columns.npy", npy(header("|u1", "(2, 3)", "True"), "adbecf", 2)},
                       {"zeros.npy", npy(header("<f8", "(1000, 100)"), std::string(800000, '\0'))},
                       {"readme.txt", "skipped"}});
  npz::Arrays arrays;
  std::string error;
  ASSERT_TRUE(npz::read(file.path, arrays, error)) << error;
  ASSERT_EQ(arrays.size(), 3u);
  int16_t big[3];
  std::memcpy(big, arrays["big"].data.data(), 6);
  EXPECT_EQ(big[0], 1);
  EXPECT_EQ(big[2], 256);
  EXPECT_EQ(std::string(arrays["columns"].data.begin(), arrays["columns"].data.end()), "abcdef");
  EXPECT_EQ(arrays["zeros"].data.size(), 800000u);
  EXPECT_LT(test::readFile(file.path).size(), 10000u);
}

TEST(Npz, BadHeaders) {
  struct Case {
    std::string bytes, message;
  };
  std::string four(4, 'x');
  std::vector<Case> cases = {
      {"", "not in .npy format"},
      {"PK\3\4 whatever", "not in .npy format"},
      {std::string("\x93NUMPY\x09\0\1\0{", 11), "version"},
      {std::string("\x93NUMPY\x01\0\xff\xff{", 11), "truncated header"},
      {npy("", four), "malformed"},
      {npy("{", four), "malformed"},
      {npy("{}", four), "malformed"},
      {npy("{'descr': '<f4', 'shape': (1,)}", four), "malformed"},
      {npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", four), "malformed"},
      {npy(header("<f4", "(1, 2"), four), "malformed"},
      {npy(header("<f4", "(-1,)"), four), "malformed"},
      {npy(header("<f4", "(99999999999999999999,)"), four), "malformed"},
      {npy(header("<f4", "(9223372036854775807, 9223372036854775807)"), four), "absurd shape"},
      {npy(header("<f4", "(70368744177664,)"), four), "absurd shape"},
      {npy(header("|O", "(1,)"), four), "unsupported element type"},
      {npy(header("<f3", "(1,)"), four), "unsupported element type"},
      {npy(header("<M8[ns]", "(1,)"), four), "unsupported element type"},
      {npy(header("<f99999999", "(1,)"), four), "unsupported element type"},
      {npy(header("<f4", "(2,)"), four), "truncated"},
      {npy(header("<f4", "(1,)"), four + "y"), "longer than its header says"},
  };
  for (const Case &c : cases) {
    npz::Array array;
    std::string error;
    EXPECT_FALSE(npz::parseNpy(c.bytes.data(), c.bytes.size(), array, error)) << c.bytes;
    EXPECT_NE(error.find(c.message), std::string::npos) << error << " for " << c.bytes;
    TemporaryFile file;
    writeZip(file.path, {{"x.npy", c.bytes}});
    npz::Arrays arrays;
    EXPECT_FALSE(npz::read(file.path, arrays, error));
    EXPECT_NE(error.find("array 'x'"), std::string::npos) << error;
  }
}

TEST(Npz, BadFiles) {
  npz::Arrays arrays;
  std::string error;
  EXPECT_FALSE(npz::read("/nonexistent.npz", arrays, error));
  EXPECT_FALSE(npz::read("/tmp", arrays, error));
  EXPECT_NE(error.find("not a file"), std::string::npos);
  TemporaryFile text("this is no zip file");
  EXPECT_FALSE(npz::read(text.path, arrays, error));
  EXPECT_NE(error.find("not an .npz file"), std::string::npos) << error;
  EXPECT_FALSE(npz::read("", 0, "empty", arrays, error));
}

// Names and types with line breaks do not break the message into lines.
TEST(Npz, ErrorsStayOnOneLine) {
  TemporaryFile file;
  writeZip(file.path, {{"a\nb.npy", npy(header("<f4", "(4,)"), "short")}});
  npz::Arrays arrays;
  std::string error;
  EXPECT_FALSE(npz::read(file.path, arrays, error));
  EXPECT_NE(error.find("array 'a?b'"), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  npz::Array array;
  std::string bytes = npy(header("<f\n4", "(4,)"), "0123456789abcdef");
  EXPECT_FALSE(npz::parseNpy(bytes.data(), bytes.size(), array, error));
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
}

// A gigabyte of zeros that is claimed but not there costs no gigabyte.
TEST(Npz, ClaimsAreNotBelieved) {
  TemporaryFile file;
  writeZip(file.path, {{"x.npy", npy(header("<f4", "(10000000000,)"), "x")}});
  npz::Arrays arrays;
  std::string error;
  EXPECT_FALSE(npz::read(file.path, arrays, error));
  EXPECT_NE(error.find("truncated"), std::string::npos) << error;
}

TEST(Npz, MutationsNeverCrash) {
  TemporaryFile file;
  writeZip(file.path, {{"a.npy", npy(header("<f4", "(3, 4)"), std::string(48, 'z'))},
                       {"b.npy", npy(header("<i8", "()", "True"), std::string(8, 'q'), 2)}});
  std::string original = test::readFile(file.path);
  std::mt19937 rng(1);
  int failed = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = original;
    for (uint32_t k = 0; k <= rng() % 4; ++k)
      bytes[rng() % bytes.size()] = static_cast<char>(rng());
    if (rng() % 8 == 0)
      bytes.resize(rng() % bytes.size());
    npz::Arrays arrays;
    std::string error;
    bool ok = npz::read(bytes.data(), bytes.size(), "memory", arrays, error);
    EXPECT_EQ(ok, error.empty());
    failed += !ok;
    for (const auto &entry : arrays) {
      EXPECT_EQ(entry.second.data.size(),
                static_cast<size_t>(entry.second.count()) * entry.second.width);
    }
  }
  EXPECT_GT(failed, 1000);
}

} // namespace

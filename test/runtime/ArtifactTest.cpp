//===- ArtifactTest.cpp - artifact files, whole and broken ------------------===//

#include "test/runtime/Helpers.h"

#include <atomic>
#include <elf.h>
#include <random>
#include <sys/stat.h>
#include <thread>

using namespace nnopt;
using namespace nnopt::test;

namespace {

std::string artifact(const std::string &name) {
  return std::string(NNOPT_TEST_ARTIFACTS) + "/" + name + ".so";
}

nnopt_trailer trailerOf(const std::string &bytes) {
  nnopt_trailer t;
  std::memcpy(&t, bytes.data() + bytes.size() - sizeof t, sizeof t);
  return t;
}
void setTrailer(std::string &bytes, const nnopt_trailer &t) {
  std::memcpy(bytes.data() + bytes.size() - sizeof t, &t, sizeof t);
}
/// Expects that a file with these contents is refused.
void refused(const std::string &bytes, const std::string &part) {
  TemporaryFile file(bytes);
  expectError(NNOPT_INVALID, part, [&] { Model m(file.path); });
}

class Artifact : public testing::Test {
protected:
  std::string bytes = readFile(artifact("affine"));
};

TEST_F(Artifact, Runs) {
  Session session(Model(artifact("affine")));
  EXPECT_EQ(elements<float>(session.run({counting({5, 3})})[0]),
            affine(elements(counting({5, 3}))));
  Options copy;
  copy.flags = NNOPT_COPY_WEIGHTS;
  Session copied(Model(artifact("affine"), copy));
  EXPECT_EQ(elements<float>(copied.run({counting({5, 3})})[0]), affine(elements(counting({5, 3}))));
}

TEST_F(Artifact, SeveralAtOnceAndCopies) {
  TemporaryFile copy(bytes);
  Session a(Model(artifact("affine"))), b(Model(artifact("affine"))), c(Model(copy.path)),
      d(Model(artifact("affine10"))), e(Model(artifact("positives")));
  Array<float> x = counting({4, 3});
  for (int i = 0; i < 3; ++i) {
    for (Session *s : {&a, &b, &c})
      EXPECT_EQ(elements<float>(s->run({x})[0]), affine(elements(x)));
    EXPECT_EQ(elements<float>(d.run({x})[0]), affine(elements(x), 10));
    EXPECT_EQ(e.run({counting({4})})[1].size(), 3);
  }
}

// The dynamic linker would give the old library for the known name.
TEST_F(Artifact, ReplacedByRenameWhileOpen) {
  TemporaryFile place(bytes);
  Array<float> x = counting({2, 3});
  Session first{Model(place.path)};
  std::vector<std::unique_ptr<Session>> later;
  for (int i = 0; i < 5; ++i) {
    TemporaryFile next(readFile(artifact(i % 2 ? "affine" : "affine10")));
    ASSERT_EQ(rename(next.path.c_str(), place.path.c_str()), 0);
    later.push_back(std::make_unique<Session>(Model(place.path)));
  }
  EXPECT_EQ(elements<float>(first.run({x})[0]), affine(elements(x)));
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(elements<float>(later[i]->run({x})[0]), affine(elements(x), i % 2 ? 1 : 10));
}

TEST_F(Artifact, OpenedAndClosedFromManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        Session session(Model(artifact((i + t) % 2 ? "affine" : "affine10")), Options().threads(1));
        std::vector<float> y = elements<float>(session.run({counting({1, 3})})[0]);
        failures += y != affine({0, 1, 2}, (i + t) % 2 ? 1 : 10);
      }
    });
  for (std::thread &t : threads)
    t.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(Artifact, StaticModelWithWeightsOfTheArtifact) {
  nnopt_trailer t = trailerOf(bytes);
  TemporaryFile weights(bytes.substr(t.weights_offset, t.weights_size));
  Linked linked(affineModel());
  Session session(Model(linked.descriptor, weights.path));
  EXPECT_EQ(elements<float>(session.run({counting({1, 3})})[0]), affine({0, 1, 2}));
  weights.write("short");
  expectError(NNOPT_INVALID, "there are 5", [&] { Model m(linked.descriptor, weights.path); });
  expectError(NNOPT_INVALID, "cannot be opened",
              [&] { Model m(linked.descriptor, "/nonexistent/w"); });
}

TEST_F(Artifact, NotAFile) {
  expectError(NNOPT_INVALID, "cannot be opened", [] { Model m("/nonexistent/model.so"); });
  expectError(NNOPT_INVALID, "not a file", [] { Model m("/tmp"); });
  expectError(NNOPT_INVALID, "not a file", [] { Model m("/dev/null"); });
  refused("", "not an artifact");
  refused("hello", "not an artifact");
  refused(std::string(100000, 'x'), "not an artifact");
  expectError(NNOPT_INVALID, "truncated, or a shared object that nnopt-compile did not make",
              [] { Model m("/proc/self/exe"); });
}

TEST_F(Artifact, TruncatedAnywhere) {
  for (size_t size = 0; size < bytes.size(); size += 97 + size / 7)
    refused(bytes.substr(0, size), "");
  refused(bytes.substr(0, bytes.size() - 1), "truncated");
  refused(bytes + "x", "truncated");
}

TEST_F(Artifact, TrailerThatLies) {
  auto with = [&](auto change) {
    std::string broken = bytes;
    nnopt_trailer t = trailerOf(bytes);
    change(t);
    setTrailer(broken, t);
    return broken;
  };
  refused(with([](nnopt_trailer &t) { t.format_version = 99; }), "format version 99");
  refused(with([](nnopt_trailer &t) { t.file_size += 1; }), "truncated or extended");
  refused(with([](nnopt_trailer &t) { t.elf_size = ~0ull; }), "damaged");
  refused(with([](nnopt_trailer &t) { t.elf_size -= 8; }), "damaged");
  refused(with([](nnopt_trailer &t) { t.weights_size = ~0ull; }), "damaged");
  refused(with([](nnopt_trailer &t) { t.weights_size -= 4; }),
          "needs 12 bytes of weights, there are 8");
  refused(with([](nnopt_trailer &t) { t.weights_offset = 1; }), "damaged");
  refused(with([](nnopt_trailer &t) { t.weights_offset -= NNOPT_PAGE; }), "damaged");
  refused(with([](nnopt_trailer &t) { t.elf_checksum ^= 1; }), "checksum");
  refused(with([](nnopt_trailer &t) { t.cpu_features |= 1u << 31; }), "needs a CPU with unknown");
#if defined(__x86_64__)
  refused(with([](nnopt_trailer &t) { t.cpu_features |= NNOPT_CPU_AARCH64; }),
          "needs a CPU with aarch64");
#endif
}

TEST_F(Artifact, ForeignElfHeaders) {
  // With a checksum that is right, so that only the header is wrong.
  auto with = [&](auto change) {
    std::string broken = bytes;
    auto *h = reinterpret_cast<Elf64_Ehdr *>(broken.data());
    change(*h);
    nnopt_trailer t = trailerOf(bytes);
    t.elf_checksum = nnopt_checksum(broken.data(), t.elf_size);
    setTrailer(broken, t);
    return broken;
  };
  refused(with([](Elf64_Ehdr &h) { h.e_machine = EM_S390; }), "made for s390");
  refused(with([](Elf64_Ehdr &h) { h.e_ident[EI_CLASS] = ELFCLASS32; }), "64-bit ELF");
  refused(with([](Elf64_Ehdr &h) { h.e_ident[EI_DATA] = ELFDATA2MSB; }), "64-bit ELF");
  refused(with([](Elf64_Ehdr &h) { h.e_ident[0] = 0; }), "64-bit ELF");
  refused(with([](Elf64_Ehdr &h) { h.e_type = ET_EXEC; }), "damaged ELF header");
  refused(with([](Elf64_Ehdr &h) { h.e_phoff = ~0ull; }), "damaged ELF header");
  refused(with([](Elf64_Ehdr &h) {
            h.e_phnum = 200;
            h.e_phoff = 1 << 20;
          }),
          "damaged ELF header");
  refused(with([](Elf64_Ehdr &h) { h.e_phnum = 0; }), "no segments");
}

// A flipped bit anywhere outside of the weights and the padding is noticed.
TEST_F(Artifact, FlippedBits) {
  std::mt19937 rng(5);
  nnopt_trailer t = trailerOf(bytes);
  for (int i = 0; i < 300; ++i) {
    std::string broken = bytes;
    size_t at = rng() % t.elf_size;
    broken[at] = static_cast<char>(broken[at] ^ (1 << rng() % 8));
    refused(broken, "");
  }
}

} // namespace

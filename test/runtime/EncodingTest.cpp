//===- EncodingTest.cpp - encoded weights, whole and broken -----------------===//

#include "runtime/encoding.h"
#include "lib/driver/EncodeWeights.h"
#include "test/runtime/Helpers.h"

#include <memory>
#include <random>

using namespace nnopt;
using namespace nnopt::test;

namespace {

std::string encode(const std::vector<std::string> &tensors) {
  std::string out;
  WeightEncoder encoder([&](const char *bytes, size_t size) { out.append(bytes, size); });
  for (const std::string &tensor : tensors)
    encoder.add(tensor.data(), tensor.size());
  EXPECT_EQ(encoder.finish(), out.size());
  return out;
}

/// Memory of exactly the sizes that are needed, so that sanitizers see every byte beyond.
std::optional<std::string> decode(const std::string &encoded) {
  auto memory = std::make_unique<nni_decode_memory>();
  std::string out;
  for (size_t at = 0; at < encoded.size();) {
    nnopt_encoded_block block;
    if (encoded.size() - at < sizeof block)
      return std::nullopt;
    std::memcpy(&block, encoded.data() + at, sizeof block);
    at += sizeof block;
    if (block.size > NNOPT_BLOCK_SIZE || block.streams > encoded.size() - at)
      return std::nullopt;
    std::vector<uint8_t> streams(encoded.begin() + at, encoded.begin() + at + block.streams),
        part(block.size);
    if (!nni_decode_block(&block, streams.data(), part.data(), memory.get()))
      return std::nullopt;
    out.append(part.begin(), part.end());
    at += block.streams;
  }
  return out;
}

template <typename T> std::string bytesOf(const std::vector<T> &values) {
  return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

/// Values of a kind of weights.
template <typename T, typename Make> std::string values(size_t count, Make make) {
  std::vector<T> all(count);
  for (size_t i = 0; i < count; ++i)
    all[i] = make(i);
  return bytesOf(all);
}

class Encoding : public testing::Test {
protected:
  std::mt19937 random{1};
  std::normal_distribution<float> normal;
  std::string floats(size_t count, double zeros = 0) {
    return values<float>(
        count, [&](size_t) { return random() < zeros * 4294967296.0 ? 0 : normal(random); });
  }
  std::string noise(size_t count) {
    return values<uint8_t>(count, [&](size_t) { return random(); });
  }
  std::string positions(size_t count) {
    uint16_t at = 0;
    return values<uint16_t>(count, [&](size_t) { return at += 1 + random() % 8; });
  }
  std::string bytes(size_t count, double zeros) {
    return values<int8_t>(
        count, [&](size_t) { return random() < zeros * 4294967296.0 ? 0 : normal(random) * 20; });
  }
};

TEST_F(Encoding, GivesEveryByteBack) {
  std::vector<std::vector<std::string>> cases = {
      {}, {""}, {"x"}, {std::string(7, '\0')}, {std::string(1 << 20, 'a')}};
  for (size_t count : {1, 3, 255, 4096, 70000, 200001})
    cases.insert(cases.end(), {{floats(count)},
                               {floats(count, 0.9)},
                               {noise(count)},
                               {positions(count)},
                               {bytes(count, 0.8)},
                               {values<double>(count, [&](size_t) { return normal(random); })}});
  cases.push_back({floats(100), noise(5), positions(9000), bytes(100000, 0.9), "",
                   floats(40000, 0.5), noise(1)});
  // Two symbols, one of which is rare; all symbols.
  cases.push_back({values<uint8_t>(100000, [](size_t i) { return i == 77777; })});
  cases.push_back({values<uint8_t>(100000, [](size_t i) { return i % 97 ? i * i : 0; })});
  for (const std::vector<std::string> &tensors : cases) {
    std::string all;
    for (const std::string &tensor : tensors)
      all += tensor;
    std::string encoded = encode(tensors);
    std::optional<std::string> decoded = decode(encoded);
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(*decoded == all) << all.size() << " bytes";
    EXPECT_LE(encoded.size(),
              all.size() + (all.size() / NNOPT_BLOCK_SIZE + 2 * tensors.size() + 1) * 32);
  }
}

TEST_F(Encoding, IsSmallWhereWeightsAreRegular) {
  auto share = [&](const std::string &all) {
    return double(encode({all}).size()) / double(all.size());
  };
  EXPECT_LT(share(floats(100000)), 0.87);      // exponents
  EXPECT_LT(share(floats(100000, 0.9)), 0.15); // a bit for each, and the others
  EXPECT_LT(share(bytes(100000, 0.9)), 0.14);
  EXPECT_LT(share(positions(100000)), 0.20); // three bits of sixteen
  EXPECT_LT(share(std::string(100000, '\0')), 0.001);
}

TEST_F(Encoding, RefusesWhatIsBroken) {
  std::string encoded = encode({floats(3000), positions(5000), bytes(9000, 0.7), noise(300)});
  for (size_t at = 0; at < encoded.size(); at += 1 + random() % 61) {
    std::string broken = encoded;
    broken[at] ^= 1 << random() % 8;
    EXPECT_FALSE(decode(broken)) << "byte " << at;
  }
  for (size_t size = 1; size < encoded.size(); size += 1 + random() % 97)
    if (std::optional<std::string> part = decode(encoded.substr(0, size)))
      EXPECT_LT(part->size(), 3000 * 4 + 5000 * 2 + 9000 + 300u); // whole blocks
  // Bytes of no meaning.
  for (int i = 0; i < 2000; ++i) {
    std::string any = noise(sizeof(nnopt_encoded_block) + random() % 900);
    auto *block = reinterpret_cast<nnopt_encoded_block *>(any.data());
    block->width = 1 << random() % 4;
    block->size = random() % 1000 / block->width * block->width;
    block->steps = random() % 4;
    block->streams = any.size() - sizeof *block;
    any[sizeof *block] = random() % 3;
    EXPECT_FALSE(decode(any));
  }
}

class EncodedArtifact : public testing::Test {
protected:
  std::string bytes = readFile(std::string(NNOPT_TEST_ARTIFACTS) + "/affine.so");
  nnopt_trailer trailer;
  std::string encoded;
  void SetUp() override {
    std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof trailer, sizeof trailer);
    encoded = encode({bytes.substr(trailer.weights_offset, trailer.weights_size)});
  }
  /// The artifact with these bytes in place of its weights.
  std::string with(const std::string &weights) {
    nnopt_trailer t = trailer;
    std::string all = bytes.substr(0, t.weights_offset) + weights + std::string(64, '\0');
    t.encoded_size = weights.size();
    t.file_size = all.size() + sizeof t;
    return all + std::string(reinterpret_cast<const char *>(&t), sizeof t);
  }
  void refused(const std::string &contents, const std::string &part) {
    TemporaryFile file(contents);
    expectError(NNOPT_INVALID, part, [&] { Model m(file.path); });
  }
};

TEST_F(EncodedArtifact, Runs) {
  TemporaryFile file(with(encoded));
  Session session{Model(file.path)};
  EXPECT_EQ(elements<float>(session.run({counting({5, 3})})[0]),
            affine(elements(counting({5, 3}))));
}

TEST_F(EncodedArtifact, RefusesWhatIsBroken) {
  for (size_t at = 0; at < encoded.size(); ++at) {
    std::string broken = encoded;
    broken[at] ^= 0x10;
    refused(with(broken), "damaged: weights cannot be decoded");
  }
  refused(with(encoded.substr(0, encoded.size() - 1)), "cannot be decoded");
  refused(with(encoded.substr(0, 10)), "cannot be decoded");
  refused(with(encoded + "x"), "cannot be decoded");
  refused(with(encoded + encoded), "cannot be decoded");
  trailer.weights_size = uint64_t(1) << 45;
  refused(with(encoded), "absurd size");
}

} // namespace

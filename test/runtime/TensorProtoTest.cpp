//===- TensorProtoTest.cpp - ONNX test data, and element types --------------===//

#include "tools/common/hostvalue.h"
#include "tools/common/tensorproto.h"
#include "test/runtime/Helpers.h"

#include <cmath>
#include <random>

using namespace nnopt;

namespace {

std::string varint(uint64_t v) {
  std::string out;
  for (; v >= 128; v >>= 7)
    out += static_cast<char>(v | 128);
  return out + static_cast<char>(v);
}
std::string scalar(int field, uint64_t v) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(v);
}
std::string bytes(int field, const std::string &data) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(data.size()) + data;
}
template <typename T> std::string raw(std::vector<T> values) {
  return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}
HostTensor parse(const std::string &message) {
  return parseTensorProto(message.data(), message.size(), "t");
}
std::vector<double> values(const HostTensor &t) {
  std::vector<double> v;
  for (int64_t i = 0; i < t.count(); ++i)
    v.push_back(t.at(i));
  return v;
}
void refused(int status, const std::string &part, const std::string &message) {
  try {
    parse(message);
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const ToolError &e) {
    EXPECT_EQ(e.status(), status);
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(TensorProto, RawAndTypedData) {
  std::string dims = scalar(1, 2) + scalar(1, 1), packedDims = bytes(1, varint(2) + varint(1));
  HostTensor t =
      parse(dims + scalar(2, OnnxFloat) + bytes(8, "name") + bytes(9, raw<float>({1.5f, -2})));
  EXPECT_EQ(t.name, "name");
  EXPECT_EQ(t.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(values(t), (std::vector<double>{1.5, -2}));
  EXPECT_EQ(values(parse(packedDims + scalar(2, OnnxFloat) + bytes(4, raw<float>({1.5f, -2})))),
            (std::vector<double>{1.5, -2}));
  EXPECT_EQ(values(parse(dims + scalar(2, OnnxDouble) + bytes(10, raw<double>({0.25, 4})))),
            (std::vector<double>{0.25, 4}));
  std::string negative = varint(static_cast<uint64_t>(-3)) + varint(5);
  for (int type : {OnnxInt8, OnnxInt16, OnnxInt32})
    EXPECT_EQ(values(parse(dims + scalar(2, type) + bytes(5, negative))),
              (std::vector<double>{-3, 5}));
  EXPECT_EQ(values(parse(dims + scalar(2, OnnxInt64) + bytes(7, negative))),
            (std::vector<double>{-3, 5}));
  EXPECT_EQ(values(parse(dims + scalar(2, OnnxInt64) + scalar(7, 1) + scalar(7, 9))),
            (std::vector<double>{1, 9}));
  EXPECT_EQ(values(parse(dims + scalar(2, OnnxUInt64) + bytes(11, varint(7) + varint(8)))),
            (std::vector<double>{7, 8}));
  EXPECT_EQ(values(parse(dims + scalar(2, OnnxBool) + bytes(5, varint(1) + varint(0)))),
            (std::vector<double>{1, 0}));
  EXPECT_EQ(
      values(parse(dims + scalar(2, OnnxFloat16) + bytes(5, varint(0x3c00) + varint(0xc000)))),
      (std::vector<double>{1, -2}));
  EXPECT_EQ(
      values(parse(scalar(1, 3) + scalar(2, OnnxInt4) + bytes(9, std::string("\x7f\x08", 2)))),
      (std::vector<double>{-1, 7, -8}));
  EXPECT_EQ(values(parse(scalar(1, 3) + scalar(2, OnnxUInt4) + bytes(5, varint(0x7f) + varint(8)))),
            (std::vector<double>{15, 7, 8}));
  EXPECT_EQ(parse(scalar(1, 0) + scalar(2, OnnxFloat)).count(), 0);
  EXPECT_EQ(values(parse(scalar(2, OnnxFloat) + bytes(9, raw<float>({3})))),
            (std::vector<double>{3}));
}

TEST(TensorProto, Refusals) {
  refused(3, "element type", "");
  refused(3, "element type", scalar(2, 99));
  refused(3, "malformed", "\xff\xff\xff");
  refused(3, "malformed", bytes(1, "x").substr(0, 2));
  refused(3, "7 bytes of data, the shape needs 8",
          scalar(1, 2) + scalar(2, OnnxFloat) + bytes(9, "1234567"));
  refused(3, "1 elements", scalar(1, 2) + scalar(2, OnnxFloat) + bytes(4, raw<float>({1})));
  refused(3, "another element type", scalar(1, 1) + scalar(2, OnnxFloat) + bytes(5, varint(1)));
  refused(3, "absurd shape", scalar(1, static_cast<uint64_t>(-1)) + scalar(2, OnnxFloat));
  refused(3, "absurd shape", scalar(1, 1ull << 40) + scalar(1, 1ull << 40) + scalar(2, OnnxFloat));
  refused(3, "0 strings, the shape needs 2", scalar(1, 2) + scalar(2, OnnxString));
  refused(4, "external", scalar(2, OnnxFloat) + bytes(13, "x"));
}

TEST(TensorProto, StringsSequencesOptionals) {
  std::string strings = scalar(1, 2) + scalar(2, OnnxString) + bytes(6, "a") + bytes(6, std::string("b\0c", 3));
  HostTensor t = parse(strings);
  ASSERT_TRUE(t.value);
  EXPECT_EQ(t.value->string(1), std::string("b\0c", 3));
  std::string one = scalar(1, 1) + scalar(2, OnnxFloat) + bytes(4, raw<float>({5}));
  std::string sequence = scalar(2, 1) + bytes(3, one) + bytes(3, one);
  nnopt_tensor_info info{};
  info.name = "s";
  info.onnx_type = OnnxFloat;
  info.kind = NNOPT_KIND_SEQUENCE;
  EXPECT_EQ(parseValueProto(sequence.data(), sequence.size(), "t", info).value->count(), 2u);
  info.kind = NNOPT_KIND_OPTIONAL;
  std::string optional = bytes(5, sequence);
  EXPECT_EQ(parseValueProto(optional.data(), optional.size(), "t", info).value->element(0).count(), 2u);
  EXPECT_EQ(parseValueProto("", 0, "t", info).value->count(), 0u);
  // Cut anywhere: a value or a message.
  for (size_t size = 0; size < optional.size(); ++size)
    try {
      parseValueProto(optional.data(), size, "t", info);
    } catch (const ToolError &) {
    }
}

TEST(TensorProto, MutationsNeverCrash) {
  std::string original =
      scalar(1, 2) + scalar(1, 3) + scalar(2, OnnxInt16) +
      bytes(5, varint(1) + varint(2) + varint(3) + varint(4) + varint(5) + varint(6));
  std::mt19937 rng(2);
  int refusedCount = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string message = original;
    for (uint32_t k = 0; k <= rng() % 3; ++k)
      message[rng() % message.size()] = static_cast<char>(rng());
    message.resize(message.size() - rng() % 4);
    try {
      EXPECT_LE(parse(message).count(), 1 << 20);
    } catch (const ToolError &) {
      ++refusedCount;
    }
  }
  EXPECT_GT(refusedCount, 1000);
}

TEST(Elements, SmallFloats) {
  auto one = [](int type, uint8_t bits) {
    char c = static_cast<char>(bits);
    return element(type, &c, 0);
  };
  EXPECT_EQ(one(OnnxFloat8E4M3FN, 0x38), 1);
  EXPECT_EQ(one(OnnxFloat8E4M3FN, 0x7e), 448);
  EXPECT_TRUE(std::isnan(one(OnnxFloat8E4M3FN, 0xff)));
  EXPECT_EQ(one(OnnxFloat8E4M3FNUZ, 0x40), 1);
  EXPECT_TRUE(std::isnan(one(OnnxFloat8E4M3FNUZ, 0x80)));
  EXPECT_EQ(one(OnnxFloat8E5M2, 0x3c), 1);
  EXPECT_EQ(one(OnnxFloat8E5M2, 0x7c), INFINITY);
  EXPECT_EQ(one(OnnxFloat8E5M2FNUZ, 0x40), 1);
  EXPECT_EQ(one(OnnxFloat4E2M1, 0x7), 6);
  EXPECT_EQ(one(OnnxFloat4E2M1, 0x9), -0.5);
  EXPECT_EQ(one(OnnxFloat8E8M0, 127), 1);
}

TEST(Elements, HalvesRoundToEven) {
  auto half = [](float v) {
    uint16_t h = toFloat16(v);
    return element(OnnxFloat16, reinterpret_cast<const char *>(&h), 0);
  };
  for (float v : {0.0f, 1.0f, -2.5f, 65504.0f, 6.103515625e-05f, 5.9604645e-08f})
    EXPECT_EQ(half(v), v);
  EXPECT_EQ(half(2049), 2048);
  EXPECT_EQ(half(2051), 2052);
  EXPECT_EQ(half(65520), INFINITY);
  EXPECT_EQ(half(1e-9f), 0);
  EXPECT_TRUE(std::isnan(half(NAN)));
  EXPECT_EQ(toBFloat16(1.0f), 0x3f80);
  EXPECT_EQ(toBFloat16(1.00390625f), 0x3f80);
  EXPECT_EQ(toBFloat16(1.01171875f), 0x3f82);
}

} // namespace

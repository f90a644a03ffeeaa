//===- EncodeWeights.cpp - weights in fewer bytes ---------------------------===//

#include "lib/driver/EncodeWeights.h"
#include "runtime/encoding.h"
#include "runtime/format.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace nnopt {

using Bytes = std::vector<uint8_t>;
using Counts = std::array<uint32_t, 256>;

namespace {

/// What a block goes through before it is coded.
struct Form {
  uint32_t width = 1, steps = 0;
};
/// The streams of a block.
struct Streams {
  Bytes bits;
  std::vector<Bytes> planes;
};

} // namespace

static void appendNumber(Bytes &to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    to.push_back(uint8_t(value >> (8 * i)));
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

static Streams split(const uint8_t *bytes, size_t size, Form form) {
  Streams s;
  size_t count = size / form.width;
  s.planes.resize(form.width);
  for (Bytes &plane : s.planes)
    plane.reserve(count);
  if (form.steps & NNOPT_STEP_SPARSE)
    s.bits.resize((count + 7) / 8);
  uint64_t before = 0;
  for (size_t i = 0; i < count; ++i) {
    uint64_t value = 0;
    for (uint32_t byte = 0; byte < form.width; ++byte)
      value |= uint64_t(bytes[i * form.width + byte]) << (8 * byte);
    uint64_t element = value;
    if (form.steps & NNOPT_STEP_DELTA)
      element = (value - before) & (~uint64_t(0) >> (64 - 8 * form.width));
    before = value;
    if (form.steps & NNOPT_STEP_SPARSE) {
      if (!element)
        continue;
      s.bits[i / 8] |= 1 << i % 8;
    }
    for (uint32_t byte = 0; byte < form.width; ++byte)
      s.planes[byte].push_back(uint8_t(element >> (8 * byte)));
  }
  return s;
}

static Counts count(const Bytes &bytes) {
  Counts counts = {};
  for (uint8_t byte : bytes)
    ++counts[byte];
  return counts;
}

/// Bytes that a stream needs at least, by its entropy.
static double entropy(const Bytes &bytes) {
  double bits = 0;
  for (uint32_t n : count(bytes))
    if (n)
      bits -= n * std::log2(double(n) / double(bytes.size()));
  return bits / 8;
}

/// The form with the least entropy, judged by a part of the block.
static Form chooseForm(const Bytes &block) {
  constexpr size_t most = 32 << 10;
  size_t size = std::min(block.size(), most), from = (block.size() - size) / 2 / 64 * 64;
  Form best;
  double least = INFINITY;
  for (uint32_t width : {1, 2, 4, 8})
    for (uint32_t steps : {0, int(NNOPT_STEP_DELTA), int(NNOPT_STEP_SPARSE)}) {
      Form form{width, steps};
      if (block.size() % width)
        continue;
      Streams s = split(block.data() + from, size / width * width, form);
      double bytes = entropy(s.bits);
      for (const Bytes &plane : s.planes)
        bytes += entropy(plane) + 64; // symbols and states
      if (bytes < least * 0.995) {
        best = form;
        least = bytes;
      }
    }
  return best;
}

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

/// Frequencies that sum up to the total of rANS; none that occurs is 0.
static Counts normalize(const Counts &counts, size_t size) {
  Counts frequencies = {};
  int64_t left = NNOPT_RANS_TOTAL;
  for (size_t s = 0; s < 256; ++s)
    if (counts[s]) {
      frequencies[s] =
          std::max<int64_t>(1, std::llround(double(counts[s]) * NNOPT_RANS_TOTAL / double(size)));
      left -= frequencies[s];
    }
  // What rounding left, or took too much, goes to the most frequent: there it matters least.
  while (left) {
    auto largest = std::max_element(frequencies.begin(), frequencies.end());
    int64_t change = left > 0 ? left : std::max<int64_t>(left, -int64_t(*largest) / 2);
    *largest += change;
    left -= change;
  }
  return frequencies;
}

static Bytes code(const Bytes &bytes) {
  Bytes out(1, NNOPT_STREAM_CODED), present(32);
  Counts frequencies = normalize(count(bytes), bytes.size()), starts = {};
  uint32_t total = 0;
  for (size_t s = 0; s < 256; ++s) {
    starts[s] = total;
    total += frequencies[s];
    if (frequencies[s])
      present[s / 8] |= 1 << s % 8;
  }
  out.insert(out.end(), present.begin(), present.end());
  for (uint32_t frequency : frequencies)
    if (frequency)
      appendNumber(out, frequency - 1, 2);
  // From the last symbol to the first, as the decoder takes off what was put on last.
  std::vector<uint16_t> words;
  std::array<uint64_t, 4> states;
  states.fill(1 << 16);
  for (size_t i = bytes.size(); i-- > 0;) {
    uint64_t &state = states[i % 4], frequency = frequencies[bytes[i]];
    if (state >= frequency << (32 - NNOPT_RANS_BITS)) {
      words.push_back(uint16_t(state));
      state >>= 16;
    }
    state = state / frequency * NNOPT_RANS_TOTAL + state % frequency + starts[bytes[i]];
  }
  appendNumber(out, words.size(), 4);
  for (uint64_t state : states)
    appendNumber(out, state, 4);
  for (size_t i = words.size(); i-- > 0;)
    appendNumber(out, words[i], 2);
  return out;
}

static void appendStream(Bytes &to, const Bytes &bytes) {
  if (!bytes.empty() &&
      std::all_of(bytes.begin(), bytes.end(), [&](uint8_t b) { return b == bytes[0]; })) {
    appendNumber(to, NNOPT_STREAM_SAME, 1);
    to.push_back(bytes[0]);
    return;
  }
  // Below a percent it is not worth the time to decode.
  if (!bytes.empty() && entropy(bytes) < 0.99 * double(bytes.size()))
    if (Bytes coded = code(bytes); double(coded.size()) < 0.99 * double(bytes.size())) {
      to.insert(to.end(), coded.begin(), coded.end());
      return;
    }
  appendNumber(to, NNOPT_STREAM_RAW, 1);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

static Bytes encode(const Bytes &block, Form form) {
  Streams s = split(block.data(), block.size(), form);
  Bytes out;
  if (form.steps & NNOPT_STEP_SPARSE)
    appendStream(out, s.bits);
  for (const Bytes &plane : s.planes)
    appendStream(out, plane);
  return out;
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

void WeightEncoder::flush() {
  if (pending.empty())
    return;
  Form form = chooseForm(pending);
  Bytes streams = encode(pending, form);
  if (streams.size() > pending.size())
    streams = encode(pending, form = Form());
  nnopt_encoded_block block = {};
  block.checksum = nnopt_checksum(pending.data(), pending.size());
  block.size = pending.size();
  block.streams = streams.size();
  block.width = form.width;
  block.steps = form.steps;
  sink(reinterpret_cast<const char *>(&block), sizeof block);
  sink(reinterpret_cast<const char *>(streams.data()), streams.size());
  written += sizeof block + streams.size();
  pending.clear();
}

void WeightEncoder::add(const char *bytes, size_t size) {
  constexpr size_t large = 4 << 10; // has blocks of its own
  if (size >= large)
    flush();
  for (size_t at = 0; at < size;) {
    size_t part = std::min(size - at, size_t(NNOPT_BLOCK_SIZE) - pending.size());
    pending.insert(pending.end(), bytes + at, bytes + at + part);
    at += part;
    if (pending.size() == NNOPT_BLOCK_SIZE)
      flush();
  }
  if (size >= large)
    flush();
}

uint64_t WeightEncoder::finish() {
  flush();
  return written;
}

} // namespace nnopt

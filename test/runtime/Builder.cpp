//===- Builder.cpp - models of the runtime's tests --------------------------===//

#include "test/runtime/Builder.h"
#include "nnopt/ops.h"

#include <stdexcept>

namespace nnopt::test {

enum { Float = 1, Int64 = 7, Bool = 9 };

Builder affineModel(float factor) {
  Builder b;
  b.properties.push_back({b.string("producer"), b.string("test")});
  b.properties.push_back({b.string("target"), b.string("generic")});
  uint32_t n = b.ofSymbol(b.symbol("n", 1, 1000)), three = b.constant(3);
  uint32_t count = b.mul(n, three), bytes = b.mul(count, b.constant(4));
  uint32_t x = b.input("x", Float, {n, three}, bytes);
  uint32_t y = b.output("y", Float, {n, three}, bytes);
  float weights[3] = {factor, 2 * factor, 3 * factor};
  uint32_t w = b.weight(weights, sizeof weights);
  uint32_t t = b.buffer(NNOPT_B_ARENA, bytes, 0, 0, 1, 64);
  b.launch(KernelScaleRows, {x, w, t}, {three}, n, 4, "scale");
  b.launch(KernelAdd, {t, t, y}, {}, count, 16, "double,twice");
  return b;
}

Builder controlModel() {
  Builder b;
  uint32_t four = b.constant(4), bytes = b.constant(16), one = b.constant(1), eight = b.constant(8);
  uint32_t x = b.input("x", Float, {four}, bytes);
  uint32_t flag = b.input("flag", Bool, {}, one);
  uint32_t trips = b.input("trips", Int64, {}, eight);
  uint32_t y = b.output("y", Float, {four}, bytes);
  uint32_t t = b.buffer(NNOPT_B_ARENA, bytes), i = b.buffer(NNOPT_B_ARENA, eight, 0, 0, 1000, 8);
  uint32_t condition = b.buffer(NNOPT_B_ARENA, one);
  // Block 1: t = x + x; block 2: t = x; block 3: t += 1, condition stays.
  uint32_t twice = b.launchRecord(KernelAdd, {x, x, t}, {}, four, 1, "then");
  uint32_t next = b.launchRecord(KernelIncrement, {t}, {}, four, 1, "body");
  char yes = 1;
  uint32_t always = b.weight(&yes, 1);
  uint32_t record = static_cast<uint32_t>(b.indices.size());
  b.indices.insert(b.indices.end(), {i, condition, trips, 3});
  b.instruction(NNOPT_I_IF, flag, 1, 2);
  b.instruction(NNOPT_I_COPY, condition, always, one);
  b.instruction(NNOPT_I_LOOP, record);
  b.instruction(NNOPT_I_COPY, y, t, bytes);
  uint32_t at = static_cast<uint32_t>(b.instructions.size());
  b.instructions.push_back({NNOPT_I_LAUNCH, twice, 0, 0});
  b.instructions.push_back({NNOPT_I_COPY, t, x, bytes});
  b.instructions.push_back({NNOPT_I_LAUNCH, next, 0, 0});
  b.blocks.push_back({at, 1});
  b.blocks.push_back({at + 1, 1});
  b.blocks.push_back({at + 2, 1});
  return b;
}

Builder positivesModel() {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), k = b.symbol("k", 0, -1, true), kv = b.ofSymbol(k);
  uint32_t four = b.constant(4), eight = b.constant(8), one = b.constant(1);
  uint32_t inBytes = b.mul(n, four), outBytes = b.mul(kv, four);
  uint32_t x = b.input("x", Float, {n}, inBytes);
  uint32_t count = b.output("count", Int64, {}, eight);
  uint32_t y = b.output("y", Float, {kv}, outBytes);
  uint32_t z = b.output("z", Float, {kv}, outBytes);
  uint32_t t = b.buffer(NNOPT_B_STATE, outBytes);
  b.launch(KernelCount, {x, count}, {n}, one);
  b.instruction(NNOPT_I_READ_SYMBOL, k, count);
  b.launch(KernelCompact, {x, t}, {n}, one);
  b.instruction(NNOPT_I_COPY, y, t, outBytes);
  b.launch(KernelAdd, {t, t, z}, {}, kv);
  return b;
}

Builder appendModel() {
  Builder b;
  uint32_t l = b.ofSymbol(b.symbol("past_length")), one = b.constant(1), two = b.constant(2);
  uint32_t longer = b.add(l, one), eight = b.constant(8);
  uint32_t past = b.input("past", Float, {l, two}, b.mul(l, eight));
  uint32_t x = b.input("x", Float, {one, two}, eight);
  uint32_t y = b.output("present", Float, {longer, two}, b.mul(longer, eight));
  b.launch(KernelAppend, {past, x, y}, {l, two}, one);
  return b;
}

std::string attribute(const std::string &name, const std::string *text, int64_t number) {
  std::string padded = name, content;
  padded.resize((name.size() + 7) / 8 * 8);
  uint64_t offsets[2] = {0, text ? text->size() : 0};
  content = text ? std::string(reinterpret_cast<char *>(offsets), 16) + *text
                 : std::string(reinterpret_cast<char *>(&number), 8);
  content.resize((content.size() + 7) / 8 * 8);
  nnopt_attribute header{static_cast<uint32_t>(sizeof header + padded.size() + content.size()),
                         text ? uint32_t('s') : uint32_t('i'), static_cast<uint32_t>(name.size()), 1};
  return std::string(reinterpret_cast<char *>(&header), sizeof header) + padded + content;
}

Builder wordsModel() {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), m = b.ofSymbol(b.symbol("m"));
  uint32_t k = b.symbol("k", 0, -1, true), kv = b.ofSymbol(k);
  uint32_t words = b.hostTensor("words", NNOPT_KIND_STRINGS, 8, {n}, "tensor(string)");
  b.inputs.push_back(words);
  uint32_t y = b.input("y", Float, {m}, b.mul(m, b.constant(4)));
  uint32_t parts = b.hostTensor("parts", NNOPT_KIND_STRINGS, 8, {n, kv}, "tensor(string)");
  uint32_t boxedCounts = b.tensor("", Int64, {n}, b.buffer(NNOPT_B_HOST, b.constant(0)));
  uint32_t pair = b.hostTensor("pair", NNOPT_KIND_SEQUENCE, Float, {}, "seq(tensor(float))");
  b.outputs.push_back(parts);
  uint32_t counts = b.output("counts", Int64, {n}, b.mul(n, b.constant(8)));
  b.outputs.push_back(pair);
  uint32_t boxedY = b.buffer(NNOPT_B_HOST, b.constant(0)), countsTensor = b.outputs[1];
  std::string comma = ",";
  b.hostCall("string_split", {b.tensors[words].buffer}, {parts, boxedCounts}, attribute("delimiter", &comma, 0));
  b.instruction(NNOPT_I_READ_DIM, k, b.tensors[parts].buffer, 1);
  b.instruction(NNOPT_I_UNBOX, countsTensor, b.tensors[boxedCounts].buffer, b.string("split"));
  b.instruction(NNOPT_I_BOX, boxedY, b.inputs[1]);
  b.hostCall("sequence_construct", {boxedY, boxedY}, {pair}, attribute("element", nullptr, Float));
  (void)counts;
  (void)y;
  return b;
}

Builder modelNamed(const std::string &name) {
  if (name == "affine")
    return affineModel();
  if (name == "affine10")
    return affineModel(10);
  if (name == "control")
    return controlModel();
  if (name == "positives")
    return positivesModel();
  if (name == "append")
    return appendModel();
  throw std::runtime_error("no model " + name);
}

} // namespace nnopt::test

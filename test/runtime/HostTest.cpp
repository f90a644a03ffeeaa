//===- HostTest.cpp - strings, sequences, optionals at run time -------------===//

#include "nnopt/ops.h"
#include "test/runtime/Helpers.h"
#include "tools/common/hostvalue.h"

#include <functional>
#include <random>
#include <thread>

using namespace nnopt;
using namespace nnopt::test;

namespace {

enum { Float = 1, Int64 = 7, String = 8 };

/// Uses the linked library as long as it lives.
struct WithOps {
  WithOps() { nnopt_use_ops(nnopt_ops_table()); }
  ~WithOps() { nnopt_use_ops(nullptr); }
};

std::vector<std::string> all(const Value &v) {
  std::vector<std::string> list;
  for (size_t i = 0; i < v.size(); ++i)
    list.push_back(v.string(i));
  return list;
}

Value numbers(std::vector<float> list) {
  return Value::tensor(Float, TensorView(list.data(), {static_cast<int64_t>(list.size())}));
}

TEST(HostValues, HoldWhatTheyAreMadeOf) {
  Value s = Value::strings({2, 1}, {"a", std::string("b\0c", 3)});
  EXPECT_EQ(s.kind(), NNOPT_KIND_STRINGS);
  EXPECT_EQ(s.shape(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(s.string(1), std::string("b\0c", 3));
  EXPECT_EQ(nnopt_value_data(s.get()), nullptr);
  Value list = Value::sequence(Float, {numbers({1}), numbers({2, 3})});
  EXPECT_EQ(list[1].shape(), (std::vector<int64_t>{2}));
  EXPECT_EQ(list[1].data<float>()[1], 3);
  Value optional = Value::optional(Float, list), absent = Value::optional(Float);
  EXPECT_EQ(optional[0].size(), 2u);
  EXPECT_EQ(absent.size(), 0u);
  Value map = Value::map(Value::strings({1}, {"k"}), numbers({7}));
  EXPECT_EQ(map[0].string(0), "k");
  EXPECT_EQ(map.type(), Float);
}

TEST(HostValues, KeepElementsAlive) {
  Value element;
  {
    Value list = Value::sequence(Float, {numbers({1, 2})});
    element = list[0];
  }
  EXPECT_EQ(element.data<float>()[1], 2);
}

TEST(HostValues, Refusals) {
  expectError(NNOPT_INVALID, "another type", [] { Value::sequence(Float, {Value::strings({0}, {})}); });
  expectError(NNOPT_INVALID, "sequence or optional",
              [] { Value::sequence(Float, {Value::sequence(Float, {})}); });
  expectError(NNOPT_INVALID, "optional itself", [] { Value::optional(Float, Value::optional(Float)); });
  expectError(NNOPT_INVALID, "vectors of one length",
              [] { Value::map(Value::strings({1}, {"k"}), numbers({7, 8})); });
  float x = 0;
  expectError(NNOPT_INVALID, "no numeric element type",
              [&] { Value::tensor(String, TensorView(&x, std::vector<int64_t>{})); });
  nnopt_value *v = nullptr;
  nnopt_error error;
  int64_t shape[1] = {-1};
  EXPECT_EQ(nnopt_value_strings(1, shape, nullptr, nullptr, &v, &error), NNOPT_INVALID);
  EXPECT_EQ(nnopt_value_strings(17, shape, nullptr, nullptr, &v, &error), NNOPT_INVALID);
}

TEST(Host, RunsAgainAndAgain) {
  WithOps ops;
  Linked linked(wordsModel());
  Session session(linked.open());
  for (int round = 0; round < 3; ++round) {
    auto out = session.runValues({Value::strings({2}, {"a,b,c", "d"}), numbers({1, 2})});
    EXPECT_EQ(out[0].shape(), (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(all(out[0]), (std::vector<std::string>{"a", "b", "c", "d", "", ""}));
    EXPECT_EQ(out[1].data<int64_t>()[0], 3);
    EXPECT_EQ(out[1].data<int64_t>()[1], 1);
    EXPECT_EQ(out[2].size(), 2u);
    EXPECT_EQ(out[2][1].data<float>()[1], 2);
    // Other sizes, and none.
    out = session.runValues({Value::strings({0}, {}), numbers({})});
    EXPECT_EQ(out[0].shape(), (std::vector<int64_t>{0, 0}));
    EXPECT_EQ(out[2][0].size(), 0u);
  }
}

TEST(Host, ResultsOutliveTheModel) {
  WithOps ops;
  std::vector<Value> out;
  {
    Linked linked(wordsModel());
    Session session(linked.open());
    out = session.runValues({Value::strings({1}, {"x,y"}), numbers({4})});
  }
  EXPECT_EQ(all(out[0]), (std::vector<std::string>{"x", "y"}));
}

TEST(Host, SessionsAreIndependent) {
  WithOps ops;
  Linked linked(wordsModel());
  Model model = linked.open();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Session session(model, Options().threads(1));
      std::string word = std::to_string(t) + "," + std::to_string(t + 1);
      for (int i = 0; i < 200; ++i) {
        auto out = session.runValues({Value::strings({1}, {word}), numbers({1})});
        EXPECT_EQ(all(out[0]), (std::vector<std::string>{std::to_string(t), std::to_string(t + 1)}));
      }
    });
  for (std::thread &t : threads)
    t.join();
}

TEST(Host, PortsSayWhatTheyAre) {
  WithOps ops;
  Linked linked(wordsModel());
  Model model = linked.open();
  EXPECT_EQ(model.inputs()[0].kind, NNOPT_KIND_STRINGS);
  EXPECT_STREQ(model.inputs()[0].type, "tensor(string)");
  EXPECT_EQ(model.inputs()[1].kind, NNOPT_KIND_TENSOR);
  EXPECT_STREQ(model.outputs()[2].type, "seq(tensor(float))");
}

TEST(Host, WrongInputsAreRefused) {
  WithOps ops;
  Linked linked(wordsModel());
  Session session(linked.open());
  Value words = Value::strings({1}, {"a"});
  Array<float> y({1});
  DLTensor tensor = y.dl(), *inputs[2] = {nullptr, &tensor}, *outputs[3] = {};
  auto run = [&] { session.run(inputs, 2, outputs, 3); };
  expectError(NNOPT_INVALID, "input 'words' is missing", run);
  expectError(NNOPT_INVALID, "not of the model's type", [&] { session.setInput(0, numbers({1})); });
  expectError(NNOPT_INVALID, "the rank is 2", [&] { session.setInput(0, Value::strings({1, 1}, {"a"})); });
  expectError(NNOPT_INVALID, "pass it to nnopt_session_run", [&] { session.setInput(1, numbers({1})); });
  expectError(NNOPT_INVALID, "no such input", [&] { session.setInput(9, words); });
  expectError(NNOPT_INVALID, "can be taken after", [&] { session.takeValue(0); });
  session.setInput(0, words);
  run();
  EXPECT_EQ(session.takeValue(1).data<int64_t>()[0], 1);
  expectError(NNOPT_INVALID, "nnopt_session_take_value", [&] { session.takeOutput(0); });
  inputs[0] = &tensor;
  expectError(NNOPT_INVALID, "nnopt_session_set_input", run);
  inputs[0] = nullptr;
  outputs[0] = &tensor;
  expectError(NNOPT_INVALID, "nnopt_session_take_value", run);
  outputs[0] = nullptr;
  expectError(NNOPT_INVALID, "cannot be a state", [&] { session.bindState("words", "parts", 4); });
  session.setInput(0, Value());
  expectError(NNOPT_INVALID, "input 'words' is missing", run);
}

TEST(Host, FailuresNameTheNode) {
  WithOps ops;
  Builder b = wordsModel();
  b.hostCalls[0].operation = b.string("regex_full_match"); // gives one result for two
  Linked linked(b);
  Session session(linked.open());
  auto run = [&] { session.runValues({Value::strings({1}, {"a"}), numbers({1})}); };
  expectError(NNOPT_INVALID, "node 'node_string_split'", run);
  expectError(NNOPT_INVALID, "can be taken after", [&] { session.takeValue(0); });
}

TEST(Host, ResultsAreChecked) {
  WithOps ops;
  Builder b = wordsModel();
  // The sequence is declared as strings.
  uint32_t pair = b.outputs[2];
  b.tensors[pair].dtype = 2;
  Linked linked(b);
  Session session(linked.open());
  expectError(NNOPT_INVALID, "the result is a sequence of float32",
              [&] { session.runValues({Value::strings({1}, {"a"}), numbers({1})}); });
}

TEST(Host, LibraryIsFoundOrMissed) {
  nnopt_use_ops(nullptr);
  Linked linked(wordsModel());
  Options options;
  options.ops_library = "/nowhere/libnnopt_ops.so";
  expectError(NNOPT_FAILED, "NNOPT_OPS_LIBRARY", [&] { linked.open(options); });
  options.ops_library = NNOPT_TEST_OPS;
  Session session(linked.open(options));
  auto out = session.runValues({Value::strings({1}, {"a,b"}), numbers({1})});
  EXPECT_EQ(all(out[0]), (std::vector<std::string>{"a", "b"}));
  // Models without host calls do not ask for it.
  setenv("NNOPT_OPS_LIBRARY", "/nowhere", 1);
  Linked plain(affineModel());
  plain.open();
  expectError(NNOPT_FAILED, "/nowhere", [&] { linked.open(); });
  unsetenv("NNOPT_OPS_LIBRARY");
}

TEST(Host, TextIsUtf8) {
  // One, two, three and four bytes, there and back as in .npz files.
  std::vector<std::string> texts = {"a", "\u00e9\u07ff", "\u20ac", "\U0001f600z", ""};
  npz::Array array = toUnicode("t", {5}, texts);
  EXPECT_EQ(array.width, 8u);
  EXPECT_EQ(fromUnicode("t", array), texts);
  EXPECT_THROW(toUnicode("t", {1}, {"\xff"}), ToolError);
  EXPECT_THROW(toUnicode("t", {1}, {"\xe2\x82"}), ToolError);
  std::memset(array.data.data(), 0xff, 4);
  EXPECT_THROW(fromUnicode("t", array), ToolError);
}

/// Runs one operation of the library, with string attributes.
std::vector<std::string> normalized(std::vector<std::string> words, const std::string &change) {
  WithOps ops;
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), k = b.symbol("k", 0, -1, true), kv = b.ofSymbol(k);
  b.inputs.push_back(b.hostTensor("x", NNOPT_KIND_STRINGS, 8, {n}, "tensor(string)"));
  b.outputs.push_back(b.hostTensor("y", NNOPT_KIND_STRINGS, 8, {kv}, "tensor(string)"));
  b.hostCall("string_normalize", {b.tensors[b.inputs[0]].buffer}, {b.outputs[0]},
             attribute("case_change", &change, 0));
  b.instruction(NNOPT_I_READ_DIM, k, b.tensors[b.outputs[0]].buffer, 0);
  Linked linked(b);
  Session session(linked.open());
  return all(session.runValues({Value::strings({static_cast<int64_t>(words.size())}, words)})[0]);
}

TEST(Host, CaseChangesAllLetters) {
  EXPECT_EQ(normalized({"\u00e9a", "\u03c3\u0431", "x1"}, "UPPER"),
            (std::vector<std::string>{"\u00c9A", "\u03a3\u0411", "X1"}));
  EXPECT_EQ(normalized({"\u00c9A", "\xff" "B"}, "LOWER"), (std::vector<std::string>{"\u00e9a", "\xff" "b"}));
}

struct Lie {
  const char *name;
  const char *message;
  std::function<void(Builder &)> tell;
};
class HostMeta : public testing::TestWithParam<Lie> {};

TEST_P(HostMeta, IsRefused) {
  WithOps ops;
  Builder b = wordsModel();
  GetParam().tell(b);
  Linked linked(b);
  expectError(NNOPT_INVALID, GetParam().message, [&] { linked.open(); });
}

const uint32_t hostInput = 0; // buffer of `words`
const Lie lies[] = {
    {"operation", "has no", [](Builder &b) { b.hostCalls[0].operation = b.string("nothing"); }},
    {"operation_string", "host call", [](Builder &b) { b.hostCalls[0].operation = 1u << 30; }},
    {"nodes", "host call", [](Builder &b) { b.hostCalls[0].nodes = 1u << 30; }},
    {"inputs", "host call", [](Builder &b) { b.hostCalls[0].inputs = 0xfffffff0u; }},
    {"outputs", "host call", [](Builder &b) { b.hostCalls[0].output_count = 1u << 31; }},
    {"input_in_memory", "host call",
     [](Builder &b) { b.operands[b.hostCalls[0].inputs].number = b.tensors[b.inputs[1]].buffer; }},
    {"output_in_memory", "host call",
     [](Builder &b) { b.operands[b.hostCalls[0].outputs].number = b.inputs[1]; }},
    {"output_number", "host call", [](Builder &b) { b.operands[b.hostCalls[0].outputs].number = 1000; }},
    {"attributes_number", "host call", [](Builder &b) { b.hostCalls[0].attributes = 1000; }},
    {"attributes_kind", "host call", [](Builder &b) { b.hostCalls[0].attributes = hostInput; }},
    {"attributes_content", "damaged attributes", [](Builder &b) { b.weights[0] = 3; }},
    {"call_number", "instruction", [](Builder &b) { b.instructions[0].a = 1000; }},
    {"dim_symbol", "instruction", [](Builder &b) { b.instructions[1].a = 0; }},
    {"dim_axis", "instruction", [](Builder &b) { b.instructions[1].c = 99; }},
    {"dim_of_memory", "instruction", [](Builder &b) { b.instructions[1].b = b.tensors[b.inputs[1]].buffer; }},
    {"unbox_tensor", "instruction", [](Builder &b) { b.instructions[2].a = b.inputs[0]; }},
    {"unbox_nodes", "instruction", [](Builder &b) { b.instructions[2].c = 1u << 30; }},
    {"box_tensor", "instruction", [](Builder &b) { b.instructions[3].b = b.inputs[0]; }},
    {"box_buffer", "instruction", [](Builder &b) { b.instructions[3].a = b.tensors[b.inputs[1]].buffer; }},
    {"share", "instruction",
     [](Builder &b) { b.instructions[3] = {NNOPT_I_HOST_COPY, b.tensors[b.inputs[1]].buffer, hostInput, 0}; }},
    {"copy_of_host", "instruction", [](Builder &b) { b.instructions[3] = {NNOPT_I_COPY, hostInput, hostInput, 0}; }},
    {"if_of_host", "instruction", [](Builder &b) { b.instructions[3] = {NNOPT_I_IF, hostInput, 0, 0}; }},
    {"view_of_host", "buffer", [](Builder &b) { b.buffer(NNOPT_B_VIEW, 0, hostInput); }},
    {"tensor_kind", "tensor", [](Builder &b) { b.tensors[b.inputs[0]].kind = 9; }},
    {"tensor_type", "tensor", [](Builder &b) { b.tensors[b.inputs[0]].type = 1u << 30; }},
    {"strings_in_memory", "tensor",
     [](Builder &b) { b.tensors[b.inputs[0]].buffer = b.tensors[b.inputs[1]].buffer; }},
    {"strings_of_numbers", "tensor", [](Builder &b) { b.tensors[b.inputs[0]].dtype = Float; }},
    {"numbers_of_strings", "tensor", [](Builder &b) { b.tensors[b.inputs[1]].dtype = String; }},
};
INSTANTIATE_TEST_SUITE_P(Lies, HostMeta, testing::ValuesIn(lies), [](const testing::TestParamInfo<Lie> &info) {
  return std::string(info.param.name);
});

/// Attributes come from files: whatever they say, an operation is made or refused.
TEST(HostAttributes, MutationsNeverCrash) {
  Builder b = wordsModel();
  std::mt19937 rng(7);
  const nnopt_ops *ops = nnopt_ops_table();
  Linked linked(b);
  WithOps with;
  for (int i = 0; i < 3000; ++i) {
    Builder broken = b;
    for (uint32_t k = 0; k <= rng() % 4; ++k)
      broken.weights[rng() % broken.weights.size()] = static_cast<char>(rng());
    broken.hostCalls[0].operation = broken.string(ops->operations[rng() % ops->count].name);
    Linked mutated(broken);
    try {
      Session session(mutated.open());
      session.runValues({Value::strings({2}, {"a,b", "7"}), numbers({1})});
    } catch (const Error &) {
    }
  }
}

} // namespace

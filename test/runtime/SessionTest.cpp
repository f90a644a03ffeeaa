//===- SessionTest.cpp - shapes, layouts and wrong arguments ----------------===//

#include "test/runtime/Helpers.h"

#include <cstring>
#include <sys/wait.h>
#include <thread>

using namespace nnopt;
using namespace nnopt::test;

namespace {

class Affine : public testing::Test {
protected:
  Linked linked{affineModel()};
  Model model = linked.open();
  Session session{model};
};

TEST_F(Affine, Queries) {
  ASSERT_EQ(model.inputs().size(), 1u);
  nnopt_tensor_info x = model.inputs()[0];
  EXPECT_STREQ(x.name, "x");
  EXPECT_EQ(x.onnx_type, 1);
  ASSERT_EQ(x.rank, 2);
  EXPECT_EQ(x.dims[0], -1);
  EXPECT_EQ(x.dims[1], 3);
  EXPECT_STREQ(x.dim_names[0], "n");
  EXPECT_EQ(x.dim_names[1], nullptr);
  EXPECT_STREQ(model.outputs()[0].name, "y");
  ASSERT_EQ(nnopt_model_symbol_count(model.get()), 1u);
  const nnopt_symbol_info *n = nnopt_model_symbol(model.get(), 0);
  EXPECT_EQ(n->low, 1);
  EXPECT_EQ(n->high, 1000);
  EXPECT_FALSE(n->data_dependent);
  EXPECT_EQ(model.property("target"), "generic");
  EXPECT_EQ(model.property("nothing"), "");
  EXPECT_EQ(nnopt_model_property_count(model.get()), 2u);
  EXPECT_EQ(nnopt_model_input(model.get(), 1), nullptr);
  EXPECT_EQ(nnopt_model_property_at(model.get(), 2, nullptr), nullptr);
}

TEST_F(Affine, MemoryForGivenDims) {
  nnopt_memory m = model.memory({{"n", 100}}, 1);
  EXPECT_EQ(m.arena_bytes, 1200);
  EXPECT_EQ(m.lower_bound_bytes, 1200);
  EXPECT_EQ(m.naive_bytes, 1200);
  EXPECT_EQ(m.weight_bytes, 12);
  EXPECT_EQ(model.memory().arena_bytes, 12);
  expectError(NNOPT_INVALID, "no symbolic dimension 'm'", [&] { model.memory({{"m", 1}}); });
  expectError(NNOPT_INVALID, "1 to 1000", [&] { model.memory({{"n", 0}}); });
}

TEST_F(Affine, EveryShape) {
  for (int64_t n : {1, 7, 2, 1000, 3, 3, 999}) {
    Array<float> x = counting({n, 3});
    std::vector<Tensor> y = session.run({x});
    ASSERT_EQ(y.size(), 1u);
    EXPECT_EQ(y[0].shape(), (std::vector<int64_t>{n, 3}));
    EXPECT_EQ(elements<float>(y[0]), affine(elements(x)));
  }
}

TEST_F(Affine, OutputShapes) {
  EXPECT_EQ(session.outputShapes({counting({5, 3})})[0], (std::vector<int64_t>{5, 3}));
  // Only types and shapes are looked at.
  float *nothing = nullptr;
  EXPECT_EQ(session.outputShapes({TensorView(nothing, {9, 3})})[0], (std::vector<int64_t>{9, 3}));
}

TEST_F(Affine, CallerOwnedOutput) {
  Array<float> x = counting({4, 3}), y({4, 3});
  session.run({x}, {y});
  EXPECT_EQ(elements(y), affine(elements(x)));
}

TEST_F(Affine, StridedInput) {
  // Every second column of [4,6], and a transposed [3,4].
  Array<float> wide = counting({4, 6});
  std::vector<float> expected;
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 3; ++c)
      expected.push_back(wide[r * 6 + 2 * c]);
  EXPECT_EQ(elements<float>(session.run({TensorView(wide.data(), {4, 3}, {6, 2})})[0]),
            affine(expected));
  Array<float> turned = counting({3, 4});
  expected.clear();
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 3; ++c)
      expected.push_back(turned[c * 4 + r]);
  EXPECT_EQ(elements<float>(session.run({TensorView(turned.data(), {4, 3}, {1, 4})})[0]),
            affine(expected));
  // Backwards and broadcast.
  expected.assign({9, 10, 11, 6, 7, 8});
  Array<float> back = counting({4, 3});
  EXPECT_EQ(elements<float>(session.run({TensorView(back.data() + 9, {2, 3}, {-3, 1})})[0]),
            affine(expected));
  expected.assign({0, 1, 2, 0, 1, 2});
  EXPECT_EQ(elements<float>(session.run({TensorView(back.data(), {2, 3}, {0, 1})})[0]),
            affine(expected));
}

TEST_F(Affine, StridedOutput) {
  Array<float> x = counting({2, 3}), y({3, 2});
  session.run({x}, {TensorView(y.data(), {2, 3}, {1, 2})});
  std::vector<float> expected = affine(elements(x));
  for (int r = 0; r < 2; ++r)
    for (int c = 0; c < 3; ++c)
      EXPECT_EQ(y[c * 2 + r], expected[r * 3 + c]);
}

TEST_F(Affine, ByteOffsetAndMisalignedMemory) {
  Array<float> x = counting({2, 3});
  std::vector<char> bytes(64), out(64);
  for (uint64_t offset : {4, 1, 3}) {
    std::memcpy(bytes.data() + offset, x.data(), 24);
    int64_t shape[] = {2, 3};
    DLTensor in{bytes.data(), {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, offset},
        result = in;
    result.data = out.data();
    DLTensor *inputs[] = {&in}, *outputs[] = {&result};
    session.run(inputs, 1, outputs, 1);
    std::vector<float> y(6);
    std::memcpy(y.data(), out.data() + offset, 24);
    EXPECT_EQ(y, affine(elements(x)));
  }
}

TEST_F(Affine, StridesOfAxesOfLengthOneDoNotMatter) {
  Array<float> x = counting({1, 3});
  EXPECT_EQ(elements<float>(session.run({TensorView(x.data(), {1, 3}, {77, 1})})[0]),
            affine({0, 1, 2}));
}

TEST_F(Affine, WrongArguments) {
  Array<float> x = counting({2, 3}), wide({2, 4}), flat({6}), y({2, 3}), small({1, 3});
  Array<double> doubles({2, 3});
  expectError(NNOPT_INVALID, "0 inputs given, the model has 1", [&] { session.run({}); });
  expectError(NNOPT_INVALID, "input 'x': the shape is [2,4], the model's is [n,3]",
              [&] { session.run({wide}); });
  expectError(NNOPT_INVALID, "input 'x': the rank is 1, the model's is 2",
              [&] { session.run({flat}); });
  expectError(NNOPT_INVALID, "the element type is float64", [&] { session.run({doubles}); });
  expectError(NNOPT_INVALID, "dimension 'n' is 1001",
              [&] { session.run({Array<float>({1001, 3})}); });
  expectError(NNOPT_INVALID, "dimension 'n' is 0", [&] { session.run({Array<float>({0, 3})}); });
  expectError(NNOPT_INVALID, "output 'y': the shape is [1,3], for these inputs it must be [2,3]",
              [&] { session.run({x}, {small}); });
  expectError(NNOPT_INVALID, "output 'y': the element type is float64",
              [&] { session.run({x}, {doubles}); });
  expectError(NNOPT_INVALID, "0 outputs given, the model has 1", [&] { session.run({x}, {}); });
  float *nothing = nullptr;
  expectError(NNOPT_INVALID, "data pointer is NULL",
              [&] { session.run({TensorView(nothing, {2, 3})}); });
  expectError(NNOPT_INVALID, "absurd shape",
              [&] { session.run({TensorView(nothing, {int64_t(1) << 40, int64_t(1) << 40})}); });
  expectError(NNOPT_INVALID, "absurd shape", [&] { session.run({TensorView(nothing, {-1, 3})}); });
  DLTensor device = x.dl();
  device.device = {kDLCUDA, 0};
  DLTensor *inputs[] = {&device}, *none[] = {nullptr};
  expectError(NNOPT_UNSUPPORTED, "device type 2", [&] { session.run(inputs, 1, none, 1); });
  inputs[0] = nullptr;
  expectError(NNOPT_INVALID, "input 'x' is missing", [&] { session.run(inputs, 1, none, 1); });
  expectError(NNOPT_INVALID, "no input", [&] { session.bindState("a", "y", 1); });
  expectError(NNOPT_INVALID, "can be taken after a successful run", [&] { session.takeOutput(0); });
  expectError(NNOPT_INVALID, "output 5", [&] { session.takeOutput(5); });
  // The session still works.
  EXPECT_EQ(elements<float>(session.run({x})[0]), affine(elements(x)));
  session.run({x}, {y});
  expectError(NNOPT_INVALID, "passed as NULL", [&] { session.takeOutput(0); });
}

TEST_F(Affine, ErrorStructIsOptional) {
  EXPECT_EQ(nnopt_session_run(session.get(), nullptr, 0, nullptr, 0, nullptr), NNOPT_INVALID);
  EXPECT_EQ(nnopt_session_run(nullptr, nullptr, 0, nullptr, 0, nullptr), NNOPT_INVALID);
  nnopt_model *none = nullptr;
  EXPECT_EQ(nnopt_model_open("/nonexistent", nullptr, &none, nullptr), NNOPT_INVALID);
  EXPECT_EQ(nnopt_model_open(nullptr, nullptr, &none, nullptr), NNOPT_INVALID);
  nnopt_model_close(nullptr);
  nnopt_session_destroy(nullptr);
}

TEST_F(Affine, SessionsOutliveTheModelHandle) {
  Tensor kept(nullptr);
  {
    auto *own = new Session(model);
    model = Linked(affineModel(2)).open();
    kept = std::move(own->run({counting({1, 3})})[0]);
    delete own;
  }
  EXPECT_EQ(elements<float>(kept), affine({0, 1, 2}));
}

TEST_F(Affine, OptionsAreChecked) {
  Options options;
  options.num_threads = -1;
  expectError(NNOPT_INVALID, "num_threads", [&] { Session(model, options); });
  options = Options();
  options.struct_size = 3;
  expectError(NNOPT_INVALID, "nnopt_options_init", [&] { Session(model, options); });
  options = Options();
  options.flags = 1u << 31;
  expectError(NNOPT_INVALID, "flags", [&] { linked.open(options); });
  options = Options();
  options.allocate = [](void *, size_t, size_t) -> void * { return nullptr; };
  expectError(NNOPT_INVALID, "both allocate and deallocate", [&] { Session(model, options); });
}

TEST_F(Affine, AllocatorCallbacks) {
  struct Counts {
    int allocations = 0;
    size_t live = 0;
    bool fail = false;
  } counts;
  Options options;
  options.allocator_context = &counts;
  options.allocate = [](void *context, size_t size, size_t alignment) -> void * {
    auto *c = static_cast<Counts *>(context);
    if (c->fail)
      return nullptr;
    ++c->allocations;
    c->live += size;
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  };
  options.deallocate = [](void *context, void *memory, size_t size) {
    static_cast<Counts *>(context)->live -= size;
    std::free(memory);
  };
  {
    Session own(model, options);
    std::vector<Tensor> y = own.run({counting({5, 3})});
    EXPECT_GE(counts.allocations, 2); // arena and output
    EXPECT_GT(counts.live, 0u);
    counts.fail = true;
    expectError(NNOPT_FAILED, "out of memory", [&] { own.run({counting({500, 3})}); });
    counts.fail = false;
    EXPECT_EQ(elements<float>(own.run({counting({500, 3})})[0]),
              affine(elements(counting({500, 3}))));
    EXPECT_EQ(elements<float>(y[0]), affine(elements(counting({5, 3}))));
  }
  EXPECT_EQ(counts.live, 0u);
}

TEST_F(Affine, CopiedWeights) {
  Options options;
  options.flags = NNOPT_COPY_WEIGHTS;
  Session own(linked.open(options));
  EXPECT_EQ(elements<float>(own.run({counting({2, 3})})[0]), affine(elements(counting({2, 3}))));
}

TEST_F(Affine, Profile) {
  struct Seen {
    std::vector<std::string> kernels, nodes;
    int64_t flops = 0;
  } seen;
  nnopt_session_set_profiler(
      session.get(),
      [](void *context, const nnopt_profile_record *r) {
        auto *s = static_cast<Seen *>(context);
        s->kernels.push_back(r->kernel);
        s->nodes.push_back(r->nodes);
        s->flops += r->flops;
        EXPECT_GE(r->duration_ns, 0);
        EXPECT_EQ(r->bytes, -1);
        EXPECT_STREQ(r->op, "nn.test");
      },
      &seen);
  session.run({counting({2, 3})});
  EXPECT_EQ(seen.nodes, (std::vector<std::string>{"scale", "double,twice"}));
  EXPECT_EQ(seen.kernels, (std::vector<std::string>{"kernel_0", "kernel_1"}));
  EXPECT_EQ(seen.flops, 2 + 6);
  nnopt_session_set_profiler(session.get(), nullptr, nullptr);
  session.run({counting({2, 3})});
  EXPECT_EQ(seen.nodes.size(), 2u);
}

TEST_F(Affine, MemoryOfASession) {
  session.run({counting({100, 3})});
  nnopt_memory m = session.memory();
  EXPECT_EQ(m.arena_bytes, 1200);
  EXPECT_EQ(m.lower_bound_bytes, 1200);
  EXPECT_EQ(m.weight_bytes, 12);
  EXPECT_GE(m.other_bytes, 1200); // the output that was taken
}

// Two inputs that share a dimension, one pinned symbol, and an expression as input dimension.
TEST(Shapes, DimensionsMustAgree) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), four = b.constant(4), bytes = b.mul(n, four);
  uint32_t twice = b.add(n, n);
  uint32_t a = b.input("a", 1, {n}, bytes), c = b.input("b", 1, {n}, bytes);
  b.input("c", 1, {twice}, b.mul(twice, four));
  uint32_t y = b.output("y", 1, {n}, bytes);
  b.launch(KernelAdd, {a, c, y}, {}, n);
  Linked linked(b);
  Session session(linked.open());
  EXPECT_EQ(elements<float>(session.run({counting({3}), counting({3}), counting({6})})[0]),
            (std::vector<float>{0, 2, 4}));
  expectError(NNOPT_INVALID, "dimension 'n' is 4 here and 3 before",
              [&] { session.run({counting({3}), counting({4}), counting({6})}); });
  expectError(NNOPT_INVALID, "input 'c': the shape is [7]",
              [&] { session.run({counting({3}), counting({3}), counting({7})}); });
  // No elements at all.
  EXPECT_EQ(session.run({counting({0}), counting({0}), counting({0})})[0].size(), 0);
}

TEST(Shapes, SizesThatOverflowAreRefused) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), four = b.constant(4), bytes = b.mul(n, four);
  uint32_t square = b.mul(n, n), fourth = b.mul(square, square), huge = b.mul(fourth, fourth);
  uint32_t x = b.input("x", 1, {n}, bytes), y = b.output("y", 1, {n}, bytes);
  b.buffer(NNOPT_B_ARENA, huge, 0, 0, 1);
  b.launch(KernelAdd, {x, x, y}, {}, n);
  Linked linked(b);
  Session session(linked.open());
  EXPECT_EQ(session.run({counting({2})})[0].size(), 2);
  expectError(NNOPT_INVALID, "need a buffer", [&] { session.run({counting({100})}); });
  expectError(NNOPT_INVALID, "do not fit in 64 bits", [&] { session.run({counting({1000})}); });
  EXPECT_EQ(session.run({counting({3})})[0].size(), 3);
}

// Outputs that are an input, a weight, a view of the arena, and the same value twice.
TEST(Outputs, OfEveryKind) {
  Builder b;
  uint32_t four = b.constant(4), two = b.constant(2), bytes = b.constant(16), eight = b.constant(8);
  uint32_t x = b.input("x", 1, {four}, bytes);
  uint32_t t = b.buffer(NNOPT_B_ARENA, bytes);
  uint32_t half = b.buffer(NNOPT_B_VIEW, eight, t); // from byte 8 on
  float constants[] = {5, 6};
  uint32_t w = b.weight(constants, sizeof constants);
  b.outputs.push_back(b.tensor("same", 1, {four}, x));
  b.outputs.push_back(b.tensor("weight", 1, {two}, w));
  b.outputs.push_back(b.tensor("half", 1, {two}, half));
  b.outputs.push_back(b.tensor("half2", 1, {two}, half));
  b.launch(KernelAdd, {x, x, t}, {}, four);
  Linked linked(b);
  Session session(linked.open());
  std::vector<Tensor> y = [&] { return session.run({counting({4})}); }(); // the input is gone here
  EXPECT_EQ(elements<float>(y[0]), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(elements<float>(y[1]), (std::vector<float>{5, 6}));
  EXPECT_EQ(elements<float>(y[2]), (std::vector<float>{4, 6}));
  EXPECT_EQ(elements<float>(y[3]), (std::vector<float>{4, 6}));
  Array<float> input = counting({4}), o0({4}), o1({2}), o2({2}), o3({2});
  session.run({input}, {o0, o1, o2, TensorView(o3.data() + 1, {2}, {-1})});
  EXPECT_EQ(elements(o0), elements(input));
  EXPECT_EQ(elements(o1), (std::vector<float>{5, 6}));
  EXPECT_EQ(elements(o2), (std::vector<float>{4, 6}));
  EXPECT_EQ(elements(o3), (std::vector<float>{6, 4}));
}

TEST(Types, BoolAsUint8) {
  Linked linked(controlModel());
  Session session(linked.open());
  Array<uint8_t> flag({});
  flag[0] = 1;
  Array<int64_t> trips({});
  EXPECT_EQ(elements<float>(session.run({counting({4}), flag, trips})[0]),
            (std::vector<float>{0, 2, 4, 6}));
}

TEST(Fork, IdleSessionsWorkInTheChild) {
  Linked linked(affineModel());
  Session session(linked.open(), Options().threads(3));
  Array<float> x = counting({600, 3});
  std::vector<float> expected = affine(elements(x));
  EXPECT_EQ(elements<float>(session.run({x})[0]), expected);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool ok = elements<float>(session.run({x})[0]) == expected;
    ok = ok && elements<float>(session.run({x})[0]) == expected;
    _exit(ok ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(elements<float>(session.run({x})[0]), expected);
}

/// x[n] -> y[1], the number of runs of the session.
Builder countingModel() {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), one = b.constant(1), four = b.constant(4);
  b.input("x", 1, {n}, b.mul(n, four));
  uint32_t y = b.output("y", 1, {one}, four), kept = b.buffer(NNOPT_B_KEPT, four);
  b.launch(KernelIncrement, {kept}, {}, one);
  b.instruction(NNOPT_I_COPY, y, kept, four);
  return b;
}

TEST(Session, KeptBuffersLastFromRunToRun) {
  Linked linked{countingModel()};
  Model model = linked.open();
  for (int sessions = 0; sessions < 2; ++sessions) {
    Session session{model};
    float expected = 0;
    for (int64_t n : {2, 2, 5, 1, 5})
      EXPECT_EQ(elements<float>(session.run({counting({n})})[0]), std::vector<float>{++expected});
  }
}

} // namespace

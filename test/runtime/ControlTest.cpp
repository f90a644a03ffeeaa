//===- ControlTest.cpp - control flow, sizes that depend on data, states ----===//

#include "test/runtime/Helpers.h"

using namespace nnopt;
using namespace nnopt::test;

namespace {

TEST(Control, IfAndLoop) {
  Linked linked(controlModel());
  Session session(linked.open());
  for (bool flag : {true, false})
    for (int64_t trips : {0, 1, 5, -3}) {
      std::vector<float> expected;
      for (int i = 0; i < 4; ++i)
        expected.push_back(static_cast<float>(i * (flag ? 2 : 1) + std::max<int64_t>(trips, 0)));
      auto y = session.run({counting({4}), array<bool>({}, {flag}), array<int64_t>({}, {trips})});
      EXPECT_EQ(elements<float>(y[0]), expected) << flag << " " << trips;
    }
}

// while (i < limit): the body computes the condition from the iteration number.
TEST(Control, LoopByCondition) {
  Builder b;
  uint32_t one = b.constant(1), eight = b.constant(8), four = b.constant(4);
  uint32_t limit = b.input("limit", 7, {}, eight);
  uint32_t y = b.output("y", 1, {one}, four);
  uint32_t i = b.buffer(NNOPT_B_ARENA, eight, 0, 0, 1000, 8),
           condition = b.buffer(NNOPT_B_ARENA, one);
  char yes = 1;
  float zero = 0;
  uint32_t always = b.weight(&yes, 1), start = b.weight(&zero, 4);
  uint32_t t = b.buffer(NNOPT_B_ARENA, four);
  uint32_t add = b.launchRecord(KernelIncrement, {t}, {}, one, 1, "body");
  uint32_t less = b.launchRecord(KernelLess, {i, limit, condition}, {}, one, 1, "less");
  uint32_t record = static_cast<uint32_t>(b.indices.size());
  b.indices.insert(b.indices.end(), {i, condition, NNOPT_NONE, 1});
  b.instruction(NNOPT_I_COPY, condition, always, one);
  b.instruction(NNOPT_I_COPY, t, start, four);
  b.instruction(NNOPT_I_LOOP, record);
  b.instruction(NNOPT_I_COPY, y, t, four);
  b.blocks.push_back({static_cast<uint32_t>(b.instructions.size()), 2});
  b.instructions.push_back({NNOPT_I_LAUNCH, add, 0, 0});
  b.instructions.push_back({NNOPT_I_LAUNCH, less, 0, 0});
  Linked linked(b);
  Session session(linked.open());
  // Iterations 0 .. limit run: the condition is still true after the one before.
  EXPECT_EQ(elements<float>(session.run({array<int64_t>({}, {6})})[0]), (std::vector<float>{7}));
  EXPECT_EQ(elements<float>(session.run({array<int64_t>({}, {-1})})[0]), (std::vector<float>{1}));
}

TEST(DataDependent, OutputsAndStates) {
  Linked linked(positivesModel());
  Session session(linked.open());
  EXPECT_EQ(session.outputShapes({counting({4})})[1], (std::vector<int64_t>{-1}));
  for (std::vector<float> x : std::vector<std::vector<float>>{
           {1, -2, 3}, {-1, -1, -1}, {5, 6, 7, 8, 9, 10, 11, -1}, {0, 2}, {}, {4, 4, 4, 4}}) {
    std::vector<float> positive, twice;
    for (float v : x)
      if (v > 0) {
        positive.push_back(v);
        twice.push_back(2 * v);
      }
    int64_t n = static_cast<int64_t>(x.size()), k = static_cast<int64_t>(positive.size());
    std::vector<Tensor> y = session.run({array<float>({n}, x)});
    EXPECT_EQ(elements<int64_t>(y[0]), (std::vector<int64_t>{k}));
    EXPECT_EQ(y[1].shape(), (std::vector<int64_t>{k}));
    EXPECT_EQ(elements<float>(y[1]), positive);
    EXPECT_EQ(elements<float>(y[2]), twice);
  }
}

TEST(DataDependent, CallerMayGuessTheShape) {
  Linked linked(positivesModel());
  Session session(linked.open());
  Array<float> x = array<float>({3}, {1, -2, 3}), y({2}), z({2}), wrong({3});
  Array<int64_t> count({});
  session.run({x}, {count, y, z});
  EXPECT_EQ(elements(z), (std::vector<float>{2, 6}));
  expectError(NNOPT_INVALID, "output 'z': the shape is [3], for these inputs it must be [2]",
              [&] { session.run({x}, {count, y, wrong}); });
}

TEST(DataDependent, BoundsAreChecked) {
  Builder b = positivesModel();
  for (nnopt_symbol &s : b.symbols)
    if (s.data_dependent)
      s.high = 2;
  Linked linked(b);
  Session session(linked.open());
  EXPECT_EQ(session.run({counting({3})})[1].size(), 2);
  expectError(NNOPT_INVALID, "dimension 'k' is 3", [&] { session.run({counting({4})}); });
  EXPECT_EQ(session.run({counting({2})})[1].size(), 1);
}

// A copy that the data makes too long is refused instead of running over.
TEST(DataDependent, CopiesStayInside) {
  Builder b;
  uint32_t n = b.symbol("n", 0, -1, true), nv = b.ofSymbol(n), eight = b.constant(8);
  uint32_t x = b.input("x", 7, {}, eight), y = b.output("y", 7, {}, eight);
  b.instruction(NNOPT_I_READ_SYMBOL, n, x);
  b.instruction(NNOPT_I_COPY, y, x, nv);
  Linked linked(b);
  Session session(linked.open());
  EXPECT_EQ(elements<int64_t>(session.run({array<int64_t>({}, {8})})[0]),
            (std::vector<int64_t>{8}));
  expectError(NNOPT_INVALID, "leaves buffer", [&] { session.run({array<int64_t>({}, {9})}); });
}

class State : public testing::Test {
protected:
  Linked linked{appendModel()};
  Session session{linked.open()};
  std::vector<float> step(float a, float b) {
    Array<float> x = array<float>({1, 2}, {a, b});
    DLTensor in = x.dl();
    DLTensor *inputs[] = {nullptr, &in}, *outputs[] = {nullptr};
    session.run(inputs, 2, outputs, 1);
    return elements<float>(session.takeOutput(0));
  }
};

TEST_F(State, WithoutBinding) {
  auto y = session.run({counting({2, 2}), array<float>({1, 2}, {8, 9})});
  EXPECT_EQ(elements<float>(y[0]), (std::vector<float>{0, 1, 2, 3, 8, 9}));
}

TEST_F(State, GrowsToItsCapacity) {
  session.bindState("past", "present", 4);
  std::vector<float> expected;
  for (int i = 0; i < 4; ++i) {
    float a = static_cast<float>(i), b = a + 0.5f;
    expected.insert(expected.end(), {a, b});
    EXPECT_EQ(step(a, b), expected);
  }
  expectError(NNOPT_INVALID, "state 'past' is full", [&] { step(9, 9); });
  session.resetStates();
  EXPECT_EQ(step(7, 7), (std::vector<float>{7, 7}));
}

TEST_F(State, SetAndRefuse) {
  session.bindState("past", "present", 3);
  session.setState("past", counting({2, 2}));
  EXPECT_EQ(step(8, 9), (std::vector<float>{0, 1, 2, 3, 8, 9}));
  expectError(NNOPT_INVALID, "capacity of 3", [&] { session.setState("past", counting({4, 2})); });
  expectError(NNOPT_INVALID, "not a bound state", [&] { session.setState("x", counting({1, 2})); });
  expectError(NNOPT_INVALID, "bound already", [&] { session.bindState("past", "present", 3); });
  expectError(NNOPT_INVALID, "pass NULL",
              [&] { session.run({counting({2, 2}), counting({1, 2})}); });
  session.setState("past", counting({2, 3}));
  expectError(NNOPT_INVALID, "the shape is [2,3]", [&] { step(1, 1); });
}

TEST_F(State, NeedsCapacityAndMatchingTensors) {
  expectError(NNOPT_INVALID, "capacity must be positive",
              [&] { session.bindState("past", "present", 0); });
  expectError(NNOPT_INVALID, "no output 'y'", [&] { session.bindState("past", "y", 1); });
  expectError(NNOPT_INVALID, "must be equal, or differ along one symbolic axis",
              [&] { session.bindState("x", "present", 1); });
}

// A recurrent state keeps its shape and starts as zeros.
TEST(RecurrentState, StartsAsZeros) {
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), bytes = b.mul(n, b.constant(4));
  uint32_t x = b.input("x", 1, {n}, bytes), h = b.input("h", 1, {n}, bytes);
  uint32_t y = b.output("h_next", 1, {n}, bytes);
  b.launch(KernelMax, {x, h, y}, {}, n);
  Linked linked(b);
  Session session(linked.open());
  session.bindState("h", "h_next", 0);
  auto step = [&](std::vector<float> values) {
    Array<float> in = array<float>({static_cast<int64_t>(values.size())}, values);
    Array<float> out({in.size()});
    DLTensor a = in.dl(), c = out.dl();
    DLTensor *inputs[] = {&a, nullptr}, *outputs[] = {&c};
    session.run(inputs, 2, outputs, 1);
    return elements(out);
  };
  EXPECT_EQ(step({1, -2}), (std::vector<float>{1, 0}));
  EXPECT_EQ(step({0, 5}), (std::vector<float>{1, 5}));
  expectError(NNOPT_INVALID, "dimension 'n'", [&] { step({1, 2, 3}); });
  session.resetStates();
  EXPECT_EQ(step({-1, -1, 3}), (std::vector<float>{0, 0, 3}));
}

} // namespace

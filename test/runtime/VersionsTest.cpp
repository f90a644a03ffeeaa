//===- VersionsTest.cpp - several programs for one model --------------------===//

#include "test/runtime/Helpers.h"

#include <algorithm>

using namespace nnopt;
using namespace nnopt::test;

namespace {

constexpr uint32_t AbsentFeature = 1u << 31; // no CPU has it

/// The affine model with nodes called `name`; for `n` rows only unless n is -1.
Builder program(const std::string &name, int64_t n = -1) {
  Builder b = affineModel();
  for (nnopt_launch_meta &launch : b.launches)
    launch.nodes = b.string(name);
  for (nnopt_value_expr &value : b.values)
    if (value.op == NNOPT_V_SYMBOL && n >= 0)
      value = {NNOPT_V_CONST, 0, 0, 0, n};
  return b;
}

class Versions : public testing::Test {
protected:
  void SetUp() override { general.descriptor.versions = versions; }
  /// Runs n rows, and tells which program did.
  std::string ran(Session &session, int64_t n) {
    std::string nodes;
    nnopt_session_set_profiler(
        session.get(), [](void *text, const nnopt_profile_record *r) { *static_cast<std::string *>(text) = r->nodes; }, &nodes);
    Array<float> x = counting({n, 3});
    std::vector<Tensor> y = session.run({x});
    EXPECT_EQ(y[0].shape(), (std::vector<int64_t>{n, 3}));
    for (int64_t i = 0; i < 3 * n; ++i)
      EXPECT_EQ(y[0].begin<float>()[i], 2 * i * (i % 3 + 1));
    nnopt_session_set_profiler(session.get(), nullptr, nullptr);
    return nodes;
  }

  Linked foreign{program("foreign")}, foreignTwo{program("foreign two", 2)}, two{program("two", 2)}, seven{program("seven", 7)},
      general{program("general")};
  nnopt_version versions[6] = {{&foreignTwo.descriptor, AbsentFeature, 0},
                               {&foreign.descriptor, AbsentFeature, 1},
                               {&two.descriptor, 0, 0},
                               {&seven.descriptor, 0, 0},
                               {&general.descriptor, 0, 1},
                               {nullptr, 0, 0}};
};

TEST_F(Versions, ChoosesByCpuAndSizes) {
  Model model = general.open();
  Session session(model), other(model);
  EXPECT_EQ(ran(session, 3), "general");
  EXPECT_EQ(ran(session, 2), "two");
  EXPECT_EQ(ran(session, 7), "seven");
  EXPECT_EQ(ran(session, 2), "two");
  EXPECT_EQ(ran(session, 1), "general");
  EXPECT_EQ(ran(other, 7), "seven");
  EXPECT_EQ(model.inputs()[0].dims[0], -1); // asked of the general one
}

TEST_F(Versions, OutputsAreThoseOfTheLastRun) {
  Model model = general.open();
  Session session(model);
  Array<float> two = counting({2, 3}), three = counting({3, 3});
  DLTensor *nothing[] = {nullptr};
  for (Array<float> *x : {&two, &three, &two}) {
    DLTensor view = x->dl(), *inputs[] = {&view};
    nnopt_shape shape;
    nnopt_error error;
    ASSERT_EQ(nnopt_session_output_shapes(session.get(), inputs, 1, &shape, 1, &error), 0) << error.message;
    EXPECT_EQ(shape.dims[0], x->shape()[0]);
    ASSERT_EQ(nnopt_session_run(session.get(), inputs, 1, nothing, 1, &error), 0) << error.message;
    DLManagedTensorVersioned *y;
    ASSERT_EQ(nnopt_session_take_output(session.get(), 0, &y, &error), 0) << error.message;
    EXPECT_EQ(y->dl_tensor.shape[0], x->shape()[0]);
    y->deleter(y);
  }
}

TEST_F(Versions, NoProgramForThisCpu) {
  for (nnopt_version &version : versions)
    if (version.descriptor)
      version.cpu_features = AbsentFeature;
  expectError(NNOPT_INVALID, "needs a CPU with", [&] { general.open(); });
}

TEST_F(Versions, DamagedProgramIsRefused) {
  two.blob[0] ^= 1;
  expectError(NNOPT_INVALID, "metadata", [&] { general.open(); });
}

} // namespace

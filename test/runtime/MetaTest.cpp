//===- MetaTest.cpp - metadata that lies ------------------------------------===//
//
// Whatever the metadata says, opening, preparing and asking must end with success or a message. The
// kernels of mutated programs are not run: machine code with wrong operands cannot be made safe.
//
//===----------------------------------------------------------------------===//

#include "test/runtime/Helpers.h"

#include <functional>
#include <random>

using namespace nnopt;
using namespace nnopt::test;

namespace {

struct Lie {
  const char *name;
  const char *message;
  std::function<void(Builder &)> tell;
};

class Meta : public testing::TestWithParam<Lie> {};

TEST_P(Meta, IsRefused) {
  Builder b = controlModel();
  GetParam().tell(b);
  Linked linked(b);
  expectError(NNOPT_INVALID, GetParam().message, [&] { linked.open(); });
}

const Lie lies[] = {
    {"value_operator", "value", [](Builder &b) { b.values[0].op = NNOPT_V_COUNT_; }},
    {"value_forward", "not before it", [](Builder &b) { b.values[0] = {NNOPT_V_ADD, 0, 0, 0, 0}; }},
    {"value_symbol", "value", [](Builder &b) { b.values[0] = {NNOPT_V_SYMBOL, 9, 0, 0, 0}; }},
    {"symbol_unbound", "no input has this dimension",
     [](Builder &b) {
       b.values[0] = {NNOPT_V_SYMBOL, b.symbol("q"), 0, 0, 0};
       b.tensors[0].rank = 0;
     }},
    {"symbol_bounds", "symbol", [](Builder &b) { b.symbol("q", 5, 4); }},
    {"tensor_type", "tensor", [](Builder &b) { b.tensors[0].dtype = 99; }},
    {"tensor_name", "tensor", [](Builder &b) { b.tensors[0].name = 1u << 30; }},
    {"tensor_dims", "tensor", [](Builder &b) { b.tensors[0].dims = 0xfffffff0u; }},
    {"tensor_dim", "tensor", [](Builder &b) { b.indices[b.tensors[0].dims] = 1000; }},
    {"tensor_dim_name", "tensor", [](Builder &b) { b.indices[b.tensors[0].dim_names] = 1000; }},
    {"tensor_buffer", "tensor", [](Builder &b) { b.tensors[0].buffer = 1000; }},
    {"input", "input", [](Builder &b) { b.inputs[0] = 1000; }},
    {"output", "output", [](Builder &b) { b.outputs[0] = 1000; }},
    {"output_without_buffer", "output",
     [](Builder &b) { b.tensors[b.outputs[0]].buffer = NNOPT_NONE; }},
    {"input_depends_on_data", "depends on data",
     [](Builder &b) { b.indices[b.tensors[0].dims] = b.ofSymbol(b.symbol("q", 0, -1, true)); }},
    {"buffer_kind", "buffer", [](Builder &b) { b.buffers[0].kind = 77; }},
    {"buffer_size", "buffer", [](Builder &b) { b.buffers[0].size = 1000; }},
    {"buffer_align", "buffer", [](Builder &b) { b.buffers[0].align = 3; }},
    {"buffer_align_huge", "buffer", [](Builder &b) { b.buffers[0].align = 1u << 30; }},
    {"buffer_lifetime", "buffer", [](Builder &b) { b.buffer(NNOPT_B_ARENA, 0, 0, 5, 4); }},
    {"buffer_kept_without_size", "buffer",
     [](Builder &b) { b.buffer(NNOPT_B_KEPT, b.ofSymbol(b.symbol("q", 0, -1, true))); }},
    {"buffer_input", "buffer", [](Builder &b) { b.buffer(NNOPT_B_INPUT, 0, 1000); }},
    {"buffer_output", "buffer", [](Builder &b) { b.buffer(NNOPT_B_OUTPUT, 0, 1000); }},
    {"buffer_weight", "outside the weights",
     [](Builder &b) { b.buffers[b.buffer(NNOPT_B_WEIGHT, b.constant(8))].offset = ~0ull - 3; }},
    {"view_of_nothing", "buffer", [](Builder &b) { b.buffer(NNOPT_B_VIEW, 0, 1000); }},
    {"view_of_itself", "view of itself",
     [](Builder &b) {
       uint32_t n = static_cast<uint32_t>(b.buffers.size());
       b.buffer(NNOPT_B_VIEW, 0, n + 1);
       b.buffer(NNOPT_B_VIEW, 0, n);
     }},
    {"launch_kernel", "launch", [](Builder &b) { b.launches[0].kernel = KernelCount_; }},
    {"launch_buffers", "launch", [](Builder &b) { b.launches[0].buffer_count = 1u << 31; }},
    {"launch_dims", "launch", [](Builder &b) { b.launches[0].dims = 1000; }},
    {"launch_operand", "launch", [](Builder &b) { b.operands[0].number = 1000; }},
    {"launch_tasks", "launch", [](Builder &b) { b.launches[0].tasks = 1000; }},
    {"launch_flops", "launch", [](Builder &b) { b.launches[0].flops = 1000; }},
    {"launch_nodes", "launch", [](Builder &b) { b.launches[0].nodes = 1u << 30; }},
    {"instruction_operator", "instruction",
     [](Builder &b) { b.instructions[0].op = NNOPT_I_COUNT_; }},
    {"if_block", "instruction", [](Builder &b) { b.instructions[0].c = 1000; }},
    {"copy_buffer", "instruction", [](Builder &b) { b.instructions[1].b = 1000; }},
    {"loop_record", "instruction", [](Builder &b) { b.instructions[2].a = 0xfffffffeu; }},
    {"loop_body", "instruction", [](Builder &b) { b.indices[b.instructions[2].a + 3] = 1000; }},
    {"read_of_no_symbol", "instruction",
     [](Builder &b) { b.instructions[1] = {NNOPT_I_READ_SYMBOL, b.symbol("q"), 0, 0}; }},
    {"block_range", "block", [](Builder &b) { b.blocks[1].count = 1000; }},
    {"blocks_missing", "damaged metadata",
     [](Builder &b) {
       b.blocks.clear();
       b.instructions.clear();
     }},
    {"recursion", "nesting", [](Builder &b) { b.instructions[0].b = 0; }},
    {"property", "property", [](Builder &b) { b.properties.push_back({1u << 30, 0}); }},
    {"strings", "string", [](Builder &b) { b.strings += "x"; }},
};
INSTANTIATE_TEST_SUITE_P(Lies, Meta, testing::ValuesIn(lies),
                         [](const testing::TestParamInfo<Lie> &info) {
                           return std::string(info.param.name);
                         });

TEST(MetaHeader, IsChecked) {
  Linked linked(affineModel());
  nnopt_model *model = nullptr;
  nnopt_error error;
  auto refused = [&](const nnopt_descriptor &d, const char *part) {
    EXPECT_EQ(nnopt_model_open_static(&d, nullptr, nullptr, &model, &error), NNOPT_INVALID);
    EXPECT_NE(std::string(error.message).find(part), std::string::npos) << error.message;
  };
  nnopt_descriptor d = linked.descriptor;
  refused(d, "needs 12 bytes of weights, there are 0");
  d.format_version = 99;
  refused(d, "format version 99");
  d = linked.descriptor;
  d.meta_size = 8;
  refused(d, "damaged metadata header");
  d = linked.descriptor;
  d.meta += 4;
  refused(d, "damaged metadata header");
  d = linked.descriptor;
  d.kernel_count = 0;
  EXPECT_EQ(nnopt_model_open_static(&d, nullptr, nullptr, &model, &error), NNOPT_INVALID);
}

// Outputs and views that leave what they are part of are found when sizes are known.
TEST(MetaSizes, AreCheckedWhenKnown) {
  Builder b = affineModel();
  uint32_t huge = b.constant(1 << 20);
  uint32_t view = b.buffer(NNOPT_B_VIEW, huge, b.tensors[b.outputs[0]].buffer);
  b.instruction(NNOPT_I_COPY, view, view, huge);
  Linked linked(b);
  Session session(linked.open());
  expectError(NNOPT_INVALID, "leaves its parent", [&] { session.run({counting({2, 3})}); });
  Builder c = affineModel();
  c.buffers[c.tensors[c.outputs[0]].buffer].size = c.constant(1 << 20);
  Linked bigger(c);
  Session other(bigger.open());
  expectError(NNOPT_INVALID, "leaves its parent", [&] { other.run({counting({2, 3})}); });
}

// Random mutations of whole blobs: everything but running.
TEST(MetaFuzz, MutationsNeverCrash) {
  std::mt19937 rng(11);
  int opened = 0;
  for (const char *name : {"affine", "control", "positives", "append"}) {
    Builder builder = modelNamed(name);
    TemporaryFile weights(std::string(builder.weights.begin(), builder.weights.end()));
    std::vector<uint64_t> original = builder.serialize();
    for (int round = 0; round < 3000; ++round) {
      std::vector<uint64_t> blob = original;
      auto *bytes = reinterpret_cast<uint8_t *>(blob.data());
      for (uint32_t k = 0; k <= rng() % 3; ++k) {
        size_t at = rng() % (blob.size() * 8);
        switch (rng() % 4) {
        case 0:
          bytes[at] = static_cast<uint8_t>(rng());
          break;
        case 1:
          bytes[at] ^= static_cast<uint8_t>(1u << rng() % 8);
          break;
        case 2:
          bytes[at] = 0xff;
          break;
        case 3:
          blob[at / 8] = static_cast<uint64_t>(rng()) << (rng() % 33);
          break;
        }
      }
      nnopt_descriptor d{NNOPT_FORMAT_VERSION, KernelCount_, testKernels, bytes, blob.size() * 8};
      nnopt_model *model = nullptr;
      nnopt_error error;
      int code = nnopt_model_open_static(&d, weights.path.c_str(), nullptr, &model, &error);
      if (code) {
        ASSERT_TRUE(code == NNOPT_INVALID || code == NNOPT_UNSUPPORTED) << error.message;
        continue;
      }
      ++opened;
      nnopt_memory memory;
      (void)nnopt_model_memory(model, nullptr, 0, 1, &memory, &error);
      Options options;
      options.num_threads = 1;
      // A mutated size may be valid but big: do not really take the memory.
      options.allocate = [](void *, size_t size, size_t alignment) -> void * {
        return size > (1u << 24)
                   ? nullptr
                   : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
      };
      options.deallocate = [](void *, void *memory, size_t) { std::free(memory); };
      nnopt_session *session = nullptr;
      if (!nnopt_session_create(model, &options, &session, &error)) {
        std::vector<std::vector<int64_t>> shapes;
        std::vector<DLTensor> tensors;
        std::vector<DLTensor *> pointers;
        for (size_t i = 0; i < nnopt_model_input_count(model); ++i) {
          const nnopt_tensor_info *info = nnopt_model_input(model, i);
          shapes.emplace_back(info->dims, info->dims + info->rank);
          for (int64_t &s : shapes.back())
            s = s < 0 ? 2 : s;
        }
        for (size_t i = 0; i < shapes.size(); ++i)
          tensors.push_back({nullptr,
                             {kDLCPU, 0},
                             static_cast<int32_t>(shapes[i].size()),
                             nnopt_model_input(model, i)->dtype,
                             shapes[i].data(),
                             nullptr,
                             0});
        for (DLTensor &t : tensors)
          pointers.push_back(&t);
        std::vector<nnopt_shape> out(nnopt_model_output_count(model));
        (void)nnopt_session_output_shapes(session, pointers.data(), pointers.size(), out.data(),
                                          out.size(), &error);
      }
      nnopt_session_destroy(session);
      nnopt_model_close(model);
    }
  }
  EXPECT_GT(opened, 100); // the mutations are not all refused at the door
}

} // namespace

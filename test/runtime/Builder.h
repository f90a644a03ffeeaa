//===- Builder.h - artifacts built by hand ----------------------*- C++ -*-===//
//
// Writes the metadata of runtime/format.h for the tests of the runtime, and the models that they
// use.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_TEST_RUNTIME_BUILDER_H
#define NNOPT_TEST_RUNTIME_BUILDER_H

#include "test/runtime/kernels.h"

#include <cstring>
#include <string>
#include <vector>

namespace nnopt::test {

class Builder {
public:
  std::vector<nnopt_symbol> symbols;
  std::vector<nnopt_value_expr> values;
  std::vector<nnopt_tensor_meta> tensors;
  std::vector<nnopt_buffer_meta> buffers;
  std::vector<nnopt_operand> operands;
  std::vector<nnopt_launch_meta> launches;
  std::vector<nnopt_instruction> instructions;
  std::vector<nnopt_block> blocks{{0, 0}};
  std::vector<uint32_t> indices, inputs, outputs;
  std::vector<nnopt_property> properties;
  std::vector<nnopt_host_call> hostCalls;
  std::vector<char> weights;
  std::string strings = std::string(1, '\0');

  uint32_t string(const std::string &text) {
    uint32_t at = static_cast<uint32_t>(strings.size());
    strings += text + '\0';
    return at;
  }
  uint32_t symbol(const std::string &name, int64_t low = 0, int64_t high = -1,
                  bool dataDependent = false) {
    symbols.push_back({string(name), dataDependent, low, high});
    return static_cast<uint32_t>(symbols.size() - 1);
  }
  uint32_t expr(uint32_t op, uint32_t a = 0, uint32_t b = 0, int64_t imm = 0) {
    values.push_back({op, a, b, 0, imm});
    return static_cast<uint32_t>(values.size() - 1);
  }
  uint32_t constant(int64_t v) { return expr(NNOPT_V_CONST, 0, 0, v); }
  uint32_t ofSymbol(uint32_t s) { return expr(NNOPT_V_SYMBOL, s); }
  uint32_t mul(uint32_t a, uint32_t b) { return expr(NNOPT_V_MUL, a, b); }
  uint32_t add(uint32_t a, uint32_t b) { return expr(NNOPT_V_ADD, a, b); }

  uint32_t buffer(uint32_t kind, uint32_t size, uint32_t index = 0, uint32_t first = 0,
                  uint32_t last = 1000, uint32_t align = 4) {
    buffers.push_back({kind, size, index, align, first, last, 0});
    return static_cast<uint32_t>(buffers.size() - 1);
  }
  uint32_t weight(const void *data, size_t size) {
    weights.resize((weights.size() + 63) / 64 * 64);
    uint32_t b = buffer(NNOPT_B_WEIGHT, constant(static_cast<int64_t>(size)));
    buffers[b].offset = weights.size();
    weights.insert(weights.end(), static_cast<const char *>(data),
                   static_cast<const char *>(data) + size);
    return b;
  }
  uint32_t tensor(const std::string &name, uint32_t dtype, std::vector<uint32_t> dims,
                  uint32_t buffer) {
    uint32_t at = static_cast<uint32_t>(indices.size());
    indices.insert(indices.end(), dims.begin(), dims.end());
    uint32_t names = static_cast<uint32_t>(indices.size());
    for (uint32_t d : dims)
      indices.push_back(values[d].op == NNOPT_V_SYMBOL ? values[d].a : NNOPT_NONE);
    tensors.push_back({string(name), dtype, static_cast<uint32_t>(dims.size()), at, buffer, names, 0, 0});
    return static_cast<uint32_t>(tensors.size() - 1);
  }
  /// An input or output with a buffer of `bytes` (a value); returns the buffer.
  uint32_t input(const std::string &name, uint32_t dtype, std::vector<uint32_t> dims,
                 uint32_t bytes) {
    uint32_t b = buffer(NNOPT_B_INPUT, bytes, static_cast<uint32_t>(inputs.size()));
    inputs.push_back(tensor(name, dtype, dims, b));
    return b;
  }
  uint32_t output(const std::string &name, uint32_t dtype, std::vector<uint32_t> dims,
                  uint32_t bytes) {
    uint32_t b = buffer(NNOPT_B_OUTPUT, bytes, static_cast<uint32_t>(outputs.size()));
    outputs.push_back(tensor(name, dtype, dims, b));
    return b;
  }
  /// A host value: tensor of strings, sequence, ...; returns the tensor.
  uint32_t hostTensor(const std::string &name, uint32_t kind, uint32_t dtype, std::vector<uint32_t> dims,
                      const std::string &type) {
    uint32_t t = tensor(name, dtype, dims, buffer(NNOPT_B_HOST, constant(0)));
    tensors[t].kind = kind;
    tensors[t].type = string(type);
    return t;
  }
  /// A call with attributes (empty: none), which are a blob of nnopt/ops.h.
  void hostCall(const std::string &operation, std::vector<uint32_t> buffers, std::vector<uint32_t> results,
                const std::string &attributes = "") {
    nnopt_host_call c{};
    c.operation = string(operation);
    c.nodes = string("node_" + operation);
    c.inputs = static_cast<uint32_t>(operands.size());
    c.input_count = static_cast<uint32_t>(buffers.size());
    for (uint32_t b : buffers)
      operands.push_back({b});
    c.outputs = static_cast<uint32_t>(operands.size());
    c.output_count = static_cast<uint32_t>(results.size());
    for (uint32_t t : results)
      operands.push_back({t});
    c.attributes = attributes.empty() ? NNOPT_NONE : weight(attributes.data(), attributes.size());
    hostCalls.push_back(c);
    instruction(NNOPT_I_HOST_CALL, static_cast<uint32_t>(hostCalls.size() - 1));
  }
  void instruction(uint32_t op, uint32_t a, uint32_t b = 0, uint32_t c = 0) {
    instructions.push_back({op, a, b, c});
    ++blocks[0].count;
  }
  uint32_t launchRecord(uint32_t kernel, std::vector<uint32_t> bufferList,
                        std::vector<uint32_t> dims, uint32_t tasks, uint32_t grain,
                        const std::string &node) {
    nnopt_launch_meta l{};
    l.kernel = kernel;
    l.buffers = static_cast<uint32_t>(operands.size());
    l.buffer_count = static_cast<uint32_t>(bufferList.size());
    for (uint32_t b : bufferList)
      operands.push_back({b});
    l.dims = static_cast<uint32_t>(operands.size());
    l.dim_count = static_cast<uint32_t>(dims.size());
    for (uint32_t d : dims)
      operands.push_back({d});
    l.tasks = tasks;
    l.grain = grain;
    l.name = string("kernel_" + std::to_string(kernel));
    l.nodes = string(node);
    l.op = string("nn.test");
    l.flops = tasks;
    l.bytes = NNOPT_NONE;
    launches.push_back(l);
    return static_cast<uint32_t>(launches.size() - 1);
  }
  void launch(uint32_t kernel, std::vector<uint32_t> bufferList, std::vector<uint32_t> dims,
              uint32_t tasks, uint32_t grain = 1, const std::string &node = "node") {
    instruction(NNOPT_I_LAUNCH, launchRecord(kernel, bufferList, dims, tasks, grain, node));
  }

  /// The blob; 8-byte aligned.
  std::vector<uint64_t> serialize() const {
    nnopt_meta_header h{};
    std::string blob(sizeof h, '\0');
    auto table = [&](const auto &entries) {
      blob.resize((blob.size() + 7) / 8 * 8);
      nnopt_table t{static_cast<uint32_t>(blob.size()), static_cast<uint32_t>(entries.size())};
      blob.append(reinterpret_cast<const char *>(entries.data()),
                  entries.size() * sizeof(entries[0]));
      return t;
    };
    std::memcpy(h.magic, NNOPT_META_MAGIC, 8);
    h.format_version = NNOPT_FORMAT_VERSION;
    h.weights_size = weights.size();
    h.strings = table(strings);
    h.symbols = table(symbols);
    h.values = table(values);
    h.tensors = table(tensors);
    h.buffers = table(buffers);
    h.operands = table(operands);
    h.launches = table(launches);
    h.instructions = table(instructions);
    h.blocks = table(blocks);
    h.indices = table(indices);
    h.inputs = table(inputs);
    h.outputs = table(outputs);
    h.properties = table(properties);
    h.host_calls = table(hostCalls);
    std::memcpy(blob.data(), &h, sizeof h);
    std::vector<uint64_t> words((blob.size() + 7) / 8);
    std::memcpy(words.data(), blob.data(), blob.size());
    return words;
  }
};

/// x[n,3] -> y[n,3] = 2 * x * (1, 2, 3) * factor, with 1 <= n <= 1000.
Builder affineModel(float factor = 1);
/// x f32[4], flag bool[], trips i64[] -> y = (flag ? 2 x : x) + trips, by an If and a Loop.
Builder controlModel();
/// x f32[n] -> count i64[], y f32[k] the positive elements, z f32[k] = 2 y, where k depends on
/// data.
Builder positivesModel();
/// past f32[l,2], x f32[1,2] -> present f32[l+1,2].
Builder appendModel();
/// A record of nnopt/ops.h with one string, or (without text) one integer.
std::string attribute(const std::string &name, const std::string *text, int64_t number);
/// words strings[n], y f32[m] -> parts strings[n,k] (words split at commas), counts i64[n], pair: a sequence of y
/// twice.
Builder wordsModel();
/// Model of that name; throws for unknown ones.
Builder modelNamed(const std::string &name);

} // namespace nnopt::test

#endif

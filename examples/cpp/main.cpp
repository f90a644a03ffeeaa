//===- main.cpp - runs two compiled models from four threads ----------------===//
//
//   nnopt-example MODEL1.so MODEL2.so [RUNS]
//
// Each thread has a session of its own: two threads run the first model, two the second, all at
// once. Every run must give the same result as a run alone.
//
//===----------------------------------------------------------------------===//

#include <nnopt/runtime.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

/// Inputs of a model: memory and views of it.
struct Inputs {
  std::vector<std::vector<char>> memory;
  std::vector<nnopt::TensorView> views;
};

/// Floats that are not all the same, zeros for other types; dynamic dimensions are 1.
Inputs makeInputs(const nnopt::Model &model) {
  Inputs inputs;
  for (const nnopt_tensor_info &info : model.inputs()) {
    std::vector<int64_t> shape(info.dims, info.dims + info.rank);
    size_t count = 1;
    for (int64_t &dim : shape) {
      if (dim < 0)
        dim = 1;
      count *= static_cast<size_t>(dim);
    }
    inputs.memory.emplace_back(count * ((info.dtype.bits + 7u) / 8u));
    if (info.dtype.code == kDLFloat && info.dtype.bits == 32)
      for (size_t i = 0; i < count; ++i) {
        float value = static_cast<float>(i % 100) * 0.01f + 0.5f;
        std::memcpy(&inputs.memory.back()[i * 4], &value, 4);
      }
    inputs.views.emplace_back(inputs.memory.back().data(), info.dtype, shape);
  }
  return inputs;
}

/// The bytes of all outputs, one after the other.
std::vector<char> bytesOf(const std::vector<nnopt::Tensor> &outputs) {
  std::vector<char> bytes;
  for (const nnopt::Tensor &output : outputs) {
    const char *data = static_cast<const char *>(output.dl().data);
    bytes.insert(bytes.end(), data, data + output.size() * ((output.dl().dtype.bits + 7) / 8));
  }
  return bytes;
}

} // namespace

int main(int argc, char **argv) try {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: nnopt-example MODEL1.so MODEL2.so [RUNS]\n");
    return 2;
  }
  int runs = argc == 4 ? std::atoi(argv[3]) : 20;
  // Models are immutable: threads share them.
  nnopt::Model models[] = {nnopt::Model(argv[1]), nnopt::Model(argv[2])};
  Inputs inputs[] = {makeInputs(models[0]), makeInputs(models[1])};
  std::vector<char> expected[2];
  for (int m = 0; m < 2; ++m)
    expected[m] = bytesOf(nnopt::Session(models[m]).run(inputs[m].views));

  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, m = t % 2] {
      try {
        // The machine is shared by four sessions: one thread for each.
        nnopt::Session session(models[m], nnopt::Options().threads(1));
        for (int i = 0; i < runs; ++i)
          if (bytesOf(session.run(inputs[m].views)) != expected[m])
            ++failures;
      } catch (const nnopt::Error &e) {
        std::fprintf(stderr, "nnopt-example: %s\n", e.what());
        ++failures;
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  std::printf("2 models, 4 threads, %d runs each: %d failures\n", runs, failures.load());
  return failures ? 1 : 0;
} catch (const nnopt::Error &e) {
  std::fprintf(stderr, "nnopt-example: %s\n", e.what());
  return e.code();
}

//===- ToolsTest.cpp - nnopt-run and nnopt-bench from the outside -----------===//

#include "test/runtime/Helpers.h"
#include "tools/common/npz.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

using namespace nnopt;
using namespace nnopt::test;
namespace fs = std::filesystem;

namespace {

struct Result {
  int status; // -1: ended by a signal
  std::string output;
};

Result call(const std::string &tool, const std::string &arguments) {
  FILE *pipe = popen((tool + " " + arguments + " 2>&1").c_str(), "r");
  std::string output;
  char piece[4096];
  for (size_t n; (n = std::fread(piece, 1, sizeof piece, pipe)) > 0;)
    output.append(piece, n);
  int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}
Result run(const std::string &arguments) { return call(NNOPT_TEST_RUN, arguments); }

std::string artifact(const std::string &name) {
  return std::string(NNOPT_TEST_ARTIFACTS) + "/" + name + ".so";
}

void expect(const Result &r, int status, const std::string &part) {
  EXPECT_EQ(r.status, status) << r.output;
  EXPECT_NE(r.output.find(part), std::string::npos) << r.output;
}

class Tools : public testing::Test {
protected:
  Tools() {
    folder = fs::temp_directory_path() / ("nnopt-tools-" + std::to_string(getpid()));
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~Tools() override { fs::remove_all(folder); }
  std::string file(const std::string &name) const { return (folder / name).string(); }
  void writeInputs(const std::string &name, const std::vector<npz::Entry> &entries) const {
    std::string error;
    ASSERT_TRUE(npz::write(file(name), entries, error)) << error;
  }
  nlohmann::json json(const std::string &name) const {
    return nlohmann::json::parse(readFile(file(name)));
  }

  fs::path folder;
  std::vector<float> x{0, 1, 2, 3, 4, 5};
};

TEST_F(Tools, HelpAndVersion) {
  for (const char *tool : {NNOPT_TEST_RUN, NNOPT_TEST_BENCH}) {
    expect(call(tool, "--help"), 0, "Examples:");
    expect(call(tool, "--help"), 0, "--threads=N");
    expect(call(tool, "--version"), 0, "LLVM");
    expect(call(tool, "--version"), 0, "host CPU");
    expect(call(tool, ""), 2, "name an artifact");
    expect(call(tool, "a.so b.so"), 2, "too many");
    expect(call(tool, "a.so --nonsense"), 2, "unknown option --nonsense");
    expect(call(tool, "a.so --threads=x"), 2, "not a whole number");
    expect(call(tool, "a.so --threads"), 2, "needs a value");
    expect(call(tool, "/nonexistent.so"), 3, "cannot be opened");
    expect(call(tool, artifact("affine") + " --dim m=4"), 2, "no dimension 'm'");
    expect(call(tool, artifact("affine") + " --dim n=2000"), 3, "1 to 1000");
    expect(call(tool, artifact("affine") + " --dim n"), 2, "NAME=VALUE");
  }
}

TEST_F(Tools, RandomInputsAreSeeded) {
  Result a = run(artifact("affine") + " --dim n=4 --outputs " + file("a.npz"));
  expect(a, 0, "output 'y' float32[4,3]");
  expect(a, 0, "latency: median");
  run(artifact("affine") + " --dim=n=4 -o " + file("b.npz"));
  run(artifact("affine") + " --dim n=4 --seed=1 --outputs=" + file("c.npz"));
  EXPECT_EQ(readFile(file("a.npz")), readFile(file("b.npz")));
  EXPECT_NE(readFile(file("a.npz")), readFile(file("c.npz")));
}

TEST_F(Tools, InputsOutputsAndJson) {
  writeInputs("in.npz", {{"x", 'f', 4, {2, 3}, x.data()}});
  expect(run(artifact("affine") + " --copy-weights --inputs=" + file("in.npz")), 0, "output 'y'");
  expect(run(artifact("affine") + " --inputs=" + file("in.npz") + " --outputs=" + file("out.npz") +
             " --json=" + file("run.json") + " --repeat 5 --warmup=2 --threads=2"),
         0, "5 runs, 2 threads");
  npz::Arrays out;
  std::string error;
  ASSERT_TRUE(npz::read(file("out.npz"), out, error)) << error;
  std::vector<float> y(6);
  ASSERT_EQ(out["y"].data.size(), 24u);
  std::memcpy(y.data(), out["y"].data.data(), 24);
  EXPECT_EQ(y, affine(x));
  nlohmann::json j = json("run.json");
  for (const char *key : {"min", "median", "mean"})
    EXPECT_GT(j["latency_ms"][key].get<double>(), 0) << key;
  EXPECT_GT(j["peak_rss_bytes"].get<int64_t>(), 100000);
  EXPECT_EQ(j["arena_bytes"].get<int64_t>(), 24);
  EXPECT_EQ(j["weight_bytes"].get<int64_t>(), 12);
  EXPECT_EQ(j["threads"].get<int>(), 2);
  EXPECT_EQ(j["outputs"][0]["shape"], (std::vector<int>{2, 3}));
  // The JSON can go to stdout.
  Result r = run(artifact("affine") + " --quiet --json=-");
  EXPECT_EQ(nlohmann::json::parse(r.output)["runs"], 1);
}

TEST_F(Tools, DataDependentOutputs) {
  float v[] = {1, -1, 2};
  writeInputs("in.npz", {{"x", 'f', 4, {3}, v}});
  expect(
      run(artifact("positives") + " --inputs " + file("in.npz") + " --outputs " + file("out.npz")),
      0, "output 'y' float32[2]");
  npz::Arrays out;
  std::string error;
  ASSERT_TRUE(npz::read(file("out.npz"), out, error)) << error;
  EXPECT_EQ(out["z"].shape, (std::vector<int64_t>{2}));
}

TEST_F(Tools, WrongInputs) {
  std::string command = artifact("affine") + " --inputs=" + file("in.npz");
  expect(run(command), 3, "in.npz: cannot be read");
  writeInputs("in.npz", {{"z", 'f', 4, {2, 3}, x.data()}});
  expect(run(command), 3, "no array 'x'; the model's inputs are 'x'");
  writeInputs("in.npz", {{"x", 'f', 8, {3}, x.data()}});
  expect(run(command), 3, "array 'x' holds float64, the model's input is float32");
  writeInputs("in.npz", {{"x", 'f', 4, {6}, x.data()}});
  expect(run(command), 3, "the rank is 1");
  writeInputs("in.npz", {{"x", 'f', 4, {3, 2}, x.data()}});
  expect(run(command), 3, "the shape is [3,2], the model's is [n,3]");
  writeInputs("in.npz", {{"x", 'f', 4, {2, 3}, x.data()}, {"extra", 'f', 4, {1}, x.data()}});
  expect(run(command), 0, "array 'extra' is no input");
  expect(run(command + " --outputs=" + file("in.npz")), 2, "is an input file too");
  expect(run(command + " --dim n=1"), 2, "leave it out");
  expect(run(command + " --outputs=/nonexistent/out.npz"), 1, "cannot be written");
  expect(run(command + " --json=/nonexistent/run.json"), 1, "cannot be written");
  expect(run(command + " --device=cuda"), 4, "no GPU code");
  expect(run(command + " --device=tpu"), 2, "neither cpu nor cuda");
  expect(run(file("in.npz")), 3, "not an artifact");
  // Nothing is left beside outputs that could not be written.
  for (const auto &entry : fs::directory_iterator(folder))
    EXPECT_EQ(entry.path().filename(), "in.npz");
}

TEST_F(Tools, ProfileAndTrace) {
  Result r = run(artifact("affine") + " --dim n=100 --repeat=3 --profile");
  expect(r, 0, "GFLOP/s");
  expect(r, 0, "double,twice");
  expect(run(artifact("affine") + " --profile=" + file("trace.json") +
             " --repeat=2 --json=" + file("run.json")),
         0, "share");
  nlohmann::json events = json("trace.json")["traceEvents"];
  ASSERT_EQ(events.size(), 4u); // two launches, two runs; the warm-up is not in it
  EXPECT_EQ(events[0]["name"], "scale");
  EXPECT_EQ(events[0]["ph"], "X");
  EXPECT_EQ(events[1]["args"]["kernel"], "kernel_1");
  EXPECT_GE(events[1]["ts"].get<double>(),
            events[0]["ts"].get<double>() + events[0]["dur"].get<double>());
  EXPECT_EQ(json("run.json")["kernels"].size(), 2u);
}

/// A float32 TensorProto with raw data.
std::string tensorProto(const std::vector<int64_t> &dims, const std::vector<float> &values) {
  std::string out;
  for (int64_t d : dims)
    out += std::string("\x08") + static_cast<char>(d);
  out += std::string("\x10\x01\x4a") + static_cast<char>(values.size() * 4);
  return out + std::string(reinterpret_cast<const char *>(values.data()), values.size() * 4);
}

TEST_F(Tools, Verify) {
  auto write = [&](const std::string &name, const std::string &bytes) {
    FILE *f = std::fopen(file(name).c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), f);
    std::fclose(f);
  };
  for (const char *set : {"test_data_set_0", "test_data_set_1"}) {
    fs::create_directory(folder / set);
    write(std::string(set) + "/input_0.pb", tensorProto({2, 3}, x));
    write(std::string(set) + "/output_0.pb", tensorProto({2, 3}, affine(x)));
  }
  std::string model = artifact("affine");
  expect(run(model + " --verify " + folder.string()), 0, "2 of 2 test data sets match");
  expect(run(model + " --verify=" + file("test_data_set_1")), 0, "1 of 1");
  std::vector<float> wrong = affine(x);
  wrong[4] += 0.1f;
  write("test_data_set_1/output_0.pb", tensorProto({2, 3}, wrong));
  Result r = run(model + " --verify " + folder.string());
  expect(r, 1, "1 of 2 test data sets match");
  expect(r, 1, "1 of 6 elements differ, first at 4: 16, expected 16.1");
  expect(run(model + " --verify " + folder.string() + " --rtol 0 --atol=0.2"), 0, "2 of 2");
  write("test_data_set_1/output_0.pb", tensorProto({3, 2}, wrong));
  expect(run(model + " --verify " + folder.string()), 1, "expected float32[3,2]");
  write("test_data_set_1/output_0.pb", "\x01\x02garbage");
  expect(run(model + " --verify " + folder.string()), 3, "not a valid onnx.TensorProto");
  fs::remove(folder / "test_data_set_1/output_0.pb");
  expect(run(model + " --verify " + folder.string()), 3, "0 output files");
  fs::create_directory(folder / "empty");
  expect(run(model + " --verify " + file("empty")), 3, "no test data");
  expect(run(model + " --verify /nonexistent"), 3, "not a folder");
  expect(run(model + " --verify " + file("empty") + " --inputs=x.npz"), 2, "leave out");
}

TEST_F(Tools, Bench) {
  Result r = call(NNOPT_TEST_BENCH,
                  artifact("affine") + " --repeat=50 --threads=1 --json=" + file("bench.json"));
  for (const char *part : {"50 runs, 1 threads", "min", "p50", "mean", "p90", "p99", "max"})
    expect(r, 0, part);
  nlohmann::json j = json("bench.json");
  EXPECT_EQ(j["runs"], 50);
  EXPECT_LE(j["latency_ms"]["min"].get<double>(), j["latency_ms"]["median"].get<double>());
  EXPECT_LE(j["latency_ms"]["p99"].get<double>(), j["latency_ms"]["max"].get<double>());
  writeInputs("in.npz", {{"x", 'f', 4, {2, 3}, x.data()}});
  expect(call(NNOPT_TEST_BENCH,
              artifact("affine") + " --inputs " + file("in.npz") + " --min-time=0.01"),
         0, "p99");
}

} // namespace

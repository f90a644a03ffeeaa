//===- main.cpp - nnopt-run: runs an artifact -------------------------------===//

#include "tools/common/args.h"
#include "tools/common/hostvalue.h"
#include "tools/common/npz.h"
#include "tools/common/runner.h"
#include "tools/nnopt-run/Profile.h"
#include "tools/nnopt-run/Verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

using namespace nnopt;

static const char usage[] =
    R"(nnopt-run: runs an artifact that nnopt-compile made

Usage:
  nnopt-run MODEL.so [--inputs=in.npz] [--outputs=out.npz] [options]
  nnopt-run MODEL.so --verify DIR [--rtol=R --atol=A]

Inputs are arrays of an .npz file, by the names of the model's inputs; without --inputs they are
random numbers from a seed. Outputs are written to an .npz file in the same way. Latency is that of
the run alone: without loading the artifact or reading and writing arrays.)";

static const char examples[] =
    R"(Examples:
  nnopt-run resnet50.so                                  random inputs; prints outputs and latency
  nnopt-run bert.so --dim batch=1 --dim sequence=128     sizes of dynamic dimensions
  nnopt-run model.so --inputs=in.npz --outputs=out.npz --repeat=20 --warmup=3 --json=run.json
  nnopt-run model.so --profile=trace.json                time per kernel; the trace opens in Perfetto
  nnopt-run model.so --verify test_data_set_0            ONNX test data: input_N.pb, output_N.pb

Exit status: 0 done, 1 failure or mismatch, 2 usage, 3 invalid artifact or inputs, 4 unsupported.
)";

namespace {
struct Settings {
  std::string inputs, outputs, json, trace, device = "cpu", verify;
  std::map<std::string, int64_t> dims;
  int threads = 0, repeat = 1, warmup = -1, seed = 0;
  bool profile = false, quiet = false, copyWeights = false;
  double rtol = 1e-3, atol = 1e-7;
};
} // namespace

/// "output 'y' float32[1,1000]: min -2.1, max 9.3, mean 0.01 | 0.1 0.2 ..."
static void printOutput(const HostTensor &tensor) {
  if (tensor.value) {
    std::printf("output '%s' %s", tensor.name.c_str(), describe(*tensor.value).c_str());
    for (size_t i = 0; tensor.value->kind() == NNOPT_KIND_STRINGS && i < std::min<size_t>(tensor.value->count(), 6); ++i)
      std::printf(" '%s'", tensor.value->string(i).c_str());
    std::printf("\n");
    return;
  }
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t count = tensor.count(), nans = 0;
  for (int64_t i = 0; i < count; ++i) {
    double v = tensor.at(i);
    if (std::isnan(v)) {
      ++nans;
      continue;
    }
    low = std::min(low, v);
    high = std::max(high, v);
    sum += v;
  }
  std::printf("output '%s' %s%s", tensor.name.c_str(), typeInfo(tensor.type)->name,
              shapeText(tensor.shape).c_str());
  if (count > nans)
    std::printf(": min %.5g, max %.5g, mean %.5g |", low, high,
                sum / static_cast<double>(count - nans));
  for (int64_t i = 0; i < std::min<int64_t>(count, 6); ++i)
    std::printf(" %.5g", tensor.at(i));
  std::printf("%s", count > 6 ? " ..." : "");
  if (nans)
    std::printf(" (%lld NaN)", static_cast<long long>(nans));
  std::printf("\n");
}

static void writeOutputs(const std::string &path, const std::vector<HostTensor> &outputs) {
  std::vector<npz::Entry> entries;
  npz::Arrays arrays; // of host values, whose names are in the order of the file
  for (const HostTensor &t : outputs)
    if (t.value)
      addArrays(t.name, *t.value, arrays);
  for (const auto &a : arrays)
    entries.push_back({a.first, a.second.kind, a.second.width, a.second.shape, a.second.data.data()});
  for (const HostTensor &t : outputs)
    if (!t.value)
      entries.push_back({t.name, typeInfo(t.type)->kind, typeInfo(t.type)->width, t.shape, t.data()});
  std::string error;
  if (!npz::write(path, entries, error))
    throw ToolError(1, error);
}

static nlohmann::json describe(const std::vector<HostTensor> &tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const HostTensor &t : tensors)
    list.push_back({{"name", t.name},
                    {"type", t.value ? describe(*t.value) : typeInfo(t.type)->name},
                    {"shape", t.value ? t.value->shape() : t.shape}});
  return list;
}

static int measure(Runner &runner, const std::string &model, const Settings &settings) {
  if (settings.inputs.empty())
    runner.randomInputs(settings.dims, static_cast<unsigned>(settings.seed));
  else
    runner.loadInputs(settings.inputs);
  runner.prepare();
  int warmup = settings.warmup >= 0                      ? settings.warmup
               : settings.repeat > 1 || settings.profile ? 1
                                                         : 0;
  for (int i = 0; i < warmup; ++i)
    runner.run();
  Profile profile;
  if (settings.profile)
    profile.attach(runner.session);
  std::vector<double> times;
  double total = 0;
  for (int i = 0; i < settings.repeat; ++i) {
    times.push_back(runner.run());
    total += times.back();
  }
  Distribution latency(times);
  std::vector<HostTensor> &outputs = runner.outputs();

  if (!settings.outputs.empty())
    writeOutputs(settings.outputs, outputs);
  if (!settings.trace.empty())
    writeText(settings.trace, profile.chromeTrace());
  Roofline roofline;
  if (settings.profile && (!settings.quiet || !settings.json.empty())) {
    // An artifact for CPUs with narrower vectors than these is measured by what it may use.
    const char *bits = nnopt_model_property(runner.model, "vector_bits");
    roofline = settings.device == "cuda" ? Roofline::ofGpu(runner.model)
                                         : Roofline::measure(nnopt_session_threads(runner.session), bits ? std::atoi(bits) : 512);
  }
  if (!settings.json.empty()) {
    nlohmann::json json = runner.memoryJson();
    json["model"] = model;
    json["latency_ms"] = latency.json();
    json["runs"] = settings.repeat;
    json["inputs"] = describe(runner.inputs);
    json["outputs"] = describe(outputs);
    if (settings.profile) {
      json["kernels"] = profile.json(settings.repeat, roofline);
      json["roofline"] = roofline.json();
    }
    writeText(settings.json,
              json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  if (settings.quiet)
    return 0;
  for (const HostTensor &output : outputs)
    printOutput(output);
  if (settings.profile)
    std::fputs(profile.table(total, settings.repeat, roofline).c_str(), stdout);
  int threads = nnopt_session_threads(runner.session);
  std::printf("latency: median %.3f ms, min %.3f, mean %.3f (%d run%s, %d thread%s)\n", latency.p50,
              latency.min, latency.mean, settings.repeat, settings.repeat == 1 ? "" : "s", threads,
              threads == 1 ? "" : "s");
  return 0;
}

static int mainBody(int argc, char **argv) {
  Settings s;
  Args args("nnopt-run", usage, examples);
  args.text("--inputs", "FILE.npz", "inputs by name (default: random numbers)", s.inputs);
  args.text("--outputs", "FILE.npz", "where to write the outputs", s.outputs);
  args.alias("-o", "--outputs");
  args.number("--threads", "N", "threads (default: what affinity and cgroup allow)", s.threads, 0);
  args.number("--repeat", "N", "measured runs (default 1)", s.repeat, 1);
  args.number("--warmup", "N", "runs before them (default: 1 when repeating)", s.warmup, 0);
  args.text("--json", "FILE", "latency, memory and shapes as JSON (- for stdout)", s.json);
  args.optionalText("--profile", "FILE.json", "time and share of the roofline per kernel; with a value also a Chrome trace",
                    s.profile, s.trace);
  args.text("--device", "cpu|cuda", "where to run (default cpu)", s.device);
  args.dim(s.dims);
  args.number("--seed", "N", "seed of random inputs (default 0)", s.seed, 0);
  args.text("--verify", "DIR", "compare with ONNX test data (one data set or a folder of them)",
            s.verify);
  args.real("--rtol", "R", "relative tolerance of --verify (default 1e-3)", s.rtol);
  args.real("--atol", "A", "absolute tolerance of --verify (default 1e-7)", s.atol);
  args.flag("--copy-weights", "read weights into memory (huge pages) in place of mapping the file",
            s.copyWeights);
  args.flag("--quiet", "do not print outputs and latency", s.quiet);
  std::vector<std::string> files = args.parse(argc, argv);
  if (files.size() != 1)
    throw usageError(files.empty() ? "name an artifact: nnopt-run MODEL.so (--help explains)"
                                   : "one artifact expected, '" + files[1] + "' is too many");
  if (s.device != "cpu" && s.device != "cuda")
    throw usageError("--device: '" + s.device + "' is neither cpu nor cuda");
  if (!s.verify.empty() && (!s.inputs.empty() || !s.outputs.empty() || s.profile))
    throw usageError("--verify takes inputs and outputs from its folder: leave out --inputs, "
                     "--outputs and --profile");
  if (!s.inputs.empty() && !s.dims.empty())
    throw usageError("--dim is for random inputs: leave it out with --inputs");
  for (const std::string &written : {s.outputs, s.json, s.trace})
    if (!written.empty() && (written == files[0] || written == s.inputs))
      throw usageError(written + " is an input file too: name another output");

  Runner runner(files[0], s.threads, s.copyWeights, s.device == "cuda" ? kDLCUDA : kDLCPU);
  return s.verify.empty() ? measure(runner, files[0], s)
                          : verifyTestData(runner, s.verify, s.rtol, s.atol);
}

int main(int argc, char **argv) {
  return runTool("nnopt-run", [&] { return mainBody(argc, argv); });
}

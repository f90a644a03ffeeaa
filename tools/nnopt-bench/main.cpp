//===- main.cpp - nnopt-bench: latency of an artifact -----------------------===//

#include "tools/common/args.h"
#include "tools/common/runner.h"

#include <cstdio>

using namespace nnopt;

static const char usage[] =
    R"(nnopt-bench: measures how long an artifact takes to run

Usage:
  nnopt-bench MODEL.so [--threads=N] [--inputs=in.npz] [options]

Runs the model again and again and prints the distribution of latencies. Without --inputs, inputs
are random numbers from a seed. On a machine that does other things too, the minimum is the figure to
compare; p99 and max show what the other things cost.)";

static const char examples[] =
    R"(Examples:
  nnopt-bench resnet50.so --threads=1
  nnopt-bench bert.so --dim batch=1 --dim sequence=128 --min-time=5
  nnopt-bench model.so --inputs=in.npz --repeat=100 --json=-

Exit status: 0 done, 1 failure, 2 usage, 3 invalid artifact or inputs, 4 unsupported.
)";

static int mainBody(int argc, char **argv) {
  std::string inputs, jsonFile;
  std::map<std::string, int64_t> dims;
  int threads = 0, repeat = 0, warmup = 3, seed = 0;
  bool copyWeights = false;
  double minTime = 2;
  Args args("nnopt-bench", usage, examples);
  args.number("--threads", "N", "threads (default: what affinity and cgroup allow)", threads, 0);
  args.text("--inputs", "FILE.npz", "inputs by name (default: random numbers)", inputs);
  args.dim(dims);
  args.number("--seed", "N", "seed of random inputs (default 0)", seed, 0);
  args.number("--repeat", "N", "number of runs (default: as many as --min-time takes, at least 10)",
              repeat, 1);
  args.real("--min-time", "SECONDS", "how long to measure when --repeat is not given (default 2)",
            minTime);
  args.number("--warmup", "N", "runs that are not measured (default 3)", warmup, 0);
  args.flag("--copy-weights", "read weights into memory (huge pages) in place of mapping the file",
            copyWeights);
  args.text("--json", "FILE", "the figures as JSON (- for stdout)", jsonFile);
  args.alias("-o", "--json");
  std::vector<std::string> files = args.parse(argc, argv);
  if (files.size() != 1)
    throw usageError(files.empty() ? "name an artifact: nnopt-bench MODEL.so (--help explains)"
                                   : "one artifact expected, '" + files[1] + "' is too many");
  if (!inputs.empty() && !dims.empty())
    throw usageError("--dim is for random inputs: leave it out with --inputs");
  if (!jsonFile.empty() && (jsonFile == files[0] || jsonFile == inputs))
    throw usageError(jsonFile + " is an input file too: name another output");

  Runner runner(files[0], threads, copyWeights);
  if (inputs.empty())
    runner.randomInputs(dims, static_cast<unsigned>(seed));
  else
    runner.loadInputs(inputs);
  runner.prepare();
  for (int i = 0; i < warmup; ++i)
    runner.run();
  std::vector<double> times;
  double end = nowMs() + minTime * 1000;
  while (repeat ? times.size() < static_cast<size_t>(repeat)
                : times.size() < 10 || (nowMs() < end && times.size() < 1000000))
    times.push_back(runner.run());
  Distribution d(times);
  nlohmann::json json = runner.memoryJson();
  if (jsonFile != "-")
    std::printf("%s: %zu runs, %d threads\n  min %.4f ms\n  p50 %.4f\n  mean %.4f\n  p90 %.4f\n  "
                "p99 %.4f\n  max "
                "%.4f\n  open %.2f ms, arena %.2f MB, weights %.2f MB, peak memory %.1f MB\n",
                files[0].c_str(), times.size(), nnopt_session_threads(runner.session), d.min, d.p50,
                d.mean, d.p90, d.p99, d.max, runner.openMs(),
                json["arena_bytes"].get<double>() / 1e6, json["weight_bytes"].get<double>() / 1e6,
                json["peak_rss_bytes"].get<double>() / 1e6);
  if (!jsonFile.empty()) {
    json["model"] = files[0];
    json["latency_ms"] = d.json();
    json["runs"] = times.size();
    writeText(jsonFile, json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  return 0;
}

int main(int argc, char **argv) {
  return runTool("nnopt-bench", [&] { return mainBody(argc, argv); });
}

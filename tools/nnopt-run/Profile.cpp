//===- Profile.cpp - where the time of a run goes ---------------------------===//

#include "tools/nnopt-run/Profile.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

namespace nnopt {

void Profile::record(void *self, const nnopt_profile_record *record) {
  static_cast<Profile *>(self)->records.push_back(*record);
}

void Profile::attach(nnopt_session *session) {
  records.reserve(1 << 14);
  nnopt_session_set_profiler(session, record, this);
}

std::vector<Profile::Kernel> Profile::kernels() const {
  std::map<std::string, Kernel> byName;
  std::map<std::string, std::set<std::string>> seen;
  for (const nnopt_profile_record &r : records) {
    Kernel &k = byName[r.kernel];
    k.name = r.kernel;
    k.op = r.op;
    if (*r.nodes && seen[r.kernel].insert(r.nodes).second)
      k.nodes += (k.nodes.empty() ? "" : ", ") + std::string(r.nodes);
    ++k.calls;
    k.ns += r.duration_ns;
    // One launch of unknown work makes the sum unknown.
    k.flops = r.flops < 0 || k.flops < 0 ? -1 : k.flops + r.flops;
    k.bytes = r.bytes < 0 || k.bytes < 0 ? -1 : k.bytes + r.bytes;
    k.threads = std::max(k.threads, r.threads);
  }
  std::vector<Kernel> list;
  for (auto &entry : byName)
    list.push_back(std::move(entry.second));
  std::sort(list.begin(), list.end(),
                   [](const Kernel &a, const Kernel &b) { return a.ns != b.ns ? a.ns > b.ns : a.name < b.name; });
  return list;
}

/// Work per nanosecond, which is giga per second; "-" if unknown.
static std::string rate(int64_t work, int64_t ns) {
  if (work <= 0 || ns <= 0)
    return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(work) / static_cast<double>(ns));
  return text;
}

/// Least time over the time that was taken, and which bound that is; "-" if unknown.
static std::string shareOfBound(const Roofline &roofline, int64_t flops, int64_t bytes, int64_t ns) {
  double least = roofline.leastNs(flops, bytes);
  if (least <= 0 || ns <= 0)
    return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f%% %s", 100 * least / static_cast<double>(ns),
                roofline.computes(flops, bytes) ? "FMA" : "DRAM");
  return text;
}

std::string Profile::table(double runMs, int runs, const Roofline &roofline) const {
  std::string out;
  char line[512];
  std::vector<Kernel> list = kernels();
  size_t width = 6;
  for (const Kernel &k : list)
    width = std::max(width, std::min<size_t>(k.name.size(), 48));
  std::snprintf(line, sizeof line, "%6s %6s %10s %4s %9s %7s %9s  %-*s  %s\n", "share", "calls", "ms",
                "thr", "GFLOP/s", "GB/s", "of bound", static_cast<int>(width), "kernel", "ONNX nodes");
  out += line;
  double kernelMs = 0;
  for (const Kernel &k : list) {
    double ms = static_cast<double>(k.ns) / 1e6;
    kernelMs += ms;
    std::string nodes = k.nodes;
    if (nodes.size() > 120)
      nodes = nodes.substr(0, 117) + "...";
    std::snprintf(line, sizeof line, "%5.1f%% %6lld %10.4f %4d %9s %7s %9s  %-*s  %s\n",
                  runMs > 0 ? 100 * ms / runMs : 0, static_cast<long long>(k.calls / runs),
                  ms / runs, k.threads, rate(k.flops, k.ns).c_str(), rate(k.bytes, k.ns).c_str(),
                  shareOfBound(roofline, k.flops, k.bytes, k.ns).c_str(), static_cast<int>(width), k.name.c_str(), nodes.c_str());
    out += line;
  }
  double leastMs = 0;
  for (const Kernel &k : list)
    leastMs += roofline.leastNs(k.flops, k.bytes) / 1e6;
  auto last = [&](double share, double ms, const std::string &bound, const char *what) {
    std::snprintf(line, sizeof line, "%5.1f%% %6s %10.4f %4s %9s %7s %9s  %s\n", share, "", ms, "", "", "", bound.c_str(), what);
    out += line;
  };
  last(runMs > 0 ? 100 * (runMs - kernelMs) / runMs : 0, (runMs - kernelMs) / runs, "", "(outside of kernels)");
  char bound[16] = "";
  if (runMs > 0 && leastMs > 0)
    std::snprintf(bound, sizeof bound, "%.0f%%", 100 * leastMs / runMs);
  last(100, runMs / runs, bound, "one run, measured with profiling on");
  return out + roofline.text();
}

std::string Profile::chromeTrace() const {
  nlohmann::json events = nlohmann::json::array();
  int64_t start = records.empty() ? 0 : records.front().start_ns;
  for (const nnopt_profile_record &r : records) {
    nlohmann::json args = {{"kernel", r.kernel},
                           {"nodes", r.nodes},
                           {"run", r.run},
                           {"tasks", r.tasks},
                           {"threads", r.threads}};
    if (r.flops > 0 && r.duration_ns > 0)
      args["GFLOP/s"] = static_cast<double>(r.flops) / static_cast<double>(r.duration_ns);
    if (r.bytes > 0 && r.duration_ns > 0)
      args["GB/s"] = static_cast<double>(r.bytes) / static_cast<double>(r.duration_ns);
    events.push_back({{"name", *r.nodes ? r.nodes : r.kernel},
                      {"cat", r.op},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", static_cast<double>(r.start_ns - start) / 1e3},
                      {"dur", static_cast<double>(r.duration_ns) / 1e3},
                      {"args", args}});
  }
  nlohmann::json trace = {{"displayTimeUnit", "ns"}, {"traceEvents", events}};
  return trace.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

nlohmann::json Profile::json(int runs, const Roofline &roofline) const {
  nlohmann::json list = nlohmann::json::array();
  for (const Kernel &k : kernels())
    list.push_back({{"kernel", k.name},
                    {"op", k.op},
                    {"nodes", k.nodes},
                    {"calls", k.calls / runs},
                    {"ms", static_cast<double>(k.ns) / 1e6 / runs},
                    {"flops", k.flops / runs},
                    {"bytes", k.bytes / runs},
                    {"bound_ms", roofline.leastNs(k.flops, k.bytes) / 1e6 / runs}});
  return list;
}

} // namespace nnopt

//===- Profile.h - where the time of a run goes -----------------*- C++ -*-===//
#ifndef NNOPT_TOOLS_NNOPT_RUN_PROFILE_H
#define NNOPT_TOOLS_NNOPT_RUN_PROFILE_H

#include "nnopt/runtime.h"
#include "tools/nnopt-run/Roofline.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nnopt {

/// Collects the launches of a session.
class Profile {
public:
  /// Starts collecting.
  void attach(nnopt_session *session);
  void detach(nnopt_session *session) { nnopt_session_set_profiler(session, nullptr, nullptr); }
  /// A table with one line a kernel, slowest first; `runMs` is the time of all `runs` together.
  std::string table(double runMs, int runs, const Roofline &roofline) const;
  /// For chrome://tracing and Perfetto.
  std::string chromeTrace() const;
  /// The table's figures.
  nlohmann::json json(int runs, const Roofline &roofline) const;

private:
  struct Kernel {
    std::string name, op, nodes;
    int64_t calls = 0, ns = 0, flops = 0, bytes = 0;
    int threads = 0;
  };
  static void record(void *self, const nnopt_profile_record *record);
  std::vector<Kernel> kernels() const;
  std::vector<nnopt_profile_record> records;
};

} // namespace nnopt

#endif

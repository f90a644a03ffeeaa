//===- Progress.cpp - one line about long work ------------------------------===//

#include "lib/driver/Driver.h"
#include <unistd.h>

namespace nnopt {

using Clock = std::chrono::steady_clock;
static double seconds(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

Progress::Progress(bool enabled) : enabled(enabled && isatty(2)), start(Clock::now()), stageStart(start) {}
Progress::~Progress() { finish(); }

void Progress::stage(llvm::StringRef name) {
  if (!current.empty())
    done.push_back({current, seconds(stageStart)});
  current = name.str();
  stageStart = Clock::now();
  draw(-1);
}

void Progress::fraction(double f) { draw(f); }

void Progress::draw(double f) {
  if (!enabled || current.empty())
    return;
  fprintf(stderr, "\r\033[K[%5.1f s] %s", seconds(start), current.c_str());
  if (f >= 0)
    fprintf(stderr, " %3.0f %%", 100 * f);
  if (double spent = seconds(stageStart); f > 0.03 && f < 1 && spent > 2)
    fprintf(stderr, ", about %.0f s left", spent / f * (1 - f));
  fflush(stderr);
}

void Progress::finish() {
  if (!current.empty())
    done.push_back({current, seconds(stageStart)});
  if (enabled && !current.empty()) {
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
  }
  current.clear();
}

std::vector<std::pair<std::string, double>> Progress::times() const { return done; }

} // namespace nnopt

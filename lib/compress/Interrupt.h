//===- Interrupt.h - Ctrl-C in a search --------------------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_INTERRUPT_H
#define NNOPT_LIB_COMPRESS_INTERRUPT_H

#include <atomic>
#include <csignal>
#include <exception>

namespace nnopt::compress {

/// While it lives, the first SIGINT is only noted; a second one ends the process.
class Interrupt {
public:
  Interrupt() {
    noted = false;
    previous = std::signal(SIGINT, [](int) {
      noted = true;
      std::signal(SIGINT, SIG_DFL);
    });
  }
  ~Interrupt() { std::signal(SIGINT, previous); }
  Interrupt(const Interrupt &) = delete;

  static bool happened() { return noted; }

private:
  inline static std::atomic<bool> noted = false;
  void (*previous)(int);
};

/// Thrown where nothing is there yet that could be kept.
struct Interrupted : std::exception {};

} // namespace nnopt::compress

#endif

//===- Budget.h - what a compressed model may cost --------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_BUDGET_H
#define NNOPT_LIB_COMPRESS_BUDGET_H

#include <optional>
#include <string>

namespace nnopt::compress {

/// --budget=drop=0.5%,latency=0.5x,size=25MB,memory=0.5x
struct Budget {
  /// A share of what the default artifact has ("0.5x"), or an amount in milliseconds or bytes.
  struct Amount {
    double value;
    bool relative;
    double of(double reference) const { return relative ? value * reference : value; }
  };
  std::string drop; // its unit depends on the metric; empty: none
  std::optional<Amount> latency, size, memory;

  /// Throws ToolError (exit 2).
  static Budget parse(const std::string &text);
};

} // namespace nnopt::compress

#endif

//===- Budget.cpp - what a compressed model may cost ------------------------===//

#include "lib/compress/Budget.h"
#include "tools/common/tensor.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cmath>
#include <cstdlib>

namespace nnopt::compress {

Budget Budget::parse(const std::string &text) {
  Budget budget;
  auto bad = [&](const std::string &why) { return ToolError(2, "--budget=" + text + ": " + why); };
  auto amount = [&](llvm::StringRef s, std::initializer_list<std::pair<const char *, double>> units,
                    const char *examples) {
    std::string owned = s.str();
    char *end = nullptr;
    double value = std::strtod(owned.c_str(), &end);
    if (end != owned.c_str() && value > 0 && std::isfinite(value)) {
      if (std::string(end) == "x")
        return Amount{value, true};
      for (auto [unit, factor] : units)
        if (std::string(end) == unit)
          return Amount{value * factor, false};
    }
    throw bad("'" + owned + "' is no amount like " + examples);
  };
  auto bytes = [&](llvm::StringRef s) {
    return amount(s, {{"MB", 1e6}, {"KB", 1e3}, {"GB", 1e9}, {"B", 1}}, "0.25x or 25MB");
  };
  llvm::SmallVector<llvm::StringRef> parts;
  llvm::StringRef(text).split(parts, ',');
  for (llvm::StringRef part : parts) {
    auto [name, value] = part.split('=');
    if (name == "drop" && !value.empty() && budget.drop.empty())
      budget.drop = value.str();
    else if (name == "latency" && !budget.latency)
      budget.latency = amount(value, {{"ms", 1}, {"us", 1e-3}, {"s", 1e3}}, "0.5x or 5ms");
    else if (name == "size" && !budget.size)
      budget.size = bytes(value);
    else if (name == "memory" && !budget.memory)
      budget.memory = bytes(value);
    else
      throw bad("expected drop=AMOUNT, latency=AMOUNT, size=AMOUNT and memory=AMOUNT, each once, with commas between");
  }
  return budget;
}

} // namespace nnopt::compress

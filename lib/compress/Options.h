//===- Options.h - what the user asks of compression ------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_OPTIONS_H
#define NNOPT_LIB_COMPRESS_OPTIONS_H

#include <optional>
#include <string>

namespace nnopt {

struct CompressionOptions {
  std::string calib, eval;  // npz files
  std::string metric;       // empty: top1 where there are class labels, else cosine
  std::string budget;       // drop=0.5%,latency=0.5x,size=25MB
  std::string quantize;     // "int8": that technique by itself, everywhere
  std::string recipeIn, recipeOut;
  std::optional<std::string> recipe; // the text of a recipe, in place of all of these

  /// Whether the model is to be changed beyond exact rewrites.
  bool active() const { return recipe || !recipeIn.empty() || !budget.empty() || !quantize.empty(); }
};

} // namespace nnopt

#endif

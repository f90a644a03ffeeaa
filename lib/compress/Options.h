//===- Options.h - what the user asks of compression ------------*- C++ -*-===//
#ifndef NNOPT_LIB_COMPRESS_OPTIONS_H
#define NNOPT_LIB_COMPRESS_OPTIONS_H

#include <memory>
#include <string>

namespace nnopt {

namespace compress {
struct Recipe;
}

struct CompressionOptions {
  std::string calib, eval; // npz files
  std::string metric;      // empty: top1 where there are class labels, else cosine
  std::string budget;      // drop=0.5%,latency=0.5x,size=25MB
  std::string technique;   // one by itself: "quantize", with what to do in `spec`: "int8"
  std::string spec;
  std::string structured; // what --prune=structured: says, ahead of all else
  std::string recipeIn, recipeOut;
  std::shared_ptr<const compress::Recipe> recipe; // in place of all of these

  /// Whether the model is to be changed beyond exact rewrites.
  bool active() const {
    return recipe || !recipeIn.empty() || !budget.empty() || !technique.empty() ||
           !structured.empty();
  }
};

} // namespace nnopt

#endif

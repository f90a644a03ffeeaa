//===- Layout.h - operations with channels last -----------------*- C++ -*-===//
#ifndef NNOPT_BACKEND_ONNX_OPS_LAYOUT_H
#define NNOPT_BACKEND_ONNX_OPS_LAYOUT_H

#include "lib/backend/onnx/Exporter.h"

namespace nnopt::onnx {

/// Permutations from channels last to channels first and back.
inline Ints toChannelsFirst(int64_t rank) {
  Ints perm = {0, rank - 1};
  for (int64_t i = 1; i < rank - 1; ++i)
    perm.push_back(i);
  return perm;
}
inline Ints toChannelsLast(int64_t rank) {
  Ints perm = {0};
  for (int64_t i = 2; i < rank; ++i)
    perm.push_back(i);
  perm.push_back(1);
  return perm;
}

/// The node of an operation on x and parameters; ONNX has channels first only, so that an
/// operation with channels last is put between transposes.
inline void finishPlain(OpExport &e, llvm::StringRef type, mlir::Value x, llvm::ArrayRef<std::string> parameters, Attrs attrs,
                        bool channelsLast) {
  Names inputs = {channelsLast ? e.transpose(e.name(x), toChannelsFirst(rankOf(x))) : e.name(x)};
  inputs.append(parameters.begin(), parameters.end());
  if (channelsLast)
    e.finish("Transpose", {e.step(type, inputs, std::move(attrs))}, {intsAttr("perm", toChannelsLast(rankOf(x)))});
  else
    e.finish(type, inputs, std::move(attrs));
}

} // namespace nnopt::onnx

#endif

//===- Heads.h - attention heads in the last dimension ----------*- C++ -*-===//
#ifndef NNOPT_FRONTEND_ONNX_OPS_HEADS_H
#define NNOPT_FRONTEND_ONNX_OPS_HEADS_H

#include "lib/frontend/onnx/Importer.h"

namespace nnopt::onnx {

/// [batch, sequence, heads * size] as [batch, heads, sequence, size].
inline Value splitHeads(Node &n, Value v, int64_t heads) {
  Dim hidden = n.dim(v, 2);
  if (hidden.isConst() && hidden.value() % heads != 0)
    n.invalid(llvm::Twine(heads) + " heads do not divide a hidden size of " + llvm::Twine(hidden.value()));
  int64_t size = hidden.isConst() ? hidden.value() / heads : -1;
  return n.transpose(n.reshape(v, {0, 0, heads, size}), {0, 2, 1, 3});
}

/// [batch, heads, sequence, size] as [batch, sequence, heads * size].
inline Value mergeHeads(Node &n, Value v) {
  Dim heads = n.dim(v, 1), size = n.dim(v, 3);
  int64_t hidden = heads.isConst() && size.isConst() ? heads.value() * size.value() : -1;
  return n.reshape(n.transpose(v, {0, 2, 1, 3}), {0, 0, hidden});
}

/// Rotates pairs of the first `part` elements (all of them without it) of each row of x, [batch, heads, sequence,
/// size], by angles that depend on the position; cos and sin are [batch or 1, sequence, part / 2].
Value rotate(Node &n, Value x, Value cos, Value sin, std::optional<int64_t> part, bool interleaved);

} // namespace nnopt::onnx

#endif

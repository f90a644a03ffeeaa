//===- NarrowToBf16.h - linear operations with bf16 operands ----*- C++ -*-===//
#ifndef NNOPT_PASSES_NARROWTOBF16_H
#define NNOPT_PASSES_NARROWTOBF16_H

#include "passes/common/Rewrite.h"

namespace nnopt {

/// Why a linear operation does not get bf16 operands; empty when it does. `winograd`: leave convolutions to Winograd's
/// algorithms where they are faster.
std::string whyNotBf16(nn::LinearOp op, bool winograd = true);

} // namespace nnopt

#endif

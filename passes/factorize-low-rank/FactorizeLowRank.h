//===- FactorizeLowRank.h - linear operations in stages ---------*- C++ -*-===//
#ifndef NNOPT_PASSES_FACTORIZE_LOW_RANK_FACTORIZELOWRANK_H
#define NNOPT_PASSES_FACTORIZE_LOW_RANK_FACTORIZELOWRANK_H

#include "lib/compress/LinearLayer.h"
#include "passes/factorize-low-rank/Factorize.h"

namespace nnopt::lowrank {

/// The columns of a layer's weights.
ColumnShape columnShapeOf(const compress::LinearLayer &layer);

/// The layer computed in stages, beside it; the last one adds `bias` where it is not all zeros. The
/// factors are of its size.
mlir::Value inStages(mlir::RewriterBase &rewriter, const compress::LinearLayer &layer,
                     const Factors &factors, const Vector &bias);

} // namespace nnopt::lowrank

#endif

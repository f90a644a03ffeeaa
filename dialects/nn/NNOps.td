//===- NNOps.td - operations of the nn dialect, by family -------*- tablegen -*-===//
#ifndef NN_OPS_TD
#define NN_OPS_TD

include "dialects/nn/NNElementwiseOps.td"
include "dialects/nn/NNDataMovementOps.td"
include "dialects/nn/NNReductionOps.td"
include "dialects/nn/NNContractionOps.td"
include "dialects/nn/NNSamplingOps.td"
include "dialects/nn/NNControlFlowOps.td"
include "dialects/nn/NNHostOps.td"
include "dialects/nn/NNClassicalOps.td"

#endif // NN_OPS_TD

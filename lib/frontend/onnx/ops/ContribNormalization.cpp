//===- ContribNormalization.cpp - com.microsoft: normalization ------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// input, skip, gamma, then beta (not of the simplified form) and bias.
void importSkipNorm(Node &n) {
  bool simplified = n.op() == "SkipSimplifiedLayerNormalization";
  Value x = n.in(0), gamma = n.in(2);
  n.needFloat(x);
  n.needRank(x, 2);
  n.needSameType({x, n.in(1), gamma});
  Value sum = n.make<nn::AddOp>(x, n.in(1));
  if (Value bias = n.optIn(simplified ? 3 : 4))
    sum = n.make<nn::AddOp>(sum, bias);
  auto axis = n.i64(n.rank(x) - 1);
  auto epsilon = n.f64(n.f("epsilon", 1e-12f));
  if (simplified)
    n.out(0, n.make<nn::RMSNormOp>(sum, gamma, axis, epsilon));
  else
    n.out(0, n.make<nn::LayerNormOp>(sum, gamma, n.optIn(3), axis, epsilon));
  n.out(3, sum);
}

/// The normalization of the sum of what the ids look up.
void importEmbedLayerNorm(Node &n) {
  Value ids = n.in(0), segments = n.optIn(1), words = n.in(2), positions = n.in(3), mask = n.optIn(7);
  n.needRank(ids, 2, 2);
  n.needInt(ids);
  n.needFloat(words);
  n.ignore({"mask_index_type"});
  Value sum = n.make<nn::GatherOp>(words, ids, n.i64(0));
  Value position = n.optIn(8);
  if (!position) // 0, 1, ... for every sequence
    position = n.unsqueeze(n.countTo(n.sizeOf(ids, 1)), {0});
  sum = n.make<nn::AddOp>(sum, n.make<nn::GatherOp>(positions, position, n.i64(0)));
  if (segments)
    sum = n.make<nn::AddOp>(sum, n.make<nn::GatherOp>(n.in(4), segments, n.i64(0)));
  n.out(0, n.make<nn::LayerNormOp>(sum, n.in(5), n.in(6), n.i64(2), n.f64(n.f("epsilon", 1e-12f))));
  if (n.isUsed(1)) {
    // How many ones each row of the mask has.
    Type i32 = n.b().getI32Type();
    Value ones = mask ? n.convert(n.make<nn::EqualOp>(mask, n.number(1, n.elt(mask))), i32)
                      : n.make<nn::MulOp>(n.convert(ids, i32), n.number(0, i32));
    n.out(1, n.reduce(ones, nn::ReduceKind::sum, {1}, false));
  }
  n.out(2, sum);
}

/// GroupNorm, and SkipGroupNorm with a skip connection and a bias before it.
void importGroupNorm(Node &n) {
  Value x = n.in(0), gamma = n.in(1), beta = n.in(2);
  bool last = n.i("channels_last", 1);
  int64_t rank = n.rank(x), groups = n.i("groups"), channelAxis = last ? rank - 1 : 1;
  n.needFloat(x);
  n.needRank(x, 3);
  if (Value skip = n.optIn(3)) {
    if (n.rank(skip) == 2) { // [N, C]
      Ints axes;
      for (int64_t a = 1; a < rank; ++a)
        if (a != channelAxis)
          axes.push_back(a);
      skip = n.unsqueeze(skip, axes);
    }
    x = n.make<nn::AddOp>(x, skip);
    if (Value bias = n.optIn(4)) {
      Ints after;
      for (int64_t a = 1; a < rank - channelAxis; ++a)
        after.push_back(a);
      x = n.make<nn::AddOp>(x, after.empty() ? bias : n.unsqueeze(bias, after));
    }
  }
  Dim channels = n.dim(x, channelAxis);
  if (!channels.isConst())
    n.unsupported("shape", "the number of channels must be static");
  if (groups < 1 || channels.value() % groups != 0)
    n.invalid("groups does not divide the channels");
  Type type = n.elt(x);
  Value y = n.make<nn::GroupNormOp>(x, n.convert(gamma, type), n.convert(beta, type), n.i64(groups),
                                    n.f64(n.f("epsilon", 1e-5f)), n.flag(last));
  int64_t activation = n.i("activation", 0);
  if (activation != 0 && activation != 1)
    n.invalid("attribute 'activation' must be 0 or 1");
  n.out(0, activation ? n.make<nn::SiluOp>(y, n.f64(1)) : y);
  n.out(1, x);
}

} // namespace

void registerContribNormalization(Registry &r) {
  r.add("com.microsoft.SkipLayerNormalization", 3, 5, importSkipNorm, 4, 1);
  r.add("com.microsoft.SkipSimplifiedLayerNormalization", 3, 4, importSkipNorm, 4, 1);
  r.add("com.microsoft.EmbedLayerNormalization", 7, 9, importEmbedLayerNorm, 3, 1);
  r.add("com.microsoft.GroupNorm", 3, 3, importGroupNorm, 1, 1);
  r.add("com.microsoft.SkipGroupNorm", 4, 5, importGroupNorm, 2, 1);
}

} // namespace nnopt::onnx

//===- Features.cpp - import rules of feature preparation of ai.onnx.ml ---===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// A list with one entry for all features or one for each.
Value perFeature(Node &n, ArrayRef<double> values, Type type, Value x) {
  Dim features = n.dim(x, n.rank(x) - 1);
  if (values.size() != 1 && features.isConst() && features.value() != int64_t(values.size()))
    n.invalid("there are " + Twine(values.size()) + " entries for " + features.str() + " features");
  return n.numbersConstant(values, type);
}

void importArrayFeatureExtractor(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 1);
  n.needInt(n.in(1));
  Value columns = n.reshape(n.in(1), {-1});
  Value y = n.make<nn::GatherOp>(x, columns, n.i64(n.rank(x) - 1));
  n.out(0, n.rank(x) == 1 ? n.unsqueeze(y, {0}) : y);
}

void importBinarizer(Node &n) {
  Value x = n.in(0);
  Value above = n.make<nn::GreaterOp>(x, n.number(n.f("threshold", 0), n.elt(x)));
  n.out(0, n.convert(above, n.elt(x)));
}

void importScaler(Node &n) {
  Type f32 = n.b().getF32Type();
  n.needRank(n.in(0), 1);
  Value x = n.convert(n.in(0), f32);
  if (auto offset = n.floats("offset"))
    x = n.make<nn::SubOp>(x, perFeature(n, *offset, f32, x));
  if (auto scale = n.floats("scale"))
    x = n.make<nn::MulOp>(x, perFeature(n, *scale, f32, x));
  n.out(0, x);
}

void importImputer(Node &n) {
  Value x = n.in(0);
  n.needRank(x, 1);
  auto floats = n.floats("imputed_value_floats");
  auto ints = n.ints("imputed_value_int64s");
  double replaced = n.f("replaced_value_float", 0);
  int64_t replacedInt = n.i("replaced_value_int64", 0);
  bool isFloat = isa<FloatType>(n.elt(x));
  if (isFloat ? !floats : !ints)
    n.invalid("there are no imputed values of the operand's type");
  Value missing = isFloat && std::isnan(replaced)
                      ? n.make<nn::IsNaNOp>(x)
                      : n.make<nn::EqualOp>(x, isFloat ? n.number(replaced, n.elt(x))
                                                       : n.convert(n.intConstant(replacedInt), n.elt(x)));
  Value values = isFloat ? perFeature(n, *floats, n.elt(x), x) : n.convert(n.intsConstant(*ints), n.elt(x));
  n.out(0, n.make<nn::WhereOp>(missing, values, x));
}

void importNormalizer(Node &n) {
  Value x = n.convert(n.in(0), n.b().getF32Type());
  n.needRank(x, 1);
  std::string norm = n.s("norm", "MAX");
  auto kind = llvm::StringSwitch<std::optional<nn::ReduceKind>>(norm)
                  .Case("MAX", nn::ReduceKind::max)
                  .Case("L1", nn::ReduceKind::l1)
                  .Case("L2", nn::ReduceKind::l2)
                  .Default(std::nullopt);
  if (!kind)
    n.invalid("attribute 'norm' must be MAX, L1 or L2");
  Value size = n.reduce(x, *kind, {int64_t(n.rank(x)) - 1}, true);
  Value isZero = n.make<nn::EqualOp>(size, n.number(0, n.elt(x)));
  n.out(0, n.make<nn::DivOp>(x, n.make<nn::WhereOp>(isZero, n.number(1, n.elt(x)), size)));
}

void importFeatureVectorizer(Node &n) {
  Ints sizes = n.ints("inputdimensions").value_or(Ints());
  Type f32 = n.b().getF32Type();
  Values parts;
  for (auto [i, v] : enumerate(n.allIn())) {
    Value x = n.convert(v, f32);
    if (n.rank(x) == 1)
      x = n.unsqueeze(x, {0});
    n.needRank(x, 2, 2);
    if (i < sizes.size()) {
      // A count that is not known is padded by all that may be missing, then cut.
      Dim have = n.dim(x, 1);
      int64_t missing = sizes[i] - (have.isConst() ? have.value() : 0);
      if (missing > 0)
        x = n.make<nn::PadOp>(x, n.intsConstant({0, 0, 0, missing}), Value(), Value(),
                              nn::PadModeAttr::get(n.ctx(), nn::PadMode::constant));
      if (missing < 0 || !have.isConst())
        x = n.slice(x, 1, 0, sizes[i]);
    }
    parts.push_back(x);
  }
  n.out(0, n.make<nn::ConcatOp>(parts, n.i64(1)));
}

} // namespace

void registerFeatures(Registry &r) {
  r.add("ai.onnx.ml.ArrayFeatureExtractor", 2, 2, importArrayFeatureExtractor);
  r.add("ai.onnx.ml.Binarizer", 1, 1, importBinarizer);
  r.add("ai.onnx.ml.Scaler", 1, 1, importScaler);
  r.add("ai.onnx.ml.Imputer", 1, 1, importImputer);
  r.add("ai.onnx.ml.Normalizer", 1, 1, importNormalizer);
  r.add("ai.onnx.ml.FeatureVectorizer", 1, Registry::any, importFeatureVectorizer);
  r.accept(Operands::Moved, {"ai.onnx.ml.ArrayFeatureExtractor"});
}

} // namespace nnopt::onnx

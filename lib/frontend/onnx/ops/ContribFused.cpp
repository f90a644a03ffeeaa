//===- ContribFused.cpp - com.microsoft: fused products, activations ------===//
#include "lib/frontend/onnx/ModelFile.h"
#include "lib/frontend/onnx/ops/Contraction.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// An activation by its ONNX name, with its parameters in the order of its attributes (defaults where
/// absent).
Value activate(Node &n, Value x, StringRef name, ArrayRef<std::optional<double>> given) {
  auto parameter = [&](unsigned i, double otherwise) {
    return n.f64(i < given.size() && given[i] ? *given[i] : otherwise);
  };
  if (name.empty())
    return x;
  if (name == "Relu")
    return n.make<nn::ReluOp>(x);
  if (name == "Tanh")
    return n.make<nn::TanhOp>(x);
  if (name == "Sigmoid")
    return n.make<nn::SigmoidOp>(x);
  if (name == "Softplus")
    return n.make<nn::SoftplusOp>(x);
  if (name == "Softsign")
    return n.make<nn::SoftsignOp>(x);
  if (name == "HardSwish")
    return n.make<nn::HardSwishOp>(x);
  if (name == "LeakyRelu")
    return n.make<nn::LeakyReluOp>(x, parameter(0, 0.01f));
  if (name == "Elu")
    return n.make<nn::EluOp>(x, parameter(0, 1));
  if (name == "ThresholdedRelu")
    return n.make<nn::ThresholdedReluOp>(x, parameter(0, 1));
  if (name == "Selu")
    return n.make<nn::SeluOp>(x, parameter(0, 1.67326319217681884765625f),
                              parameter(1, 1.05070102214813232421875f));
  if (name == "HardSigmoid")
    return n.make<nn::HardSigmoidOp>(x, parameter(0, 0.2f), parameter(1, 0.5f));
  if (name == "Clip") {
    constexpr double highest = std::numeric_limits<float>::max();
    Type type = n.elt(x);
    return n.make<nn::ClipOp>(x, n.number(parameter(0, -highest).getValueAsDouble(), type),
                              n.number(parameter(1, highest).getValueAsDouble(), type));
  }
  n.unsupported("attribute 'activation'", "activation '" + name + "' is not supported");
}

void importFusedConv(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  n.needSameType({x, n.in(1)});
  Value y = convolution(n, x, n.in(1), n.optIn(2));
  if (n.hasIn(3))
    y = n.make<nn::AddOp>(y, n.in(3));
  SmallVector<std::optional<double>> parameters;
  if (const pb::AttributeProto *a = n.attr("activation_params"))
    parameters.append(a->floats().begin(), a->floats().end());
  n.out(0, activate(n, y, n.s("activation", ""), parameters));
}

void importFusedGemm(Node &n) {
  Value y = gemm(n);
  n.out(0, activate(n, y, n.s("activation", ""),
                    {n.optF("activation_alpha"), n.optF("activation_beta")}));
  n.ignore({"activation_gamma"}); // of no activation there is
}

/// `transBatch`: the operand is [rows, batch..., columns].
void importFusedMatMul(Node &n) {
  Value a = n.in(0), b = n.in(1);
  n.needSameType({a, b});
  auto moveBatch = [&](Value v, const char *attribute) {
    int64_t rank = n.rank(v);
    if (!n.i(attribute, 0) || rank < 3)
      return v;
    Ints perm;
    for (int64_t i = 1; i < rank - 1; ++i)
      perm.push_back(i);
    perm.append({0, rank - 1});
    return n.transpose(v, perm);
  };
  a = moveBatch(a, "transBatchA");
  b = moveBatch(b, "transBatchB");
  // A vector is not transposed.
  bool transposeA = n.i("transA", 0) && n.rank(a) > 1, transposeB = n.i("transB", 0) && n.rank(b) > 1;
  Value y = n.matmul(a, b, {}, transposeA, transposeB);
  if (double alpha = n.f("alpha", 1); alpha != 1)
    y = n.make<nn::MulOp>(y, n.number(alpha, n.elt(y)));
  n.out(0, y);
}

Value plusBias(Node &n) { return n.hasIn(1) ? n.make<nn::AddOp>(n.in(0), n.in(1)) : n.in(0); }

void importGelu(Node &n) {
  n.needFloat(n.in(0));
  n.out(0, n.make<nn::GeluOp>(plusBias(n), n.flag(n.op() == "FastGelu")));
}

void importQuickGelu(Node &n) {
  Value x = n.in(0);
  n.needFloat(x);
  double alpha = n.f("alpha", 1.702f);
  if (alpha == 1) {
    n.out(0, n.make<nn::SiluOp>(x, n.f64(1)));
    return;
  }
  Value gate = n.make<nn::SigmoidOp>(n.make<nn::MulOp>(x, n.number(alpha, n.elt(x))));
  n.out(0, n.make<nn::MulOp>(x, gate));
}

/// The left half of x + bias times gelu of the right half.
void importBiasSplitGelu(Node &n) {
  n.needFloat(n.in(0));
  Value x = plusBias(n);
  int64_t last = n.rank(x) - 1;
  Dim size = n.dim(x, last);
  if (!size.isConst())
    n.unsupported("shape", "the last dimension must be static");
  int64_t half = size.value() / 2;
  Value right = n.make<nn::GeluOp>(n.slice(x, last, half, 2 * half), n.flag(false));
  n.out(0, n.make<nn::MulOp>(n.slice(x, last, 0, half), right));
}

} // namespace

void registerContribFused(Registry &r) {
  r.add("com.microsoft.FusedConv", 2, 4, importFusedConv, 1, 1);
  r.add("com.microsoft.FusedGemm", 2, 3, importFusedGemm, 1, 1);
  r.add("com.microsoft.FusedMatMul", 2, 2, importFusedMatMul, 1, 1);
  r.add("com.microsoft.TransposeMatMul", 2, 2, importFusedMatMul, 1, 1);
  r.add("com.microsoft.Gelu", 1, 1, importGelu, 1, 1);
  r.add("com.microsoft.BiasGelu", 2, 2, importGelu, 1, 1);
  r.add("com.microsoft.FastGelu", 1, 2, importGelu, 1, 1);
  r.add("com.microsoft.QuickGelu", 1, 1, importQuickGelu, 1, 1);
  r.add("com.microsoft.BiasSplitGelu", 2, 2, importBiasSplitGelu, 1, 1);
}

} // namespace nnopt::onnx

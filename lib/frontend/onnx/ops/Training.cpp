//===- Training.cpp - import rules of optimizers --------------------------===//
//
// ai.onnx.preview.training: one step of an optimizer on any number of tensors. The operands are the
// learning rate, how many steps were done before, then all tensors, all their gradients, and all of each
// kind of state; the results are the new tensors, then the new states.
//
//===----------------------------------------------------------------------===//
#include "lib/frontend/onnx/Importer.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// Elementwise arithmetic in the type of one of the tensors.
struct Step {
  Node &n;
  Type type;

  Value number(double v) { return n.number(v, type); }
  Value add(Value a, Value b) { return n.make<nn::AddOp>(a, b); }
  Value sub(Value a, Value b) { return n.make<nn::SubOp>(a, b); }
  Value mul(Value a, Value b) { return n.make<nn::MulOp>(a, b); }
  Value mul(double a, Value b) { return a == 1 ? b : mul(number(a), b); }
  Value div(Value a, Value b) { return n.make<nn::DivOp>(a, b); }
  Value sqrt(Value a) { return n.make<nn::SqrtOp>(a); }
  Value rate() { return n.convert(n.scalar(n.in(0)), type); }
  Value count() { return n.convert(n.scalar(n.in(1)), type); }
  /// Whether this is not the first step.
  Value isLater() { return n.make<nn::GreaterOp>(count(), number(0)); }
  /// The gradient of the loss with norm_coefficient / 2 * |x|^2 added.
  Value regularized(Value x, Value gradient) {
    double norm = n.f("norm_coefficient", 0);
    return norm == 0 ? gradient : add(mul(norm, x), gradient);
  }
};

/// Calls `update(step, operands of one tensor)`, which returns its results, for every tensor.
void forTensors(Node &n, unsigned kinds, llvm::function_ref<Values(Step &, ArrayRef<Value>)> update) {
  unsigned count = (n.numInputs() - 2) / kinds, results = kinds - 1;
  if (n.numInputs() != 2 + count * kinds || count == 0 || n.numOutputs() > count * results)
    n.invalid("its numbers of inputs and outputs do not fit");
  n.needInt(n.in(1));
  for (unsigned t = 0; t < count; ++t) {
    Values operands;
    for (unsigned kind = 0; kind < kinds; ++kind)
      operands.push_back(n.in(2 + kind * count + t));
    n.needFloat(operands[0]);
    n.needSameType(operands);
    Step step{n, n.elt(operands[0])};
    Values updated = update(step, operands);
    for (unsigned r = 0; r < results; ++r)
      if (r * count + t < n.numOutputs())
        n.out(r * count + t, updated[r]);
  }
}

void importAdagrad(Node &n) {
  double decay = n.f("decay_factor", 0), epsilon = n.f("epsilon", 1e-6f);
  forTensors(n, 3, [&](Step &s, ArrayRef<Value> in) -> Values {
    Value x = in[0], g = s.regularized(x, in[1]), h = s.add(in[2], s.mul(g, g));
    Value rate = s.div(s.rate(), s.add(s.number(1), s.mul(decay, s.count())));
    Value change = s.div(s.mul(rate, g), s.add(s.sqrt(h), s.number(epsilon)));
    return {s.sub(x, change), h};
  });
}

void importAdam(Node &n) {
  double alpha = n.f("alpha", 0.9f), beta = n.f("beta", 0.999f), epsilon = n.f("epsilon", 1e-6f);
  double post = n.f("norm_coefficient_post", 0);
  forTensors(n, 4, [&](Step &s, ArrayRef<Value> in) -> Values {
    Value x = in[0], g = s.regularized(x, in[1]);
    Value v = s.add(s.mul(alpha, in[2]), s.mul(1 - alpha, g));
    Value h = s.add(s.mul(beta, in[3]), s.mul(1 - beta, s.mul(g, g)));
    auto oneMinusPower = [&](double base) {
      return s.sub(s.number(1), n.make<nn::PowOp>(s.number(base), s.count()));
    };
    // Both averages begin at 0; the correction is not defined before the first step.
    Value corrected = s.div(s.mul(s.rate(), s.sqrt(oneMinusPower(beta))), oneMinusPower(alpha));
    Value rate = n.make<nn::WhereOp>(s.isLater(), corrected, s.rate());
    Value next = s.sub(x, s.mul(rate, s.div(v, s.add(s.sqrt(h), s.number(epsilon)))));
    return {s.mul(1 - post, next), v, h};
  });
}

void importMomentum(Node &n) {
  std::string mode = n.s("mode", "");
  if (mode != "standard" && mode != "nesterov")
    n.invalid("attribute 'mode' must be standard or nesterov");
  if (!n.hasAttr("alpha") || !n.hasAttr("beta"))
    n.invalid("attributes 'alpha' and 'beta' are needed");
  double alpha = n.f("alpha", 0), beta = n.f("beta", 0);
  forTensors(n, 3, [&](Step &s, ArrayRef<Value> in) -> Values {
    Value x = in[0], g = s.regularized(x, in[1]);
    Value factor = n.make<nn::WhereOp>(s.isLater(), s.number(beta), s.number(1));
    Value v = s.add(s.mul(alpha, in[2]), s.mul(factor, g));
    Value direction = mode == "nesterov" ? s.add(g, s.mul(alpha, v)) : v;
    return {s.sub(x, s.mul(s.rate(), direction)), v};
  });
}

} // namespace

void registerTraining(Registry &r) {
  constexpr StringLiteral domain = "ai.onnx.preview.training";
  r.add(ruleKey(domain, "Adagrad"), 5, Registry::any, importAdagrad, Registry::any, 1);
  r.add(ruleKey(domain, "Adam"), 6, Registry::any, importAdam, Registry::any, 1);
  r.add(ruleKey(domain, "Momentum"), 5, Registry::any, importMomentum, Registry::any, 1);
}

} // namespace nnopt::onnx

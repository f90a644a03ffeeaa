//===- Recurrent.cpp - what lstm, gru and rnn have in common --------------===//
#include "lib/codegen/cpu/irregular/Recurrent.h"

using namespace mlir;
namespace nnopt::cpu {

Recurrent::Recurrent(Operation *operation, Lowering &lowering) {
  auto common = [&](auto op) {
    x = op.getX(), w = op.getW(), r = op.getR(), bias = op.getBias();
    lengths = op.getSequenceLens(), initialH = op.getInitialH();
    y = op.getY(), yH = op.getYH();
    direction = op.getDirection();
    for (Attribute name : op.getActivations())
      activations.push_back(cast<StringAttr>(name).getValue().lower());
    if (op.getClip())
      clip = op.getClip()->convertToDouble();
  };
  if (auto lstm = dyn_cast<nn::LSTMOp>(operation)) {
    common(lstm);
    kind = LSTM, gates = 4, functions = 3;
    initialC = lstm.getInitialC(), peephole = lstm.getPeephole(), yC = lstm.getYC();
    inputForget = lstm.getInputForget();
  } else if (auto gru = dyn_cast<nn::GRUOp>(operation)) {
    common(gru);
    kind = GRU, gates = 3, functions = 2;
    linearBeforeReset = gru.getLinearBeforeReset();
  } else {
    common(cast<nn::RNNOp>(operation));
    kind = RNN;
  }
  directions = direction == nn::Direction::bidirectional ? 2 : 1;
  const nn::Dims &xDims = lowering.dims(x);
  sequence = xDims[0], batch = xDims[1], input = xDims[2];
  hidden = lowering.dims(r)[2];
  static const char *defaults[][3] = {{"sigmoid", "tanh", "tanh"}, {"sigmoid", "tanh", ""}, {"tanh", "", ""}};
  while (activations.size() < functions * directions)
    activations.push_back(defaults[kind][activations.size() % functions]);
}

namespace {
struct Activation {
  StringRef name;
  double alpha, beta; // where none are given
};
} // namespace

static const Activation knownActivations[] = {
    {"relu", 0, 0},      {"tanh", 0, 0},          {"sigmoid", 0, 0},    {"softsign", 0, 0},
    {"softplus", 0, 0},  {"affine", 1, 0},        {"leakyrelu", 0.01, 0}, {"thresholdedrelu", 1, 0},
    {"scaledtanh", 1, 1}, {"hardsigmoid", 0.2, 0.5}, {"elu", 1, 0}};

/// Splits `name:alpha:beta`.
static std::optional<Activation> parseActivation(StringRef text) {
  SmallVector<StringRef> parts;
  text.split(parts, ':');
  for (const Activation &known : knownActivations) {
    if (known.name != parts[0])
      continue;
    Activation a = known;
    if ((parts.size() > 1 && parts[1].getAsDouble(a.alpha)) || (parts.size() > 2 && parts[2].getAsDouble(a.beta)))
      return std::nullopt;
    return a;
  }
  return std::nullopt;
}

bool isKnownActivation(StringRef name) { return parseActivation(name).has_value(); }

Value Cell::apply(StringRef text, Value v) {
  Activation a = *parseActivation(text);
  Type type = v.getType();
  auto c = [&](double value) { return k.constant(type, value); };
  auto exp = [&](Value x) -> Value { return math::ExpOp::create(k.b, k.loc, x); };
  auto tanh = [&](Value x) -> Value { return math::TanhOp::create(k.b, k.loc, x); };
  auto div = [&](Value x, Value y) -> Value { return arith::DivFOp::create(k.b, k.loc, x, y); };
  auto abs = [&](Value x) -> Value { return math::AbsFOp::create(k.b, k.loc, x); };
  auto max = [&](Value x, Value y) -> Value { return arith::MaximumFOp::create(k.b, k.loc, x, y); };
  auto min = [&](Value x, Value y) -> Value { return arith::MinimumFOp::create(k.b, k.loc, x, y); };
  auto less = [&](Value x, double y) -> Value {
    return arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OLT, x, c(y));
  };
  if (a.name == "sigmoid")
    return div(c(1), add(c(1), exp(sub(c(0), v))));
  if (a.name == "tanh")
    return tanh(v);
  if (a.name == "relu")
    return max(v, c(0));
  if (a.name == "softsign")
    return div(v, add(c(1), abs(v)));
  if (a.name == "softplus") // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
    return add(max(v, c(0)), math::Log1pOp::create(k.b, k.loc, exp(sub(c(0), abs(v)))));
  if (a.name == "affine")
    return add(mul(c(a.alpha), v), c(a.beta));
  if (a.name == "leakyrelu")
    return k.select(less(v, 0), mul(c(a.alpha), v), v);
  if (a.name == "thresholdedrelu")
    return k.select(less(v, a.alpha), c(0), v);
  if (a.name == "scaledtanh")
    return mul(c(a.alpha), tanh(mul(c(a.beta), v)));
  if (a.name == "hardsigmoid")
    return min(max(add(mul(c(a.alpha), v), c(a.beta)), c(0)), c(1));
  assert(a.name == "elu");
  return k.select(less(v, 0), mul(c(a.alpha), sub(exp(min(v, c(0))), c(1))), v);
}

Value Cell::activate(unsigned slot, Value v, bool clipped) {
  if (info.clip && clipped) {
    v = arith::MinimumFOp::create(k.b, k.loc, v, k.constant(v.getType(), *info.clip));
    v = arith::MaximumFOp::create(k.b, k.loc, v, k.constant(v.getType(), -*info.clip));
  }
  StringRef first = info.activations[slot];
  if (info.directions == 1 || first == info.activations[info.functions + slot])
    return apply(first, v);
  return k.ifElse(
      direction == 0, v.getType(), [&] { return SmallVector<Value>{apply(first, v)}; },
      [&] { return SmallVector<Value>{apply(info.activations[info.functions + slot], v)}; })[0];
}

std::pair<Value, Value> Cell::lstm(Value i, Value o, Value f, Value g, Value c, Value pi, Value po, Value pf) {
  if (pi) {
    i = add(i, mul(pi, c));
    f = add(f, mul(pf, c));
  }
  i = activate(0, i);
  f = info.inputForget ? sub(k.constant(i.getType(), 1), i) : activate(0, f);
  Value next = add(mul(f, c), mul(i, activate(1, g)));
  if (po)
    o = add(o, mul(po, next));
  // The specification clips the input of activations; like onnxruntime we take that to mean the sums of
  // the gates, and not the cell state.
  return {next, mul(activate(0, o), activate(2, next, /*clipped=*/false))};
}

Value Cell::gru(Value z, Value n, Value h) { return add(mul(sub(k.constant(z.getType(), 1), z), n), mul(z, h)); }

Ix Cell::position(Ix t, Ix length) {
  switch (info.direction) {
  case nn::Direction::forward:
    return t;
  case nn::Direction::reverse:
    return length - 1 - t;
  case nn::Direction::bidirectional:
    return k.selectIx(direction == 0, t, length - 1 - t);
  }
  llvm_unreachable("all directions are handled");
}

} // namespace nnopt::cpu

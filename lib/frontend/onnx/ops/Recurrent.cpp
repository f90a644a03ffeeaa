//===- Recurrent.cpp - import rules of LSTM, GRU, RNN ---------------------===//
#include "lib/frontend/onnx/Importer.h"
#include "llvm/Support/Format.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {
namespace {

/// What the three cells have in common, checked, with layout 0.
struct Cell {
  Value x, w, r, bias, lens, h0;
  nn::DirectionAttr direction;
  ArrayAttr activations;
  FloatAttr clip;
  bool batchFirst;
};

/// An activation of a cell, and its parameters where the node gives none.
struct Activation {
  StringRef name;
  std::optional<double> alpha, beta;
};

/// Names in lower case with their parameters, `leakyrelu:0.01`. The lists activation_alpha and activation_beta have
/// entries only for those activations that have such a parameter, in their order.
ArrayAttr readActivations(Node &n, ArrayRef<std::string> names) {
  static const Activation known[] = {{"sigmoid", {}, {}},
                                     {"tanh", {}, {}},
                                     {"relu", {}, {}},
                                     {"softsign", {}, {}},
                                     {"softplus", {}, {}},
                                     {"affine", 1., 0.},
                                     {"leakyrelu", 0.01f, {}},
                                     {"thresholdedrelu", 1., {}},
                                     {"scaledtanh", 1., 1.},
                                     {"hardsigmoid", 0.2f, 0.5},
                                     {"elu", 1., {}}};
  std::vector<double> alphas = n.floats("activation_alpha").value_or(std::vector<double>());
  std::vector<double> betas = n.floats("activation_beta").value_or(std::vector<double>());
  size_t nextAlpha = 0, nextBeta = 0;
  std::vector<std::string> texts;
  for (StringRef name : names) {
    auto it = find_if(known, [&](const Activation &a) { return name.equals_insensitive(a.name); });
    if (it == std::end(known))
      n.invalid("unknown activation '" + name + "'");
    std::string text = it->name.str();
    auto add = [&](std::optional<double> otherwise, const std::vector<double> &given, size_t &next) {
      if (otherwise)
        raw_string_ostream(text) << format(":%.9g", next < given.size() ? given[next++] : *otherwise);
    };
    add(it->alpha, alphas, nextAlpha);
    add(it->beta, betas, nextBeta);
    texts.push_back(text);
  }
  SmallVector<StringRef> refs(texts.begin(), texts.end());
  return n.b().getStrArrayAttr(refs);
}

Cell readCell(Node &n, int64_t gates, ArrayRef<StringRef> defaults) {
  Cell c;
  c.x = n.in(0);
  c.w = n.in(1);
  c.r = n.in(2);
  c.bias = n.optIn(3);
  c.lens = n.optIn(4);
  c.h0 = n.optIn(5);
  n.needFloat(c.x);
  n.needSameType({c.x, c.w, c.r});
  n.needRank(c.x, 3, 3);
  n.needRank(c.w, 3, 3);
  n.needRank(c.r, 3, 3);
  std::string direction = n.s("direction", "forward");
  auto kind = nn::symbolizeDirection(direction);
  if (!kind)
    n.invalid("unknown direction '" + direction + "'");
  c.direction = nn::DirectionAttr::get(n.ctx(), *kind);
  int64_t directions = *kind == nn::Direction::bidirectional ? 2 : 1;

  std::vector<std::string> names;
  if (auto given = n.strings("activations"))
    names = *given;
  else
    for (int64_t d = 0; d < directions; ++d)
      names.insert(names.end(), defaults.begin(), defaults.end());
  size_t wanted = directions * defaults.size();
  // RNN's default in the schema lists both directions.
  if (names.size() > wanted && n.op() == "RNN")
    names.resize(wanted);
  if (names.size() != wanted)
    n.invalid("attribute 'activations' has " + Twine(names.size()) + " entries, " + Twine(wanted) +
              " are needed");
  c.activations = readActivations(n, names);
  n.ignore({"output_sequence"});
  if (auto clip = n.optF("clip"))
    c.clip = n.f64(*clip);

  Dim hidden = n.dim(c.r, 2);
  if (n.hasAttr("hidden_size") && hidden.isConst() && hidden.value() != n.i("hidden_size"))
    n.invalid("attribute 'hidden_size' contradicts the weights");
  auto need = [&](Value v, unsigned axis, Dim want, const char *what) {
    if (n.dim(v, axis).isConst() && want.isConst() && n.dim(v, axis) != want)
      n.invalid(Twine(what) + " has dimension " + n.dim(v, axis).str() + " where " + want.str() +
                " is needed");
  };
  Dim count = n.shapes().constant(directions);
  for (auto [v, what] : {std::pair(c.w, "W"), std::pair(c.r, "R")}) {
    need(v, 0, count, what);
    need(v, 1, hidden * gates, what);
  }
  need(c.w, 2, n.dim(c.x, 2), "W");
  if (c.bias) {
    n.needRank(c.bias, 2, 2);
    n.needSameType({c.x, c.bias});
    need(c.bias, 0, count, "B");
    need(c.bias, 1, hidden * (2 * gates), "B");
  }
  if (c.lens) {
    n.needInt(c.lens);
    n.needRank(c.lens, 1, 1);
  }
  if (c.h0) {
    n.needSameType({c.x, c.h0});
    n.needRank(c.h0, 3, 3);
  }
  c.batchFirst = n.i("layout", 0);
  if (c.batchFirst) {
    c.x = n.transpose(c.x, {1, 0, 2});
    if (c.h0)
      c.h0 = n.transpose(c.h0, {1, 0, 2});
  }
  return c;
}

/// With layout 1, y is [batch, sequence, directions, hidden] and states are [batch, directions,
/// hidden].
void setOutputs(Node &n, const Cell &c, Operation *op) {
  n.infer(op);
  for (auto [i, v] : enumerate(op->getResults())) {
    if (i >= n.numOutputs())
      break;
    if (!c.batchFirst)
      n.out(i, v);
    else if (n.isUsed(i))
      n.out(i, n.transpose(v, i == 0 ? ArrayRef<int64_t>({2, 0, 1, 3})
                                     : ArrayRef<int64_t>({1, 0, 2})));
  }
}

void importLSTM(Node &n) {
  Cell c = readCell(n, 4, {"Sigmoid", "Tanh", "Tanh"});
  Value c0 = n.optIn(6), peephole = n.optIn(7);
  for (Value v : {c0, peephole})
    if (v)
      n.needSameType({c.x, v});
  if (c0) {
    n.needRank(c0, 3, 3);
    if (c.batchFirst)
      c0 = n.transpose(c0, {1, 0, 2});
  }
  Type t = n.placeholder();
  setOutputs(n, c,
             nn::LSTMOp::create(n.b(), n.location(), t, t, t, c.x, c.w, c.r, c.bias, c.lens, c.h0,
                                c0, peephole, c.direction, c.activations, c.clip,
                                n.flag(n.i("input_forget", 0))));
}

void importGRU(Node &n) {
  Cell c = readCell(n, 3, {"Sigmoid", "Tanh"});
  Type t = n.placeholder();
  setOutputs(n, c,
             nn::GRUOp::create(n.b(), n.location(), t, t, c.x, c.w, c.r, c.bias, c.lens, c.h0,
                               c.direction, c.activations, c.clip,
                               n.flag(n.i("linear_before_reset", 0))));
}

void importRNN(Node &n) {
  Cell c = readCell(n, 1, {"Tanh"});
  Type t = n.placeholder();
  setOutputs(n, c,
             nn::RNNOp::create(n.b(), n.location(), t, t, c.x, c.w, c.r, c.bias, c.lens, c.h0,
                               c.direction, c.activations, c.clip));
}

} // namespace

void registerRecurrent(Registry &r) {
  r.add("LSTM", 3, 8, importLSTM, 3);
  r.add("GRU", 3, 6, importGRU, 2);
  r.add("RNN", 3, 6, importRNN, 2);
}

} // namespace nnopt::onnx

//===- Contraction.cpp - import rules of Gemm, MatMul, Einsum -------------===//
#include "lib/frontend/onnx/ops/Contraction.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace llvm;
using namespace mlir;

namespace nnopt::onnx {

/// alpha * a b + beta * c. A c of one number for each column becomes the bias of the product.
Value gemm(Node &n) {
  Value a = n.in(0), b = n.in(1), c = n.optIn(2);
  n.needRank(a, 2, 2);
  n.needRank(b, 2, 2);
  n.needSameType({a, b});
  bool transposeA = n.i("transA", 0), transposeB = n.i("transB", 0);
  double alpha = n.f("alpha", 1), beta = n.f("beta", 1);
  Type type = n.elt(a);
  if (!isa<FloatType>(type) && (alpha != 1 || beta != 1))
    n.unsupported("type", "alpha and beta other than 1 need floating point operands");
  if (c) {
    n.needSameType({a, c});
    n.needRank(c, 0, 2);
    if (beta == 0)
      c = Value();
    else if (beta != 1)
      c = n.make<nn::MulOp>(c, n.number(beta, type));
  }
  Value bias;
  Dim columns = n.dim(b, transposeB ? 0 : 1);
  if (c && alpha == 1 && n.rank(c) >= 1) {
    bool row = n.rank(c) == 1 || n.dim(c, 0).isConst(1);
    // Equal to the number of columns: a c of size 1 broadcasts instead.
    if (row && n.dims(c).back() == columns) {
      bias = n.rank(c) == 1 ? c : n.squeeze(c, {0});
      c = Value();
    }
  }
  Value result = n.matmul(a, b, bias, transposeA, transposeB);
  if (alpha != 1)
    result = n.make<nn::MulOp>(result, n.number(alpha, type));
  if (c) {
    // c broadcasts to the product, never the other way.
    for (auto [i, d] : enumerate(llvm::reverse(n.dims(c)))) {
      Dim r = n.dim(result, 1 - i);
      if (d.isConst() && r.isConst() && !d.isConst(1) && d != r)
        n.invalid("C does not broadcast to the result");
    }
    result = n.make<nn::AddOp>(result, c);
  }
  return result;
}

namespace {

void importMatMul(Node &n) {
  n.needSameType({n.in(0), n.in(1)});
  n.needRank(n.in(0), 1);
  n.needRank(n.in(1), 1);
  n.out(0, n.matmul(n.in(0), n.in(1)));
}

/// An explicit equation without spaces and ellipses: dimensions of an ellipsis get letters of their
/// own, the implicit output has the letters that occur once, in alphabetical order.
std::string explicitEquation(Node &n, StringRef text) {
  std::string equation;
  for (char c : text)
    if (c != ' ')
      equation.push_back(c);
  bool isExplicit = StringRef(equation).contains("->");
  auto [left, right] = StringRef(equation).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != n.numInputs())
    n.invalid("the equation has " + Twine(terms.size()) + " terms for " + Twine(n.numInputs()) +
              " operands");
  auto letters = [&](StringRef term) {
    size_t count = 0;
    for (char c : term) {
      if (isAlpha(c))
        ++count;
      else if (c != '.')
        n.invalid(Twine("the equation holds the character '") + Twine(c) + "'");
    }
    return count;
  };
  // Letters not in use stand for the dimensions of the ellipsis, right-aligned.
  std::string unused;
  for (char c : StringRef("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
    if (!StringRef(equation).contains(c))
      unused.push_back(c);
  size_t widest = 0;
  for (auto [i, term] : enumerate(terms)) {
    size_t count = letters(term), rank = n.rank(n.in(i));
    bool dots = term.contains("...");
    if (term.count('.') != (dots ? 3 : 0) || (dots ? count > rank : count != rank))
      n.invalid("term '" + term + "' of the equation does not fit an operand of rank " +
                Twine(rank));
    if (dots)
      widest = std::max(widest, rank - count);
  }
  letters(right);
  if (widest > unused.size())
    n.unsupported("attribute 'equation'", "has too many dimensions");
  StringRef names = StringRef(unused).take_front(widest);
  auto expand = [&](StringRef term, size_t dims) {
    size_t at = term.find("...");
    if (at == StringRef::npos)
      return term.str();
    return (term.take_front(at) + names.take_back(dims) + term.drop_front(at + 3)).str();
  };
  std::string result;
  for (auto [i, term] : enumerate(terms)) {
    if (i)
      result += ",";
    result += expand(term, n.rank(n.in(i)) - letters(term));
  }
  if (isExplicit) {
    if (right.count('.') != (right.contains("...") ? 3 : 0))
      n.invalid("the output of the equation is malformed");
    std::string out = expand(right, widest);
    for (auto [i, c] : enumerate(out))
      if (!StringRef(result).contains(c) || StringRef(out).find(c, i + 1) != StringRef::npos)
        n.invalid(Twine("output letter '") + Twine(c) + "' of the equation is unknown or repeated");
    return result + "->" + out;
  }
  std::string out = names.str();
  for (char c = 'A'; c <= 'z'; ++c)
    if (isAlpha(c) && !names.contains(c) && StringRef(result).count(c) == 1)
      out.push_back(c);
  return result + "->" + out;
}

void importEinsum(Node &n) {
  Values all = n.allIn();
  n.needSameType(all);
  if (!n.hasAttr("equation"))
    n.invalid("attribute 'equation' is missing");
  std::string equation = explicitEquation(n, n.s("equation", ""));
  n.out(0, n.make<nn::EinsumOp>(all, n.b().getStringAttr(equation)));
}

void importDet(Node &n) {
  n.needFloat(n.in(0));
  n.needRank(n.in(0), 2);
  n.out(0, n.make<nn::DetOp>(n.in(0)));
}

} // namespace

void registerContraction(Registry &r) {
  r.add("MatMul", 2, 2, importMatMul);
  r.add("Gemm", 2, 3, [](Node &n) {
    n.ignore({"broadcast"}); // of opset 6, where the third operand needs it to be smaller than the result
    n.out(0, gemm(n));
  });
  r.add("Det", 1, 1, importDet, 1, 11);
  r.add("Einsum", 1, Registry::any, importEinsum, 1, 12);
}

} // namespace nnopt::onnx

//===- DimPolynomial.cpp - polynomials over symbolic atoms ----------------===//
#include "dialects/nn/DimPolynomial.h"

namespace nnopt::nn {

using Kind = Dim::Kind;

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

void addTerm(Polynomial &p, const Monomial &m, int64_t c) {
  auto [it, isNew] = p.try_emplace(m, c);
  if (!isNew)
    it->second = addSaturated(it->second, c);
  if (it->second == 0)
    p.erase(it);
}

void addTerms(Polynomial &p, Dim d, int64_t factor) {
  switch (d.kind()) {
  case Kind::Const:
    addTerm(p, {}, mulSaturated(d.value(), factor));
    return;
  case Kind::Add:
    for (Dim term : d.operands())
      addTerms(p, term, factor);
    return;
  case Kind::Mul: {
    Monomial m;
    for (Dim atom : d.operands()) {
      if (atom.isConst())
        factor = mulSaturated(factor, atom.value());
      else
        m.push_back(atom);
    }
    addTerm(p, m, factor);
    return;
  }
  default:
    addTerm(p, {d}, factor);
  }
}

Polynomial toPolynomial(Dim d) {
  Polynomial p;
  addTerms(p, d, 1);
  return p;
}

Monomial multiply(const Monomial &a, const Monomial &b) {
  Monomial m;
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(m), ById());
  return m;
}

std::optional<Monomial> divide(const Monomial &a, const Monomial &b) {
  if (!std::includes(a.begin(), a.end(), b.begin(), b.end(), ById()))
    return std::nullopt;
  Monomial m;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(m), ById());
  return m;
}

void subtractProduct(Polynomial &p, const Monomial &m, int64_t c, const Polynomial &q) {
  for (auto &[mono, coef] : q)
    addTerm(p, multiply(mono, m), mulSaturated(mulSaturated(coef, c), -1));
}

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

static Interval intervalOf(const Monomial &m, int64_t c) {
  // Products of non-negative factors only; anything else is unbounded.
  std::optional<int64_t> low = 1, high = 1;
  for (Dim atom : m) {
    auto [l, h] = intervalOf(atom);
    if (!l || *l < 0)
      return {};
    low = mulSaturated(*low, *l);
    high = high && h ? std::optional(mulSaturated(*high, *h)) : std::nullopt;
  }
  auto scale = [&](std::optional<int64_t> v) {
    return v ? std::optional(mulSaturated(*v, c)) : std::nullopt;
  };
  return c >= 0 ? Interval{scale(low), scale(high)} : Interval{scale(high), scale(low)};
}

static Interval intervalOf(const Polynomial &p) {
  Interval sum{0, 0};
  for (auto &[m, c] : p) {
    Interval term = intervalOf(m, c);
    if (m.size() == 1) {
      auto [l, h] = intervalOf(m.front());
      if (c < 0)
        std::swap(l, h);
      term = {l ? std::optional(mulSaturated(*l, c)) : std::nullopt,
              h ? std::optional(mulSaturated(*h, c)) : std::nullopt};
    }
    sum.first = sum.first && term.first ? std::optional(addSaturated(*sum.first, *term.first))
                                        : std::nullopt;
    sum.second = sum.second && term.second ? std::optional(addSaturated(*sum.second, *term.second))
                                           : std::nullopt;
  }
  return sum;
}

Interval intervalOf(Dim d) {
  switch (d.kind()) {
  case Kind::Const:
    return {d.value(), d.value()};
  case Kind::Symbol: {
    auto [low, high] = d.context().bounds(d);
    return {low == kMinInt ? std::nullopt : std::optional(low), high};
  }
  case Kind::Add:
  case Kind::Mul:
    return intervalOf(toPolynomial(d));
  case Kind::FloorDiv: {
    auto [al, ah] = intervalOf(d.operands()[0]);
    auto [bl, bh] = intervalOf(d.operands()[1]);
    Interval r;
    if (!bl || *bl < 1)
      bl = 1; // The divisor is positive by contract.
    if (al && *al >= 0)
      r.first = bh ? *al / *bh : 0;
    else if (al)
      r.first = floorDivide(*al, *bl);
    if (ah && *ah >= 0)
      r.second = *ah / *bl;
    else if (ah)
      r.second = bh ? floorDivide(*ah, *bh) : -1;
    return r;
  }
  case Kind::Mod: {
    auto bh = intervalOf(d.operands()[1]).second;
    Interval r{0, bh ? std::optional(*bh - 1) : std::nullopt};
    auto [al, ah] = intervalOf(d.operands()[0]);
    if (al && *al >= 0 && ah)
      r.second = r.second ? std::min(*r.second, *ah) : *ah;
    return r;
  }
  case Kind::Min:
  case Kind::Max:
  case Kind::Broadcast: {
    // Below: min and broadcast need every lower bound, max any; above: the other way around.
    bool isMin = d.kind() == Kind::Min, isMax = d.kind() == Kind::Max;
    Interval r = intervalOf(d.operands().front());
    for (Dim o : d.operands().drop_front()) {
      auto [l, h] = intervalOf(o);
      if (isMax)
        r.first = r.first && l ? std::optional(std::max(*r.first, *l)) : (l ? l : r.first);
      else
        r.first = r.first && l ? std::optional(std::min(*r.first, *l)) : std::nullopt;
      if (isMin)
        r.second = r.second && h ? std::optional(std::min(*r.second, *h)) : (h ? h : r.second);
      else
        r.second = r.second && h ? std::optional(std::max(*r.second, *h)) : std::nullopt;
    }
    return r;
  }
  }
  llvm_unreachable("unknown kind");
}

/// Proves p >= 0: by intervals, by dividing out common non-negative factors, or by replacing an
/// atom with something that makes p smaller.
bool isNonNegative(const Polynomial &p, unsigned depth) {
  if (auto low = intervalOf(p).first)
    if (*low >= 0)
      return true;
  if (depth == 0)
    return false;
  // All terms share an atom that is at least 0.
  if (!p.empty() && !p.begin()->first.empty()) {
    for (Dim atom : p.begin()->first) {
      auto low = intervalOf(atom).first;
      if (!low || *low < 0 ||
          !llvm::all_of(p, [&](auto &t) { return llvm::is_contained(t.first, atom); }))
        continue;
      Polynomial q;
      for (auto &[m, c] : p)
        addTerm(q, *divide(m, {atom}), c);
      return isNonNegative(q, depth - 1);
    }
  }
  for (const auto &term : p) {
    const Monomial &m = term.first;
    int64_t c = term.second;
    if (m.size() != 1)
      continue;
    Dim atom = m.front();
    Kind kind = atom.kind();
    // -min(a, b) >= -a and max(a, b) >= a.
    if ((kind == Kind::Min && c < 0) || (kind == Kind::Max && c > 0)) {
      for (Dim o : atom.operands()) {
        Polynomial q = p;
        q.erase(m);
        addTerms(q, o, c);
        if (isNonNegative(q, depth - 1))
          return true;
      }
    }
    // min(a, b) and -max(a, b) are one of the two: both must do.
    if ((kind == Kind::Min && c > 0) || (kind == Kind::Max && c < 0)) {
      if (llvm::all_of(atom.operands(), [&](Dim o) {
            Polynomial q = p;
            q.erase(m);
            addTerms(q, o, c);
            return isNonNegative(q, depth - 1);
          }))
        return true;
    }
    // a - k + 1 <= k * (a floordiv k) <= a: scale everything by k and replace.
    if (kind == Kind::FloorDiv && atom.operands()[1].isConst()) {
      int64_t k = atom.operands()[1].value();
      Polynomial q;
      for (auto &[mono, coef] : p)
        if (mono != m)
          addTerm(q, mono, mulSaturated(coef, k));
      addTerms(q, atom.operands()[0], c);
      if (c > 0)
        addTerm(q, {}, mulSaturated(c, 1 - k));
      if (isNonNegative(q, depth - 1))
        return true;
    }
    // -(a mod b) >= -a for a >= 0.
    if (kind == Kind::Mod && c < 0 && atom.operands()[0].isAtLeast(0)) {
      Polynomial q = p;
      q.erase(m);
      addTerms(q, atom.operands()[0], c);
      if (isNonNegative(q, depth - 1))
        return true;
    }
  }
  return false;
}

} // namespace nnopt::nn

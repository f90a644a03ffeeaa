//===- Dim.cpp - normal form and simplification of dimensions -------------===//
//
// Every expression is a polynomial with integer coefficients over atoms: symbols, and quotients,
// remainders, minima, maxima and broadcasts of other expressions. The normal form lists the
// monomials in a fixed order; nodes are uniqued, so equal polynomials are the same node. Rewrites
// of atoms are applied when they are built, so that their operands are in normal form already.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/DimPolynomial.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringMap.h"
#include <numeric>

namespace nnopt::nn {

using Kind = Dim::Kind;

using detail::DimNode;

//===----------------------------------------------------------------------===//
// Context
//===----------------------------------------------------------------------===//

struct DimContext::Impl {
  DimContext *context;
  llvm::FoldingSet<DimNode> unique;
  std::vector<std::unique_ptr<DimNode>> nodes;
  llvm::StringMap<Dim> byName;
  std::vector<Dim> symbols;
  llvm::DenseMap<const void *, std::pair<int64_t, std::optional<int64_t>>> bounds;

  Dim get(Kind kind, int64_t value, llvm::StringRef name, llvm::ArrayRef<Dim> operands) {
    llvm::FoldingSetNodeID id;
    DimNode::profile(id, kind, value, name, operands);
    void *position;
    if (DimNode *found = unique.FindNodeOrInsertPos(id, position))
      return Dim(found);
    auto node = std::make_unique<DimNode>();
    node->kind = kind;
    node->value = value;
    node->name = name.str();
    node->operands.assign(operands.begin(), operands.end());
    node->context = context;
    node->id = nodes.size();
    unique.InsertNode(node.get(), position);
    nodes.push_back(std::move(node));
    return Dim(nodes.back().get());
  }

  Dim fromTerm(const Monomial &m, int64_t c) {
    if (m.empty())
      return get(Kind::Const, c, "", {});
    llvm::SmallVector<Dim, 4> operands;
    if (c != 1)
      operands.push_back(get(Kind::Const, c, "", {}));
    operands.append(m.begin(), m.end());
    return operands.size() == 1 ? operands.front() : get(Kind::Mul, 0, "", operands);
  }

  Dim fromPolynomial(const Polynomial &p) {
    if (p.empty())
      return get(Kind::Const, 0, "", {});
    llvm::SmallVector<Dim, 4> terms;
    for (auto &[m, c] : p)
      terms.push_back(fromTerm(m, c));
    return terms.size() == 1 ? terms.front() : get(Kind::Add, 0, "", terms);
  }

  /// Repeated products grow without end; beyond these sizes they become a name of their own.
  static constexpr size_t kMaxTerms = 256, kMaxDegree = 64;

  Dim multiply(Dim a, Dim b) {
    auto degree = [](Dim d) {
      size_t highest = 1;
      for (Dim term : d.kind() == Kind::Add ? d.operands() : llvm::ArrayRef<Dim>(d))
        if (term.kind() == Kind::Mul)
          highest = std::max(highest, term.operands().size());
      return highest;
    };
    auto terms = [](Dim d) { return d.kind() == Kind::Add ? d.operands().size() : 1; };
    if (!a.isConst() && !b.isConst() &&
        (terms(a) * terms(b) > kMaxTerms || degree(a) + degree(b) > kMaxDegree)) {
      Dim opaque = context->freshSymbol("product");
      if (!a.isAtLeast(0) || !b.isAtLeast(0))
        context->setBounds(opaque, kMinInt, std::nullopt);
      return opaque;
    }
    Polynomial product, q = toPolynomial(b);
    for (auto &[m, c] : toPolynomial(a))
      subtractProduct(product, m, mulSaturated(c, -1), q);
    return fromPolynomial(product);
  }

  /// a / b when b divides a as polynomials.
  std::optional<Dim> divideExactly(Dim a, Dim b) {
    Polynomial rest = toPolynomial(a), divisor = toPolynomial(b), quotient;
    auto &[leadMono, leadCoef] = *divisor.begin();
    while (!rest.empty()) {
      auto [mono, coef] = *rest.begin();
      std::optional<Monomial> m = nn::divide(mono, leadMono);
      if (!m || coef % leadCoef != 0)
        return std::nullopt;
      addTerm(quotient, *m, coef / leadCoef);
      subtractProduct(rest, *m, coef / leadCoef, divisor);
      rest.erase(mono); // Also where coefficients are saturated.
    }
    return fromPolynomial(quotient);
  }

  struct Division {
    Dim quotient, rest, divisor;
    /// What was divided out of rest and divisor: remainders must be multiplied by it.
    Dim common;
  };
  /// a = quotient * b + common * rest, b = common * divisor, with everything that can be moved
  /// into the quotient moved there.
  Division divideWithRest(Dim a, Dim b) {
    Division d{context->constant(0), a, b, context->constant(1)};
    if (auto exact = divideExactly(a, b)) {
      d.quotient = *exact;
      d.rest = context->constant(0);
      return d;
    }
    Polynomial divisor = toPolynomial(b);
    if (divisor.size() != 1)
      return d;
    auto [mono, coef] = *divisor.begin();
    Polynomial quotient, rest;
    for (auto &[m, c] : toPolynomial(a)) {
      auto q = nn::divide(m, mono);
      if (!q) {
        addTerm(rest, m, c);
        continue;
      }
      int64_t whole = floorDivide(c, coef);
      if (whole)
        addTerm(quotient, *q, whole);
      if (c - whole * coef)
        addTerm(rest, m, c - whole * coef);
    }
    d.quotient = fromPolynomial(quotient);
    d.rest = fromPolynomial(rest);
    if (rest.empty())
      return d;
    cancel(d, rest, mono, coef);
    return d;
  }

  /// Divides the atoms and the integer factor that all terms of rest and the divisor have in
  /// common out of both.
  void cancel(Division &d, const Polynomial &rest, Monomial mono, int64_t coef) {
    Monomial atoms = mono;
    int64_t factor = coef;
    for (auto &[m, c] : rest) {
      Monomial both;
      std::set_intersection(atoms.begin(), atoms.end(), m.begin(), m.end(),
                            std::back_inserter(both), ById());
      atoms = both;
      factor = std::gcd(factor, c);
    }
    if (factor == 1 && atoms.empty())
      return;
    Polynomial reduced;
    for (auto &[m, c] : rest)
      addTerm(reduced, *nn::divide(m, atoms), c / factor);
    d.rest = fromPolynomial(reduced);
    d.divisor = fromTerm(*nn::divide(mono, atoms), coef / factor);
    d.common = fromTerm(atoms, factor);
  }

  /// A rest in [0, divisor) divides to 0 and is its own remainder.
  bool isSmallRest(const Division &d) {
    return d.rest.isAtLeast(0) && (d.divisor - d.rest).isAtLeast(1);
  }

  /// Operands of a commutative, idempotent, associative atom: flattened, sorted, unique.
  llvm::SmallVector<Dim, 4> flatten(Kind kind, Dim a, Dim b) {
    llvm::SmallVector<Dim, 4> all;
    for (Dim d : {a, b}) {
      if (d.kind() == kind)
        all.append(d.operands().begin(), d.operands().end());
      else
        all.push_back(d);
    }
    llvm::sort(all, ById());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  Dim minMax(Kind kind, Dim a, Dim b) {
    llvm::SmallVector<Dim, 4> all = flatten(kind, a, b), kept;
    // Drops every operand that another one is provably at least as small (large) as.
    for (auto [i, d] : llvm::enumerate(all)) {
      bool dropped = false;
      for (auto [j, other] : llvm::enumerate(all)) {
        if (i == j)
          continue;
        bool loses = kind == Kind::Min ? atLeast(d, other) : atLeast(other, d);
        bool ties = kind == Kind::Min ? atLeast(other, d) : atLeast(d, other);
        if (loses && (!ties || j < i)) {
          dropped = true;
          break;
        }
      }
      if (!dropped)
        kept.push_back(d);
    }
    return kept.size() == 1 ? kept.front() : get(kind, 0, "", kept);
  }

  bool atLeast(Dim a, Dim b) {
    if (a.isConst() && b.isConst())
      return a.value() >= b.value();
    // INT64_MAX and INT64_MIN stand for infinity in slices.
    if (a.isConst(kMaxInt) || b.isConst(kMinInt))
      return true;
    if (b.isConst(kMaxInt) || a.isConst(kMinInt))
      return false;
    return (a - b).isAtLeast(0);
  }
};

DimContext::DimContext() : impl(std::make_unique<Impl>()) { impl->context = this; }
DimContext::~DimContext() = default;

Dim DimContext::constant(int64_t v) { return impl->get(Kind::Const, v, "", {}); }

Dim DimContext::symbol(llvm::StringRef name) {
  auto [it, isNew] = impl->byName.try_emplace(name);
  if (isNew) {
    it->second = impl->get(Kind::Symbol, 0, name, {});
    impl->symbols.push_back(it->second);
  }
  return it->second;
}

Dim DimContext::freshSymbol(llvm::StringRef prefix) {
  std::string name = prefix.str();
  for (unsigned i = 1; impl->byName.contains(name); ++i)
    name = prefix.str() + "_" + std::to_string(i);
  return symbol(name);
}

void DimContext::setBounds(Dim symbol, int64_t low, std::optional<int64_t> high) {
  impl->bounds[symbol.opaque()] = {low, high};
}

std::pair<int64_t, std::optional<int64_t>> DimContext::bounds(Dim symbol) const {
  auto it = impl->bounds.find(symbol.opaque());
  if (it == impl->bounds.end())
    return {0, std::nullopt};
  return it->second;
}

llvm::ArrayRef<Dim> DimContext::symbols() const { return impl->symbols; }

std::optional<int64_t>
DimContext::evaluate(Dim d, llvm::function_ref<std::optional<int64_t>(Dim)> valueOf) const {
  if (!d)
    return std::nullopt;
  if (d.isConst())
    return d.value();
  if (d.kind() == Kind::Symbol)
    return valueOf(d);
  llvm::SmallVector<int64_t, 4> v;
  for (Dim o : d.operands()) {
    std::optional<int64_t> value = evaluate(o, valueOf);
    if (!value)
      return std::nullopt;
    v.push_back(*value);
  }
  switch (d.kind()) {
  case Kind::Add:
    return std::accumulate(v.begin(), v.end(), int64_t(0), addSaturated);
  case Kind::Mul:
    return std::accumulate(v.begin(), v.end(), int64_t(1), mulSaturated);
  case Kind::FloorDiv:
    return v[1] == 0 ? std::nullopt : std::optional(floorDivide(v[0], v[1]));
  case Kind::Mod:
    return v[1] == 0 ? std::nullopt : std::optional(v[0] - floorDivide(v[0], v[1]) * v[1]);
  case Kind::Min:
    return *llvm::min_element(v);
  case Kind::Max:
    return *llvm::max_element(v);
  case Kind::Broadcast: {
    auto it = llvm::find_if(v, [](int64_t x) { return x != 1; });
    return it == v.end() ? 1 : *it;
  }
  default:
    llvm_unreachable("leaves are handled above");
  }
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Dim::Kind Dim::kind() const { return node->kind; }
bool Dim::isConst() const { return node && node->kind == Kind::Const; }
int64_t Dim::value() const { return node->value; }
llvm::StringRef Dim::symbol() const { return node->name; }
llvm::ArrayRef<Dim> Dim::operands() const { return node->operands; }
int64_t Dim::typeDim() const { return isConst() ? value() : mlir::ShapedType::kDynamic; }
DimContext &Dim::context() const { return *node->context; }

Dim Dim::operator+(Dim o) const {
  if (isConst() && o.isConst())
    return context().constant(addSaturated(value(), o.value()));
  Polynomial p = toPolynomial(*this);
  addTerms(p, o, 1);
  return context().impl->fromPolynomial(p);
}
Dim Dim::operator-(Dim o) const {
  if (*this == o)
    return context().constant(0);
  Polynomial p = toPolynomial(*this);
  addTerms(p, o, -1);
  return context().impl->fromPolynomial(p);
}
Dim Dim::operator*(Dim o) const {
  if (isConst() && o.isConst())
    return context().constant(mulSaturated(value(), o.value()));
  return context().impl->multiply(*this, o);
}
Dim Dim::operator+(int64_t v) const { return *this + context().constant(v); }
Dim Dim::operator-(int64_t v) const { return *this - context().constant(v); }
Dim Dim::operator*(int64_t v) const { return *this * context().constant(v); }

Dim Dim::floorDiv(Dim o) const {
  DimContext &ctx = context();
  if (o.isConst(1))
    return *this;
  if (o.isConst() && o.value() <= 0)
    return ctx.impl->get(Kind::FloorDiv, 0, "", {*this, o});
  if (isConst() && o.isConst())
    return ctx.constant(floorDivide(value(), o.value()));
  auto d = ctx.impl->divideWithRest(*this, o);
  if (d.rest.isConst(0) || ctx.impl->isSmallRest(d))
    return d.quotient;
  // ((a floordiv b) + k) floordiv c = (a + k * b) floordiv (b * c) for positive constants b, c.
  if (d.divisor.isConst()) {
    Polynomial rest = toPolynomial(d.rest);
    Dim inner = rest.begin()->first.empty() ? Dim() : rest.begin()->first.front();
    bool isQuotient = inner && rest.begin()->first.size() == 1 && rest.begin()->second == 1 &&
                      inner.kind() == Kind::FloorDiv && inner.operands()[1].isConst() &&
                      inner.operands()[1].value() > 0;
    if (isQuotient && (rest.size() == 1 || (rest.size() == 2 && rest.rbegin()->first.empty()))) {
      Dim offset = d.rest - inner, b = inner.operands()[1];
      return d.quotient + (inner.operands()[0] + offset * b).floorDiv(b * d.divisor);
    }
  }
  // Of (g * r + k) floordiv (g * c), only floor(k / g) * g matters in the constant term k.
  if (d.divisor.isConst()) {
    Polynomial rest = toPolynomial(d.rest);
    int64_t g = d.divisor.value(), k = 0;
    for (auto &[m, c] : rest) {
      if (m.empty())
        k = c;
      else
        g = std::gcd(g, c);
    }
    if (g > 1 && k) {
      int64_t kept = floorDivide(k, g) * g;
      if (kept != k)
        return d.quotient + (d.rest - (k - kept)).floorDiv(d.divisor);
    }
  }
  return d.quotient + ctx.impl->get(Kind::FloorDiv, 0, "", {d.rest, d.divisor});
}

Dim Dim::ceilDiv(Dim o) const {
  if (isConst() && o.isConst() && o.value() > 0)
    return context().constant(-floorDivide(-value(), o.value()));
  return (*this + o - 1).floorDiv(o);
}

Dim Dim::mod(Dim o) const {
  DimContext &ctx = context();
  if (o.isConst(1))
    return ctx.constant(0);
  if (o.isConst() && o.value() <= 0)
    return ctx.impl->get(Kind::Mod, 0, "", {*this, o});
  if (isConst() && o.isConst())
    return ctx.constant(value() - floorDivide(value(), o.value()) * o.value());
  auto d = ctx.impl->divideWithRest(*this, o);
  if (d.rest.isConst(0))
    return d.rest;
  if (ctx.impl->isSmallRest(d))
    return d.common * d.rest;
  return d.common * ctx.impl->get(Kind::Mod, 0, "", {d.rest, d.divisor});
}

Dim Dim::floorDiv(int64_t v) const { return floorDiv(context().constant(v)); }
Dim Dim::ceilDiv(int64_t v) const { return ceilDiv(context().constant(v)); }

Dim Dim::min(Dim o) const { return context().impl->minMax(Kind::Min, *this, o); }
Dim Dim::max(Dim o) const { return context().impl->minMax(Kind::Max, *this, o); }

/// Whether d is at least 2 or a multiple of something that is.
static bool isNeverOne(Dim d) {
  if (d.isAtLeast(2))
    return true;
  int64_t common = 0;
  for (auto &[m, c] : toPolynomial(d))
    common = std::gcd(common, c);
  return common >= 2;
}

/// Whether d is a minimum of x and numbers greater than 1.
static bool isMinWith(Dim d, Dim x) {
  return d.kind() == Kind::Min && llvm::all_of(d.operands(), [&](Dim o) {
           return o == x || (o.isConst() && o.value() > 1);
         });
}

Dim Dim::broadcast(Dim o) const {
  if (*this == o || o.isConst(1))
    return *this;
  if (isConst(1))
    return o;
  // What cannot be 1 decides: the other one is equal to it, or 1.
  for (Dim d : {*this, o})
    if (d.isConst())
      return d;
  for (Dim d : {*this, o})
    if (isNeverOne(d))
      return d;
  // min(x, 512) next to x: equal, or else it would have to be 1 while x is not.
  if (isMinWith(o, *this))
    return *this;
  if (isMinWith(*this, o))
    return o;
  auto all = context().impl->flatten(Kind::Broadcast, *this, o);
  return all.size() == 1 ? all.front() : context().impl->get(Kind::Broadcast, 0, "", all);
}

bool Dim::isAtLeast(int64_t v) const {
  if (isConst())
    return value() >= v;
  if (auto low = intervalOf(*this).first)
    if (*low >= v)
      return true;
  Polynomial p = toPolynomial(*this);
  addTerm(p, {}, mulSaturated(v, -1));
  return isNonNegative(p, /*depth=*/4);
}

static std::string joined(llvm::ArrayRef<Dim> dims, llvm::StringRef separator) {
  std::string text;
  for (Dim d : dims)
    text += (text.empty() ? "" : separator.str()) + d.str();
  return text;
}

std::string Dim::str() const {
  if (!node)
    return "?";
  auto infix = [&](llvm::StringRef op) {
    auto operand = [](Dim d) {
      return d.kind() == Kind::Add || d.kind() == Kind::Mul ? "(" + d.str() + ")" : d.str();
    };
    return "(" + operand(operands()[0]) + op.str() + operand(operands()[1]) + ")";
  };
  switch (kind()) {
  case Kind::Const:
    return std::to_string(value());
  case Kind::Symbol:
    return symbol().str();
  case Kind::Add: {
    std::string text;
    for (Dim term : operands()) {
      std::string t = term.str();
      if (text.empty())
        text = t;
      else
        text += t.front() == '-' ? " - " + t.substr(1) : " + " + t;
    }
    return text;
  }
  case Kind::Mul:
    if (operands().front().isConst(-1))
      return "-" + joined(operands().drop_front(), "*");
    return joined(operands(), "*");
  case Kind::FloorDiv:
    return infix(" floordiv ");
  case Kind::Mod:
    return infix(" mod ");
  case Kind::Min:
    return "min(" + joined(operands(), ", ") + ")";
  case Kind::Max:
    return "max(" + joined(operands(), ", ") + ")";
  case Kind::Broadcast:
    return "broadcast(" + joined(operands(), ", ") + ")";
  }
  llvm_unreachable("unknown kind");
}

Dim product(DimContext &ctx, llvm::ArrayRef<Dim> dims) {
  Dim p = ctx.constant(1);
  for (Dim d : dims)
    p = p * d;
  return p;
}

} // namespace nnopt::nn

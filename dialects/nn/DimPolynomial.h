//===- DimPolynomial.h - polynomials over symbolic atoms --------*- C++ -*-===//
//
// Private to Dim*.cpp: the arithmetic behind the normal form of dimensions.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_DIMPOLYNOMIAL_H
#define NNOPT_DIALECTS_NN_DIMPOLYNOMIAL_H

#include "dialects/nn/Dim.h"
#include "llvm/ADT/FoldingSet.h"
#include "llvm/ADT/STLExtras.h"
#include <limits>
#include <map>

namespace nnopt::nn {
namespace detail {
struct DimNode : llvm::FoldingSetNode {
  Dim::Kind kind;
  int64_t value = 0;
  std::string name;
  llvm::SmallVector<Dim, 2> operands;
  DimContext *context = nullptr;
  /// Order of creation: the order of atoms within monomials and of monomials.
  unsigned id = 0;

  static void profile(llvm::FoldingSetNodeID &id, Dim::Kind kind, int64_t value,
                      llvm::StringRef name, llvm::ArrayRef<Dim> operands) {
    id.AddInteger((unsigned)kind);
    id.AddInteger(value);
    id.AddString(name);
    for (Dim d : operands)
      id.AddPointer(d.opaque());
  }
  void Profile(llvm::FoldingSetNodeID &id) const { profile(id, kind, value, name, operands); }
};
} // namespace detail

constexpr int64_t kMinInt = std::numeric_limits<int64_t>::min();
constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();

/// Sums and products that stop at the ends of the range.
inline int64_t addSaturated(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_add_overflow(a, b, &r) ? (a < 0 ? kMinInt : kMaxInt) : r;
}
inline int64_t mulSaturated(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_mul_overflow(a, b, &r) ? ((a < 0) != (b < 0) ? kMinInt : kMaxInt) : r;
}
/// a / b toward minus infinity.
inline int64_t floorDivide(int64_t a, int64_t b) {
  if (b == -1)
    return mulSaturated(a, -1);
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

/// Order of dimensions by creation.
struct ById {
  bool operator()(Dim a, Dim b) const { return idOf(a) < idOf(b); }
  static unsigned idOf(Dim d) { return static_cast<const detail::DimNode *>(d.opaque())->id; }
};

/// A product of atoms, sorted, with repetition.
using Monomial = llvm::SmallVector<Dim, 4>;
/// Higher degree first, then by atoms: an admissible order (needed for division).
struct MonomialOrder {
  bool operator()(const Monomial &a, const Monomial &b) const {
    if (a.size() != b.size())
      return a.size() > b.size();
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), ById());
  }
};
/// Coefficients, none of them zero.
using Polynomial = std::map<Monomial, int64_t, MonomialOrder>;

/// p += c * m.
void addTerm(Polynomial &p, const Monomial &m, int64_t c);
/// p += factor * d.
void addTerms(Polynomial &p, Dim d, int64_t factor);
Polynomial toPolynomial(Dim d);
Monomial multiply(const Monomial &a, const Monomial &b);
/// a / b where b divides a.
std::optional<Monomial> divide(const Monomial &a, const Monomial &b);
/// p -= (c * m) * q.
void subtractProduct(Polynomial &p, const Monomial &m, int64_t c, const Polynomial &q);

/// Bounds, missing where there are none.
using Interval = std::pair<std::optional<int64_t>, std::optional<int64_t>>;
/// What the bounds of the symbols say by interval arithmetic.
Interval intervalOf(Dim d);
/// Proves p >= 0; `depth` limits the number of replacements that are tried one after another.
bool isNonNegative(const Polynomial &p, unsigned depth);

} // namespace nnopt::nn

#endif

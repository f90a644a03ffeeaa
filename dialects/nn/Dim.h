//===- Dim.h - symbolic dimensions ------------------------------*- C++ -*-===//
//
// A dimension is an expression over named sizes: polynomials with integer coefficients whose
// atoms are symbols and, where a polynomial is not enough, floordiv, mod, min, max and broadcast
// of expressions. Expressions are kept in a normal form and uniqued in a DimContext, so that equal
// expressions are the same pointer: `a == b` proves two dimensions equal. Expressions may also
// stand for elements of integer tensors (shape arithmetic) and are then signed.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_DIM_H
#define NNOPT_DIALECTS_NN_DIM_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace nnopt::nn {

class DimContext;

namespace detail {
struct DimNode;
}

/// A value handle, cheap to copy. A default-constructed Dim is null (unknown).
class Dim {
public:
  enum class Kind { Const, Symbol, Add, Mul, FloorDiv, Mod, Min, Max, Broadcast };

  Dim() = default;
  explicit operator bool() const { return node; }
  bool operator==(Dim o) const { return node == o.node; }
  bool operator!=(Dim o) const { return node != o.node; }

  Kind kind() const;
  bool isConst() const;
  /// The constant, where isConst().
  int64_t value() const;
  bool isConst(int64_t v) const { return isConst() && value() == v; }
  /// Name of a symbol.
  llvm::StringRef symbol() const;
  /// Operands of Add, Mul, FloorDiv, Mod, Min, Max, Broadcast, in normal order.
  llvm::ArrayRef<Dim> operands() const;
  /// The type dimension: the constant, or ShapedType::kDynamic.
  int64_t typeDim() const;
  /// As text: `4*batch*sequence + 1`.
  std::string str() const;
  DimContext &context() const;
  const void *opaque() const { return node; }

  Dim operator+(Dim o) const;
  Dim operator-(Dim o) const;
  Dim operator*(Dim o) const;
  Dim operator+(int64_t v) const;
  Dim operator-(int64_t v) const;
  Dim operator*(int64_t v) const;
  /// Rounds toward minus infinity; the divisor is positive.
  Dim floorDiv(Dim o) const;
  Dim ceilDiv(Dim o) const;
  Dim mod(Dim o) const;
  Dim floorDiv(int64_t v) const;
  Dim ceilDiv(int64_t v) const;
  Dim min(Dim o) const;
  Dim max(Dim o) const;
  /// The numpy broadcast of two dimensions that are equal or of which one is 1: a constant other
  /// than 1 wins, 1 loses, and two different symbols stay `broadcast(a, b)` = (a == 1 ? b : a).
  Dim broadcast(Dim o) const;

  /// Whether the expression is known to be at least `v`, from the bounds of its symbols.
  bool isAtLeast(int64_t v) const;

private:
  friend class DimContext;
  friend struct detail::DimNode;
  explicit Dim(const detail::DimNode *n) : node(n) {}
  const detail::DimNode *node = nullptr;
};

/// Owns expressions and the bounds of symbols. Not thread-safe.
class DimContext {
public:
  DimContext();
  ~DimContext();
  DimContext(const DimContext &) = delete;

  Dim constant(int64_t v);
  /// The symbol of that name. Symbols are sizes: at least 0 unless setBounds says otherwise.
  Dim symbol(llvm::StringRef name);
  /// A new symbol with a name that is not in use: `prefix`, `prefix_1`, ...
  Dim freshSymbol(llvm::StringRef prefix);
  void setBounds(Dim symbol, int64_t low, std::optional<int64_t> high);
  std::pair<int64_t, std::optional<int64_t>> bounds(Dim symbol) const;
  /// Every symbol in order of creation.
  llvm::ArrayRef<Dim> symbols() const;
  /// Value of an expression for given symbol values (null where a symbol is missing).
  std::optional<int64_t> evaluate(Dim d, llvm::function_ref<std::optional<int64_t>(Dim symbol)> valueOf) const;

private:
  friend class Dim;
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// Product of dimensions (1 for none; needs a context for that case).
Dim product(DimContext &ctx, llvm::ArrayRef<Dim> dims);

} // namespace nnopt::nn

#endif

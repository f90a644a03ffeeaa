//===- ScalarBuilder.h - scalar code of elementwise operations --*- C++ -*-===//
//
// Shared by dialects/nn/Scalars*.cpp and the kernel builder. Every method takes scalars or vectors (of any rank) alike;
// constants are splats of the type of the value they meet.
//
// Numerics: floats narrower than 32 bits are computed in f32, so that each operation rounds once,
// when its result is narrowed. Integers are signless; whether they are unsigned says the element
// type of the tensor. Selections are compare + select in the operand order of the x86 min/max
// instructions (`maxps(a, b)` is `a > b ? a : b`, b when one is NaN), which keep a NaN in b.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_DIALECTS_NN_SCALARBUILDER_H
#define NNOPT_DIALECTS_NN_SCALARBUILDER_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace nnopt::nn {

/// `type` with another element type: of a scalar the element type itself.
inline mlir::Type withElement(mlir::Type type, mlir::Type element) {
  if (auto vector = llvm::dyn_cast<mlir::VectorType>(type))
    return vector.clone(element);
  return element;
}

struct ScalarBuilder {
  mlir::OpBuilder &b;
  mlir::Location loc;
  using Value = mlir::Value;
  using FPred = mlir::arith::CmpFPredicate;
  using IPred = mlir::arith::CmpIPredicate;

  template <typename OpTy, typename... Args> Value make(Args &&...args) {
    return OpTy::create(b, loc, std::forward<Args>(args)...);
  }

  /// A constant of the type of `like`.
  Value c(Value like, double v) {
    return constant(like.getType(), b.getFloatAttr(element(like), v));
  }
  Value i(Value like, int64_t v) {
    return constant(like.getType(), b.getIntegerAttr(element(like), v));
  }
  Value constant(mlir::Type type, mlir::TypedAttr value) {
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(type))
      value = mlir::DenseElementsAttr::get(vector, mlir::ArrayRef<mlir::Attribute>(value));
    return make<mlir::arith::ConstantOp>(value);
  }
  static mlir::Type element(Value v) { return mlir::getElementTypeOrSelf(v.getType()); }
  static bool isFloat(Value v) { return llvm::isa<mlir::FloatType>(element(v)); }

  // Floats or integers, by type.
  Value add(Value x, Value y) {
    return isFloat(x) ? make<mlir::arith::AddFOp>(x, y) : make<mlir::arith::AddIOp>(x, y);
  }
  Value sub(Value x, Value y) {
    return isFloat(x) ? make<mlir::arith::SubFOp>(x, y) : make<mlir::arith::SubIOp>(x, y);
  }
  Value mul(Value x, Value y) {
    return isFloat(x) ? make<mlir::arith::MulFOp>(x, y) : make<mlir::arith::MulIOp>(x, y);
  }
  Value div(Value x, Value y) { return make<mlir::arith::DivFOp>(x, y); }
  Value neg(Value x) { return isFloat(x) ? make<mlir::arith::NegFOp>(x) : sub(i(x, 0), x); }
  Value abs(Value x) { return make<mlir::math::AbsFOp>(x); }
  Value exp(Value x) { return make<mlir::math::ExpOp>(x); }
  Value select(Value condition, Value x, Value y) {
    return make<mlir::arith::SelectOp>(condition, x, y);
  }
  Value cmp(FPred p, Value x, Value y) { return make<mlir::arith::CmpFOp>(p, x, y); }
  Value cmp(IPred p, Value x, Value y) { return make<mlir::arith::CmpIOp>(p, x, y); }
  Value isNaN(Value x) { return cmp(FPred::UNO, x, x); }

  /// x < y of floats, or of integers with the given signedness.
  Value less(Value x, Value y, bool isUnsigned) {
    return isFloat(x) ? cmp(FPred::OLT, x, y) : cmp(isUnsigned ? IPred::ult : IPred::slt, x, y);
  }

  /// max(x, low) that keeps a NaN of x: `maxps(low, x)`.
  Value atLeast(Value x, Value low, bool isUnsigned = false) {
    return select(less(x, low, isUnsigned), low, x);
  }
  /// min(x, high) that keeps a NaN of x: `minps(high, x)`.
  Value atMost(Value x, Value high, bool isUnsigned = false) {
    return select(less(high, x, isUnsigned), high, x);
  }

  /// A float value as f32 or, where it is f64, itself.
  Value widen(Value x);
  /// An f32 or f64 value as float type `to`; 8-bit floats clamp to their range if `saturate` is
  /// set and become infinity or NaN beyond it otherwise. `mode` is that of f8E8M0FNU.
  Value narrow(Value x, mlir::Type to, bool saturate = true, RoundMode mode = RoundMode::up);
  /// f16 and bf16 to f32 and back by operations on their bits, for targets without instructions for that.
  Value widenByBits(Value x);
  Value narrowByBits(Value x, mlir::Type to);
  /// An f32 or f64 value as an integer, truncated: NaN and values out of range give what x86 code
  /// of onnxruntime and numpy gives for 8 to 32 bits (the low bits of a wider conversion) and are
  /// clamped for 64; never poison.
  Value toInteger(Value x, mlir::IntegerType to);
  /// An integer (or bool) as f32 or f64.
  Value toFloat(Value x, mlir::Type to, bool isUnsigned);
};

/// Whether operand `i` of op has unsigned (or bool) elements.
inline bool isUnsignedOperand(mlir::Operation *op, unsigned i = 0) {
  mlir::Type t = mlir::getElementTypeOrSelf(op->getOperand(i).getType());
  return t.isUnsignedInteger() || t.isInteger(1);
}

/// Runs f on the float arguments in f32 or f64 and narrows a float result to the type of args[0].
template <typename Fn>
mlir::Value inFloat(mlir::OpBuilder &builder, mlir::Location loc, mlir::ValueRange args, Fn &&f) {
  ScalarBuilder s{builder, loc};
  llvm::SmallVector<mlir::Value, 3> wide;
  for (mlir::Value x : args)
    wide.push_back(ScalarBuilder::isFloat(x) ? s.widen(x) : x);
  mlir::Value result = f(s, llvm::ArrayRef<mlir::Value>(wide));
  return ScalarBuilder::isFloat(result) ? s.narrow(result, ScalarBuilder::element(args[0]))
                                        : result;
}

} // namespace nnopt::nn

#endif

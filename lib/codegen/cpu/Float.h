//===- Float.h - float arithmetic in kernels --------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_FLOAT_H
#define NNOPT_LIB_CODEGEN_CPU_FLOAT_H

#include "lib/codegen/cpu/Kernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace nnopt::cpu {

/// A float value of a kernel with operators, the counterpart of `Ix`. Both operands have one type.
struct Float {
  Kernel *k = nullptr;
  mlir::Value v;

  Float() = default;
  Float(Kernel *k, mlir::Value v) : k(k), v(v) {}
  /// A number of the type of `like`.
  Float like(double number) const { return {k, k->constant(v.getType(), number)}; }

  Float operator+(Float o) const { return {k, mlir::arith::AddFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator-(Float o) const { return {k, mlir::arith::SubFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator*(Float o) const { return {k, mlir::arith::MulFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator/(Float o) const { return {k, mlir::arith::DivFOp::create(k->b, k->loc, v, o.v)}; }
  Float operator+(double o) const { return *this + like(o); }
  Float operator-(double o) const { return *this - like(o); }
  Float operator*(double o) const { return *this * like(o); }
  Float operator/(double o) const { return *this / like(o); }
  /// Ordered comparisons: false where either is NaN.
  mlir::Value operator<(Float o) const { return compare(mlir::arith::CmpFPredicate::OLT, o); }
  mlir::Value operator<=(Float o) const { return compare(mlir::arith::CmpFPredicate::OLE, o); }
  mlir::Value operator>(Float o) const { return compare(mlir::arith::CmpFPredicate::OGT, o); }
  mlir::Value operator>=(Float o) const { return compare(mlir::arith::CmpFPredicate::OGE, o); }
  mlir::Value operator==(Float o) const { return compare(mlir::arith::CmpFPredicate::OEQ, o); }

  Float floor() const { return {k, mlir::math::FloorOp::create(k->b, k->loc, v)}; }
  Float ceil() const { return {k, mlir::math::CeilOp::create(k->b, k->loc, v)}; }
  /// Halves to even.
  Float round() const { return {k, mlir::math::RoundEvenOp::create(k->b, k->loc, v)}; }
  Float abs() const { return {k, mlir::math::AbsFOp::create(k->b, k->loc, v)}; }
  /// The larger (smaller); `o` where this is NaN.
  Float atLeast(Float o) const { return choose(*this > o, *this, o); }
  Float atMost(Float o) const { return choose(*this < o, *this, o); }
  static Float choose(mlir::Value condition, Float a, Float b) { return {a.k, a.k->select(condition, a.v, b.v)}; }

  /// Truncated to an integer; the value must be in the range of i64.
  Ix index() const { return {k, mlir::arith::FPToSIOp::create(k->b, k->loc, k->b.getI64Type(), v)}; }
  /// An integer as a float of the type.
  static Float of(Ix i, Kernel &k, mlir::Type type) { return {&k, mlir::arith::SIToFPOp::create(k.b, k.loc, type, i)}; }
  /// The value in another (f32 or f64) type.
  Float as(mlir::Type type) const { return {k, k->fromFloat(v, type)}; }

private:
  mlir::Value compare(mlir::arith::CmpFPredicate p, Float o) const {
    return mlir::arith::CmpFOp::create(k->b, k->loc, p, v, o.v);
  }
};

} // namespace nnopt::cpu

#endif

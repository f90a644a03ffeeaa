//===- Kernel.h - building one kernel function ------------------*- C++ -*-===//
//
// A kernel is a function over pointers and i64 sizes that runs tasks [begin, end) of a launch
// (runtime/format.h). Emitters build its body with scf loops, arith/math/vector operations and
// LLVM-dialect loads and stores at element offsets; all index arithmetic is i64 and written with
// the operators of `Ix`. Sizes that are constants at compile time fold away; the others become
// parameters of the kernel, so that one emitter serves static and dynamic shapes.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_LIB_CODEGEN_CPU_KERNEL_H
#define NNOPT_LIB_CODEGEN_CPU_KERNEL_H

#include "dialects/nn/NN.h"
#include "lib/codegen/Program.h"
#include "lib/codegen/cpu/Target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace nnopt::cpu {

class Kernel;
class Lowering;

/// An i64 value in a kernel, with operators. Comparisons give i1 values (signed).
class Ix {
public:
  Ix() = default;
  Ix(Kernel *kernel, mlir::Value value) : kernel(kernel), value(value) {}
  operator mlir::Value() const { return value; }
  /// The constant, when the value is one.
  std::optional<int64_t> constant() const;

  Ix operator+(Ix o) const;
  Ix operator-(Ix o) const;
  Ix operator*(Ix o) const;
  /// Division and remainder of non-negative values.
  Ix operator/(Ix o) const;
  Ix operator%(Ix o) const;
  Ix operator+(int64_t o) const;
  Ix operator-(int64_t o) const;
  Ix operator*(int64_t o) const;
  Ix operator/(int64_t o) const;
  Ix operator%(int64_t o) const;
  Ix min(Ix o) const;
  Ix max(Ix o) const;
  mlir::Value operator<(Ix o) const;
  mlir::Value operator<=(Ix o) const;
  mlir::Value operator>=(Ix o) const;
  mlir::Value operator==(Ix o) const;
  mlir::Value operator<(int64_t o) const;
  mlir::Value operator==(int64_t o) const;
  /// 0 <= *this < o, as one unsigned comparison.
  mlir::Value inRange(Ix o) const;

private:
  Kernel *kernel = nullptr;
  mlir::Value value;
};

/// A contiguous row-major tensor in memory. Loads give values of `valueType` (i1 for bool, signless
/// integers); memory holds `storageType` (i8 for bool, narrower integers and 8-bit floats).
struct Buffer {
  mlir::Value ptr;
  mlir::Type valueType, storageType;
  bool isUnsigned = false;
  nn::Dims dims;
  unsigned rank() const { return dims.size(); }
};

/// Builds a kernel. Operands are numbered in the order of the read/write/weights/... calls.
class Kernel {
public:
  /// Begins `name` (op and shape: becomes part of the symbol) for operation `op`.
  Kernel(Lowering &lowering, mlir::Operation *op, llvm::StringRef name);
  ~Kernel();

  //--- operands -----------------------------------------------------------
  /// A tensor that is read. Constants become weights; `value` may be any value of the graph.
  Buffer read(mlir::Value value);
  /// A result of the operation (or a temporary tensor, see Lowering::temp) that is written whole.
  Buffer write(mlir::Value value);
  Buffer read(const TempTensor &temp);
  Buffer write(const TempTensor &temp);
  /// Constant bytes made at compile time (packed weights, tables); stored once per content.
  Buffer weights(llvm::ArrayRef<char> bytes, mlir::Type elementType, llvm::ArrayRef<int64_t> shape);
  Buffer weights(llvm::ArrayRef<float> values);
  /// Bytes of memory of its own for each thread (64-byte aligned, contents undefined).
  mlir::Value scratch(nn::Dim bytes);
  /// Declares that the kernel reads each element of `in` before it writes the element of `out` at
  /// the same position and never later: the planner may then put both in the same place.
  void allowInPlace(mlir::Value in, mlir::Value out);

  //--- sizes and tasks ----------------------------------------------------
  Ix dim(nn::Dim d);
  Ix c(int64_t v);
  Ix begin, end, thread;

  //--- values -------------------------------------------------------------
  mlir::OpBuilder b;
  mlir::Location loc;
  Lowering &lowering;
  const Target &target() const;

  mlir::Value f32(double v);
  /// A constant of an element or vector type (floats and integers).
  mlir::Value constant(mlir::Type type, double v);
  mlir::VectorType vec(int64_t lanes, mlir::Type elementType);
  mlir::Value splat(mlir::Value scalar, int64_t lanes);
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  mlir::Value select(mlir::Value cond, mlir::Value a, mlir::Value b);
  Ix selectIx(mlir::Value cond, Ix a, Ix b) { return {this, select(cond, a, b)}; }
  mlir::Value land(mlir::Value a, mlir::Value b);
  /// f16/bf16/f8 and integers to f32 (f64 stays), and back to `type`.
  mlir::Value toFloat(mlir::Value v, bool isUnsigned = false);
  mlir::Value fromFloat(mlir::Value v, mlir::Type type, bool isUnsigned = false);
  /// A float rounded to the narrower `type`, in its own type. A finite value that overflows stays as it is.
  mlir::Value rounded(mlir::Value v, mlir::Type type);
  /// i64 from an integer element (sign- or zero-extended).
  Ix toIndex(mlir::Value v, bool isUnsigned = false);

  //--- memory: offsets count elements --------------------------------------
  /// A value (scalar or vector) as it is in memory as one of `valueType`, and back.
  mlir::Value fromStorage(const Buffer &buf, mlir::Value v);
  mlir::Value toStorage(const Buffer &buf, mlir::Value v);
  mlir::Value load(const Buffer &buf, Ix offset);
  mlir::Value load(const Buffer &buf, Ix offset, int64_t lanes);
  void store(const Buffer &buf, Ix offset, mlir::Value value);
  /// Lanes where mask (vector<lanes x i1>) is false are not accessed; loads give 0 there.
  mlir::Value loadMasked(const Buffer &buf, Ix offset, int64_t lanes, mlir::Value mask);
  void storeMasked(const Buffer &buf, Ix offset, mlir::Value value, mlir::Value mask);
  /// Lane i of the mask is i < count.
  mlir::Value mask(Ix count, int64_t lanes);
  /// Typed access through a pointer: the element at `ptr + offset * sizeof(type)`.
  mlir::Value loadAt(mlir::Value ptr, Ix offset, mlir::Type type, int64_t align = 0);
  void storeAt(mlir::Value ptr, Ix offset, mlir::Value value, int64_t align = 0);
  /// ptr + offset elements of `elementType`.
  mlir::Value ptrAdd(mlir::Value ptr, Ix offset, mlir::Type elementType);
  /// A Buffer over scratch or another pointer.
  Buffer at(mlir::Value ptr, mlir::Type elementType, llvm::ArrayRef<nn::Dim> dims = {});
  void prefetch(mlir::Value ptr, Ix offset, mlir::Type elementType);

  //--- control flow ---------------------------------------------------------
  void loop(Ix low, Ix high, int64_t step, llvm::function_ref<void(Ix)> body);
  llvm::SmallVector<mlir::Value> loop(Ix low, Ix high, int64_t step, mlir::ValueRange init,
                                      llvm::function_ref<llvm::SmallVector<mlir::Value>(Ix, mlir::ValueRange)> body);
  void ifThen(mlir::Value cond, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);
  llvm::SmallVector<mlir::Value> ifElse(mlir::Value cond, mlir::TypeRange types,
                                        llvm::function_ref<llvm::SmallVector<mlir::Value>()> then,
                                        llvm::function_ref<llvm::SmallVector<mlir::Value>()> otherwise);
  llvm::SmallVector<mlir::Value> whileLoop(mlir::ValueRange init,
                                           llvm::function_ref<mlir::Value(mlir::ValueRange)> condition,
                                           llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange)> body);

  /// Coordinates of flat index `i` in a row-major space of the given sizes.
  llvm::SmallVector<Ix> delinearize(Ix i, llvm::ArrayRef<nn::Dim> dims);
  /// Row-major strides (in elements) of a shape.
  llvm::SmallVector<Ix> strides(llvm::ArrayRef<nn::Dim> dims);

  /// Clones the scalar code of `region` (map body, epilogue) for scalar or vector arguments and
  /// returns what its nn.yield yields. Vector arguments must all have the same number of lanes. An integer that the region only
  /// converts to floats may be given as a float.
  llvm::SmallVector<mlir::Value> inlineScalarRegion(mlir::Region &region, mlir::ValueRange args);

  /// Estimated work of one launch, for profiles.
  nn::Dim flops, bytes;
  /// Fewest tasks that are worth handing to a second thread.
  int64_t grain = 1;

private:
  friend class Lowering;
  friend class Ix;
  unsigned addBuffer(uint32_t programBuffer);
  mlir::func::FuncOp func;
  mlir::Block *entry = nullptr;
  mlir::Operation *op;
  std::string name;
  llvm::SmallVector<uint32_t> buffers;   // program buffer of each buffer operand
  llvm::SmallVector<mlir::Value> pointers; // its pointer (argument of the function)
  llvm::SmallVector<nn::Dim> dimOperands;
  llvm::SmallVector<mlir::Value> dimValues;
  llvm::SmallVector<bool> written, aliased;
  llvm::SmallVector<std::pair<uint32_t, uint32_t>> inPlace;
};

} // namespace nnopt::cpu

#endif

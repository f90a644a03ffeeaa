//===- Finish.h - bias, epilogue and store of contraction results -*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_CONTRACTION_FINISH_H
#define NNOPT_LIB_CODEGEN_CPU_CONTRACTION_FINISH_H

#include "lib/codegen/cpu/Kernel.h"
#include "lib/codegen/cpu/Lowering.h"

namespace nnopt::cpu {

/// Writes accumulators to a result that is seen as a matrix: its last dimension is the column, all
/// others together are the row. Starts accumulators with the bias (one value per column), applies
/// the epilogue region in registers, converts and stores its result, and the second one where the operation has one.
class Finish {
public:
  /// Reads what the epilogue of `op` needs; call before any loop. With `noColumns` the result has no column
  /// dimension (matrix times vector): it is one column wide. `bias`: unless it is added elsewhere.
  Finish(Kernel &k, nn::LinearOp op, mlir::Value bias, mlir::Type accType, bool noColumns = false);
  /// Takes a vector of the result: its row, its first column.
  using Sink = std::function<void(Ix, Ix, mlir::Value)>;
  /// The result goes to `sink` and is no operand of the kernel. Arguments of the epilogue are numbers or one per column.
  Finish(Kernel &k, nn::LinearOp op, mlir::Value bias, mlir::Type accType, Sink sink);
  /// Without bias and epilogue.
  Finish(Kernel &k, mlir::Value result, mlir::Type accType);

  /// Lets the result take the place of an epilogue argument of the same shape. Only where every
  /// element of the result is written once.
  void allowInPlace();

  /// The bias (or zero) for `nv` vectors from `column`; masks as in PanelAt, one value per vector.
  llvm::SmallVector<mlir::Value> bias(Ix column, int64_t nv, int64_t lanes, llvm::ArrayRef<mlir::Value> masks);
  /// The same for mr rows: the starting accumulators of a tile.
  llvm::SmallVector<mlir::Value> start(int64_t mr, Ix column, int64_t nv, int64_t lanes,
                                       llvm::ArrayRef<mlir::Value> masks);
  /// Whether sums of a part of the contracted dimension can wait in the result.
  bool canHoldPartialSums() const { return out.storageType == accType; }
  llvm::SmallVector<mlir::Value> loadPartial(int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv,
                                             int64_t lanes, llvm::ArrayRef<mlir::Value> masks);
  void storePartial(int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv, int64_t lanes,
                    llvm::ArrayRef<mlir::Value> masks, mlir::ValueRange acc);
  /// start(), or the partial sums when this is not the first of several parts.
  llvm::SmallVector<mlir::Value> startPart(Ix part, int64_t parts, int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, Ix column,
                                           int64_t nv, int64_t lanes, llvm::ArrayRef<mlir::Value> masks);
  /// store(), or storePartial() when this is not the last of several parts.
  void storePart(Ix part, int64_t parts, int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv,
                 int64_t lanes, llvm::ArrayRef<mlir::Value> masks, mlir::ValueRange acc);
  /// Finishes a tile: row i of it is result row rowOf(i).
  void store(int64_t mr, llvm::function_ref<Ix(Ix)> rowOf, Ix column, int64_t nv, int64_t lanes,
             llvm::ArrayRef<mlir::Value> masks, mlir::ValueRange acc);
  /// Finishes one vector (lanes > 0) or scalar (lanes == 0) of one row.
  void storeOne(Ix row, Ix column, int64_t lanes, mlir::Value mask, mlir::Value acc);
  /// Whether the epilogue is too long to be repeated for every vector of a tile.
  bool isLong() const { return bool(parked); }
  /// The bias of one column.
  mlir::Value biasScalar(Ix column);

  Buffer out;
  std::optional<Buffer> second;

private:
  struct Arg {
    enum Kind { Scalar, Columns, Same, General } kind;
    Buffer buffer;
    mlir::Value value;
    nn::Dims dims; // as many as the result has, columns included
  };
  struct Row {
    Ix index;
    Ix offset, inResult;        // as the row of a contiguous tensor, and in the result
    llvm::SmallVector<Ix> args; // offset of each argument's row
  };
  void readOperands(nn::LinearOp op, mlir::Value bias, bool noColumns);
  bool hasEpilogue() const { return epilogue && !epilogue->empty(); }
  /// Elements between rows of the result.
  Ix rowPitch();
  Row beginRow(Ix row);
  void finish(const Row &row, Ix column, int64_t lanes, mlir::Value mask, mlir::Value acc);
  mlir::Value toResult(mlir::Value v, const Buffer &buffer, int64_t lanes);
  mlir::Value loadArg(const Arg &arg, Ix rowOffset, Ix column, int64_t lanes, mlir::Value mask);

  Kernel &k;
  mlir::Value result;
  mlir::Region *epilogue = nullptr; // null or empty: the identity
  mlir::Type accType;
  nn::Dims dims; // of the result, columns included
  std::optional<Buffer> biasBuffer;
  llvm::SmallVector<Arg> args;
  /// For long epilogues: where a tile waits, so that the epilogue's code exists once.
  mlir::Value parked;
  Sink sink; // or null
};

/// The type products are accumulated in: f32 for narrow floats, the epilogue's first argument or
/// the result type for integers.
mlir::Type accumulatorType(mlir::Type operandType, mlir::Type resultType, mlir::Region *epilogue = nullptr);

/// Whether all that an epilogue does with a 32-bit sum is to make it an f32: sums that are exact in f32 can be given as such.
bool takesFloatSums(mlir::Region &epilogue);

} // namespace nnopt::cpu

#endif

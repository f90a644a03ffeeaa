//===- TensorMatMul.cpp - matrix products on tensor cores -------------------===//

#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cuda/TensorContraction.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

bool match(Operation *op, Lowering &l) {
  auto matmul = cast<nn::MatMulOp>(op);
  std::optional<MmaTypes> types = tensorTypes(matmul, l, matmul.getAZero(), matmul.getBZero());
  if (!types)
    return false;
  cpu::MatMulShape shape(matmul, l);
  // Zero points of batched weights would be those of columns of the last dimension only.
  return !matmul.getBZero() || shape.bShared;
}

LogicalResult emit(Operation *op, Lowering &l) {
  auto matmul = cast<nn::MatMulOp>(op);
  cpu::MatMulShape shape(matmul, l);
  TensorContraction c;
  c.op = matmul;
  c.name = "matmul";
  c.types = *tensorTypes(matmul, l, matmul.getAZero(), matmul.getBZero());
  c.m = shape.m;
  c.n = shape.n;
  c.depth = shape.depth;
  c.count = shape.outer;
  c.tile = TensorTile::choose(op, machineOf(l), c.types, c.m, c.n, c.depth, c.count);
  c.flops = shape.outer * shape.m * shape.n * shape.depth * 2;
  c.leftZero = matmul.getAZero();
  c.noColumns = shape.bVector;
  c.place = [&](Kernel &k, Ix index, Ix row, Ix column) {
    return std::pair(index * k.dim(shape.m) + row, column);
  };

  nn::Dim aMatrix = shape.m * shape.depth, bMatrix = shape.depth * shape.n;
  std::optional<TensorWeights> weights;
  std::optional<nn::ConstantData> data = l.constant(matmul.getB());
  if (data && shape.depth.isConst() && shape.n.isConst() &&
      llvm::all_of(shape.bBatch, [](nn::Dim d) { return d.isConst(); })) {
    int64_t products = 1, n = shape.n.value(), depth = shape.depth.value();
    for (nn::Dim d : shape.bBatch)
      products *= d.value();
    std::optional<nn::ConstantData> zero;
    if (matmul.getBZero())
      zero = l.constant(matmul.getBZero());
    weights.emplace(
        c.types, *data, products, n, depth, c.tile,
        [&](int64_t product, int64_t column, int64_t d) {
          return (product * n) * depth + (shape.transposeB ? column * depth + d : d * n + column);
        },
        zero ? &*zero : nullptr);
    c.weights = &*weights;
  }
  c.left = [&](Kernel &k, Ix index) {
    Buffer a = k.read(matmul.getA());
    return tensorMatrix(k, c, a, isAligned(l, matmul.getA()),
                         shape.batchOffset(k, index, shape.aBatch, aMatrix), shape.m, shape.depth,
                         !shape.transposeA);
  };
  c.right = [&](Kernel &k, Ix index) {
    Buffer b = k.read(matmul.getB());
    return tensorMatrix(k, c, b, isAligned(l, matmul.getB()),
                         shape.batchOffset(k, index, shape.bBatch, bMatrix), shape.n, shape.depth,
                         shape.transposeB);
  };
  c.weightsOf = [&](Kernel &k, Ix index) {
    return shape.batchOffset(k, index, shape.bBatch, l.c(1));
  };
  return emitTensorContraction(l, c);
}

RegisterEmitter matmul({"nn.matmul", "cuda-tensor-matmul", 20, match, emit});

} // namespace
} // namespace nnopt::cuda

//===- Transpose.cpp - transpose, depth_to_space, space_to_depth ------------===//

#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/memory/StridedCopy.h"

using namespace mlir;

namespace nnopt::cpu {
namespace {

/// x seen in the shape `dims`, permuted by `perm`, copied to the result.
LogicalResult emitPermuted(Operation *op, Lowering &l, Value x, ArrayRef<nn::Dim> dims, ArrayRef<int64_t> perm) {
  nn::DimContext &ctx = l.dimContext();
  Kernel k(l, op, op->getName().stripDialect());
  StridedCopy copy;
  copy.src = k.read(x);
  copy.dst = k.write(op->getResult(0));
  nn::Dims own = rowMajor(ctx, dims), source;
  for (int64_t p : perm) {
    copy.space.sizes.push_back(dims[p]);
    source.push_back(own[p]);
  }
  copy.space.strides = {rowMajor(ctx, copy.space.sizes), source};
  launchStridedCopy(l, k, copy);
  return success();
}

LogicalResult emitTranspose(Operation *op, Lowering &l) {
  auto transpose = cast<nn::TransposeOp>(op);
  StridedView view = readView(l, op->getOpOperand(0));
  Kernel k(l, op, "transpose");
  StridedCopy copy;
  copy.src = k.read(view.base);
  copy.dst = k.write(transpose.getResult());
  copy.from = k.dim(view.offset);
  nn::Dims source;
  for (int64_t p : transpose.getPerm())
    source.push_back(view.strides[p]);
  copy.space.sizes = copy.dst.dims;
  copy.space.strides = {rowMajor(l.dimContext(), copy.dst.dims), source};
  launchStridedCopy(l, k, copy);
  return success();
}

LogicalResult referenceTranspose(Operation *op, Lowering &l) {
  auto transpose = cast<nn::TransposeOp>(op);
  ArrayRef<int64_t> perm = transpose.getPerm();
  return emitElementCopy(op, l, transpose.getX(), transpose.getResult(),
                         [&](Kernel &k, ArrayRef<Ix> index, ArrayRef<Ix> strides) {
                           Ix offset = k.c(0);
                           for (auto [i, p] : llvm::enumerate(perm))
                             offset = offset + index[i] * strides[p];
                           return offset;
                         });
}

// depth_to_space of [N, C, H, W] with block b: [N, b, b, C', H, W] (or [N, C', b, b, H, W] in the
// column-row-depth order) becomes [N, C', H, b, W, b], which is [N, C', H b, W b].
LogicalResult emitDepthToSpace(Operation *op, Lowering &l) {
  auto d2s = cast<nn::DepthToSpaceOp>(op);
  const nn::Dims &x = l.dims(d2s.getX());
  nn::Dim b = l.c(d2s.getBlocksize()), c = l.dims(d2s.getResult())[1];
  if (d2s.getCrd())
    return emitPermuted(op, l, d2s.getX(), {x[0], c, b, b, x[2], x[3]}, {0, 1, 4, 2, 5, 3});
  return emitPermuted(op, l, d2s.getX(), {x[0], b, b, c, x[2], x[3]}, {0, 3, 4, 1, 5, 2});
}

LogicalResult referenceDepthToSpace(Operation *op, Lowering &l) {
  auto d2s = cast<nn::DepthToSpaceOp>(op);
  int64_t b = d2s.getBlocksize();
  nn::Dim channels = l.dims(d2s.getResult())[1];
  bool crd = d2s.getCrd();
  return emitElementCopy(op, l, d2s.getX(), d2s.getResult(),
                         [&](Kernel &k, ArrayRef<Ix> i, ArrayRef<Ix> s) {
                           Ix block = (i[2] % b) * b + i[3] % b;
                           Ix c = crd ? i[1] * (b * b) + block : block * k.dim(channels) + i[1];
                           return i[0] * s[0] + c * s[1] + (i[2] / b) * s[2] + (i[3] / b) * s[3];
                         });
}

// space_to_depth is the inverse: [N, C, H', b, W', b] becomes [N, b, b, C, H', W'] or [N, C, b, b, H', W'].
LogicalResult emitSpaceToDepth(Operation *op, Lowering &l) {
  auto s2d = cast<nn::SpaceToDepthOp>(op);
  const nn::Dims &x = l.dims(s2d.getX()), &out = l.dims(s2d.getResult());
  nn::Dim b = l.c(s2d.getBlocksize());
  return emitPermuted(op, l, s2d.getX(), {x[0], x[1], out[2], b, out[3], b},
                     s2d.getCrd() ? ArrayRef<int64_t>{0, 1, 3, 5, 2, 4} : ArrayRef<int64_t>{0, 3, 5, 1, 2, 4});
}

LogicalResult referenceSpaceToDepth(Operation *op, Lowering &l) {
  auto s2d = cast<nn::SpaceToDepthOp>(op);
  int64_t b = s2d.getBlocksize();
  nn::Dim channels = l.dims(s2d.getX())[1];
  bool crd = s2d.getCrd();
  return emitElementCopy(op, l, s2d.getX(), s2d.getResult(),
                         [&](Kernel &k, ArrayRef<Ix> i, ArrayRef<Ix> s) {
                           Ix c = crd ? i[1] / (b * b) : i[1] % k.dim(channels);
                           Ix block = crd ? i[1] % (b * b) : i[1] / k.dim(channels);
                           return i[0] * s[0] + c * s[1] + (i[2] * b + block / b) * s[2] +
                                  (i[3] * b + block % b) * s[3];
                         });
}

RegisterEmitter transposeReference({"nn.transpose", "transpose-reference", 0, nullptr, referenceTranspose});
RegisterEmitter transpose({"nn.transpose", "transpose", 10, nullptr, emitTranspose});
RegisterEmitter depthToSpaceReference(
    {"nn.depth_to_space", "depth-to-space-reference", 0, nullptr, referenceDepthToSpace});
RegisterEmitter depthToSpace({"nn.depth_to_space", "depth-to-space", 10, nullptr, emitDepthToSpace});
RegisterEmitter spaceToDepthReference(
    {"nn.space_to_depth", "space-to-depth-reference", 0, nullptr, referenceSpaceToDepth});
RegisterEmitter spaceToDepth({"nn.space_to_depth", "space-to-depth", 10, nullptr, emitSpaceToDepth});

} // namespace
} // namespace nnopt::cpu

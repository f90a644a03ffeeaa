//===- Normalization.cpp - export rules of normalization and softmax ------===//
//
// LayerNormalization (opset 17), GroupNormalization with one scale for each channel (21) and
// RMSNormalization (23) are written out for older operator sets.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/ops/Layout.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

pb::AttributeProto epsilonAttr(const APFloat &epsilon) { return floatAttr("epsilon", epsilon.convertToDouble()); }

void exportBatchNorm(OpExport &e, nn::BatchNormOp op) {
  finishPlain(e, "BatchNormalization", op.getX(),
              {e.name(op.getScale()), e.name(op.getBias()), e.name(op.getMean()), e.name(op.getVariance())},
              {epsilonAttr(op.getEpsilon())}, op.getChannelsLast());
}

Ints from(int64_t axis, int64_t rank) {
  Ints axes;
  for (; axis < rank; ++axis)
    axes.push_back(axis);
  return axes;
}

std::string meanFrom(OpExport &e, std::string x, int64_t axis, int64_t rank) {
  return e.withAxes("ReduceMean", x, from(axis, rank), 18);
}

/// x / sqrt(mean(x^2) + epsilon), in f32 at least.
std::string normalized(OpExport &e, std::string x, int64_t axis, Value like, const APFloat &epsilon, Type wide) {
  std::string variance = meanFrom(e, e.step("Mul", {x, x}), axis, rankOf(like));
  std::string shifted = e.step("Add", {variance, e.number(epsilon.convertToDouble(), wide)});
  return e.step("Div", {x, e.step("Sqrt", {shifted})});
}

void exportLayerNorm(OpExport &e, nn::LayerNormOp op) {
  if (e.opset() >= 17) {
    e.finish("LayerNormalization", e.allIn(), {intAttr("axis", op.getAxis()), epsilonAttr(op.getEpsilon())});
    return;
  }
  Type type = elementTypeOf(op.getX());
  Type wide = isa<Float64Type>(type) ? type : Float32Type::get(type.getContext());
  std::string x = wide == type ? e.in(0) : e.cast(e.in(0), wide);
  std::string centered = e.step("Sub", {x, meanFrom(e, x, op.getAxis(), rankOf(op.getX()))});
  std::string y = normalized(e, centered, op.getAxis(), op.getX(), op.getEpsilon(), wide);
  if (wide != type)
    y = e.cast(y, type);
  if (!op.getBias())
    return e.finish("Mul", {y, e.name(op.getScale())});
  e.finish("Add", {e.step("Mul", {y, e.name(op.getScale())}), e.name(op.getBias())});
}

void exportRMSNorm(OpExport &e, nn::RMSNormOp op) {
  if (e.opset() >= 23) {
    e.finish("RMSNormalization", e.allIn(), {intAttr("axis", op.getAxis()), epsilonAttr(op.getEpsilon())});
    return;
  }
  Type type = elementTypeOf(op.getX());
  Type wide = isa<Float64Type>(type) ? type : Float32Type::get(type.getContext());
  std::string x = wide == type ? e.in(0) : e.cast(e.in(0), wide);
  std::string y = normalized(e, x, op.getAxis(), op.getX(), op.getEpsilon(), wide);
  if (wide != type)
    y = e.cast(y, type);
  e.finish("Mul", {y, e.name(op.getScale())});
}

/// Before GroupNormalization of opset 21: groups are instances of [N, groups, rest].
void exportGroupNorm(OpExport &e, nn::GroupNormOp op) {
  int64_t rank = rankOf(op.getX()), axis = op.getChannelsLast() ? rank - 1 : 1;
  int64_t channels = tensorType(op.getX()).getDimSize(axis), groups = op.getNumGroups();
  std::string scale = e.name(op.getScale()), bias = e.name(op.getBias());
  if (channels == groups || tensorType(op.getScale()).getDimSize(0) == groups) {
    finishPlain(e, "InstanceNormalization", op.getX(), {scale, bias}, {epsilonAttr(op.getEpsilon())}, op.getChannelsLast());
    return;
  }
  if (e.opset() >= 21) {
    finishPlain(e, "GroupNormalization", op.getX(), {scale, bias}, {intAttr("num_groups", groups), epsilonAttr(op.getEpsilon())},
                op.getChannelsLast());
    return;
  }
  Type type = elementTypeOf(op.getX());
  std::string x = op.getChannelsLast() ? e.transpose(e.in(0), toChannelsFirst(rank)) : e.in(0);
  std::string ones = e.number(1, type, {groups}), zeros = e.number(0, type, {groups});
  std::string rows = e.step("Reshape", {x, e.ints({0, groups, -1})});
  rows = e.step("InstanceNormalization", {rows, ones, zeros}, {epsilonAttr(op.getEpsilon())});
  std::string y = e.step("Reshape", {rows, e.step("Shape", {x})});
  // One number for each channel, against [N, C, ...].
  Ints positions = from(1, rank - 1);
  scale = e.withAxes("Unsqueeze", scale, positions);
  bias = e.withAxes("Unsqueeze", bias, positions);
  y = e.step("Mul", {y, scale});
  if (!op.getChannelsLast())
    return e.finish("Add", {y, bias});
  e.finish("Transpose", {e.step("Add", {y, bias})}, {intsAttr("perm", toChannelsLast(rank))});
}

void exportLpNorm(OpExport &e, nn::LpNormOp op) {
  if (double floor = op.getFloor().convertToDouble(); floor > 0) { // LpNormalization has none.
    bool isSum = op.getP() == 1;
    std::string norm = e.withAxes(isSum ? "ReduceL1" : "ReduceL2", e.in(0), {int64_t(op.getAxis())}, 18);
    norm = e.step("Max", {norm, e.number(floor, elementTypeOf(op.getX()))});
    return e.finish("Div", {e.in(0), norm});
  }
  e.finish("LpNormalization", e.allIn(), {intAttr("axis", op.getAxis()), intAttr("p", op.getP())});
}

void exportLRN(OpExport &e, nn::LRNOp op) {
  e.finish("LRN", e.allIn(),
           {floatAttr("alpha", op.getAlpha().convertToDouble()), floatAttr("beta", op.getBeta().convertToDouble()),
            floatAttr("bias", op.getBias().convertToDouble()), intAttr("size", op.getSize())});
}

/// Before opset 13 every dimension from the axis on takes part, which is the same for the last one; another
/// is brought there first.
void exportSoftmax(OpExport &e, nn::SoftmaxOp op) {
  StringRef type = op.getLog() ? "LogSoftmax" : "Softmax";
  int64_t rank = rankOf(op.getX()), axis = op.getAxis();
  if (e.opset() >= 13 || axis == rank - 1) {
    e.finish(type, e.allIn(), {intAttr("axis", axis)});
    return;
  }
  Ints swap = from(0, rank);
  std::swap(swap[axis], swap[rank - 1]);
  std::string y = e.step(type, {e.transpose(e.in(0), swap)}, {intAttr("axis", rank - 1)});
  e.finish("Transpose", {y}, {intsAttr("perm", swap)});
}

} // namespace

void addNormalization(ExportRegistry &r) {
  r.add<nn::BatchNormOp>(exportBatchNorm);
  r.add<nn::LayerNormOp>(exportLayerNorm);
  r.add<nn::RMSNormOp>(exportRMSNorm);
  r.add<nn::GroupNormOp>(exportGroupNorm);
  r.add<nn::LpNormOp>(exportLpNorm);
  r.add<nn::LRNOp>(exportLRN);
  r.add<nn::SoftmaxOp>(exportSoftmax);
}

} // namespace nnopt::onnx

//===- Random.cpp - export rules of random numbers ------------------------===//
//
// A constant key is the seed of a node; a key that is new each time is a node without one. Two nodes never share
// numbers in ONNX, so a key that several operations read has no form.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/Exporter.h"
#include "lib/codegen/Program.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// The seed of a constant key, see the importer; nothing for a key without one.
std::optional<double> seedOf(OpExport &e, Value key) {
  if (auto anew = key.getDefiningOp<nn::RandomKeyOp>()) {
    if (!key.hasOneUse() || anew->getBlock() != e.op->getBlock())
      e.unsupported("key", "several operations, or iterations of a loop, draw the same numbers");
    return std::nullopt;
  }
  std::optional<Ints> parts = e.content(key);
  double seed = parts && parts->size() == 2 ? llvm::bit_cast<double>(uint64_t(parts->front())) : 0;
  if (!parts || parts->size() != 2 || parts->back() != -1 || double(float(seed)) != seed)
    e.unsupported("key", "it is no seed that ONNX can hold, which is an f32");
  return seed;
}

void exportRandom(OpExport &e, nn::RandomOp op) {
  Attrs attrs = {intAttr("dtype", onnxDataType(op.getElement()))};
  if (std::optional<double> seed = seedOf(e, op.getKey()))
    attrs.push_back(floatAttr("seed", *seed));
  std::string type = op.getDistribution() == nn::Distribution::normal ? "RandomNormal" : "RandomUniform";
  if (std::optional<Ints> shape = e.content(op.getShape())) {
    attrs.push_back(intsAttr("shape", *shape));
    return e.finish(type, {}, std::move(attrs));
  }
  // The shape of a value, as it was written, or of one that is made for it.
  auto measured = op.getShape().getDefiningOp<nn::ShapeOp>();
  bool whole = measured && measured.getStart() == 0 && !measured.getEnd() && isa<FloatType>(elementTypeOf(measured.getX()));
  std::string like = whole ? e.name(measured.getX()) : e.step("ConstantOfShape", {e.shape(op.getShape())});
  e.need(whole ? 1 : 9);
  e.finish(type + "Like", {like}, std::move(attrs));
}

/// It has no node of its own.
void exportKey(OpExport &e, nn::RandomKeyOp op) {
  if (e.exporter.isOutput(op.getResult()))
    e.unsupported("key", "it is an output");
  e.finishAs({""});
}

} // namespace

void addRandom(ExportRegistry &r) {
  r.add<nn::RandomOp>(exportRandom);
  r.add<nn::RandomKeyOp>(exportKey);
}

} // namespace nnopt::onnx

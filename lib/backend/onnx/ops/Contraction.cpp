//===- Contraction.cpp - export rules of convolutions and matrix products -===//
//
// ONNX knows channels first only, and no epilogues: both are undone here, by transposes around the
// node and by elementwise nodes behind it.
//
//===----------------------------------------------------------------------===//
#include "lib/backend/onnx/ops/Layout.h"

using namespace mlir;

namespace nnopt::onnx {
namespace {

/// The node of a contraction: the result itself where nothing follows it.
template <typename OpTy>
void finishContraction(OpExport &e, OpTy op, StringRef type, ArrayRef<std::string> inputs, Attrs attrs, bool channelsAreLast) {
  bool epilogue = !op.getEpilogue().empty();
  if (!epilogue && !channelsAreLast) {
    e.finish(type, inputs, std::move(attrs));
    return;
  }
  std::string y = e.step(type, inputs, std::move(attrs));
  int64_t rank = rankOf(op.getResult());
  if (channelsAreLast && !epilogue) {
    e.finish("Transpose", {y}, {intsAttr("perm", toChannelsLast(rank))});
    return;
  }
  if (channelsAreLast)
    y = e.transpose(y, toChannelsLast(rank));
  Names args = {y};
  SmallVector<Type> types = {elementTypeOf(op.getResult())};
  // The accumulator may be wider or narrower than the result (integers).
  Block &block = op.getEpilogue().front();
  if (types[0] != block.getArgument(0).getType() && !types[0].isUnsignedInteger())
    e.unsupported("epilogue", "its accumulator has another type than the result");
  for (Value v : op.getEpilogueArgs()) {
    args.push_back(e.name(v));
    types.push_back(elementTypeOf(v));
  }
  SmallVector<Type> results;
  for (Value v : op->getResults())
    results.push_back(elementTypeOf(v));
  e.finishAs(exportScalarRegion(e, block, args, types, results));
}

template <typename OpTy> Attrs windowAttrs(OpTy op) {
  Ints kernel(tensorType(op.getW()).getShape().drop_front(2));
  return {intsAttr("kernel_shape", kernel), intsAttr("strides", op.getStrides()), intsAttr("pads", op.getPads()),
          intsAttr("dilations", op.getDilations()), intAttr("group", op.getGroup())};
}

template <typename OpTy> void exportConvolution(OpExport &e, OpTy op, StringRef type, Attrs attrs) {
  std::string x = e.name(op.getX());
  if (op.getChannelsLast())
    x = e.transpose(x, toChannelsFirst(rankOf(op.getX())));
  finishContraction(e, op, type, {x, e.name(op.getW()), e.name(op.getBias())}, std::move(attrs), op.getChannelsLast());
}

/// Whether the operands are integers that accumulate in i32: ONNX has operators of their own for bytes, without bias.
bool isByteProduct(OpExport &e, Value x) {
  auto type = dyn_cast<IntegerType>(elementTypeOf(x));
  if (!type || type.getWidth() > 8)
    return false;
  if (type.getWidth() < 8)
    e.unsupported("type", "ONNX has no product of integers narrower than 8 bits");
  return true;
}

/// One of them, with the bias added behind it.
template <typename OpTy>
void finishByteProduct(OpExport &e, OpTy op, StringRef type, ArrayRef<std::string> inputs, Attrs attrs, std::string bias,
                       bool channelsAreLast) {
  e.need(10);
  if (bias.empty())
    return finishContraction(e, op, type, inputs, std::move(attrs), channelsAreLast);
  finishContraction(e, op, "Add", {e.step(type, inputs, std::move(attrs)), bias}, {}, channelsAreLast);
}

void exportConv(OpExport &e, nn::ConvOp op) {
  if (!isByteProduct(e, op.getX()))
    return exportConvolution(e, op, "Conv", windowAttrs(op));
  std::string x = e.name(op.getX());
  if (op.getChannelsLast())
    x = e.transpose(x, toChannelsFirst(rankOf(op.getX())));
  std::string bias;
  if (op.getBias()) {
    Ints along(rankOf(op.getX()) - 1, 1);
    along[0] = -1;
    bias = e.step("Reshape", {e.name(op.getBias()), e.ints(along)});
  }
  finishByteProduct(e, op, "ConvInteger", {x, e.name(op.getW()), e.name(op.getXZero()), e.name(op.getWZero())},
                    windowAttrs(op), bias, op.getChannelsLast());
}

void exportConvTranspose(OpExport &e, nn::ConvTransposeOp op) {
  Attrs attrs = windowAttrs(op);
  attrs.push_back(intsAttr("output_padding", op.getOutputPadding()));
  exportConvolution(e, op, "ConvTranspose", std::move(attrs));
}

/// x with its last two dimensions swapped.
std::string swapped(OpExport &e, Value x) {
  int64_t rank = rankOf(x);
  if (rank < 2)
    return e.name(x);
  Ints perm;
  for (int64_t i = 0; i < rank - 2; ++i)
    perm.push_back(i);
  perm.append({rank - 1, rank - 2});
  return e.transpose(e.name(x), perm);
}

/// Matrices with a bias or a transposed operand are Gemm; a batch is MatMul, with what it lacks around it.
void exportMatMul(OpExport &e, nn::MatMulOp op) {
  Value a = op.getA(), b = op.getB(), bias = op.getBias();
  if (isByteProduct(e, a)) {
    Names inputs = {op.getTransposeA() ? swapped(e, a) : e.name(a), op.getTransposeB() ? swapped(e, b) : e.name(b),
                    e.name(op.getAZero()), e.name(op.getBZero())};
    finishByteProduct(e, op, "MatMulInteger", inputs, {}, e.name(bias), false);
    return;
  }
  bool transposes = op.getTransposeA() || op.getTransposeB();
  Type type = elementTypeOf(a);
  bool gemm = rankOf(a) == 2 && rankOf(b) == 2 && (bias || transposes) &&
              (isa<FloatType>(type) || type.isInteger(32) || type.isInteger(64)) && (bias || e.opset() >= 11);
  if (gemm) {
    Attrs attrs;
    if (op.getTransposeA())
      attrs.push_back(intAttr("transA", 1));
    if (op.getTransposeB())
      attrs.push_back(intAttr("transB", 1));
    finishContraction(e, op, "Gemm", {e.name(a), e.name(b), e.name(bias)}, std::move(attrs), false);
    return;
  }
  Names inputs = {op.getTransposeA() ? swapped(e, a) : e.name(a), op.getTransposeB() ? swapped(e, b) : e.name(b)};
  if (bias)
    finishContraction(e, op, "Add", {e.step("MatMul", inputs), e.name(bias)}, {}, false);
  else
    finishContraction(e, op, "MatMul", inputs, {}, false);
}

void exportEinsum(OpExport &e, nn::EinsumOp op) {
  e.need(12);
  e.finish("Einsum", e.allIn(), {stringAttr("equation", op.getEquation())});
}

/// All experts on all rows, with units of an expert multiplied by its score, as one hidden layer: ONNX has no mixtures.
void exportMoE(OpExport &e, nn::MoEOp op) {
  ArrayRef<int64_t> w1 = tensorType(op.getW1()).getShape(), w2 = tensorType(op.getW2()).getShape();
  if (llvm::any_of(w1, ShapedType::isDynamic) || ShapedType::isDynamic(w2[1]))
    e.unsupported("weights", "a mixture of experts needs weights of static shape");
  int64_t experts = w1[0], hidden = w1[1], units = experts * hidden, rank = rankOf(op.getX());
  Type type = elementTypeOf(op.getX());
  auto layer = [&](Value w, Value bias) {
    std::string flat = e.step("Reshape", {e.name(w), e.ints({units, w1[2]})});
    std::string y = e.step("MatMul", {e.name(op.getX()), e.transpose(flat, {1, 0})});
    return bias ? e.step("Add", {y, e.step("Reshape", {e.name(bias), e.ints({units})})}) : y;
  };
  Names args = {layer(op.getW1(), op.getBias1())};
  if (op.getW3())
    args.push_back(layer(op.getW3(), op.getBias3()));
  SmallVector<Type> types(args.size(), type);
  std::string h = exportScalarRegion(e, op.getActivation().front(), args, types, {type})[0];
  // 0 stands for a dimension that stays.
  Ints apart(rank - 1, 0), together(rank - 1, 0);
  apart.append({experts, hidden});
  together.push_back(units);
  std::string score = e.withAxes("Unsqueeze", e.name(op.getScore()), {rank});
  h = e.step("Mul", {e.step("Reshape", {h, e.ints(apart)}), score});
  h = e.step("Reshape", {h, e.ints(together)});
  std::string second = e.step("Reshape", {e.transpose(e.name(op.getW2()), {0, 2, 1}), e.ints({units, w2[1]})});
  if (!op.getBias())
    return e.finish("MatMul", {h, second});
  e.finish("Add", {e.step("MatMul", {h, second}), e.name(op.getBias())});
}

} // namespace

void addContractions(ExportRegistry &r) {
  r.add<nn::ConvOp>(exportConv);
  r.add<nn::ConvTransposeOp>(exportConvTranspose);
  r.add<nn::MatMulOp>(exportMatMul);
  r.add<nn::EinsumOp>(exportEinsum);
  r.add<nn::MoEOp>(exportMoE);
  r.add<nn::DetOp>("Det", 11);
}

} // namespace nnopt::onnx

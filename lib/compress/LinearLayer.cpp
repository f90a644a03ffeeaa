//===- LinearLayer.cpp - a linear operation as a matrix ---------------------===//

#include "lib/compress/LinearLayer.h"
#include <numeric>

using namespace mlir;

namespace nnopt::compress {

Value besideInSum(Value result) {
  if (!result.hasOneUse())
    return {};
  auto sum = dyn_cast<nn::AddOp>(*result.user_begin());
  if (!sum)
    return {};
  Value other = sum.getLhs() == result ? sum.getRhs() : sum.getLhs();
  Operation *definition = other.getDefiningOp();
  if (isConstant(other) || shapeOf(other) != shapeOf(result) ||
      (definition && !definition->isBeforeInBlock(result.getDefiningOp())))
    return {};
  return other;
}

std::optional<LinearLayer> LinearLayer::get(Operation *op, std::string *why, Groups groups) {
  auto refuse = [&](const char *reason) -> std::optional<LinearLayer> {
    if (why)
      *why = reason;
    return std::nullopt;
  };
  auto conv = dyn_cast<nn::ConvOp>(op);
  auto matmul = dyn_cast<nn::MatMulOp>(op);
  if (!conv && !matmul)
    return refuse("it is no convolution or matrix product");
  LinearLayer layer;
  layer.operation = op;
  nn::LinearOp linear = layer.op();
  if (!isPlainF32(linear))
    return refuse("it has an epilogue or is not of 32-bit floats");
  if (!isConstant(linear.getWeight()) || !nn::ConstantData::get(linear.getWeight()))
    return refuse("its weights are not constant");
  if (isConstant(linear.getActivation()))
    return refuse("its activation is constant");
  if (Value bias = linear.getBias(); bias && !numbersOf(bias))
    return refuse("its bias is not constant");
  ArrayRef<int64_t> shape = shapeOf(linear.getWeight());
  if (conv) {
    layer.groupCount = conv.getGroup();
    if (layer.groupCount != 1 && groups == Groups::Refused)
      return refuse(conv.getGroup() == linear.getInChannels() ? "it is a depthwise convolution"
                                                              : "it is a grouped convolution");
    layer.out = shape[0];
    layer.in = shape[1];
    for (int64_t size : shape.drop_front(2))
      layer.kernelSize *= size;
  } else {
    if (shape.size() != 2 || matmul.getTransposeA())
      return refuse("it is no product of rows with one matrix");
    layer.out = linear.getOutChannels();
    layer.in = linear.getInChannels();
    layer.outLast = !matmul.getTransposeB();
  }
  if (layer.out == 0 || layer.columns() == 0)
    return refuse("it has no weights");
  return layer;
}

LayerWeights LinearLayer::weights() const {
  nn::LinearOp op = this->op();
  LayerWeights result;
  std::vector<float> values = nn::ConstantData::get(op.getWeight())->asFloats();
  if (outLast)
    result.weights = Eigen::Map<const Matrix>(values.data(), columns(), out).transpose();
  else
    result.weights = Eigen::Map<const Matrix>(values.data(), out, columns());
  result.bias = Vector::Zero(out);
  if (Value bias = op.getBias()) {
    std::vector<double> numbers = *numbersOf(bias);
    for (int64_t i = 0; i < out; ++i)
      result.bias[i] = float(numbers[numbers.size() == 1 ? 0 : i]);
  }
  return result;
}

std::vector<float> LinearLayer::inOrder(const Matrix &weights) const {
  std::vector<float> values(out * columns());
  if (outLast)
    Eigen::Map<Matrix>(values.data(), columns(), out) = weights.transpose();
  else
    Eigen::Map<Matrix>(values.data(), out, columns()) = weights;
  return values;
}

Value LinearLayer::withWeights(RewriterBase &rewriter, const LayerWeights &weights) const {
  nn::LinearOp op = this->op();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  MLIRContext *ctx = rewriter.getContext();
  Value w = nn::ConstantOp::create(
      rewriter, op.getLoc(),
      nn::makeFloats(ctx, shapeOf(op.getWeight()), inOrder(weights.weights), "weight"));
  Value bias;
  if (op.getBias() || !weights.bias.isZero(0))
    bias = nn::ConstantOp::create(
        rewriter, op.getLoc(),
        nn::makeFloats(ctx, {out}, {weights.bias.data(), size_t(weights.bias.size())}, "bias"));
  return op.cloneWith(rewriter, op.getLoc(), op.getActivation(), w, bias)->getResult(0);
}

bool LinearLayer::sameColumns(const LinearLayer &other) const {
  if (activation() != other.activation() || columns() != other.columns())
    return false;
  auto a = dyn_cast<nn::ConvOp>(operation), b = dyn_cast<nn::ConvOp>(other.operation);
  if (!a || !b)
    return !a && !b;
  return a.getGroup() == b.getGroup() &&
         shapeOf(a.getW()).drop_front(1) == shapeOf(b.getW()).drop_front(1) &&
         a.getStrides() == b.getStrides() && a.getPads() == b.getPads() &&
         a.getDilations() == b.getDilations() && a.getChannelsLast() == b.getChannelsLast();
}

namespace {

/// The positions of a convolution's kernel over an activation.
struct Patches {
  SmallVector<int64_t> sizes, outs, kernel, strides, pads, dilations,
      steps; // of each spatial dimension
  int64_t batch, channels, channelStep, batchStep, rows;

  Patches(nn::ConvOp conv, const std::vector<int64_t> &shape) {
    int64_t spatial = int64_t(shape.size()) - 2;
    bool last = conv.getChannelsLast();
    batch = shape[0];
    channels = shape[last ? spatial + 1 : 1];
    kernel.assign(shapeOf(conv.getW()).drop_front(2).begin(), shapeOf(conv.getW()).end());
    strides.assign(conv.getStrides().begin(), conv.getStrides().end());
    pads.assign(conv.getPads().begin(), conv.getPads().end());
    dilations.assign(conv.getDilations().begin(), conv.getDilations().end());
    channelStep = 1;
    batchStep = channels;
    rows = batch;
    for (int64_t d = 0; d < spatial; ++d) {
      sizes.push_back(shape[last ? d + 1 : d + 2]);
      outs.push_back((sizes[d] + pads[d] + pads[spatial + d] - dilations[d] * (kernel[d] - 1) - 1) /
                         strides[d] +
                     1);
      batchStep *= sizes[d];
      rows *= outs[d];
    }
    steps.resize(spatial);
    int64_t step = last ? channels : 1;
    for (int64_t d = spatial; d-- > 0; step *= sizes[d])
      steps[d] = step;
    if (!last)
      channelStep = step;
  }
};

} // namespace

int64_t LinearLayer::rowCount(const std::vector<int64_t> &shape) const {
  if (auto conv = dyn_cast<nn::ConvOp>(operation))
    return Patches(conv, shape).rows;
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>()) / in;
}

Matrix everyRow(const HostTensor &tensor, int64_t step) {
  int64_t width = tensor.shape.back(), rows = tensor.count() / std::max<int64_t>(1, width);
  int64_t taken = (rows + step - 1) / step;
  const float *x = reinterpret_cast<const float *>(tensor.data());
  Matrix result(taken, width);
  for (int64_t r = 0; r < taken; ++r)
    result.row(r) = Eigen::Map<const Eigen::RowVectorXf>(x + r * step * width, width);
  return result;
}

Matrix LinearLayer::rowsOf(const HostTensor &activation, int64_t step, int64_t group) const {
  auto conv = dyn_cast<nn::ConvOp>(operation);
  if (!conv)
    return everyRow(activation, step);
  const float *x = reinterpret_cast<const float *>(activation.data());
  int64_t rows = rowCount(activation.shape), taken = (rows + step - 1) / step;
  Matrix result(taken, columns());
  Patches p(conv, activation.shape);
  int64_t spatial = int64_t(p.sizes.size());
  // Where the elements of the kernel are, from its first one.
  SmallVector<int64_t> places(kernelSize * spatial), offsets(kernelSize);
  for (int64_t k = 0; k < kernelSize; ++k)
    for (int64_t d = spatial, rest = k; d-- > 0; rest /= p.kernel[d]) {
      places[k * spatial + d] = rest % p.kernel[d] * p.dilations[d];
      offsets[k] += places[k * spatial + d] * p.steps[d];
    }
  SmallVector<int64_t> first(spatial);
  for (int64_t r = 0; r < taken; ++r) {
    int64_t position = r * step, corner = 0;
    for (int64_t d = spatial; d-- > 0; position /= p.outs[d]) {
      first[d] = position % p.outs[d] * p.strides[d] - p.pads[d];
      corner += first[d] * p.steps[d];
    }
    const float *image = x + position * p.batchStep + group * in * p.channelStep;
    float *row = result.row(r).data();
    for (int64_t k = 0; k < kernelSize; ++k) {
      bool inside = true;
      for (int64_t d = 0; d < spatial; ++d) {
        int64_t at = first[d] + places[k * spatial + d];
        inside &= at >= 0 && at < p.sizes[d];
      }
      for (int64_t c = 0; c < in; ++c)
        row[c * kernelSize + k] = inside ? image[corner + offsets[k] + c * p.channelStep] : 0;
    }
  }
  return result;
}

Matrix LinearLayer::resultRowsOf(const HostTensor &result, int64_t step) const {
  const float *y = reinterpret_cast<const float *>(result.data());
  int64_t rows = result.count() / out, taken = (rows + step - 1) / step;
  auto conv = dyn_cast<nn::ConvOp>(operation);
  // Positions of one sample lie behind each other in each channel, or channels at each position.
  int64_t inner = conv && !conv.getChannelsLast() ? rows / result.shape[0] : 1;
  Matrix values(taken, out);
  for (int64_t r = 0; r < taken; ++r) {
    int64_t row = r * step;
    const float *first = y + row / inner * inner * out + row % inner;
    for (int64_t c = 0; c < out; ++c)
      values(r, c) = first[c * inner];
  }
  return values;
}

} // namespace nnopt::compress

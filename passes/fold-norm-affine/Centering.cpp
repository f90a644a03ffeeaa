//===- Centering.cpp - layer_norm of centered rows ------------------------===//
//
// With P x = x - mean(x) of each row, layer_norm(x) = rms_norm(P x), and layer_norm(P x) = layer_norm(x), since P is
// a projection. A stream is a set of values that are computed from linear operations, tables and constants by
// additions and by moving rows, and that only layer_norms read. P goes into all of its producers, as it is linear:
// P (W z + b) = (P W) z + P b (Jiang et al. 2023, "Pre-RMSNorm and Pre-CRMSNorm Transformers", section 3.2; Ashkboos
// et al. 2024, "SliceGPT", section 3.2). Then every layer_norm of the stream may take rms_norm's place: rows have
// mean 0. What reads the stream otherwise would see other values.
//
//===----------------------------------------------------------------------===//
#include "passes/fold-norm-affine/Centering.h"

#include "passes/common/Affine.h"

#include "llvm/ADT/SetVector.h"
#include <cstring>

using namespace mlir;

namespace nnopt {
namespace {

class Stream {
public:
  Stream(FuncShapes &shapes, nn::Dim width) : shapes(shapes), width(width) {}

  /// Adds v, whose dimension `axis` is the row, and all that belongs to it. Says why the stream is none.
  std::string collect(Value v, int64_t axis);
  void apply(IRRewriter &rewriter, int64_t &count);

private:
  std::string add(Value v, int64_t axis);
  std::string addOperand(OpOperand &operand, int64_t axis);
  std::string addProducer(Value v, int64_t axis);
  std::string addReader(OpOperand &use, int64_t axis);
  std::optional<int64_t> axisBefore(Operation *op, int64_t axis);
  std::optional<int64_t> axisBehind(OpOperand &use, int64_t axis);

  FuncShapes &shapes;
  nn::Dim width;
  DenseMap<Value, int64_t> axes;
  SmallVector<std::pair<Value, int64_t>> work;
  llvm::SetVector<Operation *> linears, norms;
  /// Constants, and the dimension of the row; -1: they are the same along it.
  SmallVector<std::pair<OpOperand *, int64_t>> constants;
};

std::string nameOf(Operation *op) { return op->getName().getStringRef().str(); }

/// The dimension of `to` that is dimension `axis` of `from`, as the same elements in the same order.
std::optional<int64_t> sameDimension(ArrayRef<nn::Dim> from, int64_t axis, ArrayRef<nn::Dim> to) {
  nn::DimContext &ctx = from[axis].context();
  for (size_t i = 0; i < to.size(); ++i)
    if (to[i] == from[axis] && product(ctx, to.take_front(i)) == product(ctx, from.take_front(axis)))
      return i;
  return std::nullopt;
}

bool isView(Operation *op) { return isa<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>(op); }
/// Operations that keep the dimensions of their operands but for lengths of some.
bool keepsAxes(Operation *op) { return isa<nn::ConcatOp, nn::SliceOp, nn::SplitOp>(op); }

/// The dimension of the row in the operand that an operation moves it from.
std::optional<int64_t> Stream::axisBefore(Operation *op, int64_t axis) {
  ArrayRef<nn::Dim> from = shapes.dims(op->getOperand(0)), to = shapes.dims(op->getResult(0));
  if (isView(op))
    return sameDimension(to, axis, from);
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return transpose.getPerm()[axis];
  if (auto gather = dyn_cast<nn::GatherOp>(op)) {
    int64_t at = gather.getAxis(), more = rankOf(gather.getIndices());
    if (axis >= at && axis < at + more)
      return std::nullopt;
    return axis < at ? axis : axis - more + 1;
  }
  if (isa<nn::ExpandOp>(op))
    axis -= to.size() - from.size();
  else if (!keepsAxes(op))
    return std::nullopt;
  return axis >= 0 && from[axis] == width ? std::optional(axis) : std::nullopt;
}

std::optional<int64_t> Stream::axisBehind(OpOperand &use, int64_t axis) {
  Operation *op = use.getOwner();
  ArrayRef<nn::Dim> from = shapes.dims(use.get()), to = shapes.dims(op->getResult(0));
  if (use.getOperandNumber() != 0 && !isa<nn::ConcatOp>(op))
    return std::nullopt;
  if (isView(op))
    return sameDimension(from, axis, to);
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return invertPermutation(transpose.getPerm())[axis];
  if (auto gather = dyn_cast<nn::GatherOp>(op)) {
    int64_t at = gather.getAxis(), more = rankOf(gather.getIndices());
    if (axis == at)
      return std::nullopt;
    return axis < at ? axis : axis + more - 1;
  }
  if (isa<nn::ExpandOp>(op))
    axis += to.size() - from.size();
  else if (!keepsAxes(op))
    return std::nullopt;
  return to[axis] == width ? std::optional(axis) : std::nullopt;
}

std::string Stream::add(Value v, int64_t axis) {
  auto [it, isNew] = axes.insert({v, axis});
  if (!isNew)
    return it->second == axis ? "" : "rows lie along different dimensions";
  work.push_back({v, axis});
  return "";
}

/// An operand of an operation that belongs to the stream.
std::string Stream::addOperand(OpOperand &operand, int64_t axis) {
  Value v = operand.get();
  bool varies = axis >= 0 && shapes.dims(v)[axis] == width;
  if (isConstant(v)) {
    constants.push_back({&operand, varies ? axis : -1});
    return "";
  }
  return varies ? add(v, axis) : "a value that is the same along the rows is added";
}

std::string Stream::addProducer(Value v, int64_t axis) {
  Operation *op = v.getDefiningOp();
  if (!op)
    return "what is normalized is an input, or made from one without a linear operation";
  if (auto linear = dyn_cast<nn::LinearOp>(op)) {
    if (axis != linear.getOutChannelAxis() || linear.getGroups() != 1)
      return "rows are no output channels of " + nameOf(op) + ", or it has groups";
    if (std::string why = whyNotAffine(linear, /*scaled=*/true); !why.empty())
      return "of " + nameOf(op) + " before it: " + why;
    linears.insert(op);
    return "";
  }
  if (isa<nn::AddOp, nn::SubOp>(op)) {
    for (OpOperand &operand : op->getOpOperands())
      if (std::string why = addOperand(operand, axis - (rankOf(v) - rankOf(operand.get()))); !why.empty())
        return why;
    return "";
  }
  auto before = axisBefore(op, axis);
  if (!before)
    return nameOf(op) + " makes what is normalized";
  for (OpOperand &operand : op->getOpOperands()) {
    if (operand.getOperandNumber() != 0 && !isa<nn::ConcatOp>(op))
      break;
    if (isa<nn::GatherOp>(op) && isConstant(operand.get()) && !operand.get().hasOneUse())
      return "a table of it is used elsewhere too";
    if (std::string why = addOperand(operand, *before); !why.empty())
      return why;
  }
  return "";
}

std::string Stream::addReader(OpOperand &use, int64_t axis) {
  Operation *op = use.getOwner();
  if (op->hasTrait<OpTrait::IsTerminator>())
    return "what is normalized is an output, or leaves a branch or loop";
  if (auto norm = dyn_cast<nn::LayerNormOp>(op)) {
    if (use.getOperandNumber() != 0 || axis != rankOf(use.get()) - 1 || (int64_t)norm.getAxis() != axis)
      return "a normalization goes over other dimensions";
    norms.insert(op);
    return "";
  }
  if (isa<nn::AddOp, nn::SubOp>(op)) {
    Value sum = op->getResult(0);
    return add(sum, axis + rankOf(sum) - rankOf(use.get()));
  }
  auto behind = axisBehind(use, axis);
  if (!behind)
    return nameOf(op) + " reads what is normalized too";
  for (Value result : op->getResults())
    if (std::string why = add(result, *behind); !why.empty())
      return why;
  return "";
}

std::string Stream::collect(Value v, int64_t axis) {
  std::string why = add(v, axis);
  while (why.empty() && !work.empty()) {
    auto [value, at] = work.pop_back_val();
    why = shapes.dims(value)[at] == width ? addProducer(value, at) : "rows of different sizes belong together";
    for (OpOperand &use : value.getUses())
      if (why.empty())
        why = addReader(use, at);
  }
  return why;
}

/// Bytes of a tensor with the mean along a dimension subtracted; zeros where there is no such dimension.
template <typename T> std::vector<char> centered(const nn::ConstantData &data, int64_t axis) {
  std::vector<char> bytes(data.bytes().size(), 0);
  if (axis < 0)
    return bytes;
  ArrayRef<int64_t> shape = data.type().getShape();
  int64_t size = shape[axis], inner = ShapedType::getNumElements(shape.drop_front(axis + 1));
  const char *from = data.bytes().data();
  auto read = [&](int64_t e) {
    T value;
    std::memcpy(&value, from + e * sizeof(T), sizeof(T)); // Blobs need not be aligned.
    return value;
  };
  for (int64_t outer = 0; outer < data.size() / (size * inner); ++outer)
    for (int64_t i = 0; i < inner; ++i) {
      int64_t first = outer * size * inner + i;
      double mean = 0;
      for (int64_t j = 0; j < size; ++j)
        mean += read(first + j * inner);
      mean /= size;
      for (int64_t j = 0; j < size; ++j) {
        T value = T(read(first + j * inner) - mean);
        std::memcpy(&bytes[(first + j * inner) * sizeof(T)], &value, sizeof(T));
      }
    }
  return bytes;
}

void Stream::apply(IRRewriter &rewriter, int64_t &count) {
  for (Operation *op : linears) {
    auto linear = cast<nn::LinearOp>(op);
    rewriter.replaceOp(op, centerOutChannels(rewriter, linear, op->getLoc()));
  }
  for (auto [operand, axis] : constants) {
    auto data = nn::ConstantData::get(operand->get());
    bool isDouble = data->type().getElementType().isF64();
    std::vector<char> bytes = isDouble ? centered<double>(*data, axis) : centered<float>(*data, axis);
    Operation *owner = operand->getOwner();
    rewriter.setInsertionPoint(owner);
    Value constant = nn::ConstantOp::create(rewriter, operand->get().getLoc(),
                                            nn::makeConstant(data->type(), bytes, "centered"));
    rewriter.modifyOpInPlace(owner, [&, o = operand] { o->set(constant); });
  }
  for (Operation *op : norms) {
    auto norm = cast<nn::LayerNormOp>(op);
    if (norm.getBias())
      continue; // It stays, and normalizes the same.
    rewriter.setInsertionPoint(norm);
    rewriter.replaceOpWithNewOp<nn::RMSNormOp>(norm, norm.getType(), norm.getX(), norm.getScale(), norm.getAxisAttr(),
                                               norm.getEpsilonAttr());
    ++count;
  }
}

} // namespace

std::string centerStream(nn::LayerNormOp norm, FuncShapes &shapes, IRRewriter &rewriter, int64_t &count) {
  Value x = norm.getX();
  Type type = elementTypeOf(x);
  int64_t axis = norm.getAxis();
  if ((!type.isF32() && !type.isF64()) || axis != rankOf(x) - 1 || ShapedType::isDynamic(shapeOf(x)[axis]))
    return "the element type is not f32 or f64, or it normalizes over several dimensions or rows of unknown size";
  if (isConstant(x))
    return "it normalizes a constant";
  Stream stream(shapes, shapes.dims(x)[axis]);
  if (std::string why = stream.collect(x, axis); !why.empty())
    return why;
  stream.apply(rewriter, count);
  return "";
}

} // namespace nnopt

//===- KnownChannels.cpp - channels that hold one number ------------------===//
#include "passes/remove-dead-channels/KnownChannels.h"
#include "passes/common/Scalar.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace nnopt {

/// Elements of a tensor at `index` of dimension `dim`, in order, until `visit` says false.
template <typename Visit> static bool forSlice(ArrayRef<int64_t> shape, int64_t dim, int64_t index, Visit visit) {
  int64_t inner = 1, outer = 1;
  for (int64_t d = 0; d < int64_t(shape.size()); ++d)
    (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i)
      if (!visit((o * shape[dim] + index) * inner + i))
        return false;
  return true;
}

bool isZeroSlice(const nn::ConstantData &data, int64_t dim, int64_t index) {
  return forSlice(data.type().getShape(), dim, index, [&](int64_t e) { return data.asDouble(e) == 0; });
}

std::optional<double> KnownChannels::at(unsigned place, int64_t index) const {
  auto it = known.find(place);
  return it == known.end() ? std::nullopt : it->second[index];
}

void KnownChannels::set(unsigned place, int64_t index, double value) {
  Numbers &numbers = known[place];
  numbers.resize(groups.places()[place].size);
  numbers[index] = value;
}

KnownChannels::Numbers KnownChannels::read(Operation *op, nn::Axis axis) {
  auto place = groups.placeOf(op, axis);
  if (!place)
    return {};
  const AxisGroups::Place &p = groups.places()[*place];
  auto it = known.find(*place);
  if (it != known.end() || !p.user || !p.value)
    return it != known.end() ? it->second : Numbers(p.size);
  // A constant, looked at when it is asked for.
  auto data = nn::ConstantData::get(p.value);
  Numbers numbers(p.size);
  for (int64_t i = 0; data && isa<FloatType>(data->type().getElementType()) && i < p.size; ++i) {
    std::optional<double> value;
    if (forSlice(data->type().getShape(), p.dim, i, [&](int64_t e) {
          double v = data->asDouble(e);
          return value.value_or(v) == v ? (value = v, true) : false;
        }))
      numbers[i] = value;
  }
  return known[*place] = numbers;
}

/// Channels whose weights are 0 for all that is not 0 are what the bias says.
void KnownChannels::visitLinear(nn::LinearOp op) {
  auto weight = nn::ConstantData::get(op.getWeight());
  std::optional<nn::ConstantData> bias = op.getBias() ? nn::ConstantData::get(op.getBias()) : std::nullopt;
  int64_t outAxis = op.getWeightOutAxis(), inAxis = op.getWeightInAxis();
  if (!weight || outAxis < 0 || (op.getBias() && !bias) || !op.getEpilogue().empty() ||
      !isa<FloatType>(weight->type().getElementType()))
    return;
  if (isa<nn::MatMulOp>(*op) && weight->type().getRank() != 2)
    return;
  auto result = groups.placeOf(op, nn::AxisTies::result(0, op.getOutChannelAxis()));
  auto in =
      groups.placeOf(op, nn::AxisTies::operand(op.getActivationMutable().getOperandNumber(), op.getInChannelAxis()));
  if (!result)
    return;
  ArrayRef<int64_t> shape = weight->type().getShape();
  int64_t count = groups.places()[*result].size, perGroup = count / op.getGroups();
  int64_t inPerGroup = op.areGroupsAlongWeightOut() ? shape[inAxis] : shape[inAxis] / op.getGroups();
  int64_t inner = 1;
  for (int64_t d : shape.drop_front(std::max(inAxis, outAxis) + 1))
    inner *= d;
  for (int64_t o = 0; o < count; ++o) {
    int64_t group = o / perGroup;
    bool dead = true;
    for (int64_t i = 0; dead && i < inPerGroup; ++i) {
      int64_t channel = group * inPerGroup + i;
      if (in && isZero(*in, channel))
        continue;
      int64_t row = op.areGroupsAlongWeightOut() ? o : o % perGroup,
              column = op.areGroupsAlongWeightOut() ? i : channel;
      int64_t first = (outAxis < inAxis ? row * shape[inAxis] + column : column * shape[outAxis] + row) * inner;
      for (int64_t t = 0; dead && t < inner; ++t)
        dead = weight->asDouble(first + t) == 0;
    }
    if (dead)
      set(*result, o, bias ? bias->asDouble(bias->size() == 1 ? 0 : o) : 0.0);
  }
}

/// The scalar computation of an elementwise operation on numbers, by folding; nothing where that is not possible.
static std::optional<double> evaluate(Operation *op, ArrayRef<double> operands) {
  OpBuilder b(op->getContext());
  OwningOpRef<ModuleOp> module = ModuleOp::create(op->getLoc());
  b.setInsertionPointToStart(module->getBody());
  SmallVector<Value> args;
  for (auto [value, number] : llvm::zip(op->getOperands(), operands)) {
    auto type = dyn_cast<FloatType>(scalarTypeOf(value));
    if (!type)
      return std::nullopt;
    args.push_back(arith::ConstantOp::create(b, op->getLoc(), b.getFloatAttr(type, number)));
  }
  Value result = emitScalar(b, op, args).front();
  llvm::DenseMap<Value, Attribute> folded;
  for (Operation &inner : *module->getBody()) {
    SmallVector<Attribute> constants;
    for (Value v : inner.getOperands())
      constants.push_back(folded.lookup(v));
    SmallVector<OpFoldResult> results;
    if (failed(inner.fold(constants, results)) || results.size() != 1)
      return std::nullopt;
    folded[inner.getResult(0)] =
        isa<Attribute>(results[0]) ? cast<Attribute>(results[0]) : folded.lookup(cast<Value>(results[0]));
  }
  auto number = dyn_cast_or_null<FloatAttr>(folded.lookup(result));
  if (!number || !number.getValue().isFinite())
    return std::nullopt;
  return number.getValueAsDouble();
}

void KnownChannels::visitElementwise(Operation *op) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (op->getNumResults() != 1 || !isa<FloatType>(type.getElementType()))
    return;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    auto place = groups.placeOf(op, nn::AxisTies::result(0, d));
    if (!place)
      continue;
    int64_t size = groups.places()[*place].size;
    SmallVector<Numbers> operands;
    bool some = false;
    for (auto [n, v] : llvm::enumerate(op->getOperands())) {
      int64_t own = d - (type.getRank() - rankOf(v));
      Numbers numbers;
      if (auto scalar = scalarOf(v))
        numbers.assign(size, *scalar);
      else if (own >= 0 && shapeOf(v)[own] == size)
        numbers = read(op, nn::AxisTies::operand(n, own));
      numbers.resize(size);
      // A constant alone says nothing of the layers.
      some |= !isConstant(v) && llvm::any_of(numbers, [](auto &x) { return x.has_value(); });
      operands.push_back(std::move(numbers));
    }
    for (int64_t i = 0; some && i < size; ++i) {
      bool all = llvm::all_of(operands, [&](const Numbers &n) { return n[i].has_value(); });
      if (isa<nn::MulOp>(op) && llvm::any_of(operands, [&](const Numbers &n) { return n[i] == 0.0; })) {
        set(*place, i, 0);
      } else if (all) {
        SmallVector<double> numbers;
        for (const Numbers &n : operands)
          numbers.push_back(*n[i]);
        if (auto value = evaluate(op, numbers))
          set(*place, i, *value);
      }
    }
  }
}

void KnownChannels::carry(Operation *op, unsigned operandNumber, bool onlyZeros) {
  const nn::AxisTies &ties = *groups.tiesOf(op);
  auto isOurs = [&](nn::Axis a) { return a.of == nn::Axis::Of::Operand && a.number == operandNumber; };
  auto passes = [&](std::optional<double> v) { return v && (!onlyZeros || *v == 0); };
  // A result index is known where all operand indices that are tied to it agree.
  auto carryPairs = [&](nn::Axis from, nn::Axis to, ArrayRef<std::pair<int64_t, int64_t>> pairs) {
    auto place = groups.placeOf(op, to);
    Numbers numbers = read(op, from);
    if (!place || numbers.empty())
      return;
    llvm::DenseMap<int64_t, std::optional<double>> agreed;
    for (auto [i, j] : pairs) {
      auto [it, isNew] = agreed.try_emplace(j, numbers[i]);
      if (!isNew && it->second != numbers[i])
        it->second = std::nullopt;
    }
    for (auto &[j, value] : agreed)
      if (passes(value))
        set(*place, j, *value);
  };
  for (const nn::AxisTies::Tie &tie : ties.ties) {
    bool forward = isOurs(tie.a) && tie.b.of == nn::Axis::Of::Result,
         backward = isOurs(tie.b) && tie.a.of == nn::Axis::Of::Result;
    if (!forward && !backward)
      continue;
    SmallVector<std::pair<int64_t, int64_t>> pairs;
    for (auto [i, j] : llvm::enumerate(tie.indices))
      if (j >= 0)
        pairs.push_back(forward ? std::make_pair(int64_t(i), j) : std::make_pair(j, int64_t(i)));
    carryPairs(forward ? tie.a : tie.b, forward ? tie.b : tie.a, pairs);
  }
  for (const nn::AxisTies::Product &product : ties.products) {
    int64_t inner = 1, all = ties.size(product.whole);
    for (nn::Axis factor : llvm::reverse(product.factors)) {
      int64_t size = ties.size(factor);
      bool splits = isOurs(product.whole);
      SmallVector<std::pair<int64_t, int64_t>> pairs;
      for (int64_t i = 0; i < all; ++i)
        pairs.push_back(splits ? std::make_pair(i, i / inner % size) : std::make_pair(i / inner % size, i));
      carryPairs(splits ? product.whole : factor, splits ? factor : product.whole, pairs);
      inner *= size;
    }
  }
}

void KnownChannels::visit(Operation *op) {
  if (!groups.tiesOf(op))
    return;
  if (auto linear = dyn_cast<nn::LinearOp>(op))
    return visitLinear(linear);
  if (isa<nn::Elementwise>(op))
    return visitElementwise(op);
  // Movements of elements, means and maxima of equal numbers.
  if (isa<nn::TransposeOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::ExpandOp, nn::TileOp,
          nn::SplitOp, nn::SliceOp, nn::GatherOp, nn::DepthToSpaceOp, nn::SpaceToDepthOp, nn::MaxPoolOp, nn::ResizeOp,
          nn::ReverseSequenceOp>(op))
    return carry(op, 0, /*onlyZeros=*/false);
  if (isa<nn::ConcatOp>(op)) {
    for (unsigned o = 0; o < op->getNumOperands(); ++o)
      carry(op, o, /*onlyZeros=*/false);
    return;
  }
  if (auto pool = dyn_cast<nn::AvgPoolOp>(op))
    return carry(op, 0, pool.getCountIncludePad() && llvm::any_of(pool.getPads(), [](int64_t p) { return p != 0; }));
  if (auto reduce = dyn_cast<nn::ReduceOp>(op)) {
    if (llvm::is_contained({nn::ReduceKind::mean, nn::ReduceKind::max, nn::ReduceKind::min, nn::ReduceKind::sum},
                           reduce.getKind()))
      carry(op, 0, reduce.getKind() == nn::ReduceKind::sum);
    return;
  }
  if (auto pad = dyn_cast<nn::PadOp>(op)) {
    bool isZero = pad.getMode() != nn::PadMode::constant || !pad.getValue() || isScalar(pad.getValue(), 0);
    if (isZero)
      carry(op, 0, pad.getMode() == nn::PadMode::constant);
    return;
  }
  if (isa<nn::RMSNormOp, nn::RotaryOp>(op))
    return carry(op, 0, /*onlyZeros=*/true);
  // Sums of v weighted by probabilities.
  if (auto attention = dyn_cast<nn::AttentionOp>(op)) {
    carry(op, 2, /*onlyZeros=*/true);
    auto from = groups.placeOf(op, nn::AxisTies::operand(2, 1)), to = groups.placeOf(op, nn::AxisTies::result(0, 1));
    if (!from || !to)
      return;
    int64_t share = groups.places()[*to].size / groups.places()[*from].size;
    for (int64_t i = 0; i < groups.places()[*to].size; ++i)
      if (isZero(*from, i / share))
        set(*to, i, 0);
  }
}

KnownChannels::KnownChannels(func::FuncOp func, const AxisGroups &groups) : groups(groups) {
  for (Operation &op : func.getBody().front())
    visit(&op);
}

} // namespace nnopt

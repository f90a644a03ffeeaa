//===- AxisTies.cpp - the words in which operations tie their axes --------===//
#include "dialects/nn/Constants.h"
#include "dialects/nn/NN.h"

using namespace mlir;

namespace nnopt::nn {

Axis AxisTies::own(int64_t size) {
  ownSizes.push_back(size);
  return {Axis::Of::Own, unsigned(ownSizes.size() - 1), 0};
}

ArrayRef<Dim> AxisTies::valueOf(const Axis &a) const {
  return shapes.dims(a.of == Axis::Of::Operand ? op->getOperand(a.number) : op->getResult(a.number));
}

int64_t AxisTies::size(Axis a) const {
  if (a.of == Axis::Of::Own)
    return ownSizes[a.number];
  ArrayRef<Dim> dims = valueOf(a);
  return a.dim < int64_t(dims.size()) ? dims[a.dim].typeDim() : ShapedType::kDynamic;
}

void AxisTies::tieIndices(Axis a, Axis b, ArrayRef<int64_t> indices) {
  ties.push_back({a, b, SmallVector<int64_t>(indices)});
  mentioned.push_back(a);
  mentioned.push_back(b);
}

void AxisTies::tie(Axis a, Axis b) {
  if (!ShapedType::isDynamic(size(a)) && size(a) == size(b))
    tieIndices(a, b, llvm::to_vector(llvm::seq<int64_t>(0, size(a))));
}

void AxisTies::tieRange(Axis whole, int64_t start, Axis part) {
  if (ShapedType::isDynamic(size(whole)) || ShapedType::isDynamic(size(part)))
    return;
  SmallVector<int64_t> indices(size(whole), -1);
  for (int64_t i = 0; i < size(part); ++i)
    indices[start + i] = i;
  tieIndices(whole, part, indices);
}

void AxisTies::tieBlocks(Axis whole, Axis factor, int64_t inner) {
  if (ShapedType::isDynamic(size(whole)) || ShapedType::isDynamic(size(factor)))
    return;
  SmallVector<int64_t> indices(size(whole));
  for (auto [i, f] : llvm::enumerate(indices))
    f = int64_t(i) / inner % size(factor);
  tieIndices(whole, factor, indices);
}

void AxisTies::tieProduct(Axis whole, ArrayRef<Axis> factors) {
  products.push_back({whole, SmallVector<Axis>(factors)});
  mentioned.push_back(whole);
  mentioned.append(factors.begin(), factors.end());
}

void AxisTies::contract(Axis a, Axis b) {
  tie(a, b);
  contractions.push_back({a, b});
}

void AxisTies::measure(Axis a) { measured.push_back(a); }
void AxisTies::free(Axis a) { mentioned.push_back(a); }

void AxisTies::tieBroadcast(unsigned first, unsigned count, unsigned number) {
  int64_t resultRank = shapes.rank(op->getResult(number));
  for (unsigned o = first; o < first + count; ++o) {
    int64_t offset = resultRank - int64_t(shapes.rank(op->getOperand(o)));
    for (int64_t d = std::max<int64_t>(0, offset); d < resultRank; ++d)
      if (size(result(number, d)) != 1)
        tie(operand(o, d - offset), result(number, d));
  }
}

void AxisTies::tieAllBut(ArrayRef<int64_t> dims, unsigned operandNumber, unsigned resultNumber) {
  for (int64_t d = 0, e = shapes.rank(op->getOperand(operandNumber)); d < e; ++d)
    if (!llvm::is_contained(dims, d))
      tie(operand(operandNumber, d), result(resultNumber, d));
}

void AxisTies::tieReshape(unsigned operandNumber, unsigned resultNumber) {
  ArrayRef<Dim> from = shapes.dims(op->getOperand(operandNumber)), to = shapes.dims(op->getResult(resultNumber));
  // Shortest runs of dimensions on both sides that have equally many elements.
  size_t i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    size_t p = 0, q = 0;
    for (size_t sum = 2; !p && sum <= from.size() - i + to.size() - j; ++sum)
      for (size_t a = 1; a < sum && !p; ++a) {
        size_t b = sum - a;
        if (a <= from.size() - i && b <= to.size() - j &&
            product(shapes.dimContext(), from.slice(i, a)) == product(shapes.dimContext(), to.slice(j, b)))
          p = i + a, q = j + b;
      }
    if (!p)
      return;
    SmallVector<Axis> left, right;
    for (; i < p; ++i)
      if (!from[i].isConst(1))
        left.push_back(operand(operandNumber, i));
    for (; j < q; ++j)
      if (!to[j].isConst(1))
        right.push_back(result(resultNumber, j));
    auto isStatic = [&](Axis a) { return !ShapedType::isDynamic(size(a)); };
    if (!llvm::all_of(left, isStatic) || !llvm::all_of(right, isStatic))
      continue;
    if (left.size() == 1 && right.size() == 1)
      tie(left[0], right[0]);
    else if (left.size() == 1 && right.size() > 1)
      tieProduct(left[0], right);
    else if (right.size() == 1 && left.size() > 1)
      tieProduct(right[0], left);
  }
}

void narrowSizes(Operation *op, unsigned operandNumber, OpBuilder &b, KeptIndices kept) {
  auto sizes = ConstantData::get(op->getOperand(operandNumber));
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  if (!sizes)
    return;
  SmallVector<int64_t> values;
  for (int64_t i = 0; i < sizes->size(); ++i) {
    int64_t dim = type.getRank() - sizes->size() + i, size = sizes->asInt(i);
    bool isSize = size > 0 && dim >= 0 && size == type.getDimSize(dim);
    values.push_back(isSize ? int64_t(kept(AxisTies::result(0, dim)).size()) : size);
  }
  op->setOperand(operandNumber, ConstantOp::create(b, op->getLoc(), makeInts(b.getContext(), {int64_t(values.size())}, values)));
}

} // namespace nnopt::nn

//===- Gates.cpp - sums of products with parts of matrices ----------------===//
#include "passes/common/Parts.h"
#include "passes/raise-patterns/Cells.h"

using namespace mlir;

namespace nnopt {
namespace {

/// Reads sums of products. Each operation that is read is kept.
class GateReader {
public:
  GateReader(FuncShapes &shapes, llvm::SetVector<Operation *> &ops, int64_t units)
      : shapes(shapes), ops(ops), units(units) {}

  /// Adds columns [first, first + units) of `v` to `gate`.
  bool read(Value v, int64_t first, Gate &gate);

private:
  bool readConstant(Value v, int64_t first, Gate &gate);
  bool readProduct(nn::MatMulOp product, int64_t first, Gate &gate);

  FuncShapes &shapes;
  llvm::SetVector<Operation *> &ops;
  int64_t units;
};

/// A constant that is the same for all rows.
bool GateReader::readConstant(Value v, int64_t first, Gate &gate) {
  auto numbers = numbersOf(v);
  if (!numbers || numbers->empty() || rankOf(v) > 2)
    return false;
  int64_t width = rankOf(v) == 0 ? 1 : shapeOf(v).back();
  for (size_t i = width; i < numbers->size(); ++i)
    if ((*numbers)[i] != (*numbers)[i - width])
      return false;
  if (width != 1 && width < first + units)
    return false;
  for (int64_t u = 0; u < units; ++u)
    gate.bias[u] += (*numbers)[width == 1 ? 0 : first + u];
  return true;
}

bool GateReader::readProduct(nn::MatMulOp product, int64_t first, Gate &gate) {
  Value a = product.getA(), b = product.getB();
  if (product.getTransposeA() || !product.getEpilogue().empty() || product.getAZero() || product.getBZero() ||
      rankOf(a) != 2 || rankOf(b) != 2 || !isConstant(b) || isConstant(a))
    return false;
  if (product.getBias() && !readConstant(product.getBias(), first, gate))
    return false;
  bool transposed = product.getTransposeB();
  // A concatenation of input and state: each has its rows of the matrix.
  SmallVector<Value> parts = {a};
  if (auto concat = a.getDefiningOp<nn::ConcatOp>(); concat && concat.getAxis() == 1) {
    parts.assign(concat.getInputs().begin(), concat.getInputs().end());
    ops.insert(concat);
  }
  int64_t firstInput = 0;
  for (Value part : parts) {
    int64_t inputs = shapeOf(part).back();
    if (ShapedType::isDynamic(inputs))
      return false;
    gate.terms.push_back({part, b, transposed, first, firstInput, inputs});
    firstInput += inputs;
  }
  return firstInput == shapeOf(b)[transposed ? 1 : 0];
}

/// Where `v` begins along dimension 1 of the operand of a split or slice.
bool GateReader::read(Value v, int64_t first, Gate &gate) {
  if (rankOf(v) == 2 && isConstant(v))
    return readConstant(v, first, gate);
  Operation *op = v.getDefiningOp();
  if (!op || rankOf(v) != 2)
    return false;
  ops.insert(op);
  if (auto add = dyn_cast<nn::AddOp>(op)) {
    for (Value part : op->getOperands())
      if (isConstant(part) ? !readConstant(part, first, gate)
                           : !shapes.sameDims(part, v) || !read(part, first, gate))
        return false;
    return true;
  }
  if (auto product = dyn_cast<nn::MatMulOp>(op))
    return readProduct(product, first, gate);
  auto part = readPart(v, 1, shapes);
  return part && part->whole != v && read(part->whole, first + part->start, gate);
}

} // namespace

bool readGateSum(Value v, int64_t units, Gate &gate, FuncShapes &shapes, llvm::SetVector<Operation *> &ops) {
  return GateReader(shapes, ops, units).read(v, 0, gate);
}

void GateTerm::appendTo(std::vector<double> &weights, int64_t units, double sign) const {
  auto data = nn::ConstantData::get(matrix);
  int64_t columns = shapeOf(matrix)[1];
  for (int64_t u = firstUnit; u < firstUnit + units; ++u)
    for (int64_t i = firstInput; i < firstInput + inputs; ++i)
      weights.push_back(sign * data->asDouble(transposed ? u * columns + i : i * columns + u));
}

bool GateTerm::hasWeightsOf(const GateTerm &other, int64_t units) const {
  if (inputs != other.inputs)
    return false;
  if (matrix == other.matrix && transposed == other.transposed && firstUnit == other.firstUnit &&
      firstInput == other.firstInput)
    return true;
  std::vector<double> mine, theirs;
  appendTo(mine, units, 1);
  other.appendTo(theirs, units, 1);
  return mine == theirs;
}

const GateTerm *Gate::termOf(Value activation) const {
  auto *it = llvm::find_if(terms, [&](const GateTerm &t) { return t.activation == activation; });
  return it == terms.end() ? nullptr : it;
}

} // namespace nnopt

//===- Sparse.cpp - contractions whose weights have zeros -------------------===//
//
// Weights with zeros are dense constants in the graph; here it is decided, for each operation,
// whether to skip the zeros (SparseProduct.h). The share of zeros is taken from a sample first:
// weights without zeros are not read for it.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cpu/contraction/Conv.h"
#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/MatMulShape.h"
#include "lib/codegen/cpu/contraction/NarrowProduct.h"
#include "lib/codegen/cpu/contraction/SparseCost.h"
#include "lib/codegen/cpu/contraction/SparseProduct.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// Share of zeros in the sample below which skipping cannot pay: a multiplication by a nonzero
/// costs more than a dense one.
constexpr double leastZeros = 0.4;
/// Rows that are expected of unknown sizes.
constexpr int64_t expectedRows = 512;

/// An operation that the sparse kernel can compute.
struct Candidate {
  SparseRows rows;
  SparseSource source;
  SparseQuery query;
  std::optional<ConvShape> shape;
  std::optional<nn::ConstantData> weights;
  std::string name;
};

/// The zero point of bytes of x, if it is known.
std::optional<int64_t> knownZero(Lowering &lowering, Value zero) {
  if (!zero)
    return 0;
  std::optional<nn::ConstantData> data = lowering.constant(zero);
  return data ? std::optional(data->asInt(0)) : std::nullopt;
}

/// Whether a weight that is zero is a byte that is zero (128 of unsigned ones).
bool isSymmetric(Lowering &lowering, Value zeros, bool unsignedBytes) {
  if (!zeros)
    return !unsignedBytes;
  std::optional<nn::ConstantData> data = lowering.constant(zeros);
  for (int64_t i = 0; i < data->size(); ++i)
    if (data->asInt(i) != (unsignedBytes ? 128 : 0))
      return false;
  return true;
}

/// What bytes need; false where they cannot be sparse.
bool describeBytes(Candidate &c, Lowering &lowering, const NarrowOperands &operands, int64_t channels) {
  std::optional<int64_t> zero = knownZero(lowering, operands.xZero);
  bool unsignedWeights = lowering.shapes.info(operands.w).elementType.isUnsignedInteger();
  if (!zero || channels % 4 != 0 || !isSymmetric(lowering, operands.wZero, unsignedWeights))
    return false;
  c.rows.signedBytes = !lowering.shapes.info(operands.x).elementType.isUnsignedInteger();
  c.rows.zero = *zero;
  c.source.perStep = 4;
  c.source.unsignedBytes = unsignedWeights;
  c.query.bytes = true;
  return true;
}

void finishQuery(Candidate &c) {
  c.source.bytes = c.weights->bytes();
  c.query.columns = c.source.panels.columns;
  c.query.taps = c.source.panels.tapOffsets.size();
  c.query.steps = c.source.panels.channels / c.source.perStep;
  c.query.windows = c.rows.windows;
}

bool describe(nn::MatMulOp op, Lowering &lowering, Candidate &c) {
  MatMulShape shape(op, lowering);
  Type element = lowering.shapes.info(op.getA()).elementType;
  c.weights = lowering.constant(op.getB());
  if (!c.weights || !shape.bShared || shape.transposeA || shape.bVector || !shape.n.isConst() ||
      !shape.depth.isConst() || shape.depth.value() < 1 || shape.n.value() < 1)
    return false;
  int64_t n = shape.n.value(), depth = shape.depth.value();
  if (element.isF32()) {
    if (!lowering.shapes.info(op.getB()).elementType.isF32() ||
        (op.getBias() && !lowering.shapes.info(op.getBias()).elementType.isF32()))
      return false;
  } else if (!element.isInteger(8) ||
             !NarrowProduct::matches(lowering, narrowOperands(op), op.getBias(), op.getResult(), op.getEpilogue()) ||
             !describeBytes(c, lowering, narrowOperands(op), depth)) {
    return false;
  }
  c.source.panels.columns = n;
  c.source.panels.channels = depth;
  c.source.panels.columnStride = shape.transposeB ? depth : 1;
  c.source.panels.channelStride = shape.transposeB ? 1 : n;
  c.rows.x = op.getA();
  c.rows.rows = shape.m;
  c.name = "matmul_" + dimText(shape.m) + "x" + dimText(shape.n) + "x" + dimText(shape.depth);
  finishQuery(c);
  return true;
}

bool describe(nn::ConvOp op, Lowering &lowering, Candidate &c) {
  c.weights = lowering.constant(op.getW());
  if (op.getGroup() != 1 || !op.getChannelsLast() || lowering.dims(op.getX()).size() < 3 || !c.weights)
    return false;
  ConvShape shape(op, lowering);
  Type element = lowering.shapes.info(op.getX()).elementType;
  if (shape.inPerGroup < 1 || shape.outPerGroup < 1 || shape.taps() < 1)
    return false;
  if (element.isF32()) {
    if (!isFastConv(op, lowering, op.getX(), op.getW(), op.getBias(), true))
      return false;
  } else if (!element.isInteger(8) ||
             !NarrowProduct::matches(lowering, narrowOperands(op), op.getBias(), op.getResult(), op.getEpilogue()) ||
             !describeBytes(c, lowering, narrowOperands(op), shape.inPerGroup)) {
    return false;
  }
  // Weights are [out][in][kernel].
  c.source.panels.columns = shape.outPerGroup;
  c.source.panels.channels = shape.inPerGroup;
  c.source.panels.columnStride = shape.inPerGroup * shape.kernelSize;
  c.source.panels.channelStride = shape.kernelSize;
  c.source.panels.tapOffsets = shape.tapIndex;
  c.rows.x = op.getX();
  c.rows.rows = shape.positions(lowering);
  c.name = "conv_" + shape.text();
  c.shape = shape;
  if (!shape.isPlain())
    c.rows.windows = &*c.shape;
  finishQuery(c);
  if (element.isF32())
    c.query.denseRatio = winogradRatio(op, lowering);
  return true;
}

template <typename Op> struct Emission {
  Candidate candidate;
  SparsePlan plan;
  double zeros = 0, gain = 0;
  bool possible = false, chosen = false, blocks = false;

  Emission(Op op, Lowering &lowering) {
    SparseUse use = lowering.options.sparse;
    possible = use != SparseUse::Off && describe(op, lowering, candidate);
    if (!possible || (use == SparseUse::Auto && !isWorthCounting(lowering))) {
      possible = false;
      return;
    }
    SparseCount count = countNonzeros(candidate.source);
    SparseQuery &q = candidate.query;
    zeros = double(count.zeros) / std::max<int64_t>(1, candidate.weights->size());
    q.entries = count.entries;
    std::optional<int64_t> known = constantDim(candidate.rows.rows);
    // Of unknown sizes the least and the expected.
    int64_t least = known.value_or(leastRows(lowering));
    int64_t expected = known.value_or(std::max(least, expectedRows));
    // Weights that a run of the model leaves in no cache stream from memory. From caches: as measured layer by layer.
    if (!lowering.weightsStayCached())
      q.coldBytesPerCycle = 5;
    const Target &target = lowering.target;
    auto gainOf = [&](const SparsePlan &plan, auto cycles) {
      double smallest = INFINITY;
      for (int64_t rows : {least, expected})
        smallest = std::min(smallest, denseCycles(target, q, rows) / cycles(target, q, plan, rows));
      return smallest;
    };
    plan = chooseSparsePlan(target, q, expected, known.has_value());
    gain = gainOf(plan, sparseCycles);
    // A block with a single nonzero costs as much as one without zeros.
    q.blocks = countBlocks(candidate.source, target.lanes(4));
    SparsePlan blockPlan = chooseBlockPlan(target, q, expected, known.has_value());
    if (double blockGain = gainOf(blockPlan, blockCycles); blockGain > gain) {
      plan = blockPlan;
      gain = blockGain;
      blocks = true;
    }
    chosen = use == SparseUse::On || gain >= 1.1;
    // The entries are counted in 32 bits, and so are the elements that are looked up.
    if (count.entries > INT32_MAX)
      chosen = false;
  }

  bool isWorthCounting(Lowering &lowering) const {
    return (lowering.target.avx512 || lowering.target.avx2) && sampleZeros(candidate.source) >= leastZeros;
  }
  int64_t leastRows(Lowering &lowering) const {
    nn::DimContext &dims = lowering.dimContext();
    auto least = [&](nn::Dim symbol) -> std::optional<int64_t> {
      return std::max<int64_t>(1, dims.bounds(symbol).first);
    };
    return std::max<int64_t>(1, dims.evaluate(candidate.rows.rows, least).value_or(1));
  }
};

remark::RemarkOpts remarkOptions() { return remark::RemarkOpts::name("skip-zeros").category("lowering"); }
std::string percent(double share) { return llvm::formatv("{0:f1}%", 100 * share).str(); }

template <typename Op> bool match(Operation *operation, Lowering &lowering) {
  Emission<Op> emission(cast<Op>(operation), lowering);
  if (emission.possible && !emission.chosen)
    remark::missed(operation->getLoc(), remarkOptions())
        << remark::reason("{0} of the weights are zero, and skipping them would take {1:f2} x the "
                          "time of the dense kernel",
                          percent(emission.zeros), 1 / emission.gain);
  return emission.chosen;
}

template <typename Op> LogicalResult emit(Operation *operation, Lowering &lowering) {
  Emission<Op> emission(cast<Op>(operation), lowering);
  const Candidate &c = emission.candidate;
  remark::passed(operation->getLoc(), remarkOptions())
      << remark::add("{0} of the weights are zero and are skipped{1}: estimated to be {2:f2} x faster "
                     "than the dense kernel",
                     percent(emission.zeros),
                     emission.blocks ? " in blocks of " + std::to_string(emission.plan.lanes) + " out channels" : "",
                     emission.gain)
      << remark::metric("Entries", int64_t(emission.blocks ? c.query.blocks : c.query.entries))
      << remark::metric("VectorsOfRows", emission.plan.vectors) << remark::metric("Parts", emission.plan.parts());
  auto emitProduct = emission.blocks ? emitSparseBlocks : emitSparseProduct;
  return emitProduct(cast<nn::LinearOp>(operation), lowering, c.rows, c.source, emission.plan, c.name);
}

RegisterEmitter matmul({"nn.matmul", "matmul-sparse", 30, match<nn::MatMulOp>, emit<nn::MatMulOp>});
RegisterEmitter conv({"nn.conv", "conv-sparse", 40, match<nn::ConvOp>, emit<nn::ConvOp>});

} // namespace

} // namespace nnopt::cpu

//===- Einsum.cpp - Einstein summation as plain loops ------------------------===//

#include "lib/codegen/cpu/contraction/Finish.h"
#include "lib/codegen/cpu/contraction/Microkernel.h"
#include "lib/codegen/cpu/contraction/Reference.h"

using namespace mlir;

namespace nnopt::cpu {

namespace {

/// A parsed equation: labels of each operand and of the result. The dimensions of an ellipsis get
/// labels of their own, counted from the right, since they broadcast like numpy shapes.
struct Equation {
  using Labels = SmallVector<int>;
  SmallVector<Labels> inputs;
  Labels output;

  static Labels parseTerm(StringRef term, size_t rank) {
    Labels labels;
    size_t dots = term.find("...");
    size_t named = dots == StringRef::npos ? term.size() : term.size() - 3;
    for (size_t i = 0; i < term.size();) {
      if (i == dots) {
        for (size_t left = rank - named; left > 0; --left)
          labels.push_back(-int(left));
        i += 3;
        continue;
      }
      labels.push_back(term[i++]);
    }
    return labels;
  }
};

} // namespace

static LogicalResult emitLoops(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::EinsumOp>(operation);
  auto [left, right] = op.getEquation().split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  Equation equation;
  for (auto [term, input] : llvm::zip(terms, op.getInputs()))
    equation.inputs.push_back(Equation::parseTerm(term, lowering.dims(input).size()));
  equation.output = Equation::parseTerm(right, lowering.dims(op.getResult()).size());

  // Size of each label: of the operands that have it, the one that is not 1.
  std::map<int, nn::Dim> sizes;
  for (auto [labels, input] : llvm::zip(equation.inputs, op.getInputs()))
    for (auto [label, dim] : llvm::zip(labels, lowering.dims(input))) {
      nn::Dim &size = sizes[label];
      size = size ? size.broadcast(dim) : dim;
    }
  SmallVector<int> contracted;
  for (auto &[label, size] : sizes)
    if (!llvm::is_contained(equation.output, label))
      contracted.push_back(label);

  Kernel k(lowering, op, "einsum_loops");
  SmallVector<Buffer> inputs;
  for (Value v : op.getInputs())
    inputs.push_back(k.read(v));
  Type resultType = lowering.shapes.info(op.getResult()).elementType;
  Type accType = accumulatorType(inputs[0].valueType, resultType);
  Finish finish(k, op.getResult(), accType);
  // A task is a row of the result; the last label of the result runs innermost.
  nn::Dims outputDims = lowering.dims(op.getResult());
  bool scalar = outputDims.empty();
  nn::Dim width = scalar ? lowering.c(1) : outputDims.back();
  int64_t bytes = accType.getIntOrFloatBitWidth() / 8;
  Buffer acc = k.at(k.scratch(width * bytes), accType);
  nn::Dims rowDims(outputDims.begin(), outputDims.end() - (scalar ? 0 : 1));

  k.loop(k.begin, k.end, 1, [&](Ix row) {
    std::map<int, Ix> position;
    SmallVector<Ix> at = k.delinearize(row, rowDims);
    for (size_t d = 0; d < rowDims.size(); ++d)
      position[equation.output[d]] = at[d];
    k.loop(k.c(0), k.dim(width), 1, [&](Ix j) { k.store(acc, j, k.constant(accType, 0)); });
    std::function<void(size_t)> level = [&](size_t depth) {
      if (depth < contracted.size()) {
        int label = contracted[depth];
        k.loop(k.c(0), k.dim(sizes[label]), 1, [&](Ix i) {
          position[label] = i;
          level(depth + 1);
        });
        return;
      }
      k.loop(k.c(0), k.dim(width), 1, [&](Ix j) {
        if (!scalar)
          position[equation.output.back()] = j;
        Value product;
        for (auto [n, input] : llvm::enumerate(inputs)) {
          SmallVector<Ix> strides = k.strides(input.dims);
          Ix offset = k.c(0);
          for (auto [d, label] : llvm::enumerate(equation.inputs[n])) {
            if (input.dims[d].isConst(1))
              continue;
            Ix term = position[label] * strides[d];
            if (input.dims[d] != sizes[label])
              term = k.selectIx(k.dim(input.dims[d]) == 1, k.c(0), term);
            offset = offset + term;
          }
          Value v = loadAs(k, input, offset, accType);
          if (!product)
            product = v;
          else if (isa<FloatType>(accType))
            product = arith::MulFOp::create(k.b, k.loc, product, v);
          else
            product = arith::MulIOp::create(k.b, k.loc, product, v);
        }
        Value sum = k.load(acc, j);
        if (isa<FloatType>(accType))
          sum = arith::AddFOp::create(k.b, k.loc, sum, product);
        else
          sum = arith::AddIOp::create(k.b, k.loc, sum, product);
        k.store(acc, j, sum);
      });
    };
    level(0);
    k.loop(k.c(0), k.dim(width), 1, [&](Ix j) { finish.storeOne(row, j, 0, Value(), k.load(acc, j)); });
  });
  double work = constantDim(width).value_or(64);
  for (int label : contracted)
    work *= constantDim(sizes[label]).value_or(64);
  k.grain = taskGrain(40 * work, 0);
  nn::Dim tasks = lowering.product(rowDims, 0, rowDims.size());
  lowering.launch(k, width.isConst(0) ? lowering.c(0) : tasks);
  return success();
}

static RegisterEmitter loops({"nn.einsum", "einsum-loops", 0, nullptr, emitLoops});

} // namespace nnopt::cpu

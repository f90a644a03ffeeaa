//===- ControlFlow.cpp - nn.if and nn.loop --------------------------------===//
//
// Bodies become blocks of the program that the runtime executes (runtime/format.h). A block ends
// with copies of what it yields into the buffers of the results (if) or of the body's arguments
// (loop). A size that is only known when a block has run is a symbol that the block sets.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/irregular/Host.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// The buffer that `buffer` is a part of.
uint32_t rootOf(const Program &program, uint32_t buffer) {
  while (program.buffers[buffer].kind == NNOPT_B_VIEW)
    buffer = program.buffers[buffer].index;
  return buffer;
}

//===----------------------------------------------------------------------===//
// nn.if
//===----------------------------------------------------------------------===//

LogicalResult emitIf(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::IfOp>(operation);
  uint32_t condition = lowering.bufferOf(op.getCondition());
  nn::Dim known = lowering.shapes.scalarContent(op.getCondition());
  // Sizes that the branches do not agree on.
  SmallVector<std::pair<unsigned, unsigned>> open;
  for (auto [i, result] : llvm::enumerate(op.getResults()))
    for (auto [axis, dim] : llvm::enumerate(lowering.dims(result)))
      if (!isResolved(lowering, op, dim))
        open.push_back({i, axis});

  auto lowerBranch = [&](Region &region) {
    return lowering.lowerBlock(region, [&]() -> LogicalResult {
      ValueRange yielded = region.front().getTerminator()->getOperands();
      for (auto [result, value] : llvm::zip(op.getResults(), yielded)) {
        const nn::ValueInfo &to = lowering.shapes.info(result), &from = lowering.shapes.info(value);
        if (!isa<RankedTensorType>(result.getType()))
          continue;
        if (to.dims.size() != from.dims.size() || to.elementType != from.elementType)
          return op.emitOpError("has branches that give tensors of different types or ranks");
      }
      for (auto [i, axis] : open) {
        nn::Dim dim = lowering.dims(yielded[i])[axis];
        nn::Dim symbol = lowering.dims(op.getResult(i))[axis];
        if (failed(defineSymbol(lowering, op, symbol, [&](Kernel &k) { return k.dim(dim); })))
          return failure();
      }
      for (auto [result, value] : llvm::zip(op.getResults(), yielded))
        appendCopy(lowering, lowering.bufferOf(result), lowering.bufferOf(value), tensorBytes(lowering, value));
      return success();
    });
  };
  // The shapes of a branch that is never taken may contradict each other: it becomes no code.
  auto lowerOrSkip = [&](Region &region, bool taken) -> FailureOr<uint32_t> {
    if (taken)
      return lowerBranch(region);
    lowering.program.blocks.push_back({0, 0});
    return lowering.program.blocks.size() - 1;
  };
  bool constant = known && known.isConst();
  auto thenBlock = lowerOrSkip(op.getThenBranch(), !constant || known.value() != 0);
  auto elseBlock = lowerOrSkip(op.getElseBranch(), !constant || known.value() == 0);
  if (failed(thenBlock) || failed(elseBlock))
    return failure();
  lowering.addInstruction({NNOPT_I_IF, condition, *thenBlock, *elseBlock});
  return success();
}

//===----------------------------------------------------------------------===//
// nn.loop
//===----------------------------------------------------------------------===//

/// Carried values live in the buffers of the results, which the body's arguments share, unless their
/// shape changes from iteration to iteration: then the argument has a buffer of its own whose size
/// follows symbols that each iteration sets.
class LoopEmitter {
public:
  LoopEmitter(nn::LoopOp op, Lowering &lowering)
      : op(op), lowering(lowering), body(op.getBody().front()), carriedCount(op.getCarried().size()),
        yielded(body.getTerminator()->getOperands()) {}

  LogicalResult emit() {
    for (unsigned i = 0; i < carriedCount; ++i) {
      changing.push_back(llvm::any_of(lowering.dims(argument(i)), [&](nn::Dim d) { return !isResolved(lowering, op, d); }));
      if (!changing[i])
        lowering.alias(argument(i), op.getResult(i));
    }
    if (failed(defineScanSizes()) || failed(run(/*writeScans=*/true)))
      return failure();
    for (unsigned i = 0; i < carriedCount; ++i)
      if (changing[i] && failed(finish(i)))
        return failure();
    return success();
  }

private:
  ResultRange scans() { return op.getResults().drop_front(carriedCount); }
  Value scanned(unsigned i) { return yielded[1 + carriedCount + i]; }
  Value iteration() { return body.getArgument(0); }
  Value condition() { return body.getArgument(1); }
  Value argument(unsigned i) { return body.getArgument(2 + i); }
  Type i64() { return IntegerType::get(op->getContext(), 64); }

  //--- sizes ------------------------------------------------------------------

  /// Whether only the trip count ends the loop: the body hands its condition on.
  bool endsByTripCount() {
    if (!op.getTripCount())
      return false;
    if (!op.getCondition() || yielded[0] == condition())
      return true;
    nn::Dim again = lowering.shapes.scalarContent(yielded[0]);
    return again && again.isConst() && again.value() != 0;
  }

  /// Gives unknown sizes of the stacked values their values, before these are made.
  LogicalResult defineScanSizes() {
    SmallVector<nn::Dim> lengths;
    for (auto [i, result] : llvm::enumerate(scans())) {
      const nn::Dims &dims = lowering.dims(result);
      for (auto [axis, dim] : llvm::enumerate(dims)) {
        if (isResolved(lowering, op, dim))
          continue;
        if (axis == 0)
          lengths.push_back(dim);
        else
          inner.push_back({dim, lowering.dims(scanned(i))[axis - 1]});
      }
    }
    if (lengths.empty() && inner.empty())
      return success();
    if (inner.empty() && endsByTripCount()) {
      for (nn::Dim length : lengths)
        if (failed(defineSymbol(lowering, op, length, [&](Kernel &k) { return tripCount(k); })))
          return failure();
      return success();
    }
    // The body decides: run the loop once without its scan outputs. The body has no side effects, so
    // that running it again gives the same iterations.
    sizes = lowering.temp(i64(), {lowering.c(1 + inner.size())});
    copyZeros(sizes.buffer, 1 + inner.size());
    if (failed(run(/*writeScans=*/false)))
      return failure();
    auto define = [&](nn::Dim symbol, int64_t at) {
      return defineSymbol(lowering, op, symbol, [&](Kernel &k) { return Ix(&k, k.load(k.read(sizes), k.c(at))); });
    };
    for (nn::Dim length : lengths)
      if (failed(define(length, 0)))
        return failure();
    for (auto [i, pair] : llvm::enumerate(inner))
      if (failed(define(pair.first, 1 + i)))
        return failure();
    return success();
  }

  Ix tripCount(Kernel &k) {
    Ix trips = k.toIndex(k.load(k.read(op.getTripCount()), k.c(0))).max(k.c(0));
    if (op.getCondition())
      trips = k.selectIx(k.load(k.read(op.getCondition()), k.c(0)), trips, k.c(0));
    return trips;
  }

  /// Number of iterations so far and sizes of scanned values, for defineScanSizes.
  void recordSizes() {
    Kernel k(lowering, op, "loop_sizes");
    Buffer from = k.read(iteration()), to = k.write(sizes);
    k.store(to, k.c(0), Ix(&k, k.load(from, k.c(0))) + 1);
    for (auto [i, pair] : llvm::enumerate(inner))
      k.store(to, k.c(1 + i), k.dim(pair.second));
    lowering.launch(k, lowering.c(1));
  }

  //--- the loop -----------------------------------------------------------------

  void copyZeros(uint32_t to, int64_t count) {
    std::vector<char> zeros(count * 8);
    appendCopy(lowering, to, lowering.program.addWeights(zeros), lowering.c(count * 8));
  }

  LogicalResult run(bool writeScans) {
    if (failed(start()))
      return failure();
    uint32_t trips = op.getTripCount() ? lowering.bufferOf(op.getTripCount()) : NNOPT_NONE;
    auto block = lowering.lowerBlock(op.getBody(), [&] {
      if (writeScans)
        for (auto [i, result] : llvm::enumerate(scans()))
          writeScan(result, scanned(i));
      else
        recordSizes();
      return update();
    });
    if (failed(block))
      return failure();
    uint32_t record = lowering.program.indices.size();
    lowering.program.indices.insert(lowering.program.indices.end(),
                                    {lowering.bufferOf(iteration()), lowering.bufferOf(condition()), trips, *block});
    lowering.addInstruction({NNOPT_I_LOOP, record, 0, 0});
    return success();
  }

  /// Sets condition and carried values for the first iteration.
  LogicalResult start() {
    static const char always = 1;
    uint32_t first = op.getCondition() ? lowering.bufferOf(op.getCondition()) : lowering.program.addWeights(always);
    appendCopy(lowering, lowering.bufferOf(condition()), first, lowering.c(1));
    for (unsigned i = 0; i < carriedCount; ++i) {
      Value initial = op.getCarried()[i];
      if (changing[i] && failed(defineSizes(lowering.dims(argument(i)), lowering.dims(initial))))
        return failure();
      appendCopy(lowering, lowering.bufferOf(argument(i)), lowering.bufferOf(initial), tensorBytes(lowering, initial));
    }
    return success();
  }

  /// Sets the data-dependent symbols among `symbols` to the values of `dims`. (The shape analysis may also
  /// have found out that a size equals one of the inputs.)
  LogicalResult defineSizes(ArrayRef<nn::Dim> symbols, ArrayRef<nn::Dim> dims) {
    for (auto [symbol, dim] : llvm::zip(symbols, dims)) {
      bool known = isResolved(lowering, op, symbol) && !lowering.program.dataDependent.count(symbol.opaque());
      if (symbol != dim && !known &&
          failed(defineSymbol(lowering, op, symbol, [&](Kernel &k) { return k.dim(dim); })))
        return failure();
    }
    return success();
  }

  /// result[iteration] = value.
  void writeScan(Value result, Value value) {
    Kernel k(lowering, op, "loop_scan");
    Buffer at = k.read(iteration()), from = k.read(value), to = k.write(result);
    nn::Dim size = lowering.numElements(value);
    Ix base = Ix(&k, k.load(at, k.c(0))) * k.dim(size);
    forTasks(k, [&](Ix i) { k.store(to, base + i, k.load(from, i)); });
    k.grain = 8192;
    lowering.launch(k, size);
  }

  struct Move {
    Value to, from;
    uint32_t target, source;
    bool resizes;
    nn::Dims dims; // of `from`
  };

  /// Makes the yielded condition and carried values those of the next iteration. Where one of them
  /// is (part of) another's old value, or sizes change, all are first copied aside.
  LogicalResult update() {
    SmallVector<Move> moves;
    auto add = [&](Value to, Value from, bool resizes) {
      Move move = {to, from, lowering.bufferOf(to), lowering.bufferOf(from), resizes, lowering.dims(from)};
      if (move.target != move.source)
        moves.push_back(move);
    };
    if (op.getCondition())
      add(condition(), yielded[0], false);
    for (unsigned i = 0; i < carriedCount; ++i)
      add(argument(i), yielded[i + 1], changing[i]);

    const Program &program = lowering.program;
    bool aside = llvm::any_of(moves, [&](const Move &move) {
      return move.resizes || llvm::any_of(moves, [&](const Move &other) {
        return &other != &move && rootOf(program, other.target) == rootOf(program, move.source);
      });
    });
    if (aside)
      for (Move &move : moves)
        if (failed(copyAside(move)))
          return failure();
    // Only now, as sizes of yielded values may depend on the old sizes.
    for (const Move &move : moves)
      if (move.resizes && failed(defineSizes(lowering.dims(move.to), move.dims)))
        return failure();
    for (const Move &move : moves)
      appendCopy(lowering, move.target, move.source, bytesOf(move.from, move.dims));
    return success();
  }

  nn::Dim bytesOf(Value like, ArrayRef<nn::Dim> dims) {
    return nn::product(lowering.dimContext(), dims) * nn::elementBytes(lowering.shapes.info(like).elementType);
  }

  /// Copies what `move` reads into memory of its own, whose size does not depend on the symbols
  /// that change at the end of an iteration.
  LogicalResult copyAside(Move &move) {
    if (nn::isHostValue(move.from) && !move.resizes) {
      uint32_t temp = newHostBuffer(lowering);
      appendCopy(lowering, temp, move.source, {});
      move.source = temp;
      return success();
    }
    nn::Dims dims = move.dims;
    if (move.resizes)
      for (auto [d, target] : llvm::zip(dims, lowering.dims(move.to)))
        if (d != target)
          d = lowering.dimContext().freshSymbol("loop_next");
    if (failed(defineSizes(dims, move.dims)))
      return failure();
    uint32_t temp = nn::isHostValue(move.from) ? newHostBuffer(lowering)
                                               : lowering.temp(lowering.shapes.info(move.from).elementType, dims).buffer;
    appendCopy(lowering, temp, move.source, bytesOf(move.from, move.dims));
    move.source = temp;
    move.dims = dims;
    return success();
  }

  /// The last value of a carried value with changing shape becomes the result.
  LogicalResult finish(unsigned i) {
    if (failed(defineSizes(lowering.dims(op.getResult(i)), lowering.dims(argument(i)))))
      return failure();
    lowering.copy(op.getResult(i), argument(i));
    return success();
  }

  nn::LoopOp op;
  Lowering &lowering;
  Block &body;
  unsigned carriedCount;
  OperandRange yielded;
  SmallVector<bool> changing;
  /// Unknown inner sizes of stacked values, and what they are inside of the body.
  SmallVector<std::pair<nn::Dim, nn::Dim>> inner;
  TempTensor sizes;
};

LogicalResult emitLoop(Operation *op, Lowering &lowering) { return LoopEmitter(cast<nn::LoopOp>(op), lowering).emit(); }

RegisterEmitter ifEmitter({"nn.if", "if", 0, nullptr, emitIf});
RegisterEmitter loopEmitter({"nn.loop", "loop", 0, nullptr, emitLoop});

} // namespace
} // namespace nnopt::cpu

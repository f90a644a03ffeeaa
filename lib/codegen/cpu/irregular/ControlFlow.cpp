//===- ControlFlow.cpp - nn.if and nn.loop --------------------------------===//
//
// Bodies become blocks of the program that the runtime executes (runtime/format.h). A block ends
// with copies of what it yields into the buffers of the results (if) or of the body's arguments
// (loop). A size that is only known when a block has run is a symbol that the block sets.
//
//===----------------------------------------------------------------------===//
#include "lib/codegen/cpu/irregular/Helpers.h"

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
  uint32_t condition = lowering.bufferOf(op.getCondition());
  auto thenBlock = lowerBranch(op.getThenBranch());
  auto elseBlock = lowerBranch(op.getElseBranch());
  if (failed(thenBlock) || failed(elseBlock))
    return failure();
  lowering.addInstruction({NNOPT_I_IF, condition, *thenBlock, *elseBlock});
  return success();
}

//===----------------------------------------------------------------------===//
// nn.loop
//===----------------------------------------------------------------------===//

class LoopEmitter {
public:
  LoopEmitter(nn::LoopOp op, Lowering &lowering)
      : op(op), lowering(lowering), body(op.getBody().front()), carriedCount(op.getCarried().size()),
        yielded(body.getTerminator()->getOperands()) {}

  LogicalResult emit() {
    if (failed(check()))
      return failure();
    // The carried values live in the buffers of the results, which the body's arguments share.
    for (unsigned i = 0; i < carriedCount; ++i)
      lowering.alias(body.getArgument(i + 2), op.getResult(i));
    counter = lowering.temp(IntegerType::get(op->getContext(), 64), {lowering.c(1)});

    if (!scans().empty() && !isResolved(lowering, op, scanLength())) {
      if (failed(countIterations()))
        return failure();
    }
    return run(/*writeScans=*/true);
  }

private:
  ResultRange scans() { return op.getResults().drop_front(carriedCount); }
  nn::Dim scanLength() { return lowering.dims(scans().front())[0]; }
  Value iteration() { return body.getArgument(0); }
  Value condition() { return body.getArgument(1); }

  LogicalResult check() {
    for (unsigned i = 0; i < carriedCount; ++i)
      if (lowering.dims(body.getArgument(i + 2)) != lowering.dims(yielded[i + 1]) ||
          lowering.dims(op.getResult(i)) != lowering.dims(yielded[i + 1]))
        return op.emitOpError("carries a value whose shape changes from iteration to iteration, which is not supported "
                              "(carried value ")
               << i << ")";
    for (auto [i, result] : llvm::enumerate(scans())) {
      ArrayRef<nn::Dim> rest = ArrayRef<nn::Dim>(lowering.dims(result)).drop_front();
      if (rest != ArrayRef<nn::Dim>(lowering.dims(yielded[1 + carriedCount + i])))
        return op.emitOpError("stacks values whose shape differs between iterations, which is not supported (scan output ")
               << i << ")";
    }
    return success();
  }

  /// Whether only the trip count ends the loop: the body hands its condition on.
  bool endsByTripCount() {
    if (!op.getTripCount())
      return false;
    if (!op.getCondition() || yielded[0] == condition())
      return true;
    auto constant = lowering.constant(yielded[0]);
    return constant && constant->asInt(0) != 0;
  }

  /// Finds the number of iterations, before the results that have this size are made.
  LogicalResult countIterations() {
    if (endsByTripCount())
      return defineSymbol(lowering, op, scanLength(), [&](Kernel &k) {
        Ix trips = k.toIndex(k.load(k.read(op.getTripCount()), k.c(0))).max(k.c(0));
        if (op.getCondition())
          trips = k.selectIx(k.load(k.read(op.getCondition()), k.c(0)), trips, k.c(0));
        return trips;
      });
    // The condition is computed by the body: run the loop once without its scan outputs. The body
    // has no side effects, so that running it again gives the same iterations.
    copyConstant<int64_t>(counter.buffer, 0);
    if (failed(run(/*writeScans=*/false)))
      return failure();
    return defineSymbol(lowering, op, scanLength(), [&](Kernel &k) { return Ix(&k, k.load(k.read(counter), k.c(0))); });
  }

  template <typename T> void copyConstant(uint32_t to, T value) {
    uint32_t from = lowering.program.addWeights(ArrayRef<char>(reinterpret_cast<const char *>(&value), sizeof(T)));
    appendCopy(lowering, to, from, lowering.c(sizeof(T)));
  }

  LogicalResult run(bool writeScans) {
    uint32_t conditionBuffer = lowering.bufferOf(condition()), iterationBuffer = lowering.bufferOf(iteration());
    if (op.getCondition())
      appendCopy(lowering, conditionBuffer, lowering.bufferOf(op.getCondition()), lowering.c(1));
    else
      copyConstant<char>(conditionBuffer, 1);
    for (unsigned i = 0; i < carriedCount; ++i)
      appendCopy(lowering, lowering.bufferOf(op.getResult(i)), lowering.bufferOf(op.getCarried()[i]),
                 tensorBytes(lowering, op.getCarried()[i]));
    uint32_t trips = op.getTripCount() ? lowering.bufferOf(op.getTripCount()) : NNOPT_NONE;
    auto block = lowering.lowerBlock(op.getBody(), [&] {
      if (writeScans)
        for (auto [i, result] : llvm::enumerate(scans()))
          writeScan(result, yielded[1 + carriedCount + i]);
      else
        count();
      update();
      return success();
    });
    if (failed(block))
      return failure();
    uint32_t record = lowering.program.indices.size();
    lowering.program.indices.insert(lowering.program.indices.end(), {iterationBuffer, conditionBuffer, trips, *block});
    lowering.addInstruction({NNOPT_I_LOOP, record, 0, 0});
    return success();
  }

  /// counter = iterations so far.
  void count() {
    Kernel k(lowering, op, "loop_count");
    Buffer from = k.read(iteration()), to = k.write(counter);
    k.store(to, k.c(0), Ix(&k, k.load(from, k.c(0))) + 1);
    lowering.launch(k, lowering.c(1));
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

  /// Makes the yielded condition and carried values those of the next iteration. Where one of them
  /// is (part of) another's old value, all are first copied aside.
  void update() {
    struct Move {
      uint32_t to, from;
      nn::Dim bytes;
      Value value;
    };
    SmallVector<Move> moves;
    auto add = [&](Value to, Value from) {
      Move move = {lowering.bufferOf(to), lowering.bufferOf(from), tensorBytes(lowering, from), from};
      if (move.to != move.from)
        moves.push_back(move);
    };
    if (op.getCondition())
      add(condition(), yielded[0]);
    for (unsigned i = 0; i < carriedCount; ++i)
      add(body.getArgument(i + 2), yielded[i + 1]);

    const Program &program = lowering.program;
    auto isOverwritten = [&](const Move &move) {
      return llvm::any_of(moves, [&](const Move &other) {
        return &other != &move && rootOf(program, other.to) == rootOf(program, move.from);
      });
    };
    if (llvm::any_of(moves, isOverwritten))
      for (Move &move : moves) {
        const nn::ValueInfo &info = lowering.shapes.info(move.value);
        TempTensor aside = lowering.temp(info.elementType, info.dims);
        appendCopy(lowering, aside.buffer, move.from, move.bytes);
        move.from = aside.buffer;
      }
    for (const Move &move : moves)
      appendCopy(lowering, move.to, move.from, move.bytes);
  }

  nn::LoopOp op;
  Lowering &lowering;
  Block &body;
  unsigned carriedCount;
  OperandRange yielded;
  TempTensor counter;
};

LogicalResult emitLoop(Operation *op, Lowering &lowering) { return LoopEmitter(cast<nn::LoopOp>(op), lowering).emit(); }

RegisterEmitter ifEmitter({"nn.if", "if", 0, nullptr, emitIf});
RegisterEmitter loopEmitter({"nn.loop", "loop", 0, nullptr, emitLoop});

} // namespace
} // namespace nnopt::cpu

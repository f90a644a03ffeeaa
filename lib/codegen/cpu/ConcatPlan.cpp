//===- ConcatPlan.cpp - concatenations where their operands lie -------------===//

#include "lib/codegen/cpu/Lowering.h"
#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace nnopt::cpu {

/// Finds outputs that append to an input: concat(past, new) that only attention reads, which walks through memory with
/// strides, so that past and present may have room behind them for what comes later.
void Lowering::planStates(func::FuncOp main) {
  Block &block = main.getBody().front();
  if (options.optLevel == 0 && !options.device)
    return;
  auto readsInPlace = [&](OpOperand &use) {
    return options.device ? options.device->readsStrided(use, *this) : isTiledAttention(use.getOwner(), *this);
  };
  for (OpOperand &returned : block.getTerminator()->getOpOperands()) {
    auto concat = returned.get().getDefiningOp<nn::ConcatOp>();
    auto past = concat && concat->getNumOperands() == 2 ? dyn_cast<BlockArgument>(concat->getOperand(0)) : BlockArgument();
    if (!past || past.getOwner() != &block || concat->getBlock() != &block)
      continue;
    Value present = concat.getResult();
    int64_t axis = concat.getAxis();
    auto inAttention = [&](OpOperand &use) {
      return isa<nn::AttentionOp>(use.getOwner()) && use.getOwner()->getBlock() == &block && readsInPlace(use);
    };
    // Bytes or their scales, which attention reads in place of the floats.
    auto asBytes = [&](OpOperand &use) {
      auto rows = dyn_cast<nn::DequantizeOp>(use.getOwner());
      return rows && llvm::all_of(rows->getUses(), [&](OpOperand &use) { return inAttention(use) && byteRowsOf(*this, use) == rows; });
    };
    auto appendable = [&](OpOperand &use) {
      return &use == &returned || isa<nn::ShapeOp>(use.getOwner()) || asBytes(use) ||
             (inAttention(use) && readView(*this, use).base == present);
    };
    auto isAppended = [&](OpOperand &use) {
      return &use == &concat->getOpOperand(0) || isa<nn::ShapeOp>(use.getOwner());
    };
    if (!llvm::all_of(past.getUses(), isAppended) || axis + 1 == int64_t(dims(past).size()) || dims(past)[axis].kind() != nn::Dim::Kind::Symbol ||
        !llvm::all_of(present.getUses(), appendable))
      continue;
    uint32_t number = program.states.size();
    program.states.push_back({past.getArgNumber(), returned.getOperandNumber(), uint32_t(axis)});
    for (Value v : {Value(past), present}) {
      nn::Dims memory = dims(v);
      memory[axis] = program.stateDim(number, memory[axis], /*zero=*/false);
      stateMemory[v] = memory;
    }
    appends[concat] = program.stateDim(number, c(1), /*zero=*/true);
  }
}

/// Gives parts of outer-axis concats their place inside the result before they are computed.
void Lowering::planConcatViews(func::FuncOp main) {
  Block &block = main.getBody().front();
  // Later concats first: a concat of concats nests.
  for (Operation &op : llvm::reverse(block)) {
    auto concat = dyn_cast<nn::ConcatOp>(op);
    if (!concat || appends.count(concat) || !needed.count(concat) || !isOuterAxis(*this, concat.getResult(), concat.getAxis()))
      continue;
    // Offsets that depend on data may not be known yet when a part is written.
    if (!isResolved(*this, concat, numElements(concat.getResult())))
      continue;
    uint32_t whole = bufferOf(concat.getResult());
    placedConcats.insert(concat);
    nn::Dim offset = c(0);
    for (Value input : concat.getInputs()) {
      nn::Dim bytes = numElements(input) * nn::elementBytes(shapes.info(input).elementType);
      Operation *def = input.getDefiningOp();
      bool movable = def && def->getBlock() == &block && !buffers.count(input) && !isView(def) &&
                     !isa<nn::ConstantOp, nn::SliceOp, nn::SplitOp, nn::TransposeOp>(def) && def->getNumRegions() <= 1 &&
                     !isa<nn::IfOp, nn::LoopOp>(def);
      if (movable) {
        ProgramBuffer view;
        view.kind = NNOPT_B_VIEW;
        view.index = whole;
        view.size = offset;
        buffers[input] = program.addBuffer(view);
        placedInputs.insert({concat, input.getAsOpaquePointer()});
      }
      offset = offset + bytes;
    }
  }
}

LogicalResult Lowering::finishPlacedConcat(nn::ConcatOp concat) {
  nn::Dim offset = c(0);
  uint32_t whole = bufferOf(concat.getResult());
  llvm::DenseSet<Value> done;
  for (Value input : concat.getInputs()) {
    const nn::ValueInfo &info = shapes.info(input);
    if (!placedInputs.count({concat, input.getAsOpaquePointer()}) || !done.insert(input).second) {
      ProgramBuffer view;
      view.kind = NNOPT_B_VIEW;
      view.index = whole;
      view.size = offset;
      emitCopy(program.addBuffer(view), bufferOf(input), {}, info);
    }
    offset = offset + numElements(input) * nn::elementBytes(info.elementType);
  }
  return success();
}

/// Whether the operands of `a` are the first ones of `b`.
static bool begins(nn::ConcatOp a, nn::ConcatOp b) {
  size_t count = a.getInputs().size();
  return count < b.getInputs().size() && a.getAxis() == b.getAxis() &&
         llvm::equal(a.getInputs(), b.getInputs().take_front(count));
}

/// Dense blocks concatenate all features again for each layer: x0 | x1, x0 | x1 | x2, ... (Huang et al. 2017,
/// "Densely Connected Convolutional Networks"). Kernels that read with strides can read the beginning of the longest of
/// them, so that each feature is copied once, or never where a contraction can write it there.
void Lowering::planConcatPrefixes(func::FuncOp main) {
  if (options.device || options.optLevel == 0)
    return;
  llvm::MapVector<Value, SmallVector<nn::ConcatOp>> byFirst;
  for (auto concat : main.getBody().front().getOps<nn::ConcatOp>())
    if (needed.count(concat) && !placedConcats.count(concat) && !appends.count(concat) && concat.getInputs().size() > 1 &&
        !buffers.count(concat.getResult()) && !isOuterAxis(*this, concat.getResult(), concat.getAxis()) &&
        isResolved(*this, concat, numElements(concat.getResult())))
      byFirst[concat.getInputs().front()].push_back(concat);
  for (auto &[first, concats] : byFirst)
    for (nn::ConcatOp concat : concats) {
      nn::ConcatOp longest = concat;
      for (nn::ConcatOp other : concats)
        if (begins(longest, other))
          longest = other;
      if (longest == concat)
        continue;
      Value v = concat.getResult(), whole = longest.getResult();
      longerConcats[v] = whole;
      // Everybody must read it there, also through further views.
      bool readsThere = llvm::all_of(v.getUses(), [&](OpOperand &use) {
        return use.getOwner() != longest && readView(*this, use).base == whole;
      });
      if (!readsThere)
        longerConcats.erase(v);
    }
  for (auto &[first, concats] : byFirst)
    for (nn::ConcatOp concat : concats)
      if (!longerConcats.count(concat.getResult()))
        placeRows(concat);
}

/// Whether a fast kernel computes the operation: all of these write their results row by row (Finish).
static bool isFastContraction(Operation *op, Lowering &l) {
  auto linear = dyn_cast<nn::LinearOp>(op);
  if (!linear || linear.getWeightOutAxis() < 0 || l.dims(linear.getActivation()).size() < 2)
    return false;
  for (const Emitter &emitter : emittersOf(op->getName().getStringRef()))
    if (!emitter.match || emitter.match(op, l))
      return emitter.priority > 0;
  return false;
}

/// Contractions whose results are operands of a concatenation along the last dimension write them there, where nobody
/// reads them otherwise than with strides.
void Lowering::placeRows(nn::ConcatOp concat) {
  Value whole = concat.getResult();
  int64_t last = dims(whole).size() - 1;
  if (int64_t(concat.getAxis()) != last)
    return;
  nn::Dim position = c(0);
  int64_t bytes = nn::elementBytes(shapes.info(whole).elementType);
  for (Value v : concat.getInputs()) {
    nn::Dim at = position;
    position = position + dims(v).back();
    Operation *def = v.getDefiningOp();
    if (!def || def->getBlock() != concat->getBlock() || v != def->getResult(0) || buffers.count(v) || rowPlaces.count(v) ||
        llvm::count(concat.getInputs(), v) != 1 || !isFastContraction(def, *this) ||
        cast<nn::LinearOp>(def).getOutChannelAxis() != last || !isResolved(*this, def, numElements(whole)))
      continue;
    rowPlaces[v] = {whole, at};
    bool readsThere = llvm::all_of(v.getUses(), [&](OpOperand &use) {
      auto user = dyn_cast<nn::ConcatOp>(use.getOwner());
      bool isPart = user && (user == concat || longerConcat(user.getResult()) == whole);
      return isPart || readView(*this, use).base == whole;
    });
    if (!readsThere) {
      rowPlaces.erase(v);
      continue;
    }
    ProgramBuffer view;
    view.kind = NNOPT_B_VIEW;
    view.index = bufferOf(whole);
    view.size = at * bytes;
    buffers[v] = program.addBuffer(view);
  }
}

} // namespace nnopt::cpu

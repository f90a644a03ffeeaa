//===- Lowering.cpp - from the nn graph to a program of kernels -------------===//

#include "lib/codegen/cpu/Lowering.h"
#include "dialects/nn/DropPages.h"
#include "lib/codegen/cpu/StridedView.h"
#include "lib/codegen/cpu/contraction/NarrowWeights.h"
#include "lib/codegen/cpu/irregular/DataSizes.h"
#include "lib/codegen/cpu/irregular/Helpers.h"
#include "lib/codegen/cpu/irregular/Host.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;

namespace nnopt::cpu {

//===----------------------------------------------------------------------===//
// Emitter registry
//===----------------------------------------------------------------------===//

static llvm::StringMap<std::vector<Emitter>> &registry() {
  static llvm::StringMap<std::vector<Emitter>> emitters;
  return emitters;
}

RegisterEmitter::RegisterEmitter(Emitter emitter) {
  std::vector<Emitter> &list = registry()[emitter.opName];
  list.push_back(emitter);
  llvm::stable_sort(list, [](const Emitter &a, const Emitter &b) { return a.priority > b.priority; });
}

ArrayRef<Emitter> emittersOf(StringRef opName) { return registry()[opName]; }

//===----------------------------------------------------------------------===//
// Lowering: values
//===----------------------------------------------------------------------===//

Lowering::Lowering(ModuleOp kernels, Program &program, nn::ShapeContext &shapes, const Target &target,
                   const LoweringOptions &options)
    : target(target), options(options), shapes(shapes), program(program), kernels(kernels) {}

std::optional<nn::ConstantData> Lowering::constant(Value v) { return nn::ConstantData::get(v); }

/// Whether a size is known only while the program runs.
static bool dependsOnData(nn::Dim d, const llvm::DenseMap<const void *, uint32_t> &dataDependent) {
  if (d.kind() == nn::Dim::Kind::Symbol)
    return dataDependent.count(d.opaque());
  if (d.isConst())
    return false;
  return llvm::any_of(d.operands(), [&](nn::Dim o) { return dependsOnData(o, dataDependent); });
}

uint32_t Lowering::bufferOf(Value v) {
  auto it = buffers.find(v);
  if (it != buffers.end())
    return it->second;
  uint32_t number;
  if (nn::isHostValue(v)) {
    ProgramBuffer buffer;
    buffer.kind = NNOPT_B_HOST;
    buffer.size = c(0);
    number = program.addBuffer(buffer);
  } else if (auto data = constant(v)) {
    number = data->bytes().size() >= 1024 && !isa<DenseElementsAttr>(cast<nn::ConstantOp>(v.getDefiningOp()).getValue())
                 ? program.addWeightsView(data->bytes())
                 : program.addWeights(data->bytes());
  } else {
    ProgramBuffer buffer;
    const nn::ValueInfo &info = shapes.info(v);
    buffer.size = nn::product(dimContext(), info.dims) * nn::elementBytes(info.elementType);
    if (dependsOnData(buffer.size, program.dataDependent))
      buffer.kind = NNOPT_B_STATE;
    if (Operation *def = v.getDefiningOp())
      buffer.name = llvm::join(nodeNames(def->getLoc()), ",");
    number = program.addBuffer(buffer);
  }
  buffers[v] = number;
  return number;
}

TempTensor Lowering::temp(Type elementType, ArrayRef<nn::Dim> dims) {
  TempTensor t;
  t.elementType = elementType;
  t.dims.assign(dims.begin(), dims.end());
  ProgramBuffer buffer;
  buffer.size = nn::product(dimContext(), dims) * nn::elementBytes(elementType);
  if (dependsOnData(buffer.size, program.dataDependent))
    buffer.kind = NNOPT_B_STATE;
  t.buffer = program.addBuffer(buffer);
  return t;
}

TempTensor Lowering::kept(Type elementType, int64_t elements) {
  TempTensor t;
  t.elementType = elementType;
  t.dims = {c(elements)};
  ProgramBuffer buffer;
  buffer.kind = NNOPT_B_KEPT;
  buffer.size = c(elements * nn::elementBytes(elementType));
  t.buffer = program.addBuffer(buffer);
  return t;
}

void Lowering::alias(Value result, Value source, nn::Dim byteOffset) {
  uint32_t parent = bufferOf(source);
  // A result that already has a place (a part of a concat, a model output) is copied there.
  if (buffers.count(result)) {
    emitCopy(buffers[result], parent, byteOffset, shapes.info(result));
    return;
  }
  if (!byteOffset || byteOffset.isConst(0)) {
    buffers[result] = parent;
    return;
  }
  ProgramBuffer view;
  view.kind = NNOPT_B_VIEW;
  view.index = parent;
  view.size = byteOffset;
  buffers[result] = program.addBuffer(view);
}

void Lowering::emitCopy(uint32_t to, uint32_t from, nn::Dim byteOffset, const nn::ValueInfo &info) {
  if (byteOffset && !byteOffset.isConst(0)) {
    ProgramBuffer view;
    view.kind = NNOPT_B_VIEW;
    view.index = from;
    view.size = byteOffset;
    from = program.addBuffer(view);
  }
  appendCopy(*this, to, from, nn::product(dimContext(), info.dims) * nn::elementBytes(info.elementType));
}

void Lowering::copy(Value result, Value source) {
  emitCopy(bufferOf(result), bufferOf(source), {}, shapes.info(result));
}

//===----------------------------------------------------------------------===//
// Lowering: kernels
//===----------------------------------------------------------------------===//

/// Adds `ABI(buffers, dims, begin, end, thread)`, which unpacks the operands and calls `body`.
static void emitEntry(ModuleOp module, func::FuncOp body, StringRef name, unsigned firstOperand) {
  MLIRContext *ctx = module.getContext();
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  Location loc = UnknownLoc::get(ctx);
  Type ptr = LLVM::LLVMPointerType::get(ctx), i64 = b.getI64Type();
  auto entry = func::FuncOp::create(b, loc, name, b.getFunctionType({ptr, ptr, i64, i64, i64}, {}));
  Block *block = entry.addEntryBlock();
  b.setInsertionPointToStart(block);
  SmallVector<Value> args = {block->getArgument(2), block->getArgument(3), block->getArgument(4)};
  int32_t buffer = 0, dim = 0;
  for (BlockArgument arg : body.getArguments().drop_front(firstOperand)) {
    bool isPtr = isa<LLVM::LLVMPointerType>(arg.getType());
    int32_t &index = isPtr ? buffer : dim;
    Value address = LLVM::GEPOp::create(b, loc, ptr, isPtr ? ptr : i64, block->getArgument(isPtr ? 0 : 1),
                                        ArrayRef<LLVM::GEPArg>{index++});
    args.push_back(LLVM::LoadOp::create(b, loc, arg.getType(), address, 8));
  }
  func::CallOp::create(b, loc, body.getSymName(), TypeRange{}, args);
  func::ReturnOp::create(b, loc);
}

static std::string symbolName(StringRef name) {
  std::string s;
  for (char c : name)
    s += llvm::isAlnum(c) || c == '_' ? c : '_';
  return s;
}

/// Of what equal functions have in common: operations, attributes and types, not names or locations.
static size_t hashOf(func::FuncOp f) {
  llvm::hash_code hash = mlir::hash_value(f.getFunctionType());
  f.walk([&](Operation *op) {
    if (op != f)
      hash = llvm::hash_combine(hash, OperationEquivalence::computeHash(op, OperationEquivalence::ignoreHashValue,
                                                                        OperationEquivalence::ignoreHashValue,
                                                                        OperationEquivalence::IgnoreLocations));
  });
  return hash;
}

/// Finishes the function of a kernel and puts it into the module unless an equal one is there; its number
/// counts `names`. Returns whether it is new.
bool Lowering::addKernel(Kernel &k, ModuleOp module, std::vector<std::string> &names, uint32_t &number) {
  MLIRContext *ctx = module.getContext();
  k.func.setFunctionType(FunctionType::get(ctx, k.entry->getArgumentTypes(), {}));
  unsigned pointer = 0;
  for (BlockArgument arg : k.entry->getArguments()) {
    if (!isa<LLVM::LLVMPointerType>(arg.getType()))
      continue;
    if (!k.aliased[pointer++])
      k.func.setArgAttr(arg.getArgNumber(), "llvm.noalias", UnitAttr::get(ctx));
  }

  // Equal code is kept once.
  std::string base = (module == kernels ? options.kernelPrefix : "") + symbolName(k.name);
  k.func.setSymName(base);
  DictionaryAttr attributes = k.func->getAttrDictionary();
  auto &alike = kernelsByHash[hashOf(k.func)];
  for (const KnownKernel &known : alike)
    if (known.module == module && known.attributes == attributes &&
        OperationEquivalence::isRegionEquivalentTo(&known.func->getRegion(0), &k.func.getBody(), OperationEquivalence::IgnoreLocations)) {
      number = known.number;
      return false;
    }
  number = names.size();
  alike.push_back({module, k.func, attributes, number});
  std::string name = base;
  for (int i = 1; !usedNames.insert(name).second; ++i)
    name = base + "_" + std::to_string(i);
  names.push_back(name);
  k.func.setSymName(name + ".body");
  k.func.setPrivate();
  module.getBody()->push_back(k.func);
  return true;
}

void Lowering::addLaunch(Kernel &k, ProgramLaunch launch) {
  launch.buffers.assign(k.buffers.begin(), k.buffers.end());
  launch.written.assign(k.written.begin(), k.written.end());
  launch.dims.assign(k.dimOperands.begin(), k.dimOperands.end());
  launch.grain = std::max<int64_t>(1, k.grain);
  launch.flops = k.flops;
  launch.bytes = k.bytes;
  launch.nodes = llvm::join(nodeNames(k.op->getLoc()), ",");
  launch.op = k.op->getName().stripDialect().str();
  launch.emitter = emitterName.str();
  launch.operation = k.op;
  for (auto [in, out] : k.inPlace)
    launch.inPlace.push_back({in, out});
  addInstruction({NNOPT_I_LAUNCH, uint32_t(program.launches.size()), 0, 0});
  program.launches.push_back(std::move(launch));
}

void Lowering::launch(Kernel &k, nn::Dim tasks) {
  func::ReturnOp::create(k.b, k.loc);
  if (options.device && launchAsThreads(k, tasks))
    return;
  ProgramLaunch launch;
  launch.tasks = tasks;
  if (addKernel(k, kernels, program.kernelNames, launch.kernel)) {
    emitEntry(kernels, k.func, program.kernelNames.back(), 3);
    k.func = nullptr;
  }
  addLaunch(k, std::move(launch));
}

void Lowering::launchBlocks(Kernel &k, nn::Dim blocks, int64_t threads, int64_t sharedBytes) {
  func::ReturnOp::create(k.b, k.loc);
  ProgramLaunch launch;
  launch.tasks = blocks;
  launch.threads = threads;
  launch.sharedBytes = sharedBytes;
  if (addKernel(k, options.device->kernels, program.deviceKernelNames, launch.kernel))
    k.func = nullptr;
  addLaunch(k, std::move(launch));
}

/// A kernel of plain loops on the device: thread t of all does task t alone. Where threads need memory of their own, there
/// are only so many, and each does some tasks one after the other.
bool Lowering::launchAsThreads(Kernel &k, nn::Dim tasks) {
  constexpr int64_t threads = Device::plainThreads, maxScratch = 256 << 20, maxWorkers = 1 << 14;
  if (!options.device->canRun(k.func))
    return false;
  nn::Dim scratch = c(0), workers = tasks;
  for (uint32_t b : k.buffers)
    if (program.buffers[b].kind == NNOPT_B_SCRATCH)
      scratch = scratch + program.buffers[b].size;
  if (!scratch.isConst(0)) {
    int64_t most = scratch.isConst() ? std::clamp<int64_t>(maxScratch / scratch.value(), 1, maxWorkers) : maxWorkers / 8;
    workers = tasks.min(c(most)).max(c(1));
  }
  for (uint32_t b : k.buffers)
    if (program.buffers[b].kind == NNOPT_B_SCRATCH) {
      program.buffers[b].kind = NNOPT_B_ARENA;
      program.buffers[b].size = program.buffers[b].size * workers;
    }
  SmallVector<SmallVector<OpOperand *>> uses(3);
  for (unsigned i = 0; i < 3; ++i)
    for (OpOperand &use : k.entry->getArgument(i).getUses())
      uses[i].push_back(&use);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(k.entry);
  Ix count = k.dim(tasks), each = workers == tasks ? k.c(1) : k.dim(tasks.ceilDiv(workers));
  Ix worker = k.begin * threads + k.thread, first = worker * each;
  Ix values[] = {first, (first + each).min(count), worker};
  for (auto [operands, value] : llvm::zip(uses, values))
    for (OpOperand *operand : operands)
      operand->set(value);
  ProgramLaunch launch;
  launch.tasks = workers == tasks ? tasks.ceilDiv(c(threads)) : tasks.min(workers).ceilDiv(c(threads));
  launch.threads = threads;
  if (addKernel(k, options.device->kernels, program.deviceKernelNames, launch.kernel))
    k.func = nullptr;
  addLaunch(k, std::move(launch));
  return true;
}

void Lowering::declareFunction(StringRef name, FunctionType type) {
  if (kernels.lookupSymbol(name))
    return;
  OpBuilder b = OpBuilder::atBlockEnd(kernels.getBody());
  func::FuncOp::create(b, UnknownLoc::get(kernels.getContext()), name, type).setPrivate();
  program.outsideFunctions.push_back(name.str());
}

void Lowering::addInstruction(nnopt_instruction instruction) { blockStack.back().push_back(instruction); }

FailureOr<uint32_t> Lowering::lowerBlock(Region &region, function_ref<LogicalResult()> after) {
  uint32_t number = program.blocks.size();
  program.blocks.push_back({0, 0});
  blockStack.emplace_back();
  if (failed(lowerRange(region.front())) || (after && failed(after())))
    return failure();
  finishBlock(number);
  return number;
}

void Lowering::finishBlock(uint32_t number) {
  std::vector<nnopt_instruction> list = std::move(blockStack.back());
  blockStack.pop_back();
  program.blocks[number] = {uint32_t(program.instructions.size()), uint32_t(list.size())};
  program.instructions.insert(program.instructions.end(), list.begin(), list.end());
}

//===----------------------------------------------------------------------===//
// Lowering: operations
//===----------------------------------------------------------------------===//

/// A slice of step 1 that cuts only one dimension, with nothing but 1s before it: the byte offset
/// of its start, else null.
nn::Dim contiguousSliceOffset(nn::SliceOp op, Lowering &l) {
  const nn::Dims &in = l.dims(op.getX()), &out = l.dims(op.getResult());
  auto starts = l.shapes.content(op.getStarts());
  auto axes = op.getAxes() ? l.shapes.constantContent(op.getAxes()) : std::nullopt;
  if (!starts || (op.getAxes() && !axes))
    return {};
  if (op.getSteps()) {
    auto steps = l.shapes.constantContent(op.getSteps());
    if (!steps || llvm::any_of(*steps, [](int64_t s) { return s != 1; }))
      return {};
  }
  nn::Dim offset = l.c(0);
  bool onlyOnes = true;
  for (size_t d = 0; d < in.size(); ++d) {
    if (in[d] == out[d]) {
      onlyOnes &= in[d].isConst(1);
      continue;
    }
    if (!onlyOnes)
      return {};
    nn::Dim start;
    for (size_t i = 0; i < starts->size(); ++i) {
      int64_t axis = axes ? (*axes)[i] : int64_t(i);
      if (axis < 0)
        axis += in.size();
      if (axis == int64_t(d))
        start = (*starts)[i];
    }
    if (!start)
      return {};
    // Out-of-range starts are clamped: leave those to the copying emitter.
    if (start.isConst() && start.value() < 0)
      start = in[d] + start.value();
    if (!start.isAtLeast(0) || !(in[d] - start - out[d]).isAtLeast(0))
      return {};
    offset = start * l.product(in, d + 1, in.size());
    onlyOnes = false;
  }
  return offset * nn::elementBytes(l.shapes.info(op.getX()).elementType);
}

LogicalResult Lowering::lowerOp(Operation *op) {
  if (isa<nn::ConstantOp>(op) && nn::isHostValue(op->getResult(0)))
    return emitStringConstant(cast<nn::ConstantOp>(op), *this);
  if (isa<nn::ConstantOp>(op)) {
    if (!constant(op->getResult(0)))
      return op->emitError("the constant has no data: this text elides it; use bytecode (.mlirbc) to keep weights");
    return success();
  }
  // A value that nobody needs to compute because it is known as an expression. Before views: their operand is
  // not computed then.
  if (op->getNumResults() == 1 && op->getNumRegions() == 0)
    if (auto *content = shapes.content(op->getResult(0)); content && isa<IntegerType>(shapes.info(op->getResult(0)).elementType))
      return materialize(op, *content);
  if (isa<nn::HostCall>(op))
    return emitHostCall(op, *this);
  if (failed(defineDataSizes(op, *this)))
    return failure();
  if (absorbed.contains(op))
    return success();
  if (isView(op) || isViewTranspose(op, *this)) {
    alias(op->getResult(0), op->getOperand(0));
    return success();
  }
  if (auto slice = dyn_cast<nn::SliceOp>(op))
    if (nn::Dim offset = contiguousSliceOffset(slice, *this)) {
      alias(slice.getResult(), slice.getX(), offset);
      return success();
    }
  if (auto split = dyn_cast<nn::SplitOp>(op); split && isOuterAxis(*this, split.getX(), split.getAxis())) {
    nn::Dim offset = c(0);
    for (Value result : split.getResults()) {
      alias(result, split.getX(), offset);
      offset = offset + numElements(result) * nn::elementBytes(shapes.info(result).elementType);
    }
    return success();
  }
  if (auto concat = dyn_cast<nn::ConcatOp>(op); concat && placedConcats.count(concat))
    return finishPlacedConcat(concat);

  if (options.device) {
    llvm::SaveAndRestore name(emitterName, StringRef()); // not that of the control flow around it
    if (auto result = options.device->emit(op, *this))
      return *result;
  }
  SmallVector<Emitter> candidates(emittersOf(op->getName().getStringRef()));
  if (auto choice = op->getAttrOfType<DictionaryAttr>("nn.kernel"); choice && options.optLevel != 0)
    if (auto wanted = choice.getAs<StringAttr>("emitter"))
      std::stable_partition(candidates.begin(), candidates.end(), [&](const Emitter &e) { return e.name == wanted.getValue(); });
  auto tryList = [&](ArrayRef<Emitter> list) -> std::optional<LogicalResult> {
    for (const Emitter &emitter : list) {
      if (options.optLevel == 0 && emitter.priority != 0)
        continue;
      if (emitter.match && !emitter.match(op, *this))
        continue;
      if (emitter.priority == 0 && options.optLevel != 0 && list.size() > 1)
        remark::missed(op->getLoc(), remark::RemarkOpts::name("plain-loops").category("lowering"))
            << remark::reason("no faster kernel for {0} takes these types, shapes and attributes", op->getName().stripDialect().str());
      // Emitters of control flow lower other operations.
      llvm::SaveAndRestore name(emitterName, emitter.name);
      return emitter.emit(op, *this);
    }
    return std::nullopt;
  };
  if (auto result = tryList(candidates)) {
    for (Value operand : op->getOperands())
      if (auto data = constant(operand))
        nn::dropPages(data->bytes());
    return *result;
  }
  if (isa<nn::Elementwise>(op))
    if (auto result = tryList(emittersOf("*")))
      return *result;
  return op->emitError() << "no CPU kernel for " << op->getName() << " with these types and attributes";
}

/// Writes a small integer tensor whose elements are expressions over sizes.
LogicalResult Lowering::materialize(Operation *op, ArrayRef<nn::Dim> content) {
  Value result = op->getResult(0);
  llvm::SaveAndRestore name(emitterName, StringRef("shape-values"));
  Kernel k(*this, op, "shape_values");
  Buffer out = k.write(result);
  for (auto [i, d] : llvm::enumerate(content)) {
    Value v = k.dim(d);
    if (out.valueType.isInteger(1))
      v = arith::CmpIOp::create(k.b, k.loc, arith::CmpIPredicate::ne, v, k.c(0));
    else if (out.valueType.getIntOrFloatBitWidth() < 64)
      v = arith::TruncIOp::create(k.b, k.loc, out.valueType, v);
    k.store(out, k.c(i), v);
  }
  launch(k, c(1));
  return success();
}

LogicalResult Lowering::lowerRange(Block &block) {
  bool ok = true;
  for (Operation &op : block.without_terminator())
    if (needed.count(&op))
      ok &= succeeded(lowerOp(&op));
  return success(ok);
}

//===----------------------------------------------------------------------===//
// Lowering: the function
//===----------------------------------------------------------------------===//

/// Marks the operations whose results are read at run time. Operands that only determine shapes
/// are not read when the analysis knows their contents from the sizes of the inputs; a size that
/// depends on data is known only when the operation that decides it has run.
void Lowering::markNeeded(func::FuncOp main) {
  llvm::DenseSet<const void *> inputSymbols;
  std::function<bool(nn::Dim, bool)> visit = [&](nn::Dim d, bool collect) {
    if (d.isConst())
      return true;
    if (d.kind() == nn::Dim::Kind::Symbol)
      return collect ? (inputSymbols.insert(d.opaque()), true) : inputSymbols.contains(d.opaque());
    return llvm::all_of(d.operands(), [&](nn::Dim o) { return visit(o, collect); });
  };
  for (Value argument : main.getArguments())
    for (nn::Dim d : dims(argument))
      visit(d, true);
  auto isKnown = [&](Value v) {
    auto *content = shapes.content(v);
    return content && llvm::all_of(*content, [&](nn::Dim d) { return visit(d, false); });
  };
  SmallVector<Value> work;
  auto need = [&](Value v) { work.push_back(v); };
  for (Value v : main.getBody().front().getTerminator()->getOperands())
    need(v);
  while (!work.empty()) {
    Value v = work.pop_back_val();
    if (!readValues.insert(v).second)
      continue;
    Operation *op = v.getDefiningOp();
    if (!op)
      continue;
    bool first = needed.insert(op).second;
    if (!first)
      continue;
    // A known small integer tensor is written from its expressions.
    if (op->getNumRegions() == 0 && op->getNumResults() == 1 && isKnown(op->getResult(0)) &&
        isa<IntegerType>(shapes.info(op->getResult(0)).elementType))
      continue;
    auto shaped = dyn_cast<nn::ShapeFunction>(op);
    for (OpOperand &operand : op->getOpOperands()) {
      if (shaped && shaped.isShapeOperand(operand.getOperandNumber()) && isKnown(operand.get()))
        continue;
      need(readView(*this, operand).base);
      if (nn::DequantizeOp rows = byteRowsOf(*this, operand))
        need(stridedView(*this, rows.getScale()).base);
    }
    if (auto matmul = dyn_cast<nn::MatMulOp>(op))
      if (nn::DequantizeOp rows = byteRows(*this, matmul))
        need(rows.getScale());
    for (Region &region : op->getRegions())
      for (Block &block : region)
        if (!block.empty() && isa<nn::YieldOp>(block.back()))
          for (Value yielded : block.back().getOperands())
            need(yielded);
  }
}

LogicalResult Lowering::run(func::FuncOp main) {
  Block &body = main.getBody().front();
  main.walk([&](nn::ConstantOp op) {
    if (auto type = dyn_cast<RankedTensorType>(op.getType()))
      constantBytes += type.getNumElements() * nn::elementBytes(type.getElementType());
  });
  program.blocks.push_back({0, 0});
  blockStack.emplace_back();

  for (BlockArgument arg : body.getArguments()) {
    const nn::ValueInfo &info = shapes.info(arg);
    ProgramBuffer buffer;
    buffer.kind = NNOPT_B_INPUT;
    buffer.index = arg.getArgNumber();
    buffer.size = nn::product(dimContext(), info.dims) * nn::elementBytes(info.elementType);
    uint32_t number = nn::isHostValue(arg) ? bufferOf(arg) : (buffers[arg] = program.addBuffer(buffer));
    auto name = main.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "nn.name");
    for (nn::Dim d : info.dims)
      if (d.kind() == nn::Dim::Kind::Symbol)
        program.symbolNumber(d);
    program.inputs.push_back({name ? name.str() : "input" + std::to_string(arg.getArgNumber()),
                              arg.getType(), info.dims, number});
  }

  planStates(main);
  markNeeded(main);

  // An output is computed in the caller's memory when it has a buffer of its own.
  Operation *terminator = body.getTerminator();
  std::vector<uint32_t> outputBuffers;
  for (auto [i, v] : llvm::enumerate(terminator->getOperands())) {
    const nn::ValueInfo &info = shapes.info(v);
    if (nn::isHostValue(v)) {
      outputBuffers.push_back(bufferOf(v));
      continue;
    }
    ProgramBuffer buffer;
    buffer.kind = NNOPT_B_OUTPUT;
    buffer.index = i;
    buffer.size = nn::product(dimContext(), info.dims) * nn::elementBytes(info.elementType);
    outputBuffers.push_back(program.addBuffer(buffer));
    // A view of a value shares its place, so it is that value that is computed in the output. The output's size
    // must be known by then: not when the shape of the view is data.
    Value source = v;
    while (source.getDefiningOp() && isView(source.getDefiningOp()) &&
           numElements(source.getDefiningOp()->getOperand(0)) == numElements(v))
      source = source.getDefiningOp()->getOperand(0);
    Operation *def = source.getDefiningOp();
    if (def && def->getBlock() == &body && !buffers.count(source) && !isa<nn::ConstantOp>(def) &&
        !shapes.content(source))
      buffers[source] = outputBuffers.back();
  }
  planConcatViews(main);
  planConcatPrefixes(main);

  if (failed(lowerRange(body)))
    return failure();
  for (auto [i, v] : llvm::enumerate(terminator->getOperands())) {
    const nn::ValueInfo &info = shapes.info(v);
    if (bufferOf(v) != outputBuffers[i])
      emitCopy(outputBuffers[i], bufferOf(v), {}, info);
    auto name = main.getResultAttrOfType<StringAttr>(i, "nn.name");
    program.outputs.push_back({name ? name.str() : "output" + std::to_string(i), v.getType(), info.dims,
                               outputBuffers[i]});
  }
  finishBlock(0);
  program.assignInPlace();
  return success();
}

} // namespace nnopt::cpu

//===- Emulate.cpp - GPU kernels on the CPU ---------------------------------===//
//
// For tests on machines without a GPU: the function of a GPU kernel is compiled for the CPU, and
// called once for each thread of each block, on a stack of its own (test/support/simt). Barriers,
// shared memory, asynchronous copies and what a warp does together are calls, and each access is
// checked against the buffers of the launch, and for races in shared memory.
//
//===----------------------------------------------------------------------===//

#include "lib/codegen/cuda/Compile.h"
#include "lib/codegen/cuda/Kernel.h"
#include "lib/codegen/cuda/ScalarMath.h"
#include "lib/codegen/cuda/Wgmma.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace nnopt::cuda {
namespace {

class Emulation {
public:
  Emulation(ModuleOp cpuKernels, Program &program, bool hasWgmma)
      : module(cpuKernels), program(program), hasWgmma(hasWgmma), b(module.getContext()) {}

  /// Moves one kernel, whose launches all have these threads and this much shared memory at most.
  void add(func::FuncOp kernel, StringRef name, uint32_t threads, uint32_t sharedBytes) {
    bool waits = false;
    kernel.walk([&](Operation *op) {
      b.setInsertionPoint(op);
      loc = op->getLoc();
      if (isa<NVVM::BarrierOp>(op)) {
        waits = true;
        call("nnopt_simt_barrier", {}, {});
        op->erase();
      } else if (auto shuffle = dyn_cast<NVVM::ShflOp>(op)) {
        waits = true;
        Value bits = shuffle.getVal();
        bool isFloat = bits.getType().isF32();
        if (isFloat)
          bits = arith::BitcastOp::create(b, loc, b.getI32Type(), bits);
        Value r =
            call("nnopt_simt_shuffle_xor", b.getI32Type(), {site(), bits, shuffle.getOffset()});
        if (isFloat)
          r = arith::BitcastOp::create(b, loc, b.getF32Type(), r);
        shuffle.getRes().replaceAllUsesWith(r);
        op->erase();
      } else if (auto load = dyn_cast<NVVM::LdMatrixOp>(op)) {
        waits = true;
        bool transposed = load.getLayout() == NVVM::MMALayout::col;
        replaceByWords(op,
                       call("nnopt_simt_ldmatrix", pointer(),
                            {site(), load.getPtr(), number(load.getNum()), number(transposed)}));
      } else if (auto mma = dyn_cast<NVVM::MmaOp>(op)) {
        waits = true;
        SmallVector<Value> args = {site(), number(int64_t(*mma.getMultiplicandAPtxType())),
                                   number(int64_t(*mma.getMultiplicandBPtxType()))};
        for (Value v : mma->getOperands())
          args.push_back(v.getType().isInteger(32)
                             ? v
                             : LLVM::BitcastOp::create(b, loc, b.getI32Type(), v).getResult());
        replaceByWords(op, call("nnopt_simt_mma", pointer(), args));
      } else if (auto copy = dyn_cast<NVVM::CpAsyncOp>(op)) {
        Value bytes = number(copy.getSize());
        Value read =
            copy.getCpSize()
                ? arith::ExtUIOp::create(b, loc, b.getI64Type(), copy.getCpSize()).getResult()
                : bytes;
        call("nnopt_simt_copy_async", {}, {copy.getDst(), copy.getSrc(), bytes, read});
        op->erase();
      } else if (isa<NVVM::CpAsyncCommitGroupOp>(op)) {
        call("nnopt_simt_commit_copies", {}, {});
        op->erase();
      } else if (auto wait = dyn_cast<NVVM::CpAsyncWaitGroupOp>(op)) {
        call("nnopt_simt_wait_for_copies", {}, {number(wait.getN())});
        op->erase();
      } else if (auto product = dyn_cast<NVVM::WgmmaMmaAsyncOp>(op)) {
        waits = true;
        addProduct(product, kernel);
      } else if (isa<NVVM::FenceProxyOp>(op)) {
        call("nnopt_simt_fence_products", {}, {});
        op->erase();
      } else if (isa<NVVM::WgmmaFenceAlignedOp>(op)) {
        op->erase();
      } else if (isa<NVVM::WgmmaGroupSyncAlignedOp>(op)) {
        call("nnopt_simt_commit_products", {}, {});
        op->erase();
      } else if (auto wait = dyn_cast<NVVM::WgmmaWaitGroupSyncOp>(op)) {
        call("nnopt_simt_wait_for_products", {}, {site(), number(wait.getGroup())});
        op->erase();
      } else if (auto order = dyn_cast<LLVM::InlineAsmOp>(op)) { // of no instruction: its results are its operands
        for (Operation *user : order->getUsers()) {
          auto extract = cast<LLVM::ExtractValueOp>(user);
          extract.getRes().replaceAllUsesWith(order.getOperand(extract.getPosition()[0]));
          replaced.push_back(extract);
        }
        replaced.push_back(op);
      } else if (auto question = dyn_cast<LLVM::CallOp>(op); question && question.getCallee() == hasWgmmaFunction) {
        question.getResult().replaceAllUsesWith(arith::ConstantIntOp::create(b, loc, hasWgmma, 1));
        op->erase();
      } else if (auto order = dyn_cast<LLVM::CallOp>(op);
                 order && (order.getCallee() == waitForLaunchesFunction || order.getCallee() == letNextLaunchBeginFunction)) {
        op->erase(); // launches come one after the other
      } else if (auto convert = dyn_cast<NVVM::ConvertFloatToTF32Op>(op)) {
        Value bits = arith::BitcastOp::create(b, loc, b.getI32Type(), convert.getSrc());
        convert.getRes().replaceAllUsesWith(call("nnopt_simt_tf32", b.getI32Type(), {bits}));
        op->erase();
      } else if (auto cast = dyn_cast<LLVM::AddrSpaceCastOp>(op)) {
        // There is one memory: pointers stay what they are, but for that to the shared memory.
        if (cast.getArg().getType() == pointer()) {
          cast.getResult().replaceAllUsesWith(cast.getArg());
          cast.erase();
          return;
        }
        auto address = cast.getArg().getDefiningOp<LLVM::AddressOfOp>();
        cast.getResult().replaceAllUsesWith(call("nnopt_simt_shared", pointer(), {}));
        cast.erase();
        if (address && address->use_empty())
          address.erase();
      } else if (auto load = dyn_cast<LLVM::LoadOp>(op)) {
        check(load.getAddr(), load.getType(), load.getAlignment(), false);
      } else if (auto store = dyn_cast<LLVM::StoreOp>(op)) {
        check(store.getAddr(), store.getValue().getType(), store.getAlignment(), true);
      }
    });
    for (Operation *op : replaced)
      op->erase();
    replaced.clear();
    kernel->moveBefore(module.getBody(), module.getBody()->end());
    emitEntry(kernel, name, threads, sharedBytes, waits);
  }

private:
  Type pointer() { return LLVM::LLVMPointerType::get(b.getContext()); }
  Value number(int64_t v) { return arith::ConstantIntOp::create(b, loc, v, 64); }

  /// A number for the operation: lanes of a warp must meet at the same one.
  Value site() { return number(++sites); }

  /// Uses four words at `address` in place of the results of an operation of a warp.
  void replaceByWords(Operation *op, Value address) {
    for (Operation *user : op->getResult(0).getUsers()) {
      auto extract = cast<LLVM::ExtractValueOp>(user);
      int32_t i = extract.getPosition()[0];
      Value word = LLVM::GEPOp::create(b, loc, pointer(), b.getI32Type(), address,
                                       ArrayRef<LLVM::GEPArg>{i});
      extract.getRes().replaceAllUsesWith(LLVM::LoadOp::create(b, loc, extract.getType(), word, 4));
      replaced.push_back(extract);
    }
    replaced.push_back(op);
  }

  /// Calls what adds to sums in memory.
  void addProduct(NVVM::WgmmaMmaAsyncOp product, func::FuncOp kernel) {
    auto type = cast<LLVM::LLVMStructType>(product->getResult(0).getType());
    int64_t count = type.getBody().size();
    Value memory;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&kernel.getBody().front());
      memory = LLVM::AllocaOp::create(b, loc, pointer(), b.getF32Type(), number(count), 4);
    }
    auto place = [&](int64_t i) -> Value {
      return LLVM::GEPOp::create(b, loc, pointer(), b.getF32Type(), memory, ArrayRef<LLVM::GEPArg>{int32_t(i)});
    };
    for (auto insert = product.getInouts().getDefiningOp<LLVM::InsertValueOp>(); insert;
         insert = insert.getContainer().getDefiningOp<LLVM::InsertValueOp>())
      LLVM::StoreOp::create(b, loc, insert.getValue(), place(insert.getPosition()[0]), 4);
    // As the types of mma are numbered.
    bool isHalf = product.getTypeA() == NVVM::WGMMATypes::f16;
    NVVM::MMATypes elements = isHalf ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
    call("nnopt_simt_wgmma", {}, {site(), number(int64_t(elements)), number(product.getShape().getN()), product.getDescriptorA(),
                                  product.getDescriptorB(), memory});
    for (Operation *user : product->getUsers()) {
      auto extract = cast<LLVM::ExtractValueOp>(user);
      extract.getRes().replaceAllUsesWith(LLVM::LoadOp::create(b, loc, b.getF32Type(), place(extract.getPosition()[0]), 4));
      replaced.push_back(extract);
    }
    replaced.push_back(product);
  }

  Value call(StringRef name, Type result, ValueRange args) {
    SmallVector<Type> results;
    if (result)
      results.push_back(result);
    if (!module.lookupSymbol(name)) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(module.getBody());
      func::FuncOp::create(b, loc, name, b.getFunctionType(TypeRange(args), results)).setPrivate();
      program.outsideFunctions.push_back(name.str());
    }
    auto op = func::CallOp::create(b, loc, name, results, args);
    return result ? op.getResult(0) : Value();
  }

  void check(Value address, Type type, std::optional<uint64_t> align, bool writes) {
    int64_t bytes = 1;
    if (auto vector = dyn_cast<VectorType>(type))
      bytes = vector.getNumElements() * std::max<int64_t>(1, vector.getElementTypeBitWidth() / 8);
    else if (type.isIntOrFloat())
      bytes = std::max<int64_t>(1, type.getIntOrFloatBitWidth() / 8);
    call("nnopt_simt_access", {},
         {address, number(bytes), number(align.value_or(1)), number(writes)});
  }

  /// Makes the kernel take (buffers, dims, block, blocks, thread), and adds `name` with the
  /// interface of a CPU kernel, which runs blocks [begin, end) of it.
  void emitEntry(func::FuncOp kernel, StringRef name, uint32_t threads, uint32_t sharedBytes,
                 bool waits) {
    Type i64 = b.getI64Type(), ptr = pointer();
    loc = kernel.getLoc();
    Block &body = kernel.getBody().front();
    Value buffers = body.insertArgument(0u, ptr, loc), dims = body.insertArgument(1u, ptr, loc);
    b.setInsertionPointToStart(&body);
    int32_t buffer = 0, dim = 0;
    for (BlockArgument arg : body.getArguments().drop_front(5)) {
      bool isPtr = isa<LLVM::LLVMPointerType>(arg.getType());
      int32_t &index = isPtr ? buffer : dim;
      Value address = LLVM::GEPOp::create(b, loc, ptr, isPtr ? ptr : i64, isPtr ? buffers : dims,
                                          ArrayRef<LLVM::GEPArg>{index++});
      arg.replaceAllUsesWith(LLVM::LoadOp::create(b, loc, arg.getType(), address, 8));
    }
    body.eraseArguments(5, body.getNumArguments() - 5);
    kernel->removeAttr(kernel.getArgAttrsAttrName());
    FunctionType type = b.getFunctionType({ptr, ptr, i64, i64, i64}, {});
    kernel.setFunctionType(type);

    b.setInsertionPointToEnd(module.getBody());
    auto entry = func::FuncOp::create(b, loc, name, type);
    Block *block = entry.addEntryBlock();
    b.setInsertionPointToStart(block);
    Value function = func::ConstantOp::create(b, loc, type, kernel.getSymName());
    Value address = UnrealizedConversionCastOp::create(b, loc, ptr, function).getResult(0);
    call("nnopt_simt_run", {},
         {address, block->getArgument(0), block->getArgument(1), number(buffer), number(dim),
          block->getArgument(2), block->getArgument(3), number(threads), number(sharedBytes),
          number(waits)});
    func::ReturnOp::create(b, loc);
  }

  ModuleOp module;
  Program &program;
  bool hasWgmma;
  OpBuilder b;
  int64_t sites = 0;
  SmallVector<Operation *> replaced; // users before what they use
  Location loc = UnknownLoc::get(module.getContext());
};

} // namespace

/// Bytes from the start of a buffer to the end of the memory that it is in.
static nn::Dim extent(const Program &program, uint32_t buffer) {
  const ProgramBuffer &b = program.buffers[buffer];
  return b.kind == NNOPT_B_VIEW ? extent(program, b.index) - b.size : b.size;
}

LogicalResult emulate(ModuleOp deviceKernels, ModuleOp cpuKernels, Program &program, bool hasWgmma) {
  if (failed(expandScalarMath(deviceKernels)))
    return failure();
  std::vector<uint32_t> threads(program.deviceKernelNames.size()), sharedBytes(threads.size());
  uint32_t first = program.kernelNames.size();
  for (ProgramLaunch &launch : program.launches) {
    if (!launch.threads)
      continue;
    threads[launch.kernel] = launch.threads;
    sharedBytes[launch.kernel] = std::max(sharedBytes[launch.kernel], launch.sharedBytes);
    launch.kernel += first;
    launch.threads = launch.sharedBytes = 0;
    launch.grain = 1;
    // Behind the kernel's own values: what it may access.
    for (uint32_t buffer : launch.buffers)
      launch.dims.push_back(extent(program, buffer));
  }
  Emulation emulation(cpuKernels, program, hasWgmma);
  for (auto [i, name] : llvm::enumerate(program.deviceKernelNames)) {
    emulation.add(deviceKernels.lookupSymbol<func::FuncOp>(name + ".body"), name, threads[i],
                  sharedBytes[i]);
    program.kernelNames.push_back(name);
  }
  program.deviceKernelNames.clear();
  return success();
}

} // namespace nnopt::cuda

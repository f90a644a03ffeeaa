//===- Custom.cpp - calls of C kernels ------------------------------------===//
#include "lib/codegen/cpu/irregular/DataSizes.h"
#include "lib/codegen/cpu/irregular/Helpers.h"

using namespace mlir;
namespace nnopt::cpu {
namespace {

/// One task that fills the tables of include/nnopt/kernel.h and calls the function.
LogicalResult emitCustom(Operation *operation, Lowering &lowering) {
  auto op = cast<nn::CustomOp>(operation);
  Kernel k(lowering, op, ("custom_" + op.getKernel()).str());
  SmallVector<Buffer> tensors;
  int64_t sizes = 0;
  for (Value v : op.getInputs())
    tensors.push_back(k.read(v));
  for (Value v : op.getOutputs()) {
    for (nn::Dim d : lowering.dims(v))
      if (!isResolved(lowering, op, d))
        return op.emitOpError("the size ") << d.str() << " of a result depends on data, which kernels from outside cannot have";
    tensors.push_back(k.write(v));
  }
  for (const Buffer &t : tensors)
    sizes += t.rank();

  // First all sizes, then {data, dims, rank} of each tensor, in words of 8 bytes.
  Value memory = k.scratch(lowering.c(8 * (sizes + 3 * int64_t(tensors.size()))));
  Type i64 = k.b.getI64Type(), ptr = LLVM::LLVMPointerType::get(k.b.getContext());
  auto word = [&](int64_t at, Value value) { k.storeAt(memory, k.c(at), value); };
  auto address = [&](Value pointer) -> Value { return LLVM::PtrToIntOp::create(k.b, k.loc, i64, pointer); };
  int64_t size = 0, entry = sizes;
  for (const Buffer &t : tensors) {
    int64_t first = size;
    for (nn::Dim d : t.dims)
      word(size++, k.dim(d));
    word(entry++, address(t.ptr));
    word(entry++, address(k.ptrAdd(memory, k.c(first), i64)));
    word(entry++, k.c(t.rank()));
  }
  Value inputs = k.ptrAdd(memory, k.c(sizes), i64);
  Value outputs = k.ptrAdd(memory, k.c(sizes + 3 * int64_t(op.getInputs().size())), i64);
  lowering.declareFunction(op.getKernel(), FunctionType::get(k.b.getContext(), {ptr, ptr}, {}));
  func::CallOp::create(k.b, k.loc, op.getKernel(), TypeRange{}, ValueRange{inputs, outputs});
  lowering.launch(k, lowering.c(1));
  return success();
}

static RegisterEmitter custom({"nn.custom", "custom", 0, nullptr, emitCustom});

} // namespace
} // namespace nnopt::cpu

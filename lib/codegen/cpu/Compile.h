//===- Compile.h - kernels to an object file --------------------*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_COMPILE_H
#define NNOPT_LIB_CODEGEN_CPU_COMPILE_H

#include "lib/codegen/Program.h"
#include "lib/codegen/cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

namespace llvm {
class Module;
}

namespace nnopt::cpu {

enum class CodeKind { Object, Assembly, LLVMIR };

/// Object code of kernels by content, kept between compilations; both may be absent. A key is all that the code depends on,
/// besides the compiler.
struct ObjectCache {
  /// False: not there.
  std::function<bool(llvm::StringRef key, llvm::SmallVectorImpl<char> &object)> find;
  std::function<void(llvm::StringRef key, llvm::ArrayRef<char> object)> store;
};

struct CompileOptions {
  CodeKind kind = CodeKind::Object;
  /// Name of the nnopt_descriptor, and whether the artifact exports it.
  std::string descriptorSymbol = NNOPT_DESCRIPTOR_SYMBOL;
  bool exported = true;
  /// Name of an nnopt_device_program in another object, for its `cuda`; empty: none.
  std::string deviceSymbol;
  /// Name of an array of nnopt_version in another object, for its `versions`; empty: none.
  std::string versionsSymbol;
  /// 0: LLVM -O1, for code that runs once (constant folding).
  int optLevel = 2;
  ObjectCache cache;
  /// Called with a fraction 0..1 from time to time.
  std::function<void(double)> progress;
};

/// Compiles the kernel module (consumed: lowered in place) together with the serialized program.
/// `out` gets the object files of the artifact, one for each kernel and one for the program, compiled on all cores, or one
/// text for the other kinds. Emits diagnostics on failure.
mlir::LogicalResult compileKernels(mlir::ModuleOp kernels, const Program &program, llvm::ArrayRef<char> meta,
                                   const Target &target, const CompileOptions &options,
                                   std::vector<llvm::SmallVector<char, 0>> &out);

/// Emits a module of data for `target`.
bool emitData(llvm::Module &module, const Target &target, llvm::SmallVectorImpl<char> &object, std::string &error);

} // namespace nnopt::cpu

#endif

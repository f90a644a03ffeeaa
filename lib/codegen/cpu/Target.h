//===- Target.h - what the CPU emitters know of the machine -----*- C++ -*-===//
#ifndef NNOPT_LIB_CODEGEN_CPU_TARGET_H
#define NNOPT_LIB_CODEGEN_CPU_TARGET_H

#include "mlir/IR/Types.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace nnopt::cpu {

/// A CPU that kernels are generated for.
struct Target {
  std::string triple;
  /// What the artifact records; LLVM's CPU name and feature string that instructions are chosen for, and
  /// the CPU that they are scheduled for.
  std::string name, cpu, features, tuneCpu;
  /// NNOPT_CPU_* bits an artifact needs (runtime/format.h). Not AMX, which a process has to ask the system for: only
  /// programs that use it need it (Program::cpuFeatures).
  uint32_t required = 0;
  /// Width of the widest vector registers that are worth using, and how many there are.
  int64_t vectorBits = 128;
  int64_t vectorRegisters = 16;
  /// Width of the multiply-add units: less where an instruction on whole registers takes two passes.
  int64_t multiplyBits = 128;
  bool fma = false, avx2 = false, avx512 = false, vnni = false, avxVnni = false;
  bool f16 = false, bf16 = false; // instructions that convert them; with bf16 also ones that multiply
  bool amx = false;               // tile registers that multiply bytes and bf16
  bool dotprod = false;           // AArch64: sums of four products of bytes
  bool isX86 = false, isAArch64 = false;
  int64_t l1Bytes = 32 << 10, l2Bytes = 1 << 20, l3Bytes = 16 << 20;

  /// Elements of a full vector register: 16 for f32 with AVX-512.
  int64_t lanes(int64_t elementBytes = 4) const { return vectorBits / 8 / elementBytes; }

  /// The target named by `--target`: `native`, an x86-64 level (`x86-64-v3`), or a CPU name of
  /// LLVM, optionally with a triple in front (`aarch64-linux-gnu:neoverse-n1`). Returns false and
  /// sets `error` for a name LLVM does not know.
  static bool get(llvm::StringRef name, Target &target, std::string &error);
};

/// Whether this machine can run code for a target.
bool runsOnHost(const Target &target);

} // namespace nnopt::cpu

#endif

//===- Target.cpp - CPU descriptions ----------------------------------------===//

#include "lib/codegen/cpu/Target.h"
#include "runtime/format.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"
#include "llvm/TargetParser/Triple.h"
#include <unistd.h>

using namespace llvm;

namespace nnopt::cpu {

static int64_t cacheBytes(int name, int64_t fallback) {
  long v = sysconf(name);
  return v > 0 ? v : fallback;
}

bool Target::get(StringRef spec, Target &t, std::string &error) {
  static bool initialized = [] {
    InitializeAllTargetInfos();
    InitializeAllTargets();
    InitializeAllTargetMCs();
    InitializeAllAsmPrinters();
    InitializeAllAsmParsers();
    return true;
  }();
  (void)initialized;

  std::string hostTriple = sys::getDefaultTargetTriple();
  StringRef triple = hostTriple, cpu = spec;
  if (size_t colon = spec.find(':'); colon != StringRef::npos) {
    triple = spec.take_front(colon);
    cpu = spec.drop_front(colon + 1);
  }
  SubtargetFeatures features;
  std::string cpuName = cpu.str();
  if (cpu == "native") {
    // The name alone is not enough under virtualization: take the features CPUID reports.
    cpuName = sys::getHostCPUName().str();
    for (auto &[feature, on] : sys::getHostCPUFeatures())
      features.AddFeature(feature, on);
  }
  Triple parsed(Triple::normalize(triple));
  std::string message;
  const llvm::Target *target = TargetRegistry::lookupTarget("", parsed, message);
  if (!target) {
    error = "target '" + spec.str() + "': " + message;
    return false;
  }
  std::unique_ptr<MCSubtargetInfo> info(target->createMCSubtargetInfo(parsed, "", ""));
  if (!info || !info->isCPUStringValid(cpuName)) {
    error = "unknown CPU '" + cpuName + "' for " + parsed.str() +
            "; use native, x86-64-v3, x86-64-v4, or a CPU name that llc-22 -mcpu=help lists";
    return false;
  }
  info.reset(target->createMCSubtargetInfo(parsed, cpuName, features.getString()));
  auto has = [&](StringRef feature) { return info->checkFeatures(("+" + feature).str()); };

  t = Target();
  t.triple = parsed.str();
  t.name = t.cpu = cpuName;
  t.features = features.getString();
  t.isX86 = parsed.isX86();
  t.isAArch64 = parsed.isAArch64();
  if (t.isX86) {
    t.required = NNOPT_CPU_X86_64;
    t.avx512 = has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl") && has("avx512cd");
    t.avx2 = has("avx2");
    t.fma = has("fma");
    t.vnni = has("avx512vnni");
    t.avxVnni = has("avxvnni");
    t.bf16 = has("avx512bf16");
    t.vectorBits = t.avx512 ? 512 : t.avx2 ? 256 : 128;
    t.vectorRegisters = t.avx512 ? 32 : 16;
    if (t.avx2)
      t.required |= NNOPT_CPU_AVX2_FMA;
    if (t.avx512)
      t.required |= NNOPT_CPU_AVX512;
    // LLVM may use whatever the CPU has; what it is allowed to use must be there.
    if (t.vnni)
      t.required |= NNOPT_CPU_AVX512_VNNI;
    if (t.bf16)
      t.required |= NNOPT_CPU_AVX512_BF16;
    if (t.avxVnni)
      t.required |= NNOPT_CPU_AVX_VNNI;
  } else if (t.isAArch64) {
    t.required = NNOPT_CPU_AARCH64;
    t.vectorRegisters = 32;
    t.fma = true;
  }
  if (cpu == "native") {
    t.l1Bytes = cacheBytes(_SC_LEVEL1_DCACHE_SIZE, t.l1Bytes);
    t.l2Bytes = cacheBytes(_SC_LEVEL2_CACHE_SIZE, t.l2Bytes);
    t.l3Bytes = cacheBytes(_SC_LEVEL3_CACHE_SIZE, t.l3Bytes);
  }
  return true;
}

} // namespace nnopt::cpu

//===- Target.cpp - CPU descriptions ----------------------------------------===//

#include "lib/codegen/cpu/Target.h"
#include "runtime/format.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;

namespace nnopt::cpu {

/// Size of the data cache of a level that a core of this machine reads, as Linux says (`32768K`): sysconf() adds up or
/// guesses the last level's on some virtual machines.
static int64_t cacheBytes(int level, int64_t fallback) {
  for (int index = 0; index < 8; ++index) {
    auto read = [&](const char *name) -> std::string {
      auto file = MemoryBuffer::getFileAsStream("/sys/devices/system/cpu/cpu0/cache/index" + Twine(index) + "/" + name);
      return file ? (*file)->getBuffer().trim().str() : "";
    };
    int64_t kibibytes;
    std::string size = read("size");
    if (read("level") == std::to_string(level) && read("type") != "Instruction" &&
        StringRef(size).ends_with("K") && !StringRef(size).drop_back().getAsInteger(10, kibibytes) && kibibytes > 0)
      return kibibytes << 10;
  }
  return fallback;
}

/// Kernels get exactly what the runtime can check for: an x86-64 level and the extensions below. All
/// that a CPU offers would let LLVM use instructions that no artifact asks for, so that it would be
/// accepted by another CPU of the same level and fail there. The CPU's name still tunes the code.
static void chooseX86Features(function_ref<bool(StringRef)> has, Target &t) {
  static constexpr struct {
    const char *cpu;
    uint32_t required;
    const char *features[12];
  } levels[] = {
      {"x86-64-v4", NNOPT_CPU_X86_64_V2 | NNOPT_CPU_AVX2_FMA | NNOPT_CPU_AVX512,
       {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "bmi2", "f16c", "lzcnt", "movbe"}},
      {"x86-64-v3", NNOPT_CPU_X86_64_V2 | NNOPT_CPU_AVX2_FMA, {"avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"}},
      {"x86-64-v2", NNOPT_CPU_X86_64_V2, {"sse4.2", "popcnt", "cx16", "sahf"}},
      {"x86-64", 0, {}}};
  static constexpr struct {
    const char *feature;
    uint32_t required;
  } extensions[] = {{"avxvnni", NNOPT_CPU_AVX_VNNI},
                    {"avx512vnni", NNOPT_CPU_AVX512_VNNI},
                    {"avx512bf16", NNOPT_CPU_AVX512_BF16},
                    {"avx512vbmi", NNOPT_CPU_AVX512_VBMI}};
  auto hasAll = [&](auto &level) {
    return all_of(level.features, [&](const char *feature) { return !feature || has(feature); });
  };
  auto &level = *find_if(levels, hasAll);
  t.cpu = level.cpu;
  t.required = NNOPT_CPU_X86_64 | level.required;
  SubtargetFeatures features;
  for (auto &extension : extensions) {
    bool wide = StringRef(extension.feature).starts_with("avx512");
    if (!has(extension.feature) || !(level.required & (wide ? NNOPT_CPU_AVX512 : NNOPT_CPU_AVX2_FMA)))
      continue;
    features.AddFeature(extension.feature);
    t.required |= extension.required;
  }
  // Kernels with tiles have instructions of AVX-512, its bf16 and VNNI beside them.
  static constexpr const char *tiles[] = {"amx-tile", "amx-int8", "amx-bf16"};
  constexpr uint32_t beside = NNOPT_CPU_AVX512 | NNOPT_CPU_AVX512_BF16 | NNOPT_CPU_AVX512_VNNI;
  t.amx = (t.required & beside) == beside && all_of(tiles, has);
  for (const char *feature : tiles)
    if (t.amx)
      features.AddFeature(feature);
  t.features = features.getString();
  t.avx512 = t.required & NNOPT_CPU_AVX512;
  t.avx2 = t.fma = t.required & NNOPT_CPU_AVX2_FMA;
  t.vnni = t.required & NNOPT_CPU_AVX512_VNNI;
  t.avxVnni = t.required & NNOPT_CPU_AVX_VNNI;
  t.bf16 = t.required & NNOPT_CPU_AVX512_BF16;
  t.f16 = t.avx2; // F16C is part of x86-64-v3
  t.vectorBits = t.avx512 ? 512 : t.avx2 ? 256 : 128;
  t.vectorRegisters = t.avx512 ? 32 : 16;
  t.multiplyBits = t.tuneCpu == "znver4" ? std::min<int64_t>(256, t.vectorBits) : t.vectorBits;
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
  t.name = t.cpu = t.tuneCpu = cpuName;
  t.features = features.getString();
  t.isX86 = parsed.isX86();
  t.isAArch64 = parsed.isAArch64();
  if (t.isX86) {
    chooseX86Features(has, t);
  } else if (t.isAArch64) {
    // As for x86-64: no more than artifacts ask for.
    t.cpu = "generic";
    t.dotprod = has("dotprod");
    t.features = t.dotprod ? "+dotprod" : "";
    t.required = NNOPT_CPU_AARCH64 | (t.dotprod ? NNOPT_CPU_ARM_DOTPROD : 0);
    t.vectorRegisters = 32;
    t.fma = t.f16 = true;
  }
  if (cpu == "native") {
    t.l1Bytes = cacheBytes(1, t.l1Bytes);
    t.l2Bytes = cacheBytes(2, t.l2Bytes);
    t.l3Bytes = cacheBytes(3, t.l3Bytes);
  }
  return true;
}

bool runsOnHost(const Target &target) {
  Target host;
  std::string error;
  return Target::get("native", host, error) && target.isX86 == host.isX86 && target.isAArch64 == host.isAArch64 &&
         !(target.required & ~host.required) && (!target.amx || host.amx);
}

} // namespace nnopt::cpu

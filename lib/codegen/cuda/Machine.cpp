//===- Machine.cpp - what tiles are chosen for ------------------------------===//

#include "lib/codegen/cuda/Machine.h"
#include <algorithm>

namespace nnopt::cuda {

static Machine machineOf(uint32_t architecture) {
  if (architecture >= 90) // H100 SXM
    return {132, 228 << 10, 227 << 10, 2048};
  if (architecture == 89) // RTX 4090; L4 and L40 have the same multiprocessors
    return {128, 100 << 10, 99 << 10, 512};
  if (architecture > 80) // RTX 3090
    return {82, 100 << 10, 99 << 10, 512};
  return {108, 164 << 10, 163 << 10, 1024}; // A100
}

Machine Machine::of(llvm::ArrayRef<uint32_t> architectures) {
  Machine machine = machineOf(architectures.empty() ? 80 : architectures.front());
  for (uint32_t architecture : architectures) {
    Machine other = machineOf(architecture);
    machine.multiprocessors = std::max(machine.multiprocessors, other.multiprocessors);
    machine.sharedBytes = std::min(machine.sharedBytes, other.sharedBytes);
    machine.blockSharedBytes = std::min(machine.blockSharedBytes, other.blockSharedBytes);
    machine.f16Products = std::max(machine.f16Products, other.f16Products);
  }
  return machine;
}

} // namespace nnopt::cuda

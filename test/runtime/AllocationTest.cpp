//===- AllocationTest.cpp - repeated runs allocate nothing ------------------===//
//
// Replaces the allocation functions of libc by counting ones. Not built with sanitizers, which
// replace them too.
//
//===----------------------------------------------------------------------===//

#include "test/runtime/Helpers.h"

#include <atomic>
#include <cerrno>

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static std::atomic<long> allocations;
static std::atomic<size_t> lastAlignment, lastSize; // of large blocks

void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void *memalign(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **memory, size_t alignment, size_t size) {
  ++allocations;
  if (size >= 512 << 10) {
    lastAlignment = alignment;
    lastSize = size;
  }
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
}

using namespace nnopt;
using namespace nnopt::test;

namespace {

/// Allocations of `count` runs.
long countRuns(Session &session, DLTensor *const *inputs, size_t nin, DLTensor *const *outputs,
               size_t nout, int count) {
  long before = allocations;
  for (int i = 0; i < count; ++i)
    session.run(inputs, nin, outputs, nout);
  return allocations - before;
}

TEST(Allocations, AreCounted) {
  long before = allocations;
  std::free(std::malloc(10));
  EXPECT_EQ(allocations - before, 1);
}

TEST(Allocations, NoneInRepeatedRuns) {
  Linked linked(affineModel());
  Session session(linked.open(), Options().threads(3));
  Array<float> x = counting({500, 3}), y({500, 3}), other = counting({500, 3});
  DLTensor in = x.dl(), out = y.dl(), in2 = other.dl();
  DLTensor *inputs[] = {&in}, *outputs[] = {&out}, *none[] = {nullptr}, *inputs2[] = {&in2};
  EXPECT_GT(countRuns(session, inputs, 1, outputs, 1, 1), 0);
  EXPECT_EQ(countRuns(session, inputs, 1, outputs, 1, 100), 0);
  EXPECT_EQ(countRuns(session, inputs2, 1, outputs, 1, 100), 0); // other memory, same shapes
  countRuns(session, inputs, 1, none, 1, 1);
  EXPECT_EQ(countRuns(session, inputs, 1, none, 1, 100), 0);
}

// Pages of 4 KiB, of which a fragmented heap has some anywhere, share sets of the caches.
TEST(Allocations, LargeBlocksAreWholeHugePages) {
  constexpr size_t kHugePage = 2 << 20;
  Builder b;
  uint32_t n = b.ofSymbol(b.symbol("n")), bytes = b.mul(n, b.constant(4));
  b.input("x", 1, {n}, bytes);
  uint32_t y = b.output("y", 6, {n}, bytes);
  b.launch(KernelWho, {y, b.buffer(NNOPT_B_SCRATCH, b.constant(600 << 10))}, {}, n, 1);
  Linked linked(b);
  Session session(linked.open());
  Array<float> x({5});
  session.run({x});
  EXPECT_EQ(lastAlignment, kHugePage);
  EXPECT_GT(lastSize, 0u);
  EXPECT_EQ(lastSize % kHugePage, 0u);
}

TEST(Allocations, NoneForStridedTensors) {
  Linked linked(affineModel());
  Session session(linked.open());
  Array<float> x = counting({3, 40}), y({3, 40});
  TensorView xv(x.data(), {40, 3}, {1, 40}), yv(y.data(), {40, 3}, {1, 40});
  DLTensor in = xv.dl(), out = yv.dl();
  DLTensor *inputs[] = {&in}, *outputs[] = {&out};
  countRuns(session, inputs, 1, outputs, 1, 1);
  EXPECT_EQ(countRuns(session, inputs, 1, outputs, 1, 100), 0);
}

TEST(Allocations, NoneWhenShapesFitAnEarlierPlan) {
  Linked linked(affineModel());
  Session session(linked.open());
  Array<float> big = counting({100, 3}), small = counting({60, 3}), bigOut({100, 3}),
               smallOut({60, 3});
  DLTensor a = big.dl(), b = small.dl(), c = bigOut.dl(),
           d = smallOut.dl();
  DLTensor *inBig[] = {&a}, *inSmall[] = {&b}, *outBig[] = {&c}, *outSmall[] = {&d};
  countRuns(session, inBig, 1, outBig, 1, 1);
  countRuns(session, inSmall, 1, outSmall, 1, 1);
  EXPECT_EQ(countRuns(session, inBig, 1, outBig, 1, 1), 0);
  EXPECT_EQ(countRuns(session, inSmall, 1, outSmall, 1, 1), 0);
}

TEST(Allocations, NoneWithDataDependentSizes) {
  Linked linked(positivesModel());
  Session session(linked.open());
  Array<float> x = counting({50});
  Array<int64_t> count({});
  DLTensor in = x.dl(), out = count.dl();
  DLTensor *inputs[] = {&in}, *outputs[] = {&out, nullptr, nullptr};
  countRuns(session, inputs, 1, outputs, 3, 1);
  EXPECT_EQ(countRuns(session, inputs, 1, outputs, 3, 100), 0);
  x[7] = -1; // fewer positive elements fit too
  EXPECT_EQ(countRuns(session, inputs, 1, outputs, 3, 100), 0);
}

TEST(Allocations, NoneInDecodingSteps) {
  Linked linked(appendModel());
  Session session(linked.open());
  session.bindState("past", "present", 300);
  Array<float> x = counting({1, 2});
  DLTensor in = x.dl();
  DLTensor *inputs[] = {nullptr, &in}, *outputs[] = {nullptr};
  countRuns(session, inputs, 2, outputs, 1, 2);
  EXPECT_EQ(countRuns(session, inputs, 2, outputs, 1, 200), 0);
}

} // namespace

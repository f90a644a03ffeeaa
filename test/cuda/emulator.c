/* Kernels that keep the rules of GPUs and kernels that break one each, for test/cuda/emulator.py: the emulator
 * (test/support/simt/simt.c) must accept the first kind and name what is wrong with the second.
 *
 *   emulator CASE        exits with 0, or as the emulator ends it
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef void (*thread_fn)(void *const *buffers, const int64_t *dims, int64_t block, int64_t blocks, int64_t thread);
void nnopt_simt_run(thread_fn function, void *const *buffers, const int64_t *dims, int64_t buffer_count, int64_t dim_count,
                    int64_t begin, int64_t end, int64_t threads, int64_t shared_bytes, int64_t waits);
void *nnopt_simt_shared(void);
void nnopt_simt_barrier(void);
void nnopt_simt_access(void *address, int64_t bytes, int64_t align, int64_t writes);
uint32_t nnopt_simt_shuffle_xor(int64_t site, uint32_t value, uint32_t mask);
const uint32_t *nnopt_simt_ldmatrix(int64_t site, char *row, int64_t matrices, int64_t transposed);
const uint32_t *nnopt_simt_mma(int64_t site, int64_t left, int64_t right, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                               uint32_t b0, uint32_t b1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3);
void nnopt_simt_copy_async(char *to, const char *from, int64_t bytes, int64_t read);
void nnopt_simt_commit_copies(void);
void nnopt_simt_wait_for_copies(int64_t groups);
void nnopt_simt_fence_products(void);
void nnopt_simt_wgmma(int64_t site, int64_t type, int64_t columns, uint64_t left, uint64_t right, float *sums);
void nnopt_simt_commit_products(void);
void nnopt_simt_wait_for_products(int64_t site, int64_t groups);

enum { Threads = 32, Bytes = 16 * Threads };
static unsigned char memory[Bytes], result[Bytes];

#define KERNEL(name)                                                                                             \
  static void name(void *const *buffers, const int64_t *dims, int64_t block, int64_t blocks, int64_t thread)
#define UNUSED (void)buffers, (void)dims, (void)block, (void)blocks, (void)thread

static char *shared(int64_t offset) { return (char *)nnopt_simt_shared() + offset; }
static void copy16(int64_t thread) { nnopt_simt_copy_async(shared(16 * thread), (char *)memory + 16 * thread, 16, 16); }
/* What another thread copied. */
static void readNeighbour(int64_t thread) {
  char *from = shared(16 * ((thread + 1) % Threads));
  nnopt_simt_access(from, 16, 16, 0);
  memcpy(result + 16 * thread, from, 16);
}

KERNEL(copies) {
  UNUSED;
  copy16(thread);
  nnopt_simt_commit_copies();
  nnopt_simt_wait_for_copies(0);
  nnopt_simt_barrier();
  readNeighbour(thread);
}
KERNEL(missing_wait) {
  UNUSED;
  copy16(thread);
  nnopt_simt_commit_copies();
  nnopt_simt_barrier();
  readNeighbour(thread);
}
KERNEL(wait_for_older_group) {
  UNUSED;
  nnopt_simt_commit_copies();
  copy16(thread);
  nnopt_simt_commit_copies();
  nnopt_simt_wait_for_copies(1);
  nnopt_simt_barrier();
  readNeighbour(thread);
}
KERNEL(not_committed) {
  UNUSED;
  copy16(thread);
  nnopt_simt_wait_for_copies(0);
  nnopt_simt_barrier();
  readNeighbour(thread);
}
KERNEL(missing_barrier) {
  UNUSED;
  copy16(thread);
  nnopt_simt_commit_copies();
  nnopt_simt_wait_for_copies(0);
  readNeighbour(thread);
}
KERNEL(overwritten_while_read) {
  UNUSED;
  char *own = shared(16 * thread);
  nnopt_simt_access(own, 16, 16, 1);
  memset(own, 0, 16);
  nnopt_simt_barrier();
  readNeighbour(thread);
  copy16(thread);
}
KERNEL(copy_outside_of_shared) {
  UNUSED;
  nnopt_simt_copy_async(shared(Bytes), (char *)memory, 16, 16);
}
KERNEL(copy_outside_of_buffer) {
  UNUSED;
  nnopt_simt_copy_async(shared(16 * thread), (char *)memory + Bytes, 16, 16);
}
KERNEL(zeros_from_outside) {
  UNUSED;
  nnopt_simt_copy_async(shared(16 * thread), (char *)memory + Bytes, 16, 0);
  nnopt_simt_commit_copies();
  nnopt_simt_wait_for_copies(0);
  nnopt_simt_barrier();
  readNeighbour(thread);
}
KERNEL(misaligned_copy) {
  UNUSED;
  nnopt_simt_copy_async(shared(16 * thread), (char *)memory + 8, 16, 16);
}
KERNEL(matrix) {
  copies(buffers, dims, block, blocks, thread);
  nnopt_simt_ldmatrix(1, shared(16 * thread), 4, 0);
}
KERNEL(misaligned_matrix) {
  copies(buffers, dims, block, blocks, thread);
  nnopt_simt_ldmatrix(1, shared(16 * (thread % 16) + 8), 4, 0);
}
KERNEL(matrix_outside) {
  copies(buffers, dims, block, blocks, thread);
  nnopt_simt_ldmatrix(1, shared(16 * thread + 16), 4, 0);
}
KERNEL(matrix_of_own_write) {
  UNUSED;
  nnopt_simt_access(shared(16 * thread), 16, 16, 1);
  nnopt_simt_ldmatrix(1, shared(16 * thread), 4, 0); /* other lanes get it, without a barrier */
}
KERNEL(lanes_apart) {
  UNUSED;
  nnopt_simt_shuffle_xor(thread < 16 ? 1 : 2, 0, 1);
}
KERNEL(lane_missing) {
  UNUSED;
  if (thread != 5)
    nnopt_simt_mma(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}
KERNEL(barrier_missing) {
  UNUSED;
  if (thread != 5)
    nnopt_simt_barrier();
}

/* ---- Products of 128 threads: 64 rows and 8 columns of f16, in lines of 64 bytes ---- */

enum { GroupThreads = 128, LineBytes = 64, Rows = 64, Columns = 8, ProductBytes = (Rows + Columns) * LineBytes };

/* Each thread writes a part of the operands: element d of row r is r + d, element d of column c is 1 where d is c. */
static void writeOperands(int64_t thread) {
  static const uint16_t halves[] = {0x0000, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800};
  for (int64_t word = thread; word < ProductBytes / 4; word += GroupThreads) {
    int64_t line = word / 16, at = (line * LineBytes + word % 16 * 4) ^ (line / 2 % 4 << 4);
    uint16_t both[2];
    for (int64_t i = 0; i < 2; ++i) {
      int64_t d = word % 16 * 2 + i;
      both[i] = line < Rows ? halves[(line + d) % 9] : (uint16_t)(d == line - Rows ? 0x3c00 : 0);
    }
    nnopt_simt_access(shared(at), 4, 4, 1);
    memcpy(shared(at), both, 4);
  }
}

static uint64_t describe(const char *line) {
  return ((uint64_t)(uintptr_t)line & 0x3ffff) >> 4 | (uint64_t)(8 * LineBytes / 16) << 32 | (uint64_t)2 << 62;
}

enum { NoFence = 1, NoBarrier = 2, NoWait = 4, OwnOperand = 8, NoSwizzle = 16, Outside = 32, Shifted = 64 };

static void multiplyOnce(int64_t thread, int wrong) {
  float sums[4] = {0, 0, 0, 0};
  writeOperands(thread);
  if (!(wrong & NoFence))
    nnopt_simt_fence_products();
  if (!(wrong & NoBarrier))
    nnopt_simt_barrier();
  uint64_t left = describe(shared(0)), right = describe(shared(Rows * LineBytes));
  if (wrong & OwnOperand && thread == 7)
    left = right;
  if (wrong & NoSwizzle)
    left &= ~(uint64_t)0 >> 2;
  if (wrong & Outside)
    left = describe(shared(ProductBytes - 8 * LineBytes));
  if (wrong & Shifted)
    left = describe(shared(LineBytes));
  nnopt_simt_wgmma(1, 0, Columns, left, right, sums);
  nnopt_simt_commit_products();
  nnopt_simt_wait_for_products(2, wrong & NoWait ? 1 : 0);
  nnopt_simt_barrier();
  writeOperands(thread);
  int right_sums = 1;
  for (int64_t i = 0; i < 4; ++i) {
    int64_t row = thread / 32 * 16 + thread % 32 / 4 + i / 2 * 8, column = thread % 4 * 2 + i % 2;
    right_sums &= sums[i] == (float)((row + column) % 9);
  }
  for (int64_t i = 4 * thread; right_sums && i < 4 * thread + 4; ++i)
    result[i] = memory[(i + 16) % Bytes];
}

#define PRODUCT(name, wrong)                                                                                     \
  KERNEL(name) {                                                                                                 \
    UNUSED;                                                                                                      \
    multiplyOnce(thread, wrong);                                                                                 \
  }
PRODUCT(product, 0)
PRODUCT(product_not_fenced, NoFence)
PRODUCT(product_without_barrier, NoBarrier)
PRODUCT(product_not_waited_for, NoWait)
PRODUCT(product_of_others, OwnOperand)
PRODUCT(product_not_swizzled, NoSwizzle)
PRODUCT(product_outside, Outside)
PRODUCT(product_shifted, Shifted)

static const struct {
  const char *name;
  thread_fn kernel;
} cases[] = {
#define CASE(name) {#name, name}
    CASE(product), CASE(product_not_fenced), CASE(product_without_barrier), CASE(product_not_waited_for),
    CASE(product_of_others), CASE(product_not_swizzled), CASE(product_outside), CASE(product_shifted),
    CASE(copies), CASE(missing_wait), CASE(wait_for_older_group), CASE(not_committed), CASE(missing_barrier),
    CASE(overwritten_while_read), CASE(copy_outside_of_shared), CASE(copy_outside_of_buffer), CASE(zeros_from_outside),
    CASE(misaligned_copy), CASE(matrix), CASE(misaligned_matrix), CASE(matrix_outside), CASE(matrix_of_own_write),
    CASE(lanes_apart), CASE(lane_missing), CASE(barrier_missing)};

int main(int argc, char **argv) {
  for (int i = 0; i < Bytes; ++i)
    memory[i] = (unsigned char)(i * 7);
  for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; ++i) {
    if (strcmp(cases[i].name, argv[1]))
      continue;
    void *buffers[] = {memory};
    int64_t sizes[] = {Bytes};
    int group = !strncmp(argv[1], "product", 7);
    nnopt_simt_run(cases[i].kernel, buffers, sizes, 1, 0, 0, 1, group ? GroupThreads : Threads, group ? ProductBytes : Bytes, 1);
    int zeros = !strcmp(argv[1], "zeros_from_outside");
    for (int k = 0; k < Bytes; ++k)
      if (result[k] != (zeros ? 0 : memory[(k + 16) % Bytes])) {
        fprintf(stderr, "byte %d is wrong\n", k);
        return 1;
      }
    return 0;
  }
  fprintf(stderr, "no such case\n");
  return 2;
}

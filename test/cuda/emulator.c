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

static const struct {
  const char *name;
  thread_fn kernel;
} cases[] = {
#define CASE(name) {#name, name}
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
    nnopt_simt_run(cases[i].kernel, buffers, sizes, 1, 0, 0, 1, Threads, Bytes, 1);
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

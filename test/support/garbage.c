/* Memory for sessions that is full of denormal numbers, and whether one was an operand of this thread (nnopt.py, Session). Kernels may
 * compute on memory that holds nothing, as long as nothing comes of it: with denormal numbers that takes Intel's cores
 * more than a hundred cycles for each. */
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT void *nnopt_test_allocate(void *context, size_t size, size_t alignment) {
  (void)context;
  size = (size + alignment - 1) / alignment * alignment;
  uint32_t *memory = aligned_alloc(alignment, size);
  for (size_t i = 0; memory && i < size / 4; ++i)
    memory[i] = 0x00000100;
  return memory;
}

EXPORT void nnopt_test_deallocate(void *context, void *memory, size_t size) {
  (void)context, (void)size;
  free(memory);
}

/* Whether a denormal number was an operand since the last call. */
EXPORT int nnopt_test_denormals(void) {
  unsigned state = _mm_getcsr();
  _mm_setcsr(state & ~_MM_EXCEPT_DENORM);
  return (state & _MM_EXCEPT_DENORM) != 0;
}

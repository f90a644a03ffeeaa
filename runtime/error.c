/*===- error.c - errors, logging, options, memory -------------------------------===*/
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int nni_fail(nnopt_error *error, int code, const char *format, ...) {
  if (!error)
    return code;
  error->code = code;
  va_list args;
  va_start(args, format);
  vsnprintf(error->message, sizeof error->message, format, args);
  va_end(args);
  /* Names come from files: keep the message one line. */
  for (char *c = error->message; *c; ++c)
    if ((unsigned char)*c < 32)
      *c = ' ';
  return code;
}

void nni_log(const nnopt_options *options, int level, const char *format, ...) {
  if (!options->log && level > NNOPT_LOG_WARNING)
    return;
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (options->log)
    options->log(options->log_context, level, text);
  else
    fprintf(stderr, "nnopt: warning: %s\n", text);
}

int32_t nnopt_abi_version(void) { return NNOPT_ABI_VERSION; }

void nnopt_options_init(nnopt_options *options) {
  memset(options, 0, sizeof *options);
  options->struct_size = sizeof *options;
  options->spin_us = -1;
}

int nni_options(nnopt_options *to, const nnopt_options *from, const nnopt_options *base,
                nnopt_error *error) {
  if (base)
    *to = *base;
  else
    nnopt_options_init(to);
  if (!from)
    return NNOPT_OK;
  /* A caller with an older header has a shorter struct, one with a newer header a longer one. */
  if (from->struct_size < offsetof(nnopt_options, parallel_for) || from->struct_size > 65536)
    return nni_fail(error, NNOPT_INVALID,
                    "nnopt_options.struct_size is %zu: initialize options with nnopt_options_init",
                    from->struct_size);
  size_t size = from->struct_size < sizeof *to ? from->struct_size : sizeof *to;
  nnopt_options_init(to);
  memcpy(to, from, size);
  to->struct_size = sizeof *to;
  if (to->num_threads < 0 || to->num_threads > 4096)
    return nni_fail(error, NNOPT_INVALID, "num_threads is %d: use 0 (automatic) to 4096",
                    to->num_threads);
  if (to->device_type != 0 && to->device_type != kDLCPU && to->device_type != kDLCUDA)
    return nni_fail(error, NNOPT_INVALID, "device_type is %d: use kDLCPU or kDLCUDA", (int)to->device_type);
  if (!to->allocate != !to->deallocate)
    return nni_fail(error, NNOPT_INVALID, "set both allocate and deallocate, or none of them");
  if (to->flags & ~(uint32_t)NNOPT_COPY_WEIGHTS)
    return nni_fail(error, NNOPT_INVALID, "nnopt_options.flags has unknown bits: 0x%x", to->flags);
  return NNOPT_OK;
}

char nni_empty[64];

void *nni_calloc(size_t count, size_t size) { return calloc(count ? count : 1, size ? size : 1); }

/* Blocks of a quarter of a huge page and more are whole huge pages, and ask for them: arenas and weights are
 * walked from end to end, which costs a TLB miss every 4 KiB otherwise; and small pages that a fragmented heap
 * has anywhere in memory share sets of the caches (half the speed of a network with an arena of 1 MiB). */
enum { HugePage = 2 << 20 };

void *nni_allocate(const nnopt_options *options, size_t size, size_t alignment) {
  if (size > (size_t)1 << 48)
    return NULL;
  if (alignment < 64)
    alignment = 64;
  if (options->allocate)
    return options->allocate(options->allocator_context, size, alignment);
  bool huge = size >= HugePage / 4;
  void *memory = NULL;
  if (huge) {
    size = (size + HugePage - 1) & ~((size_t)HugePage - 1);
    if (alignment < HugePage)
      alignment = HugePage;
  }
  if (posix_memalign(&memory, alignment, size ? size : 1))
    return NULL;
  if (huge)
    madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

void nni_deallocate(const nnopt_options *options, void *memory, size_t size) {
  if (!memory)
    return;
  if (options->deallocate)
    options->deallocate(options->allocator_context, memory, size);
  else
    free(memory);
}

bool nni_reserve(const nnopt_options *options, nni_memory *memory, size_t size, size_t alignment,
                 size_t keep) {
  if (size == 0)
    size = 1;
  if (memory->data && memory->size >= size && (uintptr_t)memory->data % alignment == 0)
    return true;
  if (!keep)
    nni_release(options, memory);
  char *data = nni_allocate(options, size, alignment);
  if (!data)
    return false;
  if (memory->data) {
    memcpy(data, memory->data, keep < memory->size ? keep : memory->size);
    nni_release(options, memory);
  }
  memory->data = data;
  memory->size = size;
  return true;
}

void nni_release(const nnopt_options *options, nni_memory *memory) {
  nni_deallocate(options, memory->data, memory->size);
  memory->data = NULL;
  memory->size = 0;
}

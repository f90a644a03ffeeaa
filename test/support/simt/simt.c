/*===- simt.c - runs GPU kernels thread by thread on the CPU --------------------===
 *
 * What nnopt-compile --gpu=emulate calls. Each thread of a block has a stack of its own and runs until it
 * has to wait: at a barrier for the block, at an exchange for its warp. Every access must lie in a buffer of
 * the launch or in the shared memory, at an address that suits it; and two threads must not touch the same
 * shared byte between two barriers unless both read. The first to break that is named, and the program ends.
 *===----------------------------------------------------------------------===*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { MaxThreads = 1024, Warp = 32, StackBytes = 64 << 10 };

typedef void (*thread_fn)(void *const *buffers, const int64_t *dims, int64_t block, int64_t blocks, int64_t thread);

/* Who touched a byte of shared memory last, and in which interval between barriers. */
typedef struct shadow {
  uint32_t write_interval, read_interval;
  int16_t writer, reader; /* reader -2: several */
} shadow;

typedef struct fiber {
  ucontext_t context;
  uint32_t barriers, exchanges; /* how many it has reached */
  uint32_t value, incoming;
  int32_t done;
} fiber;

static _Thread_local struct {
  thread_fn function;
  void *const *buffers;
  const int64_t *dims, *sizes;
  int64_t buffer_count, block, blocks, threads, shared_bytes;
  char *shared;
  shadow *shadows;
  uint32_t interval;
  int64_t current;
  fiber *fibers;
  char *stacks;
  ucontext_t scheduler;
} s;

static void fail(const char *what, const void *address, int64_t bytes) {
  fprintf(stderr, "simt: block %lld of %lld, thread %lld: %s (%lld bytes at %p)\n", (long long)s.block,
          (long long)s.blocks, (long long)s.current, what, (long long)bytes, address);
  for (int64_t i = 0; i < s.buffer_count; ++i)
    fprintf(stderr, "  buffer %lld: %p, %lld bytes\n", (long long)i, s.buffers[i], (long long)s.sizes[i]);
  abort();
}

static void checkShared(int64_t offset, int64_t bytes, int64_t writes) {
  for (int64_t i = offset; i < offset + bytes; ++i) {
    shadow *h = &s.shadows[i];
    int16_t me = (int16_t)s.current;
    if (h->write_interval == s.interval && h->writer != me)
      fail(writes ? "race: two threads write shared memory" : "race: reads what another thread has just written", s.shared + offset, bytes);
    if (writes) {
      if (h->read_interval == s.interval && h->reader != me)
        fail("race: writes shared memory that another thread reads", s.shared + offset, bytes);
      h->write_interval = s.interval;
      h->writer = me;
    } else {
      h->reader = h->read_interval == s.interval && h->reader != me ? -2 : me;
      h->read_interval = s.interval;
    }
  }
}

void nnopt_simt_access(void *address, int64_t bytes, int64_t align, int64_t writes) {
  uintptr_t at = (uintptr_t)address;
  if (at % (uintptr_t)align)
    fail("misaligned access", address, bytes);
  uintptr_t shared = (uintptr_t)s.shared;
  if (at >= shared && at + (uintptr_t)bytes <= shared + (uintptr_t)s.shared_bytes) {
    checkShared((int64_t)(at - shared), bytes, writes);
    return;
  }
  for (int64_t i = 0; i < s.buffer_count; ++i) {
    uintptr_t base = (uintptr_t)s.buffers[i];
    if (at >= base && at + (uintptr_t)bytes <= base + (uintptr_t)s.sizes[i])
      return;
  }
  fail(writes ? "writes outside of all buffers" : "reads outside of all buffers", address, bytes);
}

void *nnopt_simt_shared(void) { return s.shared; }

static void yield(void) {
  int64_t me = s.current;
  swapcontext(&s.fibers[me].context, &s.scheduler);
  s.current = me;
}

/* The scheduler goes round all threads, so that when one comes back here all others had their turn. */
void nnopt_simt_barrier(void) {
  fiber *me = &s.fibers[s.current];
  ++me->barriers;
  for (;;) {
    int64_t arrived = 0;
    for (int64_t t = 0; t < s.threads; ++t)
      arrived += s.fibers[t].barriers >= me->barriers;
    if (arrived == s.threads)
      break;
    for (int64_t t = 0; t < s.threads; ++t)
      if (s.fibers[t].done && s.fibers[t].barriers < me->barriers)
        fail("waits at a barrier that another thread never reaches", NULL, 0);
    yield();
  }
  if (s.interval < me->barriers)
    s.interval = me->barriers;
}

static void waitForWarp(void) {
  fiber *me = &s.fibers[s.current];
  ++me->exchanges;
  int64_t first = s.current / Warp * Warp, last = first + Warp < s.threads ? first + Warp : s.threads;
  for (;;) {
    int64_t arrived = 0;
    for (int64_t t = first; t < last; ++t)
      arrived += s.fibers[t].exchanges >= me->exchanges;
    if (arrived == last - first)
      return;
    for (int64_t t = first; t < last; ++t)
      if (s.fibers[t].done && s.fibers[t].exchanges < me->exchanges)
        fail("waits for a lane that never exchanges", NULL, 0);
    yield();
  }
}

uint32_t nnopt_simt_shuffle_xor(uint32_t value, uint32_t mask) {
  int64_t me = s.current, other = me ^ (int64_t)mask;
  s.fibers[me].value = value;
  waitForWarp();
  uint32_t result = other < s.threads ? s.fibers[other].value : value;
  waitForWarp(); /* before anyone offers the next value */
  return result;
}

static void startThread(void) {
  s.function(s.buffers, s.dims, s.block, s.blocks, s.current);
  s.fibers[s.current].done = 1;
  swapcontext(&s.fibers[s.current].context, &s.scheduler);
}

static void runFibers(void) {
  for (int64_t t = 0; t < s.threads; ++t) {
    fiber *f = &s.fibers[t];
    f->barriers = f->exchanges = 0;
    f->done = 0;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = s.stacks + t * StackBytes;
    f->context.uc_stack.ss_size = StackBytes;
    f->context.uc_link = NULL;
    makecontext(&f->context, startThread, 0);
  }
  for (int64_t left = s.threads; left;)
    for (int64_t t = 0; t < s.threads; ++t) {
      if (s.fibers[t].done)
        continue;
      s.current = t;
      swapcontext(&s.scheduler, &s.fibers[t].context);
      left -= s.fibers[t].done;
    }
}

void nnopt_simt_run(thread_fn function, void *const *buffers, const int64_t *dims, int64_t buffer_count,
                    int64_t dim_count, int64_t begin, int64_t end, int64_t threads, int64_t shared_bytes, int64_t waits) {
  s.function = function;
  s.buffers = buffers;
  s.dims = dims;
  s.sizes = dims + dim_count;
  s.buffer_count = buffer_count;
  s.blocks = end;
  s.threads = threads;
  s.shared_bytes = shared_bytes;
  s.shared = aligned_alloc(128, (size_t)(shared_bytes + 127) / 128 * 128 + 128);
  s.shadows = calloc((size_t)shared_bytes + 1, sizeof *s.shadows);
  if (waits) {
    s.fibers = calloc((size_t)threads, sizeof *s.fibers);
    s.stacks = malloc((size_t)threads * StackBytes);
  }
  for (s.block = begin; s.block < end; ++s.block) {
    /* Nothing that an earlier block left may matter. */
    memset(s.shared, 0xff, (size_t)shared_bytes);
    memset(s.shadows, 0xff, (size_t)shared_bytes * sizeof *s.shadows);
    s.interval = 0;
    if (waits)
      runFibers();
    else
      for (s.current = 0; s.current < threads; ++s.current)
        function(buffers, dims, s.block, s.blocks, s.current);
  }
  free(s.shared);
  free(s.shadows);
  free(s.fibers);
  free(s.stacks);
  s.fibers = NULL;
  s.stacks = NULL;
}

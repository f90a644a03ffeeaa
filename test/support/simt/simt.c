/*===- simt.c - runs GPU kernels thread by thread on the CPU --------------------===
 *
 * What nnopt-compile --gpu=emulate calls. Each thread of a block has a stack of its own and runs until it
 * has to wait: at a barrier for the block, at an operation of its warp. Every access must lie in a buffer of
 * the launch or in the shared memory, at an address that suits it; and two threads must not touch the same
 * shared byte between two barriers unless both read. What is copied asynchronously arrives when the thread
 * waits for it, and nobody may touch the place before. All lanes of a warp must meet at the same operation.
 * The first to break that is named, and the program ends.
 *===----------------------------------------------------------------------===*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { MaxThreads = 1024, Warp = 32, Warpgroup = 128, StackBytes = 64 << 10, MaxWords = 10, MaxProducts = 16, SharedWindow = 1 << 18 };

typedef void (*thread_fn)(void *const *buffers, const int64_t *dims, int64_t block, int64_t blocks, int64_t thread);

/* Who touched a byte of shared memory last, and in which interval between barriers. */
typedef struct shadow {
  uint32_t write_interval, read_interval;
  int16_t writer, reader; /* reader -2: several */
  int16_t copier;         /* whose asynchronous copy is on its way here, or -1 */
  uint32_t fences;        /* that the last writer had executed when it wrote */
} shadow;

/* An asynchronous copy that has not arrived. */
typedef struct pending {
  char *to;
  const char *from;
  int32_t bytes, read; /* zeros behind what is read */
  uint32_t group;
} pending;

/* Lines that a product of a warpgroup reads until it is waited for. */
typedef struct product {
  const char *first[2];
  int64_t bytes[2];
  uint32_t group;
} product;

typedef struct fiber {
  ucontext_t context;
  uint32_t barriers, exchanges[2]; /* how many it has reached, of the warp and of the warpgroup */
  /* What it gives to its warp at an exchange, and at which operation. The next exchange uses the other one: all
   * lanes have read this one when the first comes to the one after that. */
  struct {
    int64_t site;
    uintptr_t row;
    uint32_t words[MaxWords];
  } given[2][2];
  uint32_t results[4];
  pending *copies;
  uint32_t copy_count, copy_room, group;
  uint32_t fences; /* for products */
  product products[MaxProducts];
  uint32_t product_count, product_group;
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

/* A product that another thread, or this one, has begun and not waited for must not have its operands changed. */
static void checkProducts(const char *address, int64_t bytes) {
  for (int64_t t = 0; s.fibers && t < s.threads; t += Warpgroup)
    for (uint32_t i = 0; i < s.fibers[t].product_count; ++i)
      for (int side = 0; side < 2; ++side) {
        const product *p = &s.fibers[t].products[i];
        if (address + bytes > p->first[side] && address < p->first[side] + p->bytes[side])
          fail("race: writes what a product reads that has not been waited for", address, bytes);
      }
}

/* `me`: the thread, or -2 for a read whose data others get. */
static void checkShared(int64_t offset, int64_t bytes, int64_t writes, int16_t me) {
  if (writes)
    checkProducts(s.shared + offset, bytes);
  for (int64_t i = offset; i < offset + bytes; ++i) {
    shadow *h = &s.shadows[i];
    if (h->copier != -1)
      fail("race: touches shared memory where an asynchronous copy has not arrived", s.shared + offset, bytes);
    if (h->write_interval == s.interval && h->writer != me)
      fail(writes ? "race: two threads write shared memory" : "race: reads what another thread has just written", s.shared + offset, bytes);
    if (writes) {
      if (h->read_interval == s.interval && h->reader != me)
        fail("race: writes shared memory that another thread reads", s.shared + offset, bytes);
      h->write_interval = s.interval;
      h->writer = me;
      h->fences = s.fibers ? s.fibers[me].fences : 0;
    } else {
      h->reader = h->read_interval == s.interval && h->reader != me ? -2 : me;
      h->read_interval = s.interval;
    }
  }
}

static int isShared(const void *address, int64_t bytes) {
  uintptr_t at = (uintptr_t)address, shared = (uintptr_t)s.shared;
  return at >= shared && at + (uintptr_t)bytes <= shared + (uintptr_t)s.shared_bytes;
}

void nnopt_simt_access(void *address, int64_t bytes, int64_t align, int64_t writes) {
  uintptr_t at = (uintptr_t)address;
  if (at % (uintptr_t)align)
    fail("misaligned access", address, bytes);
  if (isShared(address, bytes)) {
    checkShared((char *)address - s.shared, bytes, writes, (int16_t)s.current);
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

/* ---- What a warp does together ---- */

/* The fibers of `size` neighbouring threads, when all have come to this exchange. The words are in given[kind][*turn]: a
 * warp's are apart from those of a warpgroup, since another warp may come to its next ones before this one has read. */
static const fiber *meet(int64_t size, int64_t site, uintptr_t row, const uint32_t *words, int count, int *turn) {
  fiber *me = &s.fibers[s.current];
  int kind = size == Warpgroup, which = *turn = me->exchanges[kind]++ & 1;
  me->given[kind][which].site = site;
  me->given[kind][which].row = row;
  memcpy(me->given[kind][which].words, words, (size_t)count * sizeof *words);
  int64_t first = s.current / size * size, last = first + size < s.threads ? first + size : s.threads;
  for (;;) {
    int64_t arrived = 0;
    for (int64_t t = first; t < last; ++t)
      arrived += s.fibers[t].exchanges[kind] >= me->exchanges[kind];
    if (arrived == last - first)
      break;
    for (int64_t t = first; t < last; ++t)
      if (s.fibers[t].done && s.fibers[t].exchanges[kind] < me->exchanges[kind])
        fail("waits for a lane that never comes to an operation of the warp", NULL, 0);
    yield();
  }
  for (int64_t t = first; t < last; ++t)
    if (s.fibers[t].given[kind][which].site != site)
      fail("lanes of a warp are at different operations of the warp", NULL, 0);
  return &s.fibers[first];
}

static const fiber *meetWarp(int64_t site, uintptr_t row, const uint32_t *words, int count, int *turn) {
  return meet(Warp, site, row, words, count, turn);
}

uint32_t nnopt_simt_shuffle_xor(int64_t site, uint32_t value, uint32_t mask) {
  int turn;
  int64_t other = (s.current % Warp) ^ (int64_t)mask, first = s.current / Warp * Warp;
  const fiber *warp = meetWarp(site, 0, &value, 1, &turn);
  return other < Warp && first + other < s.threads ? warp[other].given[0][turn].words[0] : value;
}

static void needWholeWarp(void) {
  if (s.threads % Warp)
    fail("an operation of whole warps in a block that has a part of one", NULL, 0);
}

/* PTX ISA, ldmatrix: lane l gives the address of row l % 8 of matrix l / 8. */
const uint32_t *nnopt_simt_ldmatrix(int64_t site, char *row, int64_t matrices, int64_t transposed) {
  fiber *me = &s.fibers[s.current];
  int turn;
  int64_t lane = s.current % Warp;
  needWholeWarp();
  if (lane < 8 * matrices) {
    if ((uintptr_t)row % 16)
      fail("misaligned row of a matrix", row, 16);
    if (!isShared(row, 16))
      fail("a row of a matrix is outside of the shared memory", row, 16);
    checkShared(row - s.shared, 16, 0, -2);
  }
  const fiber *warp = meetWarp(site, (uintptr_t)row, NULL, 0, &turn);
  for (int64_t m = 0; m < matrices; ++m) {
    if (!transposed) {
      memcpy(&me->results[m], (const char *)warp[8 * m + lane / 4].given[0][turn].row + lane % 4 * 4, 4);
      continue;
    }
    uint16_t halves[2];
    for (int64_t i = 0; i < 2; ++i)
      memcpy(&halves[i], (const char *)warp[8 * m + lane % 4 * 2 + i].given[0][turn].row + lane / 4 * 2, 2);
    me->results[m] = halves[0] | (uint32_t)halves[1] << 16;
  }
  return me->results;
}

#include "tensor.h"

/* ---- Asynchronous copies ---- */

void nnopt_simt_copy_async(char *to, const char *from, int64_t bytes, int64_t read) {
  fiber *me = &s.fibers[s.current];
  if (!isShared(to, bytes))
    fail("an asynchronous copy to what is not shared memory", to, bytes);
  if ((uintptr_t)to % (uintptr_t)bytes || (uintptr_t)from % (uintptr_t)bytes)
    fail("misaligned asynchronous copy", from, bytes);
  if (read > bytes)
    fail("an asynchronous copy reads more than it writes", from, read);
  if (read)
    nnopt_simt_access((void *)(uintptr_t)from, read, 1, 0);
  checkShared(to - s.shared, bytes, 1, (int16_t)s.current);
  for (int64_t i = 0; i < bytes; ++i)
    s.shadows[to - s.shared + i].copier = (int16_t)s.current;
  if (me->copy_count == me->copy_room) {
    me->copy_room = me->copy_room ? 2 * me->copy_room : 64;
    me->copies = realloc(me->copies, me->copy_room * sizeof *me->copies);
  }
  me->copies[me->copy_count++] = (pending){to, from, (int32_t)bytes, (int32_t)read, me->group};
}

void nnopt_simt_commit_copies(void) { ++s.fibers[s.current].group; }

void nnopt_simt_wait_for_copies(int64_t groups) {
  fiber *me = &s.fibers[s.current];
  uint32_t left = 0;
  for (uint32_t i = 0; i < me->copy_count; ++i) {
    pending *p = &me->copies[i];
    if ((int64_t)p->group >= (int64_t)me->group - groups) { /* in one of the last groups, or in none yet */
      me->copies[left++] = *p;
      continue;
    }
    for (int32_t b = 0; b < p->bytes; ++b)
      s.shadows[p->to - s.shared + b].copier = -1;
    checkShared(p->to - s.shared, p->bytes, 1, (int16_t)s.current);
    memcpy(p->to, p->from, (size_t)p->read);
    memset(p->to + p->read, 0, (size_t)(p->bytes - p->read));
  }
  me->copy_count = left;
}

static void startThread(void) {
  s.function(s.buffers, s.dims, s.block, s.blocks, s.current);
  s.fibers[s.current].done = 1;
  swapcontext(&s.fibers[s.current].context, &s.scheduler);
}

static void runFibers(void) {
  for (int64_t t = 0; t < s.threads; ++t) {
    fiber *f = &s.fibers[t];
    f->barriers = f->exchanges[0] = f->exchanges[1] = f->copy_count = f->group = f->fences = f->product_count = f->product_group = 0;
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
  /* Descriptors of products have the last 18 bits of addresses. */
  s.shared = aligned_alloc(SharedWindow, (size_t)(shared_bytes + SharedWindow) / SharedWindow * SharedWindow);
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
  for (int64_t t = 0; s.fibers && t < threads; ++t)
    free(s.fibers[t].copies);
  free(s.shared);
  free(s.shadows);
  free(s.fibers);
  free(s.stacks);
  s.fibers = NULL;
  s.stacks = NULL;
}

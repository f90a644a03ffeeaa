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

enum { MaxThreads = 1024, Warp = 32, StackBytes = 64 << 10, MaxWords = 10 };

typedef void (*thread_fn)(void *const *buffers, const int64_t *dims, int64_t block, int64_t blocks, int64_t thread);

/* Who touched a byte of shared memory last, and in which interval between barriers. */
typedef struct shadow {
  uint32_t write_interval, read_interval;
  int16_t writer, reader; /* reader -2: several */
  int16_t copier;         /* whose asynchronous copy is on its way here, or -1 */
} shadow;

/* An asynchronous copy that has not arrived. */
typedef struct pending {
  char *to;
  const char *from;
  int32_t bytes, read; /* zeros behind what is read */
  uint32_t group;
} pending;

typedef struct fiber {
  ucontext_t context;
  uint32_t barriers, exchanges; /* how many it has reached */
  /* What it gives to its warp at an exchange, and at which operation. The next exchange uses the other one: all
   * lanes have read this one when the first comes to the one after that. */
  struct {
    int64_t site;
    uintptr_t row;
    uint32_t words[MaxWords];
  } given[2];
  uint32_t results[4];
  pending *copies;
  uint32_t copy_count, copy_room, group;
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

/* `me`: the thread, or -2 for a read whose data others get. */
static void checkShared(int64_t offset, int64_t bytes, int64_t writes, int16_t me) {
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

/* The fibers of the warp's lanes, when all have come to this exchange. The words are in given[*turn]. */
static const fiber *meetWarp(int64_t site, uintptr_t row, const uint32_t *words, int count, int *turn) {
  fiber *me = &s.fibers[s.current];
  int which = *turn = me->exchanges++ & 1;
  me->given[which].site = site;
  me->given[which].row = row;
  memcpy(me->given[which].words, words, (size_t)count * sizeof *words);
  int64_t first = s.current / Warp * Warp, last = first + Warp < s.threads ? first + Warp : s.threads;
  for (;;) {
    int64_t arrived = 0;
    for (int64_t t = first; t < last; ++t)
      arrived += s.fibers[t].exchanges >= me->exchanges;
    if (arrived == last - first)
      break;
    for (int64_t t = first; t < last; ++t)
      if (s.fibers[t].done && s.fibers[t].exchanges < me->exchanges)
        fail("waits for a lane that never comes to an operation of the warp", NULL, 0);
    yield();
  }
  for (int64_t t = first; t < last; ++t)
    if (s.fibers[t].given[which].site != site)
      fail("lanes of a warp are at different operations of the warp", NULL, 0);
  return &s.fibers[first];
}

uint32_t nnopt_simt_shuffle_xor(int64_t site, uint32_t value, uint32_t mask) {
  int turn;
  int64_t other = (s.current % Warp) ^ (int64_t)mask, first = s.current / Warp * Warp;
  const fiber *warp = meetWarp(site, 0, &value, 1, &turn);
  return other < Warp && first + other < s.threads ? warp[other].given[turn].words[0] : value;
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
      memcpy(&me->results[m], (const char *)warp[8 * m + lane / 4].given[turn].row + lane % 4 * 4, 4);
      continue;
    }
    uint16_t halves[2];
    for (int64_t i = 0; i < 2; ++i)
      memcpy(&halves[i], (const char *)warp[8 * m + lane % 4 * 2 + i].given[turn].row + lane / 4 * 2, 2);
    me->results[m] = halves[0] | (uint32_t)halves[1] << 16;
  }
  return me->results;
}

static float asFloat(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static float halfToFloat(uint32_t h) {
  uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
  if (exponent == 31)
    return asFloat(sign | 0x7f800000 | fraction << 13);
  if (exponent)
    return asFloat(sign | (exponent + 112) << 23 | fraction << 13);
  float value = (float)fraction / 16777216.0f; /* 2^-24 */
  return sign ? -value : value;
}

/* Numbers of NVVM::MMATypes. */
enum { F16 = 0, TF32 = 2, U8 = 3, S8 = 4, BF16 = 9 };

static int elementsOfWord(int64_t type) { return type == TF32 ? 1 : type == U8 || type == S8 ? 4 : 2; }

/* Element i of a word. Tensor cores do not read the 13 last bits of a tf32. */
static double element(uint32_t word, int64_t type, int i) {
  switch (type) {
  case F16:
    return halfToFloat(word >> 16 * i & 0xffff);
  case BF16:
    return asFloat((word >> 16 * i & 0xffff) << 16);
  case U8:
    return (uint8_t)(word >> 8 * i);
  case S8:
    return (int8_t)(word >> 8 * i);
  default:
    return asFloat(word & ~0x1fffu);
  }
}

/* PTX ISA, mma.m16n8k(256 bits): the sums of this lane, rounded once. Hardware rounds more often. */
const uint32_t *nnopt_simt_mma(int64_t site, int64_t left, int64_t right, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                               uint32_t b0, uint32_t b1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t words[MaxWords] = {a0, a1, a2, a3, b0, b1, c0, c1, c2, c3};
  fiber *me = &s.fibers[s.current];
  int turn, perWord = elementsOfWord(left);
  int64_t lane = s.current % Warp;
  needWholeWarp();
  const fiber *warp = meetWarp(site, 0, words, MaxWords, &turn);
  for (int r = 0; r < 4; ++r) {
    int64_t row = lane / 4, column = lane % 4 * 2 + r % 2;
    double sum = 0;
    int32_t whole = 0;
    for (int word = 0; word < 8; ++word) {
      uint32_t x = warp[row * 4 + word % 4].given[turn].words[word / 4 * 2 + r / 2];
      uint32_t y = warp[column * 4 + word % 4].given[turn].words[4 + word / 4];
      for (int i = 0; i < perWord; ++i) {
        double product = element(x, left, i) * element(y, right, i);
        sum += product;
        whole += perWord == 4 ? (int32_t)product : 0;
      }
    }
    float total = asFloat(words[6 + r]) + (float)sum;
    if (perWord == 4)
      me->results[r] = words[6 + r] + (uint32_t)whole;
    else
      memcpy(&me->results[r], &total, 4);
  }
  return me->results;
}

/* cvt.rna.tf32.f32: to 10 bits behind the point, ties away from zero. */
uint32_t nnopt_simt_tf32(uint32_t bits) {
  return ((bits & 0x7f800000) == 0x7f800000 ? bits : bits + 0x1000) & ~0x1fffu;
}

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
    f->barriers = f->exchanges = f->copy_count = f->group = 0;
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
  for (int64_t t = 0; s.fibers && t < threads; ++t)
    free(s.fibers[t].copies);
  free(s.shared);
  free(s.shadows);
  free(s.fibers);
  free(s.stacks);
  s.fibers = NULL;
  s.stacks = NULL;
}

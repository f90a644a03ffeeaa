/*===- emulate_test.c - checks emulated instructions ---------------------------------===
 *
 * Runs each instruction in several encodings, written by the assembler, on random data and compares
 * with definitions in plain C. To be run with libemulate_x86.so preloaded. What the CPU has itself
 * it executes itself: then these definitions are checked. --time measures how long a trap takes.
 *===----------------------------------------------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern unsigned long long nnopt_emulated_instructions(void) __attribute__((weak));
static unsigned long long emulated(void) {
  return nnopt_emulated_instructions ? nnopt_emulated_instructions() : 0;
}

static int passed, failed;
static void check(bool ok, const char *name) {
  if (ok)
    ++passed;
  else if (++failed <= 20)
    printf("failed: %s\n", name);
}

/* ---- Random data ----------------------------------------------------------------------------- */

static uint64_t seed = 1;
static uint64_t randomBits(void) {
  seed += 0x9e3779b97f4a7c15u;
  uint64_t x = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static void randomBytes(void *data, size_t size) {
  for (size_t i = 0; i < size; ++i)
    ((uint8_t *)data)[i] = (uint8_t)randomBits();
}

/* Mostly of moderate size; else small ones, special ones, and whatever the bits are. */
static uint32_t randomFloat(void) {
  static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                     0x7f800001, 0x7fc00000, 0x00010000, 0x807f0000,
                                     0x00800000, 0x7f7fffff, 0x3f808000, 0x3f818000};
  uint64_t bits = randomBits();
  uint32_t fraction = (uint32_t)bits & 0x807fffff;
  switch (bits >> 32 & 31) {
  case 0:
    return (uint32_t)bits;
  case 1:
    return special[(bits >> 40) % (sizeof special / sizeof *special)];
  case 2:
    return fraction | (uint32_t)(50 + (bits >> 40 & 15)) << 23; /* products are denormal */
  default:
    return fraction | (uint32_t)(120 + (bits >> 40 & 15)) << 23;
  }
}

static void randomFloats(uint32_t *data, size_t count) {
  for (size_t i = 0; i < count; ++i)
    data[i] = randomFloat();
}

static void randomBf16(uint16_t *data, size_t count) {
  for (size_t i = 0; i < count; ++i)
    data[i] = (uint16_t)(randomFloat() >> 16);
}

/* ---- Definitions ----------------------------------------------------------------------------- */

typedef union vector {
  uint8_t bytes[64];
  uint16_t words[32];
  uint32_t dwords[16];
  uint64_t qwords[8];
} vector;

static float asFloat(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
static uint32_t bitsOf(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }
static float fromBf16(uint16_t x) { return flushed(asFloat((uint32_t)x << 16)); }
static float multiplyAdd(float a, float b, float c) { return flushed(fmaf(a, b, flushed(c))); }

/* Elements are of a size that the case has; `size` is that of the sources. */
typedef void definition(vector *out, const vector *dst, const vector *a, const vector *b, int size);

static void dpbf16ps(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size / 4; ++i) {
    float sum = asFloat(dst->dwords[i]);
    for (int j = 1; j >= 0; --j)
      sum = multiplyAdd(fromBf16(a->words[2 * i + j]), fromBf16(b->words[2 * i + j]), sum);
    out->dwords[i] = bitsOf(sum);
  }
}

static uint16_t nearestBf16(uint32_t bits) {
  float x = flushed(asFloat(bits));
  if (isnan(x))
    return (uint16_t)(bits >> 16 | 0x40);
  uint32_t low = bitsOf(x) & 0xffff0000, high = low + 0x10000; /* toward and away from zero */
  uint32_t rest = bitsOf(x) - low;
  bool up = rest > 0x8000 || (rest == 0x8000 && (low >> 16 & 1));
  return (uint16_t)((up ? high : low) >> 16);
}

static void cvtneps2bf16(vector *out, const vector *dst, const vector *a, const vector *b,
                         int size) {
  (void)dst, (void)a;
  for (int i = 0; i < size / 4; ++i)
    out->words[i] = nearestBf16(b->dwords[i]);
}

static void cvtne2ps2bf16(vector *out, const vector *dst, const vector *a, const vector *b,
                          int size) {
  (void)dst;
  for (int i = 0; i < size / 2; ++i)
    out->words[i] = nearestBf16(i < size / 4 ? b->dwords[i] : a->dwords[i - size / 4]);
}

static uint32_t clamped(int64_t x) {
  if (x > 2147483647)
    return 0x7fffffff;
  return x < -2147483647 - 1 ? 0x80000000 : (uint32_t)x;
}

static int64_t wide(uint32_t x) { return (int32_t)x; }

static int64_t busd(const vector *dst, const vector *a, const vector *b, int i) {
  int64_t sum = wide(dst->dwords[i]);
  for (int j = 0; j < 32; j += 8)
    sum += (int64_t)(uint8_t)(a->dwords[i] >> j) * (int8_t)(b->dwords[i] >> j);
  return sum;
}

static int64_t wssd(const vector *dst, const vector *a, const vector *b, int i) {
  int64_t sum = wide(dst->dwords[i]);
  for (int j = 0; j < 32; j += 16)
    sum += (int64_t)(int16_t)(a->dwords[i] >> j) * (int16_t)(b->dwords[i] >> j);
  return sum;
}

static void dpbusd(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size / 4; ++i)
    out->dwords[i] = (uint32_t)busd(dst, a, b, i);
}
static void dpbusds(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size / 4; ++i)
    out->dwords[i] = clamped(busd(dst, a, b, i));
}
static void dpwssd(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size / 4; ++i)
    out->dwords[i] = (uint32_t)wssd(dst, a, b, i);
}
static void dpwssds(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size / 4; ++i)
    out->dwords[i] = clamped(wssd(dst, a, b, i));
}

static void permb(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  (void)dst;
  for (int i = 0; i < size; ++i)
    out->bytes[i] = b->bytes[a->bytes[i] % size];
}

static uint8_t ofTwo(const vector *first, const vector *second, int index, int size) {
  index %= 2 * size;
  return index < size ? first->bytes[index] : second->bytes[index - size];
}
static void permi2b(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size; ++i)
    out->bytes[i] = ofTwo(a, b, dst->bytes[i], size);
}
static void permt2b(vector *out, const vector *dst, const vector *a, const vector *b, int size) {
  for (int i = 0; i < size; ++i)
    out->bytes[i] = ofTwo(dst, b, a->bytes[i], size);
}

static void pmultishiftqb(vector *out, const vector *dst, const vector *a, const vector *b,
                          int size) {
  (void)dst;
  for (int i = 0; i < size; ++i) {
    out->bytes[i] = 0;
    for (int bit = 0; bit < 8; ++bit) {
      uint64_t one = b->qwords[i / 8] >> (a->bytes[i] + bit) % 64 & 1;
      out->bytes[i] = (uint8_t)(out->bytes[i] | one << bit);
    }
  }
}

/* ---- One instruction ------------------------------------------------------------------------- */

enum { Rax, Rbx, R8, R9, R10, R12, R13, R14, R15, RegisterCount };

/* What an instruction finds in registers and leaves there; offsets are known to the assembly. */
typedef struct state {
  vector dst, a, b; /* zmm1 and zmm17, 2 and 25, 3 and 30 */
  uint64_t mask;    /* k1 and k5 */
  uint64_t general[RegisterCount];
  uint8_t gap[48];
  vector out[2], kept[4]; /* zmm1, zmm17; the others */
} state;
_Static_assert(offsetof(state, general) == 200 && offsetof(state, out) == 320, "assembly");

#define POOL_AT 1024
uint8_t emulate_test_pool[4096]; /* operands in memory; the assembly knows its name */

__asm__(".pushsection .text\n"
        "load_state:\n pop %r11\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " vmovdqu64 (%rdi), %zmm1\n vmovdqu64 (%rdi), %zmm17\n"
        " vmovdqu64 64(%rdi), %zmm2\n vmovdqu64 64(%rdi), %zmm25\n"
        " vmovdqu64 128(%rdi), %zmm3\n vmovdqu64 128(%rdi), %zmm30\n"
        " kmovq 192(%rdi), %k1\n kmovq 192(%rdi), %k5\n"
        " mov 200(%rdi), %rax\n mov 208(%rdi), %rbx\n mov 216(%rdi), %r8\n mov 224(%rdi), %r9\n"
        " mov 232(%rdi), %r10\n mov 240(%rdi), %r12\n mov 248(%rdi), %r13\n mov 256(%rdi), %r14\n"
        " mov 264(%rdi), %r15\n jmp *%r11\n"
        "store_state:\n vmovdqu64 %zmm1, 320(%rdi)\n vmovdqu64 %zmm17, 384(%rdi)\n"
        " vmovdqu64 %zmm2, 448(%rdi)\n vmovdqu64 %zmm25, 512(%rdi)\n"
        " vmovdqu64 %zmm3, 576(%rdi)\n vmovdqu64 %zmm30, 640(%rdi)\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n vzeroupper\n ret\n"
        ".popsection\n");

enum place { Register, Memory, Element };
enum masking { Plain, Merge, Zero };

typedef struct operation {
  const char *name;
  definition *define;
  bool floats, bf16s;            /* what the sources have, if not any bytes */
  int masked, broadcast, halves; /* bytes of an element of the result and of one in memory */
} operation;

static const operation vdpbf16ps = {"vdpbf16ps", dpbf16ps, false, true, 4, 4, 0},
                       vcvtneps2bf16 = {"vcvtneps2bf16", cvtneps2bf16, true, false, 2, 4, 1},
                       vcvtne2ps2bf16 = {"vcvtne2ps2bf16", cvtne2ps2bf16, true, false, 2, 4, 0},
                       vpdpbusd = {"vpdpbusd", dpbusd, false, false, 4, 4, 0},
                       vpdpbusds = {"vpdpbusds", dpbusds, false, false, 4, 4, 0},
                       vpdpwssd = {"vpdpwssd", dpwssd, false, false, 4, 4, 0},
                       vpdpwssds = {"vpdpwssds", dpwssds, false, false, 4, 4, 0},
                       vpermb = {"vpermb", permb, false, false, 1, 0, 0},
                       vpermi2b = {"vpermi2b", permi2b, false, false, 1, 0, 0},
                       vpermt2b = {"vpermt2b", permt2b, false, false, 1, 0, 0},
                       vpmultishiftqb = {"vpmultishiftqb", pmultishiftqb, false, false, 1, 8, 0};

typedef struct form {
  void (*run)(state *);
  const operation *op;
  const char *text;
  int size;
  enum place place;
  int dst; /* 1 or 17 */
  enum masking masking;
} form;

/* X(operation, size, number of the form, place, number of dst, masking, text) for all forms. */
#define MASKED(X, op, size, n, place, dst, text)                                                   \
  X(op, size, n##0, place, dst, Plain, text)                                                       \
  X(op, size, n##1, place, dst, Merge, text "{%k1}")                                               \
  X(op, size, n##2, place, dst, Zero, text "{%k5}{z}")
/* s: suffix of the mnemonic if the source is memory. v: xmm, ymm or zmm, d: that of dst; a2, a25:
 * the first source or nothing. In memory: each kind of address, with displacements that are and are
 * not multiples of the size. */
#define FORMS(X, op, size, s, v, d, a2, a25)                                                       \
  MASKED(X, op, size, 1, Register, 1, #op " %" v "3, " a2 "%" d "1")                               \
  MASKED(X, op, size, 2, Register, 17, #op " %" v "30, " a25 "%" d "17")                           \
  MASKED(X, op, size, 3, Memory, 1, #op s " (%r13), " a25 "%" d "1")                               \
  MASKED(X, op, size, 4, Memory, 17, #op s " -128(%r12), " a2 "%" d "17")                          \
  MASKED(X, op, size, 5, Memory, 1, #op s " 7(%rax), " a2 "%" d "1")                               \
  MASKED(X, op, size, 6, Memory, 17, #op s " 64(%r9,%r10,4), " a25 "%" d "17")                     \
  MASKED(X, op, size, 7, Memory, 1, #op s " emulate_test_pool+1024(%rip), " a2 "%" d "1")          \
  MASKED(X, op, size, 8, Memory, 1, #op s " 0x1000(,%r14,8), " a25 "%" d "1")
#define ELEMENTS(X, op, size, d, a2, a25, to)                                                      \
  MASKED(X, op, size, 9, Element, 17, #op " 16(%rbx)" to ", " a2 "%" d "17")                       \
  MASKED(X, op, size, 10, Element, 1, #op " -520(%r8,%r15,2)" to ", " a25 "%" d "1")
#define SIZES(X, op)                                                                               \
  FORMS(X, op, 16, "", "xmm", "xmm", "%xmm2, ", "%xmm25, ")                                        \
  FORMS(X, op, 32, "", "ymm", "ymm", "%ymm2, ", "%ymm25, ")                                        \
  FORMS(X, op, 64, "", "zmm", "zmm", "%zmm2, ", "%zmm25, ")
#define ELEMENT_SIZES(X, op, x, y, z)                                                              \
  SIZES(X, op)                                                                                     \
  ELEMENTS(X, op, 16, "xmm", "%xmm2, ", "%xmm25, ", x)                                             \
  ELEMENTS(X, op, 32, "ymm", "%ymm2, ", "%ymm25, ", y)                                             \
  ELEMENTS(X, op, 64, "zmm", "%zmm2, ", "%zmm25, ", z)
#define DWORDS(X, op) ELEMENT_SIZES(X, op, "{1to4}", "{1to8}", "{1to16}")
#define VEX(X, op)                                                                                 \
  X(op, 16, 110, Register, 1, Plain, "{vex} " #op " %xmm3, %xmm2, %xmm1")                          \
  X(op, 32, 111, Register, 1, Plain, "{vex} " #op " %ymm3, %ymm2, %ymm1")                          \
  X(op, 16, 112, Memory, 1, Plain, "{vex} " #op " -128(%r12), %xmm2, %xmm1")                       \
  X(op, 32, 113, Memory, 1, Plain, "{vex} " #op " 64(%r9,%r10,4), %ymm2, %ymm1")                   \
  X(op, 32, 114, Memory, 1, Plain, "{vex} " #op " emulate_test_pool+1024(%rip), %ymm2, %ymm1")
#define ALL(X)                                                                                     \
  DWORDS(X, vdpbf16ps)                                                                             \
  DWORDS(X, vcvtne2ps2bf16)                                                                        \
  FORMS(X, vcvtneps2bf16, 16, "x", "xmm", "xmm", "", "")                                           \
  FORMS(X, vcvtneps2bf16, 32, "y", "ymm", "xmm", "", "")                                           \
  FORMS(X, vcvtneps2bf16, 64, "", "zmm", "ymm", "", "")                                            \
  ELEMENTS(X, vcvtneps2bf16, 16, "xmm", "", "", "{1to4}")                                          \
  ELEMENTS(X, vcvtneps2bf16, 32, "xmm", "", "", "{1to8}")                                          \
  ELEMENTS(X, vcvtneps2bf16, 64, "ymm", "", "", "{1to16}")                                         \
  DWORDS(X, vpdpbusd)                                                                              \
  DWORDS(X, vpdpbusds)                                                                             \
  DWORDS(X, vpdpwssd)                                                                              \
  DWORDS(X, vpdpwssds)                                                                             \
  VEX(X, vpdpbusd)                                                                                 \
  VEX(X, vpdpbusds)                                                                                \
  VEX(X, vpdpwssd)                                                                                 \
  VEX(X, vpdpwssds)                                                                                \
  SIZES(X, vpermb)                                                                                 \
  SIZES(X, vpermi2b)                                                                               \
  SIZES(X, vpermt2b)                                                                               \
  ELEMENT_SIZES(X, vpmultishiftqb, "{1to2}", "{1to4}", "{1to8}")

#define STUB(op, size, n, place, dst, masking, text)                                               \
  void run_##op##_##size##_##n(state *);                                                           \
  __asm__(".pushsection .text\nrun_" #op "_" #size "_" #n ": call load_state\n " text              \
          "\n jmp store_state\n.popsection\n");
#define ENTRY(op, size, n, place, dst, masking, text)                                              \
  {run_##op##_##size##_##n, &op, text, size, place, dst, masking},
ALL(STUB)
static const form forms[] = {ALL(ENTRY)};

static void randomOperand(const operation *op, vector *v) {
  if (op->floats)
    randomFloats(v->dwords, 16);
  else if (op->bf16s)
    randomBf16(v->words, 32);
  else
    randomBytes(v, sizeof *v);
}

/* Every address that a form has is that of `at`. */
static void pointTo(state *s, const uint8_t *at) {
  uint64_t to = (uint64_t)at;
  randomBytes(s->general, sizeof s->general);
  s->general[Rax] = to - 7;
  s->general[Rbx] = to - 16;
  s->general[R12] = to + 128;
  s->general[R13] = to;
  s->general[R14] = (to - 0x1000) / 8;
  s->general[R9] = to - 64 - 4 * s->general[R10];
  s->general[R8] = to + 520 - 2 * s->general[R15];
}

static bool sameFloats(const vector *x, const vector *y) {
  for (int i = 0; i < 16; ++i)
    if (x->dwords[i] != y->dwords[i] &&
        !(isnan(asFloat(x->dwords[i])) && isnan(asFloat(y->dwords[i]))))
      return false;
  return true;
}

static vector expected(const form *f, const state *s, const vector *b) {
  const operation *op = f->op;
  vector all = {{0}}, out = {{0}};
  int size = op->halves ? f->size / 2 : f->size;
  op->define(&all, &s->dst, &s->a, b, f->size);
  for (int i = 0; i < size; ++i) {
    bool selected = f->masking == Plain || (s->mask >> i / op->masked & 1);
    out.bytes[i] = selected ? all.bytes[i] : f->masking == Merge ? s->dst.bytes[i] : 0;
  }
  return out;
}

static bool runOnce(const form *f) {
  uint8_t *at = emulate_test_pool + POOL_AT;
  state s;
  randomBytes(&s, sizeof s);
  randomBytes(emulate_test_pool, sizeof emulate_test_pool);
  randomOperand(f->op, &s.a);
  randomOperand(f->op, &s.b);
  if (f->op->bf16s)
    randomFloats(s.dst.dwords, 16);
  vector b = s.b;
  if (f->place == Memory || f->place == Element) {
    memcpy(at, &b, 64);
    randomBytes(&s.b, sizeof s.b);
  }
  for (int i = 0; f->place == Element && i < f->size; ++i)
    b.bytes[i] = b.bytes[i % f->op->broadcast];
  pointTo(&s, at);
  vector want = expected(f, &s, &b);

  unsigned rounding = (unsigned)(randomBits() & 3) << 13, csr = _mm_getcsr();
  _mm_setcsr(0x1f80 | rounding);
  f->run(&s);
  bool ok = (_mm_getcsr() & 0xffc0) == (0x1f80 | rounding);
  _mm_setcsr(csr);

  const vector *got = &s.out[f->dst == 17], *other = &s.out[f->dst != 17];
  ok &= f->op->bf16s ? sameFloats(got, &want) : !memcmp(got, &want, 64);
  ok &= !memcmp(other, &s.dst, 64);
  for (int i = 0; i < 4; ++i)
    ok &= !memcmp(&s.kept[i], i < 2 ? &s.a : &s.b, 64);
  return ok;
}

static void checkVectors(void) {
  /* What this CPU has is not the library's; vendors' CPUs may round sums of bf16 in their own ways. */
  int native = 0;
  for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
    bool ok = true;
    unsigned long long before = emulated();
    for (int n = 0; n < 16; ++n)
      ok &= runOnce(&forms[i]);
    if (nnopt_emulated_instructions && emulated() == before)
      ++native;
    else
      check(ok, forms[i].text);
  }
  if (native)
    printf("left out: %d forms that this CPU has\n", native);
}

/* Elements that are masked off are not read: here they are not there. */
static void checkSuppressed(void) {
  long page = sysconf(_SC_PAGESIZE);
  uint8_t *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE))
    abort();
  uint8_t *at = pages + page - 32;
  state s;
  randomBytes(&s, sizeof s);
  randomBytes(at, 32);
  s.mask &= 0xff;
  pointTo(&s, at);
  vector b = {{0}};
  memcpy(&b, at, 32);
  const form f = {run_vpdpbusd_64_31, &vpdpbusd, "", 64, Memory, 1, Merge};
  vector want = expected(&f, &s, &b);
  f.run(&s);
  check(!memcmp(&want, &s.out[0], 64), "masked memory at the end of a page");
  munmap(pages, 2 * page);
}

/* Vectors that are written while the CPU has (parts of) all of them in their initial state. */
static uint8_t initial[4096] __attribute__((aligned(64)));
static void checkInitial(void) {
  uint32_t csr = 0x1f80;
  vector zmm0, zmm20, zmm21, xmm5, source;
  randomBytes(&source, sizeof source);
  memcpy(initial + 24, &csr, 4);
  __asm__ volatile("xrstor (%[area])\n"
                   ".byte 0x62,0xe2,0x7d,0x48,0x8d,0x23\n" /* vpermb (%rbx), %zmm0, %zmm20 */
                   "vmovdqu64 %%zmm0, %[zmm0]\n vmovdqu64 %%zmm20, %[zmm20]\n"
                   "vmovdqu64 %%zmm21, %[zmm21]\n"
                   "xrstor (%[area])\n"
                   ".byte 0x62,0xf2,0x7d,0x48,0x8d,0x2b\n" /* vpermb (%rbx), %zmm0, %zmm5 */
                   "vmovdqu64 %%zmm5, %[xmm5]\n vzeroupper\n"
                   : [zmm0] "=m"(zmm0), [zmm20] "=m"(zmm20), [zmm21] "=m"(zmm21), [xmm5] "=m"(xmm5)
                   : [area] "r"(initial), "a"(0xe6), "d"(0), "b"(&source), "m"(source)
                   : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                     "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  vector want, none = {{0}};
  memset(&want, source.bytes[0], sizeof want);
  check(!memcmp(&zmm20, &want, 64), "zmm20 after its initial state");
  check(!memcmp(&xmm5, &want, 64), "zmm5 after its initial state");
  check(!memcmp(&zmm0, &none, 64) && !memcmp(&zmm21, &none, 64), "others keep the initial state");
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

typedef struct config {
  uint8_t palette, start, reserved[14];
  uint16_t columns[16];
  uint8_t rows[16];
} config;

static void loadConfig(const config *c) { __asm__ volatile("ldtilecfg %0" ::"m"(*c)); }
static config storeConfig(void) {
  config c;
  memset(&c, 0xa5, sizeof c);
  __asm__ volatile("sttilecfg %0" : "=m"(c));
  return c;
}
static void release(void) { __asm__ volatile("tilerelease"); }

#define LOAD(n, at, stride)                                                                        \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n ::"r"(at), "r"((int64_t)(stride)) : "memory")
#define STORE(n, at, step)                                                                         \
  __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" ::"r"(at), "r"((int64_t)(step)) : "memory")

static config emptyConfig(void) { return (config){.palette = 1}; }
static void setTile(config *c, int n, int rows, int columns) {
  c->rows[n] = (uint8_t)rows;
  c->columns[n] = (uint16_t)columns;
}
static int below(int limit) { return (int)(randomBits() % (unsigned)limit); }

static void checkConfigs(void) {
  config none = {0};
  bool ok = true;
  for (int i = 0; i < 20; ++i) {
    config c = emptyConfig(), got;
    for (int n = 0; n < 8; ++n)
      if (randomBits() & 1)
        setTile(&c, n, 1 + below(16), 1 + below(64));
    loadConfig(&c);
    got = storeConfig();
    ok &= !memcmp(&c, &got, sizeof c);
    if (i % 2)
      release();
    else
      loadConfig(&none);
    got = storeConfig();
    ok &= !memcmp(&none, &got, sizeof c);
  }
  check(ok, "ldtilecfg, sttilecfg, tilerelease");
}

enum { Rows = 16, Columns = 64, Stride = 80, Room = 8 * Rows * Stride };

/* The bytes of a tile that lies in `data` at `at`; the distance of rows is `stride`. */
static void pick(uint8_t *tile, const uint8_t *data, int at, int stride, int rows, int columns) {
  for (int i = 0; i < rows; ++i)
    memcpy(tile + i * columns, data + at + i * stride, (size_t)columns);
}

/* Loads by `text`, from at[] with rows `stride` apart, and stores compactly. */
#define TILE_LOAD(text, base, index, at, stride)                                                   \
  do {                                                                                             \
    uint8_t got[Rows * Columns], want[Rows * Columns];                                             \
    memset(got, 0x5a, sizeof got);                                                                 \
    memset(want, 0x5a, sizeof want);                                                               \
    register uint64_t r13 __asm__("r13") = (uint64_t)(base);                                       \
    register uint64_t r9 __asm__("r9") = (uint64_t)(int64_t)(index);                               \
    __asm__ volatile(text : "+r"(r13), "+r"(r9)::"memory", "rax", "rbx", "r12");                   \
    STORE(5, got, columns);                                                                        \
    pick(want, data, at, stride, rows, columns);                                                   \
    check(!memcmp(got, want, sizeof got), text);                                                   \
  } while (0)

static void checkLoads(int rows, int columns) {
  static uint8_t data[Room];
  randomBytes(data, sizeof data);
  config c = emptyConfig();
  setTile(&c, 5, rows, columns);
  loadConfig(&c);
  uint8_t *middle = data + Room / 2;
  const int at = Room / 2;
  TILE_LOAD("tileloadd (%%r13,%%r9,1), %%tmm5", middle, Stride, at, Stride);
  TILE_LOAD("tileloaddt1 (%%r13,%%r9,1), %%tmm5", middle, Stride, at, Stride);
  TILE_LOAD("tileloadd 64(%%r13,%%r9,1), %%tmm5", middle, Stride, at + 64, Stride);
  TILE_LOAD("tileloadd -1000(%%r13,%%r9,1), %%tmm5", middle, Stride, at - 1000, Stride);
  TILE_LOAD("tileloadd (%%r13,%%r9,2), %%tmm5", middle, 33, at, 66);
  TILE_LOAD("tileloadd 3(%%r13,%%r9,4), %%tmm5", middle, 17, at + 3, 68);
  TILE_LOAD("tileloadd (%%r13,%%r9,1), %%tmm5", middle, -Stride, at, -Stride);
  TILE_LOAD("tileloadd (%%r13,%%r9,8), %%tmm5", middle, 0, at, 0);
  TILE_LOAD("mov %%r13, %%r12\n mov %%r9, %%rbx\n tileloadd 5(%%r12,%%rbx,1), %%tmm5", middle, 65,
            at + 5, 65);
  TILE_LOAD("mov %%r13, %%rbx\n mov %%r9, %%r12\n tileloadd (%%rbx,%%r12,1), %%tmm5", middle, 65,
            at, 65);
  TILE_LOAD("tileloadd 9(%%r13), %%tmm5", middle, 0, at + 9, 0); /* no index */
  /* Of memory, stores write the tile and nothing else. */
  static uint8_t stored[Room], want[Room];
  LOAD(5, middle, Stride);
  memset(stored, 0x11, Room);
  memset(want, 0x11, Room);
  for (int i = 0; i < rows; ++i)
    memcpy(want + 100 + i * 70, middle + i * Stride, (size_t)columns);
  __asm__ volatile("tilestored %%tmm5, 100(%0,%1,2)" ::"r"(stored), "r"((int64_t)35) : "memory");
  check(!memcmp(stored, want, Room), "tilestored");
  uint8_t zeros[Rows * Columns] = {0}, got[Rows * Columns] = {0};
  __asm__ volatile("tilezero %tmm5");
  memset(got, 1, (size_t)(rows * columns));
  STORE(5, got, columns);
  check(!memcmp(zeros, got, sizeof got), "tilezero");
  release();
}

/* c (m x n) += a (m x k groups) * b (k x n groups), by the element. */
typedef void product(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k);

static int element(const uint8_t *x, int at, bool isSigned) {
  return isSigned ? (int8_t)x[at] : x[at];
}

static void multiplyBytes(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k,
                          bool signedA, bool signedB) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j)
      for (int l = 0; l < 4 * k; ++l) /* element l of column j: in group l / 4 */
        c[i * n + j] += (uint32_t)(element(a, i * 4 * k + l, signedA) *
                                   element(b, l / 4 * 4 * n + 4 * j + l % 4, signedB));
}
static void ss(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k) {
  multiplyBytes(c, a, b, m, n, k, true, true);
}
static void su(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k) {
  multiplyBytes(c, a, b, m, n, k, true, false);
}
static void us(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k) {
  multiplyBytes(c, a, b, m, n, k, false, true);
}
static void uu(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k) {
  multiplyBytes(c, a, b, m, n, k, false, false);
}

static float bf16At(const uint8_t *x, int at) {
  uint16_t value;
  memcpy(&value, x + 2 * at, 2);
  return fromBf16(value);
}

static void bf16(uint32_t *c, const uint8_t *a, const uint8_t *b, int m, int n, int k) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum[2] = {0, 0};
      for (int l = 0; l < 2 * k; ++l)
        sum[l % 2] = multiplyAdd(bf16At(a, i * 2 * k + l), bf16At(b, l / 2 * 2 * n + 2 * j + l % 2),
                                 sum[l % 2]);
      float both = flushed(sum[0] + sum[1]);
      c[i * n + j] = bitsOf(flushed(flushed(asFloat(c[i * n + j])) + both));
    }
}

/* c += a * b in the tiles `tc`, `ta`, `tb` by `op`, compared with `define`. */
#define PRODUCT(op, define, tc, ta, tb)                                                            \
  do {                                                                                             \
    config cfg = emptyConfig();                                                                    \
    setTile(&cfg, tc, m, 4 * n);                                                                   \
    setTile(&cfg, ta, m, 4 * k);                                                                   \
    setTile(&cfg, tb, k, 4 * n);                                                                   \
    loadConfig(&cfg);                                                                              \
    uint32_t c[256], want[256];                                                                    \
    uint8_t a[1024], b[1024];                                                                      \
    randomBytes(c, sizeof c);                                                                      \
    randomBytes(a, sizeof a);                                                                      \
    randomBytes(b, sizeof b);                                                                      \
    if (define == bf16) {                                                                          \
      randomFloats(c, 256);                                                                        \
      randomBf16((uint16_t *)a, 512);                                                              \
      randomBf16((uint16_t *)b, 512);                                                              \
    }                                                                                              \
    memcpy(want, c, sizeof c);                                                                     \
    LOAD(tc, c, 4 * n);                                                                            \
    LOAD(ta, a, 4 * k);                                                                            \
    LOAD(tb, b, 4 * n);                                                                            \
    unsigned csr = _mm_getcsr();                                                                   \
    _mm_setcsr(0x7f80); /* toward zero: to be ignored */                                           \
    __asm__ volatile(op " %%tmm" #tb ", %%tmm" #ta ", %%tmm" #tc ::: "memory");                    \
    _mm_setcsr(csr);                                                                               \
    STORE(tc, c, 4 * n);                                                                           \
    define(want, a, b, m, n, k);                                                                   \
    bool ok = true;                                                                                \
    for (int i = 0; i < 256; ++i)                                                                  \
      ok &=                                                                                        \
          c[i] == want[i] || (define == bf16 && isnan(asFloat(c[i])) && isnan(asFloat(want[i])));  \
    check(ok, op);                                                                                 \
  } while (0)

static void checkProducts(int m, int n, int k) {
  PRODUCT("tdpbf16ps", bf16, 0, 1, 2);
  PRODUCT("tdpbf16ps", bf16, 7, 6, 5);
  PRODUCT("tdpbssd", ss, 0, 1, 2);
  PRODUCT("tdpbssd", ss, 3, 7, 4);
  PRODUCT("tdpbsud", su, 5, 3, 1);
  PRODUCT("tdpbusd", us, 6, 0, 7);
  PRODUCT("tdpbuud", uu, 1, 4, 0);
  release();
}

static void checkTiles(void) {
  checkConfigs();
  static const int corners[][3] = {{16, 16, 16}, {1, 1, 1}, {16, 1, 16}, {1, 16, 3}, {5, 16, 1}};
  for (size_t i = 0; i < sizeof corners / sizeof *corners; ++i)
    checkProducts(corners[i][0], corners[i][1], corners[i][2]);
  for (int i = 0; i < 40; ++i)
    checkProducts(1 + below(16), 1 + below(16), 1 + below(16));
  checkLoads(16, 64);
  checkLoads(1, 1);
  for (int i = 0; i < 20; ++i)
    checkLoads(1 + below(16), 1 + below(64));
}

/* ---- Threads --------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;

/* Tiles of a shape and contents that the other thread does not have; both run at the same time. */
static void *useTiles(void *argument) {
  int number = *(int *)argument, rows = number ? 3 : 16, columns = number ? 64 : 12;
  config c = emptyConfig();
  setTile(&c, 2, rows, columns);
  uint8_t data[1024], got[1024];
  bool ok = true;
  for (int i = 0; i < 200; ++i) {
    for (int j = 0; j < 1024; ++j)
      data[j] = (uint8_t)(j * (number + 3) + i);
    loadConfig(&c);
    LOAD(2, data, columns);
    pthread_barrier_wait(&barrier);
    memset(got, 0, sizeof got);
    STORE(2, got, columns);
    config now = storeConfig();
    ok &= !memcmp(got, data, (size_t)(rows * columns)) && !memcmp(&now, &c, sizeof c);
    pthread_barrier_wait(&barrier);
  }
  release();
  return ok ? argument : NULL;
}

static void checkThreads(void) {
  pthread_t threads[2];
  int numbers[2] = {0, 1};
  bool ok = true;
  pthread_barrier_init(&barrier, NULL, 2);
  for (int i = 0; i < 2; ++i)
    if (pthread_create(&threads[i], NULL, useTiles, &numbers[i]))
      abort();
  for (int i = 0; i < 2; ++i) {
    void *result;
    pthread_join(threads[i], &result);
    ok &= result != NULL;
  }
  check(ok, "tiles of two threads");
}

/* ---- What must not run ----------------------------------------------------------------------- */

static void useUd2(void) { __asm__ volatile("ud2"); }
static void useUnconfigured(void) {
  release();
  __asm__ volatile("tilezero %tmm0");
}
static void useOtherTile(void) {
  uint8_t data[1024];
  config c = emptyConfig();
  setTile(&c, 0, 16, 64);
  loadConfig(&c);
  LOAD(3, data, 64);
}
/* Of c (4 x 4 elements), a and b. */
static void multiply(int aRows, int aColumns, int bRows, int bColumns) {
  config c = emptyConfig();
  setTile(&c, 0, 4, 16);
  setTile(&c, 1, aRows, aColumns);
  setTile(&c, 2, bRows, bColumns);
  loadConfig(&c);
  __asm__ volatile("tdpbssd %tmm2, %tmm1, %tmm0");
}
static void multiplyMatching(void) { multiply(4, 32, 8, 16); }
static void multiplyOtherRows(void) { multiply(5, 32, 8, 16); }
static void multiplyOtherDepth(void) { multiply(4, 32, 7, 16); }
static void multiplyOtherColumns(void) { multiply(4, 32, 8, 20); }
static void multiplyOdd(void) { multiply(4, 33, 8, 16); }
static void multiplyMissing(void) { multiply(4, 32, 0, 0); }
static void multiplySame(void) {
  config c = emptyConfig();
  setTile(&c, 0, 4, 16);
  setTile(&c, 1, 4, 16);
  loadConfig(&c);
  __asm__ volatile(".byte 0xc4,0xe2,0x7b,0x5e,0xc1"); /* tdpbssd tmm0, tmm1, tmm0 */
}
static void configureRows(void) {
  config c = emptyConfig();
  setTile(&c, 0, 17, 64);
  loadConfig(&c);
}
static void configureColumns(void) {
  config c = emptyConfig();
  setTile(&c, 0, 16, 65);
  loadConfig(&c);
}
static void configureHalf(void) {
  config c = emptyConfig();
  setTile(&c, 0, 16, 0);
  loadConfig(&c);
}
static void configureReserved(void) {
  config c = emptyConfig();
  c.reserved[5] = 1;
  loadConfig(&c);
}
static void configureTile8(void) {
  config c = emptyConfig();
  setTile(&c, 8, 1, 4);
  loadConfig(&c);
}
static void configurePalette(void) {
  config c = emptyConfig();
  c.palette = 2;
  loadConfig(&c);
}
/* vpdpbusd with broadcast of a register, with zeroing by k0, and of a vector of 1024 bits. */
static void encodeBroadcast(void) { __asm__ volatile(".byte 0x62,0xf2,0x6d,0x58,0x50,0xcb"); }
static void encodeZeroing(void) { __asm__ volatile(".byte 0x62,0xf2,0x6d,0xc8,0x50,0xcb"); }
static void encodeLength(void) { __asm__ volatile(".byte 0x62,0xf2,0x6d,0x68,0x50,0xcb"); }

/* The signal that ends a process which does this; 0: none. */
static int signalOf(void (*act)(void)) {
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    act();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void checkRefused(void) {
  static const struct {
    const char *name;
    void (*act)(void);
    bool config; /* the CPU's own fault is another one */
  } wrong[] = {{"ud2", useUd2, false},
               {"no configuration", useUnconfigured, false},
               {"a tile without configuration", useOtherTile, false},
               {"rows of a product", multiplyOtherRows, false},
               {"depth of a product", multiplyOtherDepth, false},
               {"columns of a product", multiplyOtherColumns, false},
               {"columns that are no groups", multiplyOdd, false},
               {"a product without a tile", multiplyMissing, false},
               {"a product of a tile with itself", multiplySame, false},
               {"17 rows", configureRows, true},
               {"65 columns", configureColumns, true},
               {"rows without columns", configureHalf, true},
               {"reserved bytes", configureReserved, true},
               {"tile 8", configureTile8, true},
               {"palette 2", configurePalette, true},
               {"broadcast of a register", encodeBroadcast, false},
               {"zeroing by k0", encodeZeroing, false},
               {"1024 bits", encodeLength, false}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
    int number = signalOf(wrong[i].act);
    check(number == SIGILL || (wrong[i].config && number == SIGSEGV), wrong[i].name);
  }
  check(signalOf(multiplyMatching) == 0, "shapes that match");
}

/* ---- Time ------------------------------------------------------------------------------------ */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(void) {
  config c = emptyConfig();
  for (int n = 0; n < 3; ++n)
    setTile(&c, n, 16, 64);
  loadConfig(&c);
  const int count = 20000; /* the branch ends what one signal executes */
  double start = now();
  for (int i = 0; i < count; ++i)
    __asm__ volatile("tilezero %tmm0");
  double zero = now();
  for (int i = 0; i < count; ++i)
    __asm__ volatile("tdpbf16ps %tmm2, %tmm1, %tmm0");
  double bf16 = now();
  for (int i = 0; i < count; ++i)
    __asm__ volatile("tdpbssd %tmm2, %tmm1, %tmm0");
  double int8 = now();
  for (int i = 0; i < count; ++i)
    __asm__ volatile(".byte 0x62,0xf2,0x6d,0x48,0x50,0xcb" ::: "xmm1"); /* vpdpbusd zmm */
  double vnni = now();
  for (int i = 0; i < count / 8; ++i)
    __asm__ volatile(".rept 8\n tdpbf16ps %tmm2, %tmm1, %tmm0\n .endr");
  double end = now();
  release();
  printf("us: tilezero %.2f, tdpbf16ps %.2f (%.2f where 8 follow each other), tdpbssd %.2f, "
         "vpdpbusd %.2f\n",
         1e6 * (zero - start) / count, 1e6 * (bf16 - zero) / count, 1e6 * (end - vnni) / count,
         1e6 * (int8 - bf16) / count, 1e6 * (vnni - int8) / count);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    printf("skipped: this CPU has no AVX-512\n");
    return 0;
  }
  if (!nnopt_emulated_instructions)
    printf("libemulate_x86.so is not loaded: all instructions must be those of this CPU\n");
  syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */);
  if (argc > 1 && !strcmp(argv[1], "--time")) {
    measure();
    return 0;
  }
  checkVectors();
  checkSuppressed();
  checkInitial();
  checkTiles();
  checkThreads();
  checkRefused();
  printf("%llu instructions emulated\n", emulated());
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}

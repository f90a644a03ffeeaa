/*===- tensor.h - what tensor cores compute ---------------------------------------===
 *
 * A part of simt.c: products of a warp and of a warpgroup, by their definition.
 *===----------------------------------------------------------------------===*/

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
      uint32_t x = warp[row * 4 + word % 4].given[0][turn].words[word / 4 * 2 + r / 2];
      uint32_t y = warp[column * 4 + word % 4].given[0][turn].words[4 + word / 4];
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

/* ---- Products of a warpgroup ---- */

/* fence.proxy.async: what this thread has written is seen by products, and so is what its copies have. */
void nnopt_simt_fence_products(void) { ++s.fibers[s.current].fences; }

/* PTX ISA 9.7.14.5.1: bits 0-13 the address, 32-45 the distance of eight lines, in units of 16 bytes; bits 62-63 the mode of
 * swizzling. Of the modes, this has those of 128 and 64 bytes: bits 4 to 6 of an address are xored with bits 7 to 9, or bits 4 and 5
 * with bits 7 and 8. */
typedef struct lines {
  uint64_t first, eight;
  int64_t bytes; /* of a line */
} lines;

static lines decode(uint64_t descriptor) {
  uint64_t mode = descriptor >> 62;
  if (mode != 1 && mode != 2)
    fail("a mode of swizzling that is not known", NULL, 0);
  lines l = {(descriptor & 0x3fff) << 4, (descriptor >> 32 & 0x3fff) << 4, mode == 1 ? 128 : 64};
  if ((l.first & ~(uint64_t)(l.bytes - 1)) % (uint64_t)(8 * l.bytes))
    fail("operands of a product that begin within the pattern of swizzling", s.shared + l.first, 0);
  return l;
}

/* The word of line `line` at byte `byte`, along the contracted dimension. */
static uint32_t wordOf(const lines *l, int64_t line, int64_t byte) {
  uint64_t at = l->first + (uint64_t)(line / 8) * l->eight + (uint64_t)(line % 8 * l->bytes + byte);
  uint32_t word;
  at ^= (at >> 7 & (l->bytes == 128 ? 7 : 3)) << 4;
  memcpy(&word, s.shared + at, 4);
  return word;
}

/* All of an operand must lie in the shared memory, be there, and be fenced. */
static void checkLines(const lines *l, int64_t count, product *p, int side) {
  const char *first = s.shared + (l->first & ~(uint64_t)(l->bytes - 1));
  int64_t bytes = (count / 8 - 1) * (int64_t)l->eight + 8 * l->bytes;
  if (!isShared(first, bytes))
    fail("an operand of a product is outside of the shared memory", first, bytes);
  checkShared(first - s.shared, bytes, 0, -2);
  for (int64_t i = first - s.shared; i < first - s.shared + bytes; ++i) {
    const shadow *h = &s.shadows[i];
    if (h->write_interval != UINT32_MAX && s.fibers[h->writer].fences <= h->fences)
      fail("a product reads what its writer has not fenced", s.shared + i, 1);
  }
  p->first[side] = first;
  p->bytes[side] = bytes;
}

/* PTX ISA, wgmma.m64nNk(256 bits): `sums` are this thread's, columns / 2 of them. They are computed at once; that nobody uses
 * them before the wait is for the assembler to check. */
void nnopt_simt_wgmma(int64_t site, int64_t type, int64_t columns, uint64_t left, uint64_t right, float *sums) {
  fiber *me = &s.fibers[s.current];
  int turn;
  int64_t lane = s.current % Warp, warp = s.current % Warpgroup / Warp;
  if (s.threads % Warpgroup)
    fail("a product of a warpgroup in a block that has a part of one", NULL, 0);
  uint32_t words[4] = {(uint32_t)left, (uint32_t)(left >> 32), (uint32_t)right, (uint32_t)(right >> 32)};
  const fiber *group = meet(Warpgroup, site, 0, words, 4, &turn);
  if (memcmp(group->given[1][turn].words, words, sizeof words))
    fail("threads of a warpgroup describe different operands", NULL, 0);
  lines a = decode(left), b = decode(right);
  if (s.current % Warpgroup == 0) {
    if (me->product_count == MaxProducts)
      fail("too many products that have not been waited for", NULL, 0);
    product *p = &me->products[me->product_count];
    checkLines(&a, 64, p, 0);
    checkLines(&b, columns, p, 1);
    p->group = me->product_group;
    ++me->product_count;
  }
  int perWord = elementsOfWord(type);
  for (int64_t r = 0; r < columns / 2; ++r) {
    int64_t row = warp * 16 + lane / 4 + r % 4 / 2 * 8, column = r / 4 * 8 + lane % 4 * 2 + r % 2;
    double sum = 0;
    for (int64_t word = 0; word < 8; ++word) {
      uint32_t x = wordOf(&a, row, word * 4), y = wordOf(&b, column, word * 4);
      for (int i = 0; i < perWord; ++i)
        sum += element(x, type, i) * element(y, type, i);
    }
    sums[r] += (float)sum;
  }
}

void nnopt_simt_commit_products(void) { ++s.fibers[s.current].product_group; }

void nnopt_simt_wait_for_products(int64_t site, int64_t groups) {
  fiber *me = &s.fibers[s.current];
  int turn;
  uint32_t left = 0;
  meet(Warpgroup, site, 0, NULL, 0, &turn);
  for (uint32_t i = 0; i < me->product_count; ++i)
    if ((int64_t)me->products[i].group >= (int64_t)me->product_group - groups)
      me->products[left++] = me->products[i];
  me->product_count = left;
}

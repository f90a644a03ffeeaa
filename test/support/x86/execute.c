/*===- execute.c - definitions of the instructions that are emulated: see emulate.c --===*/
#include "emulate.h"

#include <immintrin.h>
#include <string.h>

#define WITH_AVX512 __attribute__((target("avx512f,avx512bw")))

/* ---- Vectors --------------------------------------------------------------------------------- */

/* The elements of pairs of bf16 as f32. */
WITH_AVX512 static __m512 evenFloats(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}
WITH_AVX512 static __m512 oddFloats(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

/* The odd elements come first. */
WITH_AVX512 void dotBf16(vector *dst, const vector *a, const vector *b, unsigned size) {
  (void)size;
  __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
  __m512 sum = _mm512_loadu_ps(dst);
  sum = _mm512_fmadd_ps(oddFloats(x), oddFloats(y), sum);
  sum = _mm512_fmadd_ps(evenFloats(x), evenFloats(y), sum);
  _mm512_storeu_ps(dst, sum);
}

static uint16_t toBf16(uint32_t x) {
  uint32_t exponent = x >> 23 & 0xff, fraction = x & 0x7fffff;
  if (exponent == 0)
    return (uint16_t)(x >> 16 & 0x8000);
  if (exponent == 0xff)
    return (uint16_t)(x >> 16 | (fraction ? 0x40 : 0));
  return (uint16_t)((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

void convertToBf16(vector *dst, const vector *a, const vector *b, unsigned size) {
  (void)a;
  for (unsigned i = 0; i < size / 4; ++i)
    dst->u16[i] = toBf16(b->u32[i]);
}

void convertTwoToBf16(vector *dst, const vector *a, const vector *b, unsigned size) {
  convertToBf16(dst, NULL, b, size);
  for (unsigned i = 0; i < size / 4; ++i)
    dst->u16[size / 4 + i] = toBf16(a->u32[i]);
}

static int64_t dotBytes(const vector *a, const vector *b, unsigned i) {
  int64_t sum = 0;
  for (unsigned j = 4 * i; j < 4 * i + 4; ++j)
    sum += a->u8[j] * b->i8[j];
  return sum;
}

static int64_t dotWords(const vector *a, const vector *b, unsigned i) {
  return (int64_t)a->i16[2 * i] * b->i16[2 * i] + (int64_t)a->i16[2 * i + 1] * b->i16[2 * i + 1];
}

static int32_t saturate(int64_t x) {
  return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

void addDotBytes(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size / 4; ++i)
    dst->u32[i] += (uint32_t)dotBytes(a, b, i);
}

void addDotBytesSaturated(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size / 4; ++i)
    dst->i32[i] = saturate(dst->i32[i] + dotBytes(a, b, i));
}

void addDotWords(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size / 4; ++i)
    dst->u32[i] += (uint32_t)dotWords(a, b, i);
}

void addDotWordsSaturated(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size / 4; ++i)
    dst->i32[i] = saturate(dst->i32[i] + dotWords(a, b, i));
}

void permuteBytes(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size; ++i)
    dst->u8[i] = b->u8[a->u8[i] & (size - 1)];
}

static void pickBytes(vector *dst, const vector *index, const vector *a, const vector *b,
                      unsigned size) {
  for (unsigned i = 0; i < size; ++i)
    dst->u8[i] = (index->u8[i] & size ? b : a)->u8[index->u8[i] & (size - 1)];
}

void permuteByIndex(vector *dst, const vector *a, const vector *b, unsigned size) {
  vector index = *dst;
  pickBytes(dst, &index, a, b, size);
}

void permuteTables(vector *dst, const vector *a, const vector *b, unsigned size) {
  vector table = *dst;
  pickBytes(dst, a, &table, b, size);
}

void multishift(vector *dst, const vector *a, const vector *b, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    uint64_t bits = b->u64[i / 8];
    unsigned shift = a->u8[i] & 63;
    dst->u8[i] = (uint8_t)(bits >> shift | bits << (-shift & 63));
  }
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

enum { MaxRows = 16, RowBytes = 64 };

typedef struct tile {
  unsigned rows, row_bytes; /* 0: not configured */
  uint8_t data[MaxRows][RowBytes];
} tile;

/* initial-exec: never allocated in the handler. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
  bool configured;
  tile all[TileCount];
} tiles;

typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

const char *releaseTiles(const instruction *i) {
  (void)i;
  memset(&tiles, 0, sizeof tiles);
  return NULL;
}

static const char *whyInvalid(const tile_config *config) {
  if (config->palette > 1)
    return "unknown palette";
  if (config->palette == 0)
    return NULL;
  if (config->start_row)
    return "start row is not 0";
  for (int n = 0; n < 14; ++n)
    if (config->reserved[n])
      return "reserved bytes are not 0";
  for (int n = 0; n < 16; ++n) {
    unsigned rows = config->rows[n], bytes = config->row_bytes[n];
    if (n >= TileCount && (rows || bytes))
      return "reserved bytes are not 0";
    if (rows > MaxRows || bytes > RowBytes)
      return "a tile is too large";
    if (!rows != !bytes)
      return "a tile has rows or columns, but not both";
  }
  return NULL;
}

const char *loadConfig(const instruction *i) {
  tile_config config;
  memcpy(&config, (const void *)i->address, sizeof config);
  const char *why = whyInvalid(&config);
  if (why)
    return why;
  releaseTiles(i);
  tiles.configured = config.palette == 1;
  for (int n = 0; n < TileCount && tiles.configured; ++n) {
    tiles.all[n].rows = config.rows[n];
    tiles.all[n].row_bytes = config.row_bytes[n];
  }
  return NULL;
}

const char *storeConfig(const instruction *i) {
  tile_config config = {.palette = tiles.configured};
  for (int n = 0; n < TileCount; ++n) {
    config.rows[n] = (uint8_t)tiles.all[n].rows;
    config.row_bytes[n] = (uint16_t)tiles.all[n].row_bytes;
  }
  memcpy((void *)i->address, &config, sizeof config);
  return NULL;
}

static const char *whyUnusable(unsigned number) {
  if (!tiles.configured)
    return "tiles are not configured";
  return tiles.all[number].rows ? NULL : "the tile is not configured";
}

const char *zeroTile(const instruction *i) {
  const char *why = whyUnusable(i->reg);
  if (!why)
    memset(tiles.all[i->reg].data, 0, sizeof tiles.all[i->reg].data);
  return why;
}

const char *loadTile(const instruction *i) {
  const char *why = whyUnusable(i->reg);
  if (why)
    return why;
  tile *t = &tiles.all[i->reg];
  memset(t->data, 0, sizeof t->data);
  for (unsigned row = 0; row < t->rows; ++row)
    memcpy(t->data[row], (const void *)(i->address + row * i->stride), t->row_bytes);
  return NULL;
}

const char *storeTile(const instruction *i) {
  const char *why = whyUnusable(i->reg);
  if (why)
    return why;
  const tile *t = &tiles.all[i->reg];
  for (unsigned row = 0; row < t->rows; ++row)
    memcpy((void *)(i->address + row * i->stride), t->data[row], t->row_bytes);
  return NULL;
}

/* The tiles of c += a * b, of which a row of b has groups of elements that stand in a column. */
static const char *operandsOf(const instruction *i, tile **c, const tile **a, const tile **b) {
  unsigned numbers[] = {i->reg, i->rm, i->vvvv};
  for (int n = 0; n < 3; ++n) {
    const char *why = whyUnusable(numbers[n]);
    if (why)
      return why;
    if (numbers[n] == numbers[(n + 1) % 3])
      return "one tile is two operands";
    if (tiles.all[numbers[n]].row_bytes % 4)
      return "bytes of a row are no multiple of 4";
  }
  *c = &tiles.all[i->reg];
  *a = &tiles.all[i->rm];
  *b = &tiles.all[i->vvvv];
  bool match = (*c)->rows == (*a)->rows && (*c)->row_bytes == (*b)->row_bytes &&
               (*a)->row_bytes / 4 == (*b)->rows;
  return match ? NULL : "shapes of tiles do not match";
}

WITH_AVX512 static __m512i broadcastGroup(const tile *t, unsigned row, unsigned group) {
  int value;
  memcpy(&value, &t->data[row][4 * group], 4);
  return _mm512_set1_epi32(value);
}

/* Sums of even and of odd elements are kept apart until all are added. */
WITH_AVX512 const char *multiplyBf16(const instruction *i) {
  tile *c;
  const tile *a, *b;
  const char *why = operandsOf(i, &c, &a, &b);
  for (unsigned row = 0; !why && row < c->rows; ++row) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (unsigned k = 0; k < b->rows; ++k) {
      __m512i x = broadcastGroup(a, row, k), y = _mm512_loadu_si512(b->data[k]);
      even = _mm512_fmadd_ps(evenFloats(x), evenFloats(y), even);
      odd = _mm512_fmadd_ps(oddFloats(x), oddFloats(y), odd);
    }
    float sums[16];
    _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(c->data[row]), _mm512_add_ps(even, odd)));
    memcpy(c->data[row], sums, c->row_bytes); /* behind it are zeros, not 0 * infinity */
  }
  return why;
}

/* The elements of pairs of bytes as 16-bit integers: the products of two pairs of them are added
 * without overflow. */
WITH_AVX512 static __m512i evenWords(__m512i bytes, bool isSigned) {
  __m512i high = _mm512_slli_epi16(bytes, 8);
  return isSigned ? _mm512_srai_epi16(high, 8) : _mm512_srli_epi16(high, 8);
}
WITH_AVX512 static __m512i oddWords(__m512i bytes, bool isSigned) {
  return isSigned ? _mm512_srai_epi16(bytes, 8) : _mm512_srli_epi16(bytes, 8);
}

WITH_AVX512 static const char *multiplyBytes(const instruction *i, bool signedA, bool signedB) {
  tile *c;
  const tile *a, *b;
  const char *why = operandsOf(i, &c, &a, &b);
  for (unsigned row = 0; !why && row < c->rows; ++row) {
    __m512i sum = _mm512_loadu_si512(c->data[row]);
    for (unsigned k = 0; k < b->rows; ++k) {
      __m512i x = broadcastGroup(a, row, k), y = _mm512_loadu_si512(b->data[k]);
      __m512i even = _mm512_madd_epi16(evenWords(x, signedA), evenWords(y, signedB));
      __m512i odd = _mm512_madd_epi16(oddWords(x, signedA), oddWords(y, signedB));
      sum = _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
    }
    _mm512_storeu_si512(c->data[row], sum); /* columns behind the last are 0 + a * 0 */
  }
  return why;
}

const char *multiplySS(const instruction *i) { return multiplyBytes(i, true, true); }
const char *multiplySU(const instruction *i) { return multiplyBytes(i, true, false); }
const char *multiplyUS(const instruction *i) { return multiplyBytes(i, false, true); }
const char *multiplyUU(const instruction *i) { return multiplyBytes(i, false, false); }

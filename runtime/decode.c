/*===- decode.c - weights from fewer bytes ----------------------------------------===*/
#include "runtime/encoding.h"
#include "runtime/format.h"

#include <string.h>

/* What is left of the bytes of a block. */
typedef struct reader {
  const uint8_t *at, *end;
} reader;

static const uint8_t *take(reader *r, size_t size) {
  if ((size_t)(r->end - r->at) < size)
    return NULL;
  const uint8_t *taken = r->at;
  r->at += size;
  return taken;
}

static uint32_t word16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t word32(const uint8_t *p) { return word16(p) | word16(p + 2) << 16; }

/* ---- rANS --------------------------------------------------------------------------------------
 */

/* What the low bits of a state say: the symbol, its frequency, and how far behind the first of the
 * symbol's slots this one is. */
typedef struct slot {
  uint16_t frequency, offset;
  uint8_t symbol;
} slot;

static bool readSlots(reader *r, slot *slots) {
  const uint8_t *present = take(r, 32);
  if (!present)
    return false;
  uint32_t total = 0;
  for (unsigned symbol = 0; symbol < 256; ++symbol) {
    if (!(present[symbol / 8] >> symbol % 8 & 1))
      continue;
    const uint8_t *text = take(r, 2);
    uint32_t frequency = text ? word16(text) + 1 : NNOPT_RANS_TOTAL + 1;
    if (frequency > NNOPT_RANS_TOTAL - total)
      return false;
    for (uint32_t i = 0; i < frequency; ++i)
      slots[total + i] = (slot){(uint16_t)frequency, (uint16_t)i, (uint8_t)symbol};
    total += frequency;
  }
  return total == NNOPT_RANS_TOTAL;
}

static bool readCoded(reader *r, uint8_t *out, size_t count) {
  enum { States = 4 };
  slot slots[NNOPT_RANS_TOTAL];
  if (!readSlots(r, slots))
    return false;
  const uint8_t *head = take(r, 4 + 4 * States);
  if (!head)
    return false;
  uint32_t words = word32(head), states[States];
  for (int i = 0; i < States; ++i)
    states[i] = word32(head + 4 + 4 * i);
  if (words > (size_t)(r->end - r->at) / 2)
    return false;
  const uint8_t *at = r->at, *end = at + 2 * (size_t)words;
  r->at = end;
  size_t i = 0;
  /* While there is a word for each state. */
  for (; i + States <= count && end - at >= 2 * States; i += States)
    for (int j = 0; j < States; ++j) {
      slot s = slots[states[j] % NNOPT_RANS_TOTAL];
      uint32_t state = s.frequency * (states[j] >> NNOPT_RANS_BITS) + s.offset;
      uint32_t more = state << 16 | word16(at);
      bool low = state < 1u << 16;
      states[j] = low ? more : state;
      at += 2 * low;
      out[i + (size_t)j] = s.symbol;
    }
  for (; i < count; ++i) {
    uint32_t *state = &states[i % States];
    slot s = slots[*state % NNOPT_RANS_TOTAL];
    *state = s.frequency * (*state >> NNOPT_RANS_BITS) + s.offset;
    out[i] = s.symbol;
    if (*state >= 1u << 16)
      continue;
    if (at == end)
      return false;
    *state = *state << 16 | word16(at);
    at += 2;
  }
  bool done = at == end;
  for (int j = 0; j < States; ++j)
    done = done && states[j] == 1u << 16;
  return done;
}

/* ---- Blocks ------------------------------------------------------------------------------------
 */

static bool readStream(reader *r, uint8_t *out, size_t count) {
  const uint8_t *method = take(r, 1), *bytes;
  if (!method)
    return false;
  switch (*method) {
  case NNOPT_STREAM_RAW:
    if (!(bytes = take(r, count)))
      return false;
    memcpy(out, bytes, count);
    return true;
  case NNOPT_STREAM_SAME:
    if (!(bytes = take(r, 1)))
      return false;
    memset(out, *bytes, count);
    return true;
  case NNOPT_STREAM_CODED:
    return readCoded(r, out, count);
  }
  return false;
}

/* Puts the elements of `from` where a bit is set. */
static void expand(uint8_t *out, const uint8_t *from, const uint8_t *bits, size_t count,
                   size_t width) {
  memset(out, 0, count * width);
  for (size_t i = 0; i < count; ++i)
    if (bits[i / 8] >> i % 8 & 1) {
      memcpy(out + i * width, from, width);
      from += width;
    }
}

/* Each element becomes itself plus the one before it. */
static void sumUp(uint8_t *out, size_t count, size_t width) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    uint8_t *element = out + i * width;
    uint64_t value = 0;
    for (size_t byte = 0; byte < width; ++byte)
      value |= (uint64_t)element[byte] << (8 * byte);
    sum += value;
    for (size_t byte = 0; byte < width; ++byte)
      element[byte] = (uint8_t)(sum >> (8 * byte));
  }
}

bool nni_decode_block(const nnopt_encoded_block *block, const uint8_t *streams, uint8_t *out,
                      nni_decode_memory *memory) {
  size_t width = block->width, count;
  if ((width != 1 && width != 2 && width != 4 && width != 8) || block->size == 0 ||
      block->size > NNOPT_BLOCK_SIZE || block->size % width ||
      block->steps & ~(uint32_t)(NNOPT_STEP_DELTA | NNOPT_STEP_SPARSE))
    return false;
  reader r = {streams, streams + block->streams};
  size_t elements = count = block->size / width;
  bool sparse = block->steps & NNOPT_STEP_SPARSE;
  if (sparse) {
    if (!readStream(&r, memory->bits, (elements + 7) / 8))
      return false;
    if (elements % 8 && memory->bits[elements / 8] >> elements % 8)
      return false;
    count = 0;
    for (size_t i = 0; i < (elements + 7) / 8; ++i)
      count += (size_t)__builtin_popcount(memory->bits[i]);
  }
  uint8_t *to = sparse ? memory->elements : out;
  for (size_t byte = 0; byte < width; ++byte) {
    if (width == 1) {
      if (!readStream(&r, to, count))
        return false;
      break;
    }
    if (!readStream(&r, memory->plane, count))
      return false;
    for (size_t i = 0; i < count; ++i)
      to[i * width + byte] = memory->plane[i];
  }
  if (r.at != r.end)
    return false;
  if (sparse)
    expand(out, to, memory->bits, elements, width);
  if (block->steps & NNOPT_STEP_DELTA)
    sumUp(out, elements, width);
  return nnopt_checksum(out, block->size) == block->checksum;
}

/*===- encoding.h - weights in fewer bytes --------------------------------------===//
 *
 * Shared by the compiler (writer) and the runtime (reader). In place of its weights an artifact may
 * have blocks, one behind the other,
 *
 *   [ nnopt_encoded_block ] [ streams ]
 *
 * that decode to one part of the weights after the other. A block holds elements of `width` bytes
 * and has been through the steps that its header names, in this order:
 *
 *   NNOPT_STEP_DELTA   each element less the one before it, modulo 2^(8 width)
 *   NNOPT_STEP_SPARSE  elements that are zero are left out; one bit for each, lowest first, is 1
 *                      where there is an element
 *
 * Then there is a stream of these bits, if any, and a stream for each byte of the elements that are
 * left, lowest first. A stream begins with one byte:
 *
 *   NNOPT_STREAM_RAW    the bytes follow
 *   NNOPT_STREAM_SAME   one byte follows, which all are
 *   NNOPT_STREAM_CODED  rANS of order 0 (J. Duda, "Asymmetric numeral systems", 2013): one bit for
 *                       each of the 256 symbols that tells whether it occurs; a frequency less one,
 *                       of 16 bits, for each that does, which sum up to NNOPT_RANS_TOTAL; the number
 *                       of words (32 bits); four states of 32 bits, which decode every fourth symbol
 *                       each; words of 16 bits, which states below 2^16 take in. All states end at
 *                       2^16.
 *
 * Numbers are little endian and unaligned.
 *===----------------------------------------------------------------------===*/
#ifndef NNOPT_RUNTIME_ENCODING_H
#define NNOPT_RUNTIME_ENCODING_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  NNOPT_BLOCK_SIZE = 1 << 18, /* most bytes that a block decodes to */
  /* most bytes of its streams: all raw, and the bits */
  NNOPT_BLOCK_STREAMS = NNOPT_BLOCK_SIZE + NNOPT_BLOCK_SIZE / 8 + 64,
  NNOPT_STEP_DELTA = 1,
  NNOPT_STEP_SPARSE = 2,
  NNOPT_STREAM_RAW = 0,
  NNOPT_STREAM_SAME = 1,
  NNOPT_STREAM_CODED = 2,
  NNOPT_RANS_BITS = 12,
  NNOPT_RANS_TOTAL = 1 << NNOPT_RANS_BITS
};

typedef struct nnopt_encoded_block {
  uint64_t checksum; /* nnopt_checksum of the decoded bytes */
  uint32_t size;     /* how many these are, some; a multiple of the width */
  uint32_t streams;  /* bytes that follow */
  uint32_t width;    /* 1, 2, 4 or 8 */
  uint32_t steps;    /* NNOPT_STEP_* */
} nnopt_encoded_block;

/* ---- decode.c ------------------------------------------------------------------------------- */

/* What decoding a block needs besides its result. */
typedef struct nni_decode_memory {
  uint8_t bits[NNOPT_BLOCK_SIZE / 8], plane[NNOPT_BLOCK_SIZE], elements[NNOPT_BLOCK_SIZE];
} nni_decode_memory;
/* Decodes block->streams bytes into block->size ones. Any bytes may come, but out has that size;
 * false if they are no encoding of anything, or of something else. */
bool nni_decode_block(const nnopt_encoded_block *block, const uint8_t *streams, uint8_t *out,
                      nni_decode_memory *memory);

#ifdef __cplusplus
}
#endif

#endif

/*===- emulate.h - what decoding and executing have in common: see emulate.c -----===*/
#ifndef NNOPT_TEST_EMULATE_H
#define NNOPT_TEST_EMULATE_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(hidden) /* preloaded names must not hide those of the program */

typedef union vector {
  uint8_t u8[64];
  int8_t i8[64];
  uint16_t u16[32];
  int16_t i16[32];
  uint32_t u32[16];
  int32_t i32[16];
  uint64_t u64[8];
} vector;

enum { TileCount = 8 };

/* dst is the old value and becomes the new one; size: 16, 32 or 64 bytes. */
typedef void vector_function(vector *dst, const vector *a, const vector *b, unsigned size);
struct instruction;
/* Returns NULL or what is wrong. */
typedef const char *tile_function(const struct instruction *i);

enum form { Vector, VectorOneSource, TileConfig, TileRelease, TileZero, TileMemory, TileProduct };
enum { NoPrefix, P66, PF3, PF2 };
enum {
  Halves = 1,    /* the result has half the size */
  Suppresses = 2 /* elements that are masked off are not read */
};

typedef struct operation {
  const char *name;
  bool evex;
  uint8_t prefix, opcode, w;
  enum form form;
  /* Of vectors. Bytes of an element that memory can have one of for all (0: not possible), and of
   * one that a mask bit is for. */
  vector_function *vector;
  uint8_t broadcast, masked, flags;
  tile_function *tile;
} operation;

typedef struct instruction {
  const operation *op;
  bool evex, broadcast, zeroing, memory, sib;
  unsigned prefix, w, length_bits, mask;
  unsigned r, x, b;       /* bits that extend numbers of registers */
  unsigned reg, rm, vvvv; /* registers; rm: if it is not memory */
  uint64_t address, stride;
  const uint8_t *end;
} instruction;

/* execute.c */
vector_function dotBf16, convertToBf16, convertTwoToBf16, addDotBytes, addDotBytesSaturated,
    addDotWords, addDotWordsSaturated, permuteBytes, permuteByIndex, permuteTables, multishift;
tile_function loadConfig, storeConfig, releaseTiles, zeroTile, loadTile, storeTile, multiplyBf16,
    multiplySS, multiplySU, multiplyUS, multiplyUU;

#pragma GCC visibility pop
#endif

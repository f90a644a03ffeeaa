/*===- emulate.c - x86-64 instructions that this CPU does not have -----------------===
 *
 * A library for tests, preloaded (LD_PRELOAD) into a process that runs kernels compiled for a newer
 * CPU: instructions that raise SIGILL are decoded here and executed (execute.c), by the definitions
 * in Intel's manual, on the registers that the system saved in the signal's frame. So tests can run
 * AMX (tiles, int8, bf16), AVX512-BF16, AVX512-VNNI, AVX-VNNI and AVX512-VBMI on a CPU with plain
 * AVX-512.
 *
 * A wrong program must not pass: what the manual calls a fault (tiles that are not configured or do
 * not match, an encoding that is not allowed) is reported on stderr, and the process dies of SIGILL
 * as it would without this library; so does anything that is not known here.
 *
 * Limits: the CPU and the system must have AVX-512 F and BW. Segment and address-size prefixes are
 * unknown. Which of several NaNs is the result may differ. Tiles belong to a thread and not to what
 * the system saves of it: a handler of another signal that uses tiles changes those of its thread.
 * A start row other than 0 is refused: only an interrupted load has one. A handler for SIGILL that
 * the process installs itself (Python's faulthandler) takes the place of this one.
 *===----------------------------------------------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "emulate.h"

#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- Registers ------------------------------------------------------------------------------- */

/* Parts of the XSAVE area, numbered as in XSTATE_BV. */
enum { Xmm = 1, YmmHigh = 2, Opmask = 5, ZmmHigh = 6, Zmm16To31 = 7, PartCount = 8 };
enum { NeededParts = 1 << Xmm | 1 << YmmHigh | 1 << Opmask | 1 << ZmmHigh | 1 << Zmm16To31 };
enum { LegacySize = 512, SoftwareBytes = 464, LegacyXmm = 160 };

static struct {
  uint32_t offset, size;
} parts[PartCount]; /* asked once: CPUID takes long in a virtual machine */

/* The registers of the interrupted code. */
typedef struct machine {
  greg_t *general;
  uint8_t *area;
} machine;

/* What the system writes into bytes of the FXSAVE image that the CPU leaves alone. */
typedef struct software_bytes {
  uint32_t magic, extended_size;
  uint64_t features;
  uint32_t size;
} software_bytes;

static bool enter(machine *m, ucontext_t *context) {
  m->general = context->uc_mcontext.gregs;
  m->area = (uint8_t *)context->uc_mcontext.fpregs;
  if (!m->area)
    return false;
  software_bytes bytes;
  memcpy(&bytes, m->area + SoftwareBytes, sizeof bytes);
  if (bytes.magic != FP_XSTATE_MAGIC1 || (bytes.features & NeededParts) != NeededParts)
    return false;
  for (int part = 0; part < PartCount; ++part)
    if ((NeededParts >> part & 1) && parts[part].offset + parts[part].size > bytes.size)
      return false;
  return true;
}

static uint64_t *partsInUse(const machine *m) { return (uint64_t *)(m->area + LegacySize); }

/* A part that is not in use reads as zeros, whatever its bytes are. */
static const uint8_t *readPart(const machine *m, int part) {
  static const uint8_t zeros[1024];
  return *partsInUse(m) >> part & 1 ? m->area + parts[part].offset : zeros;
}

static uint8_t *writePart(machine *m, int part) {
  uint8_t *bytes = m->area + parts[part].offset;
  if (!(*partsInUse(m) >> part & 1))
    memset(bytes, 0, parts[part].size);
  *partsInUse(m) |= 1u << part;
  return bytes;
}

static void readVector(const machine *m, unsigned number, vector *v) {
  if (number >= 16) {
    memcpy(v->u8, readPart(m, Zmm16To31) + (number - 16) * 64, 64);
    return;
  }
  memcpy(v->u8, readPart(m, Xmm) + number * 16, 16);
  memcpy(v->u8 + 16, readPart(m, YmmHigh) + number * 16, 16);
  memcpy(v->u8 + 32, readPart(m, ZmmHigh) + number * 32, 32);
}

static void writeVector(machine *m, unsigned number, const vector *v) {
  if (number >= 16) {
    memcpy(writePart(m, Zmm16To31) + (number - 16) * 64, v->u8, 64);
    return;
  }
  memcpy(writePart(m, Xmm) + number * 16, v->u8, 16);
  memcpy(writePart(m, YmmHigh) + number * 16, v->u8 + 16, 16);
  memcpy(writePart(m, ZmmHigh) + number * 32, v->u8 + 32, 32);
}

/* k0 stands for no mask. */
static uint64_t readMask(const machine *m, unsigned number) {
  uint64_t mask = ~(uint64_t)0;
  if (number)
    memcpy(&mask, readPart(m, Opmask) + number * 8, 8);
  return mask;
}

static uint64_t readGeneral(const machine *m, unsigned number) {
  static const uint8_t places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                     REG_R12, REG_R13, REG_R14, REG_R15};
  return (uint64_t)m->general[places[number]];
}

/* ---- Decoding -------------------------------------------------------------------------------- */

/* clang-format off */
static const operation operations[] = {
  {"VDPBF16PS",      true,  PF3, 0x52, 0, Vector, dotBf16, 4, 4, Suppresses, NULL},
  {"VCVTNEPS2BF16",  true,  PF3, 0x72, 0, VectorOneSource, convertToBf16, 4, 2,
   Halves | Suppresses, NULL},
  {"VCVTNE2PS2BF16", true,  PF2, 0x72, 0, Vector, convertTwoToBf16, 4, 2, 0, NULL},
  {"VPDPBUSD",       true,  P66, 0x50, 0, Vector, addDotBytes, 4, 4, Suppresses, NULL},
  {"VPDPBUSDS",      true,  P66, 0x51, 0, Vector, addDotBytesSaturated, 4, 4, Suppresses, NULL},
  {"VPDPWSSD",       true,  P66, 0x52, 0, Vector, addDotWords, 4, 4, Suppresses, NULL},
  {"VPDPWSSDS",      true,  P66, 0x53, 0, Vector, addDotWordsSaturated, 4, 4, Suppresses, NULL},
  {"VPDPBUSD",       false, P66, 0x50, 0, Vector, addDotBytes, 0, 4, 0, NULL},
  {"VPDPBUSDS",      false, P66, 0x51, 0, Vector, addDotBytesSaturated, 0, 4, 0, NULL},
  {"VPDPWSSD",       false, P66, 0x52, 0, Vector, addDotWords, 0, 4, 0, NULL},
  {"VPDPWSSDS",      false, P66, 0x53, 0, Vector, addDotWordsSaturated, 0, 4, 0, NULL},
  {"VPERMB",         true,  P66, 0x8d, 0, Vector, permuteBytes, 0, 1, 0, NULL},
  {"VPERMI2B",       true,  P66, 0x75, 0, Vector, permuteByIndex, 0, 1, 0, NULL},
  {"VPERMT2B",       true,  P66, 0x7d, 0, Vector, permuteTables, 0, 1, 0, NULL},
  {"VPMULTISHIFTQB", true,  P66, 0x83, 1, Vector, multishift, 8, 1, 0, NULL},
  {"LDTILECFG",   false, NoPrefix, 0x49, 0, TileConfig,  .tile = loadConfig},
  {"STTILECFG",   false, P66,      0x49, 0, TileConfig,  .tile = storeConfig},
  {"TILERELEASE", false, NoPrefix, 0x49, 0, TileRelease, .tile = releaseTiles},
  {"TILEZERO",    false, PF2,      0x49, 0, TileZero,    .tile = zeroTile},
  {"TILELOADD",   false, PF2,      0x4b, 0, TileMemory,  .tile = loadTile},
  {"TILELOADDT1", false, P66,      0x4b, 0, TileMemory,  .tile = loadTile},
  {"TILESTORED",  false, PF3,      0x4b, 0, TileMemory,  .tile = storeTile},
  {"TDPBF16PS",   false, PF3,      0x5c, 0, TileProduct, .tile = multiplyBf16},
  {"TDPBSSD",     false, PF2,      0x5e, 0, TileProduct, .tile = multiplySS},
  {"TDPBSUD",     false, PF3,      0x5e, 0, TileProduct, .tile = multiplySU},
  {"TDPBUSD",     false, P66,      0x5e, 0, TileProduct, .tile = multiplyUS},
  {"TDPBUUD",     false, NoPrefix, 0x5e, 0, TileProduct, .tile = multiplyUU},
};
/* clang-format on */

static unsigned inverted(uint8_t byte, int bit) { return ~byte >> bit & 1; }

/* The prefixes VEX (3 bytes) and EVEX, of opcodes 0F 38; returns what follows. */
static const uint8_t *decodePrefix(instruction *i, const uint8_t *p) {
  i->evex = p[0] == 0x62;
  if ((!i->evex && p[0] != 0xc4) || (p[1] & (i->evex ? 0xf : 0x1f)) != 2)
    return NULL;
  i->r = inverted(p[1], 7);
  i->x = inverted(p[1], 6);
  i->b = inverted(p[1], 5);
  i->w = p[2] >> 7;
  i->vvvv = ~p[2] >> 3 & 15;
  i->prefix = p[2] & 3;
  i->length_bits = p[2] >> 2 & 1;
  if (!i->evex)
    return p + 3;
  if (!(p[2] & 4))
    return NULL;
  i->r |= inverted(p[1], 4) << 1;
  i->vvvv |= inverted(p[3], 3) << 4;
  i->mask = p[3] & 7;
  i->broadcast = p[3] >> 4 & 1;
  i->length_bits = p[3] >> 5 & 3;
  i->zeroing = p[3] >> 7;
  return p + 4;
}

static const operation *findOperation(const instruction *i, uint8_t opcode) {
  for (size_t n = 0; n < sizeof operations / sizeof *operations; ++n) {
    const operation *op = &operations[n];
    bool needsMemory = op->form == TileConfig || op->form == TileMemory;
    bool needsRegister = op->form == TileRelease || op->form == TileZero || op->form == TileProduct;
    if (op->evex == i->evex && op->prefix == i->prefix && op->opcode == opcode && op->w == i->w &&
        !(i->memory ? needsRegister : needsMemory))
      return op;
  }
  return NULL;
}

static unsigned vectorSize(const instruction *i) { return 16u << i->length_bits; }

/* Whether fields that have no use in this instruction are as the manual demands. */
static bool isAllowed(const instruction *i) {
  switch (i->op->form) {
  case VectorOneSource:
    if (i->vvvv)
      return false;
    /* fall through */
  case Vector:
    return i->length_bits <= (i->evex ? 2 : 1) && !(i->zeroing && !i->mask) &&
           !(i->broadcast && !(i->memory && i->op->broadcast));
  case TileConfig:
  case TileRelease:
    return !i->length_bits && !i->vvvv && i->reg == 0 && (i->memory || i->rm == 0);
  case TileZero:
    return !i->length_bits && !i->vvvv && i->reg < TileCount && i->rm == 0;
  case TileMemory:
    return !i->length_bits && !i->vvvv && i->reg < TileCount && i->sib;
  case TileProduct:
    return !i->length_bits && i->reg < TileCount && i->rm < TileCount && i->vvvv < TileCount;
  }
  return false;
}

/* EVEX counts displacements of 8 bits in sizes of the operand. */
static int64_t displacementUnit(const instruction *i) {
  return !i->evex ? 1 : i->broadcast ? i->op->broadcast : vectorSize(i);
}

static void decodeAddress(instruction *i, const machine *m, const uint8_t *p, uint8_t modrm) {
  unsigned mod = modrm >> 6, base = modrm & 7, index = 4;
  i->sib = base == 4;
  if (i->sib) {
    index = (*p >> 3 & 7) | i->x << 3;
    if (index != 4)
      i->stride = readGeneral(m, index) << (*p >> 6);
    base = *p++ & 7;
  }
  bool disp32Only = mod == 0 && base == 5, relative = disp32Only && !i->sib;
  int64_t displacement = 0;
  if (mod == 1) {
    displacement = (int8_t)*p++ * displacementUnit(i);
  } else if (mod == 2 || disp32Only) {
    int32_t value;
    memcpy(&value, p, 4);
    displacement = value;
    p += 4;
  }
  i->end = p;
  i->address = (uint64_t)displacement;
  if (relative)
    i->address += (uint64_t)p;
  else if (!disp32Only)
    i->address += readGeneral(m, base | i->b << 3);
  if (i->op->form != TileMemory) /* there it is the distance of rows */
    i->address += i->stride;
}

static bool decode(instruction *i, const machine *m) {
  const uint8_t *p = decodePrefix(i, (const uint8_t *)m->general[REG_RIP]);
  if (!p)
    return false;
  uint8_t opcode = p[0], modrm = p[1];
  i->memory = modrm >> 6 != 3;
  i->reg = (modrm >> 3 & 7) | i->r << 3;
  i->rm = (modrm & 7) | i->b << 3 | (i->evex ? i->x << 4 : 0);
  i->end = p + 2;
  i->op = findOperation(i, opcode);
  if (!i->op)
    return false;
  if (i->memory)
    decodeAddress(i, m, p + 2, modrm);
  return isAllowed(i);
}

/* ---- Execution ------------------------------------------------------------------------------- */

static void readMemory(const instruction *i, uint64_t mask, vector *v) {
  unsigned size = vectorSize(i), element = i->op->broadcast;
  const uint8_t *from = (const uint8_t *)i->address;
  if (i->broadcast && (mask || !(i->op->flags & Suppresses))) {
    for (unsigned at = 0; at < size; at += element)
      memcpy(v->u8 + at, from, element);
  } else if (i->op->flags & Suppresses) {
    for (unsigned at = 0; at < size; at += element)
      if (mask >> at / element & 1)
        memcpy(v->u8 + at, from + at, element);
  } else {
    memcpy(v->u8, from, size);
  }
}

static void executeVector(const instruction *i, machine *m) {
  const operation *op = i->op;
  unsigned size = vectorSize(i), resultSize = op->flags & Halves ? size / 2 : size;
  uint64_t mask = readMask(m, i->mask) & (~(uint64_t)0 >> (64 - resultSize / op->masked));
  vector old, a, b = {{0}}, value, result = {{0}};
  readVector(m, i->reg, &old);
  readVector(m, i->vvvv, &a);
  if (i->memory)
    readMemory(i, mask, &b);
  else
    readVector(m, i->rm, &b);
  value = old;
  op->vector(&value, &a, &b, size);
  for (unsigned at = 0; at < resultSize; at += op->masked) {
    bool selected = mask >> at / op->masked & 1;
    if (selected || !i->zeroing)
      memcpy(result.u8 + at, (selected ? &value : &old)->u8 + at, op->masked);
  }
  writeVector(m, i->reg, &result);
}

/* ---- The signal ------------------------------------------------------------------------------ */

static struct sigaction previous;
static atomic_ullong emulated;

/* How many instructions this process has emulated. */
unsigned long long nnopt_emulated_instructions(void);
unsigned long long nnopt_emulated_instructions(void) { return atomic_load(&emulated); }

static char *append(char *out, const char *text) {
  size_t size = strlen(text);
  memcpy(out, text, size);
  return out + size;
}

/* One line: what is wrong and the bytes of the instruction, as far as its page reaches. */
static void report(const char *name, const char *why, const uint8_t *code) {
  char line[256], *out = append(line, "emulate_x86: ");
  out = append(append(append(out, name), ": "), why);
  out = append(out, ":");
  for (int n = 0; n < 15 && (n == 0 || (uintptr_t)(code + n) % 4096); ++n) {
    *out++ = ' ';
    *out++ = "0123456789abcdef"[code[n] >> 4];
    *out++ = "0123456789abcdef"[code[n] & 15];
  }
  *out++ = '\n';
  if (write(STDERR_FILENO, line, (size_t)(out - line)) < 0)
    return; /* nobody to tell */
}

/* Executes the next instruction and moves on; otherwise returns why not. */
static const char *step(machine *m, instruction *i) {
  *i = (instruction){0};
  if (!decode(i, m))
    return "unknown instruction";
  const char *why = i->op->tile ? i->op->tile(i) : NULL;
  if (why)
    return why;
  if (i->op->vector)
    executeVector(i, m);
  m->general[REG_RIP] = (greg_t)i->end;
  atomic_fetch_add(&emulated, 1);
  return NULL;
}

static void onIllegalInstruction(int number, siginfo_t *info, void *context) {
  if (info->si_code <= 0) { /* sent by a process */
    sigaction(SIGILL, &previous, NULL);
    raise(number);
    return;
  }
  /* As the manual has it, whatever the program's is: nearest even, denormals are 0. */
  _mm_setcsr(0x9fc0);
  machine m;
  instruction i = {0};
  const char *why = "no AVX-512 state in the signal's frame";
  if (enter(&m, context)) {
    why = step(&m, &i);
    if (!why) { /* others often follow: a signal takes longer than they do */
      while (!step(&m, &i))
        ;
      return; /* to one for the CPU, or that faults: that is another signal */
    }
  }
  const greg_t *general = ((const ucontext_t *)context)->uc_mcontext.gregs;
  report(i.op ? i.op->name : "SIGILL", why, (const uint8_t *)general[REG_RIP]);
  sigaction(SIGILL, &previous, NULL); /* returning runs the instruction once more */
}

__attribute__((constructor)) static void install(void) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw"))
    return;
  parts[Xmm].offset = LegacyXmm;
  parts[Xmm].size = 256;
  for (unsigned part = YmmHigh; part < PartCount; ++part) {
    uint32_t size, offset, c, d;
    if (__get_cpuid_count(0xd, part, &size, &offset, &c, &d)) {
      parts[part].offset = offset;
      parts[part].size = size;
    }
  }
  struct sigaction action = {.sa_sigaction = onIllegalInstruction, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  sigaction(SIGILL, &action, &previous);
}

/*===- format.h - the artifact format and the kernel ABI -----------------------===//
 *
 * Shared by the compiler (writer) and the runtime (reader); plain C, fixed-width fields, little
 * endian. An artifact is
 *
 *   [ ELF shared object: kernels + metadata blob + descriptor symbol ]
 *   [ zero padding to a page boundary ]
 *   [ packed weights, as they are or encoded (encoding.h) ]
 *   [ nnopt_trailer, the last bytes of the file ]
 *
 * The runtime reads and checks the trailer, the ELF header and the checksum of the ELF part before
 * anything is mapped or executed; weights are mapped read-only by offset. Encoded ones are decoded
 * into memory.
 *
 * The metadata blob is one flat byte array: nnopt_meta_header, then the tables it points to. All
 * offsets are from the start of the blob. Strings are NUL-terminated UTF-8 in the string pool; a
 * string reference is an offset into the pool (0 is the empty string). The loader checks every
 * index and offset once at open, so that running needs no checks.
 *
 * A program is a list of instructions over numbered *values* (i64 expressions evaluated once per
 * distinct input shape) and numbered *buffers* (memory). Blocks are ranges of instructions; block 0
 * is the main program, the others are bodies of control flow.
 *===----------------------------------------------------------------------===*/
#ifndef NNOPT_RUNTIME_FORMAT_H
#define NNOPT_RUNTIME_FORMAT_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NNOPT_FORMAT_VERSION 5u
#define NNOPT_TRAILER_MAGIC "NNOPTEND"
#define NNOPT_META_MAGIC "NNOPTMET"
#define NNOPT_DESCRIPTOR_SYMBOL "nnopt_descriptor"
#define NNOPT_NONE 0xffffffffu
#define NNOPT_PAGE 4096u

/* A kernel runs tasks [begin, end) of a launch. buffers: one pointer for each buffer operand;
 * dims: one i64 for each value operand; thread: 0 .. num_threads-1, distinct among the calls of
 * one launch that run at the same time (selects the per-thread scratch area). Kernels never fail,
 * allocate, or keep state other than in buffers of kind NNOPT_B_KEPT. */
typedef void (*nnopt_kernel_fn)(void *const *buffers, const int64_t *dims, int64_t begin, int64_t end,
                                int64_t thread);

struct nnopt_device_program;
struct nnopt_version;

/* The exported symbol of an artifact. */
typedef struct nnopt_descriptor {
  uint32_t format_version;
  uint32_t kernel_count;
  const nnopt_kernel_fn *kernels;
  const uint8_t *meta;
  uint64_t meta_size;
  const struct nnopt_device_program *cuda; /* NULL: code for the CPU only */
  const struct nnopt_version *versions;    /* NULL: this is the only program */
} nnopt_descriptor;

/* One of several programs of an artifact, over the same weights. They stand in an array, most
 * demanding CPU first, and for each CPU programs for some sizes before the one for all, which ends
 * its group; an entry without descriptor ends the array. */
typedef struct nnopt_version {
  const nnopt_descriptor *descriptor;
  uint32_t cpu_features; /* NNOPT_CPU_* that its kernels use */
  uint32_t general;      /* 1: takes all sizes that the model takes */
} nnopt_version;

/* Code for one generation of NVIDIA GPUs. */
enum {
  NNOPT_IMAGE_PTX,  /* text, NUL-terminated; for `arch` and everything newer */
  NNOPT_IMAGE_CUBIN, /* machine code; for `arch` and later ones of its major number */
  NNOPT_IMAGE_PTX_EXACT /* text; for `arch` alone (sm_90a) */
};
typedef struct nnopt_device_image {
  uint32_t kind;
  uint32_t arch; /* compute capability: 10 * major + minor */
  const void *data;
  uint64_t size;
} nnopt_device_image;

/* The model for a GPU: a program of its own, over the same weights. Its launches are of the kernels
 * of the image (by name), or, where nnopt_launch_meta.threads is 0, of CPU kernels in `program`. */
typedef struct nnopt_device_program {
  const nnopt_descriptor *program; /* its `cuda` points back here */
  const nnopt_device_image *images;
  uint32_t image_count;
  uint32_t kernel_count; /* of the images: device launches number them */
  const char *const *kernel_names;
} nnopt_device_program;

/* Instruction-set features that kernels use; checked against the CPU at open. */
enum {
  NNOPT_CPU_X86_64 = 1u << 0,
  NNOPT_CPU_AVX2_FMA = 1u << 1,     /* x86-64-v3 */
  NNOPT_CPU_AVX512 = 1u << 2,       /* x86-64-v4: F BW CD DQ VL */
  NNOPT_CPU_AVX512_VNNI = 1u << 3,
  NNOPT_CPU_AVX512_BF16 = 1u << 4,
  NNOPT_CPU_AVX_VNNI = 1u << 5,
  NNOPT_CPU_AMX = 1u << 6,
  NNOPT_CPU_AVX512_FP16 = 1u << 7,
  NNOPT_CPU_X86_64_V2 = 1u << 8,    /* SSE4.2, POPCNT, CMPXCHG16B */
  NNOPT_CPU_AVX512_VBMI = 1u << 9,
  NNOPT_CPU_AARCH64 = 1u << 16,
  NNOPT_CPU_ARM_DOTPROD = 1u << 17
};

typedef struct nnopt_trailer {
  uint64_t elf_size;       /* bytes of the ELF part, from offset 0 */
  uint64_t elf_checksum;   /* nnopt_checksum of these bytes */
  uint64_t weights_offset; /* multiple of NNOPT_PAGE */
  uint64_t weights_size;   /* decoded */
  uint64_t file_size;      /* of the whole file, trailer included */
  uint32_t format_version;
  uint32_t cpu_features;   /* NNOPT_CPU_* that must be present: what all versions need */
  uint64_t encoded_size;   /* bytes of the file that decode to the weights; 0: they are there as they are */
  char magic[8];           /* NNOPT_TRAILER_MAGIC */
} nnopt_trailer;           /* 64 bytes */

/* FNV-1a over 64-bit little-endian words (the last one zero-padded). */
static inline uint64_t nnopt_checksum(const void *data, uint64_t size) {
  const uint8_t *p = (const uint8_t *)data;
  uint64_t h = 1469598103934665603ull;
  for (uint64_t i = 0; i < size; i += 8) {
    uint64_t w = 0;
    memcpy(&w, p + i, size - i < 8 ? size - i : 8);
    h = (h ^ w) * 1099511628211ull;
  }
  return h;
}

typedef struct nnopt_table {
  uint32_t offset; /* from the start of the blob, multiple of 8 */
  uint32_t count;  /* entries */
} nnopt_table;

typedef struct nnopt_meta_header {
  char magic[8]; /* NNOPT_META_MAGIC */
  uint32_t format_version;
  uint32_t flags;
  uint64_t weights_size;     /* bytes of packed weights that the program expects */
  nnopt_table strings;       /* bytes */
  nnopt_table symbols;       /* nnopt_symbol */
  nnopt_table values;        /* nnopt_value_expr */
  nnopt_table tensors;       /* nnopt_tensor_meta */
  nnopt_table buffers;       /* nnopt_buffer_meta */
  nnopt_table operands;      /* nnopt_operand */
  nnopt_table launches;      /* nnopt_launch_meta */
  nnopt_table instructions;  /* nnopt_instruction */
  nnopt_table blocks;        /* nnopt_block */
  nnopt_table indices;       /* uint32_t pool that tables refer to */
  nnopt_table inputs;        /* uint32_t: tensor of each model input */
  nnopt_table outputs;       /* uint32_t: tensor of each model output */
  nnopt_table properties;    /* nnopt_property: key/value strings (producer, target, model hash, ...) */
  nnopt_table host_calls;    /* nnopt_host_call */
  nnopt_table states;        /* nnopt_state_meta */
} nnopt_meta_header;

/* An output that the program can append to where the input lies: present is past and new elements
 * behind it along `axis`. Without a bound state both are compact; with one they are the same memory,
 * laid out for the state's capacity along the axis (NNOPT_V_STATE). */
typedef struct nnopt_state_meta {
  uint32_t input, output, axis, reserved;
} nnopt_state_meta;

/* A named size. low <= value <= high (high < 0: unbounded); values of other sizes are refused. */
typedef struct nnopt_symbol {
  uint32_t name;
  uint32_t data_dependent; /* 1: set by an NNOPT_I_READ_SYMBOL instruction, not by an input */
  int64_t low, high;
} nnopt_symbol;

/* Value i is computed from values before it. */
enum {
  NNOPT_V_CONST,        /* imm */
  NNOPT_V_SYMBOL,       /* symbol a */
  NNOPT_V_THREADS,      /* threads of the session */
  NNOPT_V_ADD, NNOPT_V_SUB, NNOPT_V_MUL,
  NNOPT_V_FLOORDIV, NNOPT_V_MOD, /* floor semantics; division by 0 gives 0 */
  NNOPT_V_MIN, NNOPT_V_MAX,
  NNOPT_V_BROADCAST,    /* a == 1 ? b : a */
  NNOPT_V_STATE,        /* value a, or, if state number b is bound in place: imm ? its capacity : 0 */
  NNOPT_V_COUNT_
};
typedef struct nnopt_value_expr {
  uint32_t op, a, b, pad;
  int64_t imm;
} nnopt_value_expr;

/* Element types, numbered as onnx.TensorProto.DataType. */
typedef struct nnopt_tensor_meta {
  uint32_t name;
  uint32_t dtype;
  uint32_t rank;
  uint32_t dims;   /* first of `rank` entries in indices: value numbers */
  uint32_t buffer;
  uint32_t dim_names; /* first of `rank` entries in indices: symbol number, or NNOPT_NONE for a fixed size */
  uint32_t kind;      /* nnopt_kind: all but tensors of numbers are in host buffers; sequences, optionals and
                         maps have rank 0 and the element type of the tensors inside */
  uint32_t type;      /* text: "seq(tensor(float))" */
} nnopt_tensor_meta;

enum {
  NNOPT_B_ARENA,   /* in the session's arena while live: [first, last] in instruction numbers */
  NNOPT_B_WEIGHT,  /* in the mapped weights at `offset` */
  NNOPT_B_INPUT,   /* the caller's input number `index` */
  NNOPT_B_OUTPUT,  /* the caller's output number `index` */
  NNOPT_B_VIEW,    /* inside buffer `index`, at the byte offset given by value `size` */
  NNOPT_B_SCRATCH, /* in the arena, num_threads areas of `size` bytes each (kernels get the first) */
  NNOPT_B_STATE,   /* like ARENA, but allocated separately as its size is known only while running
                      (depends on a data-dependent symbol) */
  NNOPT_B_HOST,    /* no memory: holds a reference to an nnopt_value (or none yet) */
  NNOPT_B_KEPT     /* constant size; zero in a new session, and kept from run to run */
};
typedef struct nnopt_buffer_meta {
  uint32_t kind;
  uint32_t size;   /* value: bytes (VIEW: byte offset inside its parent) */
  uint32_t index;
  uint32_t align;
  uint32_t first, last;
  uint64_t offset;
} nnopt_buffer_meta;

/* A launch passes `buffer_count` buffer operands, then `dim_count` value operands. */
typedef struct nnopt_operand {
  uint32_t number; /* buffer or value */
} nnopt_operand;

/* A call of an operation of the host library. Operands are host buffers; results are tensors (with
 * host buffers), whose kind, element type and rank are checked after the call, or NNOPT_NONE. */
typedef struct nnopt_host_call {
  uint32_t operation;               /* name in the library */
  uint32_t nodes;                   /* ONNX node names, comma separated */
  uint32_t inputs, input_count;     /* first and number in operands: buffers */
  uint32_t outputs, output_count;   /* first and number in operands: tensors */
  uint32_t attributes;              /* WEIGHT buffer: see nnopt_attribute in nnopt/ops.h; or NNOPT_NONE */
  uint32_t reserved;
} nnopt_host_call;

typedef struct nnopt_launch_meta {
  uint32_t kernel;
  uint32_t buffers, buffer_count; /* first and number in operands */
  uint32_t dims, dim_count;       /* first and number in operands */
  uint32_t tasks;                 /* value: number of tasks; 0 tasks: nothing runs */
  uint32_t grain;                 /* smallest number of tasks worth a thread */
  uint32_t name;                  /* kernel symbol */
  uint32_t nodes;                 /* ONNX node names, comma separated */
  uint32_t op;                    /* operator name */
  uint32_t flops;                 /* value, or NNOPT_NONE */
  uint32_t bytes;                 /* value: bytes read and written, or NNOPT_NONE */
  /* Launches of GPU kernels: `tasks` blocks of `threads` threads with `shared` bytes of shared memory
   * each. Parameters are the buffers, then the values. */
  uint32_t threads;               /* 0: a CPU kernel */
  uint32_t shared;
  uint32_t written;               /* first of (buffer_count + 31) / 32 words in indices: which buffers it writes */
  uint32_t reserved;
} nnopt_launch_meta;

enum {
  NNOPT_I_LAUNCH,      /* a: launch */
  NNOPT_I_IF,          /* a: buffer with one bool; b: block if true; c: block if false */
  NNOPT_I_LOOP,        /* a: loop record in indices: [iteration i64 buffer (written by the runtime),
                          condition bool buffer, trip count i64 buffer or NONE, body block].
                          Runs body while iteration < trip count and condition holds; the body
                          itself updates condition and carried buffers (by copies). */
  NNOPT_I_COPY,        /* a: destination buffer, b: source buffer, c: value: bytes */
  NNOPT_I_READ_SYMBOL, /* a: symbol, b: i64 buffer with its value; values are re-evaluated */
  NNOPT_I_HOST_CALL,   /* a: host call */
  NNOPT_I_HOST_COPY,   /* a: destination, b: source: host buffers */
  NNOPT_I_BOX,         /* a: host buffer that becomes a copy of b: a tensor with memory */
  NNOPT_I_UNBOX,       /* a: a tensor with memory, whose content becomes that of b: a host buffer;
                          c: string: nodes */
  NNOPT_I_READ_DIM,    /* a: symbol that becomes dimension c of b: a host buffer */
  NNOPT_I_COUNT_
};
typedef struct nnopt_instruction {
  uint32_t op, a, b, c;
} nnopt_instruction;
typedef struct nnopt_block {
  uint32_t first, count; /* instructions */
} nnopt_block;

typedef struct nnopt_property {
  uint32_t key, value;
} nnopt_property;

/* Planner shared by compiler and runtime (planner.c): places `n` buffers with sizes and lifetimes
 * in one arena. offset[i] is set for every buffer with size > 0; no two buffers whose lifetimes
 * [first, last] intersect overlap. Returns the arena's size in bytes and, in *lower_bound, the
 * largest sum of sizes live at one instruction. `work` holds 4 * n entries of int64_t. Greedy by
 * size, by lifetime x size and by first use; the best order wins. */
int64_t nnopt_plan_memory(uint32_t n, const int64_t *size, const uint32_t *first, const uint32_t *last,
                          const uint32_t *align, int64_t *offset, int64_t *work, int64_t *lower_bound);

#ifdef __cplusplus
}
#endif
#endif

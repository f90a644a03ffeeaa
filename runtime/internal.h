/*===- internal.h - what the runtime's files share ------------------------------===*/
#ifndef NNOPT_RUNTIME_INTERNAL_H
#define NNOPT_RUNTIME_INTERNAL_H

#include "nnopt/runtime.h"
#include "runtime/encoding.h"
#include "runtime/format.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- error.c: errors, logging, memory ------------------------------------------------------- */

/* Fills in *error (may be NULL) and returns code. */
int nni_fail(nnopt_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void nni_log(const nnopt_options *options, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Copies *from (any struct_size) over the defaults; base, if given, are the defaults. */
int nni_options(nnopt_options *to, const nnopt_options *from, const nnopt_options *base,
                nnopt_error *error);
/* Big memory, through the caller's allocator if there is one; NULL when out of memory. */
void *nni_allocate(const nnopt_options *options, size_t size, size_t alignment);
void nni_deallocate(const nnopt_options *options, void *memory, size_t size);
/* What pointers to nothing point to: kernels never get NULL. */
extern char nni_empty[64];
/* calloc of count * size bytes, at least 1. */
void *nni_calloc(size_t count, size_t size);

/* A block of big memory that only grows. */
typedef struct nni_memory {
  char *data;
  size_t size;
} nni_memory;
/* Makes room for `size` bytes, aligned to `alignment`; keeps the first `keep` bytes. False when out
 * of memory (with keep > 0 the block is unchanged then). */
bool nni_reserve(const nnopt_options *options, nni_memory *memory, size_t size, size_t alignment,
                 size_t keep);
void nni_release(const nnopt_options *options, nni_memory *memory);

/* ---- cpu.c: the machine --------------------------------------------------------------------- */

/* NNOPT_CPU_* that this machine and its operating system offer. */
uint32_t nni_cpu_features(void);
/* Names of features, into a buffer; returns it. */
const char *nni_cpu_names(uint32_t features, char *text, size_t size);
/* Fails, with what is missing, where this CPU has not all features or the system refuses one that has
 * to be requested (AMX). `where`: the file, for the message. */
int nni_cpu_require(const char *where, uint32_t features, nnopt_error *error);
int nni_default_threads(void);

/* ---- threads.c: the pool -------------------------------------------------------------------- */

typedef struct nni_pool nni_pool;
nni_pool *nni_pool_create(const nnopt_options *options, int threads, nnopt_error *error);
void nni_pool_destroy(nni_pool *pool);
/* Starts the workers again if the process was forked since they were started. */
int nni_pool_check(nni_pool *pool, nnopt_error *error);
/* Runs kernel over [0, tasks) in `parts` (>= 2, <= threads) contiguous parts, one a thread. */
void nni_pool_run(nni_pool *pool, nnopt_kernel_fn kernel, void *const *buffers, const int64_t *dims,
                  int64_t tasks, int parts);

/* ---- artifact.c: files ---------------------------------------------------------------------- */

/* What model.c gets from a file. */
typedef struct nni_artifact {
  const nnopt_descriptor *descriptor;
  void *library; /* registry entry; NULL for static models */
  void *map;     /* mapping that holds the weights, or NULL */
  size_t map_size;
  nni_memory copy; /* the weights, if copied */
  const uint8_t *weights;
  uint64_t weights_size;
} nni_artifact;
int nni_artifact_open(nni_artifact *artifact, const char *path, const nnopt_options *options,
                      nnopt_error *error);
/* Maps a weights file of --emit=obj. */
int nni_weights_open(nni_artifact *artifact, const char *path, const nnopt_options *options,
                     nnopt_error *error);
void nni_artifact_close(nni_artifact *artifact, const nnopt_options *options);

/* ---- meta.c: the metadata, checked ---------------------------------------------------------- */

typedef struct nni_meta {
  const nnopt_meta_header *header;
  const char *strings;
  const nnopt_symbol *symbols;
  const nnopt_value_expr *values;
  const nnopt_tensor_meta *tensors;
  const nnopt_buffer_meta *buffers;
  const nnopt_operand *operands;
  const nnopt_launch_meta *launches;
  const nnopt_instruction *instructions;
  const nnopt_block *blocks;
  const uint32_t *indices, *inputs, *outputs;
  const nnopt_property *properties;
  const nnopt_host_call *host_calls;
  const nnopt_state_meta *states;
  uint32_t symbol_count, value_count, tensor_count, buffer_count, operand_count, launch_count;
  uint32_t instruction_count, block_count, input_count, output_count, property_count, host_call_count, state_count;

  /* Derived. */
  uint8_t *value_dynamic;  /* 1: depends on a data-dependent symbol */
  uint8_t *symbol_bound;   /* 1: an input has this dimension */
  uint32_t *root;          /* the buffer that a chain of views ends in */
  uint32_t *order;         /* all buffers, parents before views */
  uint8_t *buffer_dynamic; /* 1: place or size changes when a data-dependent symbol does */
  uint8_t *buffer_io;      /* 1: inside an input or output */
  uint8_t *launch_dynamic; /* 1: has a dynamic buffer or value */
  uint8_t *launch_io;      /* 1: has a buffer inside an input or output */
  /* Buffers placed in the arena, and what the planner needs to know of them. */
  uint32_t plan_count;
  uint32_t *plan_buffer, *plan_first, *plan_last, *plan_align;
  uint32_t arena_align;
} nni_meta;

/* Sets up *meta from a descriptor and checks every index in it. weights_size is what the file has.
 */
int nni_meta_open(nni_meta *meta, const nnopt_descriptor *descriptor, uint64_t weights_size,
                  const char *where, nnopt_error *error);
void nni_meta_close(nni_meta *meta);

/* ---- values.c: sizes for given symbols ------------------------------------------------------ */

/* Evaluates all values (or the data-dependent ones only). capacities: of each state of the program
 * that is bound in place, 0 for others; NULL: none is. */
int nni_evaluate(const nni_meta *meta, const int64_t *symbols, const int64_t *capacities, int threads, bool dynamic_only,
                 int64_t *values, nnopt_error *error);
/* Size in bytes of a buffer that is not a view: for scratch, of all threads' areas. */
int64_t nni_buffer_size(const nni_meta *meta, const int64_t *values, int threads, uint32_t buffer);
/* Sizes of all planned buffers into size[]; refuses negative and absurd ones. */
int nni_plan_sizes(const nni_meta *meta, const int64_t *values, int threads, int64_t *size,
                   int64_t *naive, nnopt_error *error);
/* Checks a symbol's value against its bounds. */
int nni_check_symbol(const nni_meta *meta, uint32_t symbol, int64_t value, nnopt_error *error);

/* ---- host.c: host values, see also value.c -------------------------------------------------- */

/* The prepared host calls of a model. */
typedef struct nni_host nni_host;
int nni_host_open(nnopt_model *model, const char *where, nnopt_error *error);
void nni_host_close(nni_host *host);
/* Memory of a session for host values. */
int nni_host_session(nnopt_session *s, nnopt_error *error);
/* Puts the inputs into their buffers before a run. */
void nni_host_before(nnopt_session *s);
/* Keeps the outputs of a run (or drops them, with `clear`) and empties all host buffers. */
int nni_host_after(nnopt_session *s, bool clear, nnopt_error *error);
int nni_host_instruction(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error);
/* Whether a value fits an input. */
int nni_check_value(const nnopt_tensor_info *info, const nnopt_value *value, nnopt_error *error);

/* ---- cuda_*.c: GPUs -------------------------------------------------------------------------- */

/* Of a model that was opened for a GPU: driver, kernels, weights. */
typedef struct nni_device nni_device;
/* Of its sessions: stream, staging memory, graph. */
typedef struct nni_device_session nni_device_session;
/* Fills in model->device from the model's descriptor, which is that of the GPU's program. */
int nni_device_open(nnopt_model *model, const char *where, nnopt_error *error);
void nni_device_close(nni_device *device);
char *nni_device_weight(const nni_device *device, uint32_t buffer);
int nni_device_session_open(nnopt_session *s, nnopt_error *error);
void nni_device_session_close(nnopt_session *s);
/* Pointers or sizes of launches have changed. */
void nni_device_changed(nnopt_session *s);
struct nni_launch;
int nni_device_launch(nnopt_session *s, const struct nni_launch *launch, nnopt_error *error);
int nni_device_host_launch(nnopt_session *s, const struct nni_launch *launch, nnopt_error *error);
/* Nanoseconds of GPU time from `begin` to `end`, which waits: what fails is a kernel's fault, of these nodes. */
void nni_device_time_begin(nnopt_session *s);
int nni_device_time_end(nnopt_session *s, const char *kernel, const char *nodes, int64_t *ns, nnopt_error *error);
/* Runs the instructions through `program`, or what was recorded of them. */
int nni_device_execute(nnopt_session *s, int (*program)(nnopt_session *, nnopt_error *), nnopt_error *error);
/* Waits for everything, unless the stream is the caller's. */
int nni_device_finish(nnopt_session *s, nnopt_error *error);

/* Memory of a session, which is the GPU's if it runs there. As nni_reserve and nni_release: */
bool nni_session_reserve(nnopt_session *s, nni_memory *memory, size_t size, size_t alignment, size_t keep);
void nni_session_release(nnopt_session *s, nni_memory *memory);
int nni_session_clear(nnopt_session *s, char *memory, size_t bytes, nnopt_error *error);
int nni_session_copy(nnopt_session *s, char *to, const char *from, size_t bytes, nnopt_error *error);
/* Copies `rows` rows of `width` bytes, which lie `pitch` bytes apart. */
int nni_session_copy_rows(nnopt_session *s, char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width,
                          size_t rows, nnopt_error *error);
/* Between memory of the session and of the host; they wait. */
int nni_session_read(nnopt_session *s, void *to, const char *from, size_t bytes, nnopt_error *error);
int nni_session_write(nnopt_session *s, char *to, const void *from, size_t bytes, nnopt_error *error);
/* As nni_gather and nni_scatter. */
int nni_session_gather(nnopt_session *s, char *to, const DLTensor *tensor, int width, nnopt_error *error);
int nni_session_scatter(nnopt_session *s, const DLTensor *tensor, const char *from, int width, nnopt_error *error);

struct nnopt_model {
  atomic_int references;
  nnopt_options options;
  nni_artifact artifact;
  nni_meta meta;
  nnopt_tensor_info *inputs, *outputs;
  nnopt_symbol_info *symbols;
  int64_t *info_dims;
  const char **info_names;
  nni_host *host; /* NULL: no host calls */
  nni_device *device; /* NULL: runs on the CPU */
  const nnopt_version *specialized; /* programs for some sizes, of the CPU that was chosen */
  uint32_t specialized_count;
  nnopt_model **versions; /* made of them: they share this one's artifact */
};

/* ---- versions.c ----------------------------------------------------------------------------- */

/* Makes the first program that this CPU can run the descriptor of the artifact. */
int nni_choose_cpu(nnopt_model *model, const char *where, nnopt_error *error);
/* The session for inputs of these shapes: `s`, or one of a program that was made for them. */
int nni_version_for(nnopt_session *s, DLTensor *const *inputs, size_t count, nnopt_session **chosen,
                    nnopt_error *error);
/* session.c: `parent`, if given, lends its threads. */
int nni_session_open(nnopt_model *model, const nnopt_options *options, nnopt_session *parent, nnopt_session **session,
                     nnopt_error *error);

/* ---- tensor.c ------------------------------------------------------------------------------- */

/* DLPack's type and the width in bytes of an ONNX type; false for unknown ones. Strings have no
 * width (0). */
bool nni_dtype(uint32_t onnx_type, DLDataType *dtype, int *width);
const char *nni_dtype_name(uint32_t onnx_type);
/* Bytes of a compact tensor; -1 on overflow. */
int64_t nni_bytes(int rank, const int64_t *dims, int width);
bool nni_is_compact(const DLTensor *tensor);
/* Copies between a tensor of any strides and compact memory of the same shape. */
void nni_gather(char *compact, const DLTensor *tensor, int width);
void nni_scatter(const DLTensor *tensor, const char *compact, int width);
/* "[2,3,4]" of dims, into a buffer; returns it. */
const char *nni_shape_text(int rank, const int64_t *dims, char *text, size_t size);
/* Checks device (`gpu`: may be a GPU), type and rank of a tensor against what a model's input or output is. */
int nni_check_tensor(const DLTensor *tensor, const nnopt_tensor_info *info, const char *what, bool gpu,
                     bool need_data, nnopt_error *error);

/* ---- session.c, plan.c, executor.c, state.c ------------------------------------------------- */

typedef struct nni_launch {
  nnopt_kernel_fn kernel;
  void **buffers;
  int64_t *dims;
  int64_t tasks;
  int32_t parts;
  uint32_t number;
  void **parameters; /* of GPU kernels: pointers to buffers and dims */
} nni_launch;

/* One memory plan; it serves all shapes whose buffers fit in the sizes that it was made for. */
typedef struct nni_plan {
  int64_t *size, *offset;
  double total; /* of the sizes */
  int64_t bytes;
  bool valid;
} nni_plan;
enum { NNI_PLANS = 8 };

/* One input or output of a session. */
typedef struct nni_port {
  char *pointer;   /* what kernels see in this run */
  char *placed;    /* what the pointers of the launches were made for */
  nni_memory temp; /* compact copy, or an output that the caller did not give memory for */
  const DLTensor
      *target;      /* outputs: the caller's tensor, where it has to be copied to after the run */
  const char *held; /* outputs: where the content is after the run, if it is ours */
  int32_t state;    /* number of the bound state, or -1 */
  const nnopt_tensor_meta *tensor;
  const nnopt_tensor_info *info;
  int width;
  uint32_t align;  /* that kernels need */
  nnopt_value *value; /* of one that is no tensor of numbers: what was set, the last run's result */
  bool has_buffer;    /* the program refers to it */
  bool direct;     /* outputs: the program writes into the caller's memory */
} nni_port;

typedef struct nni_state {
  uint32_t input, output;
  int32_t axis; /* that grows, or -1 */
  int64_t capacity;
  nni_memory memory[2];
  int current; /* the one that the next run reads */
  bool in_place; /* memory[0] is past and present; memory[1] is for compact copies of them */
  bool has_shape;
  int64_t shape[NNOPT_MAX_RANK]; /* of the past, in the next run */
} nni_state;

struct nnopt_session {
  nnopt_model *model;
  nnopt_options options;
  int threads;
  nni_pool *pool;
  bool lent; /* the pool is another session's */
  nnopt_session **versions; /* for model->versions, made when used; */
  nnopt_session *last;      /* the one of the last run */
  atomic_flag busy;
  nni_device_session *gpu; /* NULL: runs on the CPU */

  int64_t *symbols,
      *next_symbols; /* sizes that everything below is for; those of the current call */
  uint8_t *symbol_known;
  int64_t *values;
  int64_t *capacities; /* of the program's states */
  bool prepared;
  nni_plan plans[NNI_PLANS];
  int plan_count;
  int64_t *plan_size, *plan_work;
  int64_t naive;

  nni_memory arena;
  nni_memory *dynamic; /* of each buffer that is allocated by itself */
  char **pointers;     /* of each buffer */
  int64_t *extent;     /* bytes from there to the end of its root */
  nni_launch *launches;
  void **slots;       /* buffer operands of all launches */
  int64_t *slot_dims; /* value operands of all launches */

  nnopt_value **host;          /* content of each host buffer */
  nnopt_value **host_operands; /* of the call that runs */
  nni_port *inputs, *outputs;
  nni_state *states;
  uint32_t state_count;
  bool ran; /* the last run succeeded: outputs may be taken */

  nnopt_profile_fn profiler;
  void *profile_context;
  uint64_t run;
};

/* plan.c: makes the session ready for s->next_symbols. */
int nni_prepare(nnopt_session *s, nnopt_error *error);
/* plan.c: sets the pointers that depend on s->inputs[].pointer and s->outputs[].pointer. */
void nni_place_ports(nnopt_session *s);
/* plan.c: recomputes what depends on data-dependent symbols. */
int nni_refresh_dynamic(nnopt_session *s, nnopt_error *error);
/* executor.c: runs the program. */
int64_t nni_now(void); /* nanoseconds */
/* Sets a data-dependent symbol, and what depends on it. */
int nni_set_symbol(nnopt_session *s, uint32_t symbol, int64_t value, nnopt_error *error);
int nni_execute(nnopt_session *s, nnopt_error *error);
/* Tells the profiler of a launch, and of a copy that `nodes` need. */
void nni_profile_launch(nnopt_session *s, const nni_launch *l, int64_t start, int64_t duration);
void nni_profile_copy(nnopt_session *s, const char *kernel, const char *nodes, int64_t start, int64_t duration, int64_t bytes);
/* state.c: gives the states' memory to the ports before a run; exchanges past and present after. */
int nni_states_before(nnopt_session *s, nnopt_error *error);
void nni_states_after(nnopt_session *s);
/* Makes *content, which an output holds, compact if it is a state in place. */
int nni_state_compact(nnopt_session *s, const nni_port *port, const char **content, nnopt_error *error);
void nni_states_destroy(nnopt_session *s);
/* shapes.c: computes s->next_symbols from the inputs and prepares the session if they are new. */
int nni_bind_inputs(nnopt_session *s, DLTensor *const *inputs, size_t count, bool need_data,
                    nnopt_error *error);
/* shapes.c: shape of an input or output for the session's values; -1 for data-dependent dimensions
 * unless `actual`. */
void nni_port_dims(const nnopt_session *s, const nni_port *port, bool actual, int64_t *dims);
/* session.c: one thread at a time. */
int nni_enter(nnopt_session *s, nnopt_error *error);
void nni_leave(nnopt_session *s);

#endif

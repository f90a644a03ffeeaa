/*===- runtime.h - running compiled models: the C interface ---------------------===//
 *
 * Part of the nnopt project, under the Apache License v2.0 with LLVM Exceptions.
 *
 *   nnopt_model *model;
 *   nnopt_session *session;
 *   nnopt_error error;
 *   if (nnopt_model_open("resnet50.so", NULL, &model, &error)) die(error.message);
 *   if (nnopt_session_create(model, NULL, &session, &error)) die(error.message);
 *   if (nnopt_session_run(session, inputs, 1, outputs, 1, &error)) die(error.message);
 *   nnopt_session_destroy(session);
 *   nnopt_model_close(model);
 *
 * Results. Fallible functions return an nnopt_code; 0 is success. `error` may be NULL; otherwise it
 * is filled in on failure and left alone on success. Out-parameters are written on success only.
 *
 * Ownership. The caller owns every tensor that it passes, and the memory behind it; the library
 * keeps no pointer to inputs or outputs after nnopt_session_run returns. Models, sessions and
 * tensors from nnopt_session_take_output belong to the caller, who destroys them. Strings and info
 * records belong to the model. A session keeps its model alive: they may be closed in any order.
 *
 * Threads. A model is immutable: any number of threads may use it. A session is used by one thread
 * at a time (use from two at once is refused); sessions are independent of each other. Each session
 * has its own worker threads, which have all signals blocked.
 *
 * Fork. Models stay usable in a forked child. A session that was idle during fork() may be used in
 * the child: its worker threads are started again at its next run. A session that was running in
 * another thread during fork() must not be used or destroyed in the child.
 *
 * Compatibility. NNOPT_ABI_VERSION changes when a declaration here changes incompatibly. Structs
 * that the caller fills in start with their size, so that they can grow at their end; structs that
 * the library returns by pointer may grow at their end. An artifact names the format version that
 * it was written with; a runtime refuses versions that it does not know.
 *===----------------------------------------------------------------------===*/
#ifndef NNOPT_RUNTIME_H
#define NNOPT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* DLPack 1.1, declared here because it is small and distributions lag behind. The guard is that of
 * dlpack.h, so that either header may come first. */
#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_
#define DLPACK_MAJOR_VERSION 1
#define DLPACK_MINOR_VERSION 1
#define DLPACK_FLAG_BITMASK_READ_ONLY (1UL << 0UL)
#define DLPACK_FLAG_BITMASK_IS_COPIED (1UL << 1UL)
#define DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED (1UL << 2UL)
#ifdef __cplusplus
extern "C" {
#endif
typedef struct {
  uint32_t major;
  uint32_t minor;
} DLPackVersion;
#ifdef __cplusplus
typedef enum : int32_t {
#else
typedef enum {
#endif
  kDLCPU = 1,
  kDLCUDA = 2,
  kDLCUDAHost = 3,
  kDLOpenCL = 4,
  kDLVulkan = 7,
  kDLMetal = 8,
  kDLVPI = 9,
  kDLROCM = 10,
  kDLROCMHost = 11,
  kDLExtDev = 12,
  kDLCUDAManaged = 13,
  kDLOneAPI = 14,
  kDLWebGPU = 15,
  kDLHexagon = 16,
  kDLMAIA = 17
} DLDeviceType;
typedef struct {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;
typedef enum {
  kDLInt = 0U,
  kDLUInt = 1U,
  kDLFloat = 2U,
  kDLOpaqueHandle = 3U,
  kDLBfloat = 4U,
  kDLComplex = 5U,
  kDLBool = 6U,
  kDLFloat8_e3m4 = 7U,
  kDLFloat8_e4m3 = 8U,
  kDLFloat8_e4m3b11fnuz = 9U,
  kDLFloat8_e4m3fn = 10U,
  kDLFloat8_e4m3fnuz = 11U,
  kDLFloat8_e5m2 = 12U,
  kDLFloat8_e5m2fnuz = 13U,
  kDLFloat8_e8m0fnu = 14U,
  kDLFloat6_e2m3fn = 15U,
  kDLFloat6_e3m2fn = 16U,
  kDLFloat4_e2m1fn = 17U
} DLDataTypeCode;
typedef struct {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;
  int64_t *strides; /* in elements; NULL: compact, row-major */
  uint64_t byte_offset;
} DLTensor;
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;
#define NNOPT_DECLARE_DLPACK_VERSIONED
#ifdef __cplusplus
}
#endif
#elif !defined(DLPACK_MAJOR_VERSION) || DLPACK_MAJOR_VERSION < 1
/* An older dlpack.h came first: it lacks the versioned tensor. */
#define NNOPT_DECLARE_DLPACK_VERSIONED
#ifndef DLPACK_MAJOR_VERSION
typedef struct {
  uint32_t major;
  uint32_t minor;
} DLPackVersion;
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef NNOPT_DECLARE_DLPACK_VERSIONED
#undef NNOPT_DECLARE_DLPACK_VERSIONED
typedef struct DLManagedTensorVersioned {
  DLPackVersion version;
  void *manager_ctx;
  void (*deleter)(struct DLManagedTensorVersioned *self);
  uint64_t flags;
  DLTensor dl_tensor;
} DLManagedTensorVersioned;
#endif

#define NNOPT_API __attribute__((visibility("default")))

/* Of this header. nnopt_abi_version() is that of the library that is linked. */
#define NNOPT_ABI_VERSION 1
#define NNOPT_MAX_RANK 16

/* The numbers are those of the exit codes of the tools. */
typedef enum nnopt_code {
  NNOPT_OK = 0,
  NNOPT_FAILED = 1,  /* out of memory, input/output, internal */
  NNOPT_INVALID = 3, /* artifact truncated, foreign or for another CPU; arguments that do not fit */
  NNOPT_UNSUPPORTED = 4 /* valid, but this library cannot do it */
} nnopt_code;

typedef struct nnopt_error {
  int32_t code;       /* nnopt_code */
  char message[1024]; /* one line; says what, where and what to do */
} nnopt_error;

typedef struct nnopt_model nnopt_model;
typedef struct nnopt_session nnopt_session;
/* A string tensor, sequence, optional or map; see "Host values" below. */
typedef struct nnopt_value nnopt_value;
struct nnopt_descriptor;
struct nnopt_ops;

enum { NNOPT_LOG_WARNING = 1, NNOPT_LOG_INFO = 2 };

/* Flags of nnopt_options. */
enum {
  /* Read the weights into memory of this process (huge pages where the system has them) rather than
   * map the file: takes longer to open and is not shared between processes. */
  NNOPT_COPY_WEIGHTS = 1u << 0
};

/* Initialize with nnopt_options_init, then set what should differ. The same struct serves models
 * (allocator, log, flags) and sessions (threads, allocator, log); sessions inherit everything from
 * the model's options when given none. Callbacks must stay valid as long as the object. */
typedef struct nnopt_options {
  size_t struct_size;
  /* Threads of a session, the calling one included. 0: as many as affinity and cgroup quota allow.
   */
  int32_t num_threads;
  /* Microseconds that workers wait actively for more work before they sleep; < 0: default (50). */
  int32_t spin_us;
  uint32_t flags;
  uint32_t reserved;
  /* If set, used in place of own worker threads: calls task(argument, i) exactly once for each i in
   * [0, parts), in any order, in parallel where possible, and returns when all have returned. parts
   * is at most num_threads. */
  void (*parallel_for)(void *context, int32_t parts, void (*task)(void *argument, int32_t part),
                       void *argument);
  void *parallel_context;
  /* If set, used for arenas, states, temporaries, copied weights and tensors of take_output (not
   * for small bookkeeping). `alignment` is a power of two. Returning NULL makes the call fail with
   * NNOPT_FAILED. Set both or none. */
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*deallocate)(void *context, void *memory, size_t size);
  void *allocator_context;
  /* If set, receives warnings and information; default: warnings go to stderr. */
  void (*log)(void *context, int32_t level, const char *message);
  void *log_context;
  /* Models with strings, sequences and the like need the library of host operations,
   * libnnopt_ops.so. If set, its path; else $NNOPT_OPS_LIBRARY, then the folder of this library (or
   * of the program that it is linked into) and the lib folder beside that, then the system's path. */
  const char *ops_library;
  /* Of models: where they run. kDLCPU (0 too), or kDLCUDA for one that was compiled with --gpu; then
   * tensors may be on that GPU (contiguous, kDLCUDA) or on the CPU. */
  int32_t device_type;
  int32_t device_id; /* number of the GPU */
  /* Of sessions on a GPU: the CUstream that work goes to, in which case runs whose tensors are all on
   * the GPU return before it is done. NULL: one of the session's own, and runs wait. */
  void *stream;
} nnopt_options;

NNOPT_API int32_t nnopt_abi_version(void);
NNOPT_API void nnopt_options_init(nnopt_options *options);
/* Threads that num_threads = 0 stands for here and now. */
NNOPT_API int32_t nnopt_default_threads(void);
/* Instruction sets of this machine that artifacts may use, as text ("x86-64-v4 avx512-vnni ...").
 */
NNOPT_API const char *nnopt_host_cpu(void);

/* ---- Host values ---------------------------------------------------------------------------
 *
 * Tensors, string tensors, sequences, optionals and maps as objects with a count of references. They
 * belong to no model or session, and never change once they are shared; so several threads may use
 * one. Each function that gives a value in **value gives a reference, which the caller releases. */

typedef enum nnopt_kind {
  NNOPT_KIND_TENSOR = 0,  /* numbers */
  NNOPT_KIND_STRINGS = 1, /* tensor of byte strings (UTF-8 by ONNX's convention) */
  NNOPT_KIND_SEQUENCE = 2,
  NNOPT_KIND_OPTIONAL = 3, /* no element, or one */
  NNOPT_KIND_MAP = 4       /* two elements: a vector of keys (int64 or strings), a vector of values */
} nnopt_kind;

/* A tensor of that ONNX element type. `from` gives rank, shape (compact or strided) and elements;
 * its dtype is not looked at; where its data is NULL the elements are zeros. */
NNOPT_API int nnopt_value_tensor(int32_t onnx_type, const DLTensor *from, nnopt_value **value,
                                 nnopt_error *error);
/* A tensor of strings, copied. `lengths` may be NULL: the strings then end in a NUL. */
NNOPT_API int nnopt_value_strings(int32_t rank, const int64_t *shape, const char *const *strings,
                                  const size_t *lengths, nnopt_value **value, nnopt_error *error);
/* The elements are retained; all must be of one kind and element type. `onnx_type` is that of the
 * (tensors in the) elements, for sequences that are empty. */
NNOPT_API int nnopt_value_sequence(int32_t onnx_type, nnopt_value *const *elements, size_t count,
                                   nnopt_value **value, nnopt_error *error);
/* `element` is retained; NULL makes an optional without value. `onnx_type` as above. */
NNOPT_API int nnopt_value_optional(int32_t onnx_type, nnopt_value *element, nnopt_value **value,
                                   nnopt_error *error);
/* Keys and values are vectors of one length; both are retained. */
NNOPT_API int nnopt_value_map(nnopt_value *keys, nnopt_value *values, nnopt_value **value,
                              nnopt_error *error);

NNOPT_API nnopt_value *nnopt_value_retain(nnopt_value *value);
NNOPT_API void nnopt_value_release(nnopt_value *value); /* NULL is allowed */

NNOPT_API int32_t nnopt_value_kind(const nnopt_value *value);
/* Element type of a tensor; of the tensors inside for others. */
NNOPT_API int32_t nnopt_value_type(const nnopt_value *value);
/* Shape of a tensor (of strings); *rank is set to 0 for others. */
NNOPT_API const int64_t *nnopt_value_shape(const nnopt_value *value, int32_t *rank);
/* Number of elements: of a tensor the product of its shape. */
NNOPT_API size_t nnopt_value_count(const nnopt_value *value);
/* Elements of a tensor of numbers, row-major, aligned to 64 bytes; NULL for others. They may be
 * written until the value is first given to somebody else. */
NNOPT_API void *nnopt_value_data(nnopt_value *value);
/* String `index` of a tensor of strings: `*length` bytes, then a NUL. */
NNOPT_API const char *nnopt_value_string(const nnopt_value *value, size_t index, size_t *length);
/* Element `index` of a sequence, optional or map, which keeps its reference; NULL when out of
 * range. */
NNOPT_API nnopt_value *nnopt_value_element(const nnopt_value *value, size_t index);

/* Uses host operations that are linked into the program (see nnopt/ops.h) rather than
 * libnnopt_ops.so, for all models that are opened from now on. */
NNOPT_API void nnopt_use_ops(const struct nnopt_ops *ops);

/* ---- Models ------------------------------------------------------------------------------- */

/* Opens an artifact. The file is checked (length, trailer, headers, checksum, CPU, version) by
 * reading it before anything of it is mapped or executed. The file must not be modified in place
 * while the model is open; replacing it by rename is fine. `options` may be NULL. */
NNOPT_API int nnopt_model_open(const char *path, const nnopt_options *options, nnopt_model **model,
                               nnopt_error *error);

/* Opens a model that is linked into the program (nnopt-compile --emit=obj). `weights_path` is the
 * weights file written beside the object; it may be NULL for a model without weights. */
NNOPT_API int nnopt_model_open_static(const struct nnopt_descriptor *descriptor,
                                      const char *weights_path, const nnopt_options *options,
                                      nnopt_model **model, nnopt_error *error);

/* Drops the caller's reference; NULL is allowed. */
NNOPT_API void nnopt_model_close(nnopt_model *model);

typedef struct nnopt_tensor_info {
  const char *name;
  DLDataType dtype;  /* sub-byte types: one element a byte (DLPack's "padded") */
  int32_t onnx_type; /* onnx.TensorProto.DataType */
  int32_t rank;
  const int64_t *dims;          /* -1: not fixed */
  const char *const *dim_names; /* name of the symbolic dimension, or NULL */
  int32_t kind;                 /* nnopt_kind; NNOPT_KIND_TENSOR travels as DLTensor, others as nnopt_value */
  const char *type;             /* "tensor(float)", "seq(tensor(string))", "optional(tensor(int64))" */
} nnopt_tensor_info;

typedef struct nnopt_symbol_info {
  const char *name;
  int64_t low, high;      /* accepted values; high < 0: unbounded */
  int32_t data_dependent; /* known only while running */
} nnopt_symbol_info;

NNOPT_API size_t nnopt_model_input_count(const nnopt_model *model);
NNOPT_API size_t nnopt_model_output_count(const nnopt_model *model);
NNOPT_API size_t nnopt_model_symbol_count(const nnopt_model *model);
NNOPT_API size_t nnopt_model_property_count(const nnopt_model *model);
/* NULL where the index is out of range. */
NNOPT_API const nnopt_tensor_info *nnopt_model_input(const nnopt_model *model, size_t index);
NNOPT_API const nnopt_tensor_info *nnopt_model_output(const nnopt_model *model, size_t index);
NNOPT_API const nnopt_symbol_info *nnopt_model_symbol(const nnopt_model *model, size_t index);
/* Key (returned) and value of a property; NULL where the index is out of range. */
NNOPT_API const char *nnopt_model_property_at(const nnopt_model *model, size_t index,
                                              const char **value);
/* Value of a property such as "producer" or "target"; NULL if there is none of that name. */
NNOPT_API const char *nnopt_model_property(const nnopt_model *model, const char *key);

typedef struct nnopt_dim {
  const char *name;
  int64_t value;
} nnopt_dim;

typedef struct nnopt_memory {
  int64_t arena_bytes;       /* intermediates and scratch */
  int64_t lower_bound_bytes; /* most bytes that are alive at one moment: no plan can need less */
  int64_t naive_bytes;       /* intermediates and scratch without reuse of memory */
  int64_t weight_bytes;
  int64_t other_bytes; /* sessions only: states, temporaries, data-dependent buffers */
  int64_t reserved[3];
} nnopt_memory;

/* Memory that a session would need with these sizes of symbolic dimensions (those not named count
 * as their lower bound, at least 1). num_threads as in nnopt_options. Sizes that depend on data are
 * not included. */
NNOPT_API int nnopt_model_memory(const nnopt_model *model, const nnopt_dim *dims, size_t dim_count,
                                 int32_t num_threads, nnopt_memory *memory, nnopt_error *error);

/* ---- Sessions ------------------------------------------------------------------------------- */

NNOPT_API int nnopt_session_create(nnopt_model *model, const nnopt_options *options,
                                   nnopt_session **session, nnopt_error *error);
/* NULL is allowed. Must not be called while the session runs. */
NNOPT_API void nnopt_session_destroy(nnopt_session *session);

/* Runs the model. Inputs are in graph order, on the CPU; any strides and any alignment are
 * accepted, byte_offset is honoured; compact, element-aligned inputs are used in place. An input is
 * NULL only where a state is bound to it. Outputs have the shapes that nnopt_session_output_shapes
 * gives; NULL means that an output is not wanted or will be taken with nnopt_session_take_output.
 * Input memory must not overlap output memory. After a failed run the contents of outputs are
 * undefined. A run with the same shapes as the one before allocates nothing. */
NNOPT_API int nnopt_session_run(nnopt_session *session, DLTensor *const *inputs, size_t input_count,
                                DLTensor *const *outputs, size_t output_count, nnopt_error *error);

typedef struct nnopt_shape {
  int32_t rank;
  int64_t dims[NNOPT_MAX_RANK]; /* -1: depends on data */
} nnopt_shape;

/* Shapes of all outputs for inputs of these types and shapes (their data is not looked at). Also
 * prepares the session for them: memory is planned and allocated here. */
NNOPT_API int nnopt_session_output_shapes(nnopt_session *session, DLTensor *const *inputs,
                                          size_t input_count, nnopt_shape *shapes,
                                          size_t output_count, nnopt_error *error);

/* Gives a copy of an output of the last run that was passed as NULL: the way to get outputs whose
 * shape depends on data. The caller calls (*tensor)->deleter(*tensor); the tensor may outlive
 * session and model. */
NNOPT_API int nnopt_session_take_output(nnopt_session *session, size_t index,
                                        DLManagedTensorVersioned **tensor, nnopt_error *error);

/* Feeds output `present` back as input `past` of the next run (a KV cache, a recurrent state): the
 * session keeps both, and runs pass NULL for them. Where past and present differ in one dimension
 * the state grows along it, from empty up to `capacity`; memory for `capacity` is set aside at the
 * next run, and steps allocate nothing. The model writes the whole of `present`: two blocks of
 * memory change roles after each run. Where the shapes are equal, the state starts as zeros and
 * `capacity` is ignored. */
NNOPT_API int nnopt_session_bind_state(nnopt_session *session, const char *past,
                                       const char *present, int64_t capacity, nnopt_error *error);
/* Sets the content of a bound state (copied). `past` is the name it was bound by. */
NNOPT_API int nnopt_session_set_state(nnopt_session *session, const char *past,
                                      const DLTensor *value, nnopt_error *error);
/* Makes all bound states empty (or zeros) again. */
NNOPT_API void nnopt_session_reset_states(nnopt_session *session);

/* Sets an input that is no tensor of numbers (retained until it is set again; NULL takes it back).
 * nnopt_session_run and nnopt_session_output_shapes take NULL for such an input. */
NNOPT_API int nnopt_session_set_input(nnopt_session *session, size_t index, nnopt_value *value,
                                      nnopt_error *error);
/* Gives an output of the last run as a value: the way to get outputs that are no tensors of numbers
 * (nnopt_session_run takes NULL for those). */
NNOPT_API int nnopt_session_take_value(nnopt_session *session, size_t index, nnopt_value **value,
                                       nnopt_error *error);

/* Threads that the session uses. */
NNOPT_API int32_t nnopt_session_threads(const nnopt_session *session);
/* Memory that the session holds now; lower_bound_bytes and naive_bytes are those of the shapes that
 * it is prepared for. */
NNOPT_API void nnopt_session_memory(const nnopt_session *session, nnopt_memory *memory);

/* ---- Profiling ------------------------------------------------------------------------------ */

typedef struct nnopt_profile_record {
  uint64_t run;       /* counts the runs of the session */
  uint32_t launch;    /* number of the launch in the program */
  int32_t threads;    /* threads that took part */
  const char *kernel; /* symbol name of the kernel; "copy" for plain copies */
  const char *op;     /* operator */
  const char *nodes;  /* ONNX nodes that it computes, comma separated */
  int64_t start_ns;   /* monotonic clock */
  int64_t duration_ns;
  int64_t flops; /* -1: unknown */
  int64_t bytes; /* read and written; -1: unknown */
  int64_t tasks;
} nnopt_profile_record;

/* Called after each launch, in the thread that runs the session. The record is valid during the
 * call; its strings as long as the model. NULL switches profiling off. */
typedef void (*nnopt_profile_fn)(void *context, const nnopt_profile_record *record);
NNOPT_API void nnopt_session_set_profiler(nnopt_session *session, nnopt_profile_fn callback,
                                          void *context);

/* What the GPU that a model was opened for can do at most, by its clocks: 10^9 operations per second of f32 (a
 * multiply-add is two), and 10^9 bytes per second from its memory. */
NNOPT_API int nnopt_model_device_bounds(const nnopt_model *model, double *gflops, double *gbytes,
                                        nnopt_error *error);

#ifdef __cplusplus
}
#endif
#endif

/*===- cuda.c - running a model's program on an NVIDIA GPU ----------------------===
 *
 * The driver is opened when a model is, with dlopen: nothing here links with CUDA. A model for a GPU is its
 * second program (nnopt_device_program); sessions plan and place it as ever, with pointers into device memory.
 * Launches go to the session's stream in order, and a run whose pointers are those of the last one is replayed
 * as a CUDA graph.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The driver ----------------------------------------------------------------------------- */

typedef void *handle; /* CUcontext, CUmodule, CUstream, ... */
typedef unsigned long long address;

/* CUDA_MEMCPY2D, of which we use device memory only */
enum { MEMORY_DEVICE = 2 };
struct end {
  size_t x, y;
  unsigned type;
  const void *host;
  address device;
  handle array;
  size_t pitch;
};
struct rows {
  struct end from, to;
  size_t width, height;
};

/* name in the library, return type of all is CUresult */
#define DRIVER(X)                                                                                  \
  X(Init, "cuInit", (unsigned))                                                                    \
  X(GetErrorString, "cuGetErrorString", (int, const char **))                                      \
  X(DeviceGetCount, "cuDeviceGetCount", (int *))                                                   \
  X(DeviceGet, "cuDeviceGet", (int *, int))                                                        \
  X(DeviceGetAttribute, "cuDeviceGetAttribute", (int *, int, int))                                 \
  X(ContextRetain, "cuDevicePrimaryCtxRetain", (handle *, int))                                    \
  X(ContextRelease, "cuDevicePrimaryCtxRelease_v2", (int))                                         \
  X(ContextPush, "cuCtxPushCurrent_v2", (handle))                                                  \
  X(ContextPop, "cuCtxPopCurrent_v2", (handle *))                                                  \
  X(ModuleLoad, "cuModuleLoadData", (handle *, const void *))                                      \
  X(ModuleUnload, "cuModuleUnload", (handle))                                                      \
  X(ModuleFunction, "cuModuleGetFunction", (handle *, handle, const char *))                       \
  X(FunctionAttribute, "cuFuncSetAttribute", (handle, int, int))                                   \
  X(Allocate, "cuMemAlloc_v2", (address *, size_t))                                                \
  X(Free, "cuMemFree_v2", (address))                                                               \
  X(AllocatePinned, "cuMemAllocHost_v2", (void **, size_t))                                        \
  X(FreePinned, "cuMemFreeHost", (void *))                                                         \
  X(Upload, "cuMemcpyHtoDAsync_v2", (address, const void *, size_t, handle))                       \
  X(Download, "cuMemcpyDtoHAsync_v2", (void *, address, size_t, handle))                           \
  X(Copy, "cuMemcpyDtoDAsync_v2", (address, address, size_t, handle))                              \
  X(CopyRows, "cuMemcpy2DAsync_v2", (const struct rows *, handle))                                 \
  X(Fill, "cuMemsetD8Async", (address, unsigned char, size_t, handle))                             \
  X(StreamCreate, "cuStreamCreate", (handle *, unsigned))                                          \
  X(StreamDestroy, "cuStreamDestroy_v2", (handle))                                                 \
  X(StreamWait, "cuStreamSynchronize", (handle))                                                   \
  X(CaptureBegin, "cuStreamBeginCapture_v2", (handle, int))                                        \
  X(CaptureEnd, "cuStreamEndCapture", (handle, handle *))                                          \
  X(GraphInstantiate, "cuGraphInstantiateWithFlags", (handle *, handle, unsigned long long))       \
  X(GraphLaunch, "cuGraphLaunch", (handle, handle))                                                \
  X(GraphDestroy, "cuGraphDestroy", (handle))                                                      \
  X(GraphExecDestroy, "cuGraphExecDestroy", (handle))                                              \
  X(EventCreate, "cuEventCreate", (handle *, unsigned))                                            \
  X(EventDestroy, "cuEventDestroy_v2", (handle))                                                   \
  X(EventRecord, "cuEventRecord", (handle, handle))                                                \
  X(EventWait, "cuEventSynchronize", (handle))                                                     \
  X(EventTime, "cuEventElapsedTime", (float *, handle, handle))                                    \
  X(Launch, "cuLaunchKernel",                                                                      \
    (handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, handle, void **, void **))

struct nni_device {
  void *library;
#define X(name, symbol, parameters) int(*name) parameters;
  DRIVER(X)
#undef X
  int ordinal;
  handle context, module;
  handle *functions; /* of each device kernel */
  address weights;
  uint64_t *offsets; /* of each buffer that is a weight, in `weights` */
};

/* A recorded run. */
enum { GRAPHS = 8 };
struct graph {
  handle exec; /* CUgraphExec, or NULL */
  char *key;   /* see graphKey */
  uint64_t last_use;
};

struct nni_device_session {
  handle stream;
  bool own;             /* we made the stream */
  char *staging;        /* pinned */
  size_t staging_bytes;
  void **parameters;    /* of all launches: pointers to slots */
  nni_memory mirror;    /* host copies for launches of CPU kernels */
  handle events[2];
  bool graphable;       /* nothing but launches of kernels and copies */
  int same_runs;        /* runs since pointers or sizes changed */
  struct graph graphs[GRAPHS], *graph; /* recorded runs; the one for the pointers and sizes of now, or NULL */
  uint64_t runs;
};

/* What a run depends on: the place of each buffer, and all sizes. */
static size_t graphKey(const nnopt_session *s, char *key) {
  const nni_meta *m = &s->model->meta;
  size_t pointers = m->buffer_count * sizeof *s->pointers, values = m->value_count * sizeof *s->values;
  if (key) {
    memcpy(key, s->pointers, pointers);
    memcpy(key + pointers, s->values, values);
  }
  return pointers + values;
}

static bool isGraphOf(const nnopt_session *s, const struct graph *graph) {
  const nni_meta *m = &s->model->meta;
  size_t pointers = m->buffer_count * sizeof *s->pointers;
  return graph->exec && !memcmp(graph->key, s->pointers, pointers) &&
         !memcmp(graph->key + pointers, s->values, m->value_count * sizeof *s->values);
}

static int fail(const nni_device *d, int result, const char *what, nnopt_error *error) {
  const char *text = NULL;
  if (d->GetErrorString)
    d->GetErrorString(result, &text);
  /* CUDA_ERROR_OUT_OF_MEMORY */
  return nni_fail(error, NNOPT_FAILED, "CUDA: %s: %s%s", what, text ? text : "unknown error",
                  result == 2 ? "; use a smaller batch or free GPU memory" : "");
}

static int failAt(const nni_device *d, int result, const char *kernel, const char *nodes, nnopt_error *error) {
  char text[600];
  snprintf(text, sizeof text, "kernel %s of node %s", kernel, nodes);
  return fail(d, result, text, error);
}

static int openDriver(nni_device *d, nnopt_error *error) {
  d->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!d->library)
    return nni_fail(error, NNOPT_UNSUPPORTED,
                    "no NVIDIA driver on this machine (%s); run on the CPU instead", dlerror());
  static const struct {
    const char *symbol;
    size_t place;
  } functions[] = {
#define X(name, symbol, parameters) {symbol, offsetof(nni_device, name)},
      DRIVER(X)
#undef X
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i) {
    void **place = (void **)((char *)d + functions[i].place);
    if (!(*place = dlsym(d->library, functions[i].symbol)))
      return nni_fail(error, NNOPT_UNSUPPORTED, "the NVIDIA driver is too old: it lacks %s; version 520 is needed",
                      functions[i].symbol);
  }
  int result = d->Init(0), count = 0;
  if (!result)
    result = d->DeviceGetCount(&count);
  if (result || !count) {
    const char *text = NULL;
    d->GetErrorString(result, &text);
    return nni_fail(error, NNOPT_UNSUPPORTED, "no usable NVIDIA GPU on this machine (%s); run on the CPU instead",
                    result && text ? text : "none found");
  }
  return NNOPT_OK;
}

static void enter(const nni_device *d) { d->ContextPush(d->context); }
static void leave(const nni_device *d) {
  handle old;
  d->ContextPop(&old);
}

/* ---- Models --------------------------------------------------------------------------------- */

/* The image that suits the GPU best: machine code of its own major number before PTX. */
static const nnopt_device_image *chooseImage(const nnopt_device_program *p, int arch, int attempt) {
  const nnopt_device_image *best = NULL;
  for (uint32_t i = 0; i < p->image_count; ++i) {
    const nnopt_device_image *image = &p->images[i];
    bool cubin = image->kind == NNOPT_IMAGE_CUBIN;
    if ((int)image->arch > arch || (cubin && ((int)image->arch / 10 != arch / 10 || attempt > 0)))
      continue;
    if (!best || cubin > (best->kind == NNOPT_IMAGE_CUBIN) ||
        (cubin == (best->kind == NNOPT_IMAGE_CUBIN) && image->arch > best->arch))
      best = image;
  }
  return best;
}

static int loadKernels(nni_device *d, const nni_meta *m, const nnopt_device_program *p, const char *where,
                       nnopt_error *error) {
  int major = 0, minor = 0, limit = 0;
  d->DeviceGetAttribute(&major, 75, d->ordinal); /* COMPUTE_CAPABILITY_MAJOR, _MINOR */
  d->DeviceGetAttribute(&minor, 76, d->ordinal);
  d->DeviceGetAttribute(&limit, 97, d->ordinal); /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */
  int arch = 10 * major + minor, result = 1;
  const nnopt_device_image *image = NULL;
  for (int attempt = 0; result && attempt < 2; ++attempt) {
    image = chooseImage(p, arch, attempt);
    if (!image)
      return nni_fail(error, NNOPT_UNSUPPORTED,
                      "%s: has no code for this GPU (sm_%d); compile again with --gpu=sm_%d", where, arch, arch);
    result = d->ModuleLoad(&d->module, image->data);
  }
  if (result)
    return fail(d, result, "loading the kernels", error);
  d->functions = nni_calloc(p->kernel_count, sizeof *d->functions);
  if (!d->functions)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  for (uint32_t i = 0; i < p->kernel_count; ++i)
    if ((result = d->ModuleFunction(&d->functions[i], d->module, p->kernel_names[i])))
      return fail(d, result, p->kernel_names[i], error);
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    const nnopt_launch_meta *l = &m->launches[i];
    if (!l->threads || l->shared <= 48 << 10)
      continue;
    if ((int)l->shared > limit)
      return nni_fail(error, NNOPT_UNSUPPORTED, "%s: kernel %s needs %u bytes of shared memory, the GPU has %d", where,
                      m->strings + l->name, l->shared, limit);
    /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
    if ((result = d->FunctionAttribute(d->functions[l->kernel], 8, (int)l->shared)))
      return fail(d, result, m->strings + l->name, error);
  }
  return NNOPT_OK;
}

/* Only what launches of GPU kernels refer to: the file has weights in the CPU's layouts too. */
static int uploadWeights(nni_device *d, const nni_meta *m, const uint8_t *weights, nnopt_error *error) {
  d->offsets = nni_calloc(m->buffer_count, sizeof *d->offsets);
  if (!d->offsets)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  uint64_t total = 0;
  for (uint32_t i = 0; i < m->buffer_count; ++i)
    if (m->buffers[i].kind == NNOPT_B_WEIGHT) {
      d->offsets[i] = total;
      total += ((uint64_t)m->values[m->buffers[i].size].imm + 255) / 256 * 256;
    }
  int result = total ? d->Allocate(&d->weights, total) : 0;
  for (uint32_t i = 0; !result && i < m->buffer_count; ++i) {
    size_t bytes = (size_t)m->values[m->buffers[i].size].imm;
    if (m->buffers[i].kind == NNOPT_B_WEIGHT && bytes)
      result = d->Upload(d->weights + d->offsets[i], weights + m->buffers[i].offset, bytes, NULL);
  }
  if (!result)
    result = d->StreamWait(NULL);
  return result ? fail(d, result, "uploading the weights", error) : NNOPT_OK;
}

int nni_device_open(nnopt_model *model, const char *where, nnopt_error *error) {
  const nnopt_device_program *p = model->artifact.descriptor->cuda;
  nni_device *d = model->device = nni_calloc(1, sizeof *d);
  if (!d)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  int code = openDriver(d, error);
  if (code)
    return code;
  int result = d->DeviceGet(&d->ordinal, model->options.device_id);
  if (result)
    return nni_fail(error, NNOPT_INVALID, "there is no GPU number %d", (int)model->options.device_id);
  if ((result = d->ContextRetain(&d->context, d->ordinal))) {
    d->context = NULL;
    return fail(d, result, "opening the GPU", error);
  }
  enter(d);
  code = loadKernels(d, &model->meta, p, where, error);
  if (!code)
    code = uploadWeights(d, &model->meta, model->artifact.weights, error);
  leave(d);
  return code;
}

int nnopt_model_device_bounds(const nnopt_model *model, double *gflops, double *gbytes, nnopt_error *error) {
  const nni_device *d = model ? model->device : NULL;
  if (!d || !gflops || !gbytes)
    return nni_fail(error, NNOPT_INVALID, "nnopt_model_device_bounds: %s", d ? "an argument is NULL" : "the model runs on the CPU");
  /* CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, CLOCK_RATE (kHz), MEMORY_CLOCK_RATE (kHz, of a double data rate),
   * GLOBAL_MEMORY_BUS_WIDTH (bits), COMPUTE_CAPABILITY_MAJOR, _MINOR */
  static const int attributes[] = {16, 13, 36, 37, 75, 76};
  int v[6] = {0};
  for (int i = 0; i < 6; ++i) {
    int result = d->DeviceGetAttribute(&v[i], attributes[i], d->ordinal);
    if (result)
      return fail(d, result, "asking for the GPU's clocks", error);
  }
  /* Units for f32 of a multiprocessor: 64 in 8.0, 128 in 8.6 and later ones. */
  int units = v[4] == 8 && v[5] == 0 ? 64 : 128;
  *gflops = 2e-6 * v[0] * v[1] * units;
  *gbytes = 2e-6 * v[2] * v[3] / 8;
  return NNOPT_OK;
}

void nni_device_close(nni_device *d) {
  if (!d)
    return;
  if (d->context) {
    enter(d);
    if (d->weights)
      d->Free(d->weights);
    if (d->module)
      d->ModuleUnload(d->module);
    leave(d);
    d->ContextRelease(d->ordinal);
  }
  if (d->library)
    dlclose(d->library);
  free(d->functions);
  free(d->offsets);
  free(d);
}

char *nni_device_weight(const nni_device *d, uint32_t buffer) { return (char *)(uintptr_t)(d->weights + d->offsets[buffer]); }

/* ---- Sessions ------------------------------------------------------------------------------- */

int nni_device_session_open(nnopt_session *s, nnopt_error *error) {
  const nni_device *d = s->model->device;
  const nni_meta *m = &s->model->meta;
  nni_device_session *g = s->gpu = nni_calloc(1, sizeof *g);
  size_t count = 0;
  for (uint32_t i = 0; i < m->launch_count; ++i)
    count += m->launches[i].buffer_count + m->launches[i].dim_count;
  if (!g || !(g->parameters = nni_calloc(count, sizeof *g->parameters)))
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  size_t at = 0;
  g->graphable = true;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    const nnopt_launch_meta *l = &m->launches[i];
    s->launches[i].parameters = g->parameters + at;
    for (uint32_t k = 0; k < l->buffer_count; ++k)
      g->parameters[at++] = &s->launches[i].buffers[k];
    for (uint32_t k = 0; k < l->dim_count; ++k)
      g->parameters[at++] = &s->launches[i].dims[k];
    g->graphable &= l->threads > 0;
  }
  for (uint32_t i = 0; i < m->instruction_count; ++i)
    g->graphable &= m->instructions[i].op == NNOPT_I_LAUNCH || m->instructions[i].op == NNOPT_I_COPY;
  g->stream = s->options.stream;
  g->own = !g->stream;
  enter(d);
  int result = g->own ? d->StreamCreate(&g->stream, 1) : 0; /* CU_STREAM_NON_BLOCKING */
  for (int i = 0; !result && i < 2; ++i)
    result = d->EventCreate(&g->events[i], 0);
  leave(d);
  return result ? fail(d, result, "creating a stream", error) : NNOPT_OK;
}

void nni_device_session_close(nnopt_session *s) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  if (!g)
    return;
  enter(d);
  for (int i = 0; i < GRAPHS; ++i) {
    if (g->graphs[i].exec)
      d->GraphExecDestroy(g->graphs[i].exec);
    free(g->graphs[i].key);
  }
  if (g->staging)
    d->FreePinned(g->staging);
  for (int i = 0; i < 2; ++i)
    if (g->events[i])
      d->EventDestroy(g->events[i]);
  if (g->own && g->stream)
    d->StreamDestroy(g->stream);
  leave(d);
  nni_release(&s->options, &g->mirror);
  free(g->parameters);
  free(g);
}

void nni_device_changed(nnopt_session *s) {
  nni_device_session *g = s->gpu;
  if (!g)
    return;
  g->graph = NULL;
  g->same_runs = 0;
}

bool nni_session_reserve(nnopt_session *s, nni_memory *memory, size_t size, size_t alignment, size_t keep) {
  if (!s->gpu)
    return nni_reserve(&s->options, memory, size, alignment, keep);
  const nni_device *d = s->model->device;
  if (memory->data && memory->size >= size)
    return true;
  address fresh = 0;
  enter(d);
  if (!keep)
    nni_session_release(s, memory);
  int result = d->Allocate(&fresh, size ? size : 1);
  if (!result && memory->data) {
    result = d->Copy(fresh, (address)(uintptr_t)memory->data, keep < memory->size ? keep : memory->size, s->gpu->stream);
    nni_session_release(s, memory);
  }
  leave(d);
  if (result)
    return false;
  memory->data = (char *)(uintptr_t)fresh;
  memory->size = size ? size : 1;
  return true;
}

void nni_session_release(nnopt_session *s, nni_memory *memory) {
  if (!s->gpu) {
    nni_release(&s->options, memory);
    return;
  }
  const nni_device *d = s->model->device;
  if (!memory->data)
    return;
  enter(d);
  d->StreamWait(s->gpu->stream); /* it may be in use */
  d->Free((address)(uintptr_t)memory->data);
  leave(d);
  memory->data = NULL;
  memory->size = 0;
}

/* Pinned memory: copies from and to it need not wait for the caller's pages. */
static char *staging(nnopt_session *s, size_t bytes) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  if (g->staging_bytes < bytes) {
    d->StreamWait(g->stream);
    if (g->staging)
      d->FreePinned(g->staging);
    g->staging = NULL;
    g->staging_bytes = 0;
    if (d->AllocatePinned((void **)&g->staging, bytes))
      return NULL;
    g->staging_bytes = bytes;
  }
  return g->staging;
}

int nni_session_clear(nnopt_session *s, char *memory, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memset(memory, 0, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  enter(d);
  int result = bytes ? d->Fill((address)(uintptr_t)memory, 0, bytes, s->gpu->stream) : 0;
  leave(d);
  return result ? fail(d, result, "clearing memory", error) : NNOPT_OK;
}

int nni_session_copy(nnopt_session *s, char *to, const char *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memmove(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  enter(d);
  int result = bytes && to != from ? d->Copy((address)(uintptr_t)to, (address)(uintptr_t)from, bytes, s->gpu->stream) : 0;
  leave(d);
  return result ? fail(d, result, "copying", error) : NNOPT_OK;
}

int nni_session_copy_rows(nnopt_session *s, char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width,
                          size_t rows, nnopt_error *error) {
  if (!s->gpu) {
    for (size_t i = 0; i < rows; ++i)
      memcpy(to + i * to_pitch, from + i * from_pitch, width);
    return NNOPT_OK;
  }
  if (!width || !rows)
    return NNOPT_OK;
  const nni_device *d = s->model->device;
  struct rows copy = {.from = {.type = MEMORY_DEVICE, .device = (address)(uintptr_t)from, .pitch = from_pitch},
                      .to = {.type = MEMORY_DEVICE, .device = (address)(uintptr_t)to, .pitch = to_pitch},
                      .width = width,
                      .height = rows};
  enter(d);
  int result = d->CopyRows(&copy, s->gpu->stream);
  leave(d);
  return result ? fail(d, result, "copying a state", error) : NNOPT_OK;
}

int nni_session_read(nnopt_session *s, void *to, const char *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memcpy(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  enter(d);
  int result = bytes ? d->Download(to, (address)(uintptr_t)from, bytes, s->gpu->stream) : 0;
  if (!result)
    result = d->StreamWait(s->gpu->stream);
  leave(d);
  return result ? fail(d, result, "running the model", error) : NNOPT_OK;
}

int nni_session_write(nnopt_session *s, char *to, const void *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memcpy(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  enter(d);
  int result = bytes ? d->Upload((address)(uintptr_t)to, from, bytes, s->gpu->stream) : 0;
  if (!result) /* `from` may change now */
    result = d->StreamWait(s->gpu->stream);
  leave(d);
  return result ? fail(d, result, "writing to the GPU", error) : NNOPT_OK;
}

int nni_session_gather(nnopt_session *s, char *to, const DLTensor *tensor, int width, nnopt_error *error) {
  if (!s->gpu) {
    nni_gather(to, tensor, width);
    return NNOPT_OK;
  }
  int64_t bytes = nni_bytes(tensor->ndim, tensor->shape, width);
  if (bytes <= 0)
    return NNOPT_OK;
  const nni_device *d = s->model->device;
  if (tensor->device.device_type == kDLCUDA) {
    if (!nni_is_compact(tensor))
      return nni_fail(error, NNOPT_UNSUPPORTED, "tensors on the GPU must be contiguous");
    return nni_session_copy(s, to, (const char *)tensor->data + tensor->byte_offset, (size_t)bytes, error);
  }
  enter(d);
  int result = d->StreamWait(s->gpu->stream); /* the last upload is done with the staging memory */
  char *pinned = result ? NULL : staging(s, (size_t)bytes);
  if (pinned) {
    nni_gather(pinned, tensor, width);
    result = d->Upload((address)(uintptr_t)to, pinned, (size_t)bytes, s->gpu->stream);
  }
  leave(d);
  if (result)
    return fail(d, result, "uploading an input", error);
  return pinned ? NNOPT_OK : nni_fail(error, NNOPT_FAILED, "out of pinned memory");
}

int nni_session_scatter(nnopt_session *s, const DLTensor *tensor, const char *from, int width, nnopt_error *error) {
  if (!s->gpu) {
    nni_scatter(tensor, from, width);
    return NNOPT_OK;
  }
  int64_t bytes = nni_bytes(tensor->ndim, tensor->shape, width);
  if (bytes <= 0)
    return NNOPT_OK;
  if (tensor->device.device_type == kDLCUDA) {
    if (!nni_is_compact(tensor))
      return nni_fail(error, NNOPT_UNSUPPORTED, "tensors on the GPU must be contiguous");
    return nni_session_copy(s, (char *)tensor->data + tensor->byte_offset, from, (size_t)bytes, error);
  }
  const nni_device *d = s->model->device;
  enter(d);
  char *pinned = staging(s, (size_t)bytes);
  leave(d);
  if (!pinned)
    return nni_fail(error, NNOPT_FAILED, "out of pinned memory");
  int code = nni_session_read(s, pinned, from, (size_t)bytes, error);
  if (!code)
    nni_scatter(tensor, pinned, width);
  return code;
}

/* ---- Running -------------------------------------------------------------------------------- */

int nni_device_launch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  const nni_device *d = s->model->device;
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  if (l->tasks > 0x7fffffff)
    return nni_fail(error, NNOPT_UNSUPPORTED, "node %s: the tensor is too big for one launch", m->strings + meta->nodes);
  int result = d->Launch(d->functions[meta->kernel], (unsigned)l->tasks, 1, 1, meta->threads, 1, 1, meta->shared,
                         s->gpu->stream, l->parameters, NULL);
  return result ? failAt(d, result, m->strings + meta->name, m->strings + meta->nodes, error) : NNOPT_OK;
}

/* A CPU kernel of the program: what its operands lie in is copied to the host and what it wrote back. Operands
 * that lie in one piece of memory share a copy of it. */
int nni_device_host_launch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  nni_device_session *g = s->gpu;
  size_t total = 0;
  void *pointers[64];
  size_t places[64];
  bool shared[64]; /* with an operand before it, which is copied */
  if (meta->buffer_count > 64)
    return nni_fail(error, NNOPT_UNSUPPORTED, "node %s has more than 64 operands", m->strings + meta->nodes);
  /* First the places, then the copies: the mirror must not move in between. */
  for (uint32_t k = 0; k < meta->buffer_count; ++k) {
    uint32_t root = m->root[m->operands[meta->buffers + k].number];
    places[k] = SIZE_MAX;
    shared[k] = false;
    for (uint32_t j = 0; j < k; ++j)
      if (m->root[m->operands[meta->buffers + j].number] == root) {
        places[k] = places[j];
        shared[k] = true;
      }
    if (places[k] == SIZE_MAX && m->buffers[root].kind != NNOPT_B_WEIGHT) {
      places[k] = total;
      total += ((size_t)s->extent[root] + 63) / 64 * 64;
    }
  }
  if (!nni_reserve(&s->options, &g->mirror, total, 64, 0))
    return nni_fail(error, NNOPT_FAILED, "out of memory for node %s", m->strings + meta->nodes);
  int code = NNOPT_OK;
  for (int back = 0; back < 2 && !code; ++back) {
    int64_t start = nni_now(), copied = 0;
    for (uint32_t k = 0; k < meta->buffer_count && !code; ++k) {
      uint32_t number = m->operands[meta->buffers + k].number, root = m->root[number];
      if (m->buffers[root].kind == NNOPT_B_WEIGHT) {
        pointers[k] = (char *)s->model->artifact.weights + m->buffers[root].offset + (s->pointers[number] - s->pointers[root]);
        continue;
      }
      char *copy = g->mirror.data + places[k];
      pointers[k] = copy + (s->pointers[number] - s->pointers[root]);
      bool written = m->indices[meta->written + k / 32] >> (k % 32) & 1;
      if (m->buffers[root].kind == NNOPT_B_SCRATCH || (back ? !written : shared[k]))
        continue;
      code = back ? nni_session_write(s, s->pointers[root], copy, (size_t)s->extent[root], error)
                  : nni_session_read(s, copy, s->pointers[root], (size_t)s->extent[root], error);
      copied += s->extent[root];
    }
    if (s->profiler && copied)
      nni_profile_copy(s, back ? "copy from the CPU" : "copy to the CPU", m->strings + meta->nodes, start, nni_now() - start,
                       copied);
    if (back || code)
      continue;
    start = nni_now();
    if (l->tasks > 0)
      l->kernel(pointers, l->dims, 0, l->tasks, 0);
    if (s->profiler)
      nni_profile_launch(s, l, start, nni_now() - start);
  }
  return code;
}

void nni_device_time_begin(nnopt_session *s) {
  const nni_device *d = s->model->device;
  d->EventRecord(s->gpu->events[0], s->gpu->stream);
}

int nni_device_time_end(nnopt_session *s, const char *what, const char *nodes, int64_t *ns, nnopt_error *error) {
  const nni_device *d = s->model->device;
  float ms = 0;
  int result = d->EventRecord(s->gpu->events[1], s->gpu->stream);
  if (!result)
    result = d->EventWait(s->gpu->events[1]);
  if (!result)
    result = d->EventTime(&ms, s->gpu->events[0], s->gpu->events[1]);
  *ns = (int64_t)(ms * 1e6f);
  return result ? failAt(d, result, what, nodes, error) : NNOPT_OK;
}

/* Records a run in place of the graph that was used longest ago. */
static int record(nnopt_session *s, int (*program)(nnopt_session *, nnopt_error *), nnopt_error *error) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  struct graph *graph = &g->graphs[0];
  for (int i = 1; i < GRAPHS; ++i)
    if (g->graphs[i].last_use < graph->last_use)
      graph = &g->graphs[i];
  if (!graph->key && !(graph->key = malloc(graphKey(s, NULL) + 1)))
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  if (graph->exec)
    d->GraphExecDestroy(graph->exec);
  graph->exec = NULL;
  handle captured = NULL;
  int code = NNOPT_OK, result = d->CaptureBegin(g->stream, 2); /* CU_STREAM_CAPTURE_MODE_RELAXED */
  if (!result) {
    code = program(s, error);
    result = d->CaptureEnd(g->stream, &captured);
  }
  if (!result && !code)
    result = d->GraphInstantiate(&graph->exec, captured, 0);
  if (captured)
    d->GraphDestroy(captured);
  if (code || result) {
    graph->exec = NULL;
    return code ? code : fail(d, result, "recording a run", error);
  }
  graphKey(s, graph->key);
  g->graph = graph;
  return NNOPT_OK;
}

int nni_device_execute(nnopt_session *s, int (*program)(nnopt_session *, nnopt_error *), nnopt_error *error) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  enter(d);
  int code = NNOPT_OK, result = 0;
  bool usesGraph = g->graphable && g->own && !s->profiler;
  ++g->runs;
  for (int i = 0; usesGraph && !g->graph && i < GRAPHS; ++i)
    if (isGraphOf(s, &g->graphs[i]))
      g->graph = &g->graphs[i];
  /* The second run with the same pointers is recorded; the first one found out whether all is well. */
  if (usesGraph && !g->graph && g->same_runs >= 1)
    code = record(s, program, error);
  if (!code && usesGraph && g->graph) {
    g->graph->last_use = g->runs;
    result = d->GraphLaunch(g->graph->exec, g->stream);
  } else if (!code) {
    code = program(s, error);
  }
  ++g->same_runs;
  leave(d);
  return result ? fail(d, result, "running the model", error) : code;
}

int nni_device_finish(nnopt_session *s, nnopt_error *error) {
  if (!s->gpu || !s->gpu->own)
    return NNOPT_OK; /* the caller's stream: the caller waits */
  const nni_device *d = s->model->device;
  enter(d);
  int result = d->StreamWait(s->gpu->stream);
  leave(d);
  /* Kernels fail some time after their launch: the profiler waits for each. */
  return result ? fail(d, result, "running the model (nnopt-run --profile names the kernel)", error) : NNOPT_OK;
}

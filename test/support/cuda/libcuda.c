/*===- libcuda.c - a CUDA driver for tests on machines without a GPU ------------===
 *
 * Stands in for libcuda.so.1. Kernels are those of an artifact of the same model that was compiled with
 * --gpu=emulate: $FAKE_CUDA_KERNELS names it, and a launch runs the kernel of the same name on the CPU. Device
 * memory cannot be touched but by calls of the driver: whoever else does ends by SIGSEGV. Everything that is made
 * must be destroyed, everything that is used must exist: else the process is aborted with a message.
 *
 *   FAKE_CUDA_LOG=FILE          gets a line for each call, and what is left at the end
 *   FAKE_CUDA_FAIL=NAME:N:CODE  call number N (from 1) of that function fails with a CUresult
 *   FAKE_CUDA_ARCH=90           compute capability (default 80)
 *===----------------------------------------------------------------------===*/
#define _GNU_SOURCE
#include "runtime/format.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef unsigned long long address;

enum { MaxBlocks = 4096, MaxOperands = 256 };

typedef struct kernel {
  nnopt_kernel_fn run;
  const char *name;
  uint32_t buffers, dims, threads; /* dims: without the sizes that the emulator is told */
} kernel;

/* Something that a stream does. */
typedef struct action {
  struct action *next;
  const kernel *kernel; /* NULL: a copy */
  unsigned grid;
  void *buffers[MaxOperands];
  int64_t dims[MaxOperands];
  address to, from;
  size_t to_pitch, from_pitch, width, rows;
} action;

typedef struct graph {
  action *first, **last;
} graph;

typedef struct stream {
  graph *captured;
} stream;

static struct {
  struct {
    address at;
    size_t size;
  } blocks[MaxBlocks];
  int block_count;
  bool open; /* device memory can be touched */
  kernel *kernels;
  uint32_t kernel_count;
  void *library;
  int contexts, current, modules, streams, events, graphs, executables, pinned;
  bool initialized;
  stream null_stream;
  FILE *log;
} g;

static void stop(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "fake libcuda: ");
  vfprintf(stderr, format, args);
  fprintf(stderr, "\n");
  va_end(args);
  abort();
}

static void record(const char *format, ...) {
  if (!g.log) {
    const char *path = getenv("FAKE_CUDA_LOG");
    g.log = fopen(path ? path : "/dev/null", "w");
    if (!g.log)
      stop("cannot write %s", path);
  }
  va_list args;
  va_start(args, format);
  vfprintf(g.log, format, args);
  fputc('\n', g.log);
  va_end(args);
}

/* The result that a call has to give: 0, or what $FAKE_CUDA_FAIL wants. */
static int result(const char *name) {
  static int calls;
  const char *wanted = getenv("FAKE_CUDA_FAIL");
  size_t length = strlen(name);
  if (!wanted || strncmp(wanted, name, length) || wanted[length] != ':')
    return 0;
  int number = 0, code = 0;
  if (sscanf(wanted + length, ":%d:%d", &number, &code) != 2)
    stop("FAKE_CUDA_FAIL is no NAME:NUMBER:CODE");
  return ++calls == number ? code : 0;
}

#define CALL(...)                                                                                                      \
  do {                                                                                                                 \
    record(__VA_ARGS__);                                                                                               \
    int code = result(__func__);                                                                                       \
    if (code)                                                                                                          \
      return code;                                                                                                     \
  } while (0)

static void needContext(const char *what) {
  if (!g.current)
    stop("%s without a current context", what);
}

/* ---- Memory --------------------------------------------------------------------------------- */

static void protect(bool open) {
  if (g.open == open)
    return;
  g.open = open;
  for (int i = 0; i < g.block_count; ++i)
    if (mprotect((void *)(uintptr_t)g.blocks[i].at, (g.blocks[i].size + 4095) / 4096 * 4096,
                 open ? PROT_READ | PROT_WRITE : PROT_NONE))
      stop("mprotect failed");
}

/* Bytes from `at` to the end of its block. */
static size_t extent(address at, const char *what) {
  for (int i = 0; i < g.block_count; ++i)
    if (at >= g.blocks[i].at && at <= g.blocks[i].at + g.blocks[i].size)
      return (size_t)(g.blocks[i].at + g.blocks[i].size - at);
  stop("%s: %p is no device memory", what, (void *)(uintptr_t)at);
  return 0;
}

static void needBytes(address at, size_t bytes, const char *what) {
  if (extent(at, what) < bytes)
    stop("%s: %zu bytes at %p leave the block", what, bytes, (void *)(uintptr_t)at);
}

int cuMemAlloc_v2(address *at, size_t bytes) {
  CALL("cuMemAlloc %zu", bytes);
  needContext("cuMemAlloc");
  if (!bytes || g.block_count == MaxBlocks)
    return 1;
  size_t whole = (bytes + 4095) / 4096 * 4096;
  void *memory = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 2;
  memset(memory, 0xff, whole); /* NaN */
  if (!g.open)
    mprotect(memory, whole, PROT_NONE);
  *at = (address)(uintptr_t)memory;
  g.blocks[g.block_count].at = *at;
  g.blocks[g.block_count++].size = bytes;
  return 0;
}

int cuMemFree_v2(address at) {
  CALL("cuMemFree");
  for (int i = 0; i < g.block_count; ++i)
    if (g.blocks[i].at == at) {
      munmap((void *)(uintptr_t)at, (g.blocks[i].size + 4095) / 4096 * 4096);
      g.blocks[i] = g.blocks[--g.block_count];
      return 0;
    }
  stop("cuMemFree of what was not allocated");
  return 1;
}

int cuMemAllocHost_v2(void **memory, size_t bytes) {
  CALL("cuMemAllocHost %zu", bytes);
  ++g.pinned;
  *memory = malloc(bytes);
  return *memory ? 0 : 2;
}

int cuMemFreeHost(void *memory) {
  CALL("cuMemFreeHost");
  --g.pinned;
  free(memory);
  return 0;
}

/* ---- Streams and graphs --------------------------------------------------------------------- */

static stream *streamOf(void *handle) { return handle ? handle : &g.null_stream; }

static void perform(const action *a) {
  protect(true);
  if (!a->kernel) {
    for (size_t i = 0; i < a->rows; ++i)
      memmove((char *)(uintptr_t)a->to + i * a->to_pitch, (const char *)(uintptr_t)a->from + i * a->from_pitch, a->width);
    return;
  }
  void *buffers[MaxOperands];
  int64_t dims[2 * MaxOperands];
  memcpy(buffers, a->buffers, sizeof buffers);
  memcpy(dims, a->dims, a->kernel->dims * sizeof *dims);
  for (uint32_t i = 0; i < a->kernel->buffers; ++i)
    dims[a->kernel->dims + i] = (int64_t)extent((address)(uintptr_t)buffers[i], a->kernel->name);
  a->kernel->run(buffers, dims, 0, a->grid, 0);
}

/* Performs it now, or when the graph that is being captured is launched. */
static int submit(void *handle, const action *a) {
  stream *s = streamOf(handle);
  if (!s->captured) {
    perform(a);
    protect(false);
    return 0;
  }
  action *copy = malloc(sizeof *copy);
  *copy = *a;
  copy->next = NULL;
  *s->captured->last = copy;
  s->captured->last = &copy->next;
  return 0;
}

static int submitCopy(void *s, address to, address from, size_t to_pitch, size_t from_pitch, size_t width, size_t rows) {
  action a = {.to = to, .from = from, .to_pitch = to_pitch, .from_pitch = from_pitch, .width = width, .rows = rows};
  return submit(s, &a);
}

int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *s) {
  CALL("cuMemcpyHtoDAsync %zu", bytes);
  needContext("cuMemcpyHtoDAsync");
  needBytes(to, bytes, "cuMemcpyHtoDAsync");
  return submitCopy(s, to, (address)(uintptr_t)from, bytes, bytes, bytes, 1);
}

int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *s) {
  CALL("cuMemcpyDtoHAsync %zu", bytes);
  needContext("cuMemcpyDtoHAsync");
  needBytes(from, bytes, "cuMemcpyDtoHAsync");
  return submitCopy(s, (address)(uintptr_t)to, from, bytes, bytes, bytes, 1);
}

int cuMemcpyDtoDAsync_v2(address to, address from, size_t bytes, void *s) {
  CALL("cuMemcpyDtoDAsync %zu", bytes);
  needContext("cuMemcpyDtoDAsync");
  needBytes(to, bytes, "cuMemcpyDtoDAsync");
  needBytes(from, bytes, "cuMemcpyDtoDAsync");
  return submitCopy(s, to, from, bytes, bytes, bytes, 1);
}

struct end {
  size_t x, y;
  unsigned type;
  const void *host;
  address device;
  void *array;
  size_t pitch;
};
struct rows {
  struct end from, to;
  size_t width, height;
};

int cuMemcpy2DAsync_v2(const struct rows *r, void *s) {
  CALL("cuMemcpy2DAsync %zux%zu", r->height, r->width);
  needContext("cuMemcpy2DAsync");
  if (r->from.type != 2 || r->to.type != 2 || r->from.pitch < r->width || r->to.pitch < r->width)
    return 1;
  needBytes(r->from.device, (r->height - 1) * r->from.pitch + r->width, "cuMemcpy2DAsync");
  needBytes(r->to.device, (r->height - 1) * r->to.pitch + r->width, "cuMemcpy2DAsync");
  return submitCopy(s, r->to.device, r->from.device, r->to.pitch, r->from.pitch, r->width, r->height);
}

int cuMemsetD8Async(address at, unsigned char value, size_t bytes, void *s) {
  CALL("cuMemsetD8Async %zu", bytes);
  needBytes(at, bytes, "cuMemsetD8Async");
  if (streamOf(s)->captured)
    stop("cuMemsetD8Async is not expected in a graph");
  protect(true);
  memset((void *)(uintptr_t)at, value, bytes);
  protect(false);
  return 0;
}

int cuStreamCreate(void **s, unsigned flags) {
  CALL("cuStreamCreate %u", flags);
  ++g.streams;
  *s = calloc(1, sizeof(stream));
  return 0;
}

int cuStreamDestroy_v2(void *s) {
  CALL("cuStreamDestroy");
  --g.streams;
  free(s);
  return 0;
}

int cuStreamSynchronize(void *s) {
  CALL("cuStreamSynchronize");
  return streamOf(s)->captured ? 900 : 0; /* CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED */
}

int cuStreamBeginCapture_v2(void *s, int mode) {
  CALL("cuStreamBeginCapture %d", mode);
  graph *captured = calloc(1, sizeof *captured);
  captured->last = &captured->first;
  ++g.graphs;
  streamOf(s)->captured = captured;
  return 0;
}

static void drop(graph *what) {
  for (action *a = what->first; a;) {
    action *next = a->next;
    free(a);
    a = next;
  }
  free(what);
}

int cuStreamEndCapture(void *s, void **captured) {
  record("cuStreamEndCapture");
  int code = result(__func__);
  graph *ended = streamOf(s)->captured;
  streamOf(s)->captured = NULL;
  if (code && ended) { /* there is no graph then */
    drop(ended);
    --g.graphs;
    return code;
  }
  *captured = ended;
  return ended ? 0 : 1;
}

int cuGraphInstantiateWithFlags(void **executable, void *from, unsigned long long flags) {
  CALL("cuGraphInstantiate %llu", flags);
  graph *copy = calloc(1, sizeof *copy);
  copy->last = &copy->first;
  for (const action *a = ((graph *)from)->first; a; a = a->next) {
    action *next = malloc(sizeof *next);
    *next = *a;
    next->next = NULL;
    *copy->last = next;
    copy->last = &next->next;
  }
  ++g.executables;
  *executable = copy;
  return 0;
}

int cuGraphLaunch(void *executable, void *s) {
  CALL("cuGraphLaunch");
  needContext("cuGraphLaunch");
  if (streamOf(s)->captured)
    stop("cuGraphLaunch while capturing");
  for (const action *a = ((graph *)executable)->first; a; a = a->next)
    perform(a);
  protect(false);
  return 0;
}

int cuGraphDestroy(void *what) {
  CALL("cuGraphDestroy");
  --g.graphs;
  drop(what);
  return 0;
}

int cuGraphExecDestroy(void *what) {
  CALL("cuGraphExecDestroy");
  --g.executables;
  drop(what);
  return 0;
}

/* ---- Events --------------------------------------------------------------------------------- */

int cuEventCreate(void **event, unsigned flags) {
  CALL("cuEventCreate %u", flags);
  ++g.events;
  *event = calloc(1, sizeof(struct timespec));
  return 0;
}

int cuEventDestroy_v2(void *event) {
  CALL("cuEventDestroy");
  --g.events;
  free(event);
  return 0;
}

int cuEventRecord(void *event, void *s) {
  CALL("cuEventRecord");
  (void)s;
  clock_gettime(CLOCK_MONOTONIC, event);
  return 0;
}

int cuEventSynchronize(void *event) {
  CALL("cuEventSynchronize");
  (void)event;
  return 0;
}

int cuEventElapsedTime(float *ms, const struct timespec *from, const struct timespec *to) {
  CALL("cuEventElapsedTime");
  *ms = 1e3f * (float)(to->tv_sec - from->tv_sec) + 1e-6f * (float)(to->tv_nsec - from->tv_nsec);
  return 0;
}

/* ---- Device, context, kernels ---------------------------------------------------------------- */

int cuInit(unsigned flags) {
  CALL("cuInit %u", flags);
  g.initialized = true;
  return 0;
}

int cuGetErrorString(int code, const char **text) {
  *text = code == 2     ? "out of memory"
          : code == 100 ? "no CUDA-capable device is detected"
          : code == 700 ? "an illegal memory access was encountered"
                        : "an error that the test wants";
  return 0;
}

int cuDeviceGetCount(int *count) {
  CALL("cuDeviceGetCount");
  *count = 1;
  return g.initialized ? 0 : 3;
}

int cuDeviceGet(int *device, int number) {
  CALL("cuDeviceGet %d", number);
  *device = number;
  return number == 0 ? 0 : 101;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  CALL("cuDeviceGetAttribute %d %d", attribute, device);
  const char *arch = getenv("FAKE_CUDA_ARCH");
  int number = arch ? atoi(arch) : 80;
  switch (attribute) {
  case 13: *value = 1410000; break;   /* CLOCK_RATE, kHz; an A100's */
  case 16: *value = 108; break;       /* MULTIPROCESSOR_COUNT */
  case 36: *value = 1215000; break;   /* MEMORY_CLOCK_RATE, kHz */
  case 37: *value = 5120; break;      /* GLOBAL_MEMORY_BUS_WIDTH, bits */
  case 75: *value = number / 10; break;
  case 76: *value = number % 10; break;
  case 97: *value = 163 << 10; break; /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */
  default: stop("attribute %d is not known", attribute);
  }
  return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
  CALL("cuDevicePrimaryCtxRetain %d", device);
  ++g.contexts;
  *context = &g;
  return 0;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
  CALL("cuDevicePrimaryCtxRelease %d", device);
  --g.contexts;
  return 0;
}

int cuCtxPushCurrent_v2(void *context) {
  if (context != &g || !g.contexts)
    stop("cuCtxPushCurrent of what is no context");
  ++g.current;
  return 0;
}

int cuCtxPopCurrent_v2(void **context) {
  if (!g.current--)
    stop("cuCtxPopCurrent without a context");
  *context = &g;
  return 0;
}

/* The kernels of an artifact that was compiled with --gpu=emulate, by the names in its metadata. */
static void loadKernels(void) {
  const char *path = getenv("FAKE_CUDA_KERNELS");
  if (!path)
    stop("FAKE_CUDA_KERNELS is not set");
  g.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const nnopt_descriptor *d = g.library ? dlsym(g.library, NNOPT_DESCRIPTOR_SYMBOL) : NULL;
  if (!d)
    stop("%s: %s", path, dlerror());
  const nnopt_meta_header *header = (const nnopt_meta_header *)d->meta;
  const nnopt_launch_meta *launches = (const nnopt_launch_meta *)(d->meta + header->launches.offset);
  const char *strings = (const char *)d->meta + header->strings.offset;
  g.kernels = calloc(header->launches.count + 1, sizeof *g.kernels);
  for (uint32_t i = 0; i < header->launches.count; ++i) {
    const nnopt_launch_meta *l = &launches[i];
    kernel k = {d->kernels[l->kernel], strings + l->name, l->buffer_count, 0, l->threads};
    if (l->dim_count < l->buffer_count) /* a kernel of the CPU */
      continue;
    k.dims = l->dim_count - l->buffer_count;
    if (l->buffer_count > MaxOperands || k.dims > MaxOperands)
      stop("kernel %s has too many operands", k.name);
    g.kernels[g.kernel_count++] = k;
  }
}

int cuModuleLoadData(void **module, const void *image) {
  CALL("cuModuleLoadData %.60s", strncmp(image, "//", 2) ? "cubin" : "PTX");
  needContext("cuModuleLoadData");
  if (!g.library)
    loadKernels();
  ++g.modules;
  *module = &g.modules;
  return 0;
}

int cuModuleUnload(void *module) {
  CALL("cuModuleUnload");
  (void)module;
  --g.modules;
  return 0;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
  CALL("cuModuleGetFunction %s", name);
  (void)module;
  for (uint32_t i = 0; i < g.kernel_count; ++i)
    if (!strcmp(g.kernels[i].name, name)) {
      *function = &g.kernels[i];
      return 0;
    }
  fprintf(stderr, "fake libcuda: no kernel %s in %s\n", name, getenv("FAKE_CUDA_KERNELS"));
  return 500; /* CUDA_ERROR_NOT_FOUND */
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
  CALL("cuFuncSetAttribute %s %d %d", ((kernel *)function)->name, attribute, value);
  return 0;
}

struct launch {
  unsigned blocks[3], threads[3], shared;
  void *stream;
  const int *attributes;
  unsigned attribute_count;
};

int cuLaunchKernelEx(const struct launch *l, void *function, void **parameters, void **extra) {
  const kernel *k = function;
  const unsigned *n = l->blocks, *threads = l->threads;
  CALL("cuLaunchKernelEx %s %u blocks of %u threads, %u bytes", k->name, n[0], threads[0], l->shared);
  needContext("cuLaunchKernelEx");
  if (!n[0] || n[1] != 1 || n[2] != 1 || threads[1] != 1 || threads[2] != 1 || extra || threads[0] > 1024)
    return 1;
  /* Of the attributes, the one by which launches overlap; the kernels must wait, which those for sm_90 do. */
  if (l->attribute_count > 1 || (l->attribute_count && (l->attributes[0] != 6 || l->attributes[2] != 1)))
    return 1;
  action a = {.kernel = k, .grid = n[0]};
  for (uint32_t i = 0; i < k->buffers; ++i)
    a.buffers[i] = *(void **)parameters[i];
  for (uint32_t i = 0; i < k->dims; ++i)
    a.dims[i] = *(int64_t *)parameters[k->buffers + i];
  return submit(l->stream, &a);
}

__attribute__((destructor)) static void finish(void) {
  record("left: %d blocks, %d pinned, %d contexts, %d pushed, %d modules, %d streams, %d events, %d graphs, %d executables",
         g.block_count, g.pinned, g.contexts, g.current, g.modules, g.streams, g.events, g.graphs, g.executables);
  fclose(g.log);
}

/*===- cuda.h - what the files of the GPU runtime share ------------------------===
 *
 * The driver is opened when a model is, with dlopen: nothing here links with CUDA. A model for a GPU is its
 * second program (nnopt_device_program); sessions plan and place it as ever, with pointers into device memory.
 *
 *   cuda_driver.c   the library and its errors        cuda_session.c   sessions, their memory, tensors from and to the host
 *   cuda_model.c    kernels and weights on the GPU    cuda_run.c       launches, graphs, times
 *===----------------------------------------------------------------------===*/
#ifndef NNOPT_RUNTIME_CUDA_H
#define NNOPT_RUNTIME_CUDA_H

#include "internal.h"

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

/* CUlaunchConfig and CUlaunchAttribute */
enum { ATTRIBUTE_OVERLAP = 6 }; /* CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION */
struct attribute {
  int id, pad, value[16];
};
struct launch {
  unsigned blocks[3], threads[3], shared;
  handle stream;
  const struct attribute *attributes;
  unsigned attribute_count;
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
  X(Launch, "cuLaunchKernelEx", (const struct launch *, handle, void **, void **))

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
  bool overlaps;     /* its kernels wait for the launches before them */
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

/* The driver's message for `result`, with what was being done. */
int nni_cuda_fail(const nni_device *d, int result, const char *what, nnopt_error *error);
int nni_cuda_fail_at(const nni_device *d, int result, const char *kernel, const char *nodes, nnopt_error *error);
int nni_cuda_open_driver(nni_device *d, nnopt_error *error);
/* Makes the context of the device that of the thread, and the one before again. */
void nni_cuda_enter(const nni_device *d);
void nni_cuda_leave(const nni_device *d);

#endif

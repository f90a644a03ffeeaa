/*===- kernels.c - kernels of the runtime's tests -------------------------------===*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test/runtime/kernels.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define KERNEL(name)                                                                               \
  static void name(void *const *buffers, const int64_t *dims, int64_t begin, int64_t end,          \
                   int64_t thread)

KERNEL(scaleRows) {
  const float *x = buffers[0], *w = buffers[1];
  float *y = buffers[2];
  for (int64_t i = begin; i < end; ++i)
    for (int64_t c = 0; c < dims[0]; ++c)
      y[i * dims[0] + c] = x[i * dims[0] + c] * w[c];
}

KERNEL(add) {
  const float *a = buffers[0], *b = buffers[1];
  float *y = buffers[2];
  for (int64_t i = begin; i < end; ++i)
    y[i] = a[i] + b[i];
}

KERNEL(increment) {
  float *x = buffers[0];
  for (int64_t i = begin; i < end; ++i)
    x[i] += 1;
}

KERNEL(less) { *(char *)buffers[2] = *(int64_t *)buffers[0] < *(int64_t *)buffers[1]; }

KERNEL(count) {
  const float *x = buffers[0];
  int64_t n = 0;
  for (int64_t i = 0; i < dims[0]; ++i)
    n += x[i] > 0;
  *(int64_t *)buffers[1] = n;
}

KERNEL(compact) {
  const float *x = buffers[0];
  float *y = buffers[1];
  for (int64_t i = 0; i < dims[0]; ++i)
    if (x[i] > 0)
      *y++ = x[i];
}

KERNEL(append) {
  const float *past = buffers[0], *x = buffers[1];
  float *y = buffers[2];
  int64_t length = dims[0], width = dims[1];
  for (int64_t i = 0; i < length * width; ++i)
    y[i] = past[i];
  for (int64_t c = 0; c < width; ++c)
    y[length * width + c] = x[c];
}

KERNEL(who) {
  int32_t *y = buffers[0];
  int64_t *scratch = buffers[1];
  for (int64_t i = begin; i < end; ++i) {
    y[i] = (int32_t)thread;
    ++scratch[thread];
  }
}

KERNEL(setBool) { *(char *)buffers[1] = *(float *)buffers[0] > 0; }

KERNEL(maximum) {
  const float *x = buffers[0], *state = buffers[1];
  float *y = buffers[2];
  for (int64_t i = begin; i < end; ++i)
    y[i] = x[i] > state[i] ? x[i] : state[i];
}

KERNEL(self) {
  int64_t *y = buffers[0];
  struct timespec time = {0, 2000000};
  if (gettid() == getpid())
    nanosleep(&time, NULL);
  for (int64_t i = begin; i < end; ++i)
    y[i] = (int64_t)pthread_self();
}

KERNEL(nap) {
  int32_t isWorker = gettid() != getpid();
  struct timespec time = {0, isWorker ? 50000000 : 5000000};
  nanosleep(&time, NULL);
  for (int64_t i = begin; i < end; ++i)
    ((int32_t *)buffers[0])[i] = isWorker;
}

const nnopt_kernel_fn testKernels[KernelCount_] = {scaleRows, add, increment, less,    count, compact,
                                                   append,    who, setBool,   maximum, self, nap};

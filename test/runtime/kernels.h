/*===- kernels.h - kernels of the runtime's tests -------------------------------===*/
#ifndef NNOPT_TEST_RUNTIME_KERNELS_H
#define NNOPT_TEST_RUNTIME_KERNELS_H

#include "runtime/format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Buffers and dims of each, as x[...] f32 unless said otherwise; a task is one element or row. */
enum {
  KernelScaleRows, /* x[n,c], w[c], y[n,c]; dims c; tasks n: y = x * w */
  KernelAdd,       /* a[n], b[n], y[n]; tasks n */
  KernelIncrement, /* x[n]; tasks n: x += 1 */
  KernelLess,      /* i64 a, i64 b, bool y; tasks 1: y = a < b */
  KernelCount,     /* x[n], i64 y; dims n; tasks 1: number of positive elements */
  KernelCompact,   /* x[n], y[k]; dims n; tasks 1: the positive elements */
  KernelAppend,    /* past[l,c], x[1,c], y[l+1,c]; dims l, c; tasks 1 */
  KernelWho,       /* i32 y[n], i64 scratch[threads * 8]; tasks n: y = thread; counts in scratch */
  KernelSetBool,   /* x[1], bool y; tasks 1: y = x > 0 */
  KernelMax,       /* x[n], state[n], y[n]; tasks n: y = max(x, state) */
  KernelSelf,      /* i64 y[n]; tasks n: y = pthread_self(), in the first thread after 2 ms, so that others begin */
  KernelNap,       /* i32 y[n]; tasks n: y = 1 and a sleep of 50 ms in threads of the pool, 0 and 5 ms in the first one */
  KernelCount_
};
extern const nnopt_kernel_fn testKernels[KernelCount_];

#ifdef __cplusplus
}
#endif
#endif

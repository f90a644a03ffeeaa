/*===- kernel.h - C kernels of custom operators ------------------------------===
 *
 * A custom operator (nn.custom) is computed by a C function that is linked into the artifact
 * (nnopt-compile --link=FILE.o). It may use libc and libm; it is called by one thread at a time for
 * each session, with operands that are contiguous and row-major, and must not keep pointers.
 *
 *===------------------------------------------------------------------------===*/
#ifndef NNOPT_KERNEL_H
#define NNOPT_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nnopt_kernel_tensor {
  void *data; /* elements by ONNX width; bool is one byte */
  const int64_t *dims;
  int64_t rank;
} nnopt_kernel_tensor;

/* What a kernel looks like. Inputs are read only; outputs have the sizes that the operator's shape
 * function gave them. */
typedef void nnopt_kernel(const nnopt_kernel_tensor *inputs, const nnopt_kernel_tensor *outputs);

#ifdef __cplusplus
}
#endif

#endif

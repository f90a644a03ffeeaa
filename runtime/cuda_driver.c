/*===- cuda_driver.c - NVIDIA's driver library ---------------------------------===
 *===----------------------------------------------------------------------===*/
#include "cuda.h"

#include <dlfcn.h>
#include <stdio.h>

int nni_cuda_fail(const nni_device *d, int result, const char *what, nnopt_error *error) {
  const char *text = NULL;
  if (d->GetErrorString)
    d->GetErrorString(result, &text);
  /* CUDA_ERROR_OUT_OF_MEMORY */
  return nni_fail(error, NNOPT_FAILED, "CUDA: %s: %s%s", what, text ? text : "unknown error",
                  result == 2 ? "; use a smaller batch or free GPU memory" : "");
}

int nni_cuda_fail_at(const nni_device *d, int result, const char *kernel, const char *nodes, nnopt_error *error) {
  char text[600];
  snprintf(text, sizeof text, "kernel %s of node %s", kernel, nodes);
  return nni_cuda_fail(d, result, text, error);
}

int nni_cuda_open_driver(nni_device *d, nnopt_error *error) {
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

void nni_cuda_enter(const nni_device *d) { d->ContextPush(d->context); }
void nni_cuda_leave(const nni_device *d) {
  handle old;
  d->ContextPop(&old);
}

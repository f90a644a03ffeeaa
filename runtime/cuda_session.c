/*===- cuda_session.c - sessions on a GPU and their memory ---------------------===
 *===----------------------------------------------------------------------===*/
#include "cuda.h"

#include <stdlib.h>
#include <string.h>

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
  nni_cuda_enter(d);
  int result = g->own ? d->StreamCreate(&g->stream, 1) : 0; /* CU_STREAM_NON_BLOCKING */
  for (int i = 0; !result && i < 2; ++i)
    result = d->EventCreate(&g->events[i], 0);
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "creating a stream", error) : NNOPT_OK;
}

void nni_device_session_close(nnopt_session *s) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  if (!g)
    return;
  nni_cuda_enter(d);
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
  nni_cuda_leave(d);
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
  nni_cuda_enter(d);
  if (!keep)
    nni_session_release(s, memory);
  int result = d->Allocate(&fresh, size ? size : 1);
  if (!result && memory->data) {
    result = d->Copy(fresh, (address)(uintptr_t)memory->data, keep < memory->size ? keep : memory->size, s->gpu->stream);
    nni_session_release(s, memory);
  }
  nni_cuda_leave(d);
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
  nni_cuda_enter(d);
  d->StreamWait(s->gpu->stream); /* it may be in use */
  d->Free((address)(uintptr_t)memory->data);
  nni_cuda_leave(d);
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
  nni_cuda_enter(d);
  int result = bytes ? d->Fill((address)(uintptr_t)memory, 0, bytes, s->gpu->stream) : 0;
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "clearing memory", error) : NNOPT_OK;
}

int nni_session_copy(nnopt_session *s, char *to, const char *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memmove(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  nni_cuda_enter(d);
  int result = bytes && to != from ? d->Copy((address)(uintptr_t)to, (address)(uintptr_t)from, bytes, s->gpu->stream) : 0;
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "copying", error) : NNOPT_OK;
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
  nni_cuda_enter(d);
  int result = d->CopyRows(&copy, s->gpu->stream);
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "copying a state", error) : NNOPT_OK;
}

int nni_session_read(nnopt_session *s, void *to, const char *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memcpy(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  nni_cuda_enter(d);
  int result = bytes ? d->Download(to, (address)(uintptr_t)from, bytes, s->gpu->stream) : 0;
  if (!result)
    result = d->StreamWait(s->gpu->stream);
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "running the model", error) : NNOPT_OK;
}

int nni_session_write(nnopt_session *s, char *to, const void *from, size_t bytes, nnopt_error *error) {
  if (!s->gpu) {
    memcpy(to, from, bytes);
    return NNOPT_OK;
  }
  const nni_device *d = s->model->device;
  nni_cuda_enter(d);
  int result = bytes ? d->Upload((address)(uintptr_t)to, from, bytes, s->gpu->stream) : 0;
  if (!result) /* `from` may change now */
    result = d->StreamWait(s->gpu->stream);
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "writing to the GPU", error) : NNOPT_OK;
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
  nni_cuda_enter(d);
  int result = d->StreamWait(s->gpu->stream); /* the last upload is done with the staging memory */
  char *pinned = result ? NULL : staging(s, (size_t)bytes);
  if (pinned) {
    nni_gather(pinned, tensor, width);
    result = d->Upload((address)(uintptr_t)to, pinned, (size_t)bytes, s->gpu->stream);
  }
  nni_cuda_leave(d);
  if (result)
    return nni_cuda_fail(d, result, "uploading an input", error);
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
  nni_cuda_enter(d);
  char *pinned = staging(s, (size_t)bytes);
  nni_cuda_leave(d);
  if (!pinned)
    return nni_fail(error, NNOPT_FAILED, "out of pinned memory");
  int code = nni_session_read(s, pinned, from, (size_t)bytes, error);
  if (!code)
    nni_scatter(tensor, pinned, width);
  return code;
}

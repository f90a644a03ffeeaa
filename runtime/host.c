/*===- host.c - calling the library of host operations --------------------------===
 *
 * A model that has host calls finds the library when it is opened and prepares each call then; the
 * instructions move references between the session's host buffers.
 *===----------------------------------------------------------------------===*/
#define _GNU_SOURCE /* dladdr */
#include "internal.h"

#include "nnopt/ops.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nnopt_value_api valueApi = {
    sizeof(nnopt_value_api), nnopt_value_tensor,   nnopt_value_strings, nnopt_value_sequence,
    nnopt_value_optional,    nnopt_value_map,      nnopt_value_retain,  nnopt_value_release,
    nnopt_value_kind,        nnopt_value_type,     nnopt_value_shape,   nnopt_value_count,
    nnopt_value_data,        nnopt_value_string,   nnopt_value_element};

/* ---- Finding the library -------------------------------------------------------------------- */

static _Atomic(const nnopt_ops *) linkedOps;

void nnopt_use_ops(const struct nnopt_ops *ops) { atomic_store(&linkedOps, ops); }

typedef const nnopt_ops *(*tableFn)(void);

/* Tries one file; the library stays loaded, as its states and messages may be in use. */
static const nnopt_ops *load(const char *path, char *why, size_t size) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library) {
    const char *text = dlerror();
    snprintf(why, size, "%s", text ? text : path);
    return NULL;
  }
  tableFn table;
  *(void **)&table = dlsym(library, "nnopt_ops_table");
  const nnopt_ops *ops = table ? table() : NULL;
  if (!ops)
    snprintf(why, size, "%s: not a library of host operations", path);
  dlclose(library);
  return ops;
}

static int findOps(const nnopt_options *options, const char *where, const nnopt_ops **found,
                   nnopt_error *error) {
  char why[512] = "", path[4096];
  const char *named = options->ops_library ? options->ops_library : getenv("NNOPT_OPS_LIBRARY");
  const nnopt_ops *ops = atomic_load(&linkedOps);
  if (!ops && named && *named) {
    ops = load(named, why, sizeof why);
  } else if (!ops) {
    /* Beside this code, be it a shared library or the program. */
    Dl_info self;
    const char *slash = dladdr(&linkedOps, &self) && self.dli_fname ? strrchr(self.dli_fname, '/') : NULL;
    int length = slash ? (int)(slash - self.dli_fname) : 0;
    static const char *const folders[] = {"", "/../lib", "/../lib/x86_64-linux-gnu", "/../lib/aarch64-linux-gnu"};
    for (size_t i = 0; !ops && slash && i < sizeof folders / sizeof *folders; ++i) {
      int n = snprintf(path, sizeof path, "%.*s%s/libnnopt_ops.so", length, self.dli_fname, folders[i]);
      if (n > 0 && (size_t)n < sizeof path)
        ops = load(path, why, sizeof why);
    }
    if (!ops)
      ops = load("libnnopt_ops.so", why, sizeof why);
  }
  if (!ops)
    return nni_fail(error, NNOPT_FAILED,
                    "%s: the model has operations on strings, sequences or images, whose library "
                    "cannot be opened (%s); install libnnopt_ops.so beside the runtime or name it in "
                    "NNOPT_OPS_LIBRARY",
                    where, why);
  if (ops->version != NNOPT_OPS_VERSION)
    return nni_fail(error, NNOPT_INVALID,
                    "%s: the library of host operations has version %u, this runtime needs %d; "
                    "install those of one release",
                    where, ops->version, NNOPT_OPS_VERSION);
  *found = ops;
  return NNOPT_OK;
}

/* ---- Models --------------------------------------------------------------------------------- */

struct nni_host {
  uint32_t count;
  struct {
    const nnopt_host_operation *operation;
    void *state;
  } calls[];
};

/* Adds the name of the node to a message of an operation. */
static int failedCall(const nni_meta *m, const nnopt_host_call *call, int code, const nnopt_error *inner,
                      nnopt_error *error) {
  return nni_fail(error, code ? code : NNOPT_FAILED, "node '%.200s' (%s): %.700s", m->strings + call->nodes,
                  m->strings + call->operation, inner->message);
}

int nni_host_open(nnopt_model *model, const char *where, nnopt_error *error) {
  const nni_meta *m = &model->meta;
  if (!m->host_call_count)
    return NNOPT_OK;
  const nnopt_ops *ops = NULL;
  int code = findOps(&model->options, where, &ops, error);
  if (code)
    return code;
  nni_host *host = nni_calloc(1, sizeof *host + m->host_call_count * sizeof host->calls[0]);
  if (!host)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  model->host = host;
  for (uint32_t i = 0; i < m->host_call_count; ++i) {
    const nnopt_host_call *call = &m->host_calls[i];
    const char *name = m->strings + call->operation;
    const nnopt_host_operation *operation = NULL;
    for (uint32_t k = 0; k < ops->count && !operation; ++k)
      if (!strcmp(ops->operations[k].name, name))
        operation = &ops->operations[k];
    if (!operation)
      return nni_fail(error, NNOPT_INVALID,
                      "%s: the library of host operations has no '%.60s'; install the one of the release "
                      "that the model was compiled with",
                      where, name);
    const void *attributes = NULL;
    size_t size = 0;
    if (call->attributes != NNOPT_NONE) {
      const nnopt_buffer_meta *b = &m->buffers[call->attributes];
      attributes = model->artifact.weights + b->offset;
      size = (size_t)m->values[b->size].imm;
    }
    nnopt_error inner = {0};
    code = operation->create(&valueApi, attributes, size, &host->calls[i].state, &inner);
    if (code)
      return failedCall(m, call, code, &inner, error);
    host->calls[i].operation = operation;
    host->count = i + 1;
  }
  return NNOPT_OK;
}

void nni_host_close(nni_host *host) {
  for (uint32_t i = 0; host && i < host->count; ++i)
    host->calls[i].operation->destroy(host->calls[i].state);
  free(host);
}

/* ---- Instructions --------------------------------------------------------------------------- */

static void put(nnopt_session *s, uint32_t buffer, nnopt_value *value) {
  nnopt_value_release(s->host[buffer]);
  s->host[buffer] = value;
}

static int missing(nnopt_error *error, uint32_t buffer) {
  return nni_fail(error, NNOPT_INVALID, "damaged metadata: host buffer %u is read before it is written; compile again",
                  buffer);
}

/* What the compiler relies on: kind, element type and, of tensors, rank. */
static int checkResult(const nni_meta *m, const nnopt_tensor_meta *t, const nnopt_value *v, nnopt_error *error) {
  int32_t rank;
  nnopt_value_shape(v, &rank);
  if ((uint32_t)nnopt_value_kind(v) == t->kind && (uint32_t)nnopt_value_type(v) == t->dtype &&
      (t->kind > NNOPT_KIND_STRINGS || (uint32_t)rank == t->rank))
    return NNOPT_OK;
  static const char *const kinds[] = {"tensor", "tensor", "sequence", "optional", "map"};
  return nni_fail(error, NNOPT_INVALID, "the result is a %s of %s of rank %d; the model was compiled for %s of rank %u",
                  kinds[nnopt_value_kind(v)], nni_dtype_name((uint32_t)nnopt_value_type(v)), rank,
                  m->strings + t->type, t->rank);
}

static int call(nnopt_session *s, uint32_t number, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_host_call *c = &m->host_calls[number];
  for (uint32_t i = 0; i < c->input_count; ++i) {
    uint32_t buffer = m->operands[c->inputs + i].number;
    s->host_operands[i] = s->host[buffer];
    if (!s->host[buffer])
      return missing(error, buffer);
  }
  nnopt_value **results = s->host_operands + c->input_count;
  memset(results, 0, c->output_count * sizeof *results);
  nnopt_error inner = {0};
  int code = s->model->host->calls[number].operation->run(s->model->host->calls[number].state, s->host_operands,
                                                          c->input_count, results, c->output_count, &inner);
  for (uint32_t i = 0; i < c->output_count; ++i) {
    uint32_t tensor = m->operands[c->outputs + i].number;
    if (!code && !results[i])
      code = nni_fail(&inner, NNOPT_FAILED, "no result %u", i);
    if (!code && tensor != NNOPT_NONE)
      code = checkResult(m, &m->tensors[tensor], results[i], &inner);
    if (!code && tensor != NNOPT_NONE)
      put(s, m->tensors[tensor].buffer, results[i]);
    else
      nnopt_value_release(results[i]);
  }
  return code ? failedCall(m, c, code, &inner, error) : NNOPT_OK;
}

static int hostCall(nnopt_session *s, uint32_t number, nnopt_error *error) {
  if (!s->profiler)
    return call(s, number, error);
  const nni_meta *m = &s->model->meta;
  const nnopt_host_call *c = &m->host_calls[number];
  nnopt_profile_record r = {0};
  r.start_ns = nni_now();
  int code = call(s, number, error);
  r.duration_ns = nni_now() - r.start_ns;
  r.run = s->run;
  r.launch = NNOPT_NONE;
  r.threads = 1;
  r.kernel = r.op = m->strings + c->operation;
  r.nodes = m->strings + c->nodes;
  r.flops = r.bytes = -1;
  r.tasks = 1;
  s->profiler(s->profile_context, &r);
  return code;
}

/* Dimensions of a tensor for the session's values; fails where its memory is too small for them. */
static int memoryOf(nnopt_session *s, const nnopt_tensor_meta *t, int64_t *dims, int64_t *bytes, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  DLDataType dtype;
  int width;
  nni_dtype(t->dtype, &dtype, &width);
  for (uint32_t d = 0; d < t->rank; ++d)
    dims[d] = s->values[m->indices[t->dims + d]];
  *bytes = nni_bytes((int)t->rank, dims, width);
  if (*bytes >= 0 && *bytes <= s->extent[t->buffer])
    return NNOPT_OK;
  return nni_fail(error, NNOPT_INVALID, "damaged metadata: a tensor leaves buffer %u; compile again", t->buffer);
}

static int box(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  const nnopt_tensor_meta *t = &s->model->meta.tensors[n->b];
  int64_t dims[NNOPT_MAX_RANK], bytes;
  int code = memoryOf(s, t, dims, &bytes, error);
  if (code)
    return code;
  DLTensor from = {.data = s->pointers[t->buffer], .device = {kDLCPU, 0}, .ndim = (int32_t)t->rank, .shape = dims};
  nnopt_value *value;
  code = nnopt_value_tensor((int32_t)t->dtype, &from, &value, error);
  if (!code)
    put(s, n->a, value);
  return code;
}

static int unbox(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_tensor_meta *t = &m->tensors[n->a];
  nnopt_value *v = s->host[n->b];
  int64_t dims[NNOPT_MAX_RANK], bytes;
  int code = v ? memoryOf(s, t, dims, &bytes, error) : missing(error, n->b);
  if (code)
    return code;
  nnopt_error inner = {0};
  if (!(code = checkResult(m, t, v, &inner))) {
    int32_t rank;
    const int64_t *shape = nnopt_value_shape(v, &rank);
    char is[256], want[256];
    if (rank && memcmp(shape, dims, (size_t)rank * sizeof *dims))
      code = nni_fail(&inner, NNOPT_INVALID, "the result has shape %s, the model was compiled for %s",
                      nni_shape_text(rank, shape, is, sizeof is), nni_shape_text(rank, dims, want, sizeof want));
  }
  if (code)
    return nni_fail(error, code, "node '%.200s': %.700s", m->strings + n->c, inner.message);
  if (bytes)
    memcpy(s->pointers[t->buffer], nnopt_value_data(v), (size_t)bytes);
  return NNOPT_OK;
}

static int readDim(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  int32_t rank = 0;
  const nnopt_value *v = s->host[n->b];
  const int64_t *shape = v ? nnopt_value_shape(v, &rank) : NULL;
  if (!v || (int64_t)n->c >= rank)
    return missing(error, n->b);
  return nni_set_symbol(s, n->a, shape[n->c], error);
}

int nni_host_instruction(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  switch (n->op) {
  case NNOPT_I_HOST_CALL:
    return hostCall(s, n->a, error);
  case NNOPT_I_HOST_COPY:
    if (!s->host[n->b])
      return missing(error, n->b);
    put(s, n->a, nnopt_value_retain(s->host[n->b]));
    return NNOPT_OK;
  case NNOPT_I_BOX:
    return box(s, n, error);
  case NNOPT_I_UNBOX:
    return unbox(s, n, error);
  default:
    return readDim(s, n, error);
  }
}

/* ---- Sessions ------------------------------------------------------------------------------- */

int nni_host_session(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  size_t operands = 0;
  for (uint32_t i = 0; i < m->host_call_count; ++i) {
    size_t n = (size_t)m->host_calls[i].input_count + m->host_calls[i].output_count;
    operands = n > operands ? n : operands;
  }
  s->host = nni_calloc(m->buffer_count, sizeof *s->host);
  s->host_operands = nni_calloc(operands, sizeof *s->host_operands);
  return s->host && s->host_operands ? NNOPT_OK : nni_fail(error, NNOPT_FAILED, "out of memory");
}

void nni_host_before(nnopt_session *s) {
  const nni_meta *m = &s->model->meta;
  for (uint32_t i = 0; i < m->input_count; ++i)
    if (s->inputs[i].tensor->kind != NNOPT_KIND_TENSOR && s->inputs[i].tensor->buffer != NNOPT_NONE)
      put(s, s->inputs[i].tensor->buffer, nnopt_value_retain(s->inputs[i].value));
}

int nni_host_after(nnopt_session *s, bool clear, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  int code = NNOPT_OK;
  for (uint32_t i = 0; i < m->output_count; ++i) {
    nni_port *port = &s->outputs[i];
    if (!port->tensor || port->tensor->kind == NNOPT_KIND_TENSOR)
      continue; /* (a session whose creation failed has ports without tensors) */
    nnopt_value_release(port->value);
    port->value = clear ? NULL : nnopt_value_retain(s->host[port->tensor->buffer]);
    if (!clear && !port->value)
      code = missing(error, port->tensor->buffer);
  }
  for (uint32_t i = 0; s->host && i < m->buffer_count; ++i)
    put(s, i, NULL);
  return code;
}

int nni_check_value(const nnopt_tensor_info *info, const nnopt_value *value, nnopt_error *error) {
  int32_t rank;
  if (!value)
    return nni_fail(error, NNOPT_INVALID, "input '%s' is missing: set it with nnopt_session_set_input", info->name);
  nnopt_value_shape(value, &rank);
  if (nnopt_value_kind(value) != info->kind || nnopt_value_type(value) != info->onnx_type)
    return nni_fail(error, NNOPT_INVALID, "input '%s': the value is not of the model's type, %s", info->name, info->type);
  if (info->kind == NNOPT_KIND_STRINGS && rank != info->rank)
    return nni_fail(error, NNOPT_INVALID, "input '%s': the rank is %d, the model's is %d", info->name, rank, info->rank);
  return NNOPT_OK;
}

int nnopt_session_set_input(nnopt_session *s, size_t index, nnopt_value *value, nnopt_error *error) {
  if (!s || index >= s->model->meta.input_count)
    return nni_fail(error, NNOPT_INVALID, "nnopt_session_set_input: no such input");
  nni_port *port = &s->inputs[index];
  if (port->info->kind == NNOPT_KIND_TENSOR)
    return nni_fail(error, NNOPT_INVALID, "input '%s' is a tensor of numbers: pass it to nnopt_session_run",
                    port->info->name);
  int code = value ? nni_check_value(port->info, value, error) : NNOPT_OK;
  if (!code)
    code = nni_enter(s, error);
  if (code)
    return code;
  nnopt_value_retain(value);
  nnopt_value_release(port->value);
  port->value = value;
  nni_leave(s);
  return NNOPT_OK;
}

static int takeValue(nnopt_session *s, size_t index, nnopt_value **value, nnopt_error *error) {
  if (index >= s->model->meta.output_count)
    return nni_fail(error, NNOPT_INVALID, "output %zu asked for, the model has %u", index, s->model->meta.output_count);
  const nni_port *port = &s->outputs[index];
  if (port->info->kind == NNOPT_KIND_TENSOR) {
    if (!s->ran || !port->held)
      return nni_fail(error, NNOPT_INVALID,
                      "output '%s' can be taken after a successful run to which it was passed as NULL", port->info->name);
    int64_t dims[NNOPT_MAX_RANK];
    nni_port_dims(s, port, true, dims);
    DLTensor from = {.data = (void *)port->held, .device = {kDLCPU, 0}, .ndim = port->info->rank, .shape = dims};
    return nnopt_value_tensor(port->info->onnx_type, &from, value, error);
  }
  if (!s->ran || !port->value)
    return nni_fail(error, NNOPT_INVALID, "output '%s' can be taken after a successful run", port->info->name);
  *value = nnopt_value_retain(port->value);
  return NNOPT_OK;
}

int nnopt_session_take_value(nnopt_session *s, size_t index, nnopt_value **value, nnopt_error *error) {
  if (!s || !value)
    return nni_fail(error, NNOPT_INVALID, "nnopt_session_take_value: an argument is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  code = takeValue(s->last, index, value, error);
  nni_leave(s);
  return code;
}

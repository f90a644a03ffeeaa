/*===- session.c - sessions -----------------------------------------------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Creation ------------------------------------------------------------------------------- */

static int openPorts(nnopt_session *s, nnopt_error *error) {
  nnopt_model *model = s->model;
  const nni_meta *m = &model->meta;
  for (uint32_t i = 0; i < m->input_count + m->output_count; ++i) {
    bool input = i < m->input_count;
    uint32_t k = input ? i : i - m->input_count;
    nni_port *port = input ? &s->inputs[k] : &s->outputs[k];
    DLDataType dtype;
    port->tensor = &m->tensors[input ? m->inputs[k] : m->outputs[k]];
    port->info = input ? &model->inputs[k] : &model->outputs[k];
    port->state = -1;
    port->pointer = nni_empty;
    nni_dtype(port->tensor->dtype, &dtype, &port->width);
    if (port->tensor->kind != NNOPT_KIND_TENSOR)
      continue;
    if (port->width == 0)
      return nni_fail(error, NNOPT_UNSUPPORTED,
                      "%s '%s' holds %ss, which this version of the runtime cannot pass",
                      input ? "input" : "output", port->info->name,
                      nni_dtype_name(port->tensor->dtype));
    /* Kernels may assume that elements are aligned. */
    port->align = port->width > 8 ? 8 : (uint32_t)port->width;
    if (s->model->device)
      port->align = 16; /* GPU kernels load vectors */
  }
  for (uint32_t i = 0; i < m->buffer_count; ++i) {
    const nnopt_buffer_meta *b = &m->buffers[i];
    if (b->kind != NNOPT_B_INPUT && b->kind != NNOPT_B_OUTPUT)
      continue;
    nni_port *port = b->kind == NNOPT_B_INPUT ? &s->inputs[b->index] : &s->outputs[b->index];
    if (port->tensor->kind != NNOPT_KIND_TENSOR)
      return nni_fail(error, NNOPT_INVALID, "damaged metadata: buffer %u is memory of '%s', which has none; compile again",
                      i, port->info->name);
    port->has_buffer = true;
    if (b->align > port->align)
      port->align = b->align;
  }
  for (uint32_t i = 0; i < m->output_count; ++i) {
    uint32_t buffer = s->outputs[i].tensor->buffer;
    if (s->outputs[i].tensor->kind != NNOPT_KIND_TENSOR)
      continue;
    s->outputs[i].direct = m->buffers[buffer].kind == NNOPT_B_OUTPUT &&
                           m->buffers[buffer].index == i && !m->buffer_dynamic[buffer];
  }
  return NNOPT_OK;
}

static int openLaunches(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  size_t buffers = 0, dims = 0;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    buffers += m->launches[i].buffer_count;
    dims += m->launches[i].dim_count;
  }
  s->launches = nni_calloc(m->launch_count, sizeof *s->launches);
  s->slots = nni_calloc(buffers, sizeof *s->slots);
  s->slot_dims = nni_calloc(dims, sizeof *s->slot_dims);
  if (!s->launches || !s->slots || !s->slot_dims)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  buffers = dims = 0;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    nni_launch *l = &s->launches[i];
    if (!m->launches[i].threads)
      l->kernel = s->model->artifact.descriptor->kernels[m->launches[i].kernel];
    l->buffers = s->slots + buffers;
    l->dims = s->slot_dims + dims;
    l->number = i;
    buffers += m->launches[i].buffer_count;
    dims += m->launches[i].dim_count;
  }
  return NNOPT_OK;
}

static int openSession(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  s->symbols = nni_calloc(m->symbol_count, sizeof *s->symbols);
  s->next_symbols = nni_calloc(m->symbol_count, sizeof *s->next_symbols);
  s->symbol_known = nni_calloc(m->symbol_count, 1);
  s->values = nni_calloc(m->value_count, sizeof *s->values);
  s->plan_size = nni_calloc(m->plan_count, sizeof *s->plan_size);
  s->plan_work = nni_calloc(4 * (size_t)m->plan_count, sizeof *s->plan_work);
  s->dynamic = nni_calloc(m->buffer_count, sizeof *s->dynamic);
  s->pointers = nni_calloc(m->buffer_count, sizeof *s->pointers);
  s->extent = nni_calloc(m->buffer_count, sizeof *s->extent);
  s->inputs = nni_calloc(m->input_count, sizeof *s->inputs);
  s->outputs = nni_calloc(m->output_count, sizeof *s->outputs);
  s->versions = nni_calloc(s->model->specialized_count, sizeof *s->versions);
  s->capacities = nni_calloc(m->state_count, sizeof *s->capacities);
  if (!s->versions || !s->capacities || !s->symbols || !s->next_symbols || !s->symbol_known || !s->values || !s->plan_size ||
      !s->plan_work || !s->dynamic || !s->pointers || !s->extent || !s->inputs || !s->outputs)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  int code = nni_host_session(s, error);
  if (!code)
    code = openPorts(s, error);
  if (!code)
    code = openLaunches(s, error);
  if (!code && s->model->device)
    code = nni_device_session_open(s, error);
  if (code)
    return code;
  if (s->lent)
    return NNOPT_OK;
  s->threads = s->options.num_threads > 0 ? s->options.num_threads : nni_default_threads();
  s->pool = nni_pool_create(&s->options, s->threads, error);
  return s->pool ? NNOPT_OK : NNOPT_FAILED;
}

int nni_session_open(nnopt_model *model, const nnopt_options *options, nnopt_session *parent, nnopt_session **session,
                     nnopt_error *error) {
  nnopt_session *s = nni_calloc(1, sizeof *s);
  if (!s)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  s->model = model;
  s->last = s;
  if (parent) {
    s->lent = true;
    s->pool = parent->pool;
    s->threads = parent->threads;
  }
  atomic_fetch_add(&model->references, 1);
  atomic_flag_clear(&s->busy);
  int code = nni_options(&s->options, options, &model->options, error);
  if (!code)
    code = openSession(s, error);
  if (code)
    nnopt_session_destroy(s);
  else
    *session = s;
  return code;
}

int nnopt_session_create(nnopt_model *model, const nnopt_options *options, nnopt_session **session,
                         nnopt_error *error) {
  if (!model || !session)
    return nni_fail(error, NNOPT_INVALID, "nnopt_session_create: an argument is NULL");
  return nni_session_open(model, options, NULL, session, error);
}

void nnopt_session_destroy(nnopt_session *s) {
  if (!s)
    return;
  const nni_meta *m = &s->model->meta;
  for (uint32_t i = 0; s->versions && i < s->model->specialized_count; ++i)
    nnopt_session_destroy(s->versions[i]);
  free(s->versions);
  if (!s->lent)
    nni_pool_destroy(s->pool);
  nni_states_destroy(s);
  if (s->inputs && s->outputs)
    nni_host_after(s, true, NULL);
  for (uint32_t i = 0; s->inputs && i < m->input_count; ++i)
    nnopt_value_release(s->inputs[i].value);
  for (uint32_t i = 0; s->inputs && i < m->input_count; ++i)
    nni_session_release(s, &s->inputs[i].temp);
  for (uint32_t i = 0; s->outputs && i < m->output_count; ++i)
    nni_session_release(s, &s->outputs[i].temp);
  for (uint32_t i = 0; s->dynamic && i < m->buffer_count; ++i)
    nni_session_release(s, &s->dynamic[i]);
  nni_session_release(s, &s->arena);
  nni_device_session_close(s);
  for (int i = 0; i < NNI_PLANS; ++i)
    free(s->plans[i].size);
  free(s->symbols);
  free(s->next_symbols);
  free(s->symbol_known);
  free(s->values);
  free(s->capacities);
  free(s->plan_size);
  free(s->plan_work);
  free(s->dynamic);
  free(s->pointers);
  free(s->extent);
  free(s->host);
  free(s->host_operands);
  free(s->inputs);
  free(s->outputs);
  free(s->launches);
  free(s->slots);
  free(s->slot_dims);
  nnopt_model_close(s->model);
  free(s);
}

int32_t nnopt_session_threads(const nnopt_session *session) { return session->threads; }

void nnopt_session_set_profiler(nnopt_session *session, nnopt_profile_fn callback, void *context) {
  session->profiler = callback;
  session->profile_context = context;
}

int nni_enter(nnopt_session *s, nnopt_error *error) {
  if (!atomic_flag_test_and_set_explicit(&s->busy, memory_order_acquire))
    return NNOPT_OK;
  return nni_fail(error, NNOPT_INVALID,
                  "the session is in use by another thread; create one session for each thread");
}

void nni_leave(nnopt_session *s) { atomic_flag_clear_explicit(&s->busy, memory_order_release); }

/* ---- Running -------------------------------------------------------------------------------- */

static int noMemory(const nni_port *port, nnopt_error *error) {
  return nni_fail(error, NNOPT_FAILED, "out of memory for a copy of '%s'", port->info->name);
}

/* Points at the caller's memory where kernels can use it, at a compact copy elsewhere. */
static int placeInput(nnopt_session *s, nni_port *port, const DLTensor *tensor,
                      nnopt_error *error) {
  int64_t bytes = nni_bytes(tensor->ndim, tensor->shape, port->width);
  char *data = (char *)tensor->data + tensor->byte_offset;
  bool here = (tensor->device.device_type == kDLCUDA) == (s->gpu != NULL);
  if (bytes && here && nni_is_compact(tensor) && (uintptr_t)data % port->align == 0) {
    port->pointer = data;
    return NNOPT_OK;
  }
  if (!port->has_buffer)
    return NNOPT_OK;
  if (!nni_session_reserve(s, &port->temp, (size_t)bytes, port->align > 64 ? port->align : 64, 0))
    return noMemory(port, error);
  port->pointer = port->temp.data;
  return nni_session_gather(s, port->temp.data, tensor, port->width, error);
}

static int checkOutput(const nnopt_session *s, const nni_port *port, const DLTensor *tensor, const int64_t *dims,
                       nnopt_error *error) {
  char is[256], want[256];
  int code = nni_check_tensor(tensor, port->info, "output", s->gpu != NULL, true, error);
  if (code)
    return code;
  for (int d = 0; d < tensor->ndim; ++d)
    if (tensor->shape[d] != dims[d] && dims[d] >= 0)
      return nni_fail(error, NNOPT_INVALID,
                      "output '%s': the shape is %s, for these inputs it must be %s",
                      port->info->name, nni_shape_text(tensor->ndim, tensor->shape, is, sizeof is),
                      nni_shape_text(tensor->ndim, dims, want, sizeof want));
  return NNOPT_OK;
}

static int placeOutput(nnopt_session *s, nni_port *port, const DLTensor *tensor,
                       nnopt_error *error) {
  int64_t dims[NNOPT_MAX_RANK];
  nni_port_dims(s, port, false, dims);
  if (tensor) {
    int code = checkOutput(s, port, tensor, dims, error);
    if (code)
      return code;
  }
  port->target = tensor;
  port->held = NULL;
  if (port->state >= 0 || !port->has_buffer)
    return NNOPT_OK; /* placed by states; copied afterwards */
  nni_port_dims(s, port, true, dims);
  int64_t bytes = nni_bytes((int)port->tensor->rank, dims, port->width);
  if (port->direct && tensor && bytes) {
    char *data = (char *)tensor->data + tensor->byte_offset;
    bool here = (tensor->device.device_type == kDLCUDA) == (s->gpu != NULL);
    if (here && nni_is_compact(tensor) && (uintptr_t)data % port->align == 0) {
      port->pointer = data;
      port->target = NULL;
      return NNOPT_OK;
    }
  }
  /* Data-dependent outputs have a temporary already, and refreshDynamic makes it bigger. */
  if (s->model->meta.buffer_dynamic[port->tensor->buffer] && port->temp.data) {
    port->pointer = port->temp.data;
    return NNOPT_OK;
  }
  if (!nni_session_reserve(s, &port->temp, (size_t)(bytes > 0 ? bytes : 0),
                   port->align > 64 ? port->align : 64, 0))
    return noMemory(port, error);
  port->pointer = port->temp.data;
  return NNOPT_OK;
}

/* Where an output's content is when the program has run. */
static const char *outputContent(const nnopt_session *s, const nni_port *port) {
  return port->direct ? port->pointer : s->pointers[port->tensor->buffer];
}

/* Copies outputs that the program did not write to where they belong. */
static int finishOutput(nnopt_session *s, nni_port *port, bool wanted, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  int64_t dims[NNOPT_MAX_RANK];
  nni_port_dims(s, port, true, dims);
  const char *content = outputContent(s, port);
  int64_t bytes = nni_bytes((int)port->tensor->rank, dims, port->width);
  if (!port->direct && bytes > s->extent[port->tensor->buffer])
    return nni_fail(error, NNOPT_INVALID,
                    "damaged metadata: output '%s' is bigger than its buffer; "
                    "compile again",
                    port->info->name);
  if (port->target) {
    int code = checkOutput(s, port, port->target, dims, error);
    if (!code)
      code = nni_state_compact(s, port, &content, error);
    if (code)
      return code;
    if ((code = nni_session_scatter(s, port->target, content, port->width, error)))
      return code;
  }
  if (wanted && port->state < 0)
    return NNOPT_OK;
  port->held = content;
  bool ours = port->direct || !m->buffer_io[port->tensor->buffer] ||
              m->buffer_dynamic[port->tensor->buffer];
  if (ours && (port->state < 0 || port->direct))
    return NNOPT_OK;
  /* The content is in memory of the caller (an input that is an output too), or has to go to a
   * state's memory. */
  char *to = port->pointer;
  if (port->state < 0) {
    if (!nni_session_reserve(s, &port->temp, (size_t)bytes, 64, 0))
      return noMemory(port, error);
    to = port->temp.data;
  }
  port->held = to;
  return bytes > 0 ? nni_session_copy(s, to, content, (size_t)bytes, error) : NNOPT_OK;
}

static int run(nnopt_session *s, DLTensor *const *inputs, size_t input_count,
               DLTensor *const *outputs, size_t output_count, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  if (output_count != m->output_count || (output_count && !outputs))
    return nni_fail(error, NNOPT_INVALID, "%zu outputs given, the model has %u", output_count,
                    m->output_count);
  int code = nni_bind_inputs(s, inputs, input_count, true, error);
  s->ran = false;
  if (!code)
    code = nni_states_before(s, error);
  for (uint32_t i = 0; !code && i < m->input_count; ++i)
    if (inputs[i])
      code = placeInput(s, &s->inputs[i], inputs[i], error);
  for (uint32_t i = 0; !code && i < m->output_count; ++i) {
    if (s->outputs[i].tensor->kind == NNOPT_KIND_TENSOR)
      code = placeOutput(s, &s->outputs[i], outputs[i], error);
    else if (outputs[i])
      code = nni_fail(error, NNOPT_INVALID, "output '%s' is no tensor of numbers (%s): pass NULL and take it with "
                      "nnopt_session_take_value", s->outputs[i].info->name, s->outputs[i].info->type);
  }
  if (code)
    return code;
  nni_place_ports(s);
  nni_host_before(s);
  code = nni_execute(s, error);
  int taken = nni_host_after(s, code != 0, error);
  if (code || (code = taken))
    return code;
  for (uint32_t i = 0; i < m->output_count; ++i)
    if (s->outputs[i].tensor->kind == NNOPT_KIND_TENSOR && (code = finishOutput(s, &s->outputs[i], outputs[i] != NULL, error)))
      return code;
  nni_states_after(s);
  if ((code = nni_device_finish(s, error)))
    return code;
  s->ran = true;
  return NNOPT_OK;
}

int nnopt_session_run(nnopt_session *s, DLTensor *const *inputs, size_t input_count,
                      DLTensor *const *outputs, size_t output_count, nnopt_error *error) {
  if (!s)
    return nni_fail(error, NNOPT_INVALID, "the session is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  if (!(code = nni_version_for(s, inputs, input_count, &s->last, error)))
    code = run(s->last, inputs, input_count, outputs, output_count, error);
  nni_leave(s);
  return code;
}

/* ---- Outputs that the library allocates ----------------------------------------------------- */

typedef struct taken {
  DLManagedTensorVersioned tensor;
  nnopt_options options;
  size_t bytes;
  int64_t shape[NNOPT_MAX_RANK], strides[NNOPT_MAX_RANK];
} taken;

static void deleteTaken(DLManagedTensorVersioned *tensor) {
  taken *t = tensor->manager_ctx;
  nni_deallocate(&t->options, t->tensor.dl_tensor.data, t->bytes);
  free(t);
}

static int takeOutput(nnopt_session *s, size_t index, DLManagedTensorVersioned **tensor,
                      nnopt_error *error) {
  if (index >= s->model->meta.output_count)
    return nni_fail(error, NNOPT_INVALID, "output %zu asked for, the model has %u", index,
                    s->model->meta.output_count);
  const nni_port *port = &s->outputs[index];
  if (port->info->kind != NNOPT_KIND_TENSOR)
    return nni_fail(error, NNOPT_INVALID, "output '%s' is no tensor of numbers (%s): take it with "
                    "nnopt_session_take_value", port->info->name, port->info->type);
  if (!s->ran || !port->held)
    return nni_fail(
        error, NNOPT_INVALID,
        "output '%s' can be taken after a successful run to which it was passed as NULL",
        port->info->name);
  const char *content = port->held;
  int code = nni_state_compact(s, port, &content, error);
  if (code)
    return code;
  taken *t = nni_calloc(1, sizeof *t);
  if (!t)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  int rank = (int)port->tensor->rank;
  nni_port_dims(s, port, true, t->shape);
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    t->strides[d] = stride;
    stride *= t->shape[d];
  }
  t->options = s->options;
  t->bytes = (size_t)nni_bytes(rank, t->shape, port->width);
  t->tensor.version = (DLPackVersion){1, 1};
  t->tensor.manager_ctx = t;
  t->tensor.deleter = deleteTaken;
  t->tensor.flags = (1u << 1) | (port->info->dtype.bits < 8 ? 1u << 2 : 0); /* copied; padded */
  t->tensor.dl_tensor = (DLTensor){.data = nni_allocate(&s->options, t->bytes, 64),
                                   .device = {kDLCPU, 0},
                                   .ndim = rank,
                                   .dtype = port->info->dtype,
                                   .shape = t->shape,
                                   .strides = t->strides};
  if (!t->tensor.dl_tensor.data) {
    free(t);
    return noMemory(port, error);
  }
  if (t->bytes)
    code = nni_session_read(s, t->tensor.dl_tensor.data, content, t->bytes, error);
  if (code)
    deleteTaken(&t->tensor);
  else
    *tensor = &t->tensor;
  return code;
}

int nnopt_session_take_output(nnopt_session *s, size_t index, DLManagedTensorVersioned **tensor,
                              nnopt_error *error) {
  if (!s || !tensor)
    return nni_fail(error, NNOPT_INVALID, "nnopt_session_take_output: an argument is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  code = takeOutput(s->last, index, tensor, error);
  nni_leave(s);
  return code;
}

/*===- plan.c - making a session ready for input shapes -------------------------===
 *
 * For new shapes: values are evaluated, the arena is planned and allocated, and all pointers and
 * sizes of all launches are computed. A run with the same shapes then only follows them.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

#include <string.h>

static int outOfMemory(nnopt_error *error, int64_t bytes, const char *what) {
  return nni_fail(
      error, NNOPT_FAILED,
      "out of memory: %s for these input shapes needs %lld bytes; use smaller inputs or fewer "
      "threads",
      what, (long long)bytes);
}

/* ---- The arena ------------------------------------------------------------------------------ */

static bool fits(const nni_plan *plan, const int64_t *size, uint32_t count) {
  if (!plan->valid)
    return false;
  for (uint32_t k = 0; k < count; ++k)
    if (size[k] > plan->size[k])
      return false;
  return true;
}

/* Plans memory for s->plan_size into *plan. With slack, where shapes grow, sizes get 25 % more than
 * they need, so that a sequence that grows step by step is planned for now and then only. */
static int makePlan(nnopt_session *s, nni_plan *plan, bool slack, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  size_t n = m->plan_count;
  if (!plan->size) {
    plan->size = nni_calloc(2 * n, sizeof *plan->size);
    if (!plan->size)
      return nni_fail(error, NNOPT_FAILED, "out of memory");
    plan->offset = plan->size + n;
  }
  plan->valid = false;
  plan->total = 0;
  for (size_t k = 0; k < n; ++k) {
    int64_t size = s->plan_size[k];
    bool constant = m->values[m->buffers[m->plan_buffer[k]].size].op == NNOPT_V_CONST;
    plan->size[k] = slack && !constant ? size + size / 4 : size;
    plan->total += (double)plan->size[k];
  }
  plan->bytes = nnopt_plan_memory((uint32_t)n, plan->size, m->plan_first, m->plan_last,
                                  m->plan_align, plan->offset, s->plan_work, NULL);
  if (plan->bytes < 0)
    return nni_fail(error, NNOPT_INVALID, "these input shapes need an absurd amount of memory");
  plan->valid = true;
  return NNOPT_OK;
}

/* The smallest plan that serves s->plan_size, a new one if there is none. One that is made for more than twice as much serves only
 * when there is no room for another: buffers lie far apart in it (a network at batch 1 was 10 % slower behind a run at
 * batch 256). */
static int choosePlan(nnopt_session *s, nni_plan **chosen, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  nni_plan *best = NULL;
  for (int i = 0; i < NNI_PLANS; ++i) {
    nni_plan *plan = &s->plans[i];
    if (fits(plan, s->plan_size, m->plan_count) && (!best || plan->bytes < best->bytes))
      best = plan;
  }
  bool grows = !best;
  if (best && s->plan_count < NNI_PLANS && best->total / 2 > (double)s->naive)
    best = NULL;
  if (!best) {
    best = &s->plans[s->plan_count % NNI_PLANS];
    int code = makePlan(s, best, grows && s->plan_count > 0, error);
    if (code)
      return code;
    ++s->plan_count;
  }
  *chosen = best;
  return NNOPT_OK;
}

/* Most bytes of s->plan_size alive at one instruction. */
static int64_t lowerBound(nnopt_session *s) {
  const nni_meta *m = &s->model->meta;
  int64_t bound = 0;
  /* The instructions are few thousand at most; a sum for each is cheap next to planning. */
  for (uint32_t k = 0; k < m->plan_count; ++k) {
    int64_t live = 0;
    for (uint32_t j = 0; j < m->plan_count; ++j)
      if (m->plan_first[j] <= m->plan_first[k] && m->plan_last[j] >= m->plan_first[k])
        live += s->plan_size[j];
    if (live > bound)
      bound = live;
  }
  return bound;
}

/* ---- Pointers ------------------------------------------------------------------------------- */

static int badView(nnopt_error *error, uint32_t buffer) {
  return nni_fail(error, NNOPT_INVALID,
                  "damaged metadata: buffer %u leaves its parent; compile again", buffer);
}

/* Room for a buffer that is allocated by itself, keeping what it holds. */
static int reserveDynamic(nnopt_session *s, uint32_t buffer, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_buffer_meta *b = &m->buffers[buffer];
  int64_t size = nni_buffer_size(m, s->values, s->threads, buffer);
  if (size < 0)
    return nni_fail(error, NNOPT_INVALID,
                    "a size that depends on data came out as %lld bytes (buffer %u)",
                    (long long)s->values[b->size], buffer);
  nni_memory *memory = b->kind == NNOPT_B_OUTPUT ? &s->outputs[b->index].temp : &s->dynamic[buffer];
  size_t room = (size_t)size;
  /* Growing again and again would be quadratic. */
  if (memory->data && room > memory->size && room < memory->size + memory->size / 2)
    room = memory->size + memory->size / 2;
  size_t align = b->align > 64 ? b->align : 64;
  if (!nni_session_reserve(s, memory, room, align, memory->size))
    return outOfMemory(error, size, "a result whose size depends on data");
  if (b->kind == NNOPT_B_OUTPUT)
    s->outputs[b->index].pointer = memory->data;
  s->pointers[buffer] = memory->data;
  s->extent[buffer] = size;
  return NNOPT_OK;
}

/* Memory that a session keeps: made when it is first needed. */
static int reserveKept(nnopt_session *s, uint32_t buffer, nnopt_error *error) {
  nni_memory *memory = &s->dynamic[buffer];
  int64_t size = nni_buffer_size(&s->model->meta, s->values, s->threads, buffer);
  if (!memory->data) {
    if (size < 0 || !nni_session_reserve(s, memory, (size_t)size, 64, 0))
      return outOfMemory(error, size, "what the model keeps from run to run");
    int code = nni_session_clear(s, memory->data, (size_t)size, error);
    if (code)
      return code;
  }
  s->pointers[buffer] = memory->data;
  s->extent[buffer] = size;
  return NNOPT_OK;
}

/* Sets pointer and extent of one buffer; its parent is done. Arena buffers are set elsewhere. */
static int setBuffer(nnopt_session *s, uint32_t buffer, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_buffer_meta *b = &m->buffers[buffer];
  if (b->kind != NNOPT_B_VIEW && m->buffer_dynamic[buffer])
    return reserveDynamic(s, buffer, error);
  int64_t size = s->values[b->size];
  switch (b->kind) {
  case NNOPT_B_HOST:
    s->pointers[buffer] = nni_empty;
    break;
  case NNOPT_B_WEIGHT:
    if (s->gpu)
      s->pointers[buffer] = nni_device_weight(s->model->device, buffer);
    else
      s->pointers[buffer] = size ? (char *)s->model->artifact.weights + b->offset : nni_empty;
    s->extent[buffer] = size;
    break;
  case NNOPT_B_INPUT:
    s->pointers[buffer] = s->inputs[b->index].pointer;
    break;
  case NNOPT_B_OUTPUT:
    s->pointers[buffer] = s->outputs[b->index].pointer;
    break;
  case NNOPT_B_KEPT:
    return reserveKept(s, buffer, error);
  case NNOPT_B_VIEW:
    if (size < 0 || size > s->extent[b->index])
      return badView(error, buffer);
    s->pointers[buffer] = s->pointers[b->index] + size;
    s->extent[buffer] = s->extent[b->index] - size;
    break;
  }
  return NNOPT_OK;
}

static void setSlots(nnopt_session *s, uint32_t launch) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *l = &m->launches[launch];
  for (uint32_t k = 0; k < l->buffer_count; ++k)
    s->launches[launch].buffers[k] = s->pointers[m->operands[l->buffers + k].number];
}

static void setDims(nnopt_session *s, uint32_t launch) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *l = &m->launches[launch];
  nni_launch *out = &s->launches[launch];
  for (uint32_t k = 0; k < l->dim_count; ++k)
    out->dims[k] = s->values[m->operands[l->dims + k].number];
  out->tasks = s->values[l->tasks];
  int64_t parts = out->tasks / (l->grain > 1 ? l->grain : 1);
  out->parts = (int32_t)(parts > s->threads ? s->threads : parts < 1 ? 1 : parts);
}

/* The program must not touch more of an input or output than its tensor has. */
static int checkPortBuffers(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  for (uint32_t i = 0; i < m->buffer_count; ++i) {
    const nnopt_buffer_meta *b = &m->buffers[i];
    if ((b->kind != NNOPT_B_INPUT && b->kind != NNOPT_B_OUTPUT) || m->buffer_dynamic[i])
      continue;
    const nni_port *port = b->kind == NNOPT_B_INPUT ? &s->inputs[b->index] : &s->outputs[b->index];
    int64_t dims[NNOPT_MAX_RANK], size = s->values[b->size];
    nni_port_dims(s, port, true, dims);
    int64_t bytes = nni_bytes((int)port->tensor->rank, dims, port->width);
    if (size < 0 || bytes < 0 || size > bytes)
      return badView(error, i);
    s->extent[i] = size;
  }
  return NNOPT_OK;
}

static int placeAll(nnopt_session *s, const nni_plan *plan, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  for (uint32_t k = 0; k < m->plan_count; ++k) {
    uint32_t buffer = m->plan_buffer[k];
    s->pointers[buffer] = s->arena.data + plan->offset[k];
    s->extent[buffer] = s->plan_size[k];
  }
  int code = checkPortBuffers(s, error);
  for (uint32_t k = 0; !code && k < m->buffer_count; ++k)
    code = setBuffer(s, m->order[k], error);
  if (code)
    return code;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    setSlots(s, i);
    setDims(s, i);
  }
  for (uint32_t i = 0; i < m->input_count; ++i)
    s->inputs[i].placed = s->inputs[i].pointer;
  for (uint32_t i = 0; i < m->output_count; ++i)
    s->outputs[i].placed = s->outputs[i].pointer;
  return NNOPT_OK;
}

int nni_prepare(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  s->prepared = false;
  s->ran = false;
  nni_device_changed(s);
  memcpy(s->symbols, s->next_symbols, m->symbol_count * sizeof *s->symbols);
  nni_plan *plan = NULL;
  int code = nni_evaluate(m, s->symbols, s->capacities, s->threads, false, s->values, error);
  if (!code)
    code = nni_plan_sizes(m, s->values, s->threads, s->plan_size, &s->naive, error);
  if (!code)
    code = choosePlan(s, &plan, error);
  if (code)
    return code;
  if (!nni_session_reserve(s, &s->arena, (size_t)plan->bytes, m->arena_align, 0))
    return outOfMemory(error, plan->bytes, "the arena");
  if ((code = placeAll(s, plan, error)))
    return code;
  s->prepared = true;
  return NNOPT_OK;
}

void nni_place_ports(nnopt_session *s) {
  const nni_meta *m = &s->model->meta;
  bool moved = false;
  for (uint32_t i = 0; i < m->input_count; ++i)
    moved |= s->inputs[i].pointer != s->inputs[i].placed;
  for (uint32_t i = 0; i < m->output_count; ++i)
    moved |= s->outputs[i].pointer != s->outputs[i].placed;
  if (!moved)
    return;
  nni_device_changed(s);
  for (uint32_t k = 0; k < m->buffer_count; ++k) {
    uint32_t i = m->order[k];
    const nnopt_buffer_meta *b = &m->buffers[i];
    if (!m->buffer_io[i])
      continue;
    if (b->kind == NNOPT_B_VIEW)
      s->pointers[i] = s->pointers[b->index] + s->values[b->size];
    else
      s->pointers[i] =
          b->kind == NNOPT_B_INPUT ? s->inputs[b->index].pointer : s->outputs[b->index].pointer;
  }
  for (uint32_t i = 0; i < m->launch_count; ++i)
    if (m->launch_io[i])
      setSlots(s, i);
  for (uint32_t i = 0; i < m->input_count; ++i)
    s->inputs[i].placed = s->inputs[i].pointer;
  for (uint32_t i = 0; i < m->output_count; ++i)
    s->outputs[i].placed = s->outputs[i].pointer;
}

int nni_refresh_dynamic(nnopt_session *s, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  int code = nni_evaluate(m, s->symbols, s->capacities, s->threads, true, s->values, error);
  for (uint32_t k = 0; !code && k < m->buffer_count; ++k)
    if (m->buffer_dynamic[m->order[k]])
      code = setBuffer(s, m->order[k], error);
  if (code)
    return code;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    if (!m->launch_dynamic[i])
      continue;
    setSlots(s, i);
    setDims(s, i);
  }
  return NNOPT_OK;
}

void nnopt_session_memory(const nnopt_session *session, nnopt_memory *memory) {
  session = session->last;
  const nni_meta *m = &session->model->meta;
  memset(memory, 0, sizeof *memory);
  memory->weight_bytes = (int64_t)session->model->artifact.weights_size;
  memory->arena_bytes = (int64_t)session->arena.size;
  if (session->prepared) {
    memory->naive_bytes = session->naive;
    memory->lower_bound_bytes = lowerBound((nnopt_session *)session);
  }
  int64_t other = 0;
  for (uint32_t i = 0; i < m->buffer_count; ++i)
    other += (int64_t)session->dynamic[i].size;
  for (uint32_t i = 0; i < m->input_count; ++i)
    other += (int64_t)session->inputs[i].temp.size;
  for (uint32_t i = 0; i < m->output_count; ++i)
    other += (int64_t)session->outputs[i].temp.size;
  for (uint32_t i = 0; i < session->state_count; ++i)
    other += (int64_t)(session->states[i].memory[0].size + session->states[i].memory[1].size);
  memory->other_bytes = other;
}

/*===- state.c - outputs that are fed back --------------------------------------===
 *
 * Where the program says that it can (nnopt_state_meta), a state is one block of memory, laid out for
 * its capacity, and a run appends to it. Elsewhere it has two blocks: a run reads the past from one
 * and writes the present to the other; then they change roles.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static nni_port *findPort(nni_port *ports, uint32_t count, const char *name) {
  for (uint32_t i = 0; name && i < count; ++i)
    if (!strcmp(ports[i].info->name, name))
      return &ports[i];
  return NULL;
}

/* Finds the axis along which present is longer than past: the one where they differ. */
static int findAxis(const nnopt_session *s, const nni_port *past, const nni_port *present,
                    int *axis, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const char *a = past->info->name, *b = present->info->name;
  *axis = -1;
  if (past->tensor->dtype != present->tensor->dtype || past->tensor->rank != present->tensor->rank)
    return nni_fail(error, NNOPT_INVALID, "states '%s' and '%s' differ in element type or rank", a,
                    b);
  for (uint32_t d = 0; d < past->tensor->rank; ++d) {
    uint32_t x = m->indices[past->tensor->dims + d], y = m->indices[present->tensor->dims + d];
    const nnopt_value_expr *ex = &m->values[x], *ey = &m->values[y];
    if (m->value_dynamic[y])
      return nni_fail(error, NNOPT_UNSUPPORTED,
                      "the shape of '%s' depends on data: it cannot be a state", b);
    if (x == y || (ex->op == NNOPT_V_CONST && ey->op == NNOPT_V_CONST && ex->imm == ey->imm))
      continue;
    if (*axis >= 0 || ex->op != NNOPT_V_SYMBOL)
      return nni_fail(error, NNOPT_INVALID,
                      "states '%s' and '%s' must be equal, or differ along one symbolic axis", a,
                      b);
    *axis = (int)d;
  }
  return NNOPT_OK;
}

static int bindState(nnopt_session *s, const char *past, const char *present, int64_t capacity,
                     nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  nni_port *in = findPort(s->inputs, m->input_count, past);
  nni_port *out = findPort(s->outputs, m->output_count, present);
  if (!in || !out)
    return nni_fail(error, NNOPT_INVALID, "the model has no %s '%s'", in ? "output" : "input",
                    in ? (present ? present : "(NULL)") : (past ? past : "(NULL)"));
  if (in->info->kind != NNOPT_KIND_TENSOR || out->info->kind != NNOPT_KIND_TENSOR)
    return nni_fail(error, NNOPT_INVALID, "'%s' or '%s' is no tensor of numbers: it cannot be a state", past,
                    present);
  if (in->state >= 0 || out->state >= 0)
    return nni_fail(error, NNOPT_INVALID, "'%s' or '%s' is bound already", past, present);
  int axis;
  int code = findAxis(s, in, out, &axis, error);
  if (code)
    return code;
  if (axis >= 0 && capacity <= 0)
    return nni_fail(error, NNOPT_INVALID,
                    "state '%s' grows along axis %d: its capacity must be positive", past, axis);
  nni_state *states = realloc(s->states, (s->state_count + 1) * sizeof *states);
  if (!states)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  s->states = states;
  nni_state *state = &states[s->state_count];
  memset(state, 0, sizeof *state);
  state->input = (uint32_t)(in - s->inputs);
  state->output = (uint32_t)(out - s->outputs);
  state->axis = axis;
  state->capacity = capacity;
  in->state = out->state = (int32_t)s->state_count++;
  for (uint32_t i = 0; i < m->state_count; ++i) {
    const nnopt_state_meta *p = &m->states[i];
    if (p->input != state->input || p->output != state->output || (int)p->axis != axis)
      continue;
    state->in_place = true;
    s->capacities[i] = capacity;
    s->prepared = false;
  }
  return NNOPT_OK;
}

/* Copies the past or present `dims` of a state in place to compact memory, or from there. */
static int copyInPlace(nnopt_session *s, nni_state *state, const nni_port *port, const int64_t *dims, char *compact,
                       bool from, nnopt_error *error) {
  size_t rows = 1, inner = (size_t)port->width;
  for (int d = 0; d < (int)port->tensor->rank; ++d)
    if (d != state->axis)
      *(d < state->axis ? &rows : &inner) *= (size_t)dims[d];
  size_t width = inner * (size_t)dims[state->axis], pitch = inner * (size_t)state->capacity;
  char *whole = state->memory[0].data;
  return from ? nni_session_copy_rows(s, whole, pitch, compact, width, width, rows, error)
              : nni_session_copy_rows(s, compact, width, whole, pitch, width, rows, error);
}

int nni_state_compact(nnopt_session *s, const nni_port *port, const char **content, nnopt_error *error) {
  nni_state *state = port->state >= 0 ? &s->states[port->state] : NULL;
  if (!state || !state->in_place)
    return NNOPT_OK;
  int64_t dims[NNOPT_MAX_RANK];
  nni_port_dims(s, port, true, dims);
  int64_t bytes = nni_bytes((int)port->tensor->rank, dims, port->width);
  if (!nni_session_reserve(s, &state->memory[1], (size_t)bytes, 64, 0))
    return nni_fail(error, NNOPT_FAILED, "out of memory for a copy of '%s'", port->info->name);
  *content = state->memory[1].data;
  return copyInPlace(s, state, port, dims, state->memory[1].data, /*from=*/false, error);
}

int nnopt_session_bind_state(nnopt_session *s, const char *past, const char *present,
                             int64_t capacity, nnopt_error *error) {
  if (!s)
    return nni_fail(error, NNOPT_INVALID, "the session is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  code = bindState(s, past, present, capacity, error);
  nni_leave(s);
  return code;
}

static int setState(nnopt_session *s, const char *past, const DLTensor *value, nnopt_error *error) {
  nni_port *port = findPort(s->inputs, s->model->meta.input_count, past);
  if (!port || port->state < 0 || !value)
    return nni_fail(error, NNOPT_INVALID, "'%s' is not a bound state", past ? past : "(NULL)");
  int code = nni_check_tensor(value, port->info, "state", s->gpu != NULL, true, error);
  if (code)
    return code;
  nni_state *state = &s->states[port->state];
  if (state->axis >= 0 && value->shape[state->axis] > state->capacity)
    return nni_fail(error, NNOPT_INVALID,
                    "state '%s': %lld along axis %d, bound with a capacity of %lld", past,
                    (long long)value->shape[state->axis], state->axis, (long long)state->capacity);
  int64_t bytes = nni_bytes(value->ndim, value->shape, port->width), dims[NNOPT_MAX_RANK];
  nni_memory *compact = &state->memory[state->in_place ? 1 : state->current];
  bool room = nni_session_reserve(s, compact, (size_t)bytes, 64, 0);
  if (value->ndim)
    memcpy(dims, value->shape, (size_t)value->ndim * sizeof *dims);
  if (state->in_place) {
    dims[state->axis] = state->capacity;
    bytes = nni_bytes(value->ndim, dims, port->width);
    dims[state->axis] = value->shape[state->axis];
    room = room && bytes >= 0 && nni_session_reserve(s, &state->memory[0], (size_t)bytes, 64, 0);
  }
  if (!room)
    return nni_fail(error, NNOPT_FAILED, "out of memory for state '%s'", past);
  if ((code = nni_session_gather(s, compact->data, value, port->width, error)))
    return code;
  if (state->in_place && (code = copyInPlace(s, state, port, dims, compact->data, /*from=*/true, error)))
    return code;
  memcpy(state->shape, dims, (size_t)value->ndim * sizeof *dims);
  state->has_shape = true;
  return NNOPT_OK;
}

int nnopt_session_set_state(nnopt_session *s, const char *past, const DLTensor *value,
                            nnopt_error *error) {
  if (!s)
    return nni_fail(error, NNOPT_INVALID, "the session is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  code = setState(s, past, value, error);
  nni_leave(s);
  return code;
}

void nnopt_session_reset_states(nnopt_session *s) {
  for (uint32_t i = 0; i < s->state_count; ++i)
    s->states[i].has_shape = false;
}

int nni_states_before(nnopt_session *s, nnopt_error *error) {
  for (uint32_t i = 0; i < s->state_count; ++i) {
    nni_state *state = &s->states[i];
    nni_port *in = &s->inputs[state->input], *out = &s->outputs[state->output];
    int64_t past[NNOPT_MAX_RANK], present[NNOPT_MAX_RANK];
    int rank = (int)in->tensor->rank;
    nni_port_dims(s, in, true, past);
    nni_port_dims(s, out, true, present);
    int64_t held = state->has_shape ? nni_bytes(rank, past, in->width) : 0;
    if (state->axis >= 0) {
      if (present[state->axis] > state->capacity)
        return nni_fail(
            error, NNOPT_INVALID, "state '%s' is full: this run needs %lld, the capacity is %lld",
            in->info->name, (long long)present[state->axis], (long long)state->capacity);
      present[state->axis] = state->capacity;
    }
    int64_t bytes = nni_bytes(rank, present, in->width);
    if (bytes < 0)
      return nni_fail(error, NNOPT_INVALID, "state '%s' has an absurd shape", in->info->name);
    uint32_t align = in->align > out->align ? in->align : out->align;
    if (align < 64)
      align = 64;
    nni_memory *now = &state->memory[state->current];
    nni_memory *next = state->in_place ? now : &state->memory[!state->current];
    if (state->in_place && state->has_shape)
      held = bytes; /* its size does not change while it has a shape */
    if (!nni_session_reserve(s, now, (size_t)bytes, align, (size_t)held) ||
        (next != now && !nni_session_reserve(s, next, (size_t)bytes, align, 0)))
      return nni_fail(error, NNOPT_FAILED, "out of memory for state '%s' (%lld bytes)",
                      in->info->name, (long long)bytes);
    if (!state->has_shape) {
      int code = nni_session_clear(s, now->data, now->size, error);
      if (code)
        return code;
    }
    in->pointer = now->data;
    out->pointer = next->data;
  }
  return NNOPT_OK;
}

void nni_states_after(nnopt_session *s) {
  for (uint32_t i = 0; i < s->state_count; ++i) {
    nni_state *state = &s->states[i];
    nni_port_dims(s, &s->outputs[state->output], true, state->shape);
    state->has_shape = true;
    state->current = state->in_place ? 0 : !state->current;
  }
}

void nni_states_destroy(nnopt_session *s) {
  for (uint32_t i = 0; i < s->state_count; ++i) {
    nni_session_release(s, &s->states[i].memory[0]);
    nni_session_release(s, &s->states[i].memory[1]);
  }
  free(s->states);
}

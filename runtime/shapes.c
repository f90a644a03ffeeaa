/*===- shapes.c - from input shapes to the sizes of everything ------------------===*/
#include "internal.h"

#include <stdio.h>
#include <string.h>

void nni_port_dims(const nnopt_session *s, const nni_port *port, bool actual, int64_t *dims) {
  const nni_meta *m = &s->model->meta;
  for (uint32_t d = 0; d < port->tensor->rank; ++d) {
    uint32_t value = m->indices[port->tensor->dims + d];
    dims[d] = m->value_dynamic[value] && !actual ? -1 : s->values[value];
  }
}

/* "[batch,3,?]": the shape that a model declares. */
static const char *declaredShape(const nnopt_tensor_info *info, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "[");
  for (int i = 0; i < info->rank && used < size; ++i) {
    const char *comma = i ? "," : "";
    if (info->dims[i] >= 0)
      used += (size_t)snprintf(text + used, size - used, "%s%lld", comma, (long long)info->dims[i]);
    else
      used += (size_t)snprintf(text + used, size - used, "%s%s", comma,
                               info->dim_names[i] ? info->dim_names[i] : "?");
  }
  if (used < size)
    snprintf(text + used, size - used, "]");
  return text;
}

static int wrongShape(const nni_port *port, int rank, const int64_t *shape, nnopt_error *error) {
  char is[256], want[256];
  return nni_fail(error, NNOPT_INVALID, "input '%s': the shape is %s, the model's is %s",
                  port->info->name, nni_shape_text(rank, shape, is, sizeof is),
                  declaredShape(port->info, want, sizeof want));
}

/* Gives a symbol its value, or compares with the one that it has. */
static int bindSymbol(nnopt_session *s, const nni_port *port, int axis, uint32_t symbol,
                      int64_t value, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  if (m->symbols[symbol].data_dependent)
    return NNOPT_OK;
  if (!s->symbol_known[symbol]) {
    nnopt_error inner;
    int code = nni_check_symbol(m, symbol, value, &inner);
    if (code)
      return nni_fail(error, code, "input '%s', axis %d: %.900s", port->info->name, axis,
                      inner.message);
    s->symbol_known[symbol] = 1;
    s->next_symbols[symbol] = value;
    return NNOPT_OK;
  }
  if (s->next_symbols[symbol] == value)
    return NNOPT_OK;
  return nni_fail(
      error, NNOPT_INVALID,
      "input '%s', axis %d: dimension '%s' is %lld here and %lld before; they must be equal",
      port->info->name, axis, m->strings + m->symbols[symbol].name, (long long)value,
      (long long)s->next_symbols[symbol]);
}

static int bindShape(nnopt_session *s, const nni_port *port, const int64_t *shape,
                     nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_tensor_meta *t = port->tensor;
  for (uint32_t d = 0; d < t->rank; ++d) {
    const nnopt_value_expr *value = &m->values[m->indices[t->dims + d]];
    uint32_t name = m->indices[t->dim_names + d];
    int code = NNOPT_OK;
    if (value->op == NNOPT_V_CONST && value->imm != shape[d])
      return wrongShape(port, (int)t->rank, shape, error);
    if (value->op == NNOPT_V_SYMBOL)
      code = bindSymbol(s, port, (int)d, value->a, shape[d], error);
    else if (name != NNOPT_NONE && value->op == NNOPT_V_CONST) /* a pinned symbol */
      code = bindSymbol(s, port, (int)d, name, shape[d], error);
    if (code)
      return code;
  }
  return NNOPT_OK;
}

/* Binds what an empty state knows of its shape: that it is empty along the axis that grows. */
static int bindEmptyState(nnopt_session *s, const nni_state *state, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nni_port *port = &s->inputs[state->input];
  if (state->axis < 0)
    return NNOPT_OK;
  const nnopt_value_expr *value =
      &m->values[m->indices[port->tensor->dims + (uint32_t)state->axis]];
  return bindSymbol(s, port, state->axis, value->a, 0, error);
}

/* Computes s->next_symbols from input shapes and prepares the session if they are new. */
int nni_bind_inputs(nnopt_session *s, DLTensor *const *inputs, size_t count, bool need_data,
                    nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  if (count != m->input_count || (count && !inputs))
    return nni_fail(error, NNOPT_INVALID, "%zu inputs given, the model has %u", count,
                    m->input_count);
  memset(s->symbol_known, 0, m->symbol_count);
  for (uint32_t i = 0; i < m->input_count; ++i) {
    const nni_port *port = &s->inputs[i];
    const DLTensor *tensor = inputs[i];
    const nni_state *state = port->state >= 0 ? &s->states[port->state] : NULL;
    if (port->info->kind != NNOPT_KIND_TENSOR) {
      if (tensor)
        return nni_fail(error, NNOPT_INVALID, "input '%s' is no tensor of numbers (%s): set it with "
                        "nnopt_session_set_input and pass NULL", port->info->name, port->info->type);
      int32_t rank;
      int code = nni_check_value(port->info, port->value, error);
      if (!code)
        code = bindShape(s, port, nnopt_value_shape(port->value, &rank), error);
      if (code)
        return code;
      continue;
    }
    if (state && tensor)
      return nni_fail(error, NNOPT_INVALID, "input '%s' is a bound state: pass NULL for it",
                      port->info->name);
    if (!state && !tensor)
      return nni_fail(error, NNOPT_INVALID, "input '%s' is missing (NULL)", port->info->name);
    int code = NNOPT_OK;
    if (tensor)
      code = nni_check_tensor(tensor, port->info, "input", s->gpu != NULL, need_data, error);
    if (code)
      return code;
    if (tensor)
      code = bindShape(s, port, tensor->shape, error);
    else if (state->has_shape)
      code = bindShape(s, port, state->shape, error);
    else
      code = bindEmptyState(s, state, error);
    if (code)
      return code;
  }
  for (uint32_t i = 0; i < m->symbol_count; ++i) {
    const nnopt_symbol *symbol = &m->symbols[i];
    if (s->symbol_known[i])
      continue;
    if (symbol->data_dependent)
      s->next_symbols[i] = s->prepared ? s->symbols[i] : 0;
    else if (symbol->low == symbol->high || !m->symbol_bound[i])
      s->next_symbols[i] = symbol->low;
    else
      return nni_fail(error, NNOPT_INVALID,
                      "dimension '%s' is known from a bound state only: set it with "
                      "nnopt_session_set_state first",
                      m->strings + symbol->name);
  }
  if (!s->prepared || memcmp(s->symbols, s->next_symbols, m->symbol_count * sizeof *s->symbols)) {
    for (uint32_t i = 0; i < m->symbol_count; ++i)
      if (m->symbols[i].data_dependent)
        s->next_symbols[i] = 0;
    int code = nni_prepare(s, error);
    if (code)
      return code;
  }
  for (uint32_t i = 0; i < m->input_count; ++i) {
    int64_t dims[NNOPT_MAX_RANK];
    uint32_t rank = s->inputs[i].tensor->rank;
    if (!inputs[i])
      continue;
    nni_port_dims(s, &s->inputs[i], true, dims);
    if (rank && memcmp(dims, inputs[i]->shape, rank * sizeof *dims))
      return wrongShape(&s->inputs[i], (int)rank, inputs[i]->shape, error);
  }
  return NNOPT_OK;
}

int nnopt_session_output_shapes(nnopt_session *s, DLTensor *const *inputs, size_t input_count,
                                nnopt_shape *shapes, size_t output_count, nnopt_error *error) {
  if (!s)
    return nni_fail(error, NNOPT_INVALID, "the session is NULL");
  int code = nni_enter(s, error);
  if (code)
    return code;
  nnopt_session *face = s;
  if (!(code = nni_version_for(face, inputs, input_count, &s, error)))
    code = nni_bind_inputs(s, inputs, input_count, false, error);
  if (!code && (output_count != s->model->meta.output_count || (output_count && !shapes)))
    code = nni_fail(error, NNOPT_INVALID, "%zu output shapes asked for, the model has %u",
                    output_count, s->model->meta.output_count);
  for (uint32_t i = 0; !code && i < output_count; ++i) {
    shapes[i].rank = (int32_t)s->outputs[i].tensor->rank;
    nni_port_dims(s, &s->outputs[i], false, shapes[i].dims);
  }
  nni_leave(face);
  return code;
}

/*===- meta.c - checking the metadata of an artifact ----------------------------===
 *
 * Every index and offset is checked here, once, so that the rest of the runtime can follow them
 * without looking. Then facts that do not depend on sizes are derived: which values, buffers and
 * launches depend on data-dependent symbols or on the caller's tensors.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct checker {
  nni_meta *m;
  const nnopt_descriptor *descriptor;
  const char *where;
  nnopt_error *error;
} checker;

static int bad(const checker *c, const char *table, uint32_t number, const char *what) {
  return nni_fail(c->error, NNOPT_INVALID,
                  "%s: damaged metadata: %s %u: %s; compile the model again", c->where, table,
                  number, what);
}

/* Whether [first, first + count) lies inside a table of `size` entries. */
static bool inside(uint32_t first, uint32_t count, uint32_t size) {
  return first <= size && count <= size - first;
}

static bool table(const checker *c, nnopt_table t, size_t entry, const void *pointer,
                  uint32_t *count) {
  uint64_t size = c->descriptor->meta_size;
  if (t.offset % 8 || t.offset > size || (uint64_t)t.count * entry > size - t.offset)
    return false;
  *(const void **)pointer = c->descriptor->meta + t.offset;
  if (count)
    *count = t.count;
  return true;
}

static int openTables(checker *c) {
  nni_meta *m = c->m;
  const nnopt_descriptor *d = c->descriptor;
  const nnopt_meta_header *h = (const nnopt_meta_header *)d->meta;
  if (d->format_version != NNOPT_FORMAT_VERSION)
    return nni_fail(
        c->error, NNOPT_INVALID,
        "%s: format version %u, this library reads version %u; compile the model again with "
        "the same release as this library",
        c->where, d->format_version, NNOPT_FORMAT_VERSION);
  if (!d->meta || (uintptr_t)d->meta % 8 || d->meta_size < sizeof *h ||
      memcmp(h->magic, NNOPT_META_MAGIC, sizeof h->magic) ||
      h->format_version != NNOPT_FORMAT_VERSION)
    return nni_fail(c->error, NNOPT_INVALID, "%s: damaged metadata header; compile the model again",
                    c->where);
  m->header = h;
  uint32_t strings;
  if (!table(c, h->strings, 1, &m->strings, &strings) ||
      !table(c, h->symbols, sizeof *m->symbols, &m->symbols, &m->symbol_count) ||
      !table(c, h->values, sizeof *m->values, &m->values, &m->value_count) ||
      !table(c, h->tensors, sizeof *m->tensors, &m->tensors, &m->tensor_count) ||
      !table(c, h->buffers, sizeof *m->buffers, &m->buffers, &m->buffer_count) ||
      !table(c, h->operands, sizeof *m->operands, &m->operands, &m->operand_count) ||
      !table(c, h->launches, sizeof *m->launches, &m->launches, &m->launch_count) ||
      !table(c, h->instructions, sizeof *m->instructions, &m->instructions,
             &m->instruction_count) ||
      !table(c, h->blocks, sizeof *m->blocks, &m->blocks, &m->block_count) ||
      !table(c, h->indices, sizeof *m->indices, &m->indices, NULL) ||
      !table(c, h->inputs, sizeof *m->inputs, &m->inputs, &m->input_count) ||
      !table(c, h->outputs, sizeof *m->outputs, &m->outputs, &m->output_count) ||
      !table(c, h->properties, sizeof *m->properties, &m->properties, &m->property_count) ||
      !table(c, h->host_calls, sizeof *m->host_calls, &m->host_calls, &m->host_call_count) ||
      !table(c, h->states, sizeof *m->states, &m->states, &m->state_count))
    return nni_fail(c->error, NNOPT_INVALID,
                    "%s: damaged metadata: a table is outside; compile the model again", c->where);
  if (!strings || m->strings[0] || m->strings[strings - 1])
    return bad(c, "string", 0, "the pool does not start and end with a NUL");
  return NNOPT_OK;
}

static int checkValues(checker *c) {
  nni_meta *m = c->m;
  uint32_t strings = m->header->strings.count;
  for (uint32_t i = 0; i < m->symbol_count; ++i) {
    const nnopt_symbol *s = &m->symbols[i];
    if (s->name >= strings)
      return bad(c, "symbol", i, "name");
    if (s->low < 0 || (s->high >= 0 && s->high < s->low))
      return bad(c, "symbol", i, "bounds");
  }
  for (uint32_t i = 0; i < m->value_count; ++i) {
    const nnopt_value_expr *v = &m->values[i];
    if (v->op >= NNOPT_V_COUNT_)
      return bad(c, "value", i, "operator");
    if (v->op == NNOPT_V_SYMBOL) {
      if (v->a >= m->symbol_count)
        return bad(c, "value", i, "symbol");
      m->value_dynamic[i] = m->symbols[v->a].data_dependent != 0;
    } else if (v->op == NNOPT_V_STATE) {
      if (v->a >= i || v->b >= m->state_count)
        return bad(c, "value", i, "state");
      m->value_dynamic[i] = m->value_dynamic[v->a];
    } else if (v->op != NNOPT_V_CONST && v->op != NNOPT_V_THREADS) {
      if (v->a >= i || v->b >= i)
        return bad(c, "value", i, "operand is not before it");
      m->value_dynamic[i] = m->value_dynamic[v->a] | m->value_dynamic[v->b];
    }
  }
  return NNOPT_OK;
}

static int checkTensors(checker *c) {
  nni_meta *m = c->m;
  const nnopt_meta_header *h = m->header;
  for (uint32_t i = 0; i < m->tensor_count; ++i) {
    const nnopt_tensor_meta *t = &m->tensors[i];
    DLDataType dtype;
    int width;
    if (t->name >= h->strings.count)
      return bad(c, "tensor", i, "name");
    if (!nni_dtype(t->dtype, &dtype, &width))
      return bad(c, "tensor", i, "element type");
    if (t->rank > NNOPT_MAX_RANK)
      return nni_fail(c->error, NNOPT_UNSUPPORTED, "%s: '%s' has rank %u; at most %d is supported",
                      c->where, m->strings + t->name, t->rank, NNOPT_MAX_RANK);
    if (!inside(t->dims, t->rank, h->indices.count) ||
        !inside(t->dim_names, t->rank, h->indices.count))
      return bad(c, "tensor", i, "dimensions");
    for (uint32_t d = 0; d < t->rank; ++d) {
      uint32_t name = m->indices[t->dim_names + d];
      if (m->indices[t->dims + d] >= m->value_count)
        return bad(c, "tensor", i, "dimension value");
      if (name != NNOPT_NONE && name >= m->symbol_count)
        return bad(c, "tensor", i, "dimension name");
    }
    if (t->buffer != NNOPT_NONE && t->buffer >= m->buffer_count)
      return bad(c, "tensor", i, "buffer");
    /* Tensors of numbers have memory, everything else is in host buffers. */
    if (t->kind > NNOPT_KIND_MAP || t->type >= h->strings.count ||
        (t->kind == NNOPT_KIND_STRINGS) != (t->dtype == 8 && t->kind < NNOPT_KIND_SEQUENCE) ||
        (t->kind > NNOPT_KIND_STRINGS && t->rank))
      return bad(c, "tensor", i, "kind");
    bool inHost = t->buffer != NNOPT_NONE && m->buffers[t->buffer].kind == NNOPT_B_HOST;
    if (t->kind == NNOPT_KIND_TENSOR ? inHost && !width : t->buffer != NNOPT_NONE && !inHost)
      return bad(c, "tensor", i, "buffer");
  }
  for (uint32_t i = 0; i < m->input_count; ++i) {
    if (m->inputs[i] >= m->tensor_count)
      return bad(c, "input", i, "tensor");
    const nnopt_tensor_meta *t = &m->tensors[m->inputs[i]];
    for (uint32_t d = 0; d < t->rank; ++d) {
      uint32_t name = m->indices[t->dim_names + d], value = m->indices[t->dims + d];
      if (m->value_dynamic[value])
        return bad(c, "input", i, "its shape depends on data");
      if (m->values[value].op == NNOPT_V_SYMBOL)
        m->symbol_bound[m->values[value].a] = 1;
      else if (m->values[value].op == NNOPT_V_CONST && name != NNOPT_NONE)
        m->symbol_bound[name] = 1;
    }
  }
  for (uint32_t i = 0; i < m->output_count; ++i)
    if (m->outputs[i] >= m->tensor_count || m->tensors[m->outputs[i]].buffer == NNOPT_NONE)
      return bad(c, "output", i, "tensor");
  for (uint32_t i = 0; i < m->state_count; ++i) {
    const nnopt_state_meta *s = &m->states[i];
    if (s->input >= m->input_count || s->output >= m->output_count || s->axis >= m->tensors[m->inputs[s->input]].rank)
      return bad(c, "state", i, "input, output or axis");
  }
  for (uint32_t i = 0; i < m->value_count; ++i) {
    const nnopt_value_expr *v = &m->values[i];
    if (v->op != NNOPT_V_SYMBOL || m->value_dynamic[i] || m->symbol_bound[v->a])
      continue;
    if (m->symbols[v->a].low != m->symbols[v->a].high)
      return bad(c, "symbol", v->a, "no input has this dimension");
  }
  return NNOPT_OK;
}

static int checkBuffers(checker *c, uint64_t weightsSize) {
  nni_meta *m = c->m;
  if (m->header->weights_size != weightsSize)
    return nni_fail(c->error, NNOPT_INVALID,
                    "%s: the program needs %llu bytes of weights, there are %llu; the weights are "
                    "truncated or belong to another model",
                    c->where, (unsigned long long)m->header->weights_size,
                    (unsigned long long)weightsSize);
  for (uint32_t i = 0; i < m->buffer_count; ++i) {
    const nnopt_buffer_meta *b = &m->buffers[i];
    if (b->size >= m->value_count)
      return bad(c, "buffer", i, "size");
    if (b->align > NNOPT_PAGE || (b->align & (b->align - 1)))
      return bad(c, "buffer", i, "alignment");
    switch (b->kind) {
    case NNOPT_B_ARENA:
    case NNOPT_B_SCRATCH:
      if (b->first > b->last)
        return bad(c, "buffer", i, "lifetime");
      break;
    case NNOPT_B_STATE:
    case NNOPT_B_HOST:
      break;
    case NNOPT_B_KEPT: {
      const nnopt_value_expr *size = &m->values[b->size];
      if (size->op != NNOPT_V_CONST || size->imm < 0)
        return bad(c, "buffer", i, "size");
      break;
    }
    case NNOPT_B_WEIGHT: {
      const nnopt_value_expr *size = &m->values[b->size];
      if (size->op != NNOPT_V_CONST || size->imm < 0 || b->offset > weightsSize ||
          (uint64_t)size->imm > weightsSize - b->offset)
        return bad(c, "buffer", i, "outside the weights");
      break;
    }
    case NNOPT_B_INPUT:
      if (b->index >= m->input_count || m->value_dynamic[b->size])
        return bad(c, "buffer", i, "input");
      break;
    case NNOPT_B_OUTPUT:
      if (b->index >= m->output_count)
        return bad(c, "buffer", i, "output");
      break;
    case NNOPT_B_VIEW:
      if (b->index >= m->buffer_count || m->buffers[b->index].kind == NNOPT_B_HOST)
        return bad(c, "buffer", i, "parent");
      break;
    default:
      return bad(c, "buffer", i, "kind");
    }
  }
  return NNOPT_OK;
}

/* Orders buffers so that parents come before views, and finds roots. */
static int orderBuffers(checker *c) {
  nni_meta *m = c->m;
  uint32_t done = 0;
  for (uint32_t i = 0; i < m->buffer_count; ++i)
    m->root[i] = NNOPT_NONE;
  for (uint32_t i = 0; i < m->buffer_count; ++i) {
    if (m->root[i] != NNOPT_NONE)
      continue;
    /* Walk up to something that is done or no view, then number the chain from the top down. */
    uint32_t length = 0, at = i;
    while (m->root[at] == NNOPT_NONE && m->buffers[at].kind == NNOPT_B_VIEW) {
      at = m->buffers[at].index;
      if (++length > m->buffer_count)
        return bad(c, "buffer", i, "a view of itself");
    }
    if (m->root[at] == NNOPT_NONE) {
      m->root[at] = at;
      m->order[done++] = at;
    }
    uint32_t root = m->root[at], chain = length;
    at = i;
    for (uint32_t k = 0; k < chain; ++k) {
      m->root[at] = root;
      m->order[done + chain - 1 - k] = at;
      at = m->buffers[at].index;
    }
    done += chain;
  }
  for (uint32_t k = 0; k < m->buffer_count; ++k) {
    uint32_t i = m->order[k];
    const nnopt_buffer_meta *b = &m->buffers[i];
    uint32_t kind = m->buffers[m->root[i]].kind;
    m->buffer_io[i] = kind == NNOPT_B_INPUT || kind == NNOPT_B_OUTPUT;
    m->buffer_dynamic[i] = m->value_dynamic[b->size] || b->kind == NNOPT_B_STATE ||
                           (b->kind == NNOPT_B_VIEW && m->buffer_dynamic[b->index]);
  }
  return NNOPT_OK;
}

/* Whether a buffer exists and has memory (a host buffer has none). */
static bool isMemory(const nni_meta *m, uint32_t buffer) {
  return buffer < m->buffer_count && m->buffers[buffer].kind != NNOPT_B_HOST;
}

static bool isHost(const nni_meta *m, uint32_t buffer) {
  return buffer < m->buffer_count && m->buffers[buffer].kind == NNOPT_B_HOST;
}

/* Whether a tensor is one of numbers in memory. */
static bool inMemory(const nni_meta *m, uint32_t tensor) {
  return tensor < m->tensor_count && m->tensors[tensor].kind == NNOPT_KIND_TENSOR &&
         isMemory(m, m->tensors[tensor].buffer);
}

static int checkHostCalls(checker *c) {
  const nni_meta *m = c->m;
  uint32_t strings = m->header->strings.count;
  for (uint32_t i = 0; i < m->host_call_count; ++i) {
    const nnopt_host_call *h = &m->host_calls[i];
    if (h->operation >= strings || h->nodes >= strings)
      return bad(c, "host call", i, "name");
    if (!inside(h->inputs, h->input_count, m->operand_count) || !inside(h->outputs, h->output_count, m->operand_count))
      return bad(c, "host call", i, "operands");
    for (uint32_t k = 0; k < h->input_count; ++k)
      if (!isHost(m, m->operands[h->inputs + k].number))
        return bad(c, "host call", i, "input");
    for (uint32_t k = 0; k < h->output_count; ++k) {
      uint32_t t = m->operands[h->outputs + k].number;
      if (t != NNOPT_NONE && (t >= m->tensor_count || !isHost(m, m->tensors[t].buffer)))
        return bad(c, "host call", i, "output");
    }
    if (h->attributes != NNOPT_NONE &&
        (!isMemory(m, h->attributes) || m->buffers[h->attributes].kind != NNOPT_B_WEIGHT))
      return bad(c, "host call", i, "attributes");
  }
  return NNOPT_OK;
}

static int checkLaunches(checker *c) {
  nni_meta *m = c->m;
  uint32_t strings = m->header->strings.count;
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    const nnopt_launch_meta *l = &m->launches[i];
    if (l->threads ? !c->descriptor->cuda || l->threads > 1024 || l->kernel >= c->descriptor->cuda->kernel_count
                   : l->kernel >= c->descriptor->kernel_count || !c->descriptor->kernels[l->kernel])
      return bad(c, "launch", i, "kernel");
    if (!inside(l->written, (l->buffer_count + 31) / 32, m->header->indices.count))
      return bad(c, "launch", i, "written buffers");
    if (!inside(l->buffers, l->buffer_count, m->operand_count) ||
        !inside(l->dims, l->dim_count, m->operand_count))
      return bad(c, "launch", i, "operands");
    if (l->name >= strings || l->nodes >= strings || l->op >= strings)
      return bad(c, "launch", i, "name");
    if (l->tasks >= m->value_count || (l->flops != NNOPT_NONE && l->flops >= m->value_count) ||
        (l->bytes != NNOPT_NONE && l->bytes >= m->value_count))
      return bad(c, "launch", i, "value");
    m->launch_dynamic[i] = m->value_dynamic[l->tasks];
    for (uint32_t k = 0; k < l->buffer_count; ++k) {
      uint32_t b = m->operands[l->buffers + k].number;
      if (!isMemory(m, b))
        return bad(c, "launch", i, "buffer");
      m->launch_io[i] |= m->buffer_io[b];
      m->launch_dynamic[i] |= m->buffer_dynamic[b];
    }
    for (uint32_t k = 0; k < l->dim_count; ++k) {
      uint32_t v = m->operands[l->dims + k].number;
      if (v >= m->value_count)
        return bad(c, "launch", i, "dimension");
      m->launch_dynamic[i] |= m->value_dynamic[v];
    }
  }
  return NNOPT_OK;
}

static int checkInstructions(checker *c) {
  nni_meta *m = c->m;
  uint32_t indices = m->header->indices.count;
  for (uint32_t i = 0; i < m->instruction_count; ++i) {
    const nnopt_instruction *n = &m->instructions[i];
    bool ok = false;
    switch (n->op) {
    case NNOPT_I_LAUNCH:
      ok = n->a < m->launch_count;
      break;
    case NNOPT_I_IF:
      ok = isMemory(m, n->a) && n->b < m->block_count && n->c < m->block_count;
      break;
    case NNOPT_I_LOOP:
      ok = inside(n->a, 4, indices);
      if (!ok)
        break;
      const uint32_t *record = m->indices + n->a;
      ok = isMemory(m, record[0]) && isMemory(m, record[1]) &&
           (record[2] == NNOPT_NONE || isMemory(m, record[2])) && record[3] < m->block_count;
      break;
    case NNOPT_I_COPY:
      ok = isMemory(m, n->a) && isMemory(m, n->b) && n->c < m->value_count;
      break;
    case NNOPT_I_READ_SYMBOL:
      ok = n->a < m->symbol_count && m->symbols[n->a].data_dependent && isMemory(m, n->b);
      break;
    case NNOPT_I_HOST_CALL:
      ok = n->a < m->host_call_count;
      break;
    case NNOPT_I_HOST_COPY:
      ok = isHost(m, n->a) && isHost(m, n->b);
      break;
    case NNOPT_I_BOX:
      ok = isHost(m, n->a) && inMemory(m, n->b);
      break;
    case NNOPT_I_UNBOX:
      ok = inMemory(m, n->a) && isHost(m, n->b) && n->c < m->header->strings.count;
      break;
    case NNOPT_I_READ_DIM:
      ok = n->a < m->symbol_count && m->symbols[n->a].data_dependent && isHost(m, n->b) && n->c < NNOPT_MAX_RANK;
      break;
    }
    if (!ok)
      return bad(c, "instruction", i, "operand");
  }
  if (!m->block_count)
    return bad(c, "block", 0, "missing");
  for (uint32_t i = 0; i < m->block_count; ++i)
    if (!inside(m->blocks[i].first, m->blocks[i].count, m->instruction_count))
      return bad(c, "block", i, "instructions");
  return NNOPT_OK;
}

/* Blocks may nest, not recurse. `state`: 0 new, 1 on the way down, 2 done. */
enum { MaxNesting = 200 };
static int checkNesting(checker *c, uint32_t block, uint8_t *state, int depth) {
  const nni_meta *m = c->m;
  if (state[block] == 2)
    return NNOPT_OK;
  if (state[block] == 1 || depth > MaxNesting)
    return bad(c, "block", block, "nesting");
  state[block] = 1;
  for (uint32_t i = 0; i < m->blocks[block].count; ++i) {
    const nnopt_instruction *n = &m->instructions[m->blocks[block].first + i];
    int code = NNOPT_OK;
    if (n->op == NNOPT_I_IF) {
      code = checkNesting(c, n->b, state, depth + 1);
      if (!code)
        code = checkNesting(c, n->c, state, depth + 1);
    } else if (n->op == NNOPT_I_LOOP) {
      code = checkNesting(c, m->indices[n->a + 3], state, depth + 1);
    }
    if (code)
      return code;
  }
  state[block] = 2;
  return NNOPT_OK;
}

static void listPlanned(nni_meta *m) {
  m->arena_align = 64;
  for (uint32_t i = 0; i < m->buffer_count; ++i) {
    const nnopt_buffer_meta *b = &m->buffers[i];
    if ((b->kind != NNOPT_B_ARENA && b->kind != NNOPT_B_SCRATCH) || m->buffer_dynamic[i])
      continue;
    uint32_t k = m->plan_count++;
    m->plan_buffer[k] = i;
    m->plan_first[k] = b->first;
    m->plan_last[k] = b->last;
    m->plan_align[k] = b->align > 1 ? b->align : 1;
    if (b->align > m->arena_align)
      m->arena_align = b->align;
  }
}

static int check(checker *c, uint64_t weightsSize) {
  nni_meta *m = c->m;
  int code = openTables(c);
  if (code)
    return code;
  size_t n = m->buffer_count;
  m->value_dynamic = nni_calloc(m->value_count, 1);
  m->symbol_bound = nni_calloc(m->symbol_count, 1);
  m->root = nni_calloc(n, sizeof *m->root);
  m->order = nni_calloc(n, sizeof *m->order);
  m->buffer_dynamic = nni_calloc(n, 1);
  m->buffer_io = nni_calloc(n, 1);
  m->launch_dynamic = nni_calloc(m->launch_count, 1);
  m->launch_io = nni_calloc(m->launch_count, 1);
  m->plan_buffer = nni_calloc(n, sizeof *m->plan_buffer);
  m->plan_first = nni_calloc(n, sizeof *m->plan_first);
  m->plan_last = nni_calloc(n, sizeof *m->plan_last);
  m->plan_align = nni_calloc(n, sizeof *m->plan_align);
  uint8_t *state = nni_calloc(m->block_count, 1);
  if (!m->value_dynamic || !m->symbol_bound || !m->root || !m->order || !m->buffer_dynamic ||
      !m->buffer_io || !m->launch_dynamic || !m->launch_io || !m->plan_buffer || !m->plan_first ||
      !m->plan_last || !m->plan_align || !state)
    code = nni_fail(c->error, NNOPT_FAILED, "%s: out of memory", c->where);
  if (!code)
    code = checkValues(c);
  if (!code)
    code = checkTensors(c);
  if (!code)
    code = checkBuffers(c, weightsSize);
  if (!code)
    code = orderBuffers(c);
  if (!code)
    code = checkLaunches(c);
  if (!code)
    code = checkHostCalls(c);
  if (!code)
    code = checkInstructions(c);
  if (!code)
    code = checkNesting(c, 0, state, 0);
  for (uint32_t i = 0; !code && i < m->property_count; ++i)
    if (m->properties[i].key >= m->header->strings.count ||
        m->properties[i].value >= m->header->strings.count)
      code = bad(c, "property", i, "string");
  free(state);
  if (!code)
    listPlanned(m);
  return code;
}

int nni_meta_open(nni_meta *meta, const nnopt_descriptor *descriptor, uint64_t weights_size,
                  const char *where, nnopt_error *error) {
  memset(meta, 0, sizeof *meta);
  checker c = {meta, descriptor, where, error};
  int code = check(&c, weights_size);
  if (code)
    nni_meta_close(meta);
  return code;
}

void nni_meta_close(nni_meta *m) {
  free(m->value_dynamic);
  free(m->symbol_bound);
  free(m->root);
  free(m->order);
  free(m->buffer_dynamic);
  free(m->buffer_io);
  free(m->launch_dynamic);
  free(m->launch_io);
  free(m->plan_buffer);
  free(m->plan_first);
  free(m->plan_last);
  free(m->plan_align);
  memset(m, 0, sizeof *m);
}

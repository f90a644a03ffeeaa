/*===- values.c - evaluating sizes ----------------------------------------------===*/
#include "internal.h"

/* No single buffer is bigger than this; far beyond any machine, far below overflow. */
static const int64_t maxBytes = (int64_t)1 << 46;

static int64_t floorDiv(int64_t a, int64_t b) {
  if (b == 0)
    return 0;
  if (b == -1)
    return a == INT64_MIN ? INT64_MAX : -a;
  int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int64_t floorMod(int64_t a, int64_t b) {
  if (b == 0 || b == -1)
    return 0;
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

int nni_evaluate(const nni_meta *meta, const int64_t *symbols, const int64_t *capacities, int threads, bool dynamic_only,
                 int64_t *values, nnopt_error *error) {
  bool overflow = false;
  for (uint32_t i = 0; i < meta->value_count; ++i) {
    if (dynamic_only && !meta->value_dynamic[i])
      continue;
    const nnopt_value_expr *e = &meta->values[i];
    int64_t v = 0, a = 0, b = 0;
    if (e->op > NNOPT_V_THREADS && e->op != NNOPT_V_STATE) {
      a = values[e->a];
      b = values[e->b];
    }
    switch (e->op) {
    case NNOPT_V_CONST:
      v = e->imm;
      break;
    case NNOPT_V_SYMBOL:
      v = symbols[e->a];
      break;
    case NNOPT_V_THREADS:
      v = threads;
      break;
    case NNOPT_V_ADD:
      overflow |= __builtin_add_overflow(a, b, &v);
      break;
    case NNOPT_V_SUB:
      overflow |= __builtin_sub_overflow(a, b, &v);
      break;
    case NNOPT_V_MUL:
      overflow |= __builtin_mul_overflow(a, b, &v);
      break;
    case NNOPT_V_FLOORDIV:
      v = floorDiv(a, b);
      break;
    case NNOPT_V_MOD:
      v = floorMod(a, b);
      break;
    case NNOPT_V_MIN:
      v = a < b ? a : b;
      break;
    case NNOPT_V_MAX:
      v = a > b ? a : b;
      break;
    case NNOPT_V_BROADCAST:
      v = a == 1 ? b : a;
      break;
    case NNOPT_V_STATE:
      v = !capacities || !capacities[e->b] ? values[e->a] : e->imm ? capacities[e->b] : 0;
      break;
    }
    values[i] = v;
  }
  if (overflow)
    return nni_fail(error, NNOPT_INVALID,
                    "these input shapes make sizes that do not fit in 64 bits");
  return NNOPT_OK;
}

int64_t nni_buffer_size(const nni_meta *meta, const int64_t *values, int threads, uint32_t buffer) {
  const nnopt_buffer_meta *b = &meta->buffers[buffer];
  int64_t size = values[b->size];
  if (size < 0 || size > maxBytes)
    return -1;
  if (b->kind != NNOPT_B_SCRATCH)
    return size;
  return __builtin_mul_overflow(size, (int64_t)threads, &size) || size > maxBytes ? -1 : size;
}

int nni_plan_sizes(const nni_meta *meta, const int64_t *values, int threads, int64_t *size,
                   int64_t *naive, nnopt_error *error) {
  int64_t sum = 0;
  for (uint32_t k = 0; k < meta->plan_count; ++k) {
    size[k] = nni_buffer_size(meta, values, threads, meta->plan_buffer[k]);
    long long bytes = values[meta->buffers[meta->plan_buffer[k]].size];
    if (bytes < 0)
      return nni_fail(error, NNOPT_INVALID,
                      "these input shapes are too small for the model: a tensor in it would have a "
                      "negative size (%lld bytes, buffer %u); use bigger inputs",
                      bytes, meta->plan_buffer[k]);
    if (size[k] < 0 || __builtin_add_overflow(sum, size[k], &sum))
      return nni_fail(
          error, NNOPT_INVALID,
          "these input shapes need a buffer of %lld bytes (buffer %u); use smaller inputs", bytes,
          meta->plan_buffer[k]);
  }
  *naive = sum;
  return NNOPT_OK;
}

int nni_check_symbol(const nni_meta *meta, uint32_t symbol, int64_t value, nnopt_error *error) {
  const nnopt_symbol *s = &meta->symbols[symbol];
  if (value >= s->low && (s->high < 0 || value <= s->high))
    return NNOPT_OK;
  const char *name = meta->strings + s->name;
  if (s->high < 0)
    return nni_fail(error, NNOPT_INVALID,
                    "dimension '%s' is %lld; the model was compiled for at least %lld", name,
                    (long long)value, (long long)s->low);
  if (s->low == s->high)
    return nni_fail(error, NNOPT_INVALID, "dimension '%s' is %lld; the model was compiled for %lld",
                    name, (long long)value, (long long)s->low);
  return nni_fail(error, NNOPT_INVALID,
                  "dimension '%s' is %lld; the model was compiled for %lld to %lld", name,
                  (long long)value, (long long)s->low, (long long)s->high);
}

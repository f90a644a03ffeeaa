/*===- executor.c - running the instructions ------------------------------------===*/
#include "internal.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

int64_t nni_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whether a buffer has `bytes` bytes: sizes may depend on data, so the metadata cannot promise it.
 */
static int need(const nnopt_session *s, uint32_t buffer, int64_t bytes, nnopt_error *error) {
  if (bytes >= 0 && bytes <= s->extent[buffer])
    return NNOPT_OK;
  return nni_fail(
      error, NNOPT_INVALID,
      "damaged metadata: an instruction leaves buffer %u (%lld of %lld bytes); compile again",
      buffer, (long long)bytes, (long long)s->extent[buffer]);
}

static int readI64(nnopt_session *s, uint32_t buffer, int64_t *value, nnopt_error *error) {
  return nni_session_read(s, value, s->pointers[buffer], sizeof *value, error);
}

static int readBool(nnopt_session *s, uint32_t buffer, char *value, nnopt_error *error) {
  return nni_session_read(s, value, s->pointers[buffer], 1, error);
}

static bool isOnDevice(const nnopt_session *s, const nni_launch *l) {
  return s->gpu && s->model->meta.launches[l->number].threads;
}

static int launch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  if (l->tasks <= 0)
    return NNOPT_OK;
  if (s->gpu)
    return isOnDevice(s, l) ? nni_device_launch(s, l, error) : nni_device_host_launch(s, l, error);
  if (l->parts <= 1)
    l->kernel(l->buffers, l->dims, 0, l->tasks, 0);
  else
    nni_pool_run(s->pool, l->kernel, l->buffers, l->dims, l->tasks, l->parts);
  return NNOPT_OK;
}

void nni_profile_launch(nnopt_session *s, const nni_launch *l, int64_t start, int64_t duration) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  nnopt_profile_record r = {0};
  r.start_ns = start;
  r.duration_ns = duration;
  r.run = s->run;
  r.launch = l->number;
  r.threads = l->parts;
  r.kernel = m->strings + meta->name;
  r.op = m->strings + meta->op;
  r.nodes = m->strings + meta->nodes;
  r.flops = meta->flops == NNOPT_NONE ? -1 : s->values[meta->flops];
  r.bytes = meta->bytes == NNOPT_NONE ? -1 : s->values[meta->bytes];
  r.tasks = l->tasks;
  s->profiler(s->profile_context, &r);
}

void nni_profile_copy(nnopt_session *s, const char *kernel, const char *nodes, int64_t start, int64_t duration, int64_t bytes) {
  nnopt_profile_record r = {0};
  r.start_ns = start;
  r.duration_ns = duration;
  r.run = s->run;
  r.launch = NNOPT_NONE;
  r.threads = 1;
  r.kernel = kernel;
  r.op = "copy";
  r.nodes = nodes;
  r.flops = 0;
  r.bytes = bytes;
  r.tasks = 1;
  s->profiler(s->profile_context, &r);
}

static int profiledLaunch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  if (s->gpu && !isOnDevice(s, l)) /* with its copies */
    return launch(s, l, error);
  int64_t start = nni_now(), duration = 0;
  if (s->gpu)
    nni_device_time_begin(s);
  int code = launch(s, l, error);
  if (!s->gpu)
    duration = nni_now() - start;
  else if (!code)
    code = nni_device_time_end(s, m->strings + meta->name, m->strings + meta->nodes, &duration, error);
  if (!code)
    nni_profile_launch(s, l, start, duration);
  return code;
}

static int copy(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  int64_t bytes = s->values[n->c];
  int code = need(s, n->a, bytes, error);
  if (!code)
    code = need(s, n->b, bytes, error);
  if (code)
    return code;
  int64_t start = s->profiler ? nni_now() : 0, duration = 0;
  if (s->profiler && s->gpu)
    nni_device_time_begin(s);
  if (bytes > 0)
    code = nni_session_copy(s, s->pointers[n->a], s->pointers[n->b], (size_t)bytes, error);
  if (!s->profiler || code)
    return code;
  if (s->gpu)
    code = nni_device_time_end(s, "copy", "", &duration, error);
  else
    duration = nni_now() - start;
  if (!code)
    nni_profile_copy(s, "copy", "", start, duration, 2 * bytes);
  return code;
}

int nni_set_symbol(nnopt_session *s, uint32_t symbol, int64_t value, nnopt_error *error) {
  int code = nni_check_symbol(&s->model->meta, symbol, value, error);
  if (code || value == s->symbols[symbol])
    return code;
  s->symbols[symbol] = value;
  return nni_refresh_dynamic(s, error);
}

static int readSymbol(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  /* The buffer may hold data of the caller: its value is checked like an input's dimension. */
  int64_t value;
  int code = need(s, n->b, 8, error);
  if (!code)
    code = readI64(s, n->b, &value, error);
  return code ? code : nni_set_symbol(s, n->a, value, error);
}

static int runBlock(nnopt_session *s, uint32_t block, nnopt_error *error);

static int runLoop(nnopt_session *s, const nnopt_instruction *n, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  uint32_t iteration = m->indices[n->a], condition = m->indices[n->a + 1];
  uint32_t trips = m->indices[n->a + 2], body = m->indices[n->a + 3];
  int code = trips == NNOPT_NONE ? NNOPT_OK : need(s, trips, 8, error);
  if (code)
    return code;
  int64_t limit = INT64_MAX;
  char goes = 0;
  if (trips != NNOPT_NONE && (code = readI64(s, trips, &limit, error)))
    return code;
  for (int64_t i = 0; i < limit && !code; ++i) {
    code = need(s, condition, 1, error);
    if (!code)
      code = need(s, iteration, 8, error);
    if (!code)
      code = readBool(s, condition, &goes, error);
    if (code || !goes)
      break;
    code = nni_session_write(s, s->pointers[iteration], &i, sizeof i, error);
    if (!code)
      code = runBlock(s, body, error);
  }
  return code;
}

static int runBlock(nnopt_session *s, uint32_t block, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_instruction *n = m->instructions + m->blocks[block].first;
  const nnopt_instruction *end = n + m->blocks[block].count;
  for (; n != end; ++n) {
    int code = NNOPT_OK;
    char flag;
    switch (n->op) {
    case NNOPT_I_LAUNCH:
      code = (s->profiler ? profiledLaunch : launch)(s, &s->launches[n->a], error);
      break;
    case NNOPT_I_IF:
      code = need(s, n->a, 1, error);
      if (!code)
        code = readBool(s, n->a, &flag, error);
      if (!code)
        code = runBlock(s, flag ? n->b : n->c, error);
      break;
    case NNOPT_I_LOOP:
      code = runLoop(s, n, error);
      break;
    case NNOPT_I_COPY:
      code = copy(s, n, error);
      break;
    case NNOPT_I_READ_SYMBOL:
      code = readSymbol(s, n, error);
      break;
    default:
      code = nni_host_instruction(s, n, error);
    }
    if (code)
      return code;
  }
  return NNOPT_OK;
}

static int runProgram(nnopt_session *s, nnopt_error *error) { return runBlock(s, 0, error); }

int nni_execute(nnopt_session *s, nnopt_error *error) {
  int code = nni_pool_check(s->pool, error);
  if (!code)
    code = s->gpu ? nni_device_execute(s, runProgram, error) : runProgram(s, error);
  ++s->run;
  return code;
}

/*===- cuda_run.c - running a program on a GPU ---------------------------------===
 *
 * Launches go to the session's stream in order, and a run whose pointers are those of the last one is replayed
 * as a CUDA graph.
 *===----------------------------------------------------------------------===*/
#include "cuda.h"

#include <stdlib.h>
#include <string.h>

/* What a run depends on: the place of each buffer, and all sizes. */
static size_t graphKey(const nnopt_session *s, char *key) {
  const nni_meta *m = &s->model->meta;
  size_t pointers = m->buffer_count * sizeof *s->pointers, values = m->value_count * sizeof *s->values;
  if (key) {
    memcpy(key, s->pointers, pointers);
    memcpy(key + pointers, s->values, values);
  }
  return pointers + values;
}

static bool isGraphOf(const nnopt_session *s, const struct graph *graph) {
  const nni_meta *m = &s->model->meta;
  size_t pointers = m->buffer_count * sizeof *s->pointers;
  return graph->exec && !memcmp(graph->key, s->pointers, pointers) &&
         !memcmp(graph->key + pointers, s->values, m->value_count * sizeof *s->values);
}

int nni_device_launch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  const nni_device *d = s->model->device;
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  if (l->tasks > 0x7fffffff)
    return nni_fail(error, NNOPT_UNSUPPORTED, "node %s: the tensor is too big for one launch", m->strings + meta->nodes);
  static const struct attribute overlap = {.id = ATTRIBUTE_OVERLAP, .value = {1}};
  struct launch launch = {{(unsigned)l->tasks, 1, 1}, {meta->threads, 1, 1}, meta->shared, s->gpu->stream, &overlap, d->overlaps};
  int result = d->Launch(&launch, d->functions[meta->kernel], l->parameters, NULL);
  return result ? nni_cuda_fail_at(d, result, m->strings + meta->name, m->strings + meta->nodes, error) : NNOPT_OK;
}

/* A CPU kernel of the program: what its operands lie in is copied to the host and what it wrote back. Operands
 * that lie in one piece of memory share a copy of it. */
int nni_device_host_launch(nnopt_session *s, const nni_launch *l, nnopt_error *error) {
  const nni_meta *m = &s->model->meta;
  const nnopt_launch_meta *meta = &m->launches[l->number];
  nni_device_session *g = s->gpu;
  size_t total = 0;
  void *pointers[64];
  size_t places[64];
  bool shared[64]; /* with an operand before it, which is copied */
  if (meta->buffer_count > 64)
    return nni_fail(error, NNOPT_UNSUPPORTED, "node %s has more than 64 operands", m->strings + meta->nodes);
  /* First the places, then the copies: the mirror must not move in between. */
  for (uint32_t k = 0; k < meta->buffer_count; ++k) {
    uint32_t root = m->root[m->operands[meta->buffers + k].number];
    places[k] = SIZE_MAX;
    shared[k] = false;
    for (uint32_t j = 0; j < k; ++j)
      if (m->root[m->operands[meta->buffers + j].number] == root) {
        places[k] = places[j];
        shared[k] = true;
      }
    if (places[k] == SIZE_MAX && m->buffers[root].kind != NNOPT_B_WEIGHT) {
      places[k] = total;
      total += ((size_t)s->extent[root] + 63) / 64 * 64;
    }
  }
  if (!nni_reserve(&s->options, &g->mirror, total, 64, 0))
    return nni_fail(error, NNOPT_FAILED, "out of memory for node %s", m->strings + meta->nodes);
  int code = NNOPT_OK;
  for (int back = 0; back < 2 && !code; ++back) {
    int64_t start = nni_now(), copied = 0;
    for (uint32_t k = 0; k < meta->buffer_count && !code; ++k) {
      uint32_t number = m->operands[meta->buffers + k].number, root = m->root[number];
      if (m->buffers[root].kind == NNOPT_B_WEIGHT) {
        pointers[k] = (char *)s->model->artifact.weights + m->buffers[root].offset + (s->pointers[number] - s->pointers[root]);
        continue;
      }
      char *copy = g->mirror.data + places[k];
      pointers[k] = copy + (s->pointers[number] - s->pointers[root]);
      bool written = m->indices[meta->written + k / 32] >> (k % 32) & 1;
      if (m->buffers[root].kind == NNOPT_B_SCRATCH || (back ? !written : shared[k]))
        continue;
      code = back ? nni_session_write(s, s->pointers[root], copy, (size_t)s->extent[root], error)
                  : nni_session_read(s, copy, s->pointers[root], (size_t)s->extent[root], error);
      copied += s->extent[root];
    }
    if (s->profiler && copied)
      nni_profile_copy(s, back ? "copy from the CPU" : "copy to the CPU", m->strings + meta->nodes, start, nni_now() - start,
                       copied);
    if (back || code)
      continue;
    start = nni_now();
    if (l->tasks > 0)
      l->kernel(pointers, l->dims, 0, l->tasks, 0);
    if (s->profiler)
      nni_profile_launch(s, l, start, nni_now() - start);
  }
  return code;
}

void nni_device_time_begin(nnopt_session *s) {
  const nni_device *d = s->model->device;
  d->EventRecord(s->gpu->events[0], s->gpu->stream);
}

int nni_device_time_end(nnopt_session *s, const char *what, const char *nodes, int64_t *ns, nnopt_error *error) {
  const nni_device *d = s->model->device;
  float ms = 0;
  int result = d->EventRecord(s->gpu->events[1], s->gpu->stream);
  if (!result)
    result = d->EventWait(s->gpu->events[1]);
  if (!result)
    result = d->EventTime(&ms, s->gpu->events[0], s->gpu->events[1]);
  *ns = (int64_t)(ms * 1e6f);
  return result ? nni_cuda_fail_at(d, result, what, nodes, error) : NNOPT_OK;
}

/* Records a run in place of the graph that was used longest ago. */
static int record(nnopt_session *s, int (*program)(nnopt_session *, nnopt_error *), nnopt_error *error) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  struct graph *graph = &g->graphs[0];
  for (int i = 1; i < GRAPHS; ++i)
    if (g->graphs[i].last_use < graph->last_use)
      graph = &g->graphs[i];
  if (!graph->key && !(graph->key = malloc(graphKey(s, NULL) + 1)))
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  if (graph->exec)
    d->GraphExecDestroy(graph->exec);
  graph->exec = NULL;
  handle captured = NULL;
  int code = NNOPT_OK, result = d->CaptureBegin(g->stream, 2); /* CU_STREAM_CAPTURE_MODE_RELAXED */
  if (!result) {
    code = program(s, error);
    result = d->CaptureEnd(g->stream, &captured);
  }
  if (!result && !code)
    result = d->GraphInstantiate(&graph->exec, captured, 0);
  if (captured)
    d->GraphDestroy(captured);
  if (code || result) {
    graph->exec = NULL;
    return code ? code : nni_cuda_fail(d, result, "recording a run", error);
  }
  graphKey(s, graph->key);
  g->graph = graph;
  return NNOPT_OK;
}

int nni_device_execute(nnopt_session *s, int (*program)(nnopt_session *, nnopt_error *), nnopt_error *error) {
  const nni_device *d = s->model->device;
  nni_device_session *g = s->gpu;
  nni_cuda_enter(d);
  int code = NNOPT_OK, result = 0;
  bool usesGraph = g->graphable && g->own && !s->profiler;
  ++g->runs;
  for (int i = 0; usesGraph && !g->graph && i < GRAPHS; ++i)
    if (isGraphOf(s, &g->graphs[i]))
      g->graph = &g->graphs[i];
  /* The second run with the same pointers is recorded; the first one found out whether all is well. */
  if (usesGraph && !g->graph && g->same_runs >= 1)
    code = record(s, program, error);
  if (!code && usesGraph && g->graph) {
    g->graph->last_use = g->runs;
    result = d->GraphLaunch(g->graph->exec, g->stream);
  } else if (!code) {
    code = program(s, error);
  }
  ++g->same_runs;
  nni_cuda_leave(d);
  return result ? nni_cuda_fail(d, result, "running the model", error) : code;
}

int nni_device_finish(nnopt_session *s, nnopt_error *error) {
  if (!s->gpu || !s->gpu->own)
    return NNOPT_OK; /* the caller's stream: the caller waits */
  const nni_device *d = s->model->device;
  nni_cuda_enter(d);
  int result = d->StreamWait(s->gpu->stream);
  nni_cuda_leave(d);
  /* Kernels fail some time after their launch: the profiler waits for each. */
  return result ? nni_cuda_fail(d, result, "running the model (nnopt-run --profile names the kernel)", error) : NNOPT_OK;
}

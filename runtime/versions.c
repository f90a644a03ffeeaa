/*===- versions.c - artifacts with several programs for one model ----------------===
 *
 * --target with a list makes programs for several CPUs: one of them is chosen when the model is
 * opened. --dim=NAME=128,256,* makes programs for some sizes and one for all sizes; each run takes
 * the first that its inputs fit. A session has one of its own for each program that it used: they
 * share threads and weights.
 *===----------------------------------------------------------------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

int nni_choose_cpu(nnopt_model *model, const char *where, nnopt_error *error) {
  const nnopt_descriptor *first = model->artifact.descriptor;
  if (first->format_version != NNOPT_FORMAT_VERSION || !first->versions)
    return NNOPT_OK;
  const nnopt_version *v = first->versions, *begin = v;
  uint32_t features = 0;
  for (; v->descriptor; ++v) {
    if (!v->general)
      continue;
    features = v->cpu_features;
    if (nni_cpu_require(where, features, NULL) == NNOPT_OK) {
      model->artifact.descriptor = v->descriptor;
      model->specialized = begin;
      model->specialized_count = (uint32_t)(v - begin);
      return NNOPT_OK;
    }
    begin = v + 1;
  }
  return nni_cpu_require(where, features, error);
}

/* Whether all dimensions that are fixed in a program are those of the inputs. */
static bool fits(const nni_meta *m, DLTensor *const *inputs) {
  for (uint32_t i = 0; i < m->input_count; ++i) {
    const nnopt_tensor_meta *t = &m->tensors[m->inputs[i]];
    if (!inputs[i] || inputs[i]->ndim != (int32_t)t->rank)
      return false;
    for (uint32_t d = 0; d < t->rank; ++d) {
      const nnopt_value_expr *value = &m->values[m->indices[t->dims + d]];
      if (value->op == NNOPT_V_CONST && value->imm != inputs[i]->shape[d])
        return false;
    }
  }
  return true;
}

int nni_version_for(nnopt_session *s, DLTensor *const *inputs, size_t count, nnopt_session **chosen,
                    nnopt_error *error) {
  nnopt_model *model = s->model;
  *chosen = s;
  if (count != model->meta.input_count || (count && !inputs) || s->state_count)
    return NNOPT_OK;
  for (uint32_t i = 0; i < model->specialized_count; ++i) {
    if (!fits(&model->versions[i]->meta, inputs))
      continue;
    if (!s->versions[i]) {
      int code = nni_session_open(model->versions[i], &s->options, s, &s->versions[i], error);
      if (code)
        return code;
    }
    *chosen = s->versions[i];
    (*chosen)->profiler = s->profiler;
    (*chosen)->profile_context = s->profile_context;
    break;
  }
  return NNOPT_OK;
}

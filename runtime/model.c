/*===- model.c - models and what one can ask them -------------------------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Fills in the records that queries return. */
static int describe(nnopt_model *model, nnopt_error *error) {
  const nni_meta *m = &model->meta;
  size_t ranks = 0;
  for (uint32_t i = 0; i < m->input_count; ++i)
    ranks += m->tensors[m->inputs[i]].rank;
  for (uint32_t i = 0; i < m->output_count; ++i)
    ranks += m->tensors[m->outputs[i]].rank;
  model->inputs = nni_calloc(m->input_count, sizeof *model->inputs);
  model->outputs = nni_calloc(m->output_count, sizeof *model->outputs);
  model->symbols = nni_calloc(m->symbol_count, sizeof *model->symbols);
  model->info_dims = nni_calloc(ranks, sizeof *model->info_dims);
  model->info_names = nni_calloc(ranks, sizeof *model->info_names);
  if (!model->inputs || !model->outputs || !model->symbols || !model->info_dims ||
      !model->info_names)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  size_t used = 0;
  for (uint32_t i = 0; i < m->input_count + m->output_count; ++i) {
    bool input = i < m->input_count;
    const nnopt_tensor_meta *t = &m->tensors[input ? m->inputs[i] : m->outputs[i - m->input_count]];
    nnopt_tensor_info *info = input ? &model->inputs[i] : &model->outputs[i - m->input_count];
    int width;
    info->name = m->strings + t->name;
    nni_dtype(t->dtype, &info->dtype, &width);
    info->onnx_type = (int32_t)t->dtype;
    info->kind = (int32_t)t->kind;
    info->type = m->strings + t->type;
    info->rank = (int32_t)t->rank;
    info->dims = model->info_dims + used;
    info->dim_names = model->info_names + used;
    for (uint32_t d = 0; d < t->rank; ++d, ++used) {
      const nnopt_value_expr *value = &m->values[m->indices[t->dims + d]];
      uint32_t name = m->indices[t->dim_names + d];
      model->info_dims[used] = value->op == NNOPT_V_CONST ? value->imm : -1;
      if (name == NNOPT_NONE && value->op == NNOPT_V_SYMBOL)
        name = value->a;
      if (name == NNOPT_NONE)
        continue;
      model->info_names[used] = m->strings + m->symbols[name].name;
      if (m->symbols[name].low == m->symbols[name].high)
        model->info_dims[used] = m->symbols[name].low;
    }
  }
  for (uint32_t i = 0; i < m->symbol_count; ++i) {
    const nnopt_symbol *s = &m->symbols[i];
    model->symbols[i] =
        (nnopt_symbol_info){m->strings + s->name, s->low, s->high, s->data_dependent != 0};
  }
  return NNOPT_OK;
}

static void destroy(nnopt_model *model) {
  for (uint32_t i = 0; model->versions && i < model->specialized_count; ++i)
    if (model->versions[i]) {
      memset(&model->versions[i]->artifact, 0, sizeof model->artifact); /* it is this one's */
      destroy(model->versions[i]);
    }
  free(model->versions);
  nni_device_close(model->device);
  nni_host_close(model->host);
  nni_meta_close(&model->meta);
  nni_artifact_close(&model->artifact, &model->options);
  free(model->inputs);
  free(model->outputs);
  free(model->symbols);
  free(model->info_dims);
  free(model->info_names);
  free(model);
}

static int create(const nnopt_options *options, nnopt_model **out, nnopt_error *error) {
  nnopt_model *model = nni_calloc(1, sizeof *model);
  if (!model)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  atomic_init(&model->references, 1);
  int code = nni_options(&model->options, options, NULL, error);
  if (code)
    free(model);
  else
    *out = model;
  return code;
}

/* Sets the model up from the descriptor of its artifact. */
static int setUp(nnopt_model *model, const char *where, nnopt_error *error) {
  int code = nni_meta_open(&model->meta, model->artifact.descriptor, model->artifact.weights_size, where, error);
  if (!code && model->options.device_type == kDLCUDA)
    code = nni_device_open(model, where, error);
  if (!code)
    code = describe(model, error);
  return code ? code : nni_host_open(model, where, error);
}

/* Makes the models of the programs for some sizes. */
static int openVersions(nnopt_model *model, const char *where, nnopt_error *error) {
  if (!(model->versions = nni_calloc(model->specialized_count, sizeof *model->versions)))
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  for (uint32_t i = 0; i < model->specialized_count; ++i) {
    int code = create(&model->options, &model->versions[i], error);
    if (code)
      return code;
    nnopt_model *version = model->versions[i];
    version->artifact = model->artifact;
    version->artifact.descriptor = model->specialized[i].descriptor;
    if ((code = setUp(version, where, error)))
      return code;
    if (version->meta.input_count != model->meta.input_count || version->meta.output_count != model->meta.output_count)
      return nni_fail(error, NNOPT_INVALID, "%s: damaged metadata: versions differ; compile again", where);
  }
  return NNOPT_OK;
}

static int finish(nnopt_model *model, const char *where, nnopt_model **out, nnopt_error *error) {
  int code = nni_choose_cpu(model, where, error);
  const nnopt_descriptor *cpu = model->artifact.descriptor;
  if (!code && model->options.device_type == kDLCUDA && cpu->format_version == NNOPT_FORMAT_VERSION) {
    if (cpu->cuda)
      model->artifact.descriptor = cpu->cuda->program;
    else
      code = nni_fail(error, NNOPT_UNSUPPORTED, "%s: has no GPU code; compile the model with --gpu=sm_80,sm_90", where);
  }
  if (!code)
    code = setUp(model, where, error);
  if (!code)
    code = openVersions(model, where, error);
  if (code)
    destroy(model);
  else
    *out = model;
  return code;
}

int nnopt_model_open(const char *path, const nnopt_options *options, nnopt_model **out,
                     nnopt_error *error) {
  if (!path || !out)
    return nni_fail(error, NNOPT_INVALID, "nnopt_model_open: an argument is NULL");
  nnopt_model *model;
  int code = create(options, &model, error);
  if (code)
    return code;
  if ((code = nni_artifact_open(&model->artifact, path, &model->options, error))) {
    destroy(model);
    return code;
  }
  return finish(model, path, out, error);
}

int nnopt_model_open_static(const struct nnopt_descriptor *descriptor, const char *weights_path,
                            const nnopt_options *options, nnopt_model **out, nnopt_error *error) {
  if (!descriptor || !out)
    return nni_fail(error, NNOPT_INVALID, "nnopt_model_open_static: an argument is NULL");
  nnopt_model *model;
  int code = create(options, &model, error);
  if (code)
    return code;
  model->artifact.descriptor = descriptor;
  if (weights_path &&
      (code = nni_weights_open(&model->artifact, weights_path, &model->options, error))) {
    destroy(model);
    return code;
  }
  return finish(model, weights_path ? weights_path : "linked model", out, error);
}

void nnopt_model_close(nnopt_model *model) {
  if (model && atomic_fetch_sub(&model->references, 1) == 1)
    destroy(model);
}

size_t nnopt_model_input_count(const nnopt_model *model) { return model->meta.input_count; }
size_t nnopt_model_output_count(const nnopt_model *model) { return model->meta.output_count; }
size_t nnopt_model_symbol_count(const nnopt_model *model) { return model->meta.symbol_count; }
size_t nnopt_model_property_count(const nnopt_model *model) { return model->meta.property_count; }

const nnopt_tensor_info *nnopt_model_input(const nnopt_model *model, size_t index) {
  return index < model->meta.input_count ? &model->inputs[index] : NULL;
}
const nnopt_tensor_info *nnopt_model_output(const nnopt_model *model, size_t index) {
  return index < model->meta.output_count ? &model->outputs[index] : NULL;
}
const nnopt_symbol_info *nnopt_model_symbol(const nnopt_model *model, size_t index) {
  return index < model->meta.symbol_count ? &model->symbols[index] : NULL;
}

const char *nnopt_model_property_at(const nnopt_model *model, size_t index, const char **value) {
  const nni_meta *m = &model->meta;
  if (index >= m->property_count)
    return NULL;
  if (value)
    *value = m->strings + m->properties[index].value;
  return m->strings + m->properties[index].key;
}

const char *nnopt_model_property(const nnopt_model *model, const char *key) {
  const char *value;
  for (size_t i = 0; i < model->meta.property_count; ++i)
    if (!strcmp(nnopt_model_property_at(model, i, &value), key))
      return value;
  return NULL;
}

int nnopt_model_memory(const nnopt_model *model, const nnopt_dim *dims, size_t dim_count,
                       int32_t num_threads, nnopt_memory *memory, nnopt_error *error) {
  const nni_meta *m = &model->meta;
  if (!memory || (dim_count && !dims))
    return nni_fail(error, NNOPT_INVALID, "nnopt_model_memory: an argument is NULL");
  int threads = num_threads > 0 ? num_threads : nni_default_threads();
  size_t n = m->plan_count;
  int64_t *symbols = nni_calloc(m->symbol_count, sizeof *symbols);
  int64_t *values = nni_calloc(m->value_count, sizeof *values);
  int64_t *work = nni_calloc(6 * n, sizeof *work); /* sizes, offsets, 4 n for the planner */
  int code = NNOPT_OK;
  if (!symbols || !values || !work)
    code = nni_fail(error, NNOPT_FAILED, "out of memory");
  for (uint32_t i = 0; !code && i < m->symbol_count; ++i)
    if (!m->symbols[i].data_dependent)
      symbols[i] = m->symbols[i].low > 1 ? m->symbols[i].low : 1;
  for (size_t k = 0; !code && k < dim_count; ++k) {
    uint32_t i = 0;
    while (i < m->symbol_count &&
           (m->symbols[i].data_dependent || strcmp(m->strings + m->symbols[i].name, dims[k].name)))
      ++i;
    if (i == m->symbol_count)
      code =
          nni_fail(error, NNOPT_INVALID, "the model has no symbolic dimension '%s'", dims[k].name);
    else if (!(code = nni_check_symbol(m, i, dims[k].value, error)))
      symbols[i] = dims[k].value;
  }
  int64_t naive = 0, bound = 0, arena = 0;
  if (!code)
    code = nni_evaluate(m, symbols, NULL, threads, false, values, error);
  if (!code)
    code = nni_plan_sizes(m, values, threads, work, &naive, error);
  if (!code) {
    arena = nnopt_plan_memory((uint32_t)n, work, m->plan_first, m->plan_last, m->plan_align,
                              work + n, work + 2 * n, &bound);
    if (arena < 0)
      code = nni_fail(error, NNOPT_INVALID, "these shapes need an absurd amount of memory");
  }
  if (!code) {
    memset(memory, 0, sizeof *memory);
    memory->arena_bytes = arena;
    memory->lower_bound_bytes = bound;
    memory->naive_bytes = naive;
    memory->weight_bytes = (int64_t)model->artifact.weights_size;
  }
  free(symbols);
  free(values);
  free(work);
  return code;
}

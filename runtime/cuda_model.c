/*===- cuda_model.c - a model on a GPU: kernels and weights --------------------===
 *===----------------------------------------------------------------------===*/
#include "cuda.h"

#include <dlfcn.h>
#include <stdlib.h>

/* How well an image of a kind suits, or -1 where it does not run. */
static int rankOf(const nnopt_device_image *image, int arch) {
  switch (image->kind) {
  case NNOPT_IMAGE_CUBIN:
    return (int)image->arch <= arch && (int)image->arch / 10 == arch / 10 ? 2 : -1;
  case NNOPT_IMAGE_PTX_EXACT:
    return (int)image->arch == arch ? 1 : -1;
  default:
    return (int)image->arch <= arch ? 0 : -1;
  }
}

enum { RANKS = 3 };

/* The image that suits the GPU best, of those whose rank is below `limit`: machine code before PTX, and then the newest. */
static const nnopt_device_image *chooseImage(const nnopt_device_program *p, int arch, int limit) {
  const nnopt_device_image *best = NULL;
  for (uint32_t i = 0; i < p->image_count; ++i) {
    const nnopt_device_image *image = &p->images[i];
    int rank = rankOf(image, arch), known = best ? rankOf(best, arch) : -1;
    if (rank >= 0 && rank < limit && (rank > known || (rank == known && image->arch > best->arch)))
      best = image;
  }
  return best;
}

static int loadKernels(nni_device *d, const nni_meta *m, const nnopt_device_program *p, const char *where,
                       nnopt_error *error) {
  int major = 0, minor = 0, limit = 0;
  d->DeviceGetAttribute(&major, 75, d->ordinal); /* COMPUTE_CAPABILITY_MAJOR, _MINOR */
  d->DeviceGetAttribute(&minor, 76, d->ordinal);
  d->DeviceGetAttribute(&limit, 97, d->ordinal); /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */
  int arch = 10 * major + minor, result = 1;
  const nnopt_device_image *image = NULL;
  /* What an older driver does not take is tried as something more portable. */
  for (int limit = RANKS; result && limit > 0; limit = rankOf(image, arch)) {
    const nnopt_device_image *next = chooseImage(p, arch, limit);
    if (!next && image)
      break;
    image = next;
    if (!image)
      return nni_fail(error, NNOPT_UNSUPPORTED,
                      "%s: has no code for this GPU (sm_%d); compile again with --gpu=sm_%d", where, arch, arch);
    result = d->ModuleLoad(&d->module, image->data);
  }
  if (result)
    return nni_cuda_fail(d, result, "loading the kernels", error);
  d->overlaps = image->arch >= 90;
  d->functions = nni_calloc(p->kernel_count, sizeof *d->functions);
  if (!d->functions)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  for (uint32_t i = 0; i < p->kernel_count; ++i)
    if ((result = d->ModuleFunction(&d->functions[i], d->module, p->kernel_names[i])))
      return nni_cuda_fail(d, result, p->kernel_names[i], error);
  for (uint32_t i = 0; i < m->launch_count; ++i) {
    const nnopt_launch_meta *l = &m->launches[i];
    if (!l->threads || l->shared <= 48 << 10)
      continue;
    if ((int)l->shared > limit)
      return nni_fail(error, NNOPT_UNSUPPORTED, "%s: kernel %s needs %u bytes of shared memory, the GPU has %d", where,
                      m->strings + l->name, l->shared, limit);
    /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
    if ((result = d->FunctionAttribute(d->functions[l->kernel], 8, (int)l->shared)))
      return nni_cuda_fail(d, result, m->strings + l->name, error);
  }
  return NNOPT_OK;
}

/* Only what launches of GPU kernels refer to: the file has weights in the CPU's layouts too. */
static int uploadWeights(nni_device *d, const nni_meta *m, const uint8_t *weights, nnopt_error *error) {
  d->offsets = nni_calloc(m->buffer_count, sizeof *d->offsets);
  if (!d->offsets)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  uint64_t total = 0;
  for (uint32_t i = 0; i < m->buffer_count; ++i)
    if (m->buffers[i].kind == NNOPT_B_WEIGHT) {
      d->offsets[i] = total;
      total += ((uint64_t)m->values[m->buffers[i].size].imm + 255) / 256 * 256;
    }
  int result = total ? d->Allocate(&d->weights, total) : 0;
  for (uint32_t i = 0; !result && i < m->buffer_count; ++i) {
    size_t bytes = (size_t)m->values[m->buffers[i].size].imm;
    if (m->buffers[i].kind == NNOPT_B_WEIGHT && bytes)
      result = d->Upload(d->weights + d->offsets[i], weights + m->buffers[i].offset, bytes, NULL);
  }
  if (!result)
    result = d->StreamWait(NULL);
  return result ? nni_cuda_fail(d, result, "uploading the weights", error) : NNOPT_OK;
}

int nni_device_open(nnopt_model *model, const char *where, nnopt_error *error) {
  const nnopt_device_program *p = model->artifact.descriptor->cuda;
  nni_device *d = model->device = nni_calloc(1, sizeof *d);
  if (!d)
    return nni_fail(error, NNOPT_FAILED, "out of memory");
  int code = nni_cuda_open_driver(d, error);
  if (code)
    return code;
  int result = d->DeviceGet(&d->ordinal, model->options.device_id);
  if (result)
    return nni_fail(error, NNOPT_INVALID, "there is no GPU number %d", (int)model->options.device_id);
  if ((result = d->ContextRetain(&d->context, d->ordinal))) {
    d->context = NULL;
    return nni_cuda_fail(d, result, "opening the GPU", error);
  }
  nni_cuda_enter(d);
  code = loadKernels(d, &model->meta, p, where, error);
  if (!code)
    code = uploadWeights(d, &model->meta, model->artifact.weights, error);
  nni_cuda_leave(d);
  return code;
}

int nnopt_model_device_bounds(const nnopt_model *model, double *gflops, double *gbytes, nnopt_error *error) {
  const nni_device *d = model ? model->device : NULL;
  if (!d || !gflops || !gbytes)
    return nni_fail(error, NNOPT_INVALID, "nnopt_model_device_bounds: %s", d ? "an argument is NULL" : "the model runs on the CPU");
  /* CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, CLOCK_RATE (kHz), MEMORY_CLOCK_RATE (kHz, of a double data rate),
   * GLOBAL_MEMORY_BUS_WIDTH (bits), COMPUTE_CAPABILITY_MAJOR, _MINOR */
  static const int attributes[] = {16, 13, 36, 37, 75, 76};
  int v[6] = {0};
  for (int i = 0; i < 6; ++i) {
    int result = d->DeviceGetAttribute(&v[i], attributes[i], d->ordinal);
    if (result)
      return nni_cuda_fail(d, result, "asking for the GPU's clocks", error);
  }
  /* Units for f32 of a multiprocessor: 64 in 8.0, 128 in 8.6 and later ones. */
  int units = v[4] == 8 && v[5] == 0 ? 64 : 128;
  *gflops = 2e-6 * v[0] * v[1] * units;
  *gbytes = 2e-6 * v[2] * v[3] / 8;
  return NNOPT_OK;
}

void nni_device_close(nni_device *d) {
  if (!d)
    return;
  if (d->context) {
    nni_cuda_enter(d);
    if (d->weights)
      d->Free(d->weights);
    if (d->module)
      d->ModuleUnload(d->module);
    nni_cuda_leave(d);
    d->ContextRelease(d->ordinal);
  }
  if (d->library)
    dlclose(d->library);
  free(d->functions);
  free(d->offsets);
  free(d);
}

char *nni_device_weight(const nni_device *d, uint32_t buffer) { return (char *)(uintptr_t)(d->weights + d->offsets[buffer]); }

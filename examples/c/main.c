/*===- main.c - runs a compiled model from C ------------------------------------===
 *
 *   nnopt-example MODEL.so
 *
 * Opens the model, fills its inputs with a pattern (dynamic dimensions are 1), runs it and prints
 * the first elements of each output.
 *===----------------------------------------------------------------------===*/
#include <nnopt/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS 64

/* Prints the message and ends the program if a call failed. */
static void check(int code, const nnopt_error *error) {
  if (code == NNOPT_OK)
    return;
  fprintf(stderr, "nnopt-example: %s\n", error->message);
  exit(code);
}

/* Makes a compact tensor of the given shape, filled with 0, 0.01, 0.02, ... (floats) or zeros. */
static DLTensor makeTensor(const nnopt_tensor_info *info, const int64_t *dims) {
  int64_t count = 1;
  int64_t *shape = calloc(info->rank ? (size_t)info->rank : 1, sizeof *shape);
  for (int i = 0; i < info->rank; ++i) {
    shape[i] = dims[i] < 0 ? 1 : dims[i];
    count *= shape[i];
  }
  /* Types of less than 8 bits take a byte an element. */
  size_t width = (info->dtype.bits + 7) / 8;
  void *data = calloc(count ? (size_t)count : 1, width);
  if (info->dtype.code == kDLFloat && info->dtype.bits == 32)
    for (int64_t i = 0; i < count; ++i)
      ((float *)data)[i] = (float)(i % 100) * 0.01f;
  DLTensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = info->rank;
  tensor.dtype = info->dtype;
  tensor.shape = shape;
  return tensor;
}

static void printTensor(const nnopt_tensor_info *info, const DLTensor *tensor) {
  int64_t count = 1;
  printf("output '%s': [", info->name);
  for (int i = 0; i < tensor->ndim; ++i) {
    printf("%s%lld", i ? "," : "", (long long)tensor->shape[i]);
    count *= tensor->shape[i];
  }
  printf("]");
  if (tensor->dtype.code == kDLFloat && tensor->dtype.bits == 32)
    for (int64_t i = 0; i < count && i < 8; ++i)
      printf(" %g", ((const float *)tensor->data)[i]);
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: nnopt-example MODEL.so\n");
    return 2;
  }
  nnopt_error error;
  nnopt_model *model;
  nnopt_session *session;
  check(nnopt_model_open(argv[1], NULL, &model, &error), &error);
  check(nnopt_session_create(model, NULL, &session, &error), &error);

  size_t inputCount = nnopt_model_input_count(model), outputCount = nnopt_model_output_count(model);
  if (inputCount > MAX_TENSORS || outputCount > MAX_TENSORS) {
    fprintf(stderr, "nnopt-example: more than %d inputs or outputs\n", MAX_TENSORS);
    return 1;
  }
  DLTensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
  DLTensor *in[MAX_TENSORS], *out[MAX_TENSORS];
  for (size_t i = 0; i < inputCount; ++i) {
    const nnopt_tensor_info *info = nnopt_model_input(model, i);
    inputs[i] = makeTensor(info, info->dims);
    in[i] = &inputs[i];
  }

  /* The shapes of outputs follow from those of the inputs; some only from the data. Those are left
   * to the library: NULL here, nnopt_session_take_output after the run. */
  nnopt_shape shapes[MAX_TENSORS];
  check(nnopt_session_output_shapes(session, in, inputCount, shapes, outputCount, &error), &error);
  for (size_t i = 0; i < outputCount; ++i) {
    outputs[i] = makeTensor(nnopt_model_output(model, i), shapes[i].dims);
    out[i] = &outputs[i];
    for (int d = 0; d < shapes[i].rank; ++d)
      if (shapes[i].dims[d] < 0)
        out[i] = NULL;
  }

  check(nnopt_session_run(session, in, inputCount, out, outputCount, &error), &error);

  for (size_t i = 0; i < outputCount; ++i) {
    if (out[i]) {
      printTensor(nnopt_model_output(model, i), out[i]);
      continue;
    }
    DLManagedTensorVersioned *taken;
    check(nnopt_session_take_output(session, i, &taken, &error), &error);
    printTensor(nnopt_model_output(model, i), &taken->dl_tensor);
    taken->deleter(taken);
  }

  for (size_t i = 0; i < inputCount; ++i) {
    free(inputs[i].data);
    free(inputs[i].shape);
  }
  for (size_t i = 0; i < outputCount; ++i) {
    free(outputs[i].data);
    free(outputs[i].shape);
  }
  nnopt_session_destroy(session);
  nnopt_model_close(model);
  return 0;
}

/*===- run.c - runs an artifact on tensors in files ------------------------------===
 *
 *   run MODEL.so FOLDER
 *
 * Input i is FOLDER/in_i.raw: its dimensions as int64, then its elements. Output i goes to FOLDER/out_i.raw: rank and
 * dimensions as int64, then elements. It needs nothing but libc and the runtime, so that it is easily built for any CPU.
 *===----------------------------------------------------------------------===*/
#include <nnopt/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS 64
#define MAX_RANK 16

static void check(int code, const nnopt_error *error) {
  if (code == NNOPT_OK)
    return;
  fprintf(stderr, "%s\n", error->message);
  exit(code);
}

static int64_t bytesOf(const DLTensor *t) {
  int64_t bytes = (t->dtype.bits + 7) / 8;
  for (int i = 0; i < t->ndim; ++i)
    bytes *= t->shape[i];
  return bytes;
}

static FILE *open_file(const char *folder, const char *stem, size_t i, const char *mode) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s_%zu.raw", folder, stem, i);
  FILE *file = fopen(path, mode);
  if (!file) {
    perror(path);
    exit(1);
  }
  return file;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: run MODEL.so FOLDER\n");
    return 2;
  }
  nnopt_error error;
  nnopt_model *model;
  nnopt_session *session;
  check(nnopt_model_open(argv[1], NULL, &model, &error), &error);
  check(nnopt_session_create(model, NULL, &session, &error), &error);
  size_t inputs = nnopt_model_input_count(model), outputs = nnopt_model_output_count(model);
  if (inputs > MAX_TENSORS || outputs > MAX_TENSORS)
    return 1;
  static DLTensor in[MAX_TENSORS], out[MAX_TENSORS];
  static int64_t shapes[2 * MAX_TENSORS][MAX_RANK];
  DLTensor *inPointers[MAX_TENSORS], *outPointers[MAX_TENSORS];
  for (size_t i = 0; i < inputs; ++i) {
    const nnopt_tensor_info *info = nnopt_model_input(model, i);
    FILE *file = open_file(argv[2], "in", i, "rb");
    in[i] = (DLTensor){.device = {kDLCPU, 0}, .ndim = info->rank, .dtype = info->dtype, .shape = shapes[i]};
    if (fread(shapes[i], 8, (size_t)info->rank, file) != (size_t)info->rank)
      return 1;
    int64_t bytes = bytesOf(&in[i]);
    in[i].data = aligned_alloc(64, (size_t)(bytes + 127) / 64 * 64);
    if (fread(in[i].data, 1, (size_t)bytes, file) != (size_t)bytes)
      return 1;
    fclose(file);
    inPointers[i] = &in[i];
  }
  nnopt_shape known[MAX_TENSORS];
  check(nnopt_session_output_shapes(session, inPointers, inputs, known, outputs, &error), &error);
  for (size_t i = 0; i < outputs; ++i) {
    const nnopt_tensor_info *info = nnopt_model_output(model, i);
    memcpy(shapes[MAX_TENSORS + i], known[i].dims, sizeof(int64_t) * (size_t)known[i].rank);
    out[i] = (DLTensor){.device = {kDLCPU, 0}, .ndim = known[i].rank, .dtype = info->dtype, .shape = shapes[MAX_TENSORS + i]};
    out[i].data = aligned_alloc(64, (size_t)(bytesOf(&out[i]) + 127) / 64 * 64);
    outPointers[i] = &out[i];
  }
  check(nnopt_session_run(session, inPointers, inputs, outPointers, outputs, &error), &error);
  for (size_t i = 0; i < outputs; ++i) {
    FILE *file = open_file(argv[2], "out", i, "wb");
    int64_t rank = out[i].ndim;
    fwrite(&rank, 8, 1, file);
    fwrite(out[i].shape, 8, (size_t)rank, file);
    fwrite(out[i].data, 1, (size_t)bytesOf(&out[i]), file);
    fclose(file);
  }
  nnopt_session_destroy(session);
  nnopt_model_close(model);
  return 0;
}

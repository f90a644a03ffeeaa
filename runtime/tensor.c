/*===- tensor.c - element types and strided copies ------------------------------===*/
#include "internal.h"

#include <stdio.h>
#include <string.h>

static const struct {
  uint8_t code, bits, width;
  const char *name;
} types[] = {
    {0, 0, 0, "undefined"},
    {kDLFloat, 32, 4, "float32"},
    {kDLUInt, 8, 1, "uint8"},
    {kDLInt, 8, 1, "int8"},
    {kDLUInt, 16, 2, "uint16"},
    {kDLInt, 16, 2, "int16"},
    {kDLInt, 32, 4, "int32"},
    {kDLInt, 64, 8, "int64"},
    {kDLOpaqueHandle, 64, 0, "string"},
    {6 /* kDLBool */, 8, 1, "bool"},
    {kDLFloat, 16, 2, "float16"},
    {kDLFloat, 64, 8, "float64"},
    {kDLUInt, 32, 4, "uint32"},
    {kDLUInt, 64, 8, "uint64"},
    {5 /* kDLComplex */, 64, 8, "complex64"},
    {5 /* kDLComplex */, 128, 16, "complex128"},
    {kDLBfloat, 16, 2, "bfloat16"},
    {10 /* kDLFloat8_e4m3fn */, 8, 1, "float8e4m3fn"},
    {11 /* kDLFloat8_e4m3fnuz */, 8, 1, "float8e4m3fnuz"},
    {12 /* kDLFloat8_e5m2 */, 8, 1, "float8e5m2"},
    {13 /* kDLFloat8_e5m2fnuz */, 8, 1, "float8e5m2fnuz"},
    /* One element a byte from here on, as DLPack's padded sub-byte types. */
    {kDLUInt, 4, 1, "uint4"},
    {kDLInt, 4, 1, "int4"},
    {17 /* kDLFloat4_e2m1fn */, 4, 1, "float4e2m1"},
    {14 /* kDLFloat8_e8m0fnu */, 8, 1, "float8e8m0"},
    {kDLUInt, 2, 1, "uint2"},
    {kDLInt, 2, 1, "int2"},
};
enum { TypeCount = sizeof types / sizeof *types };

bool nni_dtype(uint32_t onnx_type, DLDataType *dtype, int *width) {
  if (onnx_type == 0 || onnx_type >= TypeCount)
    return false;
  *dtype = (DLDataType){types[onnx_type].code, types[onnx_type].bits, 1};
  *width = types[onnx_type].width;
  return true;
}

const char *nni_dtype_name(uint32_t onnx_type) {
  return onnx_type < TypeCount ? types[onnx_type].name : "unknown";
}

int64_t nni_bytes(int rank, const int64_t *dims, int width) {
  int64_t bytes = width;
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    if (dims[i] < 0)
      return -1;
    if (dims[i] == 0)
      empty = true;
  }
  if (empty)
    return 0;
  for (int i = 0; i < rank; ++i)
    if (__builtin_mul_overflow(bytes, dims[i], &bytes))
      return -1;
  return bytes;
}

bool nni_is_compact(const DLTensor *tensor) {
  if (!tensor->strides)
    return true;
  int64_t expected = 1;
  bool compact = true;
  for (int i = tensor->ndim - 1; i >= 0; --i) {
    if (tensor->shape[i] == 0)
      return true;
    if (tensor->shape[i] != 1 && tensor->strides[i] != expected)
      compact = false;
    /* The product fits: it was checked with the size in bytes. */
    expected *= tensor->shape[i];
  }
  return compact;
}

/* Walks all elements but the last axis; `row` moves one row of `count` elements that are `stride`
 * bytes apart. */
typedef void (*rowFn)(char *compact, char *strided, int64_t count, int64_t stride, int width);

static void gatherRow(char *compact, char *strided, int64_t count, int64_t stride, int width) {
  if (stride == width) {
    memcpy(compact, strided, (size_t)(count * width));
    return;
  }
  switch (width) {
  case 4:
    for (int64_t i = 0; i < count; ++i)
      memcpy(compact + 4 * i, strided + i * stride, 4);
    return;
  case 8:
    for (int64_t i = 0; i < count; ++i)
      memcpy(compact + 8 * i, strided + i * stride, 8);
    return;
  default:
    for (int64_t i = 0; i < count; ++i)
      memcpy(compact + i * width, strided + i * stride, (size_t)width);
  }
}

static void scatterRow(char *compact, char *strided, int64_t count, int64_t stride, int width) {
  if (stride == width) {
    memcpy(strided, compact, (size_t)(count * width));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    memcpy(strided + i * stride, compact + i * width, (size_t)width);
}

static void walk(char *compact, const DLTensor *tensor, int width, rowFn row) {
  int rank = tensor->ndim;
  char *data = (char *)tensor->data + tensor->byte_offset;
  int64_t bytes = nni_bytes(rank, tensor->shape, width);
  if (bytes <= 0)
    return;
  if (nni_is_compact(tensor)) {
    row(compact, data, bytes / width, width, width);
    return;
  }
  int64_t index[NNOPT_MAX_RANK] = {0};
  int64_t count = tensor->shape[rank - 1], stride = tensor->strides[rank - 1] * width;
  for (;;) {
    row(compact, data, count, stride, width);
    compact += count * width;
    int axis = rank - 2;
    for (; axis >= 0; --axis) {
      data += tensor->strides[axis] * width;
      if (++index[axis] < tensor->shape[axis])
        break;
      data -= tensor->strides[axis] * width * tensor->shape[axis];
      index[axis] = 0;
    }
    if (axis < 0)
      return;
  }
}

void nni_gather(char *compact, const DLTensor *tensor, int width) {
  walk(compact, tensor, width, gatherRow);
}

void nni_scatter(const DLTensor *tensor, const char *compact, int width) {
  walk((char *)compact, tensor, width, scatterRow);
}

const char *nni_shape_text(int rank, const int64_t *dims, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "[");
  for (int i = 0; i < rank && used < size; ++i)
    used += (size_t)(dims[i] < 0 ? snprintf(text + used, size - used, "%s?", i ? "," : "")
                                 : snprintf(text + used, size - used, "%s%lld", i ? "," : "",
                                            (long long)dims[i]));
  if (used < size)
    snprintf(text + used, size - used, "]");
  return text;
}

int nni_check_tensor(const DLTensor *tensor, const nnopt_tensor_info *info, const char *what,
                     bool gpu, bool need_data, nnopt_error *error) {
  if (tensor->device.device_type != kDLCPU && !(gpu && tensor->device.device_type == kDLCUDA))
    return nni_fail(error, NNOPT_UNSUPPORTED,
                    "%s '%s': the tensor is on device type %d; pass tensors in CPU memory", what,
                    info->name, (int)tensor->device.device_type);
  DLDataType is = tensor->dtype, want = info->dtype;
  /* numpy of old has no bool in DLPack and says uint8. */
  bool boolean = info->onnx_type == 9 && is.code == kDLUInt && is.bits == 8;
  if ((is.code != want.code || is.bits != want.bits || is.lanes != 1) && !boolean) {
    const char *name = "another type";
    for (int i = 1; i < TypeCount; ++i)
      if (types[i].code == is.code && types[i].bits == is.bits && is.lanes == 1)
        name = types[i].name;
    return nni_fail(error, NNOPT_INVALID,
                    "%s '%s': the element type is %s (DLPack code %d, %d bits), the "
                    "model's is %s",
                    what, info->name, name, is.code, is.bits,
                    nni_dtype_name((uint32_t)info->onnx_type));
  }
  if (tensor->ndim != info->rank)
    return nni_fail(error, NNOPT_INVALID, "%s '%s': the rank is %d, the model's is %d", what,
                    info->name, tensor->ndim, info->rank);
  if (tensor->ndim && !tensor->shape)
    return nni_fail(error, NNOPT_INVALID, "%s '%s': no shape", what, info->name);
  DLDataType dtype;
  int width = 0;
  nni_dtype((uint32_t)info->onnx_type, &dtype, &width);
  int64_t bytes = nni_bytes(tensor->ndim, tensor->shape, width);
  char text[256];
  if (bytes < 0 || bytes > (int64_t)1 << 47)
    return nni_fail(error, NNOPT_INVALID, "%s '%s': absurd shape %s", what, info->name,
                    nni_shape_text(tensor->ndim, tensor->shape, text, sizeof text));
  if (need_data && bytes && !tensor->data)
    return nni_fail(error, NNOPT_INVALID, "%s '%s': the data pointer is NULL", what, info->name);
  return NNOPT_OK;
}

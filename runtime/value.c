/*===- value.c - host values: strings, sequences, optionals, maps ---------------===*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct nnopt_value {
  atomic_int references;
  int32_t kind, type, rank;
  int64_t shape[NNOPT_MAX_RANK];
  size_t count;
  /* Tensors: elements. Strings: count + 1 offsets (uint64_t), then the strings, each with a NUL.
   * Others: `count` pointers to elements. */
  void *data;
};

static int outOfMemory(nnopt_error *error) {
  return nni_fail(error, NNOPT_FAILED, "out of memory for a value");
}

/* A value without elements and with `bytes` bytes of data. */
static nnopt_value *create(int32_t kind, int32_t type, size_t count, size_t bytes) {
  nnopt_value *v = nni_calloc(1, sizeof *v);
  if (!v)
    return NULL;
  if (posix_memalign(&v->data, 64, bytes ? bytes : 1)) {
    free(v);
    return NULL;
  }
  atomic_init(&v->references, 1);
  v->kind = kind;
  v->type = type;
  v->count = count;
  return v;
}

/* Checks a shape and gives the number of elements. */
static int elements(int32_t rank, const int64_t *shape, size_t *count, nnopt_error *error) {
  if (rank < 0 || rank > NNOPT_MAX_RANK || (rank && !shape))
    return nni_fail(error, NNOPT_INVALID, "a value of rank %d: use 0 to %d", rank, NNOPT_MAX_RANK);
  int64_t n = nni_bytes(rank, shape, 1);
  if (n < 0 || n > (int64_t)1 << 40)
    return nni_fail(error, NNOPT_INVALID, "a value with an absurd shape");
  *count = (size_t)n;
  return NNOPT_OK;
}

static void setShape(nnopt_value *v, int32_t rank, const int64_t *shape) {
  v->rank = rank;
  if (rank)
    memcpy(v->shape, shape, (size_t)rank * sizeof *shape);
}

int nnopt_value_tensor(int32_t onnx_type, const DLTensor *from, nnopt_value **value,
                       nnopt_error *error) {
  DLDataType dtype;
  int width;
  size_t count;
  if (!from || !value)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_tensor: an argument is NULL");
  if (!nni_dtype((uint32_t)onnx_type, &dtype, &width) || !width)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_tensor: %d is no numeric element type", onnx_type);
  int code = elements(from->ndim, from->shape, &count, error);
  if (code)
    return code;
  nnopt_value *v = create(NNOPT_KIND_TENSOR, onnx_type, count, count * (size_t)width);
  if (!v)
    return outOfMemory(error);
  setShape(v, from->ndim, from->shape);
  if (from->data)
    nni_gather(v->data, from, width);
  else
    memset(v->data, 0, count * (size_t)width);
  *value = v;
  return NNOPT_OK;
}

int nnopt_value_strings(int32_t rank, const int64_t *shape, const char *const *strings,
                        const size_t *lengths, nnopt_value **value, nnopt_error *error) {
  size_t count;
  if (!value)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_strings: an argument is NULL");
  int code = elements(rank, shape, &count, error);
  if (code)
    return code;
  if (count && !strings)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_strings: no strings");
  size_t bytes = (count + 1) * sizeof(uint64_t);
  for (size_t i = 0; i < count; ++i) {
    if (!strings[i])
      return nni_fail(error, NNOPT_INVALID, "nnopt_value_strings: string %zu is NULL", i);
    if (__builtin_add_overflow(bytes, lengths ? lengths[i] : strlen(strings[i]), &bytes) ||
        __builtin_add_overflow(bytes, 1, &bytes))
      return outOfMemory(error);
  }
  nnopt_value *v = create(NNOPT_KIND_STRINGS, 8, count, bytes);
  if (!v)
    return outOfMemory(error);
  setShape(v, rank, shape);
  uint64_t *offsets = v->data, at = (count + 1) * sizeof(uint64_t);
  for (size_t i = 0; i < count; ++i) {
    size_t length = lengths ? lengths[i] : strlen(strings[i]);
    offsets[i] = at;
    if (length)
      memcpy((char *)v->data + at, strings[i], length);
    ((char *)v->data)[at + length] = 0;
    at += length + 1;
  }
  offsets[count] = at;
  *value = v;
  return NNOPT_OK;
}

/* A value that holds references to others. */
static int collect(int32_t kind, int32_t type, nnopt_value *const *list, size_t count,
                   nnopt_value **value, nnopt_error *error) {
  nnopt_value *v = create(kind, type, count, count * sizeof *list);
  if (!v)
    return outOfMemory(error);
  for (size_t i = 0; i < count; ++i)
    ((nnopt_value **)v->data)[i] = nnopt_value_retain(list[i]);
  *value = v;
  return NNOPT_OK;
}

int nnopt_value_sequence(int32_t onnx_type, nnopt_value *const *list, size_t count,
                         nnopt_value **value, nnopt_error *error) {
  if (!value || (count && !list))
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_sequence: an argument is NULL");
  for (size_t i = 0; i < count; ++i) {
    if (!list[i])
      return nni_fail(error, NNOPT_INVALID, "nnopt_value_sequence: element %zu is NULL", i);
    if (list[i]->kind == NNOPT_KIND_SEQUENCE || list[i]->kind == NNOPT_KIND_OPTIONAL)
      return nni_fail(error, NNOPT_INVALID,
                      "nnopt_value_sequence: element %zu is a sequence or optional", i);
    if (list[i]->kind != list[0]->kind || list[i]->type != onnx_type)
      return nni_fail(error, NNOPT_INVALID,
                      "nnopt_value_sequence: element %zu is of another type (%s) than the sequence (%s)", i,
                      nni_dtype_name((uint32_t)list[i]->type), nni_dtype_name((uint32_t)onnx_type));
  }
  return collect(NNOPT_KIND_SEQUENCE, onnx_type, list, count, value, error);
}

int nnopt_value_optional(int32_t onnx_type, nnopt_value *element, nnopt_value **value,
                         nnopt_error *error) {
  if (!value)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_optional: an argument is NULL");
  if (element && element->kind == NNOPT_KIND_OPTIONAL)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_optional: the element is an optional itself");
  return collect(NNOPT_KIND_OPTIONAL, element ? element->type : onnx_type, &element,
                 element != NULL, value, error);
}

int nnopt_value_map(nnopt_value *keys, nnopt_value *values, nnopt_value **value,
                    nnopt_error *error) {
  if (!keys || !values || !value)
    return nni_fail(error, NNOPT_INVALID, "nnopt_value_map: an argument is NULL");
  nnopt_value *list[2] = {keys, values};
  bool good = values->kind == NNOPT_KIND_TENSOR || values->kind == NNOPT_KIND_STRINGS;
  good &= keys->kind == NNOPT_KIND_STRINGS || (keys->kind == NNOPT_KIND_TENSOR && keys->type == 7);
  if (!good || keys->rank != 1 || values->rank != 1 || keys->count != values->count)
    return nni_fail(error, NNOPT_INVALID,
                    "nnopt_value_map: keys (int64 or strings) and values must be vectors of one length");
  return collect(NNOPT_KIND_MAP, values->type, list, 2, value, error);
}

nnopt_value *nnopt_value_retain(nnopt_value *v) {
  if (v)
    atomic_fetch_add_explicit(&v->references, 1, memory_order_relaxed);
  return v;
}

void nnopt_value_release(nnopt_value *v) {
  if (!v || atomic_fetch_sub_explicit(&v->references, 1, memory_order_acq_rel) != 1)
    return;
  /* Values nest no deeper than an optional sequence of maps. */
  if (v->kind > NNOPT_KIND_STRINGS)
    for (size_t i = 0; i < v->count; ++i)
      nnopt_value_release(((nnopt_value **)v->data)[i]);
  free(v->data);
  free(v);
}

int32_t nnopt_value_kind(const nnopt_value *v) { return v->kind; }
int32_t nnopt_value_type(const nnopt_value *v) { return v->type; }
size_t nnopt_value_count(const nnopt_value *v) { return v->count; }

const int64_t *nnopt_value_shape(const nnopt_value *v, int32_t *rank) {
  *rank = v->rank;
  return v->shape;
}

void *nnopt_value_data(nnopt_value *v) { return v->kind == NNOPT_KIND_TENSOR ? v->data : NULL; }

const char *nnopt_value_string(const nnopt_value *v, size_t index, size_t *length) {
  if (v->kind != NNOPT_KIND_STRINGS || index >= v->count)
    return NULL;
  const uint64_t *offsets = v->data;
  if (length)
    *length = (size_t)(offsets[index + 1] - offsets[index] - 1);
  return (const char *)v->data + offsets[index];
}

nnopt_value *nnopt_value_element(const nnopt_value *v, size_t index) {
  return v->kind > NNOPT_KIND_STRINGS && index < v->count ? ((nnopt_value **)v->data)[index] : NULL;
}

/*===- ops.h - the library of host operations -----------------------------------===//
 *
 * Part of the nnopt project, under the Apache License v2.0 with LLVM Exceptions.
 *
 * Operations on strings, sequences, optionals, maps and encoded images are not compiled into models:
 * a model names them, and the runtime finds them when it opens the model. libnnopt_ops.so has all
 * that nnopt-compile makes use of, and is opened by itself by models that need it. A program that
 * links its models (--emit=obj) links the same library, or the static one, and says so once:
 *
 *   nnopt_use_ops(nnopt_ops_table());
 *===----------------------------------------------------------------------===*/
#ifndef NNOPT_OPS_H
#define NNOPT_OPS_H

#include "nnopt/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NNOPT_OPS_VERSION 1

/* Attributes of a call, in its artifact: this header, then the records one after the other, each at
 * a multiple of 8 bytes. Little endian. */
typedef struct nnopt_attribute {
  uint32_t size;        /* of the whole record, a multiple of 8 */
  uint32_t kind;        /* 'i' int64, 'f' double, 's' strings */
  uint32_t name_length; /* the name follows this struct */
  uint32_t count;       /* entries; they follow the name, at a multiple of 8: int64_t or double, or for
                           strings count + 1 uint64_t offsets into the bytes that follow them */
} nnopt_attribute;

/* The functions of the runtime that operations use: the library may be opened by a program that has
 * the runtime linked in and does not export it. The members are as in nnopt/runtime.h. */
typedef struct nnopt_value_api {
  size_t struct_size;
  int (*tensor)(int32_t onnx_type, const DLTensor *from, nnopt_value **value, nnopt_error *error);
  int (*strings)(int32_t rank, const int64_t *shape, const char *const *strings,
                 const size_t *lengths, nnopt_value **value, nnopt_error *error);
  int (*sequence)(int32_t onnx_type, nnopt_value *const *elements, size_t count,
                  nnopt_value **value, nnopt_error *error);
  int (*optional)(int32_t onnx_type, nnopt_value *element, nnopt_value **value, nnopt_error *error);
  int (*map)(nnopt_value *keys, nnopt_value *values, nnopt_value **value, nnopt_error *error);
  nnopt_value *(*retain)(nnopt_value *value);
  void (*release)(nnopt_value *value);
  int32_t (*kind)(const nnopt_value *value);
  int32_t (*type)(const nnopt_value *value);
  const int64_t *(*shape)(const nnopt_value *value, int32_t *rank);
  size_t (*count)(const nnopt_value *value);
  void *(*data)(nnopt_value *value);
  const char *(*string)(const nnopt_value *value, size_t index, size_t *length);
  nnopt_value *(*element)(const nnopt_value *value, size_t index);
} nnopt_value_api;

typedef struct nnopt_host_operation {
  const char *name;
  /* Prepares a call: reads its attributes (`size` may be 0). The state is that of the model and
   * serves all its sessions, at the same time. */
  int (*create)(const nnopt_value_api *api, const void *attributes, size_t size, void **state,
                nnopt_error *error);
  /* Fills in outputs (references for the caller). */
  int (*run)(const void *state, nnopt_value *const *inputs, size_t input_count,
             nnopt_value **outputs, size_t output_count, nnopt_error *error);
  void (*destroy)(void *state);
} nnopt_host_operation;

typedef struct nnopt_ops {
  uint32_t version; /* NNOPT_OPS_VERSION */
  uint32_t count;
  const nnopt_host_operation *operations;
} nnopt_ops;

/* What libnnopt_ops exports. */
NNOPT_API const nnopt_ops *nnopt_ops_table(void);

#ifdef __cplusplus
}
#endif
#endif

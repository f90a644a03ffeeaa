//===- Operation.cpp - what host operations are made of ---------------------===//
#include "runtime/ops/Operation.h"

#include <algorithm>
#include <cstdio>

namespace nnopt::ops {

int64_t product(const Shape &shape) {
  int64_t n = 1;
  for (int64_t d : shape)
    if (__builtin_mul_overflow(n, d, &n))
      throw Failure("a result would be too big");
  return n;
}

size_t widthOf(int type) {
  switch (type) {
  case Float:
  case Int32:
  case UInt32: return 4;
  case Int64:
  case UInt64:
  case Double:
  case 14 /* complex64 */: return 8;
  case 15 /* complex128 */: return 16;
  case UInt16:
  case Int16:
  case Float16:
  case BFloat16: return 2;
  default: return 1;
  }
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

Attributes::Attributes(const void *data, size_t size) {
  const char *at = static_cast<const char *>(data);
  auto damaged = [] { return Failure("damaged attributes of a host operation; compile the model again"); };
  while (size) {
    nnopt_attribute header;
    if (size < sizeof header)
      throw damaged();
    std::memcpy(&header, at, sizeof header);
    uint64_t name = (uint64_t(header.name_length) + 7) / 8 * 8, start = sizeof header + name;
    if (header.size > size || header.size % 8 || header.size < start)
      throw damaged();
    Record r{{at + sizeof header, header.name_length}, header.kind, header.count, at + start,
             size_t(header.size - start)};
    uint64_t fixed = (uint64_t(r.count) + (r.kind == 's' ? 1 : 0)) * 8;
    if (fixed > r.size || (r.kind != 'i' && r.kind != 'f' && r.kind != 's'))
      throw damaged();
    if (r.kind == 's') {
      uint64_t last = 0;
      for (uint32_t i = 0; i <= r.count; ++i) {
        uint64_t offset;
        std::memcpy(&offset, r.data + 8 * i, 8);
        if (offset < last || offset > r.size - fixed)
          throw damaged();
        last = offset;
      }
    }
    records.push_back(r);
    at += header.size;
    size -= header.size;
  }
}

const Attributes::Record *Attributes::find(std::string_view name, uint32_t kind) const {
  for (const Record &r : records)
    if (r.name == name && (!kind || r.kind == kind))
      return &r;
  return nullptr;
}

std::vector<int64_t> Attributes::ints(std::string_view name) const {
  const Record *r = find(name, 'i');
  std::vector<int64_t> values(r ? r->count : 0);
  if (!values.empty())
    std::memcpy(values.data(), r->data, values.size() * 8);
  return values;
}

std::vector<std::string> Attributes::strings(std::string_view name) const {
  const Record *r = find(name, 's');
  std::vector<std::string> values;
  for (uint32_t i = 0; r && i < r->count; ++i) {
    uint64_t range[2];
    std::memcpy(range, r->data + 8 * i, 16);
    values.emplace_back(r->data + (uint64_t(r->count) + 1) * 8 + range[0], range[1] - range[0]);
  }
  return values;
}

int64_t Attributes::integer(std::string_view name, int64_t otherwise) const {
  std::vector<int64_t> values = ints(name);
  return values.empty() ? otherwise : values.front();
}

std::string Attributes::string(std::string_view name) const {
  std::vector<std::string> values = strings(name);
  return values.empty() ? std::string() : values.front();
}

//===----------------------------------------------------------------------===//
// Operands and results
//===----------------------------------------------------------------------===//

void Operation::needCount(const std::vector<Value> &in, size_t low, size_t high) {
  if (in.size() < low || in.size() > high)
    throw Failure("called with " + std::to_string(in.size()) + " operands");
}

void Operation::needKind(const Value &v, int kind) {
  static const char *const names[] = {"a tensor of numbers", "a tensor of strings", "a sequence", "an optional", "a map"};
  if (v.kind() != kind)
    throw Failure(std::string("an operand is ") + names[v.kind()] + ", it should be " + names[kind]);
}

std::vector<int64_t> Operation::integers(const Value &v) {
  needKind(v, NNOPT_KIND_TENSOR);
  std::vector<int64_t> values(v.count());
  for (size_t i = 0; i < values.size(); ++i) {
    int32_t narrow;
    if (v.type() == Int64)
      std::memcpy(&values[i], v.data() + 8 * i, 8);
    else if (v.type() == Int32)
      std::memcpy(&narrow, v.data() + 4 * i, 4), values[i] = narrow;
    else
      throw Failure("an operand should be int32 or int64");
  }
  return values;
}

int64_t Operation::integer(const Value &v) {
  std::vector<int64_t> values = integers(v);
  if (values.size() != 1)
    throw Failure("an operand should have one element");
  return values[0];
}

Value Operation::made(int code, nnopt_value *v, const nnopt_error &error) const {
  if (code)
    throw Failure(error.message, code);
  return Value(api, v);
}

Value Operation::tensor(int type, const Shape &shape) const {
  DLTensor like{};
  like.ndim = static_cast<int32_t>(shape.size());
  like.shape = const_cast<int64_t *>(shape.data());
  nnopt_value *v = nullptr;
  nnopt_error error{};
  return made(api->tensor(type, &like, &v, &error), v, error);
}

Value Operation::strings(const Shape &shape, const std::vector<std::string_view> &list) const {
  if (product(shape) != static_cast<int64_t>(list.size()))
    throw Failure("a result of strings has another size than its shape");
  std::vector<const char *> pointers;
  std::vector<size_t> lengths;
  for (std::string_view s : list) {
    pointers.push_back(s.data() ? s.data() : "");
    lengths.push_back(s.size());
  }
  nnopt_value *v = nullptr;
  nnopt_error error{};
  return made(api->strings(static_cast<int32_t>(shape.size()), shape.data(), pointers.data(), lengths.data(), &v, &error),
              v, error);
}

Value Operation::strings(const Shape &shape, const std::vector<std::string> &list) const {
  return strings(shape, std::vector<std::string_view>(list.begin(), list.end()));
}

Value Operation::sequence(int type, const std::vector<Value> &elements) const {
  std::vector<nnopt_value *> list;
  for (const Value &v : elements)
    list.push_back(v.get());
  nnopt_value *v = nullptr;
  nnopt_error error{};
  return made(api->sequence(type, list.data(), list.size(), &v, &error), v, error);
}

Value Operation::optional(int type, const Value *element) const {
  nnopt_value *v = nullptr;
  nnopt_error error{};
  return made(api->optional(type, element ? element->get() : nullptr, &v, &error), v, error);
}

Value Operation::map(const Value &keys, const Value &values) const {
  nnopt_value *v = nullptr;
  nnopt_error error{};
  return made(api->map(keys.get(), values.get(), &v, &error), v, error);
}

//===----------------------------------------------------------------------===//
// The C interface
//===----------------------------------------------------------------------===//

int detail::report(nnopt_error *error) {
  int code = NNOPT_FAILED;
  std::string message;
  try {
    throw;
  } catch (const Failure &f) {
    code = f.code;
    message = f.what();
  } catch (const std::bad_alloc &) {
    message = "out of memory";
  } catch (const std::exception &e) {
    message = e.what();
  } catch (...) {
    message = "unknown exception";
  }
  if (error) {
    error->code = code;
    std::snprintf(error->message, sizeof error->message, "%s", message.c_str());
  }
  return code;
}

int detail::runOperation(const void *state, nnopt_value *const *in, size_t inCount, nnopt_value **out,
                         size_t outCount, nnopt_error *error) {
  const State *s = static_cast<const State *>(state);
  try {
    std::vector<Value> operands;
    for (size_t i = 0; i < inCount; ++i)
      operands.emplace_back(s->api, s->api->retain(in[i]));
    std::vector<Value> results = s->operation->run(operands);
    if (results.size() != outCount)
      throw Failure("called for " + std::to_string(outCount) + " results, has " + std::to_string(results.size()));
    for (size_t i = 0; i < outCount; ++i)
      out[i] = results[i].release();
    return NNOPT_OK;
  } catch (...) {
    return report(error);
  }
}

void detail::destroyOperation(void *state) {
  State *s = static_cast<State *>(state);
  delete s->operation;
  delete s;
}

} // namespace nnopt::ops

const nnopt_ops *nnopt_ops_table(void) {
  using namespace nnopt::ops;
  static const std::vector<nnopt_host_operation> table = [] {
    std::vector<nnopt_host_operation> all;
    addStrings(all);
    addConversions(all);
    addSequences(all);
    addMaps(all);
    addImages(all);
    return all;
  }();
  static const nnopt_ops ops = {NNOPT_OPS_VERSION, static_cast<uint32_t>(table.size()), table.data()};
  return &ops;
}

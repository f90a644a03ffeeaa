//===- Maps.cpp - dictionaries ----------------------------------------------===//
#include "runtime/ops/Operation.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace nnopt::ops {
namespace {

void needMap(const std::vector<Value> &in, size_t count) {
  if (in.size() != count)
    throw Failure("called with " + std::to_string(in.size()) + " operands");
}

struct ZipMap : Operation {
  ZipMap(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 2);
    needKind(in[0], NNOPT_KIND_TENSOR);
    Shape shape = in[0].shape();
    if (shape.size() != 2 || in[1].shape() != Shape{shape[1]})
      throw Failure("there are not as many labels as columns");
    size_t width = widthOf(in[0].type()), row = static_cast<size_t>(shape[1]) * width;
    std::vector<Value> maps;
    for (int64_t i = 0; i < shape[0]; ++i) {
      Value values = tensor(in[0].type(), {shape[1]});
      if (row)
        std::memcpy(values.data(), in[0].data() + static_cast<size_t>(i) * row, row);
      maps.push_back(map(in[1], values));
    }
    return {sequence(in[0].type(), maps)};
  }
};

/// Whether key i of `a` is key j of `b`.
bool sameKey(const Value &a, size_t i, const Value &b, size_t j) {
  if (a.kind() != b.kind())
    throw Failure("the keys of the map are of another type");
  return a.kind() == NNOPT_KIND_STRINGS ? a.string(i) == b.string(j)
                                        : !std::memcmp(a.data() + 8 * i, b.data() + 8 * j, 8);
}

struct MapLookup : Operation {
  MapLookup(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needMap(in, 2);
    needKind(in[0], NNOPT_KIND_MAP);
    Value keys = in[0].element(0), values = in[0].element(1);
    bool isText = values.kind() == NNOPT_KIND_STRINGS;
    Shape shape{1, static_cast<int64_t>(in[1].count())};
    std::vector<std::string_view> list(in[1].count(), "");
    Value result = isText ? Value() : tensor(values.type(), shape);
    size_t width = widthOf(values.type());
    for (size_t i = 0; i < in[1].count(); ++i)
      for (size_t j = 0; j < keys.count(); ++j) {
        if (!sameKey(in[1], i, keys, j))
          continue;
        if (isText)
          list[i] = values.string(j);
        else
          std::memcpy(result.data() + i * width, values.data() + j * width, width);
      }
    return {isText ? strings(shape, list) : result};
  }
};

struct MapValues : Operation {
  MapValues(const nnopt_value_api *api, const Attributes &a) : Operation(api), size(a.integer("max_map")) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needMap(in, 1);
    needKind(in[0], NNOPT_KIND_MAP);
    std::vector<int64_t> keys = integers(in[0].element(0));
    Value values = in[0].element(1);
    std::vector<size_t> order(keys.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
    bool isText = values.kind() == NNOPT_KIND_STRINGS;
    Shape shape{1, size > 0 ? size : static_cast<int64_t>(keys.size())};
    std::vector<std::string_view> list(static_cast<size_t>(shape[1]), "");
    Value result = isText ? Value() : tensor(values.type(), shape);
    size_t width = widthOf(values.type()), next = 0;
    for (size_t i : order) {
      int64_t at = size > 0 ? keys[i] : static_cast<int64_t>(next++);
      if (at < 0 || at >= shape[1])
        throw Failure("key " + std::to_string(at) + " is out of range: max_map is " + std::to_string(size));
      if (isText)
        list[static_cast<size_t>(at)] = values.string(i);
      else
        std::memcpy(result.data() + static_cast<size_t>(at) * width, values.data() + i * width, width);
    }
    return {isText ? strings(shape, list) : result};
  }
  int64_t size;
};

} // namespace

void addMaps(std::vector<nnopt_host_operation> &table) {
  table.push_back(entry<ZipMap>("zip_map"));
  table.push_back(entry<MapLookup>("map_lookup"));
  table.push_back(entry<MapValues>("map_values"));
}

} // namespace nnopt::ops

//===- Sequences.cpp - sequences and optionals ------------------------------===//
#include "runtime/ops/Operation.h"

namespace nnopt::ops {
namespace {

std::vector<Value> elementsOf(const Value &sequence) {
  std::vector<Value> list;
  for (size_t i = 0; i < sequence.count(); ++i)
    list.push_back(sequence.element(i));
  return list;
}

/// A position in [0, size] or, negative, from the end.
size_t position(int64_t p, size_t size, size_t limit) {
  int64_t n = static_cast<int64_t>(size), at = p < 0 ? p + n : p;
  if (at < 0 || at >= static_cast<int64_t>(limit))
    throw Failure("position " + std::to_string(p) + " is out of range: the sequence has " + std::to_string(size) +
                  " elements");
  return static_cast<size_t>(at);
}

struct Construct : Operation {
  Construct(const nnopt_value_api *api, const Attributes &a) : Operation(api), type(a.integer("element")) {}
  std::vector<Value> run(const std::vector<Value> &in) const override { return {sequence(static_cast<int>(type), in)}; }
  int64_t type;
};

struct Insert : Operation {
  Insert(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 3);
    needSequence(in[0]);
    std::vector<Value> list = elementsOf(in[0]);
    size_t at = in.size() > 2 ? position(integer(in[2]), list.size(), list.size() + 1) : list.size();
    list.insert(list.begin() + static_cast<std::ptrdiff_t>(at), in[1]);
    return {sequence(in[0].type(), list)};
  }
};

struct Erase : Operation {
  Erase(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 2);
    needSequence(in[0]);
    std::vector<Value> list = elementsOf(in[0]);
    size_t at = position(in.size() > 1 ? integer(in[1]) : -1, list.size(), list.size());
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
    return {sequence(in[0].type(), list)};
  }
};

struct At : Operation {
  At(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 2);
    needSequence(in[0]);
    return {in[0].element(position(integer(in[1]), in[0].count(), in[0].count()))};
  }
};

struct Length : Operation {
  Length(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needSequence(in[0]);
    Value result = tensor(Int64, {});
    int64_t count = static_cast<int64_t>(in[0].count());
    std::memcpy(result.data(), &count, sizeof count);
    return {result};
  }
};

/// Product of dimensions [from, to).
int64_t part(const Shape &shape, size_t from, size_t to) {
  return product(Shape(shape.begin() + static_cast<std::ptrdiff_t>(from), shape.begin() + static_cast<std::ptrdiff_t>(to)));
}

/// Copies (or takes the strings of) blocks: result rows of `outer` runs are made of runs of each source.
class Gatherer {
public:
  Gatherer(int kind, size_t width) : kind(kind), width(width) {}
  std::vector<std::string_view> list;
  void run(const Value &from, int64_t start, int64_t count, char *&to) {
    if (kind == NNOPT_KIND_STRINGS) {
      for (int64_t i = 0; i < count; ++i)
        list.push_back(from.string(static_cast<size_t>(start + i)));
      return;
    }
    size_t bytes = static_cast<size_t>(count) * width;
    if (bytes)
      std::memcpy(to, from.data() + static_cast<size_t>(start) * width, bytes);
    to += bytes;
  }

private:
  int kind;
  size_t width;
};

struct ConcatFromSequence : Operation {
  ConcatFromSequence(const nnopt_value_api *api, const Attributes &a)
      : Operation(api), axis(a.integer("axis")), rank(a.integer("rank")), newAxis(a.integer("new_axis") != 0) {}

  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needSequence(in[0]);
    std::vector<Value> list = elementsOf(in[0]);
    if (list.empty())
      throw Failure("the sequence is empty: the shape of the result is not defined");
    int kind = list[0].kind();
    if (kind != NNOPT_KIND_TENSOR && kind != NNOPT_KIND_STRINGS)
      throw Failure("the elements of the sequence are no tensors");
    Shape shape = shapeOf(list[0]);
    size_t at = static_cast<size_t>(axis);
    if (axis < 0 || at >= shape.size())
      throw Failure("the axis is out of range");
    shape[at] = 0;
    for (const Value &v : list) {
      Shape s = shapeOf(v);
      for (size_t d = 0; d < s.size(); ++d)
        if (s.size() != shape.size() || (d != at && s[d] != shape[d]))
          throw Failure("the shapes of the elements do not fit together");
      shape[at] += s[at];
    }
    int64_t outer = part(shape, 0, at), inner = part(shape, at + 1, shape.size());
    Value result = kind == NNOPT_KIND_TENSOR ? tensor(in[0].type(), shape) : Value();
    char *to = kind == NNOPT_KIND_TENSOR ? result.data() : nullptr;
    Gatherer gatherer(kind, widthOf(in[0].type()));
    for (int64_t o = 0; o < outer; ++o)
      for (const Value &v : list) {
        int64_t run = shapeOf(v)[at] * inner;
        gatherer.run(v, o * run, run, to);
      }
    return {kind == NNOPT_KIND_TENSOR ? result : strings(shape, gatherer.list)};
  }

private:
  Shape shapeOf(const Value &v) const {
    Shape s = v.shape();
    if (static_cast<int64_t>(s.size()) != rank)
      throw Failure("an element has rank " + std::to_string(s.size()) + ", the model was compiled for " +
                    std::to_string(rank));
    if (newAxis && axis >= 0 && axis <= rank)
      s.insert(s.begin() + axis, 1);
    return s;
  }
  int64_t axis, rank;
  bool newAxis;
};

struct SplitToSequence : Operation {
  SplitToSequence(const nnopt_value_api *api, const Attributes &a)
      : Operation(api), axis(a.integer("axis")), squeeze(a.integer("squeeze") != 0) {}

  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 2);
    if (in[0].kind() != NNOPT_KIND_TENSOR)
      needStrings(in[0]);
    Shape shape = in[0].shape();
    size_t at = static_cast<size_t>(axis);
    if (axis < 0 || at >= shape.size())
      throw Failure("the axis is out of range");
    int64_t size = shape[at], outer = part(shape, 0, at), inner = part(shape, at + 1, shape.size());
    std::vector<Value> parts;
    int64_t start = 0;
    for (int64_t length : lengths(in, size)) {
      shape[at] = length;
      Shape partShape = shape;
      if (squeeze)
        partShape.erase(partShape.begin() + axis);
      bool isTensor = in[0].kind() == NNOPT_KIND_TENSOR;
      Value result = isTensor ? tensor(in[0].type(), partShape) : Value();
      char *to = isTensor ? result.data() : nullptr;
      Gatherer gatherer(in[0].kind(), widthOf(in[0].type()));
      for (int64_t o = 0; o < outer; ++o)
        gatherer.run(in[0], (o * size + start) * inner, length * inner, to);
      parts.push_back(isTensor ? result : strings(partShape, gatherer.list));
      start += length;
    }
    return {sequence(in[0].type(), parts)};
  }

private:
  static std::vector<int64_t> lengths(const std::vector<Value> &in, int64_t size) {
    if (in.size() > 1 && !in[1].shape().empty()) {
      std::vector<int64_t> list = integers(in[1]);
      int64_t sum = 0;
      for (int64_t n : list)
        if (n < 0 || __builtin_add_overflow(sum, n, &sum))
          throw Failure("a part has a negative size");
      if (sum != size)
        throw Failure("the parts have " + std::to_string(sum) + " elements together, the dimension has " +
                      std::to_string(size));
      return list;
    }
    int64_t each = in.size() > 1 ? integer(in[1]) : 1;
    if (each < 1)
      throw Failure("the size of the parts must be positive");
    std::vector<int64_t> list;
    for (int64_t at = 0; at < size; at += each)
      list.push_back(each < size - at ? each : size - at);
    return list;
  }
  int64_t axis;
  bool squeeze;
};

struct OptionalConstruct : Operation {
  OptionalConstruct(const nnopt_value_api *api, const Attributes &a) : Operation(api), type(a.integer("element")) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 0, 1);
    return {optional(static_cast<int>(type), in.empty() ? nullptr : &in[0])};
  }
  int64_t type;
};

struct OptionalGet : Operation {
  OptionalGet(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needKind(in[0], NNOPT_KIND_OPTIONAL);
    if (!in[0].count())
      throw Failure("the optional has no value");
    return {in[0].element(0)};
  }
};

struct OptionalHas : Operation {
  OptionalHas(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needKind(in[0], NNOPT_KIND_OPTIONAL);
    Value result = tensor(Bool, {});
    *result.data() = in[0].count() != 0;
    return {result};
  }
};

} // namespace

void addSequences(std::vector<nnopt_host_operation> &table) {
  table.push_back(entry<Construct>("sequence_construct"));
  table.push_back(entry<Insert>("sequence_insert"));
  table.push_back(entry<Erase>("sequence_erase"));
  table.push_back(entry<At>("sequence_at"));
  table.push_back(entry<Length>("sequence_length"));
  table.push_back(entry<ConcatFromSequence>("concat_from_sequence"));
  table.push_back(entry<SplitToSequence>("split_to_sequence"));
  table.push_back(entry<OptionalConstruct>("optional_construct"));
  table.push_back(entry<OptionalGet>("optional_get"));
  table.push_back(entry<OptionalHas>("optional_has"));
}

} // namespace nnopt::ops

//===- Strings.cpp - operations on tensors of strings -----------------------===//
#include "runtime/ops/Operation.h"
#include "runtime/ops/Utf8.h"

#include <algorithm>
#include <clocale>
#include <cwctype>
#include <locale.h>
#include <memory>
#include <re2/re2.h>
#include <unordered_map>
#include <unordered_set>

namespace nnopt::ops {
namespace {

/// The elements of two operands at each position of their broadcast shape.
class Broadcast {
public:
  Broadcast(const Shape &a, const Shape &b) {
    size_t rank = std::max(a.size(), b.size());
    shape.resize(rank);
    strideA.resize(rank);
    strideB.resize(rank);
    int64_t stepA = 1, stepB = 1;
    for (size_t i = 0; i < rank; ++i) {
      size_t d = rank - 1 - i;
      int64_t m = i < a.size() ? a[a.size() - 1 - i] : 1, n = i < b.size() ? b[b.size() - 1 - i] : 1;
      if (m != n && m != 1 && n != 1)
        throw Failure("the shapes of the operands do not broadcast");
      shape[d] = m == 1 ? n : m;
      strideA[d] = m == 1 ? 0 : stepA;
      strideB[d] = n == 1 ? 0 : stepB;
      stepA *= m;
      stepB *= n;
    }
  }
  template <typename Body> void forEach(Body body) const {
    int64_t count = product(shape);
    for (int64_t i = 0; i < count; ++i) {
      int64_t rest = i, a = 0, b = 0;
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) {
        a += rest % shape[d] * strideA[d];
        b += rest % shape[d] * strideB[d];
      }
      body(static_cast<size_t>(i), static_cast<size_t>(a), static_cast<size_t>(b));
    }
  }
  Shape shape;

private:
  std::vector<int64_t> strideA, strideB;
};

struct Constant : Operation {
  Constant(const nnopt_value_api *api, const Attributes &a) : Operation(api) {
    value = strings(a.ints("shape"), a.strings("value"));
  }
  std::vector<Value> run(const std::vector<Value> &) const override { return {value}; }
  Value value;
};

struct Concat : Operation {
  Concat(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 2);
    needStrings(in[0]);
    needStrings(in[1]);
    Broadcast both(in[0].shape(), in[1].shape());
    std::vector<std::string> list(static_cast<size_t>(product(both.shape)));
    both.forEach([&](size_t i, size_t a, size_t b) {
      list[i].append(in[0].string(a)).append(in[1].string(b));
    });
    return {strings(both.shape, list)};
  }
};

struct Equal : Operation {
  Equal(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 2);
    needStrings(in[0]);
    needStrings(in[1]);
    Broadcast both(in[0].shape(), in[1].shape());
    Value result = tensor(Bool, both.shape);
    both.forEach([&](size_t i, size_t a, size_t b) { result.data()[i] = in[0].string(a) == in[1].string(b); });
    return {result};
  }
};

/// As Python's str.split, whose rules ONNX StringSplit has.
struct Split : Operation {
  Split(const nnopt_value_api *api, const Attributes &a)
      : Operation(api), delimiter(a.string("delimiter")), limit(a.integer("maxsplit", -1)) {}

  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needStrings(in[0]);
    Shape shape = in[0].shape();
    Value counts = tensor(Int64, shape);
    std::vector<std::vector<std::string_view>> all;
    size_t most = 0;
    for (size_t i = 0; i < in[0].count(); ++i) {
      all.push_back(delimiter.empty() ? atSpace(in[0].string(i)) : atDelimiter(in[0].string(i)));
      most = std::max(most, all.back().size());
      reinterpret_cast<int64_t *>(counts.data())[i] = static_cast<int64_t>(all.back().size());
    }
    shape.push_back(static_cast<int64_t>(most));
    std::vector<std::string_view> list;
    for (auto &parts : all) {
      parts.resize(most, "");
      list.insert(list.end(), parts.begin(), parts.end());
    }
    return {strings(shape, list), counts};
  }

private:
  bool more(size_t parts) const { return limit < 0 || static_cast<int64_t>(parts) < limit; }
  std::vector<std::string_view> atDelimiter(std::string_view s) const {
    std::vector<std::string_view> parts;
    for (size_t at; more(parts.size()) && (at = s.find(delimiter)) != s.npos; s.remove_prefix(at + delimiter.size()))
      parts.push_back(s.substr(0, at));
    parts.push_back(s);
    return parts;
  }
  std::vector<std::string_view> atSpace(std::string_view s) const {
    static constexpr std::string_view space = " \t\n\r\f\v";
    std::vector<std::string_view> parts;
    auto skip = [&] { s.remove_prefix(std::min(s.find_first_not_of(space), s.size())); };
    for (skip(); !s.empty(); skip()) {
      size_t end = more(parts.size()) ? std::min(s.find_first_of(space), s.size()) : s.find_last_not_of(space) + 1;
      parts.push_back(s.substr(0, end));
      s.remove_prefix(end);
    }
    return parts;
  }
  std::string delimiter;
  int64_t limit;
};

/// Upper and lower case of UTF-8 by the C library's tables.
class CaseMapper {
public:
  explicit CaseMapper(const std::string &name) {
    for (const std::string &candidate : std::vector<std::string>{name, name + ".UTF-8", "C.UTF-8"})
      if (!locale && (!name.empty() || candidate == "C.UTF-8"))
        locale = newlocale(LC_CTYPE_MASK, candidate.c_str(), nullptr);
  }
  ~CaseMapper() {
    if (locale)
      freelocale(locale);
  }
  CaseMapper(const CaseMapper &) = delete;

  std::string map(std::string_view s, bool upper) const {
    std::string out;
    for (size_t i = 0; i < s.size();) {
      size_t length;
      uint32_t c = utf8::decode(s.substr(i), length);
      i += length;
      if (c == utf8::none) {
        out.append(s.substr(i - length, length));
        continue;
      }
      if (locale)
        c = upper ? towupper_l(static_cast<wint_t>(c), locale) : towlower_l(static_cast<wint_t>(c), locale);
      utf8::encode(c, out);
    }
    return out;
  }

private:
  locale_t locale = nullptr;
};

struct Normalize : Operation {
  Normalize(const nnopt_value_api *api, const Attributes &a)
      : Operation(api), mapper(a.string("locale")), change(a.string("case_change")),
        caseSensitive(a.integer("case_sensitive") != 0) {
    for (const std::string &word : a.strings("stopwords"))
      stopwords.insert(key(word));
  }

  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needStrings(in[0]);
    Shape shape = in[0].shape();
    if (shape.empty() || shape.size() > 2 || (shape.size() == 2 && shape[0] != 1))
      throw Failure("the operand must be [C] or [1, C]");
    std::vector<std::string> list;
    for (size_t i = 0; i < in[0].count(); ++i) {
      std::string_view word = in[0].string(i);
      if (!stopwords.count(key(word)))
        list.push_back(change == "NONE" ? std::string(word) : mapper.map(word, change == "UPPER"));
    }
    // Where nothing is left there is one empty string, unless there was nothing at first.
    if (list.empty() && (in[0].count() || !stopwords.empty()))
      list.emplace_back();
    shape.back() = static_cast<int64_t>(list.size());
    return {strings(shape, list)};
  }

private:
  std::string key(std::string_view word) const {
    return caseSensitive ? std::string(word) : mapper.map(word, false);
  }
  CaseMapper mapper;
  std::string change;
  bool caseSensitive;
  std::unordered_set<std::string> stopwords;
};

struct RegexFullMatch : Operation {
  RegexFullMatch(const nnopt_value_api *api, const Attributes &a) : Operation(api) {
    RE2::Options options;
    options.set_log_errors(false);
    regex = std::make_unique<RE2>(a.string("pattern"), options);
    if (!regex->ok())
      throw Failure("the pattern is no regular expression of RE2: " + regex->error());
  }
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needStrings(in[0]);
    Value result = tensor(Bool, in[0].shape());
    for (size_t i = 0; i < in[0].count(); ++i) {
      std::string_view s = in[0].string(i);
      result.data()[i] = RE2::FullMatch(re2::StringPiece(s.data(), s.size()), *regex);
    }
    return {result};
  }
  std::unique_ptr<RE2> regex;
};

struct Pool : Operation {
  Pool(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    std::vector<std::string_view> list;
    for (const Value &v : in) {
      needStrings(v);
      for (size_t i = 0; i < v.count(); ++i)
        list.push_back(v.string(i));
    }
    return {strings({static_cast<int64_t>(list.size())}, list)};
  }
};

struct Take : Operation {
  Take(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 2, 2);
    needStrings(in[0]);
    std::vector<std::string_view> list;
    for (int64_t i : integers(in[1])) {
      if (i < 0 || i >= static_cast<int64_t>(in[0].count()))
        throw Failure("index " + std::to_string(i) + " is out of range: there are " + std::to_string(in[0].count()) +
                      " strings");
      list.push_back(in[0].string(static_cast<size_t>(i)));
    }
    return {strings(in[1].shape(), list)};
  }
};

struct Lookup : Operation {
  Lookup(const nnopt_value_api *api, const Attributes &a) : Operation(api), keys(a.strings("keys")) {
    for (size_t i = 0; i < keys.size(); ++i)
      positions.emplace(keys[i], static_cast<int64_t>(i)); // the first of equal ones
  }
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needStrings(in[0]);
    Value result = tensor(Int64, in[0].shape());
    for (size_t i = 0; i < in[0].count(); ++i) {
      auto it = positions.find(in[0].string(i));
      reinterpret_cast<int64_t *>(result.data())[i] = it == positions.end() ? -1 : it->second;
    }
    return {result};
  }
  std::vector<std::string> keys;
  std::unordered_map<std::string_view, int64_t> positions;
};

} // namespace

void addStrings(std::vector<nnopt_host_operation> &table) {
  table.push_back(entry<Constant>("string_constant"));
  table.push_back(entry<Concat>("string_concat"));
  table.push_back(entry<Equal>("string_equal"));
  table.push_back(entry<Split>("string_split"));
  table.push_back(entry<Normalize>("string_normalize"));
  table.push_back(entry<RegexFullMatch>("regex_full_match"));
  table.push_back(entry<Pool>("string_pool"));
  table.push_back(entry<Take>("string_take"));
  table.push_back(entry<Lookup>("string_lookup"));
}

} // namespace nnopt::ops

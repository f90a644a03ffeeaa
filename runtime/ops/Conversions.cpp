//===- Conversions.cpp - between text and numbers ---------------------------===//
//
// The rules are those of ONNX Cast: plain and scientific notation, "INF", "+INF", "-INF" and "NaN" in any case.
//
//===----------------------------------------------------------------------===//
#include "runtime/ops/Operation.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace nnopt::ops {
namespace {

[[noreturn]] void notNumber(std::string_view text) {
  throw Failure("'" + std::string(text.substr(0, 60)) + "' is no number of the wanted type");
}

std::string_view trim(std::string_view s) {
  static constexpr std::string_view space = " \t\n\r\f\v";
  size_t first = s.find_first_not_of(space);
  return first == s.npos ? std::string_view() : s.substr(first, s.find_last_not_of(space) - first + 1);
}

/// The whole of `text` as a T; false where it is none, or out of range.
template <typename T> bool parse(std::string_view text, T &value) {
  std::string_view s = trim(text);
  if (!s.empty() && s[0] == '+' && s.substr(1, 1) != "-")
    s.remove_prefix(1);
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (error == std::errc::result_out_of_range && std::is_floating_point_v<T>) {
    // Too small or too big: as strtod.
    value = static_cast<T>(std::strtod(std::string(s).c_str(), nullptr));
    error = {};
  }
  return error == std::errc() && end == s.data() + s.size();
}

template <typename T> T number(std::string_view text) {
  T value{};
  if (parse(text, value))
    return value;
  // An integer may be written as a float.
  double wide;
  if (std::is_integral_v<T> && parse(text, wide) && wide >= static_cast<double>(std::numeric_limits<T>::min()) &&
      wide < static_cast<double>(std::numeric_limits<T>::max()))
    return static_cast<T>(wide);
  notNumber(text);
}

struct ToNumber : Operation {
  ToNumber(const nnopt_value_api *api, const Attributes &a) : Operation(api), to(static_cast<int>(a.integer("to"))) {}

  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needStrings(in[0]);
    Value result = tensor(to, in[0].shape());
    for (size_t i = 0; i < in[0].count(); ++i)
      convert(in[0].string(i), result.data() + i * widthOf(to));
    return {result};
  }

private:
  template <typename T> static void store(T value, char *to) { std::memcpy(to, &value, sizeof value); }
  void convert(std::string_view s, char *at) const {
    switch (to) {
    case Float: return store(number<float>(s), at);
    case Double: return store(number<double>(s), at);
    case Int8: return store(number<int8_t>(s), at);
    case Int16: return store(number<int16_t>(s), at);
    case Int32: return store(number<int32_t>(s), at);
    case Int64: return store(number<int64_t>(s), at);
    case UInt8: return store(number<uint8_t>(s), at);
    case UInt16: return store(number<uint16_t>(s), at);
    case UInt32: return store(number<uint32_t>(s), at);
    case UInt64: return store(number<uint64_t>(s), at);
    case Bool: return store(boolean(s), at);
    }
    throw Failure("strings are not converted to this type");
  }
  static bool boolean(std::string_view text) {
    std::string lower;
    for (char c : trim(text))
      lower += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    if (lower == "true" || lower == "false")
      return lower == "true";
    return number<double>(text) != 0;
  }
  int to;
};

/// The fewest digits that read back as the same number; an exponent from 1e16 and below 1e-4.
template <typename T> std::string text(T value) {
  if (std::isnan(value))
    return "NaN";
  if (std::isinf(value))
    return value < 0 ? "-INF" : "INF";
  char buffer[64];
  char *end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view all(buffer, static_cast<size_t>(end - buffer));
  int exponent = std::atoi(std::string(all.substr(all.find('e') + 1)).c_str());
  if (value != 0 && (exponent >= 16 || exponent < -4))
    return std::string(all);
  end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string plain(buffer, end);
  return plain.find('.') == plain.npos ? plain + ".0" : plain;
}

struct ToString : Operation {
  ToString(const nnopt_value_api *api, const Attributes &) : Operation(api) {}
  std::vector<Value> run(const std::vector<Value> &in) const override {
    needCount(in, 1, 1);
    needKind(in[0], NNOPT_KIND_TENSOR);
    std::vector<std::string> list;
    for (size_t i = 0; i < in[0].count(); ++i)
      list.push_back(convert(in[0].type(), in[0].data() + i * widthOf(in[0].type())));
    return {strings(in[0].shape(), list)};
  }

private:
  template <typename T> static T load(const char *at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  static std::string convert(int type, const char *at) {
    switch (type) {
    case Float: return text(load<float>(at));
    case Double: return text(load<double>(at));
    case Int8: return std::to_string(load<int8_t>(at));
    case Int16: return std::to_string(load<int16_t>(at));
    case Int32: return std::to_string(load<int32_t>(at));
    case Int64: return std::to_string(load<int64_t>(at));
    case UInt8: return std::to_string(load<uint8_t>(at));
    case UInt16: return std::to_string(load<uint16_t>(at));
    case UInt32: return std::to_string(load<uint32_t>(at));
    case UInt64: return std::to_string(load<uint64_t>(at));
    case Bool: return *at ? "True" : "False";
    }
    throw Failure("numbers of this type are not converted to strings");
  }
};

} // namespace

void addConversions(std::vector<nnopt_host_operation> &table) {
  table.push_back(entry<ToNumber>("string_to_number"));
  table.push_back(entry<ToString>("number_to_string"));
}

} // namespace nnopt::ops

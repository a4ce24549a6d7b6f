#include "json/json.h"

#include <array>
#include <charconv>
#include <cmath>

#include <boost/json/parse.hpp>

namespace flagstream::json {
namespace {

constexpr double kWholeBelow = 9'007'199'254'740'992.0;  // 2^53

void append_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  std::array<char, 32> text;
  const bool is_whole = std::abs(number) < kWholeBelow && number == std::trunc(number);
  const auto done = is_whole
                        ? std::to_chars(text.begin(), text.end(), static_cast<std::int64_t>(number))
                        : std::to_chars(text.begin(), text.end(), number);
  out.append(text.begin(), done.ptr);
}

template <class Integer>
void append_integer(std::string& out, Integer number) {
  std::array<char, 24> text;
  out.append(text.begin(), std::to_chars(text.begin(), text.end(), number).ptr);
}

bool is_finite(const Value& value) {
  switch (value.kind()) {
    case boost::json::kind::double_:
      return std::isfinite(value.get_double());
    case boost::json::kind::array:
      for (const Value& each : value.get_array()) {
        if (!is_finite(each)) return false;
      }
      return true;
    case boost::json::kind::object:
      for (const auto& member : value.get_object()) {
        if (!is_finite(member.value())) return false;
      }
      return true;
    case boost::json::kind::null:
    case boost::json::kind::bool_:
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
    case boost::json::kind::string:
      return true;
  }
  return true;
}

void append(std::string& out, const Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out += "null";
      return;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return;
    case boost::json::kind::int64:
      return append_integer(out, value.get_int64());
    case boost::json::kind::uint64:
      return append_integer(out, value.get_uint64());
    case boost::json::kind::double_:
      return append_number(out, value.get_double());
    case boost::json::kind::string:
      return append_quoted(out, value.get_string());
    case boost::json::kind::array: {
      out += '[';
      bool is_first = true;
      for (const Value& each : value.get_array()) {
        if (!std::exchange(is_first, false)) out += ',';
        append(out, each);
      }
      out += ']';
      return;
    }
    case boost::json::kind::object: {
      out += '{';
      bool is_first = true;
      for (const auto& member : value.get_object()) {
        if (!std::exchange(is_first, false)) out += ',';
        append_quoted(out, member.key());
        out += ':';
        append(out, member.value());
      }
      out += '}';
      return;
    }
  }
}

}  // namespace

Result<Value> parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kDepthMax;
  boost::system::error_code error;
  Value value = boost::json::parse(text, error, {}, options);
  if (error) return fail(ErrorKind::InvalidArgument, "not JSON: " + error.message());
  if (!is_finite(value))
    return fail(ErrorKind::InvalidArgument, "not JSON: a number is out of range");
  return value;
}

std::string serialize(const Value& value) {
  std::string out;
  append(out, value);
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    out.append(text, copied, i - copied);
    copied = i + 1;
    switch (byte) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += kHex[byte >> 4];
        out += kHex[byte & 15];
    }
  }
  out.append(text, copied);
  out += '"';
}

std::string quoted(std::string_view text) {
  std::string out;
  append_quoted(out, text);
  return out;
}

const Object* object_member(const Object& object, std::string_view name) {
  const Value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

const Array* array_member(const Object& object, std::string_view name) {
  const Value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}

std::string_view text_member(const Object& object, std::string_view name) {
  const Value* value = object.if_contains(name);
  const String* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

}  // namespace flagstream::json

// JSON as values, for everything that is not a hot path: configuration, REST bodies, CLI output.
// Over Boost.JSON, with limits on the way in and numbers as JavaScript prints them on the way out.
//
// Text that a user typed and must get back byte for byte is kept as text, never as a Value.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "base/error.h"

namespace flagstream::json {

using Array = boost::json::array;
using Object = boost::json::object;
using String = boost::json::string;
using Value = boost::json::value;

inline constexpr std::size_t kDepthMax = 64;

// One whole document (RFC 8259).  Of two members with one name the last counts; integers beyond 64
// bits become doubles.  InvalidArgument: not JSON (with the byte), nested deeper than kDepthMax, or
// a number beyond doubles.
Result<Value> parse(std::string_view text);

// Compact; members in the order they were parsed or added.  A number that is whole and below 2^53
// has no fraction or exponent; others are the shortest text that reads back the same.  Never
// invalid JSON: a double that is not finite is null.
std::string serialize(const Value& value);

// A JSON string with its quotes; `text` is UTF-8.
std::string quoted(std::string_view text);
void append_quoted(std::string& out, std::string_view text);

// The member, or null if there is none or it is of another type.
const Object* object_member(const Object& object, std::string_view name);
const Array* array_member(const Object& object, std::string_view name);
std::string_view text_member(const Object& object,
                             std::string_view name);  // empty if there is none

}  // namespace flagstream::json

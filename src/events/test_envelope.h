// What an envelope is, byte by byte: the measure for the vector code of envelope.h.
#pragma once

#include <string>
#include <string_view>

#include <simdjson.h>

#include "events/envelope.h"

namespace flagstream::events {

// The events of an envelope, or -1 where scan_envelope() refuses it.
inline int events_by_bytes(std::string_view body) {
  const std::string_view blanks = " \t\n\r";
  const std::size_t begin = body.find_first_not_of(blanks);
  if (begin == body.npos || !simdjson::validate_utf8(body.data(), body.size())) return -1;
  const std::string_view text = body.substr(begin, body.find_last_not_of(blanks) + 1 - begin);
  if (text.front() != '[' && text.front() != '{') return -1;
  std::string open;
  int commas = 0;
  bool is_in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\\' && at + 1 < text.size() && (text[at + 1] == '"' || text[at + 1] == '\\')) {
      ++at;
    } else if (c == '"') {
      is_in_string = !is_in_string;
    } else if (!is_in_string) {
      if (c == '[' || c == '{') open += c == '[' ? ']' : '}';
      if (c == ',' && open == "]") ++commas;
      if (c == ']' || c == '}') {
        if (open.empty() || open.back() != c) return -1;
        open.pop_back();
      }
      if (open.empty() && at + 1 < text.size()) return -1;
    }
  }
  if (is_in_string || !open.empty()) return -1;
  if (text.front() == '{') return 1;
  const bool is_empty =
      commas == 0 && text.substr(1, text.size() - 2).find_first_not_of(blanks) == text.npos;
  const int events = is_empty ? 0 : commas + 1;
  return events > static_cast<int>(kEventsPerPayloadMax) ? -1 : events;
}

}  // namespace flagstream::events

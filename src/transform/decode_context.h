// The contexts of one event, in each form that SDKs send them.
#pragma once

#include <vector>

#include "events/event_view.h"
#include "transform/decode_value.h"

namespace flagstream::transform {

// What an event is read from.
struct Source {
  ondemand::document& document;
  // The texts' second home, and that of what the records point to.
  Arena& arena;
  // Whether the kind of a fault matters; else any fault makes the caller read the event again, and
  // contexts are walked once instead of twice.
  bool is_careful = true;
  const char* end = nullptr;  // of the body
};

// Finds contexts and context_json of a record from the members of one event.  An inline context
// counts more than keys alone, whatever their order in the event.  Reused from event to event.
class ContextReader {
 public:
  // Forgets the payload before.
  void begin_payload() { seen_json_ = {}; }
  // Forgets the event before.  `source` must outlive the reading of the event.
  void begin(const Source& source);

  // Each takes the value of the member of that name; null counts as absent.
  Fault read_context(ondemand::value& value);  // {"kind":"user","key":...} or {"kind":"multi",...}
  Fault read_context_keys(ondemand::value& value);  // {"user":"key",...}
  Fault read_user(ondemand::value& value);          // as a context, of kind user
  Fault read_user_key(ondemand::value& value);
  Fault read_context_kind(ondemand::value& value);  // of schema 3: "anonymousUser" for such a user

  bool is_empty() const { return contexts_.empty(); }
  // Whether the last fault was one that a careful reader may not see.
  bool is_in_doubt() const { return is_in_doubt_; }
  // Puts them into `event`, sorted by kind.  InvalidContext: two of the same kind, or keys and
  // kinds that cannot be.
  Fault finish(events::EventView& event);

 private:
  enum class Form { None, UserKey, ContextKeys, Inline };
  struct Candidate {
    std::string_view kind = {};
    std::string_view key = {};
    bool anonymous = false;
    bool valid = false;
  };

  // False: contexts of a stronger form are there already.
  bool replaces(Form form);
  Fault read_object(ondemand::value& value, std::string_view implied_kind);
  bool is_seen(const char* begin, std::string_view implied_kind) const;
  Fault add_all(const Candidate& whole);
  Fault read_text_and_members(ondemand::object& object, Candidate& whole);
  Fault read_members_and_text(ondemand::object& object, const char* begin, Candidate& whole);
  Fault read_members(ondemand::object& object, Candidate& whole);
  Fault pass_over(ondemand::value& value, std::string_view token);
  Fault read_nested(ondemand::value& value, std::string_view kind);
  Fault add(const Candidate& candidate);

  const Source* source_ = nullptr;
  Form form_ = Form::None;
  bool anonymous_user_ = false;
  bool is_in_doubt_ = false;
  std::string_view context_json_;
  std::vector<events::ContextKeyView> contexts_;
  std::vector<Candidate> nested_;

  // The last context that was read without a fault or care, with the kind implied for it: events of
  // one user follow each other, and what has the same text is the same.
  std::string_view seen_json_;
  std::string_view seen_implied_kind_;
  std::vector<events::ContextKeyView> seen_;
};

}  // namespace flagstream::transform

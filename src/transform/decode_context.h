// The contexts of one event, in each form that SDKs send them.
#pragma once

#include <vector>

#include "events/event.pb.h"
#include "transform/decode_value.h"

namespace flagstream::transform {

// Fills Event.contexts and Event.context_json from the members of one event.  An inline context
// counts more than keys alone, whatever their order in the event.  Reused from event to event.
class ContextReader {
 public:
  // Forgets the event before.
  void begin(events::proto::Event& event);

  // Each takes the value of the member of that name; null counts as absent.
  Fault read_context(ondemand::value& value);  // {"kind":"user","key":...} or {"kind":"multi",...}
  Fault read_context_keys(ondemand::value& value);  // {"user":"key",...}
  Fault read_user(ondemand::value& value);          // as a context, of kind user
  Fault read_user_key(ondemand::value& value);
  Fault read_context_kind(ondemand::value& value);  // of schema 3: "anonymousUser" for such a user

  // Sorts the contexts by kind.  InvalidContext: two of the same kind, or keys and kinds that
  // cannot be.
  Fault finish();

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
  Fault read_members(ondemand::object& object, Candidate& whole);
  Fault read_nested(ondemand::value& value, std::string_view kind);
  Fault add(const Candidate& candidate);

  events::proto::Event* event_ = nullptr;
  Form form_ = Form::None;
  bool anonymous_user_ = false;
  std::vector<Candidate> nested_;
};

}  // namespace flagstream::transform

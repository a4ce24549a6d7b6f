// Why one event of a payload goes to rejects.transform instead of `events`.
#pragma once

#include <optional>
#include <string_view>

namespace flagstream::transform {

enum class RejectReason {
  MalformedJson,  // the event is not one JSON value
  NotAnObject,
  MissingKind,
  UnknownKind,
  MissingKey,  // of a flag, goal or custom event
  MissingContext,
  InvalidContext,  // no key, a key over 64 KiB, or an impossible kind
  EmptySummary,    // no counter in it
  WrongType,       // a member has a type that it cannot have
  TooDeep,         // nested beyond kDepthMax
  TooLarge,        // a name is too long, or too many records would come of the payload
};

// The word that stands in Reject.reason; constant for ever.
std::string_view to_word(RejectReason reason);

// nullopt: no fault.
using Fault = std::optional<RejectReason>;

}  // namespace flagstream::transform

#include "transform/decode_reason.h"

namespace flagstream::transform {

std::string_view to_word(RejectReason reason) {
  switch (reason) {
    case RejectReason::MalformedJson:
      return "malformed_json";
    case RejectReason::NotAnObject:
      return "not_an_object";
    case RejectReason::MissingKind:
      return "missing_kind";
    case RejectReason::UnknownKind:
      return "unknown_kind";
    case RejectReason::MissingKey:
      return "missing_key";
    case RejectReason::MissingContext:
      return "missing_context";
    case RejectReason::InvalidContext:
      return "invalid_context";
    case RejectReason::EmptySummary:
      return "empty_summary";
    case RejectReason::WrongType:
      return "wrong_type";
    case RejectReason::TooDeep:
      return "too_deep";
    case RejectReason::TooLarge:
      return "too_large";
  }
  return "";
}

}  // namespace flagstream::transform

#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace flagstream {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::InvalidArgument:
      return "InvalidArgument";
    case ErrorKind::Unauthenticated:
      return "Unauthenticated";
    case ErrorKind::PermissionDenied:
      return "PermissionDenied";
    case ErrorKind::NotFound:
      return "NotFound";
    case ErrorKind::Conflict:
      return "Conflict";
    case ErrorKind::TooLarge:
      return "TooLarge";
    case ErrorKind::ResourceExhausted:
      return "ResourceExhausted";
    case ErrorKind::Unavailable:
      return "Unavailable";
    case ErrorKind::DataLoss:
      return "DataLoss";
    case ErrorKind::Indeterminate:
      return "Indeterminate";
  }
  return "";
}

Error Error::in(std::string_view operation) && {
  return Error(kind, std::string(operation) + ": " + what);
}

Error error_from_errno(int error_number, std::string_view operation) {
  ErrorKind kind = ErrorKind::Unavailable;
  switch (error_number) {
    case ENOENT:
      kind = ErrorKind::NotFound;
      break;
    case EEXIST:
      kind = ErrorKind::Conflict;
      break;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      kind = ErrorKind::ResourceExhausted;
      break;
    default:
      break;
  }
  return Error(kind, std::string(operation) + ": " + std::strerror(error_number));
}

}  // namespace flagstream

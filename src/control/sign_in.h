// Who a request comes from: an access token in Authorization, or the session cookie of the page.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "catalog/access.h"
#include "http/message.h"

namespace flagstream::control {

inline constexpr std::string_view kSessionCookie = "flagstream_session";

// Unauthenticated: no credential, one that is not known, or one of an SDK (those never open the
// REST API). PermissionDenied: a change by session cookie whose Origin is not the host it was sent
// to, which is what a request forged by another site looks like.
Result<catalog::Identity> authenticate(const http::Request& request, catalog::Access access);

// PermissionDenied unless the identity may do what `least` may.
Result<void> require(const catalog::Identity& identity, catalog::Role least);

// The session cookie of the request; empty if there is none.
std::string_view session_of(const http::Request& request);
// The value of a Set-Cookie header.  `secure` for clients that came by https.
std::string session_cookie(std::string_view session, bool secure);
// The same, to make a browser forget it.
std::string expired_session_cookie();

}  // namespace flagstream::control

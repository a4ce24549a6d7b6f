// What lets browser SDKs of other origins send events and read the answers (Fetch standard, CORS
// protocol).
#pragma once

#include "http/message.h"

namespace flagstream::ingest {

// Adds the headers to an answer, an error as much as any other: without them a browser hides it
// from the SDK.
void allow_cross_origin(const http::Request& request, http::Response& response);

// The answer to a preflight request.  Says yes whatever the environment: the request itself is
// checked.
http::Response preflight_response(const http::Request& request);

}  // namespace flagstream::ingest

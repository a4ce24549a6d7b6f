// What lets browser SDKs of other origins call and read the answers (Fetch standard, CORS
// protocol).
#pragma once

#include "http/message.h"

namespace flagstream::http {

// Adds the headers to an answer, an error as much as any other: without them a browser hides it
// from the SDK.
void allow_cross_origin(const Request& request, Response& response);

// The answer to a preflight request.  Says yes whatever the environment: the request itself is
// checked.
Response preflight_response(const Request& request);

}  // namespace flagstream::http

// An answer's text before its body (RFC 9112, sections 4 and 5), and answers that the server makes
// itself.
#pragma once

#include <string>

#include "base/clock.h"
#include "http/message.h"
#include "http/request_parser.h"

namespace flagstream::http {

// RFC 9110, section 6.4.1.
bool has_no_body(int status);

// Status line, date and the response's headers; the framing (Content-Length and its like), which is
// left out even if the response names it, and the empty line are for the caller to add.  A header
// whose value holds a line break or NUL is left out, too.
void append_response_head(std::string& out, const Response& response, MicrosUtc now);

// A body of {"code":…,"message":…}; 503 asks to retry after a second.
Response refusal_response(const Refusal& refusal);

}  // namespace flagstream::http

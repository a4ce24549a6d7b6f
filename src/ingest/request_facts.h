// What is kept of a request's headers and address in a payload's header.  Everything here comes
// from outside: texts are cut and made printable ASCII, so that a record can always be written and
// read back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "events/event.pb.h"
#include "http/message.h"

namespace flagstream::ingest {

// Fills in payload id, schema, unsummarized, user agent, wrapper, tags, instance id and client
// network.
void read_request_facts(const http::Request& request, events::proto::PayloadHeader& header);

// "192.0.2.0/24", "2001:db8:1::/48"; IPv4 addresses written as IPv6 count as IPv4.  Empty for what
// is no address.
std::string network_of(std::string_view address);

enum class ContentEncoding { Identity, Gzip };
// nullopt: the header names an encoding, or several, that we do not take.
std::optional<ContentEncoding> content_encoding_of(const http::Headers& headers);

}  // namespace flagstream::ingest

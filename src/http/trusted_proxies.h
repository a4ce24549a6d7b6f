// Who may say on whose behalf a request comes: the proxies whose X-Forwarded-For and
// X-Forwarded-Proto count. Anybody else can write what they like into these fields.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/message.h"

namespace flagstream::http {

// Immutable; any thread.
class TrustedProxies {
 public:
  TrustedProxies() = default;
  // Addresses and networks with commas or blanks between them: "10.0.0.0/8, ::1". At most 64;
  // InvalidArgument names the first that is none, also one with bits set behind its prefix.
  static Result<TrustedProxies> parse(std::string_view text);

  bool contains(std::string_view address) const;
  // The client for whom the trusted proxy `peer` asks: from the end of X-Forwarded-For, where each
  // proxy adds its own peer, the first that is no trusted proxy; at something that is no address,
  // the last one before it.
  std::string client_of(std::string_view peer, const Headers& headers) const;

 private:
  struct Network {
    std::array<std::uint8_t, 16> address;  // IPv4 as ::ffff:a.b.c.d
    unsigned bits;
  };
  std::vector<Network> networks_;
};

}  // namespace flagstream::http

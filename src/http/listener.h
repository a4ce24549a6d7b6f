// Listening sockets, by plain system calls.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/generic/stream_protocol.hpp>

#include "base/error.h"

namespace flagstream::http {

void close_descriptor(int descriptor);

class ListeningSocket {
 public:
  ListeningSocket(int descriptor, int family, std::string address)
      : descriptor_(descriptor), family_(family), address_(std::move(address)) {}
  ListeningSocket(ListeningSocket&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)),
        family_(other.family_),
        address_(std::move(other.address_)) {}
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket() {
    if (descriptor_ >= 0) close_descriptor(descriptor_);
  }

  int release() { return std::exchange(descriptor_, -1); }
  boost::asio::generic::stream_protocol protocol() const { return {family_, 0}; }
  // As Server::address() gives it.
  const std::string& address() const { return address_; }

 private:
  int descriptor_;
  int family_;
  std::string address_;
};

// `count` sockets of one address in the form of ServerSettings::listen. InvalidArgument: no such
// form. Conflict: the address is taken.
Result<std::vector<ListeningSocket>> listen_on(const std::string& address, std::uint32_t count);
// Lets the kernel begin no more connections: whoever tries finds the port closed once it is.  Not
// of a Unix socket, nor where filters are forbidden: who comes between the last accept and the
// close is reset there.
void take_no_more(int listening);
// Removes a Unix socket's file.
void forget_address(const std::string& address);

// A non-blocking socket with TCP_NODELAY and its client's IP address (empty on a Unix socket), or
// -1 and errno.
int accept_one(int listening, std::string& client_address);

}  // namespace flagstream::http

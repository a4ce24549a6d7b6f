// The bytes of server-sent events and answers that carry flag data; what is large is made once and
// shared by all.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "delivery/made_once.h"
#include "environment/environments.h"
#include "http/message.h"

namespace flagstream::delivery {

using Bytes = std::shared_ptr<const std::string>;

std::string put_message(const environment::FlagSet& flags);
// {"KEY":FLAG,...}
std::string flags_document(const environment::FlagSet& flags);
// A patch, or a delete for a deleted item.
std::string change_message(const environment::FlagChange& change);
// The same two for streams of flags alone: bare maps, paths without a kind.
std::string flags_put_message(const environment::FlagSet& flags);
std::string flags_change_message(const environment::FlagChange& change);

// Thread-safe.  What it holds goes with the flag sets that it was made from.
class Messages {
 public:
  http::SharedChunk put(const std::shared_ptr<const environment::FlagSet>& flags);
  Bytes flags_only(const std::shared_ptr<const environment::FlagSet>& flags);
  http::SharedChunk flags_put(const std::shared_ptr<const environment::FlagSet>& flags);
  // The body of a poll, compressed.
  Bytes gzip(const std::shared_ptr<const environment::FlagSet>& flags);

 private:
  static constexpr std::size_t kEnvironmentsKept = 10'000;

  MadeOnce<environment::FlagSet, http::Chunk> puts_{kEnvironmentsKept};
  MadeOnce<environment::FlagSet, std::string> flags_only_{kEnvironmentsKept};
  MadeOnce<environment::FlagSet, std::string> gzips_{kEnvironmentsKept};
  MadeOnce<environment::FlagSet, http::Chunk> flags_puts_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery

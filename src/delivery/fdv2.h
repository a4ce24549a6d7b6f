// The newer protocol of server-side SDKs ("data system", FDv2): selectors, which transfer brings a
// client up to date, and its bytes.  Pure.  docs/protocols/fdv2.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "delivery/access.h"
#include "delivery/made_once.h"
#include "delivery/messages.h"
#include "environment/environments.h"

namespace flagstream::delivery::fdv2 {

// What a client says that it has: the contents of an environment at one revision.  It means the
// same to every gateway, and to the same one after a restart.
struct Basis {
  EnvironmentId environment{};
  std::uint64_t revision = 0;
  std::uint64_t digest = 0;  // of the contents, as in FlagSet::digests

  friend bool operator==(const Basis&, const Basis&) = default;
};

Basis basis_of(const environment::FlagSet& flags);
// "1.ENVIRONMENT.REVISION.DIGEST": letters, digits and dots, so that no client escapes it.
std::string selector_of(const Basis& basis);
// nullopt: not one of ours.  Surrounding blanks are no part of it.
std::optional<Basis> read_selector(std::string_view text);

enum class Intent { None, Changes, Full };

struct Transfer {
  Intent intent = Intent::Full;
  std::uint64_t from = 0;  // Changes: items of a higher revision

  friend bool operator==(const Transfer&, const Transfer&) = default;
};

// Whether the client has something newer than this: nothing may go back, unless this is all that
// there is.
bool is_ahead(const environment::FlagSet& flags, const std::optional<Basis>& basis);
// What makes the contents of `flags` out of what the client has.  `is_newest`: `flags` is all that
// there is; then a client that is ahead has the contents of another log, else it is left alone.
Transfer plan(const environment::FlagSet& flags, const std::optional<Basis>& basis, bool is_newest);

// {"events":[...]}
std::string poll_document(const environment::FlagSet& flags, Transfer transfer);
// As server-sent events, of a transfer that is not None.  Changes go without their intent, since on
// a stream only the first ones have one.
std::string stream_message(const environment::FlagSet& flags, Transfer transfer);
std::string intent_message(const environment::FlagSet& flags, Intent intent);
// Tells a client that its stream ends and that it should come again.
std::string goodbye_message(std::string_view reason);

// The bytes of transfers that many clients get, each made once.  Thread-safe.  What it holds goes
// with the flag sets.
class Transfers {
 public:
  http::SharedChunk stream(const Flags& flags, Transfer transfer);
  Bytes poll(const Flags& flags, Transfer transfer);
  Bytes gzip_poll(const Flags& flags, Transfer transfer);

 private:
  using Form = std::string (*)(const environment::FlagSet&, Transfer);
  // Of one flag set: by the revision that the clients had.
  struct ByStart {
    mutable std::mutex mutex;
    mutable std::map<std::uint64_t, http::SharedChunk> changes;
  };
  using Whole = MadeOnce<environment::FlagSet, std::string>;

  static constexpr std::size_t kEnvironmentsKept = 10'000;
  static constexpr std::size_t kStartsKept = 32;

  static Bytes whole(Whole& made, const Flags& flags, Form form);

  MadeOnce<environment::FlagSet, http::Chunk> streams_{kEnvironmentsKept};
  Whole polls_{kEnvironmentsKept};
  Whole gzips_{kEnvironmentsKept};
  MadeOnce<environment::FlagSet, ByStart> changes_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery::fdv2

// What client-side SDKs get of a flag set: not flags, but what they evaluate to for one context.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/evaluators.h"
#include "delivery/made_once.h"
#include "environment/environments.h"
#include "flags/context.h"
#include "flags/evaluator.h"

namespace flagstream::delivery {

// Which reasons an answer holds: only where SDKs must send them back, or all.
enum class Reasons : std::uint8_t { WhereTracked, All };

// The flags of one flag set that callers with one kind of credential may see, ready to be
// evaluated.  To a caller everything else does not exist; but what he may see is decided by
// prerequisites whether he may see them or not.  Immutable; thread-safe.
class ClientFlags {
 public:
  using Keys = std::vector<std::string>;
  // Of one answer, for each flag: a hash of everything but the revision.
  using Digests = std::vector<std::uint64_t>;

  // What a stream has sent.  Small, because there are many.
  struct Sent {
    std::uint64_t generation = 0;
    std::uint64_t revision = 0;
    std::shared_ptr<const Keys> keys;
    Digests digests;
  };

  // `big_segments` may be null, else it must outlive this.
  ClientFlags(const environment::FlagSet& set, std::shared_ptr<const flags::Evaluator> evaluator,
              const flags::BigSegments* big_segments, environment::CredentialKind kind);

  // {"KEY":{"version":REVISION,"flagVersion":...,"value":...,...},...}.  `digests` may be null.
  void append_all(std::string& out, const flags::Context& context, Reasons reasons,
                  Digests* digests = nullptr) const;

  // append_all() as a message of a stream.
  std::string put_message(const flags::Context& context, Reasons reasons, Sent& sent) const;

  struct Changes {
    std::string messages;  // patches and deletes; empty: nothing differs
    std::size_t patches = 0;
    std::size_t deletes = 0;
  };
  // What makes of what was sent what it is now.  Precondition: of the same generation.
  Changes changes_since(Sent& sent, const flags::Context& context, Reasons reasons) const;

  const flags::Evaluator& evaluator() const { return *evaluator_; }
  std::uint64_t generation() const { return generation_; }
  std::uint64_t revision() const { return revision_; }

 private:
  struct Entry {
    const flags::Flag* flag;
    std::string head;      // "KEY":{"version":N,"flagVersion":N,"value":  in one piece, for speed
    std::size_t key_size;  // of "KEY"
    std::size_t members_from;  // of "flagVersion", in `head`

    std::string_view quoted_key() const { return std::string_view(head).substr(0, key_size); }
  };

  // The answer for the flag without its first brace; `head` is what of the entry's it begins with.
  void append_members(std::string& out, const Entry& entry, std::string_view head,
                      const flags::Context& context, Reasons reasons) const;
  void append_patch(std::string& out, const Entry& entry, std::string_view members) const;

  std::shared_ptr<const flags::Evaluator> evaluator_;
  const flags::BigSegments* big_segments_;
  std::uint64_t generation_;
  std::uint64_t revision_;
  std::string version_;                             // "version":N,
  std::shared_ptr<const Keys> keys_;                // sorted
  std::vector<Entry> entries_;                      // one for each key
  mutable std::atomic<std::size_t> bytes_hint_{0};  // of the last answer
};

// Thread-safe.  What it holds goes with the flag sets.
class ClientFlagsCache {
 public:
  explicit ClientFlagsCache(Evaluators& evaluators) : evaluators_(evaluators) {}

  // Null: nothing in the flag set can be evaluated, or not yet (Evaluators::is_ready).
  std::shared_ptr<const ClientFlags> get(const Flags& flags, environment::CredentialKind kind);

 private:
  static constexpr std::size_t kEnvironmentsKept = 10'000;
  using Made = MadeOnce<environment::FlagSet, ClientFlags>;

  Evaluators& evaluators_;
  Made for_servers_{kEnvironmentsKept};
  Made for_mobile_{kEnvironmentsKept};
  Made for_browsers_{kEnvironmentsKept};
};

}  // namespace flagstream::delivery

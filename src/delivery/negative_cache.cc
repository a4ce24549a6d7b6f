#include "delivery/negative_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/hash.h"

namespace flagstream::delivery {

NegativeCache::Digest NegativeCache::digest_of(const environment::Credential& credential) {
  const bool is_digest = credential.kind != environment::CredentialKind::ClientSideId;
  const std::string text = is_digest ? credential.name : sha256(credential.name);
  Digest digest{};
  text.copy(digest.data(), digest.size());
  // The same text is another credential where it is sent as another kind.
  digest[0] = static_cast<char>(digest[0] ^ static_cast<char>(credential.kind));
  return digest;
}

std::size_t NegativeCache::index_of(const Digest& digest) {
  std::size_t number = 0;
  std::memcpy(&number, digest.data() + sizeof number, sizeof number);
  return number % kSets;
}

void NegativeCache::add(const environment::Credential& credential, Unknown unknown,
                        std::uint64_t version, std::int64_t until) {
  const Digest digest = digest_of(credential);
  const std::lock_guard lock(mutex_);
  Set& set = sets_[index_of(digest)];
  auto place = std::ranges::find(set, digest, &Entry::digest);
  if (place == set.end()) place = std::ranges::min_element(set, {}, &Entry::until);
  *place = {.digest = digest, .version = version, .until = until, .unknown = unknown};
}

std::optional<NegativeCache::Unknown> NegativeCache::find(const environment::Credential& credential,
                                                          std::uint64_t version,
                                                          std::int64_t now) const {
  const Digest digest = digest_of(credential);
  const std::lock_guard lock(mutex_);
  const Set& set = sets_[index_of(digest)];
  const auto found = std::ranges::find(set, digest, &Entry::digest);
  if (found == set.end() || found->version != version || now >= found->until) return std::nullopt;
  return found->unknown;
}

}  // namespace flagstream::delivery

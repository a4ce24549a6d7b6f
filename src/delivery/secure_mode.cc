#include "delivery/secure_mode.h"

#include "base/hash.h"

namespace flagstream::delivery {

Result<void> check_hash(const environment::FlagSet& flags, const flags::Context& context,
                        std::string_view hash, MicrosUtc now) {
  if (!flags.secure_mode) return {};
  if (hash.empty())
    return fail(ErrorKind::InvalidArgument, "secure mode: the hash of the context is missing");
  const std::string message = context.fully_qualified_key();
  bool is_right = false;
  bool is_checkable = true;
  for (const environment::HashKey& key : flags.hash_keys) {
    if (key.expires != 0 && now >= key.expires) continue;
    if (key.hmac_state.empty()) {
      is_checkable = false;
      continue;
    }
    const bool is_same = equal_constant_time(hmac_sha256_hex_from(key.hmac_state, message), hash);
    is_right = is_right || is_same;
  }
  if (is_right) return {};
  if (!is_checkable)
    return fail(ErrorKind::Unavailable, "secure mode: the hash cannot be checked yet");
  return fail(ErrorKind::InvalidArgument, "secure mode: the hash of the context is wrong");
}

}  // namespace flagstream::delivery

// Properties: read_selector() never reads outside its input, and what it accepts is written as a
// selector that reads as the same basis; a plan for it never promises more than the flag set knows.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "delivery/fdv2.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream::delivery;
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto basis = fdv2::read_selector(bytes);
  if (!basis) return 0;
  if (fdv2::read_selector(fdv2::selector_of(*basis)) != basis) std::abort();
  flagstream::environment::FlagSet flags;
  flags.environment = basis->environment;
  flags.revision = 42;
  flags.newest_item = 42;
  flags.digests = {1, 2, 3};
  const auto plan = fdv2::plan(flags, basis, true);
  const bool is_known =
      basis->revision >= 40 && basis->revision <= 42 && basis->digest == basis->revision - 39;
  if ((plan.intent != fdv2::Intent::Full) != is_known) std::abort();
  return 0;
}

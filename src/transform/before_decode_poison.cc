// For programs that test how poison records are dealt with, never for the product: a body that
// contains __poison__ crashes its stage.
#include "transform/before_decode.h"

namespace flagstream::transform {

void before_decode(std::string_view body) {
  if (body.find("__poison__") != std::string_view::npos) __builtin_trap();
}

}  // namespace flagstream::transform

#include "transform/before_decode.h"

namespace flagstream::transform {

void before_decode(std::string_view) {}

}  // namespace flagstream::transform

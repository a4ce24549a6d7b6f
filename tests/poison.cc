// A transform that dies on a payload that holds "__poison__".
#include <cstdlib>

#include "transform/before_decode.h"

namespace flagstream::transform {

void before_decode(std::string_view body) {
  if (body.find("__poison__") != std::string_view::npos) std::abort();
}

}  // namespace flagstream::transform

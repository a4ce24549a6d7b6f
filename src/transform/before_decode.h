// A seam for fault injection: the stage calls it with every payload's body before decoding it.
//
// The product's own definition (before_decode.cc) does nothing.  A program that defines the
// function itself gets its own, because the linker then has no need for the library's.
#pragma once

#include <string_view>

namespace flagstream::transform {

void before_decode(std::string_view body);

}  // namespace flagstream::transform

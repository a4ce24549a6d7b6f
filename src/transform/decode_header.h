// What a payload's request headers say about its sender.
#pragma once

#include <string_view>

namespace flagstream::transform {

// Views into the header's texts.  Empty: not said.
struct Sender {
  std::string_view sdk_name;
  std::string_view sdk_version;
  std::string_view application_id;
  std::string_view application_version;
};

// `user_agent` as in "NodeJSClient/9.13.7", `tags` as in "application-id/shop
// application-version/1.2.3". Names and versions over 128 bytes are cut.
Sender sender_of(std::string_view user_agent, std::string_view tags);

}  // namespace flagstream::transform

// Property: a head is read or refused the same whether it comes at once or byte by byte, and
// neither that nor unchunking what follows reads beyond its input or yields more than the limit.
#include <cstdint>

#include "base/assert.h"
#include "http/request_parser.h"

namespace {

namespace http = flagstream::http;

constexpr http::HeadLimits kLimits{1024, 1024, 16};
constexpr std::size_t kBodyBytesMax = 4096;

void check(std::string_view bytes) {
  http::HeadParser whole(kLimits);
  const http::Progress progress = whole.parse(bytes);
  http::HeadParser cut(kLimits);
  http::Progress cut_progress = http::Progress::NeedMore;
  for (std::size_t end = 1; end <= bytes.size() && cut_progress == http::Progress::NeedMore;
       ++end) {
    cut_progress = cut.parse(bytes.substr(0, end));
  }
  FS_ASSERT(bytes.empty() || progress == cut_progress, "cuts change nothing");
  if (progress != http::Progress::Done) return;
  FS_ASSERT(whole.size() <= bytes.size() && whole.size() == cut.size(), "a head ends in its bytes");
  http::RequestHead head;
  if (http::read_request_head(whole.first_line(bytes), whole.take_headers(), head)) return;
  FS_ASSERT(head.raw_path.starts_with('/') && !head.raw_path.starts_with("//"), "one slash leads");
  http::ChunkedDecoder decoder(kBodyBytesMax);
  std::string body;
  std::size_t consumed = 0;
  decoder.decode(bytes.substr(whole.size()), consumed, body);
  FS_ASSERT(body.size() <= kBodyBytesMax, "the limit holds");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}

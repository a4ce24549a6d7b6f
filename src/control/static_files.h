// The built web page under /ui/: every file is read once at start and served from memory, so that
// no path of a request ever reaches the file system.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace flagstream::control {

class StaticFiles {
 public:
  // Reads every file below `folder`, at most kBytesMax in all (TooLarge).  A folder that does not
  // exist gives a page that says so.  FILE.gz beside FILE is what clients get that accept gzip.
  static Result<StaticFiles> load(const std::string& folder);

  // Answers GET and HEAD of `path`, relative to /ui/.  A path without a file and without an
  // extension gets the index: the page itself routes below /ui/.  Any thread.
  http::Response answer(std::string_view path, const http::Request& request) const;

  static constexpr std::size_t kBytesMax = 32u << 20;

 private:
  struct File {
    std::string content_type;
    std::string etag;
    std::shared_ptr<const std::string> body;
    std::shared_ptr<const std::string> gzip;  // null: there is none
    bool is_hashed = false;                   // its name changes with its contents
  };

  const File* find(std::string_view path) const;

  std::map<std::string, File, std::less<>> files_;
};

// What every response of control carries, the page above all: no inline scripts or styles, no
// framing.
void add_security_headers(http::Response& response);

}  // namespace flagstream::control

#include "control/static_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/hash.h"
#include "io/file_system.h"

namespace flagstream::control {
namespace {

constexpr std::size_t kEtagDigits = 16;
constexpr std::string_view kNoPage =
    "<!doctype html><title>Flagstream</title><p>The web page is not built. Run <code>make "
    "run</code>, or set "
    "<code>web.folder</code> to the folder that holds it.";

constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src "
    "'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action "
    "'self'; "
    "frame-ancestors 'none'";

struct ContentType {
  std::string_view extension;
  std::string_view type;
};

constexpr std::array kContentTypes = {
    ContentType{".html", "text/html; charset=utf-8"},
    ContentType{".js", "text/javascript; charset=utf-8"},
    ContentType{".css", "text/css; charset=utf-8"},
    ContentType{".json", "application/json"},
    ContentType{".map", "application/json"},
    ContentType{".svg", "image/svg+xml"},
    ContentType{".png", "image/png"},
    ContentType{".ico", "image/x-icon"},
    ContentType{".woff2", "font/woff2"},
    ContentType{".txt", "text/plain; charset=utf-8"},
    ContentType{".webmanifest", "application/manifest+json"},
};

std::string_view extension_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(dot);
}

std::string_view content_type_of(std::string_view path) {
  const std::string_view extension = extension_of(path);
  const auto found =
      std::find_if(kContentTypes.begin(), kContentTypes.end(),
                   [&](const ContentType& each) { return each.extension == extension; });
  return found == kContentTypes.end() ? "application/octet-stream" : found->type;
}

bool accepts_gzip(const http::Request& request) {
  const auto accepted = request.headers.find("Accept-Encoding");
  return accepted && accepted->find("gzip") != std::string_view::npos &&
         accepted->find("gzip;q=0") == std::string_view::npos;
}

}  // namespace

void add_security_headers(http::Response& response) {
  response.headers.add("Content-Security-Policy", std::string(kPolicy));
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.headers.add("Referrer-Policy", "same-origin");
}

Result<StaticFiles> StaticFiles::load(const std::string& folder) {
  namespace fs = std::filesystem;
  StaticFiles loaded;
  std::error_code error;
  std::size_t total = 0;
  std::map<std::string, std::shared_ptr<const std::string>> compressed;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (!at->is_regular_file(error)) continue;
    FS_TRY(auto body, io::posix_file_system().read_file(at->path().string()));
    total += body.size();
    if (total > kBytesMax)
      return fail(ErrorKind::TooLarge, folder + " holds more than a web page may");
    std::string name = at->path().lexically_relative(folder).generic_string();
    if (name.ends_with(".gz")) {
      name.resize(name.size() - 3);
      compressed[name] = std::make_shared<const std::string>(std::move(body));
      continue;
    }
    File file;
    file.content_type = content_type_of(name);
    file.etag = "\"" + sha256_hex(body).substr(0, kEtagDigits) + "\"";
    file.body = std::make_shared<const std::string>(std::move(body));
    file.is_hashed = name.starts_with("assets/");
    loaded.files_.emplace(std::move(name), std::move(file));
  }
  for (auto& [name, body] : compressed) {
    if (const auto file = loaded.files_.find(name); file != loaded.files_.end())
      file->second.gzip = body;
  }
  return loaded;
}

const StaticFiles::File* StaticFiles::find(std::string_view path) const {
  auto file = files_.find(path);
  if (file == files_.end() && extension_of(path).empty()) file = files_.find("index.html");
  return file == files_.end() ? nullptr : &file->second;
}

http::Response StaticFiles::answer(std::string_view path, const http::Request& request) const {
  http::Response response;
  add_security_headers(response);
  const File* file = find(path);
  if (file == nullptr) {
    response.status = files_.empty() ? 200 : 404;
    response.headers.add("Content-Type", "text/html; charset=utf-8");
    response.body = files_.empty() ? std::string(kNoPage)
                                   : "<!doctype html><title>Not found</title><p>Not found.";
    return response;
  }
  const bool is_gzip = file->gzip != nullptr && accepts_gzip(request);
  // The two representations need two tags (RFC 9110, 8.8.3.3).
  std::string etag = file->etag;
  if (is_gzip) etag.insert(etag.size() - 1, "-gz");
  response.headers.add("ETag", etag);
  response.headers.add("Vary", "Accept-Encoding");
  response.headers.add("Cache-Control",
                       file->is_hashed ? "public, max-age=31536000, immutable" : "no-cache");
  if (request.headers.find("If-None-Match").value_or("").find(etag) != std::string_view::npos) {
    response.status = 304;
    return response;
  }
  response.headers.add("Content-Type", file->content_type);
  if (is_gzip) response.headers.add("Content-Encoding", "gzip");
  response.shared_body = is_gzip ? file->gzip : file->body;
  return response;
}

}  // namespace flagstream::control

#include <memory>

#include <curl/curl.h>

#include "app/client_commands.h"

namespace flagstream::app {
namespace {

constexpr long kTimeoutSeconds = 30;
constexpr std::size_t kAnswerBytesMax = 64u << 20;

struct EndHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct EndList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::size_t receive(char* bytes, std::size_t, std::size_t size, void* to) {
  auto& body = *static_cast<std::string*>(to);
  if (body.size() + size > kAnswerBytesMax) return 0;
  body.append(bytes, size);
  return size;
}

struct Server {
  std::string address;      // without a slash at its end
  std::string socket_path;  // empty: over TCP
};

Result<ApiAnswer> send(const Server& server, const std::string& token, const ApiRequest& request) {
  const std::unique_ptr<CURL, EndHandle> curl(curl_easy_init());
  if (curl == nullptr) return fail(ErrorKind::Unavailable, "libcurl cannot start");
  std::unique_ptr<curl_slist, EndList> headers;
  const auto add_header = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) return;
    (void)headers.release();
    headers.reset(longer);
  };
  if (!token.empty()) add_header("Authorization: " + token);
  if (!request.body.empty()) add_header("Content-Type: " + request.content_type);
  ApiAnswer answer;
  const std::string url = server.address + request.path;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  if (!server.socket_path.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, server.socket_path.c_str());
  }
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  if (!request.body.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) {
    const std::string& where = server.socket_path.empty() ? server.address : server.socket_path;
    return fail(ErrorKind::Unavailable, where + " does not answer (" + curl_easy_strerror(code) +
                                            "); start it with flagstream serve, or give --server");
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

}  // namespace

Transport http_transport(std::string server, std::string token) {
  while (server.ends_with('/')) server.pop_back();
  return [to = Server{.address = std::move(server), .socket_path = {}},
          token = std::move(token)](const ApiRequest& request) { return send(to, token, request); };
}

Transport socket_transport(std::string socket_path, std::string token) {
  return [to = Server{.address = "http://localhost", .socket_path = std::move(socket_path)},
          token = std::move(token)](const ApiRequest& request) { return send(to, token, request); };
}

}  // namespace flagstream::app

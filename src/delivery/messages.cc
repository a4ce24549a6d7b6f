#include "delivery/messages.h"

#include "http/inflate.h"
#include "json/json.h"

namespace flagstream::delivery {

std::string put_message(const environment::FlagSet& flags) {
  constexpr std::string_view kBegin = "event: put\ndata: {\"path\":\"/\",\"data\":";
  constexpr std::string_view kEnd = "}\n\n";
  std::string out;
  out.reserve(kBegin.size() + flags.all_json->size() + kEnd.size());
  out += kBegin;
  out += *flags.all_json;
  out += kEnd;
  return out;
}

std::string flags_document(const environment::FlagSet& flags) {
  std::string out = "{";
  for (const auto& [key, item] : flags.flags) {
    if (item.json == nullptr) continue;
    if (out.size() > 1) out += ',';
    json::append_quoted(out, key);
    out += ':';
    out += *item.json;
  }
  return out += '}';
}

namespace {

std::string change_at(const std::string& place, const environment::FlagChange& change) {
  const std::string path = json::quoted(place + change.key);
  if (change.item.json == nullptr) {
    return "event: delete\ndata: {\"path\":" + path +
           ",\"version\":" + std::to_string(change.item.version) + "}\n\n";
  }
  return "event: patch\ndata: {\"path\":" + path + ",\"data\":" + *change.item.json + "}\n\n";
}

}  // namespace

std::string change_message(const environment::FlagChange& change) {
  const bool is_flag = change.kind == environment::FlagChange::Kind::Flag;
  return change_at(is_flag ? "/flags/" : "/segments/", change);
}

std::string flags_put_message(const environment::FlagSet& flags) {
  return "event: put\ndata: " + flags_document(flags) + "\n\n";
}

std::string flags_change_message(const environment::FlagChange& change) {
  return change_at("/", change);
}

namespace {

// Makes with `text_of` what MadeOnce keeps.
template <class Made, class Source>
auto made_by(std::string (*text_of)(const Source&)) {
  return [text_of](const Source& source) { return std::make_shared<const Made>(text_of(source)); };
}

std::string gzip_document(const environment::FlagSet& flags) {
  return http::deflate_gzip(*flags.all_json);
}

}  // namespace

http::SharedChunk Messages::put(const std::shared_ptr<const environment::FlagSet>& flags) {
  return puts_.get(flags, made_by<http::Chunk>(put_message));
}

Bytes Messages::flags_only(const std::shared_ptr<const environment::FlagSet>& flags) {
  return flags_only_.get(flags, made_by<std::string>(flags_document));
}

http::SharedChunk Messages::flags_put(const std::shared_ptr<const environment::FlagSet>& flags) {
  return flags_puts_.get(flags, made_by<http::Chunk>(flags_put_message));
}

Bytes Messages::gzip(const std::shared_ptr<const environment::FlagSet>& flags) {
  return gzips_.get(flags, made_by<std::string>(gzip_document));
}

}  // namespace flagstream::delivery

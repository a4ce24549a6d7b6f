#include "delivery/messages.h"

#include "http/inflate.h"

namespace flagstream::delivery {

std::string put_message(const environment::FlagSet& flags) {
  std::string out = "event: put\ndata: {\"path\":\"/\",\"data\":";
  out += *flags.all_json;
  out += "}\n\n";
  return out;
}

std::string change_message(const environment::FlagChange& change) {
  const bool is_flag = change.kind == environment::FlagChange::Kind::Flag;
  const std::string path = (is_flag ? "/flags/" : "/segments/") + change.key;
  if (change.item.json == nullptr) {
    return "event: delete\ndata: {\"path\":\"" + path +
           "\",\"version\":" + std::to_string(change.item.version) + "}\n\n";
  }
  return "event: patch\ndata: {\"path\":\"" + path + "\",\"data\":" + *change.item.json + "}\n\n";
}

Bytes Messages::put(const environment::FlagSet& flags) {
  const std::lock_guard lock(mutex_);
  Made& made = made_[flags.environment];
  if (made.put != nullptr && made.revision == flags.revision) return made.put;
  auto put = std::make_shared<const std::string>(put_message(flags));
  if (flags.revision < made.revision) return put;
  made.revision = flags.revision;
  made.put = put;
  return put;
}

Bytes Messages::change(EnvironmentId environment, const environment::FlagChange& change) {
  const std::lock_guard lock(mutex_);
  Made& made = made_[environment];
  Bytes& message = made.changes[change.revision];
  if (message == nullptr) message = std::make_shared<const std::string>(change_message(change));
  Bytes out = message;
  if (made.changes.size() > kChangesKept) made.changes.erase(made.changes.begin());
  return out;
}

Bytes Messages::gzip(const environment::FlagSet& flags) {
  const std::lock_guard lock(mutex_);
  Made& made = made_[flags.environment];
  if (made.gzip != nullptr && made.gzip_revision == flags.revision) return made.gzip;
  made.gzip = std::make_shared<const std::string>(http::deflate_gzip(*flags.all_json));
  made.gzip_revision = flags.revision;
  return made.gzip;
}

}  // namespace flagstream::delivery

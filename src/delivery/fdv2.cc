#include "delivery/fdv2.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "http/inflate.h"
#include "json/json.h"

namespace flagstream::delivery::fdv2 {
namespace {

using environment::FlagSet;
using environment::FlagSetItem;
using Items = decltype(FlagSet::flags);

constexpr std::string_view kVersion = "1";
constexpr std::size_t kSelectorBytesMax = 128;
constexpr std::size_t kDigestDigits = 16;

// The whole of `text` as a number, with the fewest digits.
std::optional<std::uint64_t> number_in(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string hex_of(std::uint64_t value) {
  std::array<char, kDigestDigits> digits{};
  const auto [end, error] = std::to_chars(digits.begin(), digits.end(), value, 16);
  const auto count = static_cast<std::size_t>(end - digits.begin());
  return std::string(kDigestDigits - count, '0').append(digits.data(), count);
}

// Writes events in one of the two forms.
class Events {
 public:
  enum class Form { Poll, Stream };
  explicit Events(Form form) : form_(form) { out_ = is_poll() ? "{\"events\":[" : ""; }

  // Add an object by appending to text() between these two.
  void begin(std::string_view name) {
    if (is_poll()) {
      out_ += std::exchange(is_first_, false) ? "{\"event\":\"" : ",{\"event\":\"";
      out_.append(name).append("\",\"data\":");
    } else {
      out_.append("event: ").append(name).append("\ndata: ");
    }
  }
  void end() { out_ += is_poll() ? "}" : "\n\n"; }
  std::string& text() { return out_; }
  std::string finish() && {
    if (is_poll()) out_ += "]}";
    return std::move(out_);
  }

 private:
  bool is_poll() const { return form_ == Form::Poll; }

  Form form_;
  std::string out_;
  bool is_first_ = true;
};

std::string_view name_of(Intent intent) {
  switch (intent) {
    case Intent::None:
      return "none";
    case Intent::Changes:
      return "xfer-changes";
    case Intent::Full:
      return "xfer-full";
  }
  std::unreachable();
}

std::string_view reason_of(Intent intent) {
  switch (intent) {
    case Intent::None:
      return "up-to-date";
    case Intent::Changes:
      return "stale";
    case Intent::Full:
      return "payload-missing";
  }
  std::unreachable();
}

void add_intent(Events& events, const FlagSet& flags, Intent intent) {
  events.begin("server-intent");
  events.text()
      .append(R"({"payloads":[{"id":"env-)")
      .append(std::to_string(to_number(flags.environment)))
      .append(R"(","target":)")
      .append(std::to_string(flags.revision))
      .append(R"(,"intentCode":")")
      .append(name_of(intent))
      .append(R"(","reason":")")
      .append(reason_of(intent))
      .append("\"}]}");
  events.end();
}

void add_item(Events& events, std::string_view kind, std::string_view key,
              const FlagSetItem& item) {
  events.begin(item.json == nullptr ? "delete-object" : "put-object");
  std::string& out = events.text();
  out.append(R"({"kind":")").append(kind).append(R"(","key":)");
  json::append_quoted(out, key);
  out.append(R"(,"version":)").append(std::to_string(item.version));
  if (item.json != nullptr) out.append(R"(,"object":)").append(*item.json);
  out += '}';
  events.end();
}

void add_items(Events& events, std::string_view kind, const Items& items, Transfer transfer) {
  const bool is_full = transfer.intent == Intent::Full;
  for (const auto& [key, item] : items) {
    if (is_full ? item.json != nullptr : item.revision > transfer.from)
      add_item(events, kind, key, item);
  }
}

void add_transferred(Events& events, const FlagSet& flags) {
  events.begin("payload-transferred");
  events.text()
      .append(R"({"state":")")
      .append(selector_of(basis_of(flags)))
      .append(R"(","version":)")
      .append(std::to_string(flags.revision))
      .append("}");
  events.end();
}

std::string events_of(Events::Form form, const FlagSet& flags, Transfer transfer) {
  Events events(form);
  if (transfer.intent == Intent::Full) events.text().reserve(flags.all_json->size() * 5 / 4);
  if (form == Events::Form::Poll || transfer.intent == Intent::Full)
    add_intent(events, flags, transfer.intent);
  if (transfer.intent != Intent::None) {
    add_items(events, "segment", flags.segments, transfer);
    add_items(events, "flag", flags.flags, transfer);
    add_transferred(events, flags);
  }
  return std::move(events).finish();
}

std::string gzip_document(const FlagSet& flags, Transfer transfer) {
  return http::deflate_gzip(poll_document(flags, transfer));
}

}  // namespace

Basis basis_of(const FlagSet& flags) {
  return {.environment = flags.environment, .revision = flags.revision, .digest = flags.digest()};
}

std::string selector_of(const Basis& basis) {
  return std::string(kVersion) + "." + std::to_string(to_number(basis.environment)) + "." +
         std::to_string(basis.revision) + "." + hex_of(basis.digest);
}

std::optional<Basis> read_selector(std::string_view text) {
  if (text.size() > kSelectorBytesMax) return std::nullopt;
  constexpr std::string_view kBlanks = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
  std::array<std::string_view, 4> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t dot = i + 1 < parts.size() ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    parts[i] = text.substr(0, dot);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  if (parts[0] != kVersion || parts[3].size() != kDigestDigits) return std::nullopt;
  const auto environment = number_in(parts[1], 10);
  const auto revision = number_in(parts[2], 10);
  const auto digest = number_in(parts[3], 16);
  if (!environment || !revision || !digest) return std::nullopt;
  return Basis{
      .environment = EnvironmentId{*environment}, .revision = *revision, .digest = *digest};
}

bool is_ahead(const FlagSet& flags, const std::optional<Basis>& basis) {
  return basis && basis->environment == flags.environment && basis->revision > flags.revision;
}

Transfer plan(const FlagSet& flags, const std::optional<Basis>& basis, bool is_newest) {
  if (is_ahead(flags, basis) && !is_newest) return {.intent = Intent::None};
  if (!basis || basis->environment != flags.environment ||
      !flags.had(basis->revision, basis->digest))
    return {.intent = Intent::Full};
  if (flags.newest_item <= basis->revision) return {.intent = Intent::None};
  return {.intent = Intent::Changes, .from = basis->revision};
}

std::string poll_document(const FlagSet& flags, Transfer transfer) {
  return events_of(Events::Form::Poll, flags, transfer);
}

std::string intent_message(const FlagSet& flags, Intent intent) {
  Events events(Events::Form::Stream);
  add_intent(events, flags, intent);
  return std::move(events).finish();
}

std::string stream_message(const FlagSet& flags, Transfer transfer) {
  return events_of(Events::Form::Stream, flags, transfer);
}

std::string goodbye_message(std::string_view reason) {
  return "event: goodbye\ndata: {\"reason\":" + json::quoted(reason) + "}\n\n";
}

Bytes Transfers::whole(Whole& made, const Flags& flags, Form form) {
  return made.get(flags, [form](const FlagSet& set) {
    return std::make_shared<const std::string>(form(set, {.intent = Intent::Full}));
  });
}

http::SharedChunk Transfers::stream(const Flags& flags, Transfer transfer) {
  const auto make = [transfer](const FlagSet& set) {
    return std::make_shared<const http::Chunk>(stream_message(set, transfer));
  };
  if (transfer.intent == Intent::Full) return streams_.get(flags, make);
  const auto by_start =
      changes_.get(flags, [](const FlagSet&) { return std::make_shared<const ByStart>(); });
  const std::lock_guard lock(by_start->mutex);
  if (by_start->changes.size() >= kStartsKept && !by_start->changes.contains(transfer.from))
    by_start->changes.clear();
  http::SharedChunk& chunk = by_start->changes[transfer.from];
  if (chunk == nullptr) chunk = make(*flags);
  return chunk;
}

Bytes Transfers::poll(const Flags& flags, Transfer transfer) {
  if (transfer.intent == Intent::Full) return whole(polls_, flags, poll_document);
  return std::make_shared<const std::string>(poll_document(*flags, transfer));
}

Bytes Transfers::gzip_poll(const Flags& flags, Transfer transfer) {
  if (transfer.intent == Intent::Full) return whole(gzips_, flags, gzip_document);
  return std::make_shared<const std::string>(gzip_document(*flags, transfer));
}

}  // namespace flagstream::delivery::fdv2

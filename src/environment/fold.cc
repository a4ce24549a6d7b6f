#include "environment/fold.h"

#include <algorithm>
#include <ranges>

#include "base/hash.h"
#include "environment/config_record.h"

namespace flagstream::environment {

std::uint64_t digest_of(const proto::Item& item) {
  const bool is_flag = item.kind() == proto::Item::FLAG;
  if (item.deleted() || (!is_flag && item.kind() != proto::Item::SEGMENT)) return 0;
  std::string text = is_flag ? "f" : "s";
  text.reserve(2 + item.key().size() + item.document().size());
  text += item.key();
  text += '\n';
  text += item.document();
  return xxh3_128(text).low;
}

Result<Folded> ConfigFold::take(std::string_view record) {
  Folded out;
  auto decoded = decode_config_record(record);
  if (!decoded) {
    if (decoded.error().kind == ErrorKind::InvalidArgument) return fail(std::move(decoded).error());
    skipped_ += 1;
    return out;
  }
  switch (decoded->contents_case()) {
    case proto::Record::kItem:
      if (!decoded->item().has_copy_id()) {
        take_change(std::move(*decoded->mutable_item()), out);
      } else if (copy_ && copy_->copy_id() == decoded->item().copy_id()) {
        take_copy_item(std::move(*decoded->mutable_item()));
      }
      break;
    case proto::Record::kCopyBegin:
      note_hole();  // of one without an end nothing is left
      copy_ = std::move(*decoded->mutable_copy_begin());
      break;
    case proto::Record::kCopyEnd:
      finish_copy(decoded->copy_end().copy_id(), out);
      break;
    case proto::Record::CONTENTS_NOT_SET:
      break;
  }
  return out;
}

void ConfigFold::note_hole() {
  copy_.reset();
  copy_items_.clear();
  copy_bytes_ = 0;
}

void ConfigFold::take_copy_item(proto::Item item) {
  copy_bytes_ += item.ByteSizeLong();
  if (copy_bytes_ > copy_bytes_max_) {
    dropped_ += copy_items_.size() + 1;
    note_hole();
    return;
  }
  copy_items_.push_back(std::move(item));
}

void ConfigFold::keep_waiting(EnvironmentState& state, proto::Item item) {
  const std::size_t bytes = item.ByteSizeLong();
  if (state.waiting.contains(item.revision())) return;
  if (state.waiting.size() >= kWaitingMax || waiting_bytes_ + bytes > waiting_bytes_max_) {
    dropped_ += 1;
    return;
  }
  waiting_bytes_ += bytes;
  const std::uint64_t revision = item.revision();
  state.waiting.emplace(revision, std::move(item));
}

void ConfigFold::take_change(proto::Item item, Folded& out) {
  EnvironmentState& state = environments_[item.environment_id()];
  state.revision_seen = std::max(state.revision_seen, item.revision());
  if (item.revision() <= state.revision) return;
  if (item.revision() != state.revision + 1) return keep_waiting(state, std::move(item));
  for (;;) {
    apply(state, item);
    note_digest(state);
    out.changes.push_back(std::move(item));
    const auto next = state.waiting.find(state.revision + 1);
    if (next == state.waiting.end()) return;
    item = std::move(next->second);
    waiting_bytes_ -= item.ByteSizeLong();
    state.waiting.erase(next);
  }
}

void ConfigFold::apply(EnvironmentState& to, const proto::Item& item) {
  to.revision = item.revision();
  proto::Item& kept = to.items[{item.kind(), item.key()}];
  // Versions never decrease, whatever the order of revisions says.
  if (item.version() >= kept.version()) {
    to.digest -= digest_of(kept);
    kept = item;
    to.digest += digest_of(kept);
  }
  if (item.kind() != proto::Item::ENVIRONMENT) return;
  to.is_deleted = item.deleted();
  if (!to.is_deleted) return;
  std::erase_if(to.items, [](const auto& each) {
    return each.first.first != proto::Item::ENVIRONMENT;  // what is in it goes with it
  });
  to.digest = 0;
  to.digests.clear();
}

void ConfigFold::note_digest(EnvironmentState& to) {
  to.digests.push_back(to.digest);
  if (to.digests.size() > EnvironmentState::kDigestsKept) to.digests.pop_front();
}

void ConfigFold::finish_copy(std::uint64_t copy_id, Folded& out) {
  if (!copy_ || copy_->copy_id() != copy_id) return;
  std::map<std::uint64_t, EnvironmentState> fresh;
  for (const proto::EnvironmentRevision& each : copy_->revisions()) {
    const auto known = environments_.find(each.environment_id());
    if (known != environments_.end() && known->second.revision >= each.revision()) continue;
    fresh[each.environment_id()] = {};
  }
  for (proto::Item& item : copy_items_) {
    const auto to = fresh.find(item.environment_id());
    if (to == fresh.end()) continue;
    item.clear_copy_id();
    apply(to->second, item);
  }
  for (const proto::EnvironmentRevision& each : copy_->revisions()) {
    const auto found = fresh.find(each.environment_id());
    if (found == fresh.end()) continue;
    EnvironmentState& state = environments_[each.environment_id()];
    std::map<std::uint64_t, proto::Item> waiting = std::move(state.waiting);
    const std::uint64_t seen = std::max(state.revision_seen, each.revision());
    state = std::move(found->second);
    state.revision = each.revision();
    state.revision_seen = seen;
    // A saved state goes on where it was; of another copy only its own revision is known.
    if (!each.digests().empty() && *each.digests().rbegin() == state.digest)
      state.digests.assign(each.digests().begin(), each.digests().end());
    else
      state.digests.assign(1, state.digest);
    out.replaced.insert(each.environment_id());
    for (auto& [revision, item] : waiting) {
      waiting_bytes_ -= item.ByteSizeLong();
      take_change(std::move(item), out);
    }
  }
  out.has_complete_copy = true;
  note_hole();
}

std::size_t ConfigFold::gaps() const {
  std::size_t count = 0;
  for (const auto& [id, state] : environments_) count += state.revision_seen > state.revision;
  return count;
}

bool ConfigFold::has_environment() const {
  return std::ranges::any_of(environments_, [](const auto& each) {
    return std::ranges::any_of(each.second.items, [](const auto& item) {
      return item.first.first == proto::Item::ENVIRONMENT;
    });
  });
}

Result<std::vector<std::string>> ConfigFold::as_copy() const {
  constexpr std::uint64_t kCopyId = 1;
  std::vector<std::string> out;
  const auto add = [&](const proto::Record& record) -> Result<void> {
    FS_TRY(std::string encoded, encode_config_record(record));
    out.push_back(std::move(encoded));
    return {};
  };
  proto::Record begin;
  begin.mutable_copy_begin()->set_copy_id(kCopyId);
  for (const auto& [id, state] : environments_) {
    auto* revision = begin.mutable_copy_begin()->add_revisions();
    revision->set_environment_id(id);
    revision->set_revision(state.revision);
    const std::size_t kept = std::min(state.digests.size(), EnvironmentState::kDigestsSaved);
    for (const std::uint64_t digest : std::ranges::subrange(
             state.digests.end() - static_cast<std::ptrdiff_t>(kept), state.digests.end()))
      revision->add_digests(digest);
  }
  FS_TRY(add(begin));
  for (const auto& [id, state] : environments_) {
    for (const auto& [name, item] : state.items) {
      proto::Record record;
      *record.mutable_item() = item;
      record.mutable_item()->set_copy_id(kCopyId);
      FS_TRY(add(record));
    }
  }
  proto::Record end;
  end.mutable_copy_end()->set_copy_id(kCopyId);
  FS_TRY(add(end));
  return out;
}

}  // namespace flagstream::environment

#include "environment/fold.h"

#include "environment/config_record.h"

namespace flagstream::environment {

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
        copy_items_.push_back(std::move(*decoded->mutable_item()));
      }
      break;
    case proto::Record::kCopyBegin:
      copy_ = std::move(*decoded->mutable_copy_begin());
      copy_items_.clear();
      break;
    case proto::Record::kCopyEnd:
      finish_copy(decoded->copy_end().copy_id(), out);
      break;
    case proto::Record::CONTENTS_NOT_SET:
      break;
  }
  return out;
}

void ConfigFold::take_change(proto::Item item, Folded& out) {
  EnvironmentState& state = environments_[item.environment_id()];
  if (item.revision() <= state.revision) return;
  if (item.revision() != state.revision + 1) {
    if (state.waiting.size() < kWaitingMax) state.waiting.emplace(item.revision(), std::move(item));
    return;
  }
  for (;;) {
    apply(state, item);
    out.changes.push_back(std::move(item));
    const auto next = state.waiting.find(state.revision + 1);
    if (next == state.waiting.end()) return;
    item = std::move(next->second);
    state.waiting.erase(next);
  }
}

void ConfigFold::apply(EnvironmentState& to, const proto::Item& item) {
  to.revision = item.revision();
  proto::Item& kept = to.items[{item.kind(), item.key()}];
  // Versions never decrease, whatever the order of revisions says.
  if (item.version() >= kept.version()) kept = item;
  if (item.kind() == proto::Item::ENVIRONMENT) to.is_deleted = item.deleted();
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
    state = std::move(found->second);
    state.revision = each.revision();
    out.replaced.insert(each.environment_id());
    for (auto& [revision, item] : waiting) take_change(std::move(item), out);
  }
  copy_.reset();
  copy_items_.clear();
}

std::size_t ConfigFold::gaps() const {
  std::size_t count = 0;
  for (const auto& [id, state] : environments_) count += state.waiting.empty() ? 0 : 1;
  return count;
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

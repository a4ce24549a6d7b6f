// What is made from something immutable, once, and shared.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace flagstream::delivery {

// Thread-safe.  Holds what was made for as long as its source lives, up to `kept_max`; then it
// begins anew.
template <class Source, class Made>
class MadeOnce {
 public:
  explicit MadeOnce(std::size_t kept_max) : kept_max_(kept_max) {}

  // Runs `make` without a lock that anybody else needs: only those who want the same wait for it.
  // `make(*source)` gives a shared pointer.
  template <class Make>
  std::shared_ptr<const Made> get(const std::shared_ptr<const Source>& source, Make make) {
    const std::shared_ptr<Entry> entry = entry_of(source);
    std::call_once(entry->once, [&] { entry->made = make(*source); });
    return entry->made;
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    std::weak_ptr<const Source> source;  // another may come to stand at its address
    std::once_flag once;
    std::shared_ptr<const Made> made;
  };

  std::shared_ptr<Entry> entry_of(const std::shared_ptr<const Source>& source) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(source.get());
    if (found != entries_.end() && found->second->source.lock() == source) return found->second;
    std::erase_if(entries_, [](const auto& each) { return each.second->source.expired(); });
    if (entries_.size() >= kept_max_) entries_.clear();
    auto entry = std::make_shared<Entry>();
    entry->source = source;
    entries_[source.get()] = entry;
    return entry;
  }

  const std::size_t kept_max_;
  mutable std::mutex mutex_;
  std::map<const Source*, std::shared_ptr<Entry>> entries_;
};

}  // namespace flagstream::delivery

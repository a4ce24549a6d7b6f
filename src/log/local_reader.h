// Reads a topic's files, in any process, up to the durable watermark in its control page.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/file_system.h"
#include "log/log.h"
#include "log/segment_format.h"

namespace flagstream::log {

// NotFound: the topic does not exist, or its writer has not opened it yet.
Result<ControlPage> read_control_page(io::FileSystem& files, const std::string& folder);

class LocalReader final : public Reader {
 public:
  // `files` must outlive it.
  static Result<std::unique_ptr<LocalReader>> open(io::FileSystem& files, std::string folder,
                                                   Id128 log_id, std::span<const Start> starts,
                                                   Binding binding = Binding::Bound);

  Result<Fetched> next(std::size_t bytes_max, std::chrono::milliseconds deadline) override;
  void skip_to(Partition partition, Offset offset) override;
  void wake() override { changes_->interrupt(); }

 private:
  struct Wanted {
    Offset next = 0;
    bool is_blocked = false;  // by OutOfRange or Quarantined, until skip_to()
  };
  struct Place {
    SegmentHeader header;
    std::unique_ptr<io::File> file;
    std::uint64_t at = 0;
    std::optional<std::uint64_t> end;  // known once there is a file after it
  };

  LocalReader(io::FileSystem& files, std::string folder, Binding binding)
      : files_(files), folder_(std::move(folder)), binding_(binding) {}

  Result<ControlPage> control();
  // One look: frames, a report, or nullopt if there is nothing new.
  Result<std::optional<Fetched>> look(std::size_t bytes_max);
  std::optional<Fetched> out_of_range(const ControlPage& page);
  Result<void> locate(const ControlPage& page);
  Result<bool> enter(const ControlPage& page, std::uint64_t sequence);
  Result<std::uint64_t> limit(const ControlPage& page);
  Result<std::optional<Fetched>> read_frames(std::uint64_t limit, std::size_t bytes_max);
  Result<std::string_view> fill(std::uint64_t at, std::size_t bytes);
  // Takes the frame; a report if offsets are missing before it.
  std::optional<Fetched> take(const FrameHeader& frame, std::string_view payload);
  std::optional<Fetched> gap(Partition partition, Wanted& wanted, Offset found);

  io::FileSystem& files_;
  std::string folder_;
  Binding binding_;
  Id128 log_id_;
  std::size_t partitions_ = 0;
  std::unique_ptr<io::File> control_;
  std::unique_ptr<io::Signal> changes_;  // of `control_`
  std::uint32_t seen_ = 0;               // checksum of the control page that was read last
  std::map<Partition, Wanted> wanted_;
  std::optional<Place> place_;
  std::string buffer_;
  std::vector<Frame> frames_;
  std::deque<std::string> plain_;  // of the frame of the same place, if it is compressed
  std::size_t plain_total_ = 0;    // bytes of those in use
  std::size_t frame_count_ = 0;
};

}  // namespace flagstream::log

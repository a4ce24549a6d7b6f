#include "log/watermark.h"

#include <tuple>

namespace flagstream::log {

std::string watermark_path(const std::string& folder) { return folder + "/watermark"; }

bool is_newer(const ControlPage& a, const ControlPage& b) {
  const auto key = [](const ControlPage& page) {
    return std::tuple(page.last_sequence, page.durable_group, page.durable_end,
                      page.first_sequence);
  };
  return key(a) > key(b);
}

Result<Watermark> Watermark::open(io::FileSystem& files, const std::string& folder,
                                  std::size_t partitions) {
  FS_TRY(auto file, files.open(watermark_path(folder), io::OpenMode::Create));
  ControlPage empty;
  empty.partitions.resize(partitions);
  const std::size_t page_bytes = encode_control_page(empty).size();
  Watermark out(std::move(file), (page_bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
  std::string bytes(page_bytes, '\0');
  for (const std::uint64_t slot : {0, 1}) {
    const auto got = out.file_->read_from_disk(slot * out.slot_bytes_, bytes);
    if (!got) continue;  // as good as torn
    auto page = decode_control_page(std::string_view(bytes).substr(0, *got));
    if (!page || (out.page_ && !is_newer(*page, *out.page_))) continue;
    out.page_ = std::move(page);
    out.next_slot_ = 1 - slot;
  }
  return out;
}

Result<void> Watermark::write(const ControlPage& page) {
  const std::string bytes = encode_control_page(page);
  const std::string_view parts[] = {bytes};
  FS_TRY(file_->write_at(next_slot_ * slot_bytes_, parts));
  FS_TRY(file_->sync());
  next_slot_ = 1 - next_slot_;
  page_ = page;
  return {};
}

}  // namespace flagstream::log

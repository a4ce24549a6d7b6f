#include "log/caretaker.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/id.h"
#include "io/crash_point.h"
#include "log/local_reader.h"
#include "log/segment_search.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::string_view kSuspectSuffix = ".suspect";
constexpr std::size_t kSequenceDigits = 16;

std::string suspect_path(const std::string& folder, std::uint64_t sequence) {
  return fmt::format("{}/{:016x}{}", folder, sequence, kSuspectSuffix);
}

}  // namespace

void note_suspect(io::FileSystem& files, const std::string& folder, std::uint64_t sequence) {
  (void)files.open(suspect_path(folder, sequence), io::OpenMode::CreateNew);
}

Caretaker::Caretaker(std::string folder, std::size_t partitions, Quarantine& quarantine,
                     io::FileSystem& files, const Clock& clock)
    : folder_(std::move(folder)),
      partitions_(partitions),
      quarantine_(quarantine),
      files_(files),
      clock_(clock) {}

Result<void> Caretaker::keep_watermark() {
  FS_TRY(quarantine_.save());
  if (!watermark_) {
    FS_TRY(watermark_, Watermark::open(files_, folder_, partitions_));
  }
  FS_TRY(const ControlPage page, read_control_page(files_, folder_));
  if (watermark_->page() && !is_newer(page, *watermark_->page())) return {};
  auto written = watermark_->write(page);
  FS_CRASH_POINT("log.after_watermark");
  if (!written) watermark_.reset();  // nothing is written again through a descriptor that failed
  return written;
}

std::optional<std::uint64_t> Caretaker::next_suspect(const ControlPage& page) {
  const auto names = files_.list(folder_);
  if (!names) return std::nullopt;
  for (const std::string& name : *names) {
    if (!name.ends_with(kSuspectSuffix) || name.size() != kSequenceDigits + kSuspectSuffix.size())
      continue;
    const std::uint64_t sequence = std::strtoull(name.c_str(), nullptr, 16);
    const bool is_known = sequence < page.first_sequence || quarantine_.holds(sequence);
    if (!is_known && sequence < page.last_sequence) return sequence;
    // The last file is checked when it is sealed; the note stays until then.
    if (is_known) (void)files_.remove(folder_ + "/" + name);
  }
  return std::nullopt;
}

std::optional<Caretaker::Scrub> Caretaker::choose(bool only_suspects) {
  const auto page = read_control_page(files_, folder_);
  if (!page) return std::nullopt;
  if (const auto suspect = next_suspect(*page)) {
    auto scrub = begin(*suspect);
    if (scrub) scrub->is_suspect = true;
    if (!scrub) (void)files_.remove(suspect_path(folder_, *suspect));
    return scrub;
  }
  const std::uint64_t sealed = page->last_sequence - page->first_sequence;
  if (only_suspects || sealed == 0) return std::nullopt;
  if (!next_) next_ = page->first_sequence + Id128::random().low % sealed;
  if (*next_ < page->first_sequence || *next_ >= page->last_sequence) next_ = page->first_sequence;
  return begin((*next_)++);
}

std::optional<Caretaker::Scrub> Caretaker::begin(std::uint64_t sequence) {
  auto file = files_.open(segment_path(folder_, sequence), io::OpenMode::Read);
  auto header = file ? read_segment_header(files_, folder_, sequence, partitions_, **file)
                     : Result<SegmentHeader>(fail(file.error()));
  if (!header) {
    const ErrorKind kind = header.error().kind;
    if (kind != ErrorKind::DataLoss && kind != ErrorKind::NotFound) return std::nullopt;
    const auto page = read_control_page(files_, folder_);
    if (!page || page->first_sequence > sequence) return std::nullopt;  // retention was faster
    const auto size = file ? (*file)->size() : Result<std::uint64_t>(0);
    const DamagedRange all[] = {{.begin = 0, .end = std::max<std::uint64_t>(size.value_or(0), 1)}};
    quarantine_.add(sequence, all, clock_.now());
    (void)quarantine_.save();
    return std::nullopt;
  }
  const std::uint64_t header_bytes = segment_header_bytes(partitions_);
  std::string bytes(header_bytes, '\0');
  const auto got = (*file)->read_from_disk(0, bytes);
  const bool is_whole =
      got && decode_segment_header(std::string_view(bytes).substr(0, *got)).has_value();
  const std::uint64_t end = find_sealed_end(files_, folder_, *header).end.value_or(header_bytes);
  return Scrub{.sequence = sequence,
               .file = *std::move(file),
               .header_damage = is_whole ? 0 : header_bytes,
               .scan = SegmentScan(*std::move(header), SegmentScan::Kind::Sealed, end)};
}

std::uint64_t Caretaker::scrub(std::uint64_t bytes, bool only_suspects) {
  std::uint64_t done = 0;
  while (done < bytes) {
    if (!scrub_) scrub_ = choose(only_suspects);
    if (!scrub_) return done;
    const std::uint64_t before = scrub_->scan.position();
    const bool is_done = scrub_->scan.step(*scrub_->file, bytes - done);
    done += std::max<std::uint64_t>(scrub_->scan.position() - before, 1);
    if (!is_done) continue;
    finish(*scrub_);
    scrub_.reset();
  }
  return done;
}

void Caretaker::finish(const Scrub& scrub) {
  if (scrub.is_suspect) (void)files_.remove(suspect_path(folder_, scrub.sequence));
  const auto page = read_control_page(files_, folder_);
  // Retention has taken the file meanwhile, and what was read may be its next life.
  if (!page || page->first_sequence > scrub.sequence) return;
  std::vector<DamagedRange> damaged = scrub.scan.damaged();
  if (scrub.header_damage > 0) damaged.push_back({.begin = 0, .end = scrub.header_damage});
  quarantine_.add(scrub.sequence, damaged, clock_.now());
  (void)quarantine_.save();  // keep_watermark() tries again
  const auto after = read_segment_header(files_, folder_, scrub.sequence + 1, partitions_);
  if (!after || find_sealed_end(files_, folder_, scrub.scan.index().header()).index) return;
  SegmentIndex index = scrub.scan.index();
  std::vector<Offset> ends;
  for (const SegmentHeader::Partition& each : after->partitions) ends.push_back(each.end);
  index.seal(after->previous_end, std::move(ends));
  (void)write_index(files_, folder_, index);
}

}  // namespace flagstream::log

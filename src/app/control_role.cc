#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "app/roles.h"
#include "app/supervisor.h"
#include "app/surroundings.h"
#include "control/control.h"
#include "lake/delta_table.h"
#include "lake/lake_marks.h"
#include "lake/sql_query.h"

namespace flagstream::app {
namespace {

constexpr std::string_view kEventsTable = "/events";

// How far the lake reaches, as its table's own log says.
class LakeProgress {
 public:
  LakeProgress(io::FileSystem& files, std::string folder, log::Log& log)
      : files_(files), folder_(std::move(folder)), log_(log) {}

  Result<control::LakeStatus> operator()() {
    FS_TRY(last_, lake::read_status(files_, folder_, last_));
    control::LakeStatus status{.version = last_.version,
                               .committed_at = last_.committed_at * kMicrosPerMilli};
    const auto topic = log_.info("events");
    if (!topic) return status;  // nothing was ever processed
    const lake::MarkScope scope{.log_id = topic->log_id};
    for (log::Partition partition = 0; partition < topic->partitions.size(); ++partition) {
      const auto mark = last_.marks.find(lake::position_app_id(scope, partition));
      if (mark != last_.marks.end()) {
        status.next_offsets[partition] = static_cast<log::Offset>(mark->second.version);
      }
    }
    return status;
  }

 private:
  io::FileSystem& files_;
  const std::string folder_;
  log::Log& log_;
  lake::TableStatus last_;
};

// The built pages: where the setting says, else beside this executable: in an installation's
// share/flagstream/ui, or in the source tree that it was built in.
std::string web_folder(const Config& config, io::FileSystem& files) {
  if (!config.web_folder.empty()) return config.web_folder;
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const char* below : {"../share/flagstream/ui", "../../../../web/dist"}) {
    const std::string candidate = (folder / below).lexically_normal().string();
    if (files.exists(candidate + "/index.html")) return candidate;
  }
  return (folder / "../share/flagstream/ui").lexically_normal().string();
}

control::Settings control_settings(Surroundings& around, const ServeOptions& options,
                                   LakeProgress& lake_progress) {
  control::Settings settings;
  settings.socket_path = around.folder.control_socket();
  settings.catalog_path = around.folder.catalog();
  settings.results_path = around.folder.results();
  settings.web_folder = web_folder(around.config, around.files);
  settings.admin_token_path = around.folder.run() + "/admin-token";
  settings.gateway_socket = around.folder.run() + "/gateway-status.sock";
  settings.demo = options.demo;
  settings.sql = [folder = around.folder.lake()](const std::string& sql) {
    lake::SqlSettings settings;
    settings.folder = folder + std::string(kEventsTable);
    return lake::query(settings, sql);
  };
  settings.lake = [&lake_progress] { return lake_progress(); };
  return settings;
}

}  // namespace

int run_control(const ServeOptions& options) {
  Surroundings around(options, "control");
  LakeProgress lake_progress(around.files, around.folder.lake() + std::string(kEventsTable),
                             *around.log);
  auto control = control::Control::start(control_settings(around, options, lake_progress),
                                         *around.log, around.files, around.clock, around.registry);
  if (!control) return report(control.error());
  control::Control& running = **control;
  auto status =
      around.serve_status("control", {.is_ready = [&running] { return running.is_ready(); },
                                      .status = [&running] { return running.status(); }});
  if (!status) return report(status.error());
  tell_supervisor_ready(running.announcement());
  around.wait([](const Config&) {});
  running.stop(kPatience);
  (*status)->stop(kPatience);
  return 0;
}

}  // namespace flagstream::app

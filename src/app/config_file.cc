#include "app/config_file.h"

#include <fmt/format.h>
#include <unistd.h>

#define TOML_EXCEPTIONS 0  // header-only: the packaged library throws
#include <toml++/toml.h>

namespace flagstream::app {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

Result<void> flatten(const toml::table& table, const std::string& prefix, Entries& out) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    if (const auto* nested = node.as_table()) {
      FS_TRY(flatten(*nested, key + ".", out));
    } else if (const auto text = node.value_exact<std::string>()) {
      out.emplace_back(key, *text);
    } else if (const auto number = node.value_exact<std::int64_t>()) {
      out.emplace_back(key, std::to_string(*number));
    } else if (const auto truth = node.value_exact<bool>()) {
      out.emplace_back(key, *truth ? "true" : "false");
    } else {
      return fail(ErrorKind::InvalidArgument,
                  key + ": only text, whole numbers and true or false are values");
    }
  }
  return {};
}

}  // namespace

Result<Entries> read_config_file(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) return fail(error_from_errno(errno, path));
  const toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    const auto& error = parsed.error();
    return fail(ErrorKind::InvalidArgument,
                fmt::format("{}:{}:{}: {}", path, error.source().begin.line,
                            error.source().begin.column, error.description()));
  }
  Entries out;
  FS_TRY(flatten(parsed.table(), "", out));
  return out;
}

}  // namespace flagstream::app

#include "lake/duckdb_library.h"

#include <filesystem>
#include <mutex>
#include <optional>
#include <vector>

#include <dlfcn.h>

namespace flagstream::lake {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> candidates(const std::string& path) {
  if (!path.empty()) return {path};
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  std::vector<fs::path> found;
  if (error) return found;
  const fs::path folder = executable.parent_path();
  found.push_back(folder / "libduckdb.so");
  found.push_back(folder.parent_path() / "lib" / "flagstream" / "libduckdb.so");
  // A build folder keeps it in deps/, some levels above the binaries.
  for (fs::path up = folder; up.has_relative_path(); up = up.parent_path()) {
    found.push_back(up / "deps" / "duckdb-1.4.4" / "libduckdb.so");
  }
  return found;
}

template <class Function>
bool resolve(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

Result<const DuckDb*> load(const fs::path& file) {
  // RTLD_LAZY: the library has 53,000 symbols of which a few dozen are called.
  void* library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr)
    return fail(ErrorKind::NotFound, std::string("load DuckDB: ") + dlerror());
  static DuckDb duckdb;
  const char* missing = nullptr;
#define FS_DUCKDB_RESOLVE(name) \
  if (!resolve(library, #name, duckdb.name)) missing = #name;
  FS_DUCKDB_FUNCTIONS(FS_DUCKDB_RESOLVE)
#undef FS_DUCKDB_RESOLVE
  if (missing != nullptr) {
    return fail(ErrorKind::InvalidArgument, file.string() + " lacks " + missing);
  }
  const std::string version = duckdb.duckdb_library_version();
  if (version != kDuckDbVersion) {
    return fail(ErrorKind::InvalidArgument, file.string() + " is DuckDB " + version +
                                                ", but this program needs " + kDuckDbVersion);
  }
  return &duckdb;
}

}  // namespace

Result<const DuckDb*> load_duckdb(const std::string& path) {
  static std::mutex mutex;
  static const DuckDb* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded != nullptr) return loaded;
  for (const fs::path& file : candidates(path)) {
    std::error_code ignored;
    if (!fs::exists(file, ignored)) continue;
    FS_TRY(loaded, load(file));
    return loaded;
  }
  return fail(ErrorKind::NotFound, "libduckdb.so was not found" +
                                       (path.empty() ? std::string() : " at " + path) +
                                       "; run tools/fetch_duckdb, or put it beside the program");
}

}  // namespace flagstream::lake

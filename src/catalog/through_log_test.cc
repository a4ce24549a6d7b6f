// From an edit to what SDKs get: catalog, publisher, the local log and the gateway's reading side,
// all real.
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>

#include <gtest/gtest.h>

#include "catalog/flag_json.h"
#include "catalog/publisher.h"
#include "environment/environments.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::catalog {
namespace {

namespace fs = std::filesystem;
using environment::CredentialKind;
using environment::Environments;

class ThroughLogTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("flagstream-through-log-" + random_hex(16));
    fs::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ / "log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
    start_control();
    start_gateway();
  }
  void TearDown() override {
    environments_.reset();
    publisher_.reset();
    catalog_.reset();
    log_.reset();
    fs::remove_all(folder_);
  }

  void start_control(PublisherSettings settings = {}) {
    publisher_.reset();
    catalog_.emplace(*Catalog::open(folder_ / "catalog.db", clock_));
    auto publisher =
        Publisher::open(*Catalog::open(folder_ / "catalog.db", clock_), *log_, registry_, settings);
    ASSERT_TRUE(publisher) << publisher.error().what;
    publisher_ = *std::move(publisher);
    const auto recovered = publisher_->recover();
    ASSERT_TRUE(recovered) << recovered.error().what;
  }
  // With the last state on disk, or without.
  void start_gateway() {
    environments_.reset();
    auto started = Environments::start({.state_path = folder_ / "gateway-state"}, *log_,
                                       io::posix_file_system(), clock_, registry_);
    ASSERT_TRUE(started) << started.error().what;
    environments_ = *std::move(started);
  }

  void publish() {
    const auto published = publisher_->publish();
    ASSERT_TRUE(published) << published.error().what;
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<void>> answer;
    environments_->read_to_end([&](Result<void> result) {
      const std::lock_guard lock(mutex);
      answer = std::move(result);
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answer.has_value(); });
    ASSERT_TRUE(*answer) << answer->error().what;
  }

  void turn_on(const std::string& key) {
    json::Object body;
    body["kind"] = "turnFlagOn";
    SemanticPatch patch;
    patch.instructions.push_back({"production", body});
    const auto edited = catalog_->edit_flag("shop", key, patch, actor_);
    ASSERT_TRUE(edited) << edited.error().what;
  }

  // The gateway serves every environment exactly as the catalog holds it.
  void expect_gateway_equals_catalog() {
    const auto project = catalog_->project("shop");
    ASSERT_TRUE(project);
    const auto flags = catalog_->flags(*project);
    const auto environments = catalog_->environments(project->id);
    ASSERT_TRUE(flags && environments);
    for (const Environment& each : *environments) {
      for (const auto& [kind, credential] : {std::pair{CredentialKind::SdkKey, each.sdk_key},
                                             {CredentialKind::MobileKey, each.mobile_key},
                                             {CredentialKind::ClientSideId, each.client_side_id}}) {
        EXPECT_EQ(environments_->find(kind, credential), each.id);
      }
      const auto served = environments_->flag_set(each.id);
      ASSERT_NE(served, nullptr);
      EXPECT_EQ(served->revision, static_cast<std::uint64_t>(each.revision));
      std::map<std::string, std::string> wanted, found;
      for (const Flag& flag : *flags)
        wanted[flag.key] = sdk_flag(flag, flag.environments.at(each.key));
      for (const auto& [key, item] : served->flags) {
        if (item.json != nullptr) found[key] = *item.json;
      }
      EXPECT_EQ(found, wanted) << each.key;
    }
  }

  fs::path folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  Actor actor_{"tester"};
  std::unique_ptr<log::Log> log_;
  std::optional<Catalog> catalog_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<Environments> environments_;
};

TEST_F(ThroughLogTest, TheGatewayServesWhatWasEdited) {
  ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "a", .name = "A"}, actor_));
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "gone", .name = "B"}, actor_));
  publish();
  expect_gateway_equals_catalog();
  turn_on("a");
  ASSERT_TRUE(catalog_->delete_flag("shop", "gone", actor_));
  ASSERT_TRUE(catalog_->create_environment("shop", {.key = "staging", .name = "Staging"}, actor_));
  publish();
  expect_gateway_equals_catalog();
}

TEST_F(ThroughLogTest, ARestartOfEitherSideGoesOnWhereItWas) {
  ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "a", .name = "A"}, actor_));
  publish();
  turn_on("a");
  start_control();  // killed before it published
  start_gateway();
  publish();
  expect_gateway_equals_catalog();
}

TEST_F(ThroughLogTest, AGatewayThatStartsAtACopyServesTheSame) {
  start_control({.copy_after_bytes = 1'000});
  ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        catalog_->create_flag("shop", {.key = "f" + std::to_string(i), .name = "F"}, actor_));
    publish();
  }
  expect_gateway_equals_catalog();
  environments_.reset();
  fs::remove(folder_ / "gateway-state");
  start_gateway();
  publish();
  expect_gateway_equals_catalog();
}

TEST_F(ThroughLogTest, ARestoredBackupReachesTheGateway) {
  ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "a", .name = "A"}, actor_));
  publish();
  ASSERT_TRUE(catalog_->database().exec("VACUUM INTO '" + (folder_ / "backup.db").string() + "'"));
  turn_on("a");
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "later", .name = "L"}, actor_));
  publish();
  publisher_.reset();
  catalog_.reset();
  for (const char* suffix : {"", "-wal", "-shm"})
    fs::remove((folder_ / "catalog.db").string() + suffix);
  fs::copy_file(folder_ / "backup.db", folder_ / "catalog.db");
  start_control();
  publish();
  expect_gateway_equals_catalog();
}

TEST_F(ThroughLogTest, AnOlderDatabaseClosesTheEnvironmentsThatItDoesNotKnow) {
  ASSERT_TRUE(catalog_->create_project({.key = "kept", .name = "Kept"}, actor_));
  publish();
  const auto kept = catalog_->environments(catalog_->project("kept")->id);
  ASSERT_TRUE(kept);
  const std::string backup = (folder_ / "backup.db").string();
  ASSERT_TRUE(catalog_->database().exec("VACUUM INTO '" + backup + "'"));
  ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  publish();
  const auto environments = catalog_->environments(catalog_->project("shop")->id);
  ASSERT_TRUE(environments);
  publisher_.reset();
  catalog_.reset();
  for (const char* suffix : {"", "-wal", "-shm"})
    fs::remove((folder_ / "catalog.db").string() + suffix);
  fs::copy_file(backup, folder_ / "catalog.db");
  start_control();
  publish();
  for (const Environment& each : *kept) {
    EXPECT_EQ(environments_->find(CredentialKind::SdkKey, each.sdk_key), each.id);
  }
  for (const Environment& each : *environments) {
    EXPECT_EQ(environments_->find(CredentialKind::SdkKey, each.sdk_key), std::nullopt);
  }
}

}  // namespace
}  // namespace flagstream::catalog

#include "app/config_import.h"

#include <filesystem>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "app/client_commands.h"
#include "base/hash.h"
#include "environment/config_record.h"
#include "environment/fold.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::app {
namespace {

namespace proto = environment::proto;

class ConfigImportTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "config_import_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // The exit status; what it wrote is in out_ and err_.
  int import(const std::string& document, ImportOptions options = {}) {
    options.file = folder_ + "/flags.json";
    options.log_folder = folder_ + "/log";
    EXPECT_TRUE(io::posix_file_system().replace_file(options.file, document));
    out_.str("");
    err_.str("");
    return config_import(options, out_, err_);
  }
  environment::EnvironmentState state() {
    const SystemClock clock;
    telemetry::Registry registry;
    const auto log = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1u << 20, .pool_segments = 0},
        io::posix_file_system(), clock, registry);
    const log::Start start{.partition = 0, .offset = 0};
    const auto reader = *log->open_reader("config", {}, std::span(&start, 1));
    environment::ConfigFold fold;
    for (;;) {
      const auto fetched = *reader->next(1 << 20, std::chrono::milliseconds(0));
      if (fetched.status != log::Fetched::Status::Frames) return fold.environments().at(1);
      for (const log::Frame& frame : fetched.frames) {
        for (const std::string_view record : frame.records) EXPECT_TRUE(fold.take(record));
      }
    }
  }
  proto::Environment keys() {
    return *environment::decode_environment(
        state().items.at({proto::Item::ENVIRONMENT, "production"}).document());
  }

  std::string folder_;
  std::ostringstream out_;
  std::ostringstream err_;
};

constexpr char kOneFlag[] = R"({"flags":{"a":{"key":"a","version":3}},"segments":{}})";

TEST_F(ConfigImportTest, TheFirstOneMakesAnSdkKeyAndPrintsIt) {
  ASSERT_EQ(import(kOneFlag), kExitDone) << err_.str();
  const std::string out = out_.str();
  ASSERT_TRUE(out.starts_with("2 changes\nSDK key sdk-")) << out;
  const std::string key = out.substr(18, out.size() - 19);
  ASSERT_EQ(keys().credentials_size(), 1);
  EXPECT_EQ(keys().credentials(0).sha256(), sha256(key));
  ASSERT_EQ(import(kOneFlag), kExitDone);
  EXPECT_EQ(out_.str(), "0 changes\n");
}

TEST_F(ConfigImportTest, WhatIsGivenReplacesItsKindAndTheRestStays) {
  ASSERT_EQ(import(kOneFlag, {.file = {},
                              .log_folder = {},
                              .sdk_key = "sdk-1",
                              .mobile_key = "mob-1",
                              .client_side_id = "id-1"}),
            kExitDone);
  EXPECT_EQ(out_.str(), "2 changes\nSDK key sdk-1\nmobile key mob-1\nclient-side id id-1\n");
  ImportOptions mobile;
  mobile.mobile_key = "mob-2";
  ASSERT_EQ(import(kOneFlag, mobile), kExitDone);
  EXPECT_EQ(out_.str(), "1 changes\nmobile key mob-2\n");
  ImportOptions id;
  id.client_side_id = "id-2";
  ASSERT_EQ(import(kOneFlag, id), kExitDone);
  EXPECT_EQ(out_.str(), "1 changes\nclient-side id id-2\n");
  ImportOptions sdk;
  sdk.sdk_key = "sdk-2";
  ASSERT_EQ(import(kOneFlag, sdk), kExitDone);
  EXPECT_EQ(out_.str(), "1 changes\nSDK key sdk-2\n");
  ASSERT_EQ(import(kOneFlag, sdk), kExitDone);
  EXPECT_EQ(out_.str(), "0 changes\n") << "the same again is no change";
  const auto all = keys();
  EXPECT_EQ(all.client_side_id(), "id-2");
  ASSERT_EQ(all.credentials_size(), 2);
  EXPECT_EQ(all.credentials(0).kind(), proto::Credential::MOBILE_KEY);
  EXPECT_EQ(all.credentials(0).sha256(), sha256("mob-2"));
  EXPECT_EQ(all.credentials(1).kind(), proto::Credential::SDK_KEY);
  EXPECT_EQ(all.credentials(1).sha256(), sha256("sdk-2"));
  EXPECT_EQ(all.project_key(), "default");
}

TEST_F(ConfigImportTest, VersionsOnlyRiseAndWhatIsMissingIsDeleted) {
  ASSERT_EQ(import(kOneFlag), kExitDone);
  ASSERT_EQ(import(R"({"flags":{"a":{"key":"a","version":1,"on":true}},"segments":{}})"),
            kExitDone);
  EXPECT_EQ(state().items.at({proto::Item::FLAG, "a"}).version(), 4);
  ASSERT_EQ(import(R"({"flags":{},"segments":{}})"), kExitDone);
  EXPECT_TRUE(state().items.at({proto::Item::FLAG, "a"}).deleted());
  EXPECT_EQ(state().items.at({proto::Item::FLAG, "a"}).version(), 5);
  ASSERT_EQ(import(kOneFlag), kExitDone);
  EXPECT_EQ(state().items.at({proto::Item::FLAG, "a"}).version(), 6);
}

TEST_F(ConfigImportTest, AKeyThatIsNoneIsRefusedAndNothingIsWritten) {
  ASSERT_EQ(import(kOneFlag), kExitDone);
  for (const std::string key : {"", "a b", "a/b", "a\\\"b", "\xc3\xa9", "a\\n"}) {
    EXPECT_EQ(import("{\"flags\":{\"b\":{},\"" + key + "\":{}},\"segments\":{}}"), kExitUsage)
        << key;
    EXPECT_NE(err_.str().find(" is no key: "), std::string::npos) << err_.str();
  }
  EXPECT_EQ(import("{\"flags\":{},\"segments\":{\"" + std::string(257, 'k') + "\":{}}}"),
            kExitUsage);
  EXPECT_FALSE(state().items.contains({proto::Item::FLAG, "b"}));
}

TEST_F(ConfigImportTest, AFileOfAnotherShapeIsAUsageError) {
  for (const char* document :
       {"", "[]", "{}", R"({"flags":[],"segments":{}})", R"({"flags":{"a":1},"segments":{}})"})
    EXPECT_EQ(import(document), kExitUsage) << document;
}

TEST_F(ConfigImportTest, SecureModeStaysAsItWasSet) {
  ImportOptions options;
  options.sdk_key = "sdk-1";
  options.secure_mode = true;
  ASSERT_EQ(import(kOneFlag, options), kExitDone);
  EXPECT_TRUE(keys().secure_mode());
  EXPECT_EQ(keys().credentials(0).hmac_state(), hmac_sha256_state("sdk-1"));
  ASSERT_EQ(import(kOneFlag), kExitDone);
  EXPECT_EQ(out_.str(), "0 changes\n");
  EXPECT_TRUE(keys().secure_mode());
  options.secure_mode = false;
  ASSERT_EQ(import(kOneFlag, options), kExitDone);
  EXPECT_EQ(out_.str(), "1 changes\n");
  EXPECT_FALSE(keys().secure_mode());
}

}  // namespace
}  // namespace flagstream::app

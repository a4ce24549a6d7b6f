#include "environment/config_record.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "environment/test_records.h"

namespace flagstream::environment {
namespace {

using namespace testing_records;

std::string golden(const std::string& name) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The worked example of docs/formats/config-record.md.
proto::Record example() {
  proto::Record record;
  record.set_newest_copy(300);
  proto::Item& item = *record.mutable_item();
  item.set_project_id(1);
  item.set_environment_id(7);
  item.set_revision(42);
  item.set_kind(proto::Item::FLAG);
  item.set_key("new-nav");
  item.set_version(5);
  item.set_document(R"({"key":"new-nav","version":5})");
  return record;
}

TEST(ConfigRecord, MatchesTheGoldenBytesInTheFormatDocument) {
  const std::string bytes = golden("config.bin");
  ASSERT_EQ(bytes.size(), 57u);
  EXPECT_EQ(*encode_config_record(example()), bytes);
  const auto decoded = decode_config_record(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->newest_copy(), 300u);
  EXPECT_EQ(decoded->item().key(), "new-nav");
  EXPECT_EQ(decoded->item().document(), R"({"key":"new-nav","version":5})");
}

TEST(ConfigRecord, EveryTruncationIsRefusedOrAnotherWholeRecord) {
  const std::string bytes = golden("config.bin");
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_config_record(std::string_view(bytes).substr(0, n))) << n;
}

TEST(ConfigRecord, KindsAndVersionsOfOtherReleases) {
  const std::string bytes = golden("config.bin");
  const auto with = [&](std::size_t at, char value) {
    std::string changed = bytes;
    changed[at] = value;
    return decode_config_record(changed).error();
  };
  EXPECT_EQ(with(0, 99).kind, ErrorKind::NotFound);
  EXPECT_EQ(with(1, 0).kind, ErrorKind::DataLoss);
  EXPECT_EQ(with(1, 2).kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(with(1, 2).what,
            "config record: version 2 was written by a newer release; this one reads up to 1");
  EXPECT_EQ(decode_config_record(std::string("\x05\x01\xfa\x01\x00", 5)).error().kind,
            ErrorKind::NotFound)
      << "contents that only a newer release knows";
}

TEST(ConfigRecord, AnUnknownFieldAndAnUnknownKindOfItemAreKept) {
  const std::string bytes = golden("config.bin") + std::string("\xfa\x01\x02hi", 5);
  const auto decoded = decode_config_record(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*encode_config_record(*decoded), bytes);
  proto::Record record = example();
  record.mutable_item()->set_kind(static_cast<proto::Item::Kind>(9));
  record.mutable_item()->set_key("any \"thing\"");
  EXPECT_TRUE(decode_config_record(*encode_config_record(record)));
}

TEST(ConfigRecord, AFaultyItemIsNeitherWrittenNorRead) {
  const auto refused = [](void (*spoil)(proto::Item&)) {
    proto::Record record = example();
    spoil(*record.mutable_item());
    const auto written = encode_config_record(record);
    const auto read = decode_config_record(std::string("\x05\x01") + record.SerializeAsString());
    EXPECT_EQ(written.has_value(), read.has_value());
    return !written && written.error().kind == ErrorKind::InvalidArgument && !read &&
           read.error().kind == ErrorKind::DataLoss;
  };
  EXPECT_TRUE(refused([](auto& item) { item.clear_environment_id(); }));
  EXPECT_TRUE(refused([](auto& item) { item.clear_revision(); }));
  EXPECT_TRUE(refused([](auto& item) { item.set_version(-1); }));
  EXPECT_TRUE(refused([](auto& item) { item.clear_key(); }));
  EXPECT_TRUE(refused([](auto& item) { item.clear_document(); }));
  EXPECT_TRUE(refused([](auto& item) { item.set_deleted(true); }));
  EXPECT_TRUE(refused([](auto& item) { item.set_copy_id(0); }));
  EXPECT_TRUE(refused([](auto& item) { item.set_key("a\",\"b"); }));
  EXPECT_TRUE(refused([](auto& item) { item.set_document("{}\n\nevent: put"); }));
  EXPECT_TRUE(refused(
      [](auto& item) { item.set_document(std::string(kConfigDocumentBytesMax + 1, 'x')); }));
  EXPECT_FALSE(
      refused([](auto& item) { item.set_document(std::string(kConfigDocumentBytesMax, 'x')); }));
}

TEST(ConfigRecord, KeysAreThoseOfLaunchDarkly) {
  EXPECT_TRUE(is_item_key("aZ09._-"));
  EXPECT_TRUE(is_item_key(std::string(256, 'k')));
  EXPECT_FALSE(is_item_key(std::string(257, 'k')));
  for (const char* key : {"", "a b", "a/b", "a\"", "a\\", "a\n", "\xc3\xa9", "a%"})
    EXPECT_FALSE(is_item_key(key)) << key;
}

TEST(ConfigRecord, AnEnvironmentNeedsAKeyAndWholeHashes) {
  proto::Environment environment;
  EXPECT_EQ(encode_environment(environment).error().kind, ErrorKind::InvalidArgument);
  environment.set_key("production");
  EXPECT_TRUE(encode_environment(environment));
  auto* credential = environment.add_credentials();
  credential->set_kind(proto::Credential::SDK_KEY);
  credential->set_sha256("short");
  EXPECT_EQ(encode_environment(environment).error().kind, ErrorKind::InvalidArgument);
  credential->set_sha256(sha256("sdk-1"));
  EXPECT_TRUE(encode_environment(environment));
  credential->clear_kind();
  EXPECT_EQ(encode_environment(environment).error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(decode_environment("\x0a\x7f").error().kind, ErrorKind::DataLoss);
}

TEST(ConfigRecord, AnSdkKeyLeavesWhatChecksItsHashes) {
  // The example of the format document, computed by an independent SHA-256.
  const std::string state =
      "3c29aec14e45942a5535a541a2fa7ca1d7ae528a18a23bbec4e68d8f001582ef"
      "e11bd484ba47435e7531a9ee8cac76d4668cb764fcdfebd905ce49dd0fc862dc";
  const proto::Credential credential = credential_of(proto::Credential::SDK_KEY, "sdk-key-1");
  EXPECT_EQ(credential.sha256(), sha256("sdk-key-1"));
  ASSERT_EQ(credential.hmac_state().size(), 64u);
  for (std::size_t i = 0; i < 64; ++i)
    ASSERT_EQ(static_cast<unsigned char>(credential.hmac_state()[i]),
              std::stoi(state.substr(2 * i, 2), nullptr, 16))
        << i;
  EXPECT_EQ(credential_of(proto::Credential::MOBILE_KEY, "mob-1").hmac_state(), "");
  proto::Environment environment;
  environment.set_key("production");
  *environment.add_credentials() = credential;
  EXPECT_TRUE(encode_environment(environment));
  environment.mutable_credentials(0)->mutable_hmac_state()->pop_back();
  EXPECT_EQ(encode_environment(environment).error().kind, ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace flagstream::environment

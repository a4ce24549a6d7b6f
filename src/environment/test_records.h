// Records for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "environment/config_record.h"

namespace flagstream::environment::testing_records {

inline std::string record_of(const proto::Record& record) {
  const auto encoded = encode_config_record(record);
  EXPECT_TRUE(encoded);
  return *encoded;
}

inline proto::Item flag(std::uint64_t revision, const std::string& key, std::int64_t version) {
  proto::Item item;
  item.set_project_id(1);
  item.set_environment_id(7);
  item.set_revision(revision);
  item.set_kind(proto::Item::FLAG);
  item.set_key(key);
  item.set_version(version);
  item.set_document(R"({"key":")" + key + R"(","version":)" + std::to_string(version) + "}");
  return item;
}

inline proto::Item deleted(proto::Item item) {
  item.set_deleted(true);
  item.clear_document();
  return item;
}

inline proto::Item environment_item(std::uint64_t revision) {
  proto::Environment document;
  document.set_project_key("p");
  document.set_key("production");
  document.set_client_side_id("client-7");
  auto* credential = document.add_credentials();
  credential->set_kind(proto::Credential::SDK_KEY);
  credential->set_sha256(sha256("sdk-7"));
  proto::Item item = flag(revision, "production", 1);
  item.set_kind(proto::Item::ENVIRONMENT);
  item.set_document(*encode_environment(document));
  return item;
}

inline std::string change(proto::Item item) {
  proto::Record record;
  *record.mutable_item() = std::move(item);
  return record_of(record);
}

inline std::vector<std::string> copy(std::uint64_t id, std::uint64_t revision,
                                     std::vector<proto::Item> items, bool with_end) {
  std::vector<std::string> out;
  proto::Record begin;
  begin.mutable_copy_begin()->set_copy_id(id);
  auto* of = begin.mutable_copy_begin()->add_revisions();
  of->set_environment_id(7);
  of->set_revision(revision);
  out.push_back(record_of(begin));
  for (proto::Item& item : items) {
    item.set_copy_id(id);
    item.set_revision(revision);
    out.push_back(change(std::move(item)));
  }
  if (!with_end) return out;
  proto::Record end;
  end.mutable_copy_end()->set_copy_id(id);
  out.push_back(record_of(end));
  return out;
}

}  // namespace flagstream::environment::testing_records

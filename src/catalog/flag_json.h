// The JSON texts of the catalog: what its tables hold, and what goes to SDKs through the topic
// `config`. Both layouts: docs/formats/catalog-db.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "catalog/json_fields.h"
#include "catalog/model.h"

namespace flagstream::catalog {

// The part of a flag that belongs to its project, for `flags.document`.
std::string stored_flag(const Flag& flag);
Result<Flag> read_stored_flag(std::string_view text);

// For `flag_configs.document`.
std::string stored_config(const FlagConfig& config);
Result<FlagConfig> read_stored_config(std::string_view text);

std::string stored_tags(const std::vector<std::string>& tags);
Result<std::vector<std::string>> read_stored_tags(std::string_view text);

// For `environments.expiring_keys`.
std::string stored_keys(const std::vector<ExpiringKey>& keys);
Result<std::vector<ExpiringKey>> read_stored_keys(std::string_view text);

// The flag as SDKs get it in that environment: every array and boolean member always present, no
// nulls.
std::string sdk_flag(const Flag& flag, const FlagConfig& config);

// {"usingMobileKey":..,"usingEnvironmentId":..}
std::string client_side_json(const ClientSideAvailability& client_side);

// Adds targets, contextTargets, rules, fallthrough, offVariation, prerequisites, trackEvents and
// trackEventsFallthrough in the shape of the REST API.
void add_rest_targeting(ObjectText& out, const FlagConfig& config);

}  // namespace flagstream::catalog

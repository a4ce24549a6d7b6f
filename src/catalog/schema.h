// Tables of the catalog database, data/catalog.db: docs/formats/catalog-db.md.
#pragma once

#include <span>
#include <string_view>

namespace flagstream::catalog {

// Steps for sql::Database::migrate().  Released steps are never edited; a change is a new step.
std::span<const std::string_view> schema_migrations();

}  // namespace flagstream::catalog

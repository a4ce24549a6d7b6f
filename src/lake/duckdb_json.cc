#include "lake/duckdb_json.h"

#include <chrono>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "json/json.h"

namespace flagstream::lake {
namespace {

using Int128 = __int128;
using Uint128 = unsigned __int128;

constexpr std::int64_t kExactInDouble = 1ll << 53;
constexpr std::int64_t kMicrosPerSecond = 1'000'000;

template <class T>
const T& element(void* data, idx_t row) {
  return static_cast<const T*>(data)[row];
}

std::string_view text_of(const duckdb_string_t& value) {
  constexpr std::uint32_t kInlineBytes = 12;
  const std::uint32_t size = value.value.inlined.length;
  return {size <= kInlineBytes ? value.value.inlined.inlined : value.value.pointer.ptr, size};
}

Int128 wide(const duckdb_hugeint& value) {
  return static_cast<Int128>((static_cast<Uint128>(static_cast<std::uint64_t>(value.upper)) << 64) |
                             value.lower);
}

std::string digits(Uint128 value) {
  std::string reversed;
  do {
    reversed += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  return {reversed.rbegin(), reversed.rend()};
}

void append_integer(bool negative, Uint128 magnitude, std::string& out) {
  const std::string text = (negative ? "-" : "") + digits(magnitude);
  if (magnitude <= static_cast<Uint128>(kExactInDouble)) {
    out += text;
  } else {
    json::append_quoted(out, text);
  }
}

void append_signed(Int128 value, std::string& out) {
  append_integer(value < 0, value < 0 ? -static_cast<Uint128>(value) : static_cast<Uint128>(value),
                 out);
}

void append_decimal(Int128 value, std::uint32_t scale, std::string& out) {
  std::string text = digits(value < 0 ? -static_cast<Uint128>(value) : static_cast<Uint128>(value));
  if (scale > 0) {
    if (text.size() <= scale) text.insert(0, scale + 1 - text.size(), '0');
    text.insert(text.size() - scale, ".");
  }
  json::append_quoted(out, (value < 0 ? "-" : "") + text);
}

template <class T>
void append_floating(T value, std::string& out) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    json::append_quoted(out, fmt::format("{}", value));
  }
}

std::string date_text(std::int64_t days) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::string time_text(std::int64_t micros) {
  const std::int64_t seconds = micros / kMicrosPerSecond;
  std::string text =
      fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  if (const std::int64_t fraction = micros % kMicrosPerSecond; fraction != 0)
    text += fmt::format(".{:06}", fraction);
  return text;
}

void append_timestamp(std::int64_t micros, std::string_view zone, std::string& out) {
  // DuckDB's infinities are the two ends of the range.
  if (micros == INT64_MAX || micros == -INT64_MAX)
    return json::append_quoted(out, micros > 0 ? "infinity" : "-infinity");
  constexpr std::int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
  const std::int64_t days = micros / kMicrosPerDay - (micros % kMicrosPerDay < 0 ? 1 : 0);
  json::append_quoted(
      out, fmt::format("{}T{}{}", date_text(days), time_text(micros - days * kMicrosPerDay), zone));
}

std::string uuid_text(const duckdb_hugeint& value) {
  // Stored with its top bit flipped, so that it sorts as its text does.
  const std::uint64_t high = static_cast<std::uint64_t>(value.upper) ^ (1ull << 63);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff,
                     high & 0xffff, value.lower >> 48, value.lower & 0xffff'ffff'ffff);
}

class Writer {
 public:
  Writer(const DuckDb& duckdb, std::string& out) : duckdb_(duckdb), out_(out) {}

  void value(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    const std::uint64_t* validity = duckdb_.duckdb_vector_get_validity(vector);
    if (validity != nullptr && (validity[row / 64] >> (row % 64) & 1) == 0) {
      out_ += "null";
    } else if (!scalar(vector, type, row) && !time(vector, type, row) &&
               !nested(vector, type, row)) {
      json::append_quoted(out_, "(cast this column to VARCHAR)");
    }
  }

 private:
  bool scalar(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    void* data = duckdb_.duckdb_vector_get_data(vector);
    switch (duckdb_.duckdb_get_type_id(type)) {
      case DUCKDB_TYPE_BOOLEAN:
        out_ += element<bool>(data, row) ? "true" : "false";
        return true;
      case DUCKDB_TYPE_VARCHAR:
        json::append_quoted(out_, text_of(element<duckdb_string_t>(data, row)));
        return true;
      case DUCKDB_TYPE_FLOAT:
        append_floating(element<float>(data, row), out_);
        return true;
      case DUCKDB_TYPE_DOUBLE:
        append_floating(element<double>(data, row), out_);
        return true;
      case DUCKDB_TYPE_UTINYINT:
        append_signed(element<std::uint8_t>(data, row), out_);
        return true;
      case DUCKDB_TYPE_USMALLINT:
        append_signed(element<std::uint16_t>(data, row), out_);
        return true;
      case DUCKDB_TYPE_UINTEGER:
        append_signed(element<std::uint32_t>(data, row), out_);
        return true;
      case DUCKDB_TYPE_UBIGINT:
        append_signed(element<std::uint64_t>(data, row), out_);
        return true;
      case DUCKDB_TYPE_UHUGEINT: {
        const auto& whole = element<duckdb_uhugeint>(data, row);
        append_integer(false, (static_cast<Uint128>(whole.upper) << 64) | whole.lower, out_);
        return true;
      }
      case DUCKDB_TYPE_TINYINT:
      case DUCKDB_TYPE_SMALLINT:
      case DUCKDB_TYPE_INTEGER:
      case DUCKDB_TYPE_BIGINT:
      case DUCKDB_TYPE_HUGEINT:
        append_signed(integer(data, duckdb_.duckdb_get_type_id(type), row), out_);
        return true;
      case DUCKDB_TYPE_DECIMAL:
        append_decimal(integer(data, duckdb_.duckdb_decimal_internal_type(type), row),
                       duckdb_.duckdb_decimal_scale(type), out_);
        return true;
      case DUCKDB_TYPE_UUID:
        json::append_quoted(out_, uuid_text(element<duckdb_hugeint>(data, row)));
        return true;
      case DUCKDB_TYPE_BLOB:
        blob(text_of(element<duckdb_string_t>(data, row)));
        return true;
      case DUCKDB_TYPE_ENUM:
        enumerator(data, type, row);
        return true;
      case DUCKDB_TYPE_SQLNULL:
        out_ += "null";
        return true;
      default:
        return false;
    }
  }

  bool time(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    void* data = duckdb_.duckdb_vector_get_data(vector);
    switch (duckdb_.duckdb_get_type_id(type)) {
      case DUCKDB_TYPE_DATE:
        json::append_quoted(out_, date_text(element<std::int32_t>(data, row)));
        return true;
      case DUCKDB_TYPE_TIME:
        json::append_quoted(out_, time_text(element<std::int64_t>(data, row)));
        return true;
      case DUCKDB_TYPE_TIMESTAMP:
        append_timestamp(element<std::int64_t>(data, row), "", out_);
        return true;
      case DUCKDB_TYPE_TIMESTAMP_TZ:
        append_timestamp(element<std::int64_t>(data, row), "Z", out_);
        return true;
      case DUCKDB_TYPE_TIMESTAMP_S:
        append_timestamp(element<std::int64_t>(data, row) * kMicrosPerSecond, "", out_);
        return true;
      case DUCKDB_TYPE_TIMESTAMP_MS:
        append_timestamp(element<std::int64_t>(data, row) * 1000, "", out_);
        return true;
      case DUCKDB_TYPE_TIMESTAMP_NS:
        append_timestamp(element<std::int64_t>(data, row) / 1000, "", out_);
        return true;
      case DUCKDB_TYPE_INTERVAL: {
        const auto& span = element<duckdb_interval>(data, row);
        json::append_quoted(out_, fmt::format("{} months {} days {} microseconds", span.months,
                                              span.days, span.micros));
        return true;
      }
      default:
        return false;
    }
  }

  bool nested(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    switch (duckdb_.duckdb_get_type_id(type)) {
      case DUCKDB_TYPE_LIST: {
        const LogicalType child(duckdb_, duckdb_.duckdb_list_type_child_type(type));
        const auto& entry = element<duckdb_list_entry>(duckdb_.duckdb_vector_get_data(vector), row);
        array(duckdb_.duckdb_list_vector_get_child(vector), child.get(), entry);
        return true;
      }
      case DUCKDB_TYPE_ARRAY: {
        const LogicalType child(duckdb_, duckdb_.duckdb_array_type_child_type(type));
        const idx_t size = duckdb_.duckdb_array_type_array_size(type);
        array(duckdb_.duckdb_array_vector_get_child(vector), child.get(), {row * size, size});
        return true;
      }
      case DUCKDB_TYPE_STRUCT:
        object(vector, type, row);
        return true;
      case DUCKDB_TYPE_MAP:
        map(vector, type, row);
        return true;
      default:
        return false;
    }
  }

  static Int128 integer(void* data, duckdb_type storage, idx_t row) {
    switch (storage) {
      case DUCKDB_TYPE_TINYINT:
        return element<std::int8_t>(data, row);
      case DUCKDB_TYPE_SMALLINT:
        return element<std::int16_t>(data, row);
      case DUCKDB_TYPE_INTEGER:
        return element<std::int32_t>(data, row);
      case DUCKDB_TYPE_BIGINT:
        return element<std::int64_t>(data, row);
      default:
        return wide(element<duckdb_hugeint>(data, row));
    }
  }

  void blob(std::string_view bytes) {
    out_ += '"';
    for (const char c : bytes)
      fmt::format_to(std::back_inserter(out_), "{:02x}", static_cast<unsigned char>(c));
    out_ += '"';
  }

  void enumerator(void* data, duckdb_logical_type type, idx_t row) {
    idx_t index = 0;
    switch (duckdb_.duckdb_enum_internal_type(type)) {
      case DUCKDB_TYPE_UTINYINT:
        index = element<std::uint8_t>(data, row);
        break;
      case DUCKDB_TYPE_USMALLINT:
        index = element<std::uint16_t>(data, row);
        break;
      default:
        index = element<std::uint32_t>(data, row);
        break;
    }
    char* text = duckdb_.duckdb_enum_dictionary_value(type, index);
    json::append_quoted(out_, text);
    duckdb_.duckdb_free(text);
  }

  void array(duckdb_vector child, duckdb_logical_type type, duckdb_list_entry entry) {
    out_ += '[';
    for (std::uint64_t i = 0; i < entry.length; ++i) {
      if (i > 0) out_ += ',';
      value(child, type, entry.offset + i);
    }
    out_ += ']';
  }

  void object(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    out_ += '{';
    for (idx_t i = 0; i < duckdb_.duckdb_struct_type_child_count(type); ++i) {
      const LogicalType child(duckdb_, duckdb_.duckdb_struct_type_child_type(type, i));
      char* name = duckdb_.duckdb_struct_type_child_name(type, i);
      if (i > 0) out_ += ',';
      json::append_quoted(out_, name);
      duckdb_.duckdb_free(name);
      out_ += ':';
      value(duckdb_.duckdb_struct_vector_get_child(vector, i), child.get(), row);
    }
    out_ += '}';
  }

  // A map is a list of {key, value}; keys that are not texts become texts.
  void map(duckdb_vector vector, duckdb_logical_type type, idx_t row) {
    const LogicalType key_type(duckdb_, duckdb_.duckdb_map_type_key_type(type));
    const LogicalType value_type(duckdb_, duckdb_.duckdb_map_type_value_type(type));
    const auto& entry = element<duckdb_list_entry>(duckdb_.duckdb_vector_get_data(vector), row);
    duckdb_vector pairs = duckdb_.duckdb_list_vector_get_child(vector);
    out_ += '{';
    for (std::uint64_t i = entry.offset; i < entry.offset + entry.length; ++i) {
      if (i > entry.offset) out_ += ',';
      std::string key;
      Writer(duckdb_, key)
          .value(duckdb_.duckdb_struct_vector_get_child(pairs, 0), key_type.get(), i);
      if (key.starts_with('"')) {
        out_ += key;
      } else {
        json::append_quoted(out_, key);
      }
      out_ += ':';
      value(duckdb_.duckdb_struct_vector_get_child(pairs, 1), value_type.get(), i);
    }
    out_ += '}';
  }

  const DuckDb& duckdb_;
  std::string& out_;
};

}  // namespace

LogicalType::~LogicalType() {
  if (type_ != nullptr) duckdb_->duckdb_destroy_logical_type(&type_);
}

JsonColumns::JsonColumns(const DuckDb& duckdb, duckdb_result& result) : duckdb_(duckdb) {
  for (idx_t i = 0; i < duckdb.duckdb_column_count(&result); ++i) {
    names_.emplace_back(duckdb.duckdb_column_name(&result, i));
    types_.emplace_back(duckdb, duckdb.duckdb_column_logical_type(&result, i));
  }
}

std::string_view JsonColumns::type_name(std::size_t column) const {
  switch (duckdb_.duckdb_get_type_id(types_[column].get())) {
    case DUCKDB_TYPE_BOOLEAN:
      return "BOOLEAN";
    case DUCKDB_TYPE_TINYINT:
      return "TINYINT";
    case DUCKDB_TYPE_SMALLINT:
      return "SMALLINT";
    case DUCKDB_TYPE_INTEGER:
      return "INTEGER";
    case DUCKDB_TYPE_BIGINT:
      return "BIGINT";
    case DUCKDB_TYPE_UTINYINT:
      return "UTINYINT";
    case DUCKDB_TYPE_USMALLINT:
      return "USMALLINT";
    case DUCKDB_TYPE_UINTEGER:
      return "UINTEGER";
    case DUCKDB_TYPE_UBIGINT:
      return "UBIGINT";
    case DUCKDB_TYPE_HUGEINT:
      return "HUGEINT";
    case DUCKDB_TYPE_UHUGEINT:
      return "UHUGEINT";
    case DUCKDB_TYPE_FLOAT:
      return "FLOAT";
    case DUCKDB_TYPE_DOUBLE:
      return "DOUBLE";
    case DUCKDB_TYPE_DECIMAL:
      return "DECIMAL";
    case DUCKDB_TYPE_VARCHAR:
      return "VARCHAR";
    case DUCKDB_TYPE_BLOB:
      return "BLOB";
    case DUCKDB_TYPE_DATE:
      return "DATE";
    case DUCKDB_TYPE_TIME:
      return "TIME";
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
      return "TIMESTAMP";
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return "TIMESTAMP WITH TIME ZONE";
    case DUCKDB_TYPE_INTERVAL:
      return "INTERVAL";
    case DUCKDB_TYPE_UUID:
      return "UUID";
    case DUCKDB_TYPE_ENUM:
      return "ENUM";
    case DUCKDB_TYPE_LIST:
      return "LIST";
    case DUCKDB_TYPE_ARRAY:
      return "ARRAY";
    case DUCKDB_TYPE_STRUCT:
      return "STRUCT";
    case DUCKDB_TYPE_MAP:
      return "MAP";
    default:
      return "OTHER";
  }
}

void JsonColumns::append_value(duckdb_data_chunk chunk, std::size_t column, idx_t row,
                               std::string& out) const {
  Writer(duckdb_, out)
      .value(duckdb_.duckdb_data_chunk_get_vector(chunk, column), types_[column].get(), row);
}

}  // namespace flagstream::lake

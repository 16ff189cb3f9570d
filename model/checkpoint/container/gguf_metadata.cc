#include "model/checkpoint/container/gguf_metadata.h"

#include <bit>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/little_endian.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

absl::Status WrongType(absl::string_view key, const GgufValue& value, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(key), " is of type ", Name(value.type), ", not ", wanted));
}

// The value of a key as one of the variant's types; nullptr when absent.
template <typename T>
absl::StatusOr<const T*> Get(const GgufMetadata& metadata, absl::string_view key,
                             absl::string_view wanted) {
  const GgufValue* found = metadata.Find(key);
  if (found == nullptr) return nullptr;
  const T* value = std::get_if<T>(&found->value);
  if (value == nullptr) return WrongType(key, *found, wanted);
  return value;
}

}  // namespace

absl::string_view Name(GgufType type) {
  constexpr absl::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                          "int32",  "float32", "bool",   "string", "array",
                                          "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

int ScalarBytes(GgufType type) {
  constexpr int kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<uint32_t>(type)];
}

absl::StatusOr<GgufValue> DecodeScalar(GgufType type, const uint8_t* bytes) {
  switch (type) {
    case GgufType::kUint8:
      return GgufValue{type, uint64_t{*bytes}};
    case GgufType::kInt8:
      return GgufValue{type, int64_t{static_cast<int8_t>(*bytes)}};
    case GgufType::kUint16:
      return GgufValue{type, uint64_t{LoadLittleEndian<uint16_t>(bytes)}};
    case GgufType::kInt16:
      return GgufValue{type, int64_t{static_cast<int16_t>(LoadLittleEndian<uint16_t>(bytes))}};
    case GgufType::kUint32:
      return GgufValue{type, uint64_t{LoadLittleEndian<uint32_t>(bytes)}};
    case GgufType::kInt32:
      return GgufValue{type, int64_t{static_cast<int32_t>(LoadLittleEndian<uint32_t>(bytes))}};
    case GgufType::kFloat32:
      return GgufValue{type, double{std::bit_cast<float>(LoadLittleEndian<uint32_t>(bytes))}};
    case GgufType::kBool:
      if (*bytes > 1) return absl::InvalidArgumentError("bool that is neither 0 nor 1");
      return GgufValue{type, *bytes == 1};
    case GgufType::kUint64:
      return GgufValue{type, LoadLittleEndian<uint64_t>(bytes)};
    case GgufType::kInt64:
      return GgufValue{type, static_cast<int64_t>(LoadLittleEndian<uint64_t>(bytes))};
    case GgufType::kFloat64:
      return GgufValue{type, std::bit_cast<double>(LoadLittleEndian<uint64_t>(bytes))};
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return absl::InternalError(absl::StrCat(Name(type), " is not a scalar type"));
}

bool GgufMetadata::Insert(std::string key, GgufValue value) {
  return values_.try_emplace(std::move(key), std::move(value)).second;
}

const GgufValue* GgufMetadata::Find(absl::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

absl::StatusOr<std::optional<uint64_t>> GgufMetadata::Integer(absl::string_view key) const {
  const GgufValue* found = Find(key);
  if (found == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<uint64_t>(&found->value)) return *value;
  const auto* value = std::get_if<int64_t>(&found->value);
  if (value == nullptr) return WrongType(key, *found, "an integer");
  if (*value < 0) return absl::InvalidArgumentError(absl::StrCat(Quoted(key), " is negative"));
  return static_cast<uint64_t>(*value);
}

absl::StatusOr<std::optional<double>> GgufMetadata::Number(absl::string_view key) const {
  ASSIGN_OR_RETURN(const double* value, Get<double>(*this, key, "a float"));
  if (value == nullptr) return std::nullopt;
  return *value;
}

absl::StatusOr<std::optional<bool>> GgufMetadata::Bool(absl::string_view key) const {
  ASSIGN_OR_RETURN(const bool* value, Get<bool>(*this, key, "bool"));
  if (value == nullptr) return std::nullopt;
  return *value;
}

absl::StatusOr<const std::string*> GgufMetadata::String(absl::string_view key) const {
  return Get<std::string>(*this, key, "string");
}

absl::StatusOr<const std::vector<std::string>*> GgufMetadata::Strings(absl::string_view key) const {
  return Get<std::vector<std::string>>(*this, key, "an array of strings");
}

absl::StatusOr<std::optional<std::vector<std::string>>> GgufMetadata::TakeStrings(
    absl::string_view key) {
  RETURN_IF_ERROR(Strings(key).status());
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  auto strings = std::get<std::vector<std::string>>(std::move(found->second.value));
  values_.erase(found);
  return strings;
}

absl::StatusOr<std::optional<std::vector<int64_t>>> GgufMetadata::Integers(
    absl::string_view key) const {
  ASSIGN_OR_RETURN(const GgufNumbers* numbers,
                   Get<GgufNumbers>(*this, key, "an array of integers"));
  if (numbers == nullptr) return std::nullopt;
  const size_t width = static_cast<size_t>(ScalarBytes(numbers->type));
  std::vector<int64_t> integers;
  integers.reserve(numbers->bytes.size() / width);
  for (size_t i = 0; i < numbers->bytes.size(); i += width) {
    ASSIGN_OR_RETURN(const GgufValue scalar, DecodeScalar(numbers->type, &numbers->bytes[i]));
    const auto* negative = std::get_if<int64_t>(&scalar.value);
    const auto* positive = std::get_if<uint64_t>(&scalar.value);
    if (positive != nullptr && *positive > std::numeric_limits<int64_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat(Quoted(key), " holds too large a number"));
    }
    if (negative == nullptr && positive == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(key), " is an array of ", Name(numbers->type), ", not of integers"));
    }
    integers.push_back(negative != nullptr ? *negative : static_cast<int64_t>(*positive));
  }
  return integers;
}

}  // namespace peerage

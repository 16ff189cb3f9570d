#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// The numbers are the file format's.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

absl::string_view Name(GgufType type);

// Bytes of one value; 0 for strings and arrays, whose length is their own.
int ScalarBytes(GgufType type);

// An array of anything but strings, as stored: token types and scores are large, and most are
// never looked at.
struct GgufNumbers {
  GgufType type = GgufType::kUint8;
  std::vector<uint8_t> bytes;  // little endian
};

struct GgufValue {
  GgufType type = GgufType::kUint8;
  // Integers of every width are uint64_t or int64_t, both float widths double.
  std::variant<uint64_t, int64_t, double, bool, std::string, GgufNumbers, std::vector<std::string>>
      value;
};

// The scalar of a type in the ScalarBytes(type) bytes at `bytes`; a bool that is neither 0 nor 1
// is an error. Precondition: ScalarBytes(type) > 0.
absl::StatusOr<GgufValue> DecodeScalar(GgufType type, const uint8_t* bytes);

// The key-value pairs of a GGUF file. A getter answers nullopt or nullptr for an absent key, and
// an error that names the key for a value of another type.
class GgufMetadata {
 public:
  // False when the key is there already.
  [[nodiscard]] bool Insert(std::string key, GgufValue value);

  const GgufValue* Find(absl::string_view key) const;

  // An integer of any width; negative ones are errors.
  absl::StatusOr<std::optional<uint64_t>> Integer(absl::string_view key) const;
  absl::StatusOr<std::optional<double>> Number(absl::string_view key) const;
  absl::StatusOr<std::optional<bool>> Bool(absl::string_view key) const;
  absl::StatusOr<const std::string*> String(absl::string_view key) const;
  absl::StatusOr<const std::vector<std::string>*> Strings(absl::string_view key) const;
  // The same, for the caller to keep: they are gone afterwards. Vocabularies are long.
  absl::StatusOr<std::optional<std::vector<std::string>>> TakeStrings(absl::string_view key);
  absl::StatusOr<std::optional<std::vector<int64_t>>> Integers(absl::string_view key) const;

  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }

 private:
  std::map<std::string, GgufValue, std::less<>> values_;
};

}  // namespace peerage

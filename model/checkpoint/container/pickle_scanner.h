#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/little_endian.h"
#include "base/status_macros.h"

namespace peerage {

// Takes a pickle's bytes from the front. Taking more than there is is an error before anything is
// allocated.
class PickleScanner {
 public:
  static constexpr size_t kMaxLineBytes = 512;

  // `bytes` outlive the scanner and what it gives.
  explicit PickleScanner(const std::vector<uint8_t>& bytes)
      : rest_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {}

  size_t remaining() const { return rest_.size(); }

  absl::StatusOr<absl::string_view> Text(uint64_t length) {
    if (length > rest_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(length, " bytes wanted, ", rest_.size(), " left"));
    }
    const absl::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return text;
  }

  // Least significant byte first.
  template <typename T>
  absl::StatusOr<T> Number() {
    ASSIGN_OR_RETURN(const absl::string_view bytes, Text(sizeof(T)));
    return LoadLittleEndian<T>(reinterpret_cast<const uint8_t*>(bytes.data()));
  }

  // Up to the end of the line, which is taken too.
  absl::StatusOr<absl::string_view> Line() {
    const size_t length = rest_.substr(0, kMaxLineBytes).find('\n');
    if (length == absl::string_view::npos) {
      return absl::InvalidArgumentError("a name that does not end");
    }
    const absl::string_view line = rest_.substr(0, length);
    rest_.remove_prefix(length + 1);
    return line;
  }

 private:
  absl::string_view rest_;
};

}  // namespace peerage

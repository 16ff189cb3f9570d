#pragma once

#include <bit>
#include <string>

#include "absl/types/span.h"

namespace peerage {

// The values as a proto's little-endian array.
template <typename T>
void AppendLittleEndian(absl::Span<const T> values, std::string& bytes) {
  static_assert(std::endian::native == std::endian::little);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace peerage

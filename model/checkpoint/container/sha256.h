#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// SHA-256 over the bytes of the files one after the other, in hex.
absl::StatusOr<std::string> Sha256Hex(absl::Span<const std::unique_ptr<RandomAccessFile>> files);

// Likewise of bytes in memory.
absl::StatusOr<std::string> Sha256Hex(absl::Span<const absl::Span<const uint8_t>> parts);

}  // namespace peerage

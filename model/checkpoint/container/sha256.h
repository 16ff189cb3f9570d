#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// SHA-256 over the bytes of the files one after the other, in hex.
absl::StatusOr<std::string> Sha256Hex(absl::Span<const std::unique_ptr<RandomAccessFile>> files);

}  // namespace peerage

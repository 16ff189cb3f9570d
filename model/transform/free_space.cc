#include "model/transform/free_space.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_format.h"

namespace peerage::transform {
namespace {

namespace fs = std::filesystem;

// The path, or what is there of the directories above it.
fs::path NearestThatExists(const fs::path& path) {
  std::error_code error;
  fs::path nearest = fs::absolute(path, error);
  while (!error && !fs::exists(nearest, error) && nearest.has_relative_path()) {
    nearest = nearest.parent_path();
  }
  return nearest;
}

}  // namespace

absl::Status CheckFreeSpace(const std::string& path, uint64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(NearestThatExists(path), error);
  // Where the system does not say, writing will.
  if (error || bytes <= space.available) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%s: the tensors need %.1f MB (%d bytes), but the disk has %.1f MB free: %.1f MB too few",
      path, 1e-6 * bytes, bytes, 1e-6 * space.available, 1e-6 * (bytes - space.available)));
}

}  // namespace peerage::transform

#include "model/checkpoint/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

bool WriteAll(int descriptor, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

}  // namespace

absl::Status WriteNewFile(const std::string& path, absl::string_view text) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(path, ": is there already"));
  }
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  const bool written = WriteAll(descriptor, text) && fsync(descriptor) == 0;
  const int error = errno;
  const bool closed = close(descriptor) == 0;
  if (written && closed) return absl::OkStatus();
  unlink(path.c_str());
  return absl::ErrnoToStatus(written ? errno : error, absl::StrCat("cannot write ", path));
}

}  // namespace peerage

#include "model/checkpoint/container/random_access_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

// One pread may move at most 2 GiB on Linux.
constexpr size_t kLargestRead = size_t{1} << 30;

class PosixFile final : public RandomAccessFile {
 public:
  PosixFile(std::string path, int descriptor, const struct stat& opened)
      : path_(std::move(path)), descriptor_(descriptor), opened_(opened) {}
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;
  ~PosixFile() override { close(descriptor_); }

  const std::string& path() const override { return path_; }
  uint64_t size() const override { return static_cast<uint64_t>(opened_.st_size); }

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override {
    if (offset > size() || bytes.size() > size() - offset) {
      return absl::OutOfRangeError(absl::StrCat(path_, ": ", bytes.size(), " bytes at offset ",
                                                offset, " lie beyond its ", size(), " bytes"));
    }
    for (size_t done = 0; done < bytes.size();) {
      const size_t wanted = std::min(bytes.size() - done, kLargestRead);
      const ssize_t got = pread(descriptor_, bytes.data() + done, wanted, offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path_));
      if (got == 0) {
        return absl::DataLossError(
            absl::StrCat(path_, ": ended at byte ", offset + done, " of ", size()));
      }
      done += static_cast<size_t>(got);
    }
    return CheckUnchanged();
  }

 private:
  absl::Status CheckUnchanged() const {
    struct stat now = {};
    if (fstat(descriptor_, &now) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot examine ", path_));
    }
    if (now.st_size == opened_.st_size && now.st_ino == opened_.st_ino &&
        now.st_mtim.tv_sec == opened_.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == opened_.st_mtim.tv_nsec) {
      return absl::OkStatus();
    }
    return absl::DataLossError(absl::StrCat(path_, ": changed while it was being read"));
  }

  const std::string path_;
  const int descriptor_;
  const struct stat opened_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenRandomAccessFile(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat opened = {};
  const int error = fstat(descriptor, &opened) == 0 ? 0 : errno;
  if (error == 0 && S_ISREG(opened.st_mode)) {
    return std::make_unique<PosixFile>(path, descriptor, opened);
  }
  close(descriptor);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot examine ", path));
  return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, OpenRandomAccessFile(path));
  if (file->size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", file->size(), " bytes; at most ", max_bytes, " are read"));
  }
  std::string text(file->size(), '\0');
  RETURN_IF_ERROR(
      file->Read(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  return text;
}

}  // namespace peerage

#include "model/checkpoint/container/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

std::string PartialPath(const std::string& path) { return absl::StrCat(path, ".partial"); }

}  // namespace

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Create(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return absl::AlreadyExistsError(absl::StrCat(path, ": is there already"));
  }
  const std::string partial = PartialPath(path);
  const int descriptor = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", partial));
  return std::unique_ptr<NewFile>(new NewFile(path, descriptor));
}

NewFile::NewFile(const std::string& path, int descriptor)
    : path_(path), partial_path_(PartialPath(path)), descriptor_(descriptor) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!finished_) unlink(partial_path_.c_str());
}

absl::Status NewFile::Append(absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", partial_path_));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status NewFile::Append(absl::string_view text) {
  return Append(absl::MakeSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

absl::Status NewFile::Finish() {
  const bool synced = fsync(descriptor_) == 0;
  const bool closed = close(descriptor_) == 0;
  descriptor_ = -1;
  if (!synced || !closed) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", partial_path_));
  }
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path_));
  }
  finished_ = true;
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, absl::string_view text) {
  ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file, NewFile::Create(path));
  RETURN_IF_ERROR(file->Append(text));
  return file->Finish();
}

}  // namespace peerage

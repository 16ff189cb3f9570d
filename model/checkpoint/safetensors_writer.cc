#include "model/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "model/status_macros.h"

namespace peerage {
namespace {

constexpr size_t kHeaderAlignment = 8;  // of the first tensor, as the format's own writers do it

// The header with its length in front, padded with blanks.
std::string HeaderOf(const std::vector<PlannedTensor>& plan) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // without it transformers refuses the file
  uint64_t offset = 0;
  for (const PlannedTensor& tensor : plan) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.append((kHeaderAlignment - text.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  std::string length;
  for (size_t i = 0; i < sizeof(uint64_t); ++i) {
    length += static_cast<char>(uint64_t{text.size()} >> 8 * i);
  }
  return length + text;
}

absl::Span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::vector<PlannedTensor>& plan) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return absl::AlreadyExistsError(absl::StrCat(path, ": is there already"));
  }
  const std::string partial = absl::StrCat(path, ".partial");
  const int descriptor = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", partial));
  uint64_t planned = 0;
  for (const PlannedTensor& tensor : plan) planned += tensor.bytes;
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path, descriptor, planned));
  RETURN_IF_ERROR(writer->Write(BytesOf(HeaderOf(plan))));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, int descriptor,
                                     uint64_t planned_bytes)
    : path_(path),
      partial_path_(absl::StrCat(path, ".partial")),
      planned_bytes_(planned_bytes),
      descriptor_(descriptor) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!finished_) unlink(partial_path_.c_str());
}

absl::Status SafetensorsWriter::Append(absl::Span<const uint8_t> bytes) {
  if (bytes.size() > planned_bytes_ - written_bytes_) {
    return absl::InternalError(absl::StrCat(path_, ": more bytes than its tensors have"));
  }
  written_bytes_ += bytes.size();
  return Write(bytes);
}

absl::Status SafetensorsWriter::Finish() {
  if (written_bytes_ != planned_bytes_) {
    return absl::InternalError(absl::StrCat(path_, ": ", written_bytes_, " bytes written of ",
                                            planned_bytes_, " planned"));
  }
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

absl::Status SafetensorsWriter::Write(absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", partial_path_));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

}  // namespace peerage

#include "model/checkpoint/container/safetensors_writer.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr size_t kHeaderAlignment = 8;  // of the first tensor, as the format's own writers do it

// The header with its length in front, padded with blanks.
std::string HeaderOf(const std::vector<SafetensorsEntry>& plan) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // without it transformers refuses the file
  uint64_t offset = 0;
  for (const SafetensorsEntry& tensor : plan) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.append((kHeaderAlignment - text.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  return LittleEndianBytes(uint64_t{text.size()}) + text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::vector<SafetensorsEntry>& plan) {
  ASSIGN_OR_RETURN(std::unique_ptr<NewFile> file, NewFile::Create(path));
  RETURN_IF_ERROR(file->Append(HeaderOf(plan)));
  uint64_t planned = 0;
  for (const SafetensorsEntry& tensor : plan) planned += tensor.bytes;
  return std::unique_ptr<SafetensorsWriter>(new SafetensorsWriter(std::move(file), planned));
}

absl::Status SafetensorsWriter::Append(absl::Span<const uint8_t> bytes) {
  if (bytes.size() > planned_bytes_ - written_bytes_) {
    return absl::InternalError(absl::StrCat(file_->path(), ": more bytes than its tensors have"));
  }
  written_bytes_ += bytes.size();
  return file_->Append(bytes);
}

absl::Status SafetensorsWriter::Finish() {
  if (written_bytes_ == planned_bytes_) return file_->Finish();
  return absl::InternalError(absl::StrCat(file_->path(), ": ", written_bytes_, " bytes written of ",
                                          planned_bytes_, " planned"));
}

}  // namespace peerage

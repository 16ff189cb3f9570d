#include "model/checkpoint/container/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/little_endian.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/gguf_format.h"

namespace peerage {
namespace {

constexpr uint32_t kVersion = 3;

uint64_t Padding(uint64_t bytes) {
  return (kGgufDefaultAlignment - bytes % kGgufDefaultAlignment) % kGgufDefaultAlignment;
}

// Composes what comes before the data.
class HeaderText {
 public:
  // The lowest bytes, least significant first.
  void AddInteger(uint64_t value, int bytes) { text_.append(LittleEndianBytes(value), 0, bytes); }

  void AddString(absl::string_view text) {
    AddInteger(text.size(), 8);
    absl::StrAppend(&text_, text);
  }

  void AddKey(const std::string& key, const GgufValue& value) {
    AddString(key);
    AddInteger(static_cast<uint32_t>(value.type), 4);
    std::visit([&](const auto& v) { AddValue(value.type, v); }, value.value);
  }

  void AddTensor(const GgufEntry& tensor, uint64_t offset) {
    AddString(tensor.name);
    AddInteger(tensor.shape.size(), 4);
    for (size_t i = tensor.shape.size(); i-- > 0;) AddInteger(tensor.shape[i], 8);
    const auto dtype =
        std::find_if(kGgufDtypes.begin(), kGgufDtypes.end(),
                     [&](const GgufDtype& dtype) { return dtype.type == tensor.type; });
    AddInteger(dtype->id, 4);
    AddInteger(offset, 8);
  }

  std::string Take() {
    text_.append(Padding(text_.size()), '\0');
    return std::move(text_);
  }

 private:
  void AddValue(GgufType type, uint64_t value) { AddInteger(value, ScalarBytes(type)); }
  void AddValue(GgufType type, int64_t value) {
    AddInteger(static_cast<uint64_t>(value), ScalarBytes(type));
  }
  void AddValue(GgufType, bool value) { AddInteger(value ? 1 : 0, 1); }
  void AddValue(GgufType type, double value) {
    if (type == GgufType::kFloat64) return AddInteger(std::bit_cast<uint64_t>(value), 8);
    AddInteger(std::bit_cast<uint32_t>(static_cast<float>(value)), 4);
  }
  void AddValue(GgufType, const std::string& value) { AddString(value); }
  void AddValue(GgufType, const GgufNumbers& numbers) {
    AddInteger(static_cast<uint32_t>(numbers.type), 4);
    AddInteger(numbers.bytes.size() / ScalarBytes(numbers.type), 8);
    text_.append(numbers.bytes.begin(), numbers.bytes.end());
  }
  void AddValue(GgufType, const std::vector<std::string>& strings) {
    AddInteger(static_cast<uint32_t>(GgufType::kString), 4);
    AddInteger(strings.size(), 8);
    for (const std::string& text : strings) AddString(text);
  }

  std::string text_;
};

std::string HeaderOf(const GgufMetadata& metadata, const std::vector<GgufEntry>& plan) {
  HeaderText header;
  header.AddInteger(kGgufMagic, 4);
  header.AddInteger(kVersion, 4);
  header.AddInteger(plan.size(), 8);
  header.AddInteger(metadata.values().size(), 8);
  for (const auto& [key, value] : metadata.values()) header.AddKey(key, value);
  uint64_t offset = 0;
  for (const GgufEntry& tensor : plan) {
    header.AddTensor(tensor, offset);
    offset += tensor.bytes + Padding(tensor.bytes);
  }
  return header.Take();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufWriter>> GgufWriter::Create(const std::string& path,
                                                               const GgufMetadata& metadata,
                                                               std::vector<GgufEntry> plan) {
  ASSIGN_OR_RETURN(std::unique_ptr<NewFile> file, NewFile::Create(path));
  RETURN_IF_ERROR(file->Append(HeaderOf(metadata, plan)));
  return std::unique_ptr<GgufWriter>(new GgufWriter(std::move(file), std::move(plan)));
}

absl::Status GgufWriter::Append(absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (tensor_ == plan_.size()) {
      return absl::InternalError(absl::StrCat(file_->path(), ": more bytes than its tensors have"));
    }
    const uint64_t count = std::min<uint64_t>(bytes.size(), plan_[tensor_].bytes - written_);
    RETURN_IF_ERROR(file_->Append(bytes.subspan(0, count)));
    bytes.remove_prefix(count);
    written_ += count;
    RETURN_IF_ERROR(PadComplete());
  }
  return absl::OkStatus();
}

absl::Status GgufWriter::PadComplete() {
  while (tensor_ < plan_.size() && written_ == plan_[tensor_].bytes) {
    RETURN_IF_ERROR(file_->Append(std::string(Padding(written_), '\0')));
    ++tensor_;
    written_ = 0;
  }
  return absl::OkStatus();
}

absl::Status GgufWriter::Finish() {
  RETURN_IF_ERROR(PadComplete());
  if (tensor_ == plan_.size()) return file_->Finish();
  return absl::InternalError(absl::StrCat(file_->path(), ": fewer bytes than its tensors have"));
}

}  // namespace peerage

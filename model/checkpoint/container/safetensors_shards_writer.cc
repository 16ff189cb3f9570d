#include "model/checkpoint/container/safetensors_shards_writer.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/new_file.h"

namespace peerage {
namespace {

namespace fs = std::filesystem;

constexpr char kOnlyFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsShardsWriter>> SafetensorsShardsWriter::Create(
    const std::string& directory, const std::vector<SafetensorsEntry>& plan,
    uint64_t max_shard_bytes) {
  std::unique_ptr<SafetensorsShardsWriter> writer(new SafetensorsShardsWriter(directory));
  writer->Divide(plan, max_shard_bytes);
  RETURN_IF_ERROR(writer->OpenShard());
  return writer;
}

SafetensorsShardsWriter::~SafetensorsShardsWriter() {
  if (finished_) return;
  const size_t complete = writer_ == nullptr ? next_ : next_ - 1;
  for (size_t i = 0; i < complete; ++i) unlink(shards_[i].path.c_str());
}

void SafetensorsShardsWriter::Divide(const std::vector<SafetensorsEntry>& plan,
                                     uint64_t max_shard_bytes) {
  shards_.emplace_back();
  for (const SafetensorsEntry& tensor : plan) {
    const uint64_t bytes = shards_.back().bytes;
    if (bytes > 0 && (bytes > max_shard_bytes || tensor.bytes > max_shard_bytes - bytes)) {
      shards_.emplace_back();
    }
    shards_.back().plan.push_back(tensor);
    shards_.back().bytes += tensor.bytes;
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    const std::string name = shards_.size() == 1 ? kOnlyFile
                                                 : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                                                   i + 1, shards_.size());
    shards_[i].path = fs::path(directory_) / name;
  }
}

absl::Status SafetensorsShardsWriter::OpenShard() {
  ASSIGN_OR_RETURN(writer_, SafetensorsWriter::Create(shards_[next_].path, shards_[next_].plan));
  room_ = shards_[next_++].bytes;
  return absl::OkStatus();
}

absl::Status SafetensorsShardsWriter::Append(absl::Span<const uint8_t> bytes) {
  while (bytes.size() > room_ && next_ < shards_.size()) {
    RETURN_IF_ERROR(writer_->Append(bytes.subspan(0, room_)));
    bytes.remove_prefix(room_);
    RETURN_IF_ERROR(writer_->Finish());
    writer_ = nullptr;
    RETURN_IF_ERROR(OpenShard());
  }
  RETURN_IF_ERROR(writer_->Append(bytes));
  room_ -= bytes.size();
  return absl::OkStatus();
}

absl::Status SafetensorsShardsWriter::Finish() {
  if (next_ < shards_.size()) {
    return absl::InternalError(absl::StrCat(directory_, ": fewer bytes than its tensors have"));
  }
  RETURN_IF_ERROR(writer_->Finish());
  writer_ = nullptr;
  if (shards_.size() > 1) RETURN_IF_ERROR(WriteIndex());
  finished_ = true;
  return absl::OkStatus();
}

absl::Status SafetensorsShardsWriter::WriteIndex() const {
  uint64_t total = 0;
  nlohmann::json weight_map;
  for (const Shard& shard : shards_) {
    total += shard.bytes;
    const std::string file = fs::path(shard.path).filename();
    for (const SafetensorsEntry& tensor : shard.plan) weight_map[tensor.name] = file;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}},
                                        {"weight_map", std::move(weight_map)}};
  return WriteNewFile(fs::path(directory_) / kIndexFile, index.dump(2) + "\n");
}

}  // namespace peerage

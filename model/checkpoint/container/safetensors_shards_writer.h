#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/safetensors_writer.h"

namespace peerage {

// Writes the weights of a model directory front to back: model.safetensors or, when they need more
// than max_shard_bytes, model-00001-of-0000N.safetensors and so on, and
// model.safetensors.index.json at the end. Files that it has written are removed when it goes
// without Finish.
class SafetensorsShardsWriter {
 public:
  static constexpr uint64_t kMaxShardBytes = 5'000'000'000;  // what Hugging Face's writers do

  // Preconditions: as SafetensorsWriter::Create. A tensor of more than max_shard_bytes gets a shard
  // of its own.
  static absl::StatusOr<std::unique_ptr<SafetensorsShardsWriter>> Create(
      const std::string& directory, const std::vector<SafetensorsEntry>& plan,
      uint64_t max_shard_bytes = kMaxShardBytes);

  SafetensorsShardsWriter(const SafetensorsShardsWriter&) = delete;
  SafetensorsShardsWriter& operator=(const SafetensorsShardsWriter&) = delete;
  ~SafetensorsShardsWriter();

  // The next bytes of the data, of any number.
  absl::Status Append(absl::Span<const uint8_t> bytes);

  // Fewer or more bytes than planned are an error.
  absl::Status Finish();

 private:
  // One file of the weights.
  struct Shard {
    std::string path;
    std::vector<SafetensorsEntry> plan;
    uint64_t bytes = 0;
  };

  explicit SafetensorsShardsWriter(const std::string& directory) : directory_(directory) {}

  void Divide(const std::vector<SafetensorsEntry>& plan, uint64_t max_shard_bytes);
  absl::Status OpenShard();
  absl::Status WriteIndex() const;

  const std::string directory_;
  std::vector<Shard> shards_;
  std::unique_ptr<SafetensorsWriter> writer_;  // of shards_[next_ - 1]
  size_t next_ = 0;
  uint64_t room_ = 0;  // bytes that the open shard still takes
  bool finished_ = false;
};

}  // namespace peerage

#include "bench/engine/noise_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "model/checkpoint/layout/tensor_layout.h"
#include "model/kernels/float16.h"

namespace peerage {
namespace {

constexpr uint64_t kWindow = 1024;               // elements of a tensor that come from one place
constexpr uint64_t kPlaces = uint64_t{1} << 22;  // where windows begin

uint64_t Mix(uint64_t x) {  // splitmix64
  x = x * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

int64_t FanIn(const TensorInfo& tensor) {
  return tensor.shape.size() == 1 ? 0 : tensor.shape.back();
}

std::vector<uint16_t> MakeBlock(int64_t fan_in) {
  std::vector<uint16_t> block(kPlaces + kWindow, kernels::BF16FromF32(1));
  if (fan_in == 0) return block;
  const float scale = 1 / std::sqrt(static_cast<float>(fan_in));
  for (size_t i = 0; i < block.size(); ++i) block[i] = kernels::BF16FromF32(scale * Noise(i));
  return block;
}

}  // namespace

float Noise(uint64_t counter) {
  const uint64_t x = Mix(counter);
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>((x >> (16 * i)) & 0xFFFF) - 32767.5f;
  return sum * (1.7320508f / 2 / 32768);
}

NoiseCheckpoint::NoiseCheckpoint(ModelConfig config) : config_(std::move(config)) {
  for (auto& spec : TensorLayout(config_, TensorNaming::kPeerage)) {
    tensors_.push_back({.name = spec.name,
                        .type = TensorType::kBF16,
                        .shape = spec.shape,
                        .bytes = RowBytes(TensorType::kBF16, Elements(spec.shape))});
    auto& block = blocks_[FanIn(tensors_.back())];
    if (block.empty()) block = MakeBlock(FanIn(tensors_.back()));
  }
}

const TensorInfo* NoiseCheckpoint::Find(absl::string_view name) const {
  for (const TensorInfo& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

absl::Status NoiseCheckpoint::Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const {
  return ReadRows(tensor, 0, bytes);
}

absl::Status NoiseCheckpoint::ReadRows(const TensorInfo& tensor, int64_t first,
                                       absl::Span<uint8_t> bytes) const {
  const std::vector<uint16_t>& block = blocks_.at(FanIn(tensor));
  const uint64_t seed = static_cast<uint64_t>(&tensor - tensors_.data()) << 48;
  const uint64_t begin = first * (tensor.bytes / 2 / tensor.shape[0]);
  const uint64_t end = begin + bytes.size() / 2;
  for (uint64_t at = begin; at < end;) {
    const uint64_t in_window = at % kWindow, count = std::min(kWindow - in_window, end - at);
    const uint64_t place = Mix(seed + at / kWindow) % kPlaces + in_window;
    std::memcpy(bytes.data() + 2 * (at - begin), &block[place], 2 * count);
    at += count;
  }
  return absl::OkStatus();
}

}  // namespace peerage

#include "model/nn/weights_dtype.h"

#include <map>
#include <utility>

#include "model/kernels/stored_block.h"
#include "model/nn/storage.h"

namespace peerage::nn {

using kernels::WeightFormat;

namespace {

bool IsEmbeddingOrHead(const TensorInfo& tensor) {
  return tensor.name == "model.embed_tokens.weight" || tensor.name == "lm_head.weight";
}

WeightFormat Requested(const TensorInfo& matrix, WeightsDtype dtype) {
  switch (dtype) {
    case WeightsDtype::kAuto:
      return kernels::StoredFormat(matrix.type);
    case WeightsDtype::kF32:
      return WeightFormat::kF32;
    case WeightsDtype::kBF16:
      return WeightFormat::kBF16;
    case WeightsDtype::kQ8_0:
      return WeightFormat::kQ8_0;
    case WeightsDtype::kQ4_1:
      return WeightFormat::kQ4_1;
  }
  return WeightFormat::kF32;
}

}  // namespace

std::string_view Name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kQ8_0:
      return "q8_0";
    case WeightFormat::kQ4_1:
      return "q4_1";
  }
  return "unknown";
}

WeightFormat FormatOf(const TensorInfo& matrix, WeightsDtype dtype) {
  WeightFormat format = Requested(matrix, dtype);
  if (format == WeightFormat::kQ4_1 && IsEmbeddingOrHead(matrix)) format = WeightFormat::kQ8_0;
  if (kernels::IsQuantized(format) && matrix.shape[1] % kernels::kBlock != 0) {
    format = WeightFormat::kF32;
  }
  return format;
}

bool IsMatrix(const TensorInfo& tensor) { return tensor.shape.size() == 2; }

std::vector<std::string> Conversions(const Checkpoint& checkpoint, WeightsDtype dtype) {
  std::map<std::pair<TensorType, WeightFormat>, int> counts;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (!IsMatrix(tensor)) continue;
    const WeightFormat format = FormatOf(tensor, dtype);
    if (tensor.type != kernels::StoredType(format)) ++counts[{tensor.type, format}];
  }
  std::vector<std::string> texts;
  for (const auto& [conversion, count] : counts) {
    texts.push_back(std::to_string(count) + " " + std::string(Traits(conversion.first).name) +
                    (count == 1 ? " matrix to " : " matrices to ") +
                    std::string(Name(conversion.second)));
  }
  return texts;
}

uint64_t WeightBytes(const Checkpoint& checkpoint, WeightsDtype dtype) {
  uint64_t total = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (IsMatrix(tensor)) {
      const kernels::PackedMatrix shape{.format = FormatOf(tensor, dtype),
                                        .outputs = static_cast<int>(tensor.shape[0]),
                                        .depth = static_cast<int>(tensor.shape[1])};
      total += Arena::Padded(shape.Bytes());
    } else {
      total += Arena::Padded(tensor.shape[0] * sizeof(float));
    }
  }
  return total;
}

}  // namespace peerage::nn

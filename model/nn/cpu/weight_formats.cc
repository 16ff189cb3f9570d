#include "model/nn/cpu/weight_formats.h"

#include "base/choice.h"
#include "model/kernels/stored_block.h"

namespace peerage::nn::cpu {

using kernels::ExpertFormat;
using kernels::WeightFormat;

namespace {

constexpr Choice<WeightFormat> kWeightFormats[] = {{"f32", WeightFormat::kF32},
                                                   {"bf16", WeightFormat::kBF16},
                                                   {"q8_0", WeightFormat::kQ8_0},
                                                   {"q4_1", WeightFormat::kQ4_1}};
constexpr Choice<ExpertFormat> kExpertFormats[] = {{"f32", ExpertFormat::kF32},
                                                   {"bf16", ExpertFormat::kBF16},
                                                   {"int8", ExpertFormat::kInt8},
                                                   {"int4", ExpertFormat::kInt4},
                                                   {"fp8", ExpertFormat::kFp8}};

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

absl::string_view Name(WeightFormat format) { return ChoiceName(kWeightFormats, format); }
absl::string_view Name(ExpertFormat format) { return ChoiceName(kExpertFormats, format); }

WeightFormat FormatOf(const TensorInfo& matrix, WeightsDtype dtype) {
  WeightFormat format = Requested(matrix, dtype);
  if (format == WeightFormat::kQ4_1 && IsEmbeddingOrHead(matrix)) format = WeightFormat::kQ8_0;
  if (kernels::IsQuantized(format) && matrix.shape[1] % kernels::kBlock != 0) {
    format = WeightFormat::kF32;
  }
  return format;
}

kernels::ExpertFormat TableFormat(TensorType stored, ExpertDtype dtype, WeightsDtype weights) {
  switch (dtype) {
    case ExpertDtype::kF32:
      return ExpertFormat::kF32;
    case ExpertDtype::kBF16:
      return ExpertFormat::kBF16;
    case ExpertDtype::kInt8:
      return ExpertFormat::kInt8;
    case ExpertDtype::kInt4:
      return ExpertFormat::kInt4;
    case ExpertDtype::kFp8:
      return ExpertFormat::kFp8;
    case ExpertDtype::kAuto:
      break;
  }
  if (weights == WeightsDtype::kF32) return ExpertFormat::kF32;
  if (weights == WeightsDtype::kBF16) return ExpertFormat::kBF16;
  return stored == TensorType::kBF16 ? ExpertFormat::kBF16 : ExpertFormat::kF32;
}

}  // namespace peerage::nn::cpu

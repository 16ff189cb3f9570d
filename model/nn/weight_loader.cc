#include "model/nn/weight_loader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "model/kernels/stored_block.h"
#include "model/status_macros.h"

namespace peerage::nn {
namespace {

using kernels::PackedMatrix;

constexpr int kRowsAtOnce = 64;  // converted and packed by one thread at a time

}  // namespace

absl::StatusOr<LinearLayer> WeightLoader::Linear(const std::vector<std::string>& names) {
  LinearLayer layer;
  for (size_t first = 0; first < names.size();) {
    const TensorInfo* head = checkpoint_.Find(names[first]);
    if (head == nullptr) return absl::InternalError(absl::StrCat("no tensor ", names[first]));
    PackedMatrix matrix{.format = FormatOf(*head, dtype_),
                        .depth = static_cast<int>(head->shape[1])};
    size_t end = first;
    std::vector<int> offsets;
    for (; end < names.size(); ++end) {
      const TensorInfo* tensor = checkpoint_.Find(names[end]);
      if (tensor == nullptr) return absl::InternalError(absl::StrCat("no tensor ", names[end]));
      if (FormatOf(*tensor, dtype_) != matrix.format) break;
      offsets.push_back(matrix.outputs);
      matrix.outputs += static_cast<int>(tensor->shape[0]);
    }
    uint8_t* tiles = arena_.Take(matrix.Bytes());
    std::memset(tiles, 0, matrix.Bytes());
    matrix.tiles = tiles;
    for (size_t i = first; i < end; ++i) {
      RETURN_IF_ERROR(PackInto(matrix, offsets[i - first], names[i]));
    }
    bytes_[static_cast<size_t>(matrix.format)] += matrix.Bytes();
    layer.parts.push_back(matrix);
    first = end;
  }
  return layer;
}

absl::StatusOr<const float*> WeightLoader::Vector(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Read(name));
  float* values = arena_.TakeFloats(tensor->shape[0]);
  kernels::DequantizeRow(tensor->type, stored_.data(), tensor->shape[0], values);
  return values;
}

absl::StatusOr<const TensorInfo*> WeightLoader::Read(const std::string& name) {
  const TensorInfo* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) return absl::InternalError(absl::StrCat("no tensor ", name));
  stored_.resize(tensor->bytes);
  RETURN_IF_ERROR(checkpoint_.Read(*tensor, absl::MakeSpan(stored_)));
  return tensor;
}

absl::Status WeightLoader::PackInto(const PackedMatrix& matrix, int first_output,
                                    const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Read(name));
  const int rows = static_cast<int>(tensor->shape[0]);
  const int64_t width = tensor->shape[1];
  const size_t stored_bytes = RowBytes(tensor->type, width);
  const size_t row_bytes = kernels::StoredRowBytes(matrix.format, width);
  uint8_t* tiles = const_cast<uint8_t*>(matrix.tiles);  // ours until the layer is handed out
  const auto pack = [&](int64_t begin, int64_t end, int) {
    std::vector<uint8_t> converted;
    for (int64_t row = begin; row < end; row += kRowsAtOnce) {
      const int count = static_cast<int>(std::min<int64_t>(kRowsAtOnce, end - row));
      const uint8_t* source = stored_.data() + row * stored_bytes;
      if (tensor->type != kernels::StoredType(matrix.format)) {
        converted.resize(count * row_bytes);
        for (int i = 0; i < count; ++i) {
          kernels::ConvertRow({.from = tensor->type,
                               .to = matrix.format,
                               .row = source + i * stored_bytes,
                               .n = width},
                              converted.data() + i * row_bytes);
        }
        source = converted.data();
      }
      kernels::Pack({.shape = matrix,
                     .first_output = first_output + static_cast<int>(row),
                     .num_rows = count,
                     .rows = source},
                    tiles);
    }
  };
  pool_.For(rows, kRowsAtOnce, pack);
  return absl::OkStatus();
}

}  // namespace peerage::nn

#include "model/nn/cuda/weight_placer.h"

#include <cassert>
#include <set>
#include <span>
#include <utility>

#include "model/kernels/rotary.h"
#include "model/kernels/stored_block.h"
#include "model/nn/cuda/weight_reader.h"

namespace peerage::nn::cuda {
namespace {

using kernels::ExpertFormat;
using kernels::ExpertTable;

absl::string_view NameOf(DeviceFloat type) { return type == DeviceFloat::kF32 ? "f32" : "bf16"; }

absl::string_view NameOf(ExpertFormat format) {
  switch (format) {
    case ExpertFormat::kF32:
      return "f32";
    case ExpertFormat::kBF16:
      return "bf16";
    case ExpertFormat::kInt8:
      return "int8";
    case ExpertFormat::kInt4:
      return "int4";
    case ExpertFormat::kFp8:
      return "fp8";
  }
  return "f32";
}

// As stored, where it decides which experts are met.
DeviceFloat RouterType(const TensorInfo& tensor) {
  return tensor.type == TensorType::kBF16 ? DeviceFloat::kBF16 : DeviceFloat::kF32;
}

DeviceFloat Wider(DeviceFloat a, DeviceFloat b) { return a == DeviceFloat::kF32 ? a : b; }

// Elements of all dimensions but the last.
int RowsOf(const TensorInfo& tensor) {
  return static_cast<int>(Elements(std::span(tensor.shape).first(tensor.shape.size() - 1)));
}

}  // namespace

const TensorInfo& WeightPlacer::Info(const std::string& tensor) const {
  const TensorInfo* info = checkpoint_.Find(tensor);
  assert(info != nullptr);
  return *info;
}

// bf16 unless f32 is asked for: by name, or by activations that are to equal the CPU's.
DeviceFloat WeightPlacer::MatrixType(const TensorInfo& tensor) const {
  if (formats_.weights == WeightsDtype::kF32) return DeviceFloat::kF32;
  if (formats_.weights == WeightsDtype::kBF16 || tensor.type == TensorType::kBF16) {
    return DeviceFloat::kBF16;
  }
  return formats_.activations;
}

ExpertFormat WeightPlacer::TableFormat(TensorType stored) const {
  switch (formats_.experts) {
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
  if (formats_.weights == WeightsDtype::kF32) return ExpertFormat::kF32;
  if (formats_.weights == WeightsDtype::kBF16 || stored == TensorType::kBF16) {
    return ExpertFormat::kBF16;
  }
  return formats_.activations == DeviceFloat::kF32 ? ExpertFormat::kF32 : ExpertFormat::kBF16;
}

Matrix WeightPlacer::Place(Matrix matrix) {
  arena_.AlignTo(kMatrixAlignment);
  matrix.data = arena_.Take(matrix.Bytes());
  return matrix;
}

DeviceFloat WeightPlacer::TypeOf(const MatrixSource& source) const {
  DeviceFloat type = DeviceFloat::kBF16;
  for (const MatrixSlice& slice : source.slices) type = Wider(type, MatrixType(Info(slice.tensor)));
  return type;
}

LinearLayer WeightPlacer::Linear(const MatrixSource& source, DeviceFloat at_least) {
  const bool by_rows = source.join == Join::kRows;
  const TensorInfo& head = Info(source.slices.front().tensor);
  Matrix matrix{.type = Wider(at_least, TypeOf(source))};
  std::vector<StoredRows> slices;
  std::set<const TensorInfo*> tensors;
  for (const MatrixSlice& slice : source.slices) {
    const TensorInfo& tensor = Info(slice.tensor);
    tensors.insert(&tensor);
    if (by_rows) {
      slices.push_back({.tensor = &tensor, .first = slice.first, .count = slice.count});
      matrix.outputs += static_cast<int>(slice.count);
    } else {
      slices.push_back({.tensor = &tensor, .first_column = slice.first, .columns = slice.count});
      matrix.depth += static_cast<int>(slice.count);
    }
  }
  if (by_rows) {
    matrix.depth = static_cast<int>(head.shape[1]);
  } else {
    matrix.outputs = static_cast<int>(head.shape[0]);
  }
  for (const TensorInfo* tensor : tensors)
    Note(*tensor, Conversions::Of::kMatrix, NameOf(matrix.type));
  matrix = Place(matrix);
  bytes_[static_cast<size_t>(matrix.type)] += matrix.Bytes();
  reads_.push_back([matrix, by_rows, slices = std::move(slices)](WeightReader& reader) {
    return by_rows ? reader.Rows(matrix, slices) : reader.Columns(matrix, slices);
  });
  return {matrix};
}

LinearLayer WeightPlacer::Router(const std::vector<std::string>& tensors) {
  Matrix matrix{.type = DeviceFloat::kBF16};
  std::vector<std::pair<const TensorInfo*, int>> rows;  // and their first output
  for (const std::string& name : tensors) {
    const TensorInfo& tensor = Info(name);
    matrix.type = Wider(matrix.type, RouterType(tensor));
    matrix.depth = static_cast<int>(tensor.shape.back());
    rows.emplace_back(&tensor, matrix.outputs);
    matrix.outputs += RowsOf(tensor);
  }
  matrix = Place(matrix);
  for (const auto& [tensor, first_output] : rows) {
    reads_.push_back([=, tensor = tensor, first = first_output](WeightReader& reader) {
      return reader.RouterRows(matrix, first, *tensor, {});
    });
  }
  return {matrix};
}

LinearLayer WeightPlacer::Router(const std::string& tensor, const std::string& bias) {
  LinearLayer layer = Router({tensor});
  if (!bias.empty()) layer.bias = RouterVector(bias);
  return layer;
}

LinearLayer WeightPlacer::FoldedRouter(const std::string& tensor, const std::string& bias_name,
                                       const QueryNormPlan& norm) {
  const TensorInfo& info = Info(tensor);
  const WeightReader::BatchNorm batch_norm{.epsilon = norm.epsilon,
                                           .weight = &Info(norm.weight.name),
                                           .bias = &Info(norm.bias.name),
                                           .mean = &Info(norm.running->mean.name),
                                           .variance = &Info(norm.running->variance.name)};
  const float* bias = arena_.TakeArray<float>(RowsOf(info));
  const WeightReader::Fold fold{batch_norm, bias_name.empty() ? nullptr : &Info(bias_name), bias};
  const Matrix matrix = Place({.type = DeviceFloat::kF32,
                               .outputs = RowsOf(info),
                               .depth = static_cast<int>(info.shape.back())});
  reads_.push_back([=, &info](WeightReader& reader) { return reader.Folded(matrix, info, fold); });
  return {matrix, bias};
}

SubKeys WeightPlacer::SubKeySets(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  SubKeys keys{.type = RouterType(info),
               .n = static_cast<int>(info.shape[info.shape.size() - 2]),
               .width = static_cast<int>(info.shape.back())};
  keys.sets = RowsOf(info) / keys.n;
  keys.data =
      arena_.Take(static_cast<size_t>(Elements(info.shape)) * kernels::cuda::BytesOf(keys.type));
  reads_.push_back(
      [=, &info](WeightReader& reader) { return reader.FiniteArray(keys.type, info, keys.data); });
  return keys;
}

ExpertTable WeightPlacer::Experts(kernels::ExpertKind kind,
                                  const std::vector<std::string>& tensors) {
  std::vector<const TensorInfo*> vectors;
  TensorType type = TensorType::kBF16;  // the widest of all vectors
  for (const std::string& tensor : tensors) {
    vectors.push_back(&Info(tensor));
    if (vectors.back()->type != TensorType::kBF16) type = vectors.back()->type;
  }
  ExpertTable table{.format = TableFormat(type),
                    .kind = kind,
                    .width = static_cast<int>(vectors.front()->shape[1]),
                    .num_experts = vectors.front()->shape[0]};
  Note(*vectors.front(), Conversions::Of::kTable, NameOf(table.format));
  table.records = arena_.Take(table.Bytes());
  reads_.push_back([table, vectors = std::move(vectors)](WeightReader& reader) {
    return reader.Experts(table, vectors);
  });
  return table;
}

const float* WeightPlacer::Vector(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  const float* place = arena_.TakeArray<float>(Elements(info.shape));
  reads_.push_back([=, &info](WeightReader& reader) { return reader.Values(info, place); });
  return place;
}

const float* WeightPlacer::RouterVector(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  const float* place = arena_.TakeArray<float>(Elements(info.shape));
  reads_.push_back([=, &info](WeightReader& reader) {
    return reader.FiniteArray(DeviceFloat::kF32, info, place);
  });
  return place;
}

const float* WeightPlacer::RotaryAngles(const RotaryPlan& rotary) {
  const int positions = static_cast<int>(checkpoint_.config().max_positions);
  const auto [found, is_new] = angles_.try_emplace({rotary.dim, rotary.theta}, nullptr);
  if (!is_new) return found->second;
  float* place = arena_.TakeArray<float>(size_t(positions) * rotary.dim);
  found->second = place;
  reads_.push_back([=](WeightReader& reader) {
    std::vector<uint8_t> bytes(size_t(positions) * rotary.dim * sizeof(float));
    auto* angles = reinterpret_cast<float*>(bytes.data());
    for (int position = 0; position < positions; ++position) {
      float* cos = angles + size_t(position) * rotary.dim;
      kernels::RotaryAngles(position, rotary.theta, rotary.dim, cos, cos + rotary.dim / 2);
    }
    return reader.Bytes(bytes, place);
  });
  return place;
}

void WeightPlacer::ReadBytes(std::vector<uint8_t> bytes, const void* place) {
  reads_.push_back([place, bytes = std::move(bytes)](WeightReader& reader) {
    return reader.Bytes(bytes, place);
  });
}

void WeightPlacer::Note(const TensorInfo& tensor, Conversions::Of of, absl::string_view to) {
  if (Traits(tensor.type).name != to) conversions_.Add(tensor.type, of, to);
}

}  // namespace peerage::nn::cuda

#include "model/nn/cpu/weight_placer.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <span>
#include <utility>

#include "model/kernels/stored_block.h"
#include "model/nn/cpu/weight_reader.h"

namespace peerage::nn::cpu {
namespace {

using kernels::ExpertTable;
using kernels::PackedMatrix;
using kernels::WeightFormat;

// Elements of all dimensions but the last.
int64_t RowsOf(const TensorInfo& tensor) {
  return Elements(std::span(tensor.shape).first(tensor.shape.size() - 1));
}

}  // namespace

const TensorInfo& WeightPlacer::Info(const std::string& tensor) const {
  const TensorInfo* info = checkpoint_.Find(tensor);
  assert(info != nullptr);
  return *info;
}

PackedMatrix WeightPlacer::Place(PackedMatrix matrix) {
  matrix.tiles = arena_.Take(matrix.Bytes());
  bytes_[static_cast<size_t>(matrix.format)] += matrix.Bytes();
  return matrix;
}

LinearLayer WeightPlacer::Linear(const MatrixSource& source) {
  return source.join == Join::kRows ? JoinRows(source.slices) : JoinColumns(source.slices);
}

LinearLayer WeightPlacer::JoinRows(absl::Span<const MatrixSlice> slices) {
  LinearLayer layer;
  while (!slices.empty()) {
    const TensorInfo& head = Info(slices.front().tensor);
    PackedMatrix matrix{.format = FormatOf(head, formats_.weights),
                        .depth = static_cast<int>(head.shape[1])};
    std::vector<RowsOfMatrix> rows;
    for (; !slices.empty(); slices.remove_prefix(1)) {
      const MatrixSlice& slice = slices.front();
      const TensorInfo& tensor = Info(slice.tensor);
      if (FormatOf(tensor, formats_.weights) != matrix.format) break;
      if (slice.first == 0) NoteMatrix(tensor, matrix.format);
      rows.push_back({&tensor, slice.first, slice.count, matrix.outputs});
      matrix.outputs += static_cast<int>(slice.count);
    }
    matrix = Place(matrix);
    layer.parts.push_back(matrix);
    reads_.push_back([matrix, rows = std::move(rows)](WeightReader& reader) {
      return reader.PackRows(matrix, rows);
    });
  }
  return layer;
}

LinearLayer WeightPlacer::JoinColumns(absl::Span<const MatrixSlice> slices) {
  const TensorInfo& head = Info(slices.front().tensor);
  PackedMatrix matrix{.format = FormatOf(head, formats_.weights),
                      .outputs = static_cast<int>(head.shape[0])};
  std::vector<ColumnsOfMatrix> columns;
  for (const MatrixSlice& slice : slices) {
    const TensorInfo& tensor = Info(slice.tensor);
    const bool whole_blocks =
        slice.first % kernels::kBlock == 0 && slice.count % kernels::kBlock == 0;
    if (FormatOf(tensor, formats_.weights) != matrix.format ||
        (kernels::IsQuantized(matrix.format) && !whole_blocks)) {
      matrix.format = WeightFormat::kF32;
    }
    matrix.depth += static_cast<int>(slice.count);
    columns.push_back({&tensor, slice.first, slice.count});
  }
  std::set<const TensorInfo*> noted;
  for (const ColumnsOfMatrix& part : columns) {
    if (noted.insert(part.tensor).second) NoteMatrix(*part.tensor, matrix.format);
  }
  matrix = Place(matrix);
  reads_.push_back([matrix, columns = std::move(columns)](WeightReader& reader) {
    return reader.PackColumns(matrix, columns);
  });
  return LinearLayer{{matrix}};
}

LinearLayer WeightPlacer::Router(const std::vector<std::string>& tensors) {
  LinearLayer layer;
  for (auto next = tensors.begin(); next != tensors.end();) {
    PackedMatrix matrix{.format = kernels::StoredFormat(Info(*next).type),
                        .depth = static_cast<int>(Info(*next).shape.back())};
    std::vector<std::pair<const TensorInfo*, int>> rows;  // and their first output
    for (; next != tensors.end(); ++next) {
      const TensorInfo& info = Info(*next);
      if (kernels::StoredFormat(info.type) != matrix.format) break;
      rows.emplace_back(&info, matrix.outputs);
      matrix.outputs += static_cast<int>(RowsOf(info));
    }
    matrix.tiles = arena_.Take(matrix.Bytes());
    layer.parts.push_back(matrix);
    for (const auto& [info, first_output] : rows) {
      reads_.push_back([=, info = info, first = first_output](WeightReader& reader) {
        return reader.PackRouter(matrix, first, *info, {});
      });
    }
  }
  return layer;
}

FoldedQuery WeightPlacer::FoldedRouter(const std::string& matrix_name, const std::string& bias_name,
                                       const QueryNormPlan& norm) {
  const TensorInfo& matrix_info = Info(matrix_name);
  const TensorInfo* bias_info = bias_name.empty() ? nullptr : &Info(bias_name);
  const BatchNorm batch_norm{.epsilon = norm.epsilon,
                             .weight = &Info(norm.weight.name),
                             .bias = &Info(norm.bias.name),
                             .mean = &Info(norm.running->mean.name),
                             .variance = &Info(norm.running->variance.name)};
  float* bias = arena_.TakeArray<float>(RowsOf(matrix_info));
  PackedMatrix matrix{.format = WeightFormat::kF32,
                      .outputs = static_cast<int>(RowsOf(matrix_info)),
                      .depth = static_cast<int>(matrix_info.shape.back())};
  matrix.tiles = arena_.Take(matrix.Bytes());
  reads_.push_back([=, &matrix_info](WeightReader& reader) {
    return reader.PackFolded(matrix, matrix_info, {batch_norm, bias_info, bias});
  });
  return {LinearLayer{{matrix}}, bias};
}

std::vector<kernels::SubKeys> WeightPlacer::SubKeySets(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  const int64_t n = info.shape[info.shape.size() - 2];
  const kernels::SubKeys shape{.n = static_cast<int>(n),
                               .width = static_cast<int>(info.shape.back()),
                               .format = kernels::StoredFormat(info.type)};
  std::vector<kernels::SubKeys> sets(RowsOf(info) / n, shape);
  for (kernels::SubKeys& set : sets) set.data = arena_.Take(kernels::SubKeyBytes(shape));
  reads_.push_back([sets, &info](WeightReader& reader) { return reader.PackSubKeys(sets, info); });
  return sets;
}

ExpertTable WeightPlacer::Experts(kernels::ExpertKind kind,
                                  const std::vector<std::string>& tensors) {
  std::vector<const TensorInfo*> vectors;
  TensorType type = TensorType::kBF16;  // the widest of all vectors
  for (const std::string& tensor : tensors) {
    vectors.push_back(&Info(tensor));
    if (vectors.back()->type != TensorType::kBF16) type = vectors.back()->type;
  }
  ExpertTable table{.format = TableFormat(type, formats_.experts, formats_.weights),
                    .kind = kind,
                    .width = static_cast<int>(vectors.front()->shape[1]),
                    .num_experts = vectors.front()->shape[0]};
  if (type == TensorType::kF16 || Name(table.format) != Traits(type).name) {
    conversions_.Add(type, Conversions::Of::kTable, Name(table.format));
  }
  table.records = arena_.Take(table.Bytes());
  reads_.push_back([table, vectors = std::move(vectors)](WeightReader& reader) {
    return reader.PackExperts(table, vectors);
  });
  return table;
}

const float* WeightPlacer::Vector(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  float* values = arena_.TakeArray<float>(Elements(info.shape));
  reads_.push_back([=, &info](WeightReader& reader) { return reader.Values(info, values); });
  return values;
}

const float* WeightPlacer::RouterVector(const std::string& tensor) {
  const TensorInfo& info = Info(tensor);
  float* values = arena_.TakeArray<float>(Elements(info.shape));
  reads_.push_back([=, &info](WeightReader& reader) { return reader.FiniteValues(info, values); });
  return values;
}

WeightFormat WeightPlacer::dominant_format() const {
  WeightFormat most = WeightFormat::kF32;
  for (const WeightFormat f : {WeightFormat::kBF16, WeightFormat::kQ8_0, WeightFormat::kQ4_1}) {
    if (bytes_[static_cast<size_t>(f)] > bytes_[static_cast<size_t>(most)]) most = f;
  }
  return most;
}

void WeightPlacer::NoteMatrix(const TensorInfo& tensor, WeightFormat format) {
  if (tensor.type != kernels::StoredType(format)) {
    conversions_.Add(tensor.type, Conversions::Of::kMatrix, Name(format));
  }
}

}  // namespace peerage::nn::cpu

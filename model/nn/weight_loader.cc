#include "model/nn/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/kernels/stored_block.h"
#include "model/nn/expert_table_loading.h"
#include "model/nn/matrix_packing.h"

namespace peerage::nn {
namespace {

using kernels::ExpertTable;
using kernels::PackedMatrix;
using kernels::WeightFormat;

// Rows that are read at a time of matrices whose columns lie side by side: whole tiles, and enough
// that the team is busy.
constexpr int kRowsOfColumns = 512;

constexpr std::string_view kMatrix = "matrix", kTable = "table";

std::string_view PluralOf(std::string_view what) { return what == kMatrix ? "matrices" : "tables"; }

int64_t Rows(const TensorInfo& tensor) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  return rows;
}

absl::Status CheckFinite(const std::string& name, absl::Span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " holds ", value,
                                                     ": a router's values are numbers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

WeightLoader::WeightLoader(const Checkpoint& checkpoint, Options options, kernels::ThreadPool* pool,
                           Arena& arena)
    : checkpoint_(checkpoint), options_(std::move(options)), pool_(pool), arena_(arena) {
  for (const TensorInfo& tensor : checkpoint.tensors()) progress_.total += tensor.bytes;
}

absl::StatusOr<LinearLayer> WeightLoader::Linear(const std::vector<std::string>& names) {
  std::vector<MatrixSlice> slices;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
    slices.push_back({name, 0, tensor->shape[0]});
  }
  return LinearOfRows(slices);
}

absl::StatusOr<LinearLayer> WeightLoader::LinearOfRows(const std::vector<MatrixSlice>& slices) {
  LinearLayer layer;
  for (size_t first = 0; first < slices.size();) {
    ASSIGN_OR_RETURN(const TensorInfo* head, Find(slices[first].name));
    PackedMatrix matrix{.format = FormatOf(*head, options_.weights_dtype),
                        .depth = static_cast<int>(head->shape[1])};
    size_t end = first;
    std::vector<int> offsets;
    for (; end < slices.size(); ++end) {
      ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(slices[end].name));
      if (FormatOf(*tensor, options_.weights_dtype) != matrix.format) break;
      offsets.push_back(matrix.outputs);
      matrix.outputs += static_cast<int>(slices[end].count);
    }
    matrix.tiles = TakeTiles(matrix);
    for (size_t i = first; i < end; ++i) {
      RETURN_IF_ERROR(PackSlice(matrix, offsets[i - first], slices[i]));
    }
    layer.parts.push_back(matrix);
    first = end;
  }
  return layer;
}

absl::StatusOr<LinearLayer> WeightLoader::LinearOfColumns(const std::vector<MatrixSlice>& slices) {
  ASSIGN_OR_RETURN(const TensorInfo* head, Find(slices.front().name));
  PackedMatrix matrix{.format = FormatOf(*head, options_.weights_dtype),
                      .outputs = static_cast<int>(head->shape[0])};
  for (const MatrixSlice& slice : slices) {
    ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(slice.name));
    matrix.depth += static_cast<int>(slice.count);
    const bool whole_blocks =
        slice.first % kernels::kBlock == 0 && slice.count % kernels::kBlock == 0;
    if (FormatOf(*tensor, options_.weights_dtype) != matrix.format ||
        (kernels::IsQuantized(matrix.format) && !whole_blocks)) {
      matrix.format = WeightFormat::kF32;
    }
  }
  matrix.tiles = TakeTiles(matrix);
  RETURN_IF_ERROR(PackColumns(matrix, slices));
  return LinearLayer{{matrix}};
}

uint8_t* WeightLoader::TakeTiles(const PackedMatrix& matrix) {
  uint8_t* tiles = arena_.Take(matrix.Bytes());
  if (tiles != nullptr) std::memset(tiles, 0, matrix.Bytes());
  bytes_[static_cast<size_t>(matrix.format)] += matrix.Bytes();
  return tiles;
}

absl::StatusOr<LinearLayer> WeightLoader::Router(const RouterMatrix& router) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(router.name));
  const bool scaled = !router.row_scales.empty();
  PackedMatrix matrix{.format = scaled ? WeightFormat::kF32 : kernels::StoredFormat(tensor->type),
                      .outputs = static_cast<int>(Rows(*tensor)),
                      .depth = static_cast<int>(tensor->shape.back())};
  uint8_t* tiles = arena_.Take(matrix.Bytes());
  matrix.tiles = tiles;
  if (dry_run()) return LinearLayer{{matrix}};

  std::memset(tiles, 0, matrix.Bytes());
  RETURN_IF_ERROR(Read(router.name).status());
  std::vector<float> values(matrix.depth);
  std::vector<uint8_t> row(kernels::StoredRowBytes(matrix.format, matrix.depth));
  const size_t stored_bytes = RowBytes(tensor->type, matrix.depth);
  for (int r = 0; r < matrix.outputs; ++r) {
    kernels::DequantizeRow(tensor->type, stored_.data() + r * stored_bytes, matrix.depth,
                           values.data());
    if (scaled) {
      for (float& value : values) value *= router.row_scales[r];
    }
    RETURN_IF_ERROR(CheckFinite(router.name, values));
    kernels::QuantizeRow(matrix.format, values.data(), matrix.depth, row.data());
    kernels::Pack({.shape = matrix, .first_output = r, .num_rows = 1, .rows = row.data()}, tiles);
  }
  return LinearLayer{{matrix}};
}

absl::StatusOr<std::vector<kernels::SubKeys>> WeightLoader::SubKeySets(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
  const int64_t n = tensor->shape[tensor->shape.size() - 2];
  const int64_t width = tensor->shape.back();
  const kernels::SubKeys shape{.n = static_cast<int>(n),
                               .width = static_cast<int>(width),
                               .format = kernels::StoredFormat(tensor->type)};
  std::vector<kernels::SubKeys> sets(Rows(*tensor) / n, shape);
  std::vector<uint8_t*> packed;
  for (kernels::SubKeys& set : sets) {
    packed.push_back(arena_.Take(kernels::SubKeyBytes(shape)));
    set.data = packed.back();
  }
  if (dry_run()) return sets;

  RETURN_IF_ERROR(Read(name).status());
  std::vector<float> values(n * width);
  std::vector<uint8_t> rows(n * kernels::StoredRowBytes(shape.format, width));
  const size_t stored_bytes = RowBytes(tensor->type, n * width);
  for (size_t set = 0; set < sets.size(); ++set) {
    kernels::DequantizeRow(tensor->type, stored_.data() + set * stored_bytes, n * width,
                           values.data());
    RETURN_IF_ERROR(CheckFinite(name, values));
    kernels::QuantizeRow(shape.format, values.data(), n * width, rows.data());
    kernels::PackSubKeys(shape, rows.data(), packed[set]);
  }
  return sets;
}

absl::StatusOr<ExpertTable> WeightLoader::Experts(kernels::ExpertKind kind,
                                                  const std::vector<std::string>& names) {
  std::vector<const TensorInfo*> vectors;
  TensorType type = TensorType::kBF16;  // the widest of all vectors
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(vectors.emplace_back(), Find(name));
    if (vectors.back()->type != TensorType::kBF16) type = vectors.back()->type;
  }
  ExpertTable table{.format = TableFormat(type, options_.expert_dtype, options_.weights_dtype),
                    .kind = kind,
                    .width = static_cast<int>(vectors.front()->shape[1]),
                    .num_experts = vectors.front()->shape[0]};
  if (type == TensorType::kF16 || Name(table.format) != Traits(type).name) {
    ++conversions_[{type, kTable, Name(table.format)}];
  }
  uint8_t* records = arena_.Take(table.Bytes());
  table.records = records;
  if (!dry_run()) {
    const auto read = [this](uint64_t stored_bytes) { Advance(stored_bytes); };
    RETURN_IF_ERROR(LoadExpertTable({checkpoint_, vectors, read}, table, *pool_, records));
  }
  return table;
}

absl::StatusOr<const float*> WeightLoader::Vector(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
  float* values = arena_.TakeFloats(tensor->shape[0]);
  if (dry_run()) return values;
  RETURN_IF_ERROR(Read(name).status());
  kernels::DequantizeRow(tensor->type, stored_.data(), tensor->shape[0], values);
  return values;
}

absl::StatusOr<std::vector<float>> WeightLoader::RouterVector(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
  std::vector<float> values(Rows(*tensor) * tensor->shape.back());
  if (dry_run()) return values;
  RETURN_IF_ERROR(Read(name).status());
  kernels::DequantizeRow(tensor->type, stored_.data(), values.size(), values.data());
  RETURN_IF_ERROR(CheckFinite(name, values));
  return values;
}

const float* WeightLoader::Keep(absl::Span<const float> values) {
  float* kept = arena_.TakeFloats(values.size());
  if (kept != nullptr) std::copy(values.begin(), values.end(), kept);
  return kept;
}

std::vector<std::string> WeightLoader::conversions() const {
  std::vector<std::string> texts;
  for (const auto& [conversion, count] : conversions_) {
    const auto& [from, what, to] = conversion;
    std::string text = std::to_string(count) + " ";
    text.append(Traits(from).name).append(" ").append(count == 1 ? what : PluralOf(what));
    texts.push_back(text.append(" to ").append(to));
  }
  return texts;
}

absl::StatusOr<const TensorInfo*> WeightLoader::Find(const std::string& name) const {
  const TensorInfo* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) return absl::InternalError(absl::StrCat("no tensor ", name));
  return tensor;
}

absl::StatusOr<const TensorInfo*> WeightLoader::Read(const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
  stored_.resize(tensor->bytes);
  RETURN_IF_ERROR(checkpoint_.Read(*tensor, absl::MakeSpan(stored_)));
  Advance(tensor->bytes);
  return tensor;
}

absl::Status WeightLoader::ReadRows(const TensorInfo& tensor, int64_t first,
                                    absl::Span<uint8_t> stored) {
  RETURN_IF_ERROR(checkpoint_.ReadRows(tensor, first, stored));
  Advance(stored.size());
  return absl::OkStatus();
}

absl::Status WeightLoader::PackSlice(const PackedMatrix& matrix, int first_output,
                                     const MatrixSlice& slice) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(slice.name));
  if (slice.first == 0) NoteMatrix(*tensor, matrix.format);
  if (dry_run()) return absl::OkStatus();
  const size_t row_bytes = RowBytes(tensor->type, tensor->shape[1]);
  stored_.resize(slice.count * row_bytes);
  RETURN_IF_ERROR(ReadRows(*tensor, slice.first, absl::MakeSpan(stored_)));
  const RowSegment rows{
      .type = tensor->type, .data = stored_.data(), .stride = row_bytes, .width = tensor->shape[1]};
  PackRows(*pool_,
           {.matrix = matrix,
            .first_output = first_output,
            .rows = static_cast<int>(slice.count),
            .segments = {&rows, 1}},
           const_cast<uint8_t*>(matrix.tiles));  // ours until the layer is handed out
  return absl::OkStatus();
}

absl::Status WeightLoader::PackColumns(const PackedMatrix& matrix,
                                       const std::vector<MatrixSlice>& slices) {
  std::map<const TensorInfo*, std::vector<uint8_t>> sources;
  for (const MatrixSlice& slice : slices) {
    ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(slice.name));
    if (sources.try_emplace(tensor).second) NoteMatrix(*tensor, matrix.format);
  }
  if (dry_run()) return absl::OkStatus();

  for (int first = 0; first < matrix.outputs; first += kRowsOfColumns) {
    const int rows = std::min(kRowsOfColumns, matrix.outputs - first);
    for (auto& [tensor, stored] : sources) {
      stored.resize(rows * RowBytes(tensor->type, tensor->shape[1]));
      RETURN_IF_ERROR(ReadRows(*tensor, first, absl::MakeSpan(stored)));
    }
    std::vector<RowSegment> segments;
    for (const MatrixSlice& slice : slices) {
      const auto& [tensor, stored] = *sources.find(checkpoint_.Find(slice.name));
      segments.push_back({.type = tensor->type,
                          .data = stored.data() + RowBytes(tensor->type, slice.first),
                          .stride = stored.size() / rows,
                          .width = slice.count});
    }
    PackRows(*pool_, {.matrix = matrix, .first_output = first, .rows = rows, .segments = segments},
             const_cast<uint8_t*>(matrix.tiles));
  }
  return absl::OkStatus();
}

void WeightLoader::NoteMatrix(const TensorInfo& tensor, WeightFormat format) {
  if (tensor.type != kernels::StoredType(format)) {
    ++conversions_[{tensor.type, kMatrix, Name(format)}];
  }
}

void WeightLoader::Advance(uint64_t stored_bytes) {
  progress_.loaded += stored_bytes;
  if (options_.progress) options_.progress(progress_);
}

}  // namespace peerage::nn

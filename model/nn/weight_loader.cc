#include "model/nn/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "model/error_text.h"
#include "model/kernels/stored_block.h"
#include "model/status_macros.h"

namespace peerage::nn {
namespace {

using kernels::ExpertTable;
using kernels::PackedMatrix;
using kernels::WeightFormat;

constexpr int kRowsAtOnce = 64;  // converted and packed by one thread at a time
// Stored bytes of a table's vector that one thread reads at a time.
constexpr int64_t kTablePieceBytes = int64_t{1} << 20;

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
  LinearLayer layer;
  for (size_t first = 0; first < names.size();) {
    ASSIGN_OR_RETURN(const TensorInfo* head, Find(names[first]));
    PackedMatrix matrix{.format = FormatOf(*head, options_.weights_dtype),
                        .depth = static_cast<int>(head->shape[1])};
    size_t end = first;
    std::vector<int> offsets;
    for (; end < names.size(); ++end) {
      ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(names[end]));
      if (FormatOf(*tensor, options_.weights_dtype) != matrix.format) break;
      offsets.push_back(matrix.outputs);
      matrix.outputs += static_cast<int>(tensor->shape[0]);
    }
    uint8_t* tiles = arena_.Take(matrix.Bytes());
    if (tiles != nullptr) std::memset(tiles, 0, matrix.Bytes());
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
  if (!dry_run()) RETURN_IF_ERROR(Read(name).status());
  std::vector<kernels::SubKeys> sets;
  std::vector<float> values(n * width);
  std::vector<uint8_t> rows(n * kernels::StoredRowBytes(shape.format, width));
  const size_t stored_bytes = RowBytes(tensor->type, n * width);
  for (int64_t set = 0; set < Rows(*tensor) / n; ++set) {
    uint8_t* packed = arena_.Take(kernels::SubKeyBytes(shape));
    sets.push_back(shape);
    sets.back().data = packed;
    if (dry_run()) continue;
    kernels::DequantizeRow(tensor->type, stored_.data() + set * stored_bytes, n * width,
                           values.data());
    RETURN_IF_ERROR(CheckFinite(name, values));
    kernels::QuantizeRow(shape.format, values.data(), n * width, rows.data());
    kernels::PackSubKeys(shape, rows.data(), packed);
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
  if (!dry_run()) RETURN_IF_ERROR(PackTable(table, records, vectors));
  return table;
}

absl::Status WeightLoader::PackTable(const ExpertTable& table, uint8_t* records,
                                     absl::Span<const TensorInfo* const> vectors) {
  const int64_t row_bytes = RowBytes(vectors.front()->type, table.width);
  const int64_t piece = std::max<int64_t>(1, kTablePieceBytes / row_bytes);
  absl::Mutex mu;  // guards status and progress
  absl::Status status;
  pool_->For(table.num_experts, piece, [&](int64_t begin, int64_t end, int) {
    std::vector<uint8_t> stored;
    std::vector<float> rows;
    for (int64_t first = begin; first < end; first += piece) {
      const int64_t count = std::min(piece, end - first);
      std::memset(records + first * table.RecordBytes(), 0, count * table.RecordBytes());
      for (size_t v = 0; v < vectors.size(); ++v) {
        const TensorInfo& vector = *vectors[v];
        stored.resize(count * RowBytes(vector.type, table.width));
        rows.resize(count * table.width);
        const absl::Status read = checkpoint_.ReadRows(vector, first, absl::MakeSpan(stored));
        if (read.ok()) {
          kernels::DequantizeRow(vector.type, stored.data(), count * table.width, rows.data());
          kernels::PackExperts({.shape = table,
                                .vector = static_cast<int>(v),
                                .first = first,
                                .count = count,
                                .rows = rows.data()},
                               records);
        }
        absl::MutexLock lock(&mu);
        status.Update(read);
        Advance(stored.size());
        if (!status.ok()) return;
      }
    }
  });
  return status;
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

absl::Status WeightLoader::PackInto(const PackedMatrix& matrix, int first_output,
                                    const std::string& name) {
  ASSIGN_OR_RETURN(const TensorInfo* tensor, Find(name));
  const bool converted_type = tensor->type != kernels::StoredType(matrix.format);
  if (converted_type) ++conversions_[{tensor->type, kMatrix, Name(matrix.format)}];
  if (dry_run()) return absl::OkStatus();
  RETURN_IF_ERROR(Read(name).status());
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
      if (converted_type) {
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
  pool_->For(rows, kRowsAtOnce, pack);
  return absl::OkStatus();
}

void WeightLoader::Advance(uint64_t stored_bytes) {
  progress_.loaded += stored_bytes;
  if (options_.progress) options_.progress(progress_);
}

}  // namespace peerage::nn

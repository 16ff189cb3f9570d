#include "model/checkpoint/layout/tensor_reading.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/axis_swap.h"
#include "model/checkpoint/layout/stored_values.h"

namespace peerage {
namespace {

absl::Status CheckValues(TensorRole role, const StoredTensor& part,
                         absl::Span<const uint8_t> bytes) {
  if (role != TensorRole::kRouter && role != TensorRole::kVariance) return absl::OkStatus();
  const std::string place = absl::StrCat("tensor ", Quoted(part.name));
  if (!AllFinite(*part.type, bytes)) {
    return At(place, absl::InvalidArgumentError("a router's tensor holds a NaN or an infinity"));
  }
  if (role == TensorRole::kRouter) return absl::OkStatus();
  const std::vector<float> variances = FloatsOf(*part.type, bytes);
  if (std::all_of(variances.begin(), variances.end(), [](float v) { return v >= 0; })) {
    return absl::OkStatus();
  }
  return At(place, absl::InvalidArgumentError("a variance is below zero"));
}

class TensorReader {
 public:
  TensorReader(const WeightFiles& files, const BoundTensor& tensor)
      : files_(files), tensor_(tensor) {}

  absl::Status Read(absl::Span<uint8_t> bytes) const {
    return std::visit([&](const auto& transform) { return Apply(transform, bytes); },
                      tensor_.transform);
  }

  // Where in the one part the tensor's bytes begin, if they lie there in their order.
  std::optional<uint64_t> Start() const {
    if (std::holds_alternative<AsStored>(tensor_.transform)) return 0;
    const auto* slice = std::get_if<PartSlice>(&tensor_.transform);
    if (slice == nullptr) return std::nullopt;
    return RowBytes(tensor_.info.type, slice->first);
  }

  // How many of the tensor's rows are read together because their order is not the file's.
  int64_t RowsTogether() const {
    const int64_t rows = tensor_.info.shape.front();
    const auto* axes = std::get_if<AxisSwap>(&tensor_.transform);
    return axes != nullptr && rows % axes->outer == 0 ? rows / axes->outer : rows;
  }

  // What lies from `offset` on, whole groups of rows that are read together.
  absl::Status ReadGroups(uint64_t offset, absl::Span<uint8_t> bytes) const {
    const auto* axes = std::get_if<AxisSwap>(&tensor_.transform);
    return axes == nullptr ? Read(bytes) : ReadSwapped(*axes, offset, bytes);
  }

  absl::Status ReadStored(uint64_t offset, absl::Span<uint8_t> bytes) const {
    const StoredTensor& part = tensor_.parts.front();
    RETURN_IF_ERROR(files_[part.file]->Read(part.offset + offset, bytes));
    return CheckValues(tensor_.role, part, bytes);
  }

 private:
  absl::Status Apply(const AsStored&, absl::Span<uint8_t> bytes) const {
    return ReadStored(0, bytes);
  }

  absl::Status Apply(const PartSlice&, absl::Span<uint8_t> bytes) const {
    return ReadStored(*Start(), bytes);
  }

  absl::Status Apply(const AxisSwap& axes, absl::Span<uint8_t> bytes) const {
    return ReadSwapped(axes, 0, bytes);
  }

  absl::Status Apply(const PlusOne&, absl::Span<uint8_t> bytes) const {
    ASSIGN_OR_RETURN(std::vector<float> values, Floats(0, tensor_.role));
    for (float& value : values) value += 1;
    StoreFloats(TensorType::kF32, values, bytes);
    return absl::OkStatus();
  }

  // y = (W x - mean) / sqrt(variance + epsilon), so each row of W is divided by that root.
  absl::Status Apply(const FoldedRouterWeight& fold, absl::Span<uint8_t> bytes) const {
    std::vector<float> folded;
    for (int half = 0; half < 2; ++half) {
      ASSIGN_OR_RETURN(const std::vector<float> matrix, Floats(2 * half, TensorRole::kRouter));
      ASSIGN_OR_RETURN(const std::vector<float> variance,
                       Floats(2 * half + 1, TensorRole::kVariance));
      const size_t width = matrix.size() / variance.size();
      for (size_t i = 0; i < matrix.size(); ++i) {
        folded.push_back(static_cast<float>(matrix[i] / Root(variance[i / width], fold.epsilon)));
      }
    }
    StoreFloats(TensorType::kF32, folded, bytes);
    return absl::OkStatus();
  }

  absl::Status Apply(const FoldedRouterBias& fold, absl::Span<uint8_t> bytes) const {
    std::vector<float> folded;
    for (int half = 0; half < 2; ++half) {
      ASSIGN_OR_RETURN(const std::vector<float> mean, Floats(2 * half, TensorRole::kRouter));
      ASSIGN_OR_RETURN(const std::vector<float> variance,
                       Floats(2 * half + 1, TensorRole::kVariance));
      for (size_t i = 0; i < mean.size(); ++i) {
        folded.push_back(static_cast<float>(-mean[i] / Root(variance[i], fold.epsilon)));
      }
    }
    StoreFloats(TensorType::kF32, folded, bytes);
    return absl::OkStatus();
  }

  absl::Status ReadSwapped(AxisSwap axes, uint64_t offset, absl::Span<uint8_t> bytes) const {
    std::vector<uint8_t> stored(bytes.size());
    RETURN_IF_ERROR(ReadStored(offset, absl::MakeSpan(stored)));
    axes.outer =
        axes.outer * static_cast<int64_t>(bytes.size()) / static_cast<int64_t>(tensor_.info.bytes);
    SwapAxes(axes, stored, bytes);
    return absl::OkStatus();
  }

  static double Root(float variance, float epsilon) {
    return std::sqrt(static_cast<double>(variance) + epsilon);
  }

  absl::StatusOr<std::vector<float>> Floats(int index, TensorRole role) const {
    const StoredTensor& part = tensor_.parts[index];
    std::vector<uint8_t> stored(part.bytes);
    RETURN_IF_ERROR(files_[part.file]->Read(part.offset, absl::MakeSpan(stored)));
    RETURN_IF_ERROR(CheckValues(role, part, stored));
    return FloatsOf(*part.type, stored);
  }

  const WeightFiles& files_;
  const BoundTensor& tensor_;
};

}  // namespace

absl::Status ReadTensor(const WeightFiles& files, const BoundTensor& tensor,
                        absl::Span<uint8_t> bytes) {
  return TensorReader(files, tensor).Read(bytes);
}

absl::Status ReadTensorRows(const WeightFiles& files, const BoundTensor& tensor, int64_t first,
                            absl::Span<uint8_t> bytes) {
  const int64_t rows = tensor.info.shape.front();
  const uint64_t row_bytes = tensor.info.bytes / rows;
  if (first < 0 || first > rows || bytes.size() % row_bytes != 0 ||
      bytes.size() / row_bytes > static_cast<uint64_t>(rows - first)) {
    return absl::OutOfRangeError(absl::StrCat("tensor ", Quoted(tensor.info.name), " has ", rows,
                                              " rows of ", row_bytes, " bytes, not ", bytes.size(),
                                              " bytes from row ", first, " on"));
  }
  const TensorReader reader(files, tensor);
  if (std::optional<uint64_t> start = reader.Start()) {
    return reader.ReadStored(*start + first * row_bytes, bytes);
  }
  if (bytes.empty()) return absl::OkStatus();
  const int64_t together = reader.RowsTogether();
  const int64_t begin = first / together * together;
  const int64_t wanted_end = first + static_cast<int64_t>(bytes.size() / row_bytes);
  const int64_t end = (wanted_end + together - 1) / together * together;
  std::vector<uint8_t> groups((end - begin) * row_bytes);
  RETURN_IF_ERROR(reader.ReadGroups(begin * row_bytes, absl::MakeSpan(groups)));
  std::copy_n(groups.begin() + (first - begin) * row_bytes, bytes.size(), bytes.begin());
  return absl::OkStatus();
}

}  // namespace peerage

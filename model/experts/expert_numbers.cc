#include "model/experts/expert_numbers.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/npy_header.h"

namespace peerage {
namespace {

// (2, experts)
bool ReadShape(absl::string_view header, uint64_t* experts) {
  constexpr absl::string_view kShape = "'shape': (2, ";
  const size_t at = header.find(kShape);
  if (at == absl::string_view::npos) return false;
  header.remove_prefix(at + kShape.size());
  return absl::SimpleAtoi(header.substr(0, header.find(')')), experts);
}

}  // namespace

std::vector<uint32_t> MostUsedExperts(absl::Span<const uint64_t> selections,
                                      absl::Span<const double> scores, size_t count) {
  assert(selections.size() == scores.size());
  std::vector<uint32_t> ids(selections.size());
  std::iota(ids.begin(), ids.end(), 0);
  count = std::min(count, ids.size());
  const auto rank = [&](uint32_t id) {
    const double score = std::isnan(scores[id]) ? 0 : scores[id];
    return std::make_tuple(~selections[id], -score, id);
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count), ids.end(),
                    [&rank](uint32_t a, uint32_t b) { return rank(a) < rank(b); });
  ids.resize(count);
  return ids;
}

bool IsSoft(uint64_t tokens, uint64_t selections, uint64_t num_experts) {
  return tokens > 0 && selections == tokens * num_experts;
}

std::vector<double> ScoreShares(absl::Span<const double> scores) {
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  const bool weights =
      std::all_of(scores.begin(), scores.end(), [](double score) { return score >= 0; });
  if (!weights || !(sum > 0) || !std::isfinite(sum)) return {};
  std::vector<double> shares(scores.begin(), scores.end());
  for (double& share : shares) share /= sum;
  return shares;
}

SubKeySelections SelectionsBySubKey(absl::Span<const uint64_t> selections, uint32_t num_sub_keys) {
  const size_t n = num_sub_keys;
  SubKeySelections sums{std::vector<uint64_t>(n), std::vector<uint64_t>(n)};
  for (size_t first = 0, row = 0; first < selections.size(); first += n, row = (row + 1) % n) {
    for (size_t j = 0; j < n; ++j) {
      sums.rows[row] += selections[first + j];
      sums.columns[j] += selections[first + j];
    }
  }
  return sums;
}

std::string ToNpy(absl::Span<const uint64_t> selections, absl::Span<const double> scores) {
  assert(selections.size() == scores.size());
  std::string bytes = NpyHeader("'<f8'", absl::StrCat("(2, ", selections.size(), ")"));
  AppendLittleEndian(std::vector<double>(selections.begin(), selections.end()), bytes);
  AppendLittleEndian(scores, bytes);
  return bytes;
}

absl::StatusOr<ExpertNumbers> FromNpy(absl::string_view bytes) {
  constexpr size_t kBefore = 10;
  if (bytes.size() < kBefore || !absl::StartsWith(bytes, "\x93NUMPY\x01")) {
    return absl::InvalidArgumentError("is no NumPy file of format 1.0");
  }
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const size_t header_size = LoadLittleEndian<uint16_t>(data + 8);
  const absl::string_view header = bytes.substr(kBefore, header_size);
  uint64_t experts = 0;
  if (!absl::StrContains(header, "'descr': '<f8'") ||
      !absl::StrContains(header, "'fortran_order': False") || !ReadShape(header, &experts)) {
    return absl::InvalidArgumentError(
        "must hold float64 numbers of shape [2, experts], row by row");
  }
  const size_t first = kBefore + header_size;
  if (bytes.size() < first || (bytes.size() - first) / (2 * sizeof(double)) != experts ||
      (bytes.size() - first) % (2 * sizeof(double)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("has not the 2 * ", experts, " numbers that its header tells of"));
  }
  ExpertNumbers numbers;
  for (uint64_t i = 0; i < experts; ++i) {
    const auto count = LoadLittleEndian<double>(data + first + i * sizeof(double));
    if (!(count >= 0 && count <= 0x1p53) || count != std::floor(count)) {
      return absl::InvalidArgumentError(
          absl::StrCat("selections of expert ", i, " are no count: ", count));
    }
    numbers.selections.push_back(static_cast<uint64_t>(count));
    numbers.scores.push_back(
        LoadLittleEndian<double>(data + first + (experts + i) * sizeof(double)));
  }
  return numbers;
}

}  // namespace peerage

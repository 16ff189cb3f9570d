#include "model/experts/expert_numbers.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

void AppendDoubles(absl::Span<const double> values, std::string& bytes) {
  static_assert(std::endian::native == std::endian::little);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
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

std::string ToNpy(absl::Span<const uint64_t> selections, absl::Span<const double> scores) {
  assert(selections.size() == scores.size());
  std::string header = absl::StrCat("{'descr': '<f8', 'fortran_order': False, 'shape': (2, ",
                                    selections.size(), "), }");
  constexpr size_t kBefore = 10;  // magic, version, length
  header.append(63 - (kBefore + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 0xFF),
            static_cast<char>(header.size() >> 8)};
  bytes += header;
  AppendDoubles(std::vector<double>(selections.begin(), selections.end()), bytes);
  AppendDoubles(scores, bytes);
  return bytes;
}

}  // namespace peerage

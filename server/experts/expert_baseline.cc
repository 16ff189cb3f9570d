#include "server/experts/expert_baseline.h"

#include <fstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

// Not more than the file of so many experts has, and its longest header.
absl::StatusOr<std::string> ReadUpTo(const std::string& path, uint64_t experts) {
  const uint64_t most = (uint64_t{1} << 16) + 10 + experts * 2 * sizeof(double);
  std::ifstream file(path, std::ios::binary);
  std::string bytes(most + 1, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) && !file.eof()) {
    return absl::InvalidArgumentError("cannot be read");
  }
  bytes.resize(static_cast<size_t>(file.gcount()));
  if (bytes.size() > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("is too large for the usage of the model's ", experts, " experts"));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<uint64_t>>> ReadExpertBaseline(
    const std::string& path, absl::Span<const ExpertLayer> layers) {
  uint64_t experts = 0;
  for (const ExpertLayer& layer : layers) experts += layer.num_experts;
  ASSIGN_OR_RETURN(const std::string bytes, At(path, ReadUpTo(path, experts)));
  ASSIGN_OR_RETURN(const ExpertNumbers numbers, At(path, FromNpy(bytes)));
  if (numbers.selections.size() != experts) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": has ", numbers.selections.size(), " experts, and the model has ", experts,
        " over all its layers, as `peerage experts --npy` without --layer writes them"));
  }
  std::vector<std::vector<uint64_t>> baseline;
  auto first = numbers.selections.begin();
  for (const ExpertLayer& layer : layers) {
    baseline.emplace_back(first, first + layer.num_experts);
    first += layer.num_experts;
  }
  return baseline;
}

}  // namespace peerage

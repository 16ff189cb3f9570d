#include "model/transform/upcycle/prompt_routers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle/condition_number.h"

namespace peerage::transform {
namespace {

constexpr double kIllConditioned = 5;  // mergekit's threshold

// The rows of one router: the sum of what it reads of each expert's prompts, then at length 1.
class RouterRows {
 public:
  RouterRows(size_t experts, size_t width) : width_(width), sums_(experts * width) {}

  void Add(size_t expert, absl::Span<const float> states) {
    double* sum = sums_.data() + expert * width_;
    for (size_t i = 0; i < states.size(); ++i) sum[i % width_] += states[i];
  }

  std::vector<float> AtLengthOne() const {
    std::vector<float> rows;
    for (size_t first = 0; first < sums_.size(); first += width_) {
      const absl::Span<const double> sum(sums_.data() + first, width_);
      double squares = 0;
      for (const double value : sum) squares += value * value;
      const double length = std::max(std::sqrt(squares), 1e-30);  // a sum of zero stays zero
      for (const double value : sum) rows.push_back(static_cast<float>(value / length));
    }
    return rows;
  }

 private:
  const size_t width_;
  std::vector<double> sums_;  // [experts][width]
};

// Whose prompt each sequence is.
std::vector<size_t> ExpertOfSequence(const ExpertPrompts& prompts) {
  std::vector<size_t> experts;
  size_t expert = 0, tokens = 0;
  for (const TokenSequence& sequence : prompts.sequences) {
    while (tokens == prompts.tokens[expert]) {
      ++expert;
      tokens = 0;
    }
    experts.push_back(expert);
    tokens += sequence.size();
  }
  return experts;
}

// Finite weights may still make values beyond f32.
absl::Status CheckFinite(const PromptRouters& routers) {
  for (const auto& [name, rows] : routers.values) {
    if (AllFinite(rows)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("what ", name, " would read of the prompts is not finite"));
  }
  return absl::OkStatus();
}

// One line about all routers that can hardly tell the experts apart.
std::vector<std::string> WarningsOf(const std::map<std::string, std::vector<float>>& routers,
                                    int experts) {
  int count = 0;
  double worst = 0;
  std::string where;
  for (const auto& [name, rows] : routers) {
    const double condition = ConditionNumber(rows, experts);
    if (condition > kIllConditioned) ++count;
    if (condition > worst) {
      worst = condition;
      where = name;
    }
  }
  if (count == 0) return {};
  return {absl::StrFormat(
      "%d of %d routers are ill-conditioned, their experts' prompts too alike: the condition "
      "number of %s is %.1f, above %.0f",
      count, routers.size(), where, worst, kIllConditioned)};
}

}  // namespace

absl::StatusOr<PromptRouters> MakePromptRouters(const Checkpoint& base,
                                                const ExpertPrompts& prompts,
                                                UpcycledAttention attention,
                                                const LayerInputOptions& reading) {
  const ModelConfig& config = base.config();
  const RouterRows none(prompts.tokens.size(), config.hidden_size);
  std::vector<RouterRows> of_attention(config.layers.size(), none), of_ffn = of_attention;
  const std::vector<size_t> experts = ExpertOfSequence(prompts);
  RETURN_IF_ERROR(ReadLayerInputs(base, prompts.sequences, reading, [&](const LayerInput& input) {
    auto& rows = input.part == nn::LayerPart::kAttention ? of_attention : of_ffn;
    rows[input.layer].Add(experts[input.sequence], input.rows);
  }));
  PromptRouters routers;
  for (size_t layer = 0; layer < config.layers.size(); ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer);
    routers.values[prefix + ".ffn.mixture.router.weight"] = of_ffn[layer].AtLengthOne();
    if (!HasAttentionExperts(attention)) continue;
    routers.values[prefix + ".attention.router.weight"] = of_attention[layer].AtLengthOne();
  }
  RETURN_IF_ERROR(CheckFinite(routers));
  routers.warnings = WarningsOf(routers.values, static_cast<int>(prompts.tokens.size()));
  return routers;
}

}  // namespace peerage::transform

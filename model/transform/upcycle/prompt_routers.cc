#include "model/transform/upcycle/prompt_routers.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/tensor_values.h"
#include "model/transform/upcycle/condition_number.h"
#include "model/transform/upcycle/dense_forward.h"

namespace peerage::transform {
namespace {

constexpr double kIllConditioned = 5;  // mergekit's threshold

// The mean of the states of each expert's tokens, at length 1.
std::vector<float> MeanRows(const std::vector<float>& states, const ExpertPrompts& prompts,
                            size_t width) {
  std::vector<float> rows;
  const float* state = states.data();
  for (const size_t tokens : prompts.tokens) {
    std::vector<double> sum(width);
    for (size_t t = 0; t < tokens; ++t, state += width) {
      for (size_t i = 0; i < width; ++i) sum[i] += state[i];
    }
    double squares = 0;
    for (const double value : sum) squares += value * value;
    const double length = std::max(std::sqrt(squares), 1e-30);  // a sum of zero stays zero
    for (const double value : sum) rows.push_back(static_cast<float>(value / length));
  }
  return rows;
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
                                                UpcycledAttention attention) {
  ASSIGN_OR_RETURN(DenseForward forward, DenseForward::Start(base, prompts.sequences));
  PromptRouters routers;
  const ModelConfig& config = base.config();
  for (size_t layer = 0; layer < config.layers.size(); ++layer) {
    ASSIGN_OR_RETURN(const DenseForward::LayerInputs inputs, forward.RunLayer());
    const std::string prefix = absl::StrCat("model.layers.", layer);
    routers.values[prefix + ".ffn.mixture.router.weight"] =
        MeanRows(inputs.ffn, prompts, config.hidden_size);
    if (!HasAttentionExperts(attention)) continue;
    routers.values[prefix + ".attention.router.weight"] =
        MeanRows(inputs.attention, prompts, config.hidden_size);
  }
  RETURN_IF_ERROR(CheckFinite(routers));
  routers.warnings = WarningsOf(routers.values, static_cast<int>(prompts.tokens.size()));
  return routers;
}

}  // namespace peerage::transform

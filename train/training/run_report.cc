#include "train/training/run_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/number_text.h"

namespace peerage::train {
namespace {

using nlohmann::ordered_json;

const char* NameOf(ExpertLayerKind kind) {
  switch (kind) {
    case ExpertLayerKind::kPeer:
      return "peer";
    case ExpertLayerKind::kProductKeyMemory:
      return "pkm";
    case ExpertLayerKind::kMixtureFfn:
      return "ffn";
    case ExpertLayerKind::kMixtureAttention:
      return "attention";
  }
  return "";
}

std::string ExpertsText(const ExpertLayer& layer, const ExpertFigures& figures) {
  return absl::StrFormat("%d.%s %.1f %% used (chance %.1f %%), KL %.2f (chance %.2f)", layer.layer,
                         NameOf(layer.kind), 100 * figures.used_ratio,
                         100 * figures.used_expected_ratio, figures.by_score.nats,
                         figures.by_score.expected_nats);
}

std::string LeftText(absl::Duration left) {
  if (left >= absl::Hours(1)) return absl::FormatDuration(absl::Trunc(left, absl::Minutes(1)));
  return absl::FormatDuration(absl::Trunc(left, absl::Seconds(1)));
}

}  // namespace

std::vector<ExpertFigures> FiguresOf(const std::vector<ExpertLayer>& layers,
                                     const std::vector<ExpertCounts>& counts) {
  std::vector<ExpertFigures> figures;
  for (size_t i = 0; i < layers.size(); ++i) {
    figures.push_back(ComputeExpertFigures({.selections = counts[i].selections,
                                            .scores = counts[i].scores,
                                            .squared_scores = counts[i].squared_scores,
                                            .top_k = layers[i].top_k,
                                            .expert_sets = layers[i].expert_sets}));
  }
  return figures;
}

std::string ProgressLine(const Progress& progress, const std::vector<ExpertLayer>& layers) {
  std::string line = absl::StrFormat(
      "step %s/%s  loss %.3f  |g| %.3g  lr %.1e  %s tokens/s  %s left", FormatWhole(progress.step),
      FormatWhole(progress.steps), progress.figures.loss, progress.figures.gradient_norm,
      progress.learning_rate, FormatWhole(std::llround(progress.tokens_per_second)),
      LeftText(progress.left));
  // The layer with the least of its experts in use says most: a line has room for one.
  size_t least = 0;
  for (size_t i = 1; i < progress.experts.size(); ++i) {
    if (progress.experts[i].used_ratio < progress.experts[least].used_ratio) least = i;
  }
  if (!progress.experts.empty()) {
    absl::StrAppend(&line, "  ", progress.experts.size() > 1 ? "least: " : "",
                    ExpertsText(layers[least], progress.experts[least]));
  }
  return line;
}

ordered_json ProgressJson(const Progress& progress, const std::vector<ExpertLayer>& layers) {
  ordered_json json = {{"step", progress.step},
                       {"loss", progress.figures.loss},
                       {"gradient_norm", progress.figures.gradient_norm},
                       {"learning_rate", progress.learning_rate},
                       {"tokens_per_second", progress.tokens_per_second}};
  if (!layers.empty()) {
    json["balance_loss"] = progress.figures.balance_loss;
    json["z_loss"] = progress.figures.z_loss;
    json["experts"] = ordered_json::array();
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const ExpertFigures& figures = progress.experts[i];
    json["experts"].push_back({{"layer", layers[i].layer},
                               {"kind", NameOf(layers[i].kind)},
                               {"used", figures.used_ratio},
                               {"used_by_chance", figures.used_expected_ratio},
                               {"unevenness", figures.by_score.nats},
                               {"unevenness_by_chance", figures.by_score.expected_nats}});
  }
  return json;
}

ordered_json HeldOutJson(int64_t step, const std::vector<HeldOutFigures>& figures) {
  ordered_json json = {{"step", step}, {"held_out", ordered_json::array()}};
  for (const HeldOutFigures& file : figures) {
    json["held_out"].push_back({{"file", file.file},
                                {"tokens", file.tokens},
                                {"loss", file.loss},
                                {"perplexity", std::exp(file.loss)}});
  }
  return json;
}

std::string HeldOutLine(const std::vector<HeldOutFigures>& figures) {
  std::string line = "perplexity";
  for (const HeldOutFigures& file : figures) {
    absl::StrAppend(&line, absl::StrFormat("  %s %.2f", file.file, std::exp(file.loss)));
  }
  return line;
}

}  // namespace peerage::train

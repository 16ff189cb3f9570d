#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/commands/output_file.h"
#include "client/expert_json.h"
#include "client/expert_layers.h"
#include "client/expert_picture.h"
#include "client/expert_report.h"
#include "client/mixture_table.h"
#include "client/terminal_text.h"
#include "model/experts/expert_numbers.h"
#include "model/experts/map_frame.h"

namespace peerage::client {
namespace {

constexpr int kWatchSeconds = 15;

// What is too large to draw can still be read as numbers.
absl::Status SuggestNpy(const absl::Status& status) {
  if (!absl::IsOutOfRange(status)) return status;
  return absl::InvalidArgumentError(absl::StrCat(status.message(), "; use --npy"));
}

// Without --layer the command prints a table of all layers, with it one layer's details and
// numbers. Both can be drawn.
class ExpertsCommand : public Command {
 public:
  ExpertsCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "experts",
                 .description = "Which experts does the model use?",
                 .examples = {"experts --watch 5", "experts --layer 1 --png usage.png"}}) {
    AddModelOption(app(), model_);
    AddWord(app(), "--window", window_, "recent|total",
            "The last 2.5 to 5 minutes, or all since the start or --reset")
        ->default_str(window_);
    AddNumberOrAlone(
        app(), "--watch", watch_seconds_, kWatchSeconds,
        "Print a new table every N seconds (15 when N is left out); as JSON one a line",
        {.least = 1, .most = 86400});
    AddLayerOptions();
    app().add_flag("--reset", reset_, "Start a new total window, and print nothing");
  }

  absl::Status Prepare() override {
    if (maps_.has_value() && !layer_.has_value()) {
      return absl::InvalidArgumentError("--maps needs --layer");
    }
    if (png_.empty() && (maps_.has_value() || picture_scale_.has_value())) {
      return absl::InvalidArgumentError(
          "--maps and --scale are for a picture: name one with --png");
    }
    if (!watch_seconds_.has_value()) return absl::OkStatus();
    if (layer_.has_value()) {
      return absl::InvalidArgumentError("--watch is for all layers: leave out --layer");
    }
    if (png_.empty() && npy_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("--watch writes no files: leave out --png and --npy");
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (reset_) return Reset(client);
    ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
    return layer_.has_value() ? ShowLayer(client, models) : ShowLayers(client, models);
  }

 private:
  void AddLayerOptions() {
    std::vector<std::string> kinds;
    for (const auto& kind : kExpertKinds) kinds.emplace_back(kind.name);
    AddOptionalNumber(app(), "--layer", layer_, "Details of one layer");
    AddWord(app(), "--kind", kind_, absl::StrJoin(kinds, "|"), "Only such experts")
        ->default_str("all; with --layer the kind that it has");
    app()
        .add_option("--png", png_,
                    "Draw the layer's experts (first sub-key down, second across), or what each "
                    "expert of a mixture counts in that layer or in all")
        ->type_name("FILE");
    AddOptionalNumber(app(), "--maps", maps_,
                      "Draw N maps: the heads, when each has its own experts",
                      {.least = 1, .most = 1024})
        ->default_str("what the model has");
    AddOptionalNumber(app(), "--scale", picture_scale_,
                      "Draw everything N times as large, letters too",
                      {.least = 1, .most = MapFrame::kLargestZoom})
        ->default_str("1");
    app()
        .add_option("--npy", npy_,
                    "Write selections and score sums: float64 [2, experts], of the layer or of all "
                    "layers one after the other")
        ->type_name("FILE");
  }

  v1::UsageWindow window() const {
    return window_ == "total" ? v1::USAGE_WINDOW_TOTAL : v1::USAGE_WINDOW_RECENT;
  }

  absl::StatusOr<int> Reset(Client& client) {
    v1::ResetExpertUsageRequest request;
    request.set_model(model_);
    RETURN_IF_ERROR(client.ResetExpertUsage(request));
    return 0;
  }

  absl::StatusOr<ExpertUsage> ReadUsage(Client& client, uint32_t layer, v1::ExpertLayerKind kind) {
    v1::GetExpertUsageRequest request;
    request.set_model(model_);
    request.set_layer(layer);
    request.set_kind(kind);
    request.set_window(window());
    return client.GetExpertUsage(request);
  }

  absl::StatusOr<int> ShowLayers(Client& client, const v1::ListModelsResponse& models) {
    v1::WatchExpertSummaryRequest request;
    request.set_model(model_);
    request.set_window(window());
    request.mutable_interval()->set_seconds(watch_seconds_.value_or(kWatchSeconds));
    const bool watch = watch_seconds_.has_value();
    absl::Status shown;
    const auto show = [&](const v1::WatchExpertSummaryResponse& summary) {
      shown = ShowSummary(client, summary, models);
      return watch && shown.ok() && std::cout.good();
    };
    RETURN_IF_ERROR(client.WatchExpertSummary(request, show));
    RETURN_IF_ERROR(shown);
    return 0;
  }

  absl::Status ShowSummary(Client& client, v1::WatchExpertSummaryResponse summary,
                           const v1::ListModelsResponse& models) {
    RETURN_IF_ERROR(KeepKind(summary));
    if (!npy_.empty()) RETURN_IF_ERROR(WriteNpy(client, summary));
    ASSIGN_OR_RETURN(const std::vector<MixtureLayer> mixtures, ReadMixtures(client, summary));
    if (!png_.empty()) {
      std::vector<ExpertUsage> usages;
      for (const MixtureLayer& mixture : mixtures) usages.push_back(mixture.usage);
      if (summary.layers().empty()) {
        return absl::InvalidArgumentError("--png: the model has no experts");
      }
      if (usages.empty()) {
        return absl::InvalidArgumentError("--png needs --layer: there is no mixture to draw");
      }
      RETURN_IF_ERROR(WritePng(models, usages));
    }
    if (json()) {
      const Json all = ExpertSummaryJson(summary, mixtures, ExpertNames(models));
      std::cout << (watch_seconds_.has_value() ? JsonLine(all) : JsonText(all)) << std::flush;
    } else {
      std::cout << ExpertSummaryText(summary, mixtures, ExpertNames(models)) << std::flush;
    }
    return absl::OkStatus();
  }

  // Of all layers, one after the other.
  absl::Status WriteNpy(Client& client, const v1::WatchExpertSummaryResponse& summary) {
    std::vector<uint64_t> selections;
    std::vector<double> scores;
    for (const v1::LayerSummary& layer : summary.layers()) {
      ASSIGN_OR_RETURN(const ExpertUsage usage, ReadUsage(client, layer.layer(), layer.kind()));
      selections.insert(selections.end(), usage.selections.begin(), usage.selections.end());
      scores.insert(scores.end(), usage.score_sums.begin(), usage.score_sums.end());
    }
    return WriteFile(npy_, ToNpy(selections, scores));
  }

  absl::Status KeepKind(v1::WatchExpertSummaryResponse& summary) const {
    if (kind_.empty()) return absl::OkStatus();
    auto& layers = *summary.mutable_layers();
    layers.erase(std::remove_if(layers.begin(), layers.end(),
                                [this](const v1::LayerSummary& layer) {
                                  return layer.kind() != ParseExpertKind(kind_);
                                }),
                 layers.end());
    if (!layers.empty()) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat("no layer has experts of kind ", kind_));
  }

  absl::StatusOr<std::vector<MixtureLayer>> ReadMixtures(
      Client& client, const v1::WatchExpertSummaryResponse& summary) {
    std::vector<MixtureLayer> mixtures;
    for (const v1::LayerSummary& layer : summary.layers()) {
      if (!IsMixture(layer.kind())) continue;
      ASSIGN_OR_RETURN(ExpertUsage usage, ReadUsage(client, layer.layer(), layer.kind()));
      mixtures.push_back({layer, std::move(usage)});
    }
    return mixtures;
  }

  absl::StatusOr<int> ShowLayer(Client& client, const v1::ListModelsResponse& models) {
    const ExpertLayerChoice choice{
        .model = model_, .layer = *layer_, .kind = ParseExpertKind(kind_)};
    ASSIGN_OR_RETURN(const v1::ExpertLayerKind kind, FindExpertKind(models, choice));
    ASSIGN_OR_RETURN(const ExpertUsage usage, ReadUsage(client, *layer_, kind));
    const ExpertNames names(models);
    if (!png_.empty()) RETURN_IF_ERROR(WritePng(models, {usage}));
    if (!npy_.empty()) RETURN_IF_ERROR(WriteFile(npy_, ToNpy(usage.selections, usage.score_sums)));
    std::cout << (json() ? JsonText(ExpertUsageJson(usage, names))
                         : ExpertUsageReport(usage, names));
    return 0;
  }

  // What a picture shows can be seen in it; what was written, and how large it is, is said.
  absl::Status WritePng(const v1::ListModelsResponse& models,
                        const std::vector<ExpertUsage>& layers) {
    const ExpertPicture picture{
        .window = window_, .maps = maps_, .scale = picture_scale_.value_or(1)};
    const absl::StatusOr<Image> image = DrawExperts(models, layers, picture);
    if (!image.ok()) return SuggestNpy(image.status());
    ASSIGN_OR_RETURN(const std::string png, image->ToPng());
    RETURN_IF_ERROR(WriteFile(png_, png));
    std::cerr << "wrote " << png_ << ": " << DescribeExperts(layers) << ", " << image->width()
              << " x " << image->height() << " pixels\n";
    return absl::OkStatus();
  }

  std::string model_;
  std::string window_ = "recent";
  std::optional<uint32_t> watch_seconds_;
  std::optional<uint32_t> layer_;
  std::string kind_;
  std::string png_;
  std::string npy_;
  std::optional<int> maps_;
  std::optional<int> picture_scale_;
  bool reset_ = false;
};

}  // namespace

std::unique_ptr<Command> AddExperts(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<ExpertsCommand>(program, shared);
}

}  // namespace peerage::client

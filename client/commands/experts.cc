#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/expert_layers.h"
#include "client/expert_picture.h"
#include "client/expert_report.h"
#include "client/mixture_table.h"
#include "client/terminal_text.h"
#include "model/experts/expert_numbers.h"
#include "model/experts/map_frame.h"

namespace peerage::client {
namespace {

absl::Status WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

// What is too large to draw can still be read as numbers.
absl::Status SuggestNpy(const absl::Status& status) {
  if (!absl::IsOutOfRange(status)) return status;
  return absl::InvalidArgumentError(absl::StrCat(status.message(), "; use --npy"));
}

// Without --layer the command prints a table of all layers, with it one layer's details and
// numbers. Both can be drawn.
class ExpertsCommand : public Command {
 public:
  explicit ExpertsCommand(CLI::App& program)
      : Command(program, "experts", "Which experts does the model use?") {
    app().add_option("--model", model_, "Which model (the server's only one)")->type_name("NAME");
    app()
        .add_option("--window", window_, "recent (the last 2.5 to 5 minutes) or total (recent)")
        ->check(CLI::IsMember({"recent", "total"}));
    watch_option_ = app()
                        .add_option("--watch", watch_seconds_,
                                    "Print a new table every so many seconds, at least 1 (15)")
                        ->expected(0, 1)
                        ->check(CLI::Range(1, 86400))
                        ->type_name("SECONDS");
    AddLayerOptions();
    app().add_flag("--reset", reset_, "Start a new total window, and print nothing");
  }

  absl::Status Prepare() override {
    if (maps_.has_value() && !layer_.has_value()) {
      return absl::InvalidArgumentError("--maps needs --layer");
    }
    if (png_.empty() && (maps_.has_value() || scale_option_->count() > 0)) {
      return absl::InvalidArgumentError(
          "--maps and --scale are for a picture: name one with --png");
    }
    if (watch_option_->count() == 0) return absl::OkStatus();
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
    app().add_option("--layer", layer_, "Details of one layer")->type_name("N");
    app()
        .add_option("--kind", kind_, "Only such experts (all; with --layer the kind that it has)")
        ->check(CLI::IsMember(std::move(kinds)));
    app()
        .add_option("--png", png_,
                    "Draw the layer's experts (first sub-key down, second across), or what each "
                    "expert of a mixture counts in that layer or in all")
        ->type_name("FILE");
    app()
        .add_option("--maps", maps_,
                    "Draw so many maps: the heads, when each has its own experts, else 1 (what the "
                    "model has, and nothing else is drawn)")
        ->check(CLI::Range(1, 1024));
    scale_option_ = app()
                        .add_option("--scale", picture_scale_,
                                    "Draw everything so many times as large, letters too (1)")
                        ->check(CLI::Range(1, MapFrame::kLargestZoom));
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
    request.mutable_interval()->set_seconds(watch_seconds_);
    const bool watch = watch_option_->count() > 0;
    absl::Status shown;
    const auto show = [&](const v1::WatchExpertSummaryResponse& summary) {
      shown = ShowSummary(client, summary, models);
      return watch && shown.ok();
    };
    RETURN_IF_ERROR(client.WatchExpertSummary(request, show));
    RETURN_IF_ERROR(shown);
    return 0;
  }

  absl::Status ShowSummary(Client& client, v1::WatchExpertSummaryResponse summary,
                           const v1::ListModelsResponse& models) {
    RETURN_IF_ERROR(KeepKind(summary));
    if (!npy_.empty()) RETURN_IF_ERROR(WriteNpy(client, summary));
    std::vector<MixtureLayer> mixtures;
    if (!json() || !png_.empty()) {
      ASSIGN_OR_RETURN(mixtures, ReadMixtures(client, summary));
    }
    if (!png_.empty()) {
      std::vector<ExpertUsage> usages;
      for (const MixtureLayer& mixture : mixtures) usages.push_back(mixture.usage);
      if (usages.empty()) {
        return absl::InvalidArgumentError("--png needs --layer: there is no mixture to draw");
      }
      RETURN_IF_ERROR(WritePng(models, usages));
    }
    std::cout << (json() ? ToJson(summary)
                         : ExpertSummaryText(summary, mixtures, ExpertNames(models)))
              << std::flush;
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
    std::cout << (json() ? ExpertUsageJson(usage, names) : ExpertUsageReport(usage, names));
    return 0;
  }

  // What a picture shows can be seen in it; what was written, and how large it is, is said.
  absl::Status WritePng(const v1::ListModelsResponse& models,
                        const std::vector<ExpertUsage>& layers) {
    const ExpertPicture picture{.window = window_, .maps = maps_, .scale = picture_scale_};
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
  CLI::Option* watch_option_ = nullptr;
  int watch_seconds_ = 15;
  std::optional<uint32_t> layer_;
  std::string kind_;
  std::string png_;
  std::string npy_;
  std::optional<int> maps_;
  CLI::Option* scale_option_ = nullptr;
  int picture_scale_ = 1;
  bool reset_ = false;
};

}  // namespace

std::unique_ptr<Command> AddExperts(CLI::App& program) {
  return std::make_unique<ExpertsCommand>(program);
}

}  // namespace peerage::client

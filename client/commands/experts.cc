#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/expert_map.h"
#include "client/expert_tables.h"
#include "client/format.h"
#include "client/npy_file.h"
#include "model/status_macros.h"

namespace peerage {
namespace {

absl::Status WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

// Without --layer a table of all layers, with it one layer's details, picture and numbers.
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
    const bool needs_layer = !png_.empty() || !npy_.empty() || maps_ != 1;
    if (needs_layer && !layer_.has_value()) {
      return absl::InvalidArgumentError("--png, --npy and --maps need --layer");
    }
    if (layer_.has_value() && watch_option_->count() > 0) {
      return absl::InvalidArgumentError("--watch is for all layers: leave out --layer");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    if (reset_) return Reset(client);
    return layer_.has_value() ? ShowLayer(client) : ShowLayers(client);
  }

 private:
  void AddLayerOptions() {
    app().add_option("--layer", layer_, "Details of one layer")->type_name("N");
    app()
        .add_option("--kind", kind_, "Which experts of that layer (peer)")
        ->check(CLI::IsMember({"peer", "pkm", "mixture_ffn", "mixture_attention"}));
    app()
        .add_option("--png", png_, "Draw the layer's experts: first sub-key down, second across")
        ->type_name("FILE");
    app()
        .add_option("--maps", maps_,
                    "Draw so many maps: the heads, when each has its own experts (1)")
        ->check(CLI::Range(1, 1024));
    app()
        .add_option("--npy", npy_, "Write selections and score sums: float64 [2, experts]")
        ->type_name("FILE");
  }

  v1::UsageWindow window() const {
    return window_ == "total" ? v1::USAGE_WINDOW_TOTAL : v1::USAGE_WINDOW_RECENT;
  }

  v1::ExpertLayerKind kind() const {
    for (int kind = v1::ExpertLayerKind_MIN; kind <= v1::ExpertLayerKind_MAX; ++kind) {
      const auto candidate = static_cast<v1::ExpertLayerKind>(kind);
      if (ExpertKindName(candidate) == kind_) return candidate;
    }
    return v1::EXPERT_LAYER_KIND_PEER;
  }

  absl::StatusOr<int> Reset(Client& client) {
    v1::ResetExpertUsageRequest request;
    request.set_model(model_);
    RETURN_IF_ERROR(client.ResetExpertUsage(request));
    return 0;
  }

  absl::StatusOr<int> ShowLayers(Client& client) {
    v1::WatchExpertSummaryRequest request;
    request.set_model(model_);
    request.set_window(window());
    request.mutable_interval()->set_seconds(watch_seconds_);
    const bool watch = watch_option_->count() > 0;
    const auto show = [&](const v1::WatchExpertSummaryResponse& summary) {
      std::cout << (json() ? ToJson(summary) : ExpertLayerTable(summary)) << std::flush;
      return watch;
    };
    RETURN_IF_ERROR(client.WatchExpertSummary(request, show));
    return 0;
  }

  absl::StatusOr<int> ShowLayer(Client& client) {
    v1::GetExpertUsageRequest request;
    request.set_model(model_);
    request.set_layer(*layer_);
    request.set_kind(kind());
    request.set_window(window());
    ASSIGN_OR_RETURN(const ExpertUsage usage, client.GetExpertUsage(request));
    if (!png_.empty()) RETURN_IF_ERROR(WritePng(usage));
    if (!npy_.empty()) RETURN_IF_ERROR(WriteFile(npy_, ToNpy(usage)));
    if (json()) {
      std::cout << ToJson(usage.header);
      return 0;
    }
    ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client.ListModels());
    std::cout << ExpertUsageReport(usage, ExpertNames(models));
    return 0;
  }

  absl::Status WritePng(const ExpertUsage& usage) {
    ASSIGN_OR_RETURN(const ExpertGrid grid, ArrangeExperts(usage.selections.size(), maps_));
    ASSIGN_OR_RETURN(const std::string png, DrawExpertMap(usage.selections, grid).ToPng());
    return WriteFile(png_, png);
  }

  std::string model_;
  std::string window_ = "recent";
  CLI::Option* watch_option_ = nullptr;
  int watch_seconds_ = 15;
  std::optional<uint32_t> layer_;
  std::string kind_ = "peer";
  std::string png_;
  std::string npy_;
  int maps_ = 1;
  bool reset_ = false;
};

}  // namespace

std::unique_ptr<Command> AddExperts(CLI::App& program) {
  return std::make_unique<ExpertsCommand>(program);
}

}  // namespace peerage

#include "server/pages/expert_usage_pages.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "base/choice.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_map.h"
#include "model/experts/expert_numbers.h"
#include "model/experts/mixture_map.h"
#include "server/experts/expert_statistics.h"
#include "server/pages/error_response.h"
#include "server/pages/usage_json.h"

namespace peerage {

struct ExpertUsagePages::Query {
  std::string model;
  int index = 0;  // of the layer
  ExpertLayer layer;
  UsageWindow window = UsageWindow::kRecent;
  MapStyle style;
};

namespace {

using nlohmann::ordered_json;

constexpr Choice<MapScale> kMapScales[] = {{"log", MapScale::kLog}, {"linear", MapScale::kLinear}};
constexpr Choice<Palette> kPalettes[] = {
    {"inferno", Palette::kInferno}, {"viridis", Palette::kViridis}, {"grey", Palette::kGrey}};

std::optional<std::string> Find(const AdminRequest& request, absl::string_view name) {
  for (const auto& [key, value] : request.parameters) {
    if (key == name) return value;
  }
  return std::nullopt;
}

template <typename T, size_t kCount>
absl::StatusOr<T> FindIn(const Choice<T> (&choices)[kCount], const AdminRequest& request,
                         absl::string_view name, T fallback) {
  const std::optional<std::string> text = Find(request, name);
  if (!text.has_value()) return fallback;
  if (const std::optional<T> value = FindChoice(choices, *text)) return *value;
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": is ", Quoted(*text), ", not ", ChoiceNames(choices)));
}

AdminResponse JsonResponse(const ordered_json& json) {
  return {.content_type = "application/json",
          .body = json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n"};
}

absl::StatusOr<LayerReading> ReadingOf(UsageWindow window, absl::StatusOr<LayerWindows> windows) {
  RETURN_IF_ERROR(windows.status());
  LayerReading reading{.window = window,
                       .scores_since_start = std::move(windows->since_start.score_sums)};
  if (windows->recent.has_value()) {
    reading.drift_nats = ExpertDrift(windows->recent->selections, windows->total.selections);
  }
  reading.usage =
      window == UsageWindow::kRecent ? *std::move(windows->recent) : std::move(windows->total);
  return reading;
}

// Counts change with tokens, and with the bounds that a slice's end or a reset moves.
std::string TagOf(const AdminRequest& request, const LayerReading& reading) {
  std::string parameters;
  for (const auto& [name, value] : request.parameters) {
    if (name != "t") absl::StrAppend(&parameters, name, "=", value, "&");
  }
  return absl::StrCat("\"", absl::ToUnixNanos(reading.usage.start), "-", reading.usage.tokens, "-",
                      reading.drift_nats.value_or(0), "-", std::hash<std::string>()(parameters),
                      "\"");
}

MapCaption CaptionOf(const ExpertUsagePages::Query& query, const LayerReading& reading) {
  return {.model = query.model,
          .experts = absl::StrCat("layer ", query.layer.layer, ", ",
                                  ChoiceName(kExpertLayerKinds, query.layer.kind)),
          .window = std::string(ChoiceName(kUsageWindows, reading.window)),
          .start = reading.usage.start,
          .end = reading.usage.end,
          .tokens = reading.usage.tokens};
}

absl::StatusOr<Image> Draw(const ExpertUsagePages::Query& query, const LayerReading& reading) {
  const ExpertLayer& layer = query.layer;
  const MapCaption caption = CaptionOf(query, reading);
  if (layer.is_mixture()) {
    return DrawMixtureMap({{.kind = std::string(ChoiceName(kExpertLayerKinds, layer.kind)),
                            .layer = layer.layer,
                            .names = ExpertNames(layer),
                            .scores = reading.usage.score_sums}},
                          caption);
  }
  ASSIGN_OR_RETURN(const ExpertGrid grid,
                   ArrangeExperts(layer.num_experts, static_cast<int>(layer.expert_sets)));
  return DrawExpertMap(reading.usage.selections, grid, caption, query.style);
}

absl::StatusOr<AdminResponse> WritePng(const ExpertUsagePages::Query& query,
                                       const LayerReading& reading) {
  ASSIGN_OR_RETURN(const Image image, Draw(query, reading));
  ASSIGN_OR_RETURN(std::string png, image.ToPng());
  return AdminResponse{.content_type = "image/png", .body = std::move(png)};
}

absl::StatusOr<AdminResponse> WriteNpy(const ExpertUsagePages::Query& query,
                                       const LayerReading& reading) {
  return AdminResponse{.content_type = "application/octet-stream",
                       .body = ToNpy(reading.usage.selections, reading.usage.score_sums)};
}

absl::StatusOr<AdminResponse> WriteJson(const ExpertUsagePages::Query& query,
                                        const LayerReading& reading) {
  return JsonResponse(DescribeUsage(query.layer, reading));
}

}  // namespace

void ExpertUsagePages::AddTo(AdminServer& server) {
  const auto add = [&](const char* path, Writer write, bool all_windows) {
    server.Handle(path, [this, write, all_windows](const AdminRequest& request) {
      return Answer(request, write, all_windows);
    });
  };
  add("/experts/usage.png", WritePng, /*all_windows=*/false);
  add("/experts/usage.npy", WriteNpy, /*all_windows=*/false);
  add("/experts/usage.json", WriteJson, /*all_windows=*/true);
  server.Handle("/experts/layers.json", [this](const AdminRequest&) { return Layers(); });
}

AdminResponse ExpertUsagePages::Layers() const {
  ordered_json json = {{"model", options_.model_name},
                       {"expert_trace", ChoiceName(kExpertTraceLevels, options_.trace_level)},
                       {"windows", ordered_json::array()},
                       {"layers", ordered_json::array()}};
  for (const auto& [name, window] : kUsageWindows) {
    if (IsKept(window, options_.mode)) json["windows"].push_back(name);
  }
  for (const ExpertLayer& layer : layers_) {
    ordered_json& one = json["layers"].emplace_back(
        ordered_json{{"layer", layer.layer},
                     {"kind", ChoiceName(kExpertLayerKinds, layer.kind)},
                     {"num_experts", layer.num_experts},
                     {"expert_sets", layer.expert_sets},
                     {"heads", layer.heads},
                     {"top_k", layer.top_k}});
    if (layer.is_mixture()) one["names"] = ExpertNames(layer);
  }
  return JsonResponse(json);
}

absl::StatusOr<int> ExpertUsagePages::FindLayer(const AdminRequest& request) const {
  if (layers_.empty()) return absl::NotFoundError("the model has no experts");
  const std::optional<std::string> index = Find(request, "layer");
  const std::optional<std::string> kind_name = Find(request, "kind");
  ASSIGN_OR_RETURN(const ExpertLayerKind kind,
                   FindIn(kExpertLayerKinds, request, "kind", ExpertLayerKind::kPeer));
  uint32_t number = layers_[0].layer;
  const bool is_number = !index.has_value() || absl::SimpleAtoi(*index, &number);
  const auto found = std::find_if(layers_.begin(), layers_.end(), [&](const ExpertLayer& layer) {
    return is_number && layer.layer == number && (!kind_name.has_value() || layer.kind == kind);
  });
  if (found != layers_.end()) return static_cast<int>(found - layers_.begin());
  const auto append = [](std::string* out, const ExpertLayer& layer) {
    absl::StrAppend(out, layer.layer, " (", ChoiceName(kExpertLayerKinds, layer.kind), ")");
  };
  return absl::InvalidArgumentError(
      absl::StrCat("layer: no such experts; the model has them in layers ",
                   absl::StrJoin(layers_, ", ", append)));
}

absl::StatusOr<ExpertUsagePages::Query> ExpertUsagePages::Parse(const AdminRequest& request) const {
  for (const auto& [name, value] : request.parameters) {
    constexpr absl::string_view kNames[] = {"layer", "kind", "window", "scale", "palette", "t"};
    if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(name),
                       " is no parameter: there are layer, kind, window, scale and "
                       "palette, and t, which is ignored"));
    }
  }
  Query query{.model = options_.model_name};
  ASSIGN_OR_RETURN(query.index, FindLayer(request));
  query.layer = layers_[query.index];
  ASSIGN_OR_RETURN(query.window,
                   FindIn(kUsageWindows, request, "window",
                          IsKept(UsageWindow::kRecent, options_.mode) ? UsageWindow::kRecent
                                                                      : UsageWindow::kTotal));
  ASSIGN_OR_RETURN(query.style.scale, FindIn(kMapScales, request, "scale", MapScale::kLog));
  ASSIGN_OR_RETURN(query.style.palette, FindIn(kPalettes, request, "palette", Palette::kInferno));
  return query;
}

// The engine may be within a long step, and the admin port has few threads: those that tell that it
// hangs must not wait for it.
absl::StatusOr<LayerReading> ExpertUsagePages::Read(const Query& query, bool all_windows) {
  struct Pending {
    absl::Notification done;
    absl::StatusOr<LayerReading> reading;
  };
  const auto pending = std::make_shared<Pending>();  // the reader may come back to it later
  const auto done = [pending](absl::StatusOr<LayerReading> reading) {
    pending->reading = std::move(reading);
    pending->done.Notify();
  };
  if (all_windows) {
    usage_.ReadWindows(query.index, [done, window = query.window](auto windows) {
      done(ReadingOf(window, std::move(windows)));
    });
  } else {
    usage_.Read(query.index, query.window,
                [done, window = query.window](absl::StatusOr<ExpertUsage> usage) {
                  if (!usage.ok()) return done(usage.status());
                  done(LayerReading{.window = window, .usage = *std::move(usage)});
                });
  }
  if (!pending->done.WaitForNotificationWithTimeout(options_.longest_wait)) {
    return absl::UnavailableError("the engine is busy with a long step; try again");
  }
  return std::move(pending->reading);
}

AdminResponse ExpertUsagePages::Answer(const AdminRequest& request, Writer write,
                                       bool all_windows) {
  const auto answer = [&]() -> absl::StatusOr<AdminResponse> {
    ASSIGN_OR_RETURN(const Query query, Parse(request));
    ASSIGN_OR_RETURN(const LayerReading reading, Read(query, all_windows));
    const std::string tag = TagOf(request, reading);
    AdminResponse response{.status = 304};
    if (request.known_tag != tag) {
      ASSIGN_OR_RETURN(response, write(query, reading));
    }
    response.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};
    return response;
  }();
  return answer.ok() ? *answer : ErrorResponse(answer.status());
}

}  // namespace peerage

#include "server/pages/expert_usage_pages.h"

#include <algorithm>
#include <cmath>
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
#include "model/experts/expert_map.h"
#include "model/experts/expert_numbers.h"
#include "server/experts/expert_statistics.h"
#include "server/pages/page_files.h"

namespace peerage {

struct ExpertUsagePages::Query {
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
constexpr int kHottest = 10;
constexpr int kLorenzPoints = 100;

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

// The side of the square that a set of experts is, if it is one that product keys find.
uint64_t SubKeys(const ExpertLayer& layer) {
  if (layer.kind != ExpertLayerKind::kPeer && layer.kind != ExpertLayerKind::kProductKeyMemory) {
    return 0;
  }
  const uint64_t experts = layer.num_experts / layer.expert_sets;
  const auto side = static_cast<uint64_t>(std::llround(std::sqrt(static_cast<double>(experts))));
  return side * side == experts ? side : 0;
}

// Selections by first and by second sub-key, over all sets.
void AddSubKeys(const ExpertLayer& layer, const ExpertUsage& usage, ordered_json& json) {
  const uint64_t side = SubKeys(layer);
  if (side == 0) return;
  std::vector<uint64_t> rows(side), columns(side);
  for (size_t i = 0; i < usage.selections.size(); ++i) {
    const size_t expert = i % (side * side);
    rows[expert / side] += usage.selections[i];
    columns[expert % side] += usage.selections[i];
  }
  json["rows"] = rows;
  json["columns"] = columns;
}

// [i]: the share of the selections that the i / kLorenzPoints least selected experts have.
std::vector<double> LorenzCurve(std::vector<uint64_t> selections) {
  std::sort(selections.begin(), selections.end());
  std::vector<double> sums = {0};
  for (const uint64_t count : selections) sums.push_back(sums.back() + static_cast<double>(count));
  std::vector<double> curve;
  for (size_t i = 0; i <= kLorenzPoints; ++i) {
    // Between two experts on the line from one to the other.
    const double at = static_cast<double>(selections.size() * i) / kLorenzPoints;
    const auto below = static_cast<size_t>(at);
    const double above = sums[std::min(below + 1, selections.size())];
    const double sum = std::lerp(sums[below], above, at - static_cast<double>(below));
    curve.push_back(sums.back() > 0 ? sum / sums.back() : 0);
  }
  return curve;
}

std::vector<std::string> ExpertNames(const ExpertLayer& layer) {
  std::vector<std::string> names;
  for (uint32_t id = 0; id < layer.num_experts; ++id) names.push_back(layer.expert_name(id));
  return names;
}

AdminResponse JsonResponse(const ordered_json& json) {
  return {.content_type = "application/json",
          .body = json.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n"};
}

ordered_json Hottest(const ExpertLayer& layer, const ExpertUsage& usage, uint64_t selections) {
  ordered_json hottest = ordered_json::array();
  for (const uint32_t id : MostUsedExperts(usage.selections, usage.score_sums, kHottest)) {
    if (usage.selections[id] == 0) break;
    ordered_json& expert = hottest.emplace_back(ordered_json{{"id", id}});
    if (layer.is_mixture()) expert["name"] = layer.expert_name(id);
    expert["selections"] = usage.selections[id];
    expert["share"] = static_cast<double>(usage.selections[id]) / static_cast<double>(selections);
  }
  return hottest;
}

absl::StatusOr<AdminResponse> WritePng(const ExpertUsagePages::Query& query,
                                       const ExpertUsage& usage) {
  ASSIGN_OR_RETURN(
      const ExpertGrid grid,
      ArrangeExperts(query.layer.num_experts, static_cast<int>(query.layer.expert_sets)));
  ASSIGN_OR_RETURN(std::string png, DrawExpertMap(usage.selections, grid, query.style).ToPng());
  return AdminResponse{.content_type = "image/png", .body = std::move(png)};
}

absl::StatusOr<AdminResponse> WriteNpy(const ExpertUsagePages::Query& query,
                                       const ExpertUsage& usage) {
  return AdminResponse{.content_type = "application/octet-stream",
                       .body = ToNpy(usage.selections, usage.score_sums)};
}

absl::StatusOr<AdminResponse> WriteJson(const ExpertUsagePages::Query& query,
                                        const ExpertUsage& usage) {
  const ExpertLayer& layer = query.layer;
  const ExpertFigures figures = FiguresOf(layer, usage);
  ordered_json json = {
      {"layer", layer.layer},
      {"kind", ChoiceName(kExpertLayerKinds, layer.kind)},
      {"window", ChoiceName(kUsageWindows, query.window)},
      {"start", absl::ToDoubleSeconds(usage.start - absl::UnixEpoch())},
      {"end", absl::ToDoubleSeconds(usage.end - absl::UnixEpoch())},
      {"num_experts", layer.num_experts},
      {"expert_sets", layer.expert_sets},
      {"heads", layer.heads},
      {"top_k", layer.top_k},
      {"tokens", usage.tokens},
      {"selections", figures.selections},
      {"used_ratio", figures.used_ratio},
      {"used_expected_ratio", figures.used_expected_ratio},
      {"unevenness_nats", figures.by_score.nats},
      {"unevenness_expected_nats", figures.by_score.expected_nats},
      {"effective_experts", figures.effective_experts},
      {"gini", figures.gini},
      {"top_shares", figures.top_share},
      {"lorenz", LorenzCurve(usage.selections)},
      {"hottest", Hottest(layer, usage, figures.selections)},
  };
  AddSubKeys(layer, usage, json);
  if (layer.is_mixture()) {
    json["names"] = ExpertNames(layer);
    json["shares"] = ScoreShares(usage.score_sums);
  }
  return JsonResponse(json);
}

}  // namespace

void ExpertUsagePages::AddTo(AdminServer& server) {
  const auto add = [&](const char* path, Writer write) {
    server.Handle(path,
                  [this, write](const AdminRequest& request) { return Answer(request, write); });
  };
  add("/experts/usage.png", WritePng);
  add("/experts/usage.npy", WriteNpy);
  add("/experts/usage.json", WriteJson);
  server.Handle("/experts/layers.json", [this](const AdminRequest&) { return Layers(); });
  const auto add_file = [&](const char* path, const char* type, const char* text) {
    server.Handle(path, [type, text](const AdminRequest&) {
      return AdminResponse{
          .content_type = type,
          .body = text,
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                       "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'"},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-cache"}}};
    });
  };
  add_file("/experts", "text/html; charset=utf-8", kExpertsHtml);
  add_file("/experts/page.css", "text/css; charset=utf-8", kExpertsCss);
  add_file("/experts/page.js", "text/javascript; charset=utf-8", kExpertsJs);
}

AdminResponse ExpertUsagePages::Layers() const {
  ordered_json json = {{"model", options_.model_name},
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
  Query query;
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
absl::StatusOr<ExpertUsage> ExpertUsagePages::Read(int layer, UsageWindow window) {
  struct Pending {
    absl::Notification done;
    absl::StatusOr<ExpertUsage> usage;
  };
  const auto pending = std::make_shared<Pending>();  // the reader may come back to it later
  usage_.Read(layer, window, [pending](absl::StatusOr<ExpertUsage> usage) {
    pending->usage = std::move(usage);
    pending->done.Notify();
  });
  if (!pending->done.WaitForNotificationWithTimeout(options_.longest_wait)) {
    return absl::UnavailableError("the engine is busy with a long step; try again");
  }
  return std::move(pending->usage);
}

AdminResponse ExpertUsagePages::Answer(const AdminRequest& request, Writer write) {
  const auto answer = [&]() -> absl::StatusOr<AdminResponse> {
    ASSIGN_OR_RETURN(const Query query, Parse(request));
    ASSIGN_OR_RETURN(const ExpertUsage usage, Read(query.index, query.window));
    // Counts change with tokens, and with the bounds that a slice's end or a reset moves.
    std::string parameters;
    for (const auto& [name, value] : request.parameters) {
      if (name != "t") absl::StrAppend(&parameters, name, "=", value, "&");
    }
    const std::string tag = absl::StrCat("\"", absl::ToUnixNanos(usage.start), "-", usage.tokens,
                                         "-", std::hash<std::string>()(parameters), "\"");
    AdminResponse response{.status = 304};
    if (request.known_tag != tag) {
      ASSIGN_OR_RETURN(response, write(query, usage));
    }
    response.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};
    return response;
  }();
  if (answer.ok()) return *answer;
  const absl::StatusCode code = answer.status().code();
  const int status = code == absl::StatusCode::kUnavailable ? 503
                     : code == absl::StatusCode::kNotFound  ? 404
                                                            : 400;
  return {.status = status, .body = absl::StrCat(answer.status().message(), "\n")};
}

}  // namespace peerage

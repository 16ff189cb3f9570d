#include "server/rpc/request/expert_control.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "base/status_macros.h"
#include "server/rpc/request/expert_layer_kind.h"
#include "server/rpc/request/limits.h"

namespace peerage {
namespace {

std::string PathOf(absl::string_view control, int layer) {
  return absl::StrCat(control, ".layers[", layer, "]");
}

// Index among the model's expert layers, or their number.
size_t Find(const v1::LayerControl& control, absl::Span<const ExpertLayer> layers) {
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const ExpertLayer& layer) {
    return layer.layer == control.layer() && ToProto(layer.kind) == control.kind();
  });
  return found - layers.begin();
}

template <typename T>
std::vector<T> Values(const std::string& bytes) {
  std::vector<T> values;
  AppendFromLittleEndian(bytes, values);
  return values;
}

std::vector<uint32_t> SortedIds(const google::protobuf::RepeatedField<uint32_t>& ids) {
  std::vector<uint32_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  return sorted;
}

// The checks of one layer's control.
class LayerChecker {
 public:
  LayerChecker(std::string path, const ExpertLayer& layer, FieldErrors& errors)
      : path_(std::move(path)), layer_(layer), errors_(errors) {}

  void Check(const v1::LayerControl& control) const {
    CheckMask(control.masked_ids());
    CheckBias(control.bias());
    Require(!control.has_top_k() || (control.top_k() >= 1 && control.top_k() <= layer_.top_k),
            ".top_k", absl::StrCat("must be in [1, ", layer_.top_k, "], of the layer"));
    if (control.has_forced()) CheckForced(control.forced());
  }

 private:
  void Require(bool holds, absl::string_view field, absl::string_view rule) const {
    if (!holds) errors_.Add(absl::StrCat(path_, field), rule);
  }

  bool IsExpert(uint32_t id) const { return id < layer_.num_experts; }
  std::string ExpertRule() const {
    return absl::StrCat("must be below the layer's ", layer_.num_experts, " experts");
  }
  uint32_t experts_of_set() const { return layer_.num_experts / layer_.expert_sets; }

  void CheckMask(const google::protobuf::RepeatedField<uint32_t>& ids) const {
    Require(ids.size() <= kMaxMaskedExperts, ".masked_ids", "must have at most 4096 ids");
    for (int i = 0; i < ids.size() && !errors_.full(); ++i) {
      if (IsExpert(ids[i])) continue;
      errors_.Add(absl::StrCat(path_, ".masked_ids[", i, "]"), ExpertRule());
    }
    std::vector<uint32_t> left(layer_.expert_sets, experts_of_set());
    for (const uint32_t id : SortedIds(ids)) {
      if (IsExpert(id)) --left[id / experts_of_set()];
    }
    Require(std::count(left.begin(), left.end(), 0u) == 0, ".masked_ids",
            layer_.expert_sets > 1 ? "must leave an expert of each head" : "must leave an expert");
  }

  void CheckBias(const google::protobuf::Map<uint32_t, float>& bias) const {
    Require(bias.size() <= kMaxExpertBiases, ".bias", "must have at most 1024 entries");
    std::set<uint32_t> wrong;  // in order: a map's own order changes from run to run
    for (const auto& [id, logit] : bias) {
      if (!IsExpert(id) || !(std::abs(logit) <= kMaxExpertBias)) wrong.insert(id);
    }
    for (const uint32_t id : wrong) {
      if (errors_.full()) return;
      errors_.Add(absl::StrCat(path_, ".bias[", id, "]"),
                  IsExpert(id) ? "must be in [-100, 100]" : ExpertRule());
    }
  }

  // Bytes are looked at only when there are as many as there must be.
  void CheckForced(const v1::ForcedPicks& forced) const {
    Require(forced.tokens() >= 1, ".forced.tokens", "must be at least 1");
    Require(forced.heads() == layer_.heads, ".forced.heads",
            absl::StrCat("must be ", layer_.heads, ", the layer's"));
    Require(forced.top_k() == layer_.top_k, ".forced.top_k",
            absl::StrCat("must be ", layer_.top_k, ", the layer's"));
    const uint64_t picks = uint64_t{forced.tokens()} * layer_.picks_per_token();
    const bool complete = forced.expert_ids().size() == picks * sizeof(uint32_t);
    const bool scored = !forced.scores().empty();
    const bool complete_scores = !scored || forced.scores().size() == picks * sizeof(float);
    Require(complete, ".forced.expert_ids", "must have 4 bytes for each token, head and pick");
    Require(complete_scores, ".forced.scores",
            "must be empty or have 4 bytes for each token, head and pick");
    if (!complete || !complete_scores) return;
    const std::vector<uint32_t> ids = Values<uint32_t>(forced.expert_ids());
    CheckForcedIds(ids);
    if (scored) CheckScores(ids, Values<float>(forced.scores()));
  }

  // Of the first place that is wrong: there may be a million.
  void CheckForcedIds(const std::vector<uint32_t>& ids) const {
    for (size_t first = 0; first < ids.size(); first += layer_.top_k) {
      const uint32_t head = first / layer_.top_k % layer_.heads;
      const uint32_t first_id = layer_.expert_sets > 1 ? head * experts_of_set() : 0;
      std::vector<uint32_t> picks(&ids[first], &ids[first] + layer_.top_k);
      std::sort(picks.begin(), picks.end());
      const auto end = std::find(picks.begin(), picks.end(), kNoExpert);
      const auto is_foreign = [&](uint32_t id) {
        return id < first_id || id - first_id >= experts_of_set();
      };
      const bool foreign = std::any_of(picks.begin(), end, is_foreign);
      if (!foreign && std::adjacent_find(picks.begin(), end) == end) continue;
      return errors_.Add(
          absl::StrCat(path_, ".forced.expert_ids"),
          absl::StrCat(
              foreign ? "must be ids of the head's experts" : "must name an expert once in a head",
              ", here of token ", first / layer_.picks_per_token(), ", head ", head));
    }
  }

  void CheckScores(const std::vector<uint32_t>& ids, const std::vector<float>& scores) const {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == kNoExpert || std::isfinite(scores[i])) continue;
      return errors_.Add(absl::StrCat(path_, ".forced.scores"), "must be finite");
    }
  }

  const std::string path_;
  const ExpertLayer& layer_;
  FieldErrors& errors_;
};

// Moves what is no pick behind the picks of its head.
ForcedPicks ConvertForced(const v1::ForcedPicks& forced) {
  ForcedPicks result{.first_token = forced.first_position(),
                     .tokens = forced.tokens(),
                     .ids = Values<uint32_t>(forced.expert_ids()),
                     .weights = Values<float>(forced.scores())};
  const bool weighted = !result.weights.empty();
  for (size_t first = 0; first < result.ids.size(); first += forced.top_k()) {
    size_t to = first;
    for (size_t from = first; from < first + forced.top_k(); ++from) {
      if (result.ids[from] == kNoExpert) continue;
      result.ids[to] = result.ids[from];
      if (weighted) result.weights[to] = result.weights[from];
      ++to;
    }
    for (; to < first + forced.top_k(); ++to) {
      result.ids[to] = kNoExpert;
      if (weighted) result.weights[to] = 0;
    }
  }
  return result;
}

LayerControl ConvertLayer(const v1::LayerControl& control) {
  LayerControl result{.masked_ids = SortedIds(control.masked_ids()), .top_k = control.top_k()};
  for (const auto& [id, logit] : control.bias()) result.biases.push_back({id, logit});
  std::sort(result.biases.begin(), result.biases.end(),
            [](const ExpertBias& a, const ExpertBias& b) { return a.id < b.id; });
  if (control.has_forced()) result.forced = ConvertForced(control.forced());
  return result;
}

absl::Status CheckForcedBytes(const v1::ExpertControl& control, const TraceLimits& limits) {
  uint64_t bytes = 0;
  for (const v1::LayerControl& layer : control.layers()) {
    bytes += layer.forced().expert_ids().size() + layer.forced().scores().size();
  }
  if (bytes <= limits.max_bytes) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("expert_control: the forced picks take ", bytes,
                                            " bytes, the server's limit is ", limits.max_bytes,
                                            " (--max-trace-mib)"));
}

absl::Status CheckForcedTokens(const v1::ExpertControl& control, uint64_t tokens,
                               absl::string_view prefix) {
  for (int i = 0; i < control.layers_size(); ++i) {
    const v1::ForcedPicks& forced = control.layers(i).forced();
    if (uint64_t{forced.first_position()} + forced.tokens() <= tokens) continue;
    return FieldError(
        absl::StrCat(PathOf(absl::StrCat(prefix, "expert_control"), i), ".forced.tokens"),
        absl::StrCat("must end at ", tokens, " at most, behind the last token that can be forced"));
  }
  return absl::OkStatus();
}

}  // namespace

void CheckExpertControl(const v1::ExpertControl& control, absl::Span<const ExpertLayer> layers,
                        absl::string_view path, FieldErrors& errors) {
  std::set<size_t> named;
  for (int i = 0; i < control.layers_size() && !errors.full(); ++i) {
    const std::string own_path = PathOf(path, i);
    const size_t index = Find(control.layers(i), layers);
    if (index == layers.size()) {
      errors.Add(own_path, "must name an expert layer of the model by layer and kind");
      continue;
    }
    if (!named.insert(index).second) {
      errors.Add(own_path, "must name a layer that none before it names");
    }
    LayerChecker(own_path, layers[index], errors).Check(control.layers(i));
  }
}

absl::StatusOr<ExpertControl> ConvertExpertControl(const v1::ExpertControl& control,
                                                   const ServedModel& model, uint64_t tokens,
                                                   absl::string_view prefix) {
  ExpertControl result;
  if (control.layers().empty()) return result;
  if (!model.description.takes_expert_control) {
    return absl::UnimplementedError(
        absl::StrCat("expert_control: not on device ", model.description.device));
  }
  RETURN_IF_ERROR(CheckForcedBytes(control, model.trace_limits));
  RETURN_IF_ERROR(CheckForcedTokens(control, tokens, prefix));
  result.layers.resize(model.description.expert_layers.size());
  for (const v1::LayerControl& layer : control.layers()) {
    result.layers[Find(layer, model.description.expert_layers)] = ConvertLayer(layer);
  }
  return result;
}

}  // namespace peerage

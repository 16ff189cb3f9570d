#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/choice.h"
#include "client/expert_usage.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/models.pb.h"

namespace peerage::client {

// What kinds of experts are called in tables, and what --kind takes.
inline constexpr Choice<v1::ExpertLayerKind> kExpertKinds[] = {
    {"peer", v1::EXPERT_LAYER_KIND_PEER},
    {"pkm", v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY},
    {"mixture_ffn", v1::EXPERT_LAYER_KIND_MIXTURE_FFN},
    {"mixture_attention", v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION}};

// "unknown" for a kind that this client does not know: a newer server may have it.
std::string ExpertKindName(v1::ExpertLayerKind kind);

// The kind of that name, EXPERT_LAYER_KIND_UNSPECIFIED for any other.
v1::ExpertLayerKind ParseExpertKind(const std::string& name);

// Whether the experts are few, and each a whole part of the model that may have a name.
bool IsMixture(v1::ExpertLayerKind kind);

// One expert layer as a user names it.
struct ExpertLayerChoice {
  std::string model;  // empty: the server's own
  uint32_t layer = 0;
  // Unspecified: the kind that the layer has, if it has one only.
  v1::ExpertLayerKind kind = v1::EXPERT_LAYER_KIND_UNSPECIFIED;
};

// The kind of experts that is meant. NOT_FOUND when there is no such model, layer or kind,
// INVALID_ARGUMENT when the layer has several kinds and none was named; both say what there is.
absl::StatusOr<v1::ExpertLayerKind> FindExpertKind(const v1::ListModelsResponse& models,
                                                   const ExpertLayerChoice& choice);

// What a server calls the experts of its models: mixtures name theirs, others are numbers.
class ExpertNames {
 public:
  ExpertNames() = default;
  explicit ExpertNames(const v1::ListModelsResponse& response);

  // The name, or the id in digits; fit for a terminal (EscapeText in client/terminal_text.h).
  std::string Of(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const;
  std::vector<std::string> OfAll(const ExpertUsage& usage) const;

  // The name exactly as the server gave it, empty when there is none.
  std::string Exact(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const;

 private:
  std::map<std::pair<uint32_t, v1::ExpertLayerKind>, std::vector<std::string>> names_;
};

}  // namespace peerage::client

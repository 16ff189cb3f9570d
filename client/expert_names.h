#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/expert_usage.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/models.pb.h"

namespace peerage::client {

// What a server calls the experts of its models: mixtures name theirs, others are numbers.
class ExpertNames {
 public:
  ExpertNames() = default;
  explicit ExpertNames(const v1::ListModelsResponse& response);

  // The name, or the id in digits; fit for a terminal (EscapeText in client/format.h).
  std::string Of(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const;
  std::vector<std::string> OfAll(const ExpertUsage& usage) const;

  // The name exactly as the server gave it, empty when there is none.
  std::string Exact(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const;

 private:
  std::map<std::pair<uint32_t, v1::ExpertLayerKind>, std::vector<std::string>> names_;
};

}  // namespace peerage::client

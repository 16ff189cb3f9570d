#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/experts/expert_usage.h"
#include "server/experts/expert_statistics.h"

namespace peerage {

// A window of a layer, and what all windows together say.
struct LayerReading {
  UsageWindow window = UsageWindow::kRecent;
  ExpertUsage usage = {};
  std::optional<double> drift_nats = {};        // of the recent window from the total one
  std::vector<double> scores_since_start = {};  // they never fall; of mixtures
};

// /experts/usage.json: bounds, figures and curves.
nlohmann::ordered_json DescribeUsage(const ExpertLayer& layer, const LayerReading& reading);

// Of a mixture.
std::vector<std::string> ExpertNames(const ExpertLayer& layer);

}  // namespace peerage

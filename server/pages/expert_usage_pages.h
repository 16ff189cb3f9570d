#pragma once

#include <vector>

#include "model/experts/expert_usage.h"
#include "server/experts/expert_usage_reader.h"
#include "server/http/admin_server.h"

namespace peerage {

// The use of one expert layer as files of the admin port, for people and for programs:
//
//   /experts/usage.png   the map; of ?scale= log or linear and ?palette= inferno, viridis or grey
//   /experts/usage.npy   float64 [2, num_experts]: selections, and sums of weights
//   /experts/usage.json  bounds and figures of the window, and sums over sub-keys
//
// each of ?layer=, ?kind= (where a layer has several) and ?window= recent or total. What is missing
// is the first layer and the recent window, or the total one where that is not kept. Errors are one
// line of text that names the parameter: 400, and 503 when the engine is stopping.
//
// Threads: safe from many; each answer waits for the reader's lane.
class ExpertUsagePages {
 public:
  // Both must outlive the pages. `recent` says whether that window is kept.
  ExpertUsagePages(ExpertUsageReader* usage, const std::vector<ExpertLayer>* layers, bool recent)
      : usage_(*usage), layers_(*layers), recent_(recent) {}

  // Adds the paths; the pages must outlive the server.
  void AddTo(AdminServer& server);

 private:
  struct Query;
  using Writer = absl::StatusOr<AdminResponse> (*)(const Query&, const ExpertUsage&);

  absl::StatusOr<Query> Parse(const AdminRequest& request) const;
  absl::StatusOr<int> FindLayer(const AdminRequest& request) const;
  absl::StatusOr<ExpertUsage> Read(int layer, UsageWindow window);
  AdminResponse Answer(const AdminRequest& request, Writer write);

  ExpertUsageReader& usage_;
  const std::vector<ExpertLayer>& layers_;
  const bool recent_;
};

}  // namespace peerage

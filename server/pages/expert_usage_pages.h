#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "model/experts/expert_usage.h"
#include "server/experts/expert_statistics.h"
#include "server/experts/expert_usage_reader.h"
#include "server/http/admin_server.h"

namespace peerage {

// How experts are used, on the admin port, for people and for programs:
//
//   /experts             a page that shows all of it, without a request to anywhere else
//   /experts/layers.json the model's expert layers, and which windows are kept
//   /experts/usage.png   the map; of ?scale= log or linear and ?palette= inferno, viridis or grey
//   /experts/usage.npy   float64 [2, num_experts]: selections, and sums of weights
//   /experts/usage.json  bounds and figures of the window, and sums over sub-keys
//
// each of ?layer=, ?kind= (where a layer has several) and ?window= recent or total. What is missing
// is the first layer and the recent window, or the total one where that is not kept. Errors are one
// line of text that names the parameter: 400, and 503 when the engine is stopping, or within a step
// for longer than Options::longest_wait.
//
// Threads: safe from many; each answer waits for the reader's lane.
class ExpertUsagePages {
 public:
  struct Options {
    std::string model_name;
    ExpertUsageMode mode = ExpertUsageMode::kRecent;  // which windows are kept
    absl::Duration longest_wait = absl::Seconds(2);   // for a step that runs
  };

  // `usage` and `layers` must outlive the pages.
  ExpertUsagePages(ExpertUsageReader* usage, const std::vector<ExpertLayer>* layers,
                   Options options)
      : usage_(*usage), layers_(*layers), options_(std::move(options)) {}

  // What a request for a layer's usage asks for.
  struct Query;

  // Adds the paths; the pages must outlive the server.
  void AddTo(AdminServer& server);

 private:
  using Writer = absl::StatusOr<AdminResponse> (*)(const Query&, const ExpertUsage&);

  absl::StatusOr<Query> Parse(const AdminRequest& request) const;
  absl::StatusOr<int> FindLayer(const AdminRequest& request) const;
  absl::StatusOr<ExpertUsage> Read(int layer, UsageWindow window);
  AdminResponse Layers() const;
  AdminResponse Answer(const AdminRequest& request, Writer write);

  ExpertUsageReader& usage_;
  const std::vector<ExpertLayer>& layers_;
  const Options options_;
};

}  // namespace peerage

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "model/experts/expert_usage.h"
#include "server/engine/expert_trace.h"
#include "server/experts/expert_statistics.h"
#include "server/experts/expert_usage_reader.h"
#include "server/http/admin_server.h"
#include "server/pages/usage_json.h"

namespace peerage {

// How experts are used, on the admin port, for programs and for the page /experts (static_files.h):
//
//   /experts/layers.json the model's expert layers, which windows are kept, which traces allowed
//   /experts/usage.png   the map; of ?scale= log or linear and ?palette= inferno, viridis or grey
//   /experts/usage.npy   float64 [2, num_experts]: selections, and sums of weights
//   /experts/usage.json  bounds and figures of the window, drift, and sums over sub-keys
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
    ExpertUsageMode mode = ExpertUsageMode::kRecent;         // which windows are kept
    ExpertTraceLevel trace_level = ExpertTraceLevel::kNone;  // the most that requests may ask for
    absl::Duration longest_wait = absl::Seconds(2);          // for a step that runs
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
  using Writer = absl::StatusOr<AdminResponse> (*)(const Query&, const LayerReading&);

  absl::StatusOr<Query> Parse(const AdminRequest& request) const;
  absl::StatusOr<int> FindLayer(const AdminRequest& request) const;
  absl::StatusOr<LayerReading> Read(const Query& query, bool all_windows);
  AdminResponse Layers() const;
  AdminResponse Answer(const AdminRequest& request, Writer write, bool all_windows);

  ExpertUsageReader& usage_;
  const std::vector<ExpertLayer>& layers_;
  const Options options_;
};

}  // namespace peerage

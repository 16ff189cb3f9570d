#include "server/metrics/call_metrics.h"

#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <atomic>
#include <map>

#include "server/metrics/code_label.h"

namespace peerage {
namespace {

constexpr char kOther[] = "other";

const prometheus::Histogram::BucketBoundaries kLatencySeconds = {
    0,   .00001, .00005, .0001, .0003, .0006, .0008, .001, .002, .003, .004, .005, .006, .008,
    .01, .013,   .016,   .02,   .025,  .03,   .04,   .05,  .065, .08,  .1,   .13,  .16,  .2,
    .25, .3,     .4,     .5,    .65,   .8,    1,     2,    5,    10,   20,   50,   100};

}  // namespace

// The family, and its series by method and code, null before their first call.
class CallMetrics::Table {
 public:
  Table(const std::string& model_name, const std::vector<std::string>& methods)
      : family_(prometheus::BuildHistogram()
                    .Name("peerage_grpc_server_call_duration_seconds")
                    .Help("From a gRPC call's arrival to its status, by method and status.")
                    .Labels({{"model_name", model_name}})
                    .Register(registry_)),
        series_((methods.size() + 1) * kNumCodes) {
    AddMethod(kOther);
    for (const std::string& method : methods) AddMethod(method);
  }

  void Observe(const CallEvent& event) {
    const auto known = rows_.find(event.origin.method);
    const auto& [method, row] = known == rows_.end() ? *rows_.find(kOther) : *known;
    SeriesOf(method, row, KnownCode(event.code)).Observe(absl::ToDoubleSeconds(event.duration));
  }

  const prometheus::Registry& registry() const { return registry_; }

 private:
  void AddMethod(const std::string& method) {
    const size_t row = rows_.size();
    rows_[method] = row;
    SeriesOf(method, row, static_cast<int>(absl::StatusCode::kOk));
  }

  // The family gives a series back that it has, so it does not matter who comes first.
  prometheus::Histogram& SeriesOf(const std::string& method, size_t row, int code) {
    std::atomic<prometheus::Histogram*>& series = series_[row * kNumCodes + code];
    prometheus::Histogram* found = series;
    if (found == nullptr) {
      found = &family_.Add({{"grpc_method", method}, {"grpc_status", CodeLabel(code)}},
                           kLatencySeconds);
      series = found;
    }
    return *found;
  }

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Histogram>& family_;
  std::map<std::string, size_t> rows_;
  std::vector<std::atomic<prometheus::Histogram*>> series_;  // [rows, codes]
};

CallMetrics::CallMetrics(const std::string& model_name, const std::vector<std::string>& methods)
    : table_(std::make_unique<Table>(model_name, methods)) {}

CallMetrics::~CallMetrics() = default;

void CallMetrics::OnCallDone(const CallEvent& event) { table_->Observe(event); }

const prometheus::Collectable& CallMetrics::collectable() const { return table_->registry(); }

}  // namespace peerage

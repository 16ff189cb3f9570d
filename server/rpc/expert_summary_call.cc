#include "server/rpc/expert_summary_call.h"

#include <utility>

#include "server/rpc/to_proto.h"

namespace peerage {
namespace {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
// What older clients read.
void SetDeprecated(v1::LayerSummary& layer) {
  if (layer.selections() == 0) return;
  layer.set_unevenness_bias_nats((layer.num_experts() - 1.0) /
                                 (2 * static_cast<double>(layer.selections())));
}
#pragma GCC diagnostic pop

v1::LayerSummary ToProto(const ExpertLayer& layer, const ExpertLayerSummary& summary) {
  const ExpertFigures& figures = summary.figures;
  v1::LayerSummary result;
  result.set_layer(layer.layer);
  result.set_kind(ToProto(layer.kind));
  result.set_num_experts(layer.num_experts);
  result.set_tokens(summary.tokens);
  result.set_selections(figures.selections);
  result.set_used_ratio(figures.used_ratio);
  result.set_used_expected_ratio(figures.used_expected_ratio);
  result.set_unevenness_nats(figures.by_score.nats);
  result.set_unevenness_expected_nats(figures.by_score.expected_nats);
  SetDeprecated(result);
  result.set_effective_experts(figures.effective_experts);
  result.set_gini(figures.gini);
  result.set_top_1_percent_share(figures.top_share[1]);  // kTopShares
  return result;
}

}  // namespace

ExpertSummaryCall* ExpertSummaryCall::Start(const Backend& backend, const ExpertSummaryQuery& query,
                                            grpc::CallbackServerContext* context) {
  const auto reactor = Held(new ExpertSummaryCall(backend, query, context));
  reactor->Ask();
  return reactor.get();
}

void ExpertSummaryCall::OnTime() {
  {
    absl::MutexLock lock(&mu_);
    due_ = asking_ || writing_;
    if (due_) return;
  }
  Ask();
}

// Until it is answered, the call does not end: nothing may reach for the engine after the server.
void ExpertSummaryCall::Ask() {
  {
    absl::MutexLock lock(&mu_);
    if (cancelled_) return;
    asking_ = true;
    // The timer first: who reads a summary knows that the next one will come. It runs on the lane
    // of answers, where nothing takes long.
    next_ =
        backend_.answers->RunAt(backend_.clock->Now() + query_.interval, [weak = weak_from_this()] {
          if (const auto self = weak.lock()) self->OnTime();
        });
  }
  backend_.expert_usage->Summarize(
      query_.window,
      [self = shared_from_this()](const Summary& summary) { self->Answer(summary); });
}

void ExpertSummaryCall::Answer(const Summary& summary) {
  absl::Status status = summary.status();
  {
    absl::MutexLock lock(&mu_);
    asking_ = false;
    writing_ = true;
    if (cancelled_) status = absl::CancelledError("the call was cancelled");
  }
  if (!status.ok()) return End(std::move(status));
  v1::WatchExpertSummaryResponse message;
  *message.mutable_time() = peerage::ToProto((*summary)->time);
  const std::vector<ExpertLayer>& layers = backend_.model->description.expert_layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    *message.add_layers() = ToProto(layers[i], (*summary)->layers[i]);
  }
  Do(queue_.Push(std::move(message), 1));
}

void ExpertSummaryCall::OnWriteDone(bool ok) {
  Do(queue_.WriteDone(ok));
  if (!ok) return OnCancel();
  bool due = false;
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    due = std::exchange(due_, false);
  }
  if (due) Ask();
}

void ExpertSummaryCall::OnCancel() {
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (asking_) return;
  }
  End(absl::CancelledError("the call was cancelled"));
}

// With the timer, which would outlive the call by up to a day.
void ExpertSummaryCall::End(absl::Status status) {
  BackgroundLane::Timer next;
  {
    absl::MutexLock lock(&mu_);
    next = next_;
  }
  backend_.answers->Forget(next);
  Do(queue_.Close(std::move(status)));
}

}  // namespace peerage

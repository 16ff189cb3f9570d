#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/experts/expert_usage.h"
#include "peerage/v1/experts.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/reactors.h"

namespace peerage {

// What a WatchExpertSummary call asks for.
struct ExpertSummaryQuery {
  UsageWindow window = UsageWindow::kRecent;
  absl::Duration interval;
};

// One WatchExpertSummary call: a summary at once, then one in each interval by the engine's clock,
// later when the reader has not taken the one before.
//
// Threads: the lane of the sums delivers, gRPC reacts on its own. The object lives until both
// have let go of it.
class ExpertSummaryCall final
    : public QueuedStream<grpc::ServerWriteReactor<v1::WatchExpertSummaryResponse>,
                          v1::WatchExpertSummaryResponse>,
      public std::enable_shared_from_this<ExpertSummaryCall> {
 public:
  static ExpertSummaryCall* Start(const Backend& backend, const ExpertSummaryQuery& query,
                                  grpc::CallbackServerContext* context);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;

 private:
  using Summary = absl::StatusOr<std::shared_ptr<const ExpertSummary>>;

  ExpertSummaryCall(const Backend& backend, const ExpertSummaryQuery& query,
                    grpc::CallbackServerContext* context)
      : QueuedStream(context, 1), backend_(backend), query_(query) {}

  void Ask();
  // It is time for the next summary.
  void OnTime();
  void Answer(const Summary& summary);
  // Ends the call as soon as nobody delivers to it.
  void End(absl::Status status);

  const Backend backend_;
  const ExpertSummaryQuery query_;

  absl::Mutex mu_;
  bool asking_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  // The next summary is due as soon as the last one is written.
  bool due_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  BackgroundLane::Timer next_ ABSL_GUARDED_BY(mu_);  // when the next summary is due
};

}  // namespace peerage

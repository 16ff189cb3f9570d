#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>

#include "absl/status/statusor.h"
#include "peerage/v1/experts.pb.h"
#include "server/experts/expert_usage_reader.h"
#include "server/rpc/reactors.h"

namespace peerage {

// What a GetExpertUsage call asks for, and what its header says beforehand.
struct ExpertUsageQuery {
  int expert_layer = 0;  // of the model's
  UsageWindow window = UsageWindow::kRecent;
  v1::UsageHeader header;
};

// How many calls hold an expert layer's sums. Threads: safe from many.
using UsageReads = std::shared_ptr<std::atomic<int>>;

// One GetExpertUsage call: the header, then the experts in chunks. A chunk is made when the one
// before it was written, so a slow reader holds the sums, but no messages beside them.
//
// Threads: the lane of the sums delivers, gRPC reacts on its own. The object lives until both
// have let go of it.
class ExpertUsageCall final
    : public QueuedStream<grpc::ServerWriteReactor<v1::GetExpertUsageResponse>,
                          v1::GetExpertUsageResponse> {
 public:
  static constexpr uint32_t kChunkExperts = 1 << 15;  // 512 KiB
  static constexpr int kMaxReads = 4;

  // RESOURCE_EXHAUSTED when there are kMaxReads.
  static ExpertUsageCall* Start(ExpertUsageReader* expert_usage, ExpertUsageQuery query,
                                grpc::CallbackServerContext* context, const UsageReads& reads);

  void OnWriteDone(bool ok) override;
  // Nothing is to be done: the next write fails, and that ends the call.
  void OnCancel() override {}

 private:
  ExpertUsageCall(ExpertUsageQuery query, grpc::CallbackServerContext* context, UsageReads reads)
      : QueuedStream(context, 1), query_(std::move(query)), reads_(std::move(reads)) {}

  void Answer(absl::StatusOr<ExpertUsage> usage);
  void WriteChunk();
  // Lets go of the sums before the client hears of the end, so that it can read the next layer.
  void End(absl::Status status);

  const ExpertUsageQuery query_;
  const UsageReads reads_;
  ExpertUsage usage_;
  uint32_t written_ = 0;  // experts whose chunks are written
};

}  // namespace peerage

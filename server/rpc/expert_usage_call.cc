#include "server/rpc/expert_usage_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"
#include "server/engine/retry_delay.h"
#include "server/rpc/to_proto.h"

namespace peerage {

ExpertUsageCall* ExpertUsageCall::Start(ExpertUsageReader* expert_usage, ExpertUsageQuery query,
                                        grpc::CallbackServerContext* context,
                                        const UsageReads& reads) {
  const int others = (*reads)++;
  const auto reactor = Held(new ExpertUsageCall(std::move(query), context, reads));
  if (others >= kMaxReads) {
    absl::Status refusal = absl::ResourceExhaustedError(
        absl::StrCat("expert usage is already being read by ", kMaxReads, " calls"));
    SetRetryDelay(refusal, kRetrySoon);
    reactor->Answer(refusal);
    return reactor.get();
  }
  expert_usage->Read(
      reactor->query_.expert_layer, reactor->query_.window,
      [reactor](absl::StatusOr<ExpertUsage> usage) { reactor->Answer(std::move(usage)); });
  return reactor.get();
}

void ExpertUsageCall::Answer(absl::StatusOr<ExpertUsage> usage) {
  if (!usage.ok()) return End(usage.status());
  usage_ = *std::move(usage);
  v1::GetExpertUsageResponse message;
  v1::UsageHeader& header = *message.mutable_header();
  header = query_.header;
  header.set_tokens(usage_.tokens);
  for (const uint64_t count : usage_.selections) {
    header.set_selections(header.selections() + count);
  }
  *header.mutable_window_start() = ToProto(usage_.start);
  *header.mutable_window_end() = ToProto(usage_.end);
  Do(queue_.Push(std::move(message), 1));
}

void ExpertUsageCall::OnWriteDone(bool ok) {
  Do(queue_.WriteDone(ok));
  if (!ok) return End(absl::CancelledError("the call was cancelled"));
  if (written_ == usage_.selections.size()) return End(absl::OkStatus());
  WriteChunk();
}

void ExpertUsageCall::WriteChunk() {
  v1::GetExpertUsageResponse message;
  v1::UsageChunk& chunk = *message.mutable_chunk();
  const auto part = [this](const auto& values) {
    return absl::MakeConstSpan(values).subspan(written_, kChunkExperts);
  };
  chunk.set_first_expert(written_);
  AppendLittleEndian(part(usage_.selections), *chunk.mutable_selections());
  AppendLittleEndian(part(usage_.score_sums), *chunk.mutable_score_sums());
  written_ += static_cast<uint32_t>(part(usage_.selections).size());
  Do(queue_.Push(std::move(message), 1));
}

void ExpertUsageCall::End(absl::Status status) {
  usage_ = {};
  --*reads_;
  Do(queue_.Close(std::move(status)));
}

}  // namespace peerage

#include "server/http/answer_buffer.h"

namespace peerage {

bool AnswerBuffer::Write(absl::string_view bytes) {
  {
    const auto has_room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return abandoned_ || unsent_.size() < kMostUnsent;
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&has_room));
    if (abandoned_) return false;
    unsent_.append(bytes.data(), bytes.size());
  }
  on_more_();
  return true;
}

bool AnswerBuffer::has_listener() const {
  absl::MutexLock lock(&mu_);
  return !abandoned_ && !source_ended_;
}

void AnswerBuffer::Finish() {
  {
    absl::MutexLock lock(&mu_);
    finished_ = true;
  }
  on_more_();
}

AnswerBuffer::State AnswerBuffer::Send(ByteStream& client) {
  absl::MutexLock lock(&mu_);
  State state;
  if (!unsent_.empty() && !abandoned_) {
    const Transfer transfer = client.Write(unsent_);
    state.sent = transfer.bytes;
    unsent_.erase(0, transfer.bytes);
    if (transfer.result == Transfer::kFailed) abandoned_ = true;
  }
  state.unsent = unsent_.size();
  state.finished = abandoned_ || (finished_ && unsent_.empty());
  return state;
}

void AnswerBuffer::EndSource() {
  absl::MutexLock lock(&mu_);
  source_ended_ = true;
}

void AnswerBuffer::Abandon() {
  absl::MutexLock lock(&mu_);
  abandoned_ = true;
}

}  // namespace peerage

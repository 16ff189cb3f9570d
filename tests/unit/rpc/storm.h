#pragma once

#include <grpcpp/channel.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/token.h"
#include "peerage/v1/inference.grpc.pb.h"

namespace peerage {

// What one call of a storm does, all of it drawn from the storm's seed and the call's number.
struct StormCall {
  enum class Kind { kStream, kGenerate, kScore };

  int64_t number = 0;  // also its request id, and the first letters of its prompt
  Kind kind = Kind::kStream;
  std::string prompt;
  uint32_t max_tokens = 1;
  int messages = 0;   // once it has read so many, it cancels...
  size_t victim = 0;  // ...the call in this place
  int timeout = 0;    // in StormOptions::timeout_unit; 0: none
};

struct StormOptions {
  uint64_t seed = 0;
  size_t at_once = 48;
  bool cancels = false;
  absl::Duration timeout_unit = absl::ZeroDuration();  // zero: nobody has a deadline
};

// Many calls at once, of all kinds, each followed by the next one, with clients that give up at
// random points. What they read is compared with what the fake model has to say: the whole of it
// when a call ends well, else a prefix.
//
// Threads: its own are gRPC's; the methods are for one.
class Storm {
 public:
  static constexpr int kMaxTimeout = 30;  // units

  // `channel` leads to a TestServer.
  Storm(std::shared_ptr<grpc::Channel> channel, const StormOptions& options);

  // Calls until `count` have ended with `code`, as their clients saw it, and returns once all have
  // ended. May be called again.
  void RunUntil(grpc::StatusCode code, int64_t count);

  int64_t ended(grpc::StatusCode code) const;
  // Of all that were ever sent.
  int64_t started() const;
  // Tokens of streams and answers that clients have read.
  int64_t tokens_read() const;

  absl::Duration TimeoutOf(int64_t number) const {
    return CallOf(number).timeout * options_.timeout_unit;
  }
  // The number of the call whose prompt begins with these tokens, if they are enough to say.
  static std::optional<int64_t> NumberOf(const std::vector<TokenId>& tokens);

 private:
  class LiveCall;
  class StreamCall;
  template <typename Request, typename Response>
  class UnaryCall;
  friend class LiveCall;

  StormCall CallOf(int64_t number) const;
  void StartIn(size_t place);
  void Cancel(size_t place);
  void End(size_t place, const grpc::Status& status, int64_t tokens);
  std::shared_ptr<LiveCall> NewCall(size_t place, const StormCall& call);

  const StormOptions options_;
  const std::unique_ptr<v1::InferenceService::Stub> stub_;

  mutable absl::Mutex mu_;
  std::vector<std::shared_ptr<LiveCall>> places_ ABSL_GUARDED_BY(mu_);
  int64_t started_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t tokens_read_ ABSL_GUARDED_BY(mu_) = 0;
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::StatusCode wanted_ ABSL_GUARDED_BY(mu_) = grpc::StatusCode::OK;
  int64_t wanted_count_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<grpc::StatusCode, int64_t> ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage

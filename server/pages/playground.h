#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/engine.h"
#include "server/engine/request.h"
#include "server/http/admin_server.h"

namespace peerage {

// A place to try the model on the admin port. Its page, /playground (static_files.h), has tokens
// come one by one and the experts light up that each of them picks; the route behind it is
//
//   POST /playground/generate
//
// of a GenerateRequest as JSON, as peerage.v1 defines it, with one candidate and without
// log-probabilities. The answer is JSON, too, one event a line, as they happen:
//
//   {"prompt": [{"id": 5, "text": "And"}, ...], "seed": "17", "max_tokens": 64}
//   {"picks": {"first_position": 0, "tokens": 3, "layers": [{"ids": [...], "weights": [...]},
//   ...]}}
//   {"delta": {"ids": [9], "text": " it"}}
//   {"finished": {"reason": "length", "tokens": 64, ...}}
//   {"error": {"code": "UNAVAILABLE", "message": "..."}}
//
// "picks" come with a full expert trace, as soon as tokens (of the prompt, too) were computed: by
// expert layer the ids and weights [tokens, heads, top_k]. An "error" is last, in place of
// "finished". What is refused at once has a status of HTTP and a line of text: 400 for what is
// wrong, 429 when the queue is full, 503 when the server drains, or is answering another one: only
// AdminServer::kMaxStreams are answered at a time.
//
// The request runs like any other, is counted like any other, and is cancelled when its reader is
// gone. Nothing of it is kept.
//
// Threads: safe from many.
class Playground {
 public:
  // What the engine will run of a text that a client sent, or why not.
  using Reader = std::function<absl::StatusOr<GenerateRequest>(absl::string_view json)>;

  // `engine` and its `tokenizer` must outlive the playground.
  Playground(Engine* engine, const Tokenizer* tokenizer, Reader read)
      : engine_(*engine), tokenizer_(*tokenizer), read_(std::move(read)) {}

  // Adds the route; the playground must outlive the server.
  void AddTo(AdminServer& server);

  // Returns when every answer was sent to its end, or at `patience`. Drain the engine first.
  void Drain(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // One of the answers that may be streamed; given back by whoever lets go of it. None when all
  // are taken.
  using Place = std::shared_ptr<void>;

  AdminResponse Generate(const AdminRequest& request);
  absl::StatusOr<AdminResponse> Start(absl::string_view json);
  Place TakePlace() ABSL_LOCKS_EXCLUDED(mu_);
  void LeavePlace() ABSL_LOCKS_EXCLUDED(mu_);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  const Reader read_;

  absl::Mutex mu_;
  int streams_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace peerage

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/door/byte_stream.h"
#include "server/door/event_loop.h"
#include "server/engine/clock.h"
#include "server/http/admin_places.h"
#include "server/http/answer_buffer.h"
#include "server/http/request_collector.h"

namespace peerage {

// A connection to the admin port: one request, whole before anybody looks at it, and its answer. A
// client that is slow holds up nobody, and not for long.
//
// Threads: its loop's.
class AdminConnection {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    const Clock* clock = nullptr;
    std::unique_ptr<ByteStream> client;
    size_t max_body_bytes = 0;
    // Told once, when the request is there. The answer is made elsewhere.
    std::function<void(std::string request, std::shared_ptr<AnswerBuffer>)> answer;
    std::shared_ptr<AnswerBuffer> buffer;
    // Told once, when nothing is left to do. The connection is running then: destroy it later.
    std::function<void()> on_end;
  };

  explicit AdminConnection(Parts parts);
  // Whoever makes the answer is told that nobody reads it.
  ~AdminConnection();

  // `id` and `peer` are the caller's to know.
  AdminPlace place(uint64_t id, const std::string& peer) const {
    return {.id = id, .peer = peer, .stage = stage_, .since = stage_since_};
  }
  // To be called several times a second.
  void OnTick();
  // Sends what the buffer has.
  void Send();
  void End();

 private:
  void OnReadable();
  void Ask();
  void Reach(AdminPlace::Stage stage);

  const Parts parts_;
  RequestCollector request_;
  const std::function<void()> readable_callback_;
  const std::function<void()> writable_callback_;
  const Event readable_;
  const Event writable_;
  absl::Time end_by_;        // of what it waits for now
  absl::Time behind_since_;  // when something was left unsent
  absl::Time sent_at_;       // when something was sent last
  AdminPlace::Stage stage_ = AdminPlace::Stage::kAsking;
  absl::Time stage_since_;
  bool client_ended_ = false;
  bool behind_ = false;
  bool ended_ = false;
};

}  // namespace peerage

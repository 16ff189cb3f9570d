#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <unordered_set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "peerage/v1/inference.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"

namespace peerage {

// One ScoreStream call: reads items, submits each as a request of its own and writes the answers as
// they come. An item that fails is answered with its error; the stream goes on. Bytes that are no
// ScoreStreamRequest have no id to answer to: what came before is answered, then the stream ends
// with INVALID_ARGUMENT. That is why messages are parsed here: gRPC's typed streams report such
// bytes as the client's regular end, and what followed would be lost without a word.
//
// At most kWindow items are between their read and the end of their answer's write, so what a
// client sends faster than it is scored waits in its own flow control.
//
// Threads: gRPC reacts on its own threads, items are read one after the other where texts are read,
// and answer from the worker's. The object lives until gRPC and every item have let go of it.
class ScoreStreamCall final
    : public QueuedStream<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          grpc::ByteBuffer>,
      public std::enable_shared_from_this<ScoreStreamCall> {
 public:
  static constexpr int kWindow = 16;

  static ScoreStreamCall* Start(const Backend& backend, Call call,
                                grpc::CallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;

 private:
  class Item;

  ScoreStreamCall(const Backend& backend, Call call, grpc::CallbackServerContext* context)
      : QueuedStream(context, kWindow), backend_(backend), call_(std::move(call)) {}

  // The message that was read.
  void Submit();
  // False when nobody waits for an answer any more.
  bool Expect(const std::shared_ptr<Item>& item);
  // Nothing more is read: the client sends no more, or nothing readable.
  void EndReading(absl::Status status);
  // An item ends with this response.
  void Answer(const std::shared_ptr<Item>& item, const v1::ScoreStreamResponse& response);
  // After a read or a write: ends the stream, reads on, or waits for answers.
  void Proceed();
  // Finishes when everything is answered and written or, after a cancellation, when the engine has
  // let go of every item: nothing may outlive the server through them.
  void EndWhenDone();

  const Backend backend_;
  const Call call_;
  // While a read is outstanding, both belong to it.
  grpc::ByteBuffer incoming_;
  uint64_t items_read_ = 0;

  absl::Mutex mu_;
  std::unordered_set<std::shared_ptr<Item>> items_ ABSL_GUARDED_BY(mu_);  // not answered yet
  int in_window_ ABSL_GUARDED_BY(mu_) = 0;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;           // until what came is submitted
  bool waits_for_client_ ABSL_GUARDED_BY(mu_) = false;  // a read is outstanding
  bool read_all_ ABSL_GUARDED_BY(mu_) = false;  // the client sends no more, or nothing readable
  absl::Status read_status_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage

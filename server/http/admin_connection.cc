#include "server/http/admin_connection.h"

#include <array>
#include <utility>

namespace peerage {
namespace {

using Stage = AdminPlace::Stage;

constexpr absl::Duration kRequestTimeout = absl::Seconds(3);
// Who takes nothing for so long, or does not keep up for so long, gets no more.
constexpr absl::Duration kStallTimeout = absl::Seconds(2);
constexpr absl::Duration kBehindTimeout = absl::Seconds(30);
// For the client's end, without which the last bytes might be lost on their way to him.
constexpr absl::Duration kLinger = absl::Seconds(1);

}  // namespace

AdminConnection::AdminConnection(Parts parts)
    : parts_(std::move(parts)),
      request_(parts_.max_body_bytes),
      readable_callback_([this] { OnReadable(); }),
      writable_callback_([this] { Send(); }),
      readable_(parts_.loop->Watch(parts_.client->fd(), EV_READ, &readable_callback_)),
      writable_(parts_.loop->Watch(parts_.client->fd(), EV_WRITE, &writable_callback_)),
      end_by_(parts_.clock->Now() + kRequestTimeout),
      stage_since_(parts_.clock->Now()) {
  event_add(readable_.get(), nullptr);
}

AdminConnection::~AdminConnection() { parts_.buffer->Abandon(); }

void AdminConnection::OnTick() {
  const absl::Time now = parts_.clock->Now();
  const bool stalls =
      behind_ && (now - sent_at_ > kStallTimeout || now - behind_since_ > kBehindTimeout);
  if (stalls || now > end_by_) End();
}

// After the request, a client's end is that of somebody who reads no stream any more.
void AdminConnection::OnReadable() {
  std::array<char, 16 << 10> part;
  const Transfer read = parts_.client->Read(absl::MakeSpan(part));
  if (read.result == Transfer::kBlocked) return;
  if (read.result == Transfer::kMoved) {
    if (stage_ == Stage::kAsking && request_.Add({part.data(), read.bytes})) Ask();
    return;
  }
  event_del(readable_.get());
  client_ended_ = true;
  if (read.result == Transfer::kFailed || stage_ != Stage::kAnswering) return End();
  parts_.buffer->EndSource();
}

void AdminConnection::Ask() {
  Reach(Stage::kAnswering);
  end_by_ = absl::InfiniteFuture();
  parts_.answer(request_.Take(), parts_.buffer);
}

void AdminConnection::Reach(Stage stage) {
  stage_ = stage;
  stage_since_ = parts_.clock->Now();
}

void AdminConnection::Send() {
  if (ended_ || stage_ == Stage::kAnswered) return;
  const AnswerBuffer::State state = parts_.buffer->Send(*parts_.client);
  const absl::Time now = parts_.clock->Now();
  if (state.sent > 0 || !behind_) sent_at_ = now;
  if (!behind_) behind_since_ = now;
  behind_ = state.unsent > 0;
  if (behind_) {
    event_add(writable_.get(), nullptr);
  } else {
    event_del(writable_.get());
  }
  if (!state.finished) return;
  event_del(writable_.get());
  behind_ = false;
  Reach(Stage::kAnswered);
  parts_.client->EndWriting();
  end_by_ = now + kLinger;
  if (client_ended_) End();
}

void AdminConnection::End() {
  if (ended_) return;
  ended_ = true;
  event_del(readable_.get());
  event_del(writable_.get());
  parts_.buffer->Abandon();
  parts_.on_end();
}

}  // namespace peerage

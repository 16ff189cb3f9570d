#include "server/door/handshakes.h"

#include <sys/resource.h>
#include <unistd.h>

#include <utility>

#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(250);
constexpr int kNice = 10;  // as who answers on the admin port

}  // namespace

// One of them. It is destroyed later than it ends, for it ends in what its events call.
class Handshakes::Handshake {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    std::unique_ptr<TlsStream> stream;
    Listener listener;
    absl::Time end_by;
    std::function<void()> on_end;
    std::unique_ptr<IdleConnections::Member> idle;
  };

  explicit Handshake(Parts parts)
      : parts_(std::move(parts)),
        callback_([this] { Go(); }),
        readable_(parts_.loop->Watch(parts_.stream->fd(), EV_READ, &callback_)),
        writable_(parts_.loop->Watch(parts_.stream->fd(), EV_WRITE, &callback_)) {
    event_add(readable_.get(), nullptr);
  }

  void OnTick(absl::Time now) {
    if (parts_.stream == nullptr || now < parts_.end_by) return;
    End(parts_.stream->refused() ? parts_.listener.on_failed : parts_.listener.on_late);
  }

  void Fail() {
    if (parts_.stream != nullptr) End(parts_.listener.on_failed);
  }

 private:
  void Go() {
    if (parts_.stream == nullptr) return;
    const Transfer::Result result = parts_.stream->Shake();
    if (result == Transfer::kBlocked) return Wait();
    if (result != Transfer::kMoved) return End(parts_.listener.on_failed);
    Unwatch();
    parts_.idle.reset();
    parts_.listener.on_done(std::move(parts_.stream));
    parts_.on_end();
  }

  void Wait() {
    if (parts_.stream->wants_to_write()) {
      event_add(writable_.get(), nullptr);
    } else {
      event_del(writable_.get());
    }
  }

  void End(const std::function<void()>& told) {
    Unwatch();
    parts_.stream.reset();
    told();
    parts_.on_end();
  }

  void Unwatch() {
    event_del(readable_.get());
    event_del(writable_.get());
  }

  Parts parts_;  // without a stream once it has ended
  const std::function<void()> callback_;
  const Event readable_;
  const Event writable_;
};

absl::StatusOr<std::unique_ptr<Handshakes>> Handshakes::Open(const Parts& parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Start());
  return std::unique_ptr<Handshakes>(new Handshakes(parts, std::move(loop)));
}

Handshakes::Handshakes(const Parts& parts, std::unique_ptr<EventLoop> loop)
    : parts_(parts), loop_(std::move(loop)), tick_callback_([this] { Tick(); }) {
  loop_->Post([this] {
    // On Linux priorities are threads'; a failure costs nothing but the priority.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
    tick_ = loop_->Every(kLookInterval, &tick_callback_);
  });
}

Handshakes::~Handshakes() {
  EndAll();
  loop_->Run([this] { tick_.reset(); });
  loop_.reset();
}

void Handshakes::Add(std::unique_ptr<TlsStream> stream, Listener listener) {
  // Functions are copied, streams are not.
  auto held = std::make_shared<std::unique_ptr<TlsStream>>(std::move(stream));
  loop_->Post([this, held, listener = std::move(listener)] {
    if (ended_) return listener.on_failed();
    const uint64_t id = ++last_id_;
    const absl::Time now = parts_.clock->Now();
    const auto end = [this, id] { loop_->Post([this, id] { handshakes_.erase(id); }); };
    std::unique_ptr<IdleConnections::Member> idle;
    if (parts_.idle != nullptr) {
      idle = std::make_unique<IdleConnections::Member>(
          parts_.idle, now, [this, id] { loop_->Post([this, id] { Fail(id); }); });
    }
    handshakes_[id] = std::make_unique<Handshake>(Handshake::Parts{.loop = loop_.get(),
                                                                   .stream = std::move(*held),
                                                                   .listener = listener,
                                                                   .end_by = now + parts_.limit,
                                                                   .on_end = end,
                                                                   .idle = std::move(idle)});
  });
}

void Handshakes::EndAll() {
  loop_->Run([this] {
    ended_ = true;
    for (const auto& [id, handshake] : handshakes_) handshake->Fail();
  });
}

void Handshakes::Fail(uint64_t id) {
  const auto found = handshakes_.find(id);
  if (found != handshakes_.end()) found->second->Fail();
}

void Handshakes::Tick() {
  const absl::Time now = parts_.clock->Now();
  for (const auto& [id, handshake] : handshakes_) handshake->OnTick(now);
}

}  // namespace peerage

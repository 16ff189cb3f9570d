#include "server/door/one_way.h"

#include <array>
#include <thread>
#include <utility>

namespace peerage {
namespace {

// Of those that wait for this thread's processor, each gives way to one.
constexpr int kYields = 4;

}  // namespace

OneWay::OneWay(Parts parts)
    : parts_(std::move(parts)),
      waiting_(evbuffer_new()),
      readable_callback_([this] { OnReadable(); }),
      writable_callback_([this] { OnWritable(); }),
      readable_(parts_.loop->Watch(parts_.from->fd(), EV_READ, &readable_callback_)),
      writable_(parts_.loop->Watch(parts_.to->fd(), EV_WRITE, &writable_callback_)) {
  event_add(readable_.get(), nullptr);
}

void OneWay::Hold() {
  held_ = true;
  event_del(readable_.get());
  event_del(writable_.get());
}

void OneWay::GoOn() {
  held_ = false;
  if (failed_) return;
  if (waiting_bytes() > 0) {
    event_add(writable_.get(), nullptr);
  } else if (!closed_) {
    event_add(readable_.get(), nullptr);
  }
}

void OneWay::Insert(absl::string_view bytes) {
  if (!closed_ && !failed_) PassOn(bytes);
}

void OneWay::EndIfSourceHungUp() {
  const bool reads = !held_ && waiting_bytes() == 0;
  if (reads || closed_ || failed_ || !parts_.from->HasHungUp()) return;
  source_ended_ = true;
  event_del(writable_.get());
  evbuffer_drain(waiting_.get(), waiting_bytes());
  Close("");
}

void OneWay::Close(absl::string_view last) {
  if (closed_) return;
  closed_ = true;
  event_del(readable_.get());
  if (held_) evbuffer_drain(waiting_.get(), waiting_bytes());
  held_ = false;
  if (!failed_ && !last.empty()) PassOn(last);
  EndIfDone();
}

void OneWay::OnReadable() {
  static thread_local std::array<char, kReadBytes> scratch;
  for (int i = 0; parts_.gathers && i < kYields; ++i) std::this_thread::yield();
  const Transfer read = parts_.from->Read(absl::MakeSpan(scratch));
  if (read.result == Transfer::kBlocked) return;
  if (read.result == Transfer::kMoved) {
    Judge({scratch.data(), read.bytes});
  } else {
    source_ended_ = true;
    Close("");
  }
  parts_.on_turn();
}

void OneWay::Judge(absl::string_view bytes) {
  const std::optional<size_t> place = parts_.judge(bytes);
  if (closed_) return;
  if (place.has_value()) {
    PassOn(bytes.substr(0, *place));
    parts_.insert();
    bytes.remove_prefix(*place);
  }
  if (!closed_ && !failed_) PassOn(bytes);
}

void OneWay::OnWritable() {
  const auto size = static_cast<ssize_t>(waiting_bytes());
  const auto* bytes = reinterpret_cast<const char*>(evbuffer_pullup(waiting_.get(), size));
  evbuffer_drain(waiting_.get(), WriteNow({bytes, static_cast<size_t>(size)}));
  if (waiting_bytes() == 0 && !failed_) {
    event_del(writable_.get());
    if (!closed_) event_add(readable_.get(), nullptr);
    EndIfDone();
  }
  parts_.on_turn();
}

void OneWay::PassOn(absl::string_view bytes) {
  if (bytes.empty()) return;
  if (waiting_bytes() == 0 && !held_) bytes.remove_prefix(WriteNow(bytes));
  if (bytes.empty() || failed_) return;
  evbuffer_add(waiting_.get(), bytes.data(), bytes.size());
  event_del(readable_.get());
  if (!held_) event_add(writable_.get(), nullptr);
}

size_t OneWay::WriteNow(absl::string_view bytes) {
  const Transfer written = parts_.to->Write(bytes);
  if (written.result == Transfer::kFailed || written.result == Transfer::kEnded) {
    failed_ = true;
    event_del(readable_.get());
    event_del(writable_.get());
    return 0;
  }
  taken_bytes_ += written.bytes;
  return written.bytes;
}

void OneWay::EndIfDone() {
  if (!closed_ || ended_ || failed_ || waiting_bytes() != 0) return;
  ended_ = true;
  parts_.to->EndWriting();
}

}  // namespace peerage

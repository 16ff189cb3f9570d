#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace peerage {

// The streams of a connection that are open: calls in flight. A stream ends when both sides have
// ended it, or one has reset it (RFC 9113, section 5.1).
class OpenStreams {
 public:
  enum class Side : uint8_t { kClient = 1, kServer = 2 };

  struct Stream {
    absl::Time begin;
    uint8_t ended_sides = 0;
    bool answered = false;  // the server has sent data
  };

  size_t size() const { return streams_.size(); }
  uint32_t newest() const { return newest_; }

  // Whether a client may open this one: they are odd and grow.
  bool MayOpen(uint32_t stream) const { return stream % 2 == 1 && stream > newest_; }
  // Precondition of both: MayOpen.
  void Open(uint32_t stream, absl::Time now) {
    newest_ = stream;
    streams_[stream] = {.begin = now};
  }
  // It is not to be: it counts as one that has ended.
  void Skip(uint32_t stream) { newest_ = stream; }
  bool IsOpen(uint32_t stream) const { return streams_.contains(stream); }

  // Nothing happens to a stream that is not open.
  void Answer(uint32_t stream) {
    const auto found = streams_.find(stream);
    if (found != streams_.end()) found->second.answered = true;
  }
  // A side sends no more.
  void End(uint32_t stream, Side side) {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    found->second.ended_sides |= static_cast<uint8_t>(side);
    if (found->second.ended_sides == kBoth) streams_.erase(found);
  }
  // What it was, if it was open.
  std::optional<Stream> Reset(uint32_t stream) {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return std::nullopt;
    const Stream was = found->second;
    streams_.erase(found);
    return was;
  }

 private:
  static constexpr uint8_t kBoth =
      static_cast<uint8_t>(Side::kClient) | static_cast<uint8_t>(Side::kServer);

  absl::flat_hash_map<uint32_t, Stream> streams_;
  uint32_t newest_ = 0;
};

}  // namespace peerage

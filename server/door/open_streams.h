#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"

namespace peerage {

// The streams of a connection that are open: calls in flight. A stream ends when both sides have
// ended it, or one has reset it (RFC 9113, section 5.1).
class OpenStreams {
 public:
  enum class Side : uint8_t { kClient = 1, kServer = 2 };

  size_t size() const { return ended_sides_.size(); }
  uint32_t newest() const { return newest_; }

  // Whether a client may open this one: they are odd and grow.
  bool MayOpen(uint32_t stream) const { return stream % 2 == 1 && stream > newest_; }
  // Precondition of both: MayOpen.
  void Open(uint32_t stream) {
    newest_ = stream;
    ended_sides_[stream] = 0;
  }
  // It is not to be: it counts as one that has ended.
  void Skip(uint32_t stream) { newest_ = stream; }
  bool IsOpen(uint32_t stream) const { return ended_sides_.contains(stream); }

  // A side sends no more. Nothing happens to a stream that is not open.
  void End(uint32_t stream, Side side) {
    const auto found = ended_sides_.find(stream);
    if (found == ended_sides_.end()) return;
    found->second |= static_cast<uint8_t>(side);
    if (found->second == kBoth) ended_sides_.erase(found);
  }
  void Reset(uint32_t stream) { ended_sides_.erase(stream); }

 private:
  static constexpr uint8_t kBoth =
      static_cast<uint8_t>(Side::kClient) | static_cast<uint8_t>(Side::kServer);

  absl::flat_hash_map<uint32_t, uint8_t> ended_sides_;
  uint32_t newest_ = 0;
};

}  // namespace peerage

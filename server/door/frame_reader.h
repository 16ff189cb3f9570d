#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace peerage {

// The kinds of frames that are told apart here (RFC 9113, section 6).
enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

// What begins every frame.
struct FrameHead {
  static constexpr size_t kBytes = 9;
  // Flags: the first is END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
  static constexpr uint8_t kEndStream = 1;
  static constexpr uint8_t kAck = 1;
  static constexpr uint8_t kEndHeaders = 4;

  uint32_t length = 0;  // of what follows
  FrameType type = FrameType::kData;
  uint8_t flags = 0;
  uint32_t stream = 0;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Finds the frames in one direction of an HTTP/2 connection, whose bytes come in any pieces. It
// keeps nothing of what they hold, so it costs nine bytes, however large they are.
class FrameReader {
 public:
  // A client's bytes begin with the connection preface (RFC 9113, section 3.4).
  enum class Begin { kWithPreface, kWithFrame };

  explicit FrameReader(Begin begin);

  // Reads on. `on_frame` is told of each head once all of it is there, and says whether to go on;
  // `on_end`, where in `bytes` a frame ends. False when it does not go on, or the preface is none:
  // then the reader is of no use any more.
  bool Read(absl::string_view bytes, absl::FunctionRef<bool(const FrameHead&)> on_frame,
            absl::FunctionRef<void(size_t)> on_end);

  // Whether the preface is over.
  bool begun() const { return preface_left_.empty(); }
  // Whether what was read ends with a whole frame, so that another may follow.
  bool between_frames() const { return begun() && head_bytes_ == 0 && payload_left_ == 0; }

 private:
  bool ReadPreface(absl::string_view& bytes);
  // True when the head is complete.
  bool ReadHead(absl::string_view& bytes);
  FrameHead Head() const;

  absl::string_view preface_left_;
  std::array<uint8_t, FrameHead::kBytes> head_ = {};
  size_t head_bytes_ = 0;
  uint32_t payload_left_ = 0;
};

}  // namespace peerage

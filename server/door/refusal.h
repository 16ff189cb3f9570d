#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace peerage {

// Why a connection was not let in or was ended, or a call was turned away.
enum class Refusal {
  // Of a connection that is not let in.
  kConnections,      // too many are open
  kPeerConnections,  // too many of the same peer
  kConnectionRate,   // too many in a short time
  kDescriptors,      // the process has no file descriptor left
  // Of time.
  kHandshake,   // no HTTP/2 within the limit
  kFirstCall,   // nothing was ever called
  kIdle,        // nothing was called for long
  kUnacked,     // SETTINGS were never acknowledged
  kHalfFrame,   // a frame, or a header block, was begun and not ended
  kSlowReader,  // the client takes nothing of what is for it
  kMadeRoom,    // nothing is called, and there is no place for others
  // Of frames.
  kNotHttp2,
  kHeaderBlock,  // too large
  kResets,
  kSettings,
  kPings,
  kPriorities,
  kWindowUpdates,
  kEmptyData,
  kStrayFrames,  // of kinds and places that no gRPC client has a use for
  kStreams,      // more at once than the connection may have
  // Of a call: too many run.
  kCalls,
};
inline constexpr int kRefusals = static_cast<int>(Refusal::kCalls) + 1;

// Error codes of HTTP/2 (RFC 9113, section 7).
enum class Http2Code : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kSettingsTimeout = 4,
  kEnhanceYourCalm = 11,
};

struct RefusalText {
  absl::string_view label;  // in metrics and the log
  Http2Code code;           // of the GOAWAY
  absl::string_view text;   // of the GOAWAY: what the client should know
};
const RefusalText& TextOf(Refusal refusal);

}  // namespace peerage

#pragma once

#include <cstddef>
#include <cstdint>

namespace peerage {

// What strangers may send, ask for and be sent: every number of the wire in one place. The protos
// document those of fields; request/validate.cc holds requests to them and says them in its errors.

// Fields.
inline constexpr uint32_t kMaxAlternatives = 20;
inline constexpr uint32_t kMaxTokensPerMessage = 1024;
inline constexpr uint32_t kMaxCandidates = 16;
inline constexpr int kMaxContinuations = 1024;
inline constexpr int kMaxLogitBiases = 1024;
inline constexpr int kMaxMaskedExperts = 4096;  // of a layer, as the next: each may cost a search
inline constexpr int kMaxExpertBiases = 1024;
inline constexpr float kMaxExpertBias = 100;
inline constexpr int kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 256;
inline constexpr int kMaxStopTokenIds = 64;
inline constexpr size_t kMaxLabelBytes = 128;  // tenant, cache salt
inline constexpr int64_t kMaxIntervalSeconds = 86'400;
inline constexpr int64_t kMaxDurationSeconds = 315'576'000'000;  // google.protobuf.Duration's range
inline constexpr size_t kMaxRequestIdBytes = 128;
inline constexpr uint32_t kDefaultMaxTokens = 128;

// Messages. Answers take what gRPC clients accept unless they are told otherwise.
inline constexpr int kMaxRequestBytes = 4 << 20;  // unless the server is told otherwise
inline constexpr size_t kMaxResponseBytes = 4 << 20;

// What the parts of answers take on the wire at most: a TokenLogprob is id, float and rank with
// their tags, then two packed arrays; a token of TokenizeResponse is its id and its text's length.
inline constexpr uint64_t LogprobBytes(uint32_t alternatives) {
  return 20 + 9 * uint64_t{alternatives};
}
inline constexpr size_t kTokenizedTokenBytes = 8;
inline constexpr size_t kTokenIdBytes = 5;

// What is read at once, on gRPC's threads: takes less than half a millisecond, whatever it holds.
inline constexpr size_t kBytesReadAtOnce = 4 << 10;

// Connections, and what all of them may use together.
inline constexpr int kMaxStreamsPerConnection = 512;  // a gateway sends the queue's load over one
inline constexpr int kMaxMetadataBytes = 8 << 10;
inline constexpr size_t kQuotaBytes = 256 << 20;
inline constexpr int kQuotaThreads = 32;

}  // namespace peerage

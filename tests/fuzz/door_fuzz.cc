#include <cstdint>
#include <cstdlib>
#include <vector>

#include "server/door/frame_guard.h"

namespace peerage {
namespace {

// What both sides send, in pieces: a byte whose last bit is the side and whose other bits are a
// length, then so many bytes. Each piece comes a moment after the one before.
struct Piece {
  bool of_client = false;
  absl::string_view bytes;
};

std::vector<Piece> PiecesOf(absl::string_view input) {
  std::vector<Piece> pieces;
  while (!input.empty()) {
    const auto head = static_cast<uint8_t>(input.front());
    input.remove_prefix(1);
    pieces.push_back({.of_client = (head & 1) == 0, .bytes = input.substr(0, head >> 1)});
    input.remove_prefix(pieces.back().bytes.size());
  }
  return pieces;
}

struct Verdict {
  int refusal = -1;
  size_t calls = 0;
  uint32_t newest = 0;
  size_t turned_away = 0;
  bool operator==(const Verdict&) const = default;
};

// `at_once`: what one side sends comes byte by byte otherwise.
Verdict Judge(const std::vector<Piece>& pieces, bool at_once) {
  constexpr int kCalls = 5;
  ConnectionLimits shared({.calls = kCalls}, absl::UnixEpoch());
  Verdict verdict;
  {
    absl::Time now = absl::UnixEpoch();
    FrameGuard guard({.streams = 8}, &shared, "peer", now);
    for (const Piece& piece : pieces) {
      now += absl::Milliseconds(1);
      const size_t step = at_once ? 128 : 1;
      for (size_t i = 0; i < piece.bytes.size() && verdict.refusal < 0; i += step) {
        const absl::string_view part = piece.bytes.substr(i, step);
        if (piece.of_client) {
          const std::optional<Refusal> refusal = guard.FromClient(part, now);
          if (refusal.has_value()) verdict.refusal = static_cast<int>(*refusal);
        } else {
          guard.FromServer(part, now);
        }
      }
      if (guard.calls() > kCalls || static_cast<int>(guard.calls()) != shared.calls()) {
        std::abort();
      }
      (void)guard.AtTime(now);
    }
    verdict.calls = guard.calls();
    // Of what is refused, as much is passed on as the network has brought before.
    if (verdict.refusal < 0) verdict.newest = guard.newest_stream();
    verdict.turned_away = guard.TakeTurnedAway().size();
  }
  if (shared.calls() != 0) std::abort();
  return verdict;
}

}  // namespace
}  // namespace peerage

// The verdict must not depend on how the network cuts what is sent, and every call is given back.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto pieces =
      peerage::PiecesOf(absl::string_view(reinterpret_cast<const char*>(bytes), size));
  if (!(peerage::Judge(pieces, true) == peerage::Judge(pieces, false))) std::abort();
  return 0;
}

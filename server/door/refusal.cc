#include "server/door/refusal.h"

#include <iterator>

namespace peerage {
namespace {

// In the order of the enumeration.
constexpr RefusalText kTexts[] = {
    {"connections", Http2Code::kEnhanceYourCalm, "too many connections"},
    {"peer_connections", Http2Code::kEnhanceYourCalm, "too many connections of one peer"},
    {"connection_rate", Http2Code::kEnhanceYourCalm, "too many connections in a short time"},
    {"descriptors", Http2Code::kEnhanceYourCalm, "no file descriptor left"},
    {"handshake", Http2Code::kProtocolError, "no HTTP/2 in time"},
    {"first_call", Http2Code::kNoError, "no call in time"},
    {"idle", Http2Code::kNoError, "no call for long"},
    {"unacked", Http2Code::kSettingsTimeout, "SETTINGS were not acknowledged in time"},
    {"half_frame", Http2Code::kProtocolError, "a frame was not ended in time"},
    {"slow_reader", Http2Code::kNoError, "answers were not read in time"},
    {"made_room", Http2Code::kNoError, "idle, and others want to connect"},
    {"not_http2", Http2Code::kProtocolError, "not HTTP/2"},
    {"header_block", Http2Code::kEnhanceYourCalm, "a header block is too large"},
    {"resets", Http2Code::kEnhanceYourCalm, "too many cancelled calls"},
    {"settings", Http2Code::kEnhanceYourCalm, "too many SETTINGS"},
    {"pings", Http2Code::kEnhanceYourCalm, "too many pings"},
    {"priorities", Http2Code::kEnhanceYourCalm, "too many PRIORITY frames"},
    {"window_updates", Http2Code::kEnhanceYourCalm, "too many WINDOW_UPDATE frames"},
    {"empty_data", Http2Code::kEnhanceYourCalm, "too many empty DATA frames"},
    {"stray_frames", Http2Code::kEnhanceYourCalm, "too many frames without a use"},
    {"streams", Http2Code::kEnhanceYourCalm, "more streams than allowed"},
    {"calls", Http2Code::kEnhanceYourCalm, "too many calls"},
};
static_assert(std::size(kTexts) == kRefusals);

}  // namespace

const RefusalText& TextOf(Refusal refusal) { return kTexts[static_cast<int>(refusal)]; }

}  // namespace peerage

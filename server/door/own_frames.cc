#include "server/door/own_frames.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/door/frame_reader.h"

namespace peerage {
namespace {

constexpr uint32_t kCancel = 8;

std::string BigEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string Frame(FrameType type, uint8_t flags, uint32_t stream, absl::string_view payload) {
  return absl::StrCat(BigEndian(static_cast<uint32_t>(payload.size()), 3),
                      BigEndian(static_cast<uint32_t>(type), 1), BigEndian(flags, 1),
                      BigEndian(stream, 4), payload);
}

std::string ResetFrame(uint32_t stream, uint32_t code) {
  return Frame(FrameType::kReset, 0, stream, BigEndian(code, 4));
}

// A string of less than 127 bytes, as it is (RFC 7541, section 5.2).
std::string HeaderString(absl::string_view text) {
  return absl::StrCat(BigEndian(static_cast<uint32_t>(text.size()), 1), text);
}

// A field that no table remembers (RFC 7541, section 6.2.2).
std::string HeaderField(absl::string_view name, absl::string_view value) {
  return absl::StrCat(BigEndian(0, 1), HeaderString(name), HeaderString(value));
}

}  // namespace

std::string GoAwayFrame(uint32_t newest, Refusal refusal) {
  const RefusalText& text = TextOf(refusal);
  return Frame(FrameType::kGoAway, 0, 0,
               absl::StrCat(BigEndian(newest, 4), BigEndian(static_cast<uint32_t>(text.code), 4),
                            text.text));
}

std::string ResetFrame(uint32_t stream) { return ResetFrame(stream, kCancel); }

std::string TurnedAwayAnswer(uint32_t stream) {
  constexpr absl::string_view kStatus200 = "\x88";  // of the static table
  const std::string headers = absl::StrCat(
      kStatus200, HeaderField("content-type", "application/grpc"), HeaderField("grpc-status", "8"),
      HeaderField("grpc-message", "too many calls run on this server"),
      HeaderField("grpc-retry-pushback-ms", "1000"));
  return absl::StrCat(
      Frame(FrameType::kHeaders, FrameHead::kEndStream | FrameHead::kEndHeaders, stream, headers),
      ResetFrame(stream, static_cast<uint32_t>(Http2Code::kNoError)));
}

}  // namespace peerage

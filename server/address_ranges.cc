#include "server/address_ranges.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

using Bytes = std::array<uint8_t, 16>;

constexpr int kBits = 128;
constexpr int kIpv4Bits = 32;
constexpr Bytes kIpv4Within = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct Parsed {
  Bytes bytes;
  bool is_ipv4 = false;
};

std::optional<Parsed> ParseAddress(absl::string_view text) {
  const std::string terminated(text);
  Parsed parsed = {.bytes = kIpv4Within, .is_ipv4 = true};
  if (inet_pton(AF_INET, terminated.c_str(), &parsed.bytes[kBits / 8 - kIpv4Bits / 8]) == 1) {
    return parsed;
  }
  parsed.is_ipv4 = false;
  if (inet_pton(AF_INET6, terminated.c_str(), parsed.bytes.data()) == 1) return parsed;
  return std::nullopt;
}

bool BitOf(const Bytes& bytes, int bit) { return (bytes[bit / 8] >> (7 - bit % 8) & 1) != 0; }

}  // namespace

absl::StatusOr<AddressRanges> AddressRanges::Parse(absl::string_view text) {
  AddressRanges ranges;
  if (text.empty()) return ranges;
  for (const absl::string_view one : absl::StrSplit(text, ',')) {
    if (one == "unix") {
      ranges.unix_ = true;
      continue;
    }
    ASSIGN_OR_RETURN(const Range range, ParseRange(one));
    ranges.ranges_.push_back(range);
  }
  return ranges;
}

absl::StatusOr<AddressRanges::Range> AddressRanges::ParseRange(absl::string_view text) {
  const auto refuse = [text](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must be addresses or networks such as 10.0.0.0/8 or 2001:db8::/32, or unix, got '", text,
        "'", why));
  };
  const size_t slash = std::min(text.find('/'), text.size());
  const std::optional<Parsed> parsed = ParseAddress(text.substr(0, slash));
  if (!parsed.has_value()) return refuse("");
  Range range = {.first = parsed->bytes, .prefix_bits = kBits};
  if (slash < text.size()) {
    const int most = parsed->is_ipv4 ? kIpv4Bits : kBits;
    const absl::string_view digits = text.substr(slash + 1);
    int bits = 0;
    const bool plain = digits.find_first_not_of("0123456789") == absl::string_view::npos;
    if (!plain || !absl::SimpleAtoi(digits, &bits) || bits > most) {
      return refuse(absl::StrCat(": /0 to /", most));
    }
    range.prefix_bits = kBits - most + bits;
  }
  for (int bit = range.prefix_bits; bit < kBits; ++bit) {
    if (BitOf(range.first, bit)) return refuse(": the network has bits of a host");
  }
  return range;
}

bool AddressRanges::Contain(absl::string_view address) const {
  if (address == "unix:") return unix_;
  if (!absl::ConsumePrefix(&address, "ipv4:") && !absl::ConsumePrefix(&address, "ipv6:")) {
    return false;
  }
  address = address.substr(0, address.rfind(':'));
  absl::ConsumePrefix(&address, "[");
  absl::ConsumeSuffix(&address, "]");
  const std::optional<Parsed> parsed = ParseAddress(address);
  if (!parsed.has_value()) return false;
  return std::any_of(ranges_.begin(), ranges_.end(), [&parsed](const Range& range) {
    for (int bit = 0; bit < range.prefix_bits; ++bit) {
      if (BitOf(parsed->bytes, bit) != BitOf(range.first, bit)) return false;
    }
    return true;
  });
}

}  // namespace peerage

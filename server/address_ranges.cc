#include "server/address_ranges.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

constexpr int kBits = 128;
constexpr int kIpv4Bits = 32;

bool BitOf(const IpAddress& address, int bit) {
  return (address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

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
  const std::optional<IpAddress> first = ParseIpAddress(text.substr(0, slash));
  if (!first) return refuse("");
  Range range = {.first = *first, .prefix_bits = kBits};
  if (slash < text.size()) {
    const int most = absl::StrContains(text, ':') ? kBits : kIpv4Bits;
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
  const std::optional<IpAddress> ip = IpAddressOfPeer(address);
  if (!ip) return false;
  return std::any_of(ranges_.begin(), ranges_.end(), [&ip](const Range& range) {
    for (int bit = 0; bit < range.prefix_bits; ++bit) {
      if (BitOf(*ip, bit) != BitOf(range.first, bit)) return false;
    }
    return true;
  });
}

}  // namespace peerage

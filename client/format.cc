#include "client/format.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace peerage {
namespace {

struct Unit {
  double size;
  const char* name;
};

// In the largest unit that `value` reaches; whole numbers below the first.
template <size_t N>
std::string Scaled(uint64_t value, const Unit (&units)[N], const char* plain) {
  for (const Unit& unit : units) {
    if (static_cast<double>(value) >= unit.size) {
      return absl::StrFormat("%.1f%s", static_cast<double>(value) / unit.size, unit.name);
    }
  }
  return absl::StrCat(value, plain);
}

// Bytes of the valid UTF-8 sequence at the front of `text`, 0 when it begins with none.
size_t ValidSequence(const char* text, size_t size) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xC2 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF5 ? 4
                                      : 0;
  if (length == 0 || length > size) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool IsControl(const char* text, size_t length) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (length == 1) return first < 0x20 || first == 0x7F;
  return length == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;  // C1
}

}  // namespace

std::string FormatBytes(uint64_t bytes) {
  static constexpr Unit kUnits[] = {
      {1ull << 40, " TiB"}, {1ull << 30, " GiB"}, {1ull << 20, " MiB"}, {1ull << 10, " KiB"}};
  return Scaled(bytes, kUnits, " B");
}

std::string FormatCount(uint64_t count) {
  static constexpr Unit kUnits[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
  return Scaled(count, kUnits, "");
}

std::string FormatWhole(uint64_t count) {
  std::string digits = absl::StrCat(count);
  for (size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

std::string FormatPercent(double ratio) { return absl::StrFormat("%.1f %%", 100 * ratio); }

std::string FormatInterval(absl::Duration value) {
  const double seconds = absl::ToDoubleSeconds(value);
  if (seconds < 1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const int64_t minutes = static_cast<int64_t>(seconds) / 60;
  if (minutes < 60) return absl::StrFormat("%dm %ds", minutes, static_cast<int64_t>(seconds) % 60);
  return absl::StrFormat("%dh %dm", minutes / 60, minutes % 60);
}

std::string QuoteText(const std::string& text) {
  std::string quoted = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t length = ValidSequence(text.data() + i, text.size() - i);
    if (text[i] == '"' || text[i] == '\\') {
      absl::StrAppend(&quoted, "\\", text.substr(i, 1));
    } else if (text[i] == '\n') {
      quoted += "\\n";
    } else if (text[i] == '\t') {
      quoted += "\\t";
    } else if (length == 0 || IsControl(text.data() + i, length)) {
      for (size_t j = i; j < i + std::max<size_t>(length, 1); ++j) {
        absl::StrAppendFormat(&quoted, "\\x%02x", static_cast<unsigned char>(text[j]));
      }
    } else {
      quoted += text.substr(i, length);
    }
    i += std::max<size_t>(length, 1);
  }
  return quoted + "\"";
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only for messages that the protobuf library itself could not have parsed.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}\n";
  return json;
}

}  // namespace peerage

#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/choice.h"

namespace peerage {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// kText is for people: a message, then key=value. kJson is an object a line.
enum class LogFormat { kText, kJson };

// What --log-level and --log-format may be.
inline constexpr Choice<LogLevel> kLogLevels[] = {{"debug", LogLevel::kDebug},
                                                  {"info", LogLevel::kInfo},
                                                  {"warn", LogLevel::kWarn},
                                                  {"error", LogLevel::kError},
                                                  {"off", LogLevel::kOff}};
inline constexpr Choice<LogFormat> kLogFormats[] = {{"text", LogFormat::kText},
                                                    {"json", LogFormat::kJson}};

// What a line says beside its message. Keys are the source's own words, texts may be a stranger's;
// durations are written in seconds.
struct LogField {
  absl::string_view key;
  std::variant<std::string, int64_t, absl::Duration> value;
};

// A line without its time, which whoever writes it puts in front. Whatever message and texts hold,
// the line stays one, nothing in a value reads as another field, and a terminal obeys nothing: they
// are printable ASCII, with JSON's escapes for the rest, and U+FFFD for bytes that are not UTF-8.
//
//   info request method=Score code=OK queue_seconds=0.000012 tenant="a \"b\""
std::string TextLine(LogLevel level, absl::string_view message,
                     const std::vector<LogField>& fields);

// The members of a JSON object: "level":"info","message":"request","method":"Score", ...
std::string JsonMembers(LogLevel level, absl::string_view message,
                        const std::vector<LogField>& fields);

}  // namespace peerage

#include "server/log/log_line.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace peerage {
namespace {

const std::vector<LogField> kFields = {{"code", std::string("OK")},
                                       {"tenant", std::string("a b")},
                                       {"tokens", int64_t{-7}},
                                       {"queue_seconds", absl::Microseconds(1500)}};

// What would forge a line, or be obeyed by a terminal.
const std::string kHostile[] = {
    "a\nb",
    "a\r\nb",
    "a b=c",
    "say \"no\"",
    "back\\slash",
    "\x1b[31mR",
    "\x7f",
    "\xc2\x9b[31m",
    "\xe2\x80\xa8",
    "\xe2\x80\xae",
    "\xff\xfe",
    std::string("\0", 1),
    "\xf0\x9f\x91\x8b",
    "",
};

TEST(LogLineTest, ReadsAsWordsAndNumbers) {
  EXPECT_EQ(TextLine(LogLevel::kInfo, "a request", kFields),
            "info a request code=OK tenant=\"a b\" tokens=-7 queue_seconds=0.001500");
  EXPECT_EQ(JsonMembers(LogLevel::kWarn, "a request", kFields),
            "\"level\":\"warn\",\"message\":\"a request\",\"code\":\"OK\",\"tenant\":\"a b\","
            "\"tokens\":-7,\"queue_seconds\":0.001500");
}

TEST(LogLineTest, IsOneLineOfPrintableAsciiWhateverItSays) {
  for (const std::string& hostile : kHostile) {
    const std::vector<LogField> fields = {{"key", hostile}, {"next", std::string("x")}};
    for (const std::string& line : {TextLine(LogLevel::kInfo, hostile, fields),
                                    JsonMembers(LogLevel::kInfo, hostile, fields)}) {
      for (const char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << line;
    }
    // As a value it is always quoted: none of these is a word.
    const std::string line = TextLine(LogLevel::kInfo, "m", fields);
    EXPECT_EQ(line.rfind("info m key=\"", 0), 0) << line;
    EXPECT_EQ(line.substr(line.size() - 8), "\" next=x") << line;
  }
}

TEST(LogLineTest, SaysInJsonWhatItWasTold) {
  for (const std::string& hostile : kHostile) {
    const std::string line =
        "{" + JsonMembers(LogLevel::kInfo, hostile, {{"key", hostile}, {"n", int64_t{1}}}) + "}";
    const nlohmann::json parsed = nlohmann::json::parse(line);
    EXPECT_EQ(parsed.size(), 4);
    const bool is_utf8 = hostile != "\xff\xfe";
    EXPECT_EQ(parsed["key"], is_utf8 ? hostile : "\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(parsed["message"], parsed["key"]);
    EXPECT_EQ(parsed["n"], 1);
  }
}

}  // namespace
}  // namespace peerage

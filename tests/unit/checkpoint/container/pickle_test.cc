#include "model/checkpoint/container/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "model/checkpoint/container/pickle_stack.h"

namespace peerage {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::StatusOr<PickleContents> Unpickled(const std::string& pickle,
                                         const PickleLimits& limits = {}) {
  return ReadPickle({pickle.begin(), pickle.end()}, limits);
}

std::string PickleFault(const std::string& pickle) {
  return std::string(Unpickled(pickle).status().message());
}

const PickleValue& Root(const PickleContents& pickle) { return pickle.values[pickle.root]; }

TEST(PickleTest, ReadsNumbersOfAllWidths) {
  const std::pair<std::string, int64_t> kIntegers[] = {
      {"K\xff"s, 255},
      {"M\x01\x80"s, 0x8001},
      {"J\xfe\xff\xff\xff"s, -2},
      {"\x8a\0"s, 0},
      {"\x8a\1\x80"s, -128},
      {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s, INT64_MAX},
      {"\x8b\2\0\0\0\0\1"s, 256},
      {"\x88"s, 1},
      {"\x89"s, 0},
  };
  for (const auto& [instruction, value] : kIntegers) {
    const auto pickle = Unpickled("\x80\2" + instruction + ".");
    ASSERT_TRUE(pickle.ok()) << pickle.status();
    EXPECT_EQ(Root(*pickle).integer, value);
  }
  // 2^64 and a float have values that nobody needs.
  EXPECT_EQ(Root(*Unpickled("\x8a\x09"s + std::string(8, '\0') + "\1.")).kind, PickleKind::kNumber);
  EXPECT_EQ(Root(*Unpickled("G"s + std::string(8, '\0') + ".")).kind, PickleKind::kNumber);
}

TEST(PickleTest, ReadsShortTextsAlsoAfterTheyMoved) {
  // Shorter than what a std::string keeps in itself.
  const PickleContents pickle = *Unpickled("U\2ab.");
  const PickleContents unicode = *Unpickled("\x8c\2ab.");

  EXPECT_EQ(Root(pickle).text, "ab");
  EXPECT_EQ(Root(pickle).kind, PickleKind::kBytes);
  EXPECT_EQ(Root(unicode).kind, PickleKind::kString);
}

TEST(PickleTest, FillsContainersAndSharesWhatWasKept) {
  // {"a": [1, 2], "b": the same list, "c": (that list,)}
  const PickleContents pickle = *Unpickled("}(U\1a](K\1K\2eq\5U\1bh\5U\1ch\5\x85u.");

  const PickleValue& dict = Root(pickle);
  ASSERT_THAT(dict.items, SizeIs(6));
  EXPECT_EQ(dict.items[1], dict.items[3]);
  EXPECT_THAT(pickle.values[dict.items[1]].items, SizeIs(2));
  EXPECT_EQ(pickle.values[dict.items[5]].items, std::vector<uint32_t>({dict.items[1]}));
}

TEST(PickleTest, DescribesCallsWithTheirPlaceAndMakesNone) {
  const PickleContents pickle = *Unpickled("\x80\2cposix\nsystem\nU\4true\x85R.");

  const PickleValue& call = Root(pickle);
  EXPECT_EQ(call.kind, PickleKind::kCall);
  EXPECT_FALSE(call.makes_object);
  EXPECT_EQ(pickle.values[call.callee].text, "posix.system");
  EXPECT_EQ(pickle.values[call.callee].offset, 2u);
  EXPECT_THAT(pickle.values[call.arguments].items, SizeIs(1));
}

TEST(PickleTest, DescribesObjectsWithTheirState) {
  const PickleContents pickle = *Unpickled("\x8c\1m\x8c\1C\x93)\x81}\x8c\1aNsb.");

  EXPECT_TRUE(Root(pickle).makes_object);
  EXPECT_EQ(pickle.values[Root(pickle).callee].text, "m.C");
  EXPECT_THAT(Root(pickle).states, SizeIs(1));
}

TEST(PickleTest, AllowsCircles) {
  const PickleContents pickle = *Unpickled("]q\1h\1a.");
  EXPECT_EQ(Root(pickle).items, std::vector<uint32_t>({pickle.root}));
}

TEST(PickleTest, RefusesWhatIsNoPickleOfPlainValuesAtItsByte) {
  const std::pair<std::string, std::string> kFaults[] = {
      {"", "byte 0: 1 bytes wanted"},
      {"N", "byte 1: 1 bytes wanted"},
      {"\x80\1N.", "byte 0: pickle protocol 1"},
      {"\x80\6N.", "protocol 6"},
      {"NN.", "byte 2: ends with other than one value"},
      {"N.N", "ends 1 bytes too early"},
      {"(N.", "ends with other than one value"},
      {".", "ends with other"},
      {"0.", "nothing on the stack"},
      {"N(0", "byte 2: nothing on the stack"},  // not through the mark
      {"N(N\x86", "too little on the stack"},
      {"t", "no mark"},
      {"h\1", "nothing was kept as 1"},
      {"U\5ab", "5 bytes wanted, 2 left"},
      {"X\xff\xff\xff\xff.", "4294967295 bytes wanted"},
      {"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "18446744073709551615 bytes wanted"},
      {"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "a frame of"},
      {"NNa.", "adds to a value"},
      {"](NNu.", "adds to a value"},
      {"}(Nu.", "a key without a value"},
      {"N)R.", "calls what is not the name"},
      {"cm\nf\nNR.", "calls what is not the name"},
      {"NNb.", "sets attributes"},
      {"cm", "a name that does not end"},
      {"NN\x93.", "a global whose name"},
      {"I1\n.", "instruction 0x49"},    // a number as text: protocol 0
      {"\x82\1.", "instruction 0x82"},  // an extension's code
  };
  for (const auto& [pickle, fault] : kFaults) {
    EXPECT_THAT(PickleFault(pickle), HasSubstr(fault)) << testing::PrintToString(pickle);
  }
}

// Bytes that make no values are not free either.
TEST(PickleTest, LimitsMarks) {
  std::vector<uint8_t> pickle = {0x80, 2};
  pickle.resize(pickle.size() + PickleStack::kMost + 1, '(');
  EXPECT_THAT(std::string(ReadPickle(std::move(pickle)).status().message()),
              HasSubstr("too many marks"));
}

TEST(PickleTest, LimitsTheNumberOfValues) {
  EXPECT_TRUE(Unpickled("(NNt.", {.max_values = 3}).ok());
  EXPECT_THAT(std::string(Unpickled("(NNNt.", {.max_values = 3}).status().message()),
              HasSubstr("more than 3 values"));
}

}  // namespace
}  // namespace peerage

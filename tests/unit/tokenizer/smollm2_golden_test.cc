// SmolLM2's tokenizer against Hugging Face tokenizers (tests/golden/make_tokenizer_golden.py).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/tokenizer/detokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "tests/unit/tokenizer/golden.h"

namespace peerage {
namespace {

using nlohmann::json;

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(value.status().ToString());
  return *std::move(value);
}

const Tokenizer& LoadOrDie(const TokenizerSource& source) {
  return *ValueOrDie(Tokenizer::Load(source)).release();
}

TokenizerSource AsFiles(TokenizerSource source) {
  source.hugging_face = ValueOrDie(HuggingFaceFilesOf(source));
  source.gguf.reset();
  return source;
}

TokenizerSource AsGguf(TokenizerSource source) {
  source.gguf = ValueOrDie(GgufFieldsOf(source));
  source.hugging_face.reset();
  return source;
}

// Loaded once: reading the fixture takes longer than most tests.
const Tokenizer& FromJson() {
  static const Tokenizer& tokenizer = LoadOrDie(SmolLm2FromJson());
  return tokenizer;
}

const Tokenizer& FromGguf() {
  static const Tokenizer& tokenizer = LoadOrDie(SmolLm2FromGguf());
  return tokenizer;
}

// Each kind of file made of the other.
const Tokenizer& FromGgufAsFiles() {
  static const Tokenizer& tokenizer = LoadOrDie(AsFiles(SmolLm2FromGguf()));
  return tokenizer;
}

const Tokenizer& FromJsonAsGguf() {
  static const Tokenizer& tokenizer = LoadOrDie(AsGguf(SmolLm2FromJson()));
  return tokenizer;
}

struct Case {
  std::string name;
  const Tokenizer& (*tokenizer)();
};

class SmolLm2GoldenTest : public testing::TestWithParam<Case> {
 protected:
  std::vector<TokenId> Encode(const std::string& text) const {
    auto ids = tokenizer_.Encode(text, SpecialTokens::kRecognise);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.ok() ? *ids : std::vector<TokenId>();
  }

  const Tokenizer& tokenizer_ = GetParam().tokenizer();
};

INSTANTIATE_TEST_SUITE_P(Sources, SmolLm2GoldenTest,
                         testing::Values(Case{"TokenizerJson", FromJson}, Case{"Gguf", FromGguf},
                                         Case{"GgufAsFiles", FromGgufAsFiles},
                                         Case{"TokenizerJsonAsGguf", FromJsonAsGguf}),
                         [](const auto& info) { return info.param.name; });

std::string Fnv1a(const std::vector<TokenId>& ids) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (id >> shift & 0xFF)) * 0x100000001B3;
    }
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016" PRIx64, hash);
  return text;
}

TEST_P(SmolLm2GoldenTest, EncodesEveryLineOfTheCorpusAsHuggingFaceDoes) {
  std::istringstream corpus(ReadGoldenText("corpus.jsonl.gz"));
  int lines = 0;
  for (std::string line; std::getline(corpus, line); ++lines) {
    const json entry = json::parse(line);
    const auto ids = Encode(entry[0]);
    if (entry[1].is_array()) {
      EXPECT_EQ(ids, entry[1].get<std::vector<TokenId>>()) << line;
    } else {
      EXPECT_EQ(Fnv1a(ids), entry[1].get<std::string>()) << line;
    }
  }
  EXPECT_GE(lines, 10'000);
}

TEST_P(SmolLm2GoldenTest, SaysWhatTheFilesSay) {
  EXPECT_EQ(tokenizer_.vocab_size(), 49152);
  EXPECT_EQ(tokenizer_.bos_id(), 1u);
  EXPECT_THAT(tokenizer_.eos_ids(), testing::ElementsAre(2));
  EXPECT_FALSE(tokenizer_.add_bos());
  EXPECT_EQ(tokenizer_.chat_template_name(), "chatml");
  EXPECT_TRUE(tokenizer_.IsSpecial(16));
  EXPECT_FALSE(tokenizer_.IsSpecial(17));
  EXPECT_EQ(tokenizer_.Bytes(2), "<|im_end|>");
  EXPECT_EQ(tokenizer_.Bytes(253), " a");
}

// SmolLM2 has no token for six control characters and for the first bytes of planes 4 to 11, which
// Unicode has not assigned: like Hugging Face, we leave them out.
TEST_P(SmolLm2GoldenTest, LeavesOutBytesThatTheVocabularyLacks) {
  EXPECT_EQ(Encode("!\x04\x06\x13\x14\x16\x1D!"), Encode("!!")) << "one word, so they merge";
  EXPECT_EQ(Encode("\x04"), std::vector<TokenId>());
}

TEST_P(SmolLm2GoldenTest, GivesBackEveryTextThatItHasBytesFor) {
  constexpr int kSeed = 20240705;
  std::mt19937 random(kSeed);
  std::istringstream corpus(ReadGoldenText("corpus.jsonl.gz"));
  for (std::string line; std::getline(corpus, line);) {
    if (random() % 4 != 0) continue;
    const std::string text = json::parse(line)[0];
    if (text.find_first_of("\x04\x06\x13\x14\x16\x1D\xF1\xF2") != std::string::npos) continue;
    EXPECT_EQ(Detokenize(tokenizer_, Encode(text), /*include_special_tokens=*/true), text)
        << "seed " << kSeed;
  }
}

TEST_P(SmolLm2GoldenTest, EncodesALongWordWithoutQuadraticWork) {
  const std::string word(1 << 20, 'a');
  EXPECT_EQ(Detokenize(tokenizer_, Encode(word), true), word);
}

TEST_P(SmolLm2GoldenTest, EncodesLongRunsOfEveryKind) {
  for (const char* part : {" ", "\n", "7", "!?", "\xE4\xB8\xAD", "ab ", "'s", "\t x"}) {
    std::string text;
    while (text.size() < 1 << 18) text += part;
    EXPECT_EQ(Detokenize(tokenizer_, Encode(text), true), text) << part;
  }
}

}  // namespace
}  // namespace peerage

#include "model/tokenizer/gpt2_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Gpt2Files SmallGpt2Files() {
  const std::vector<std::string> tokens = SmallVocabulary();
  json vocab;
  for (int id = 0; id < kSmallVocabSize; ++id) vocab[tokens[id]] = id;
  return {.vocab_json = vocab.dump(), .merges_txt = "#version: 0.2\na b\nĠ a\n"};
}

std::unique_ptr<Tokenizer> LoadGpt2(const Gpt2Files& files, int vocab_size = kSmallVocabSize) {
  const auto text = TokenizerJsonOf(files);
  EXPECT_TRUE(text.ok()) << text.status();
  TokenizerSource source;
  source.hugging_face.emplace();
  source.hugging_face->tokenizer_json = text.value_or("");
  source.hugging_face->tokenizer_config_json = files.tokenizer_config_json;
  source.vocab_size = vocab_size;
  return Load(source);
}

TEST(Gpt2FilesTest, MergeAsTheFileSaysWithOrWithoutAVersionAndWithAnyLineEnds) {
  for (const char* merges :
       {"#version: 0.2\na b\nĠ a\n", "a b\nĠ a", "#version: 0.2\r\na b\r\nĠ a\r\n"}) {
    Gpt2Files files = SmallGpt2Files();
    files.merges_txt = merges;
    EXPECT_THAT(*LoadGpt2(files)->Encode("ab a", SpecialTokens::kRecognise),
                ElementsAre(kAb, kSpaceA))
        << merges;
  }
}

TEST(Gpt2FilesTest, RefuseMergesThatAreNotUtf8) {
  Gpt2Files files = SmallGpt2Files();
  files.merges_txt = "a b\n\xFF a\n";
  EXPECT_EQ(TokenizerJsonOf(files).status().message(), "merges.txt: line 2 is not UTF-8");
}

TEST(Gpt2FilesTest, TokensAreSpecialThatAFileNames) {
  Gpt2Files files = SmallGpt2Files();
  EXPECT_FALSE(LoadGpt2(files)->IsSpecial(kBos));
  files.special_tokens_map_json = R"({"bos_token": {"content": "<s>", "lstrip": false}})";
  EXPECT_TRUE(LoadGpt2(files)->IsSpecial(kBos));
  files.special_tokens_map_json = R"({"additional_special_tokens": ["<|im_end|>"]})";
  EXPECT_TRUE(LoadGpt2(files)->IsSpecial(kTurnEnd));
  files.special_tokens_map_json.clear();
  files.tokenizer_config_json = R"({"eos_token": "<|im_end|>"})";
  EXPECT_TRUE(LoadGpt2(files)->IsSpecial(kTurnEnd));
  EXPECT_THAT(LoadGpt2(files)->eos_ids(), ElementsAre(kTurnEnd));
}

TEST(Gpt2FilesTest, TokensAreAddedWithTheirIds) {
  Gpt2Files files = SmallGpt2Files();
  files.added_tokens_json = R"({"<new>": 261})";
  EXPECT_THAT(*LoadGpt2(files, 270)->Encode("a<new>", SpecialTokens::kAsText),
              ElementsAre('a', 261));
  files.tokenizer_config_json = R"({"added_tokens_decoder": {"261": {"content": "<new>",
      "special": true, "lstrip": true, "rstrip": false, "single_word": false,
      "normalized": false}}})";
  EXPECT_THAT(*LoadGpt2(files, 270)->Encode("a <new>", SpecialTokens::kRecognise),
              ElementsAre('a', 261));
}

TEST(Gpt2FilesTest, NameWhatIsBrokenOrNotSupported) {
  const struct {
    void (*breaks)(Gpt2Files&);
    const char* message;
  } cases[] = {
      {[](Gpt2Files& f) { f.vocab_json = "{"; }, "vocab.json: not valid JSON"},
      {[](Gpt2Files& f) { f.vocab_json = "[]"; }, "vocab.json is not a JSON object"},
      {[](Gpt2Files& f) { f.merges_txt += "a b c\n"; },
       "merges.txt: line 4 is not two tokens: \"a b c\""},
      {[](Gpt2Files& f) { f.merges_txt += "ab\n"; }, "merges.txt: line 4 is not two tokens"},
      {[](Gpt2Files& f) { f.added_tokens_json = R"({"x": -1})"; },
       "added_tokens.json: the id of \"x\" is not a natural number"},
      {[](Gpt2Files& f) { f.special_tokens_map_json = "1"; },
       "special_tokens_map.json is not a JSON object"},
      {[](Gpt2Files& f) { f.tokenizer_config_json = R"({"added_tokens_decoder": {"x": {}}})"; },
       "tokenizer_config.json: added_tokens_decoder: \"x\" is not an id with a token"},
      {[](Gpt2Files& f) { f.tokenizer_config_json = R"({"tokenizer_class": "Qwen2Tokenizer"})"; },
       "tokenizer_config.json: tokenizer_class \"Qwen2Tokenizer\" without tokenizer.json is not "
       "supported (GPT2Tokenizer is); transformers write one"},
      {[](Gpt2Files& f) { f.tokenizer_config_json = R"({"add_prefix_space": 1})"; },
       "tokenizer_config.json: \"add_prefix_space\" has the wrong type"},
  };
  for (const auto& test : cases) {
    Gpt2Files files = SmallGpt2Files();
    test.breaks(files);
    EXPECT_THAT(std::string(TokenizerJsonOf(files).status().message()), HasSubstr(test.message));
  }
}

}  // namespace
}  // namespace peerage

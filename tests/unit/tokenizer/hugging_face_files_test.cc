#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TokenizerSource GgufSource() {
  GgufTokenizer gguf;
  gguf.model = "gpt2";
  gguf.pre = "llama-bpe";
  gguf.tokens = SmallVocabulary();
  gguf.token_types.assign(kSmallVocabSize, 1);
  for (const int id : {kTurnStart, kTurnEnd}) gguf.token_types[id] = 3;
  gguf.token_types[kBos] = 4;
  gguf.merges = {"a b", "Ġ a"};
  gguf.bos_id = kTurnStart;
  gguf.eos_id = kTurnEnd;
  gguf.eot_id = kTurnStart;
  gguf.padding_id = kBos;
  gguf.add_bos = true;
  TokenizerSource source;
  source.gguf = std::move(gguf);
  source.vocab_size = kSmallVocabSize;
  return source;
}

TokenizerSource AsFiles(const TokenizerSource& gguf) {
  const auto files = HuggingFaceFilesOf(gguf);
  EXPECT_TRUE(files.ok()) << files.status();
  TokenizerSource source = gguf;
  source.gguf.reset();
  source.hugging_face = *files;
  return source;
}

TEST(HuggingFaceFilesTest, SayWhatTheGgufSaid) {
  const TokenizerSource source = AsFiles(GgufSource());
  const auto tokenizer = Load(source);

  EXPECT_THAT(*tokenizer->Encode("ab a<|im_end|><s>", SpecialTokens::kRecognise),
              ElementsAre(kAb, kSpaceA, kTurnEnd, kBos));
  EXPECT_TRUE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->bos_id(), kTurnStart);
  EXPECT_THAT(tokenizer->eos_ids(), ElementsAre(kTurnEnd, kTurnStart));
  EXPECT_TRUE(tokenizer->IsSpecial(kTurnEnd));
  EXPECT_FALSE(tokenizer->IsSpecial(kBos));
  EXPECT_THAT(source.hugging_face->chat_template, IsEmpty());
}

TEST(HuggingFaceFilesTest, NameTheInputsThatALlamaTakes) {
  const auto config =
      nlohmann::json::parse(AsFiles(GgufSource()).hugging_face->tokenizer_config_json);
  EXPECT_EQ(config["model_input_names"], nlohmann::json({"input_ids", "attention_mask"}));
}

// Hugging Face puts the BOS before a text because of the post-processor, not of the config.
TEST(HuggingFaceFilesTest, ThePostProcessorPutsTheBosBeforeATextAlone) {
  TokenizerSource source = AsFiles(GgufSource());
  source.hugging_face->tokenizer_config_json.clear();
  EXPECT_TRUE(Load(source)->add_bos());

  TokenizerSource without = GgufSource();
  without.gguf->add_bos = false;
  source = AsFiles(without);
  source.hugging_face->tokenizer_config_json.clear();
  EXPECT_FALSE(Load(source)->add_bos());
}

TEST(HuggingFaceFilesTest, GoBackToTheSameFields) {
  const GgufTokenizer before = *GgufSource().gguf;

  const auto after = GgufFieldsOf(AsFiles(GgufSource()));

  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->model, before.model);
  EXPECT_EQ(after->pre, before.pre);
  EXPECT_EQ(after->tokens, before.tokens);
  EXPECT_EQ(after->token_types, before.token_types);
  EXPECT_EQ(after->merges, before.merges);
  EXPECT_EQ(after->bos_id, before.bos_id);
  EXPECT_EQ(after->eos_id, before.eos_id);
  EXPECT_EQ(after->eot_id, before.eot_id);
  EXPECT_EQ(after->padding_id, before.padding_id);
  EXPECT_EQ(after->add_bos, before.add_bos);
}

// A BOS that a file adds by default is added by what it is converted to, both ways.
TEST(HuggingFaceFilesTest, KeepABosThatIsAddedByDefault) {
  TokenizerSource gguf = GgufSource();
  gguf.gguf->add_bos.reset();
  ASSERT_TRUE(Load(gguf)->add_bos());
  TokenizerSource files = AsFiles(gguf);
  EXPECT_EQ(GgufFieldsOf(files)->add_bos, true);

  files.hugging_face->tokenizer_config_json.clear();
  EXPECT_TRUE(Load(files)->add_bos());
  EXPECT_EQ(Load(files)->bos_id(), kTurnStart);
}

TEST(HuggingFaceFilesTest, RefusesMoreEndsThanAGgufFileHolds) {
  TokenizerSource files = AsFiles(GgufSource());
  files.config_eos_ids = {1, 2};
  EXPECT_THAT(std::string(GgufFieldsOf(files).status().message()),
              HasSubstr("eos_token_id has 4 ids, of which a GGUF file can say 3"));
}

TEST(HuggingFaceFilesTest, RefusesByNameWhatJsonCannotHold) {
  const struct {
    std::function<void(GgufTokenizer&)> change;
    const char* error;
  } cases[] = {
      {[](GgufTokenizer& gguf) { gguf.tokens[3] = "\xff"; },
       "tokenizer.ggml.tokens[3] is not UTF-8"},
      {[](GgufTokenizer& gguf) { gguf.tokens[kSpaceA] = "ab"; },
       "tokenizer.ggml.tokens[257] \"ab\" is there twice"},
      {[](GgufTokenizer& gguf) { gguf.merges[1] = "\xff a"; },
       "tokenizer.ggml.merges[1] is not UTF-8"},
      {[](GgufTokenizer& gguf) { gguf.chat_template = "\xff"; },
       "tokenizer.chat_template is not UTF-8"},
      {[](GgufTokenizer& gguf) { gguf.pre = "qwen2"; }, "tokenizer.ggml.pre \"qwen2\""},
  };
  for (const auto& test : cases) {
    TokenizerSource source = GgufSource();
    test.change(*source.gguf);
    EXPECT_THAT(std::string(HuggingFaceFilesOf(source).status().message()), HasSubstr(test.error));
  }
}

}  // namespace
}  // namespace peerage

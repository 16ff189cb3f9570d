// Small tokenizers of every implemented kind against Hugging Face tokenizers.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/tokenizer/gpt2_files.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/golden.h"

namespace peerage {
namespace {

using nlohmann::json;

std::unique_ptr<Tokenizer> LoadVariant(const json& golden, const json& variant, bool pairs) {
  json file = variant["tokenizer"];
  file["model"]["vocab"] = golden["vocab"];
  file["model"]["merges"] = golden["merges"];
  if (!pairs) {
    for (json& merge : file["model"]["merges"]) {
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
  }
  TokenizerSource source;
  source.hugging_face = HuggingFaceTokenizer{.tokenizer_json = file.dump(),
                                             .tokenizer_config_json = "",
                                             .chat_template = "",
                                             .generation_config_json = ""};
  source.vocab_size = 1000;
  auto loaded = Tokenizer::Load(source);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : nullptr;
}

void ExpectAsHuggingFace(const Tokenizer& tokenizer, const json& cases) {
  for (const json& entry : cases) {
    const std::string text = entry[0];
    for (const auto special : {SpecialTokens::kRecognise, SpecialTokens::kAsText}) {
      const auto ids = tokenizer.Encode(text, special);
      ASSERT_TRUE(ids.ok()) << ids.status();
      const int column = special == SpecialTokens::kRecognise ? 1 : 2;
      EXPECT_EQ(*ids, entry[column].get<std::vector<TokenId>>())
          << entry[0] << (column == 1 ? "" : " as text");
    }
  }
}

// The same tokenizer as vocab.json, merges.txt and tokenizer_config.json, without tokenizer.json.
Gpt2Files FilesOf(const json& golden, const json& variant) {
  Gpt2Files files{.vocab_json = golden["vocab"].dump(), .merges_txt = "#version: 0.2\n"};
  for (const json& merge : golden["merges"]) {
    files.merges_txt += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  }
  json config = {{"tokenizer_class", "GPT2Tokenizer"},
                 {"add_prefix_space", variant["tokenizer"]["pre_tokenizer"]["add_prefix_space"]}};
  for (json added : variant["tokenizer"]["added_tokens"]) {
    const std::string id = std::to_string(added["id"].get<int>());
    added.erase("id");
    config["added_tokens_decoder"][id] = added;
  }
  files.tokenizer_config_json = config.dump();
  return files;
}

TEST(VariantsGoldenTest, VocabularyAndMergesApartEncodeAsHuggingFaceDoes) {
  const json golden = ReadGolden("variants.json.gz");
  int seen = 0;
  for (const json& variant : golden["variants"]) {
    const std::string name = variant["name"];
    if (name != "gpt-2" && name != "prefix space") continue;
    SCOPED_TRACE(name);
    ++seen;
    const auto text = TokenizerJsonOf(FilesOf(golden, variant));
    ASSERT_TRUE(text.ok()) << text.status();
    TokenizerSource source;
    source.hugging_face.emplace();
    source.hugging_face->tokenizer_json = *text;
    source.vocab_size = 1000;
    const auto tokenizer = Tokenizer::Load(source);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    ExpectAsHuggingFace(**tokenizer, variant["cases"]);
  }
  EXPECT_EQ(seen, 2);
}

TEST(VariantsGoldenTest, EncodeAsHuggingFaceDoes) {
  const json golden = ReadGolden("variants.json.gz");
  bool pairs = false;
  for (const json& variant : golden["variants"]) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    pairs = !pairs;  // both ways in which merges are written
    const auto tokenizer = LoadVariant(golden, variant, pairs);
    ASSERT_NE(tokenizer, nullptr);
    ExpectAsHuggingFace(*tokenizer, variant["cases"]);
  }
}

}  // namespace
}  // namespace peerage

// Small tokenizers of every implemented kind against Hugging Face tokenizers.

#include <gtest/gtest.h>

#include <string>
#include <vector>

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

TEST(VariantsGoldenTest, EncodeAsHuggingFaceDoes) {
  const json golden = ReadGolden("variants.json.gz");
  bool pairs = false;
  for (const json& variant : golden["variants"]) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    pairs = !pairs;  // both ways in which merges are written
    const auto tokenizer = LoadVariant(golden, variant, pairs);
    ASSERT_NE(tokenizer, nullptr);
    for (const json& entry : variant["cases"]) {
      const std::string text = entry[0];
      for (const auto special : {SpecialTokens::kRecognise, SpecialTokens::kAsText}) {
        const auto ids = tokenizer->Encode(text, special);
        ASSERT_TRUE(ids.ok()) << ids.status();
        const int column = special == SpecialTokens::kRecognise ? 1 : 2;
        EXPECT_EQ(*ids, entry[column].get<std::vector<TokenId>>())
            << entry[0] << (column == 1 ? "" : " as text");
      }
    }
  }
}

}  // namespace
}  // namespace peerage

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TokenizerSource Source() {
  GgufTokenizer gguf;
  gguf.model = "gpt2";
  gguf.pre = "smollm";
  gguf.tokens = SmallVocabulary();
  gguf.token_types.assign(kSmallVocabSize, 1);
  for (int id : {kTurnStart, kTurnEnd, kBos}) gguf.token_types[id] = 3;
  gguf.merges = {"a b", "Ġ a"};
  gguf.bos_id = kBos;
  gguf.eos_id = kTurnEnd;
  TokenizerSource source;
  source.gguf = std::move(gguf);
  source.vocab_size = kSmallVocabSize;
  return source;
}

TEST(GgufTokenizerTest, EncodesAndRecognisesControlTokens) {
  const auto tokenizer = Load(Source());

  EXPECT_THAT(*tokenizer->Encode("ab a<s>", SpecialTokens::kRecognise),
              ElementsAre(kAb, kSpaceA, kBos));
  EXPECT_THAT(*tokenizer->Encode("<s>", SpecialTokens::kAsText), ElementsAre('<', 's', '>'));
  EXPECT_THAT(tokenizer->eos_ids(), ElementsAre(kTurnEnd));
  EXPECT_EQ(tokenizer->bos_id(), kBos);
  EXPECT_EQ(tokenizer->Bytes(kSpaceA), " a");
}

// A chat model's eos_token_id may end texts only, and its eot_token_id the turns.
TEST(GgufTokenizerTest, EveryEndThatTheFileNamesEndsAGeneration) {
  TokenizerSource source = Source();
  source.gguf->eot_id = kBos;
  source.gguf->eom_id = kAb;
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(kTurnEnd, kBos, kAb));
  source.gguf->eos_id = kBos;
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(kBos, kAb));
}

TEST(GgufTokenizerTest, AChatEndsAtTheEndOfATurnWhateverElseIsNamed) {
  TokenizerSource source = Source();
  source.gguf->eos_id = kBos;
  source.gguf->chat_template = kChatMl;
  const auto tokenizer = Load(source);
  EXPECT_THAT(tokenizer->eos_ids(), ElementsAre(kBos, kTurnEnd));
  EXPECT_THAT(
      Places(tokenizer->origins().eos),
      ElementsAre("260 tokenizer.ggml.eos_token_id", "259 the chat template's end of a turn"));
}

// As llama.cpp has it: llama-bpe is the only one of the names that adds a BOS by default.
TEST(GgufTokenizerTest, AddsTheBosThatItsPreTokenizerAddsByDefault) {
  for (const char* pre :
       {"gpt-2", "smollm", "starcoder", "refact", "command-r", "codeshell", "llama-bpe"}) {
    TokenizerSource source = Source();
    source.gguf->pre = pre;
    const bool by_default = absl::string_view(pre) == "llama-bpe";
    const auto tokenizer = Load(source);
    EXPECT_EQ(tokenizer->add_bos(), by_default) << pre;
    EXPECT_EQ(tokenizer->origins().add_bos,
              by_default ? "the default of tokenizer.ggml.pre llama-bpe" : "")
        << pre;
    source.gguf->add_bos = !by_default;
    EXPECT_EQ(Load(source)->add_bos(), !by_default) << pre;
    EXPECT_EQ(Load(source)->origins().add_bos, "tokenizer.ggml.add_bos_token") << pre;
    source.gguf->add_bos.reset();
    source.gguf->bos_id.reset();
    EXPECT_FALSE(Load(source)->add_bos()) << pre << ": there is none to add";
  }
}

TEST(GgufTokenizerTest, UserDefinedTokensAreRecognisedButNotSpecial) {
  TokenizerSource source = Source();
  source.gguf->token_types[kBos] = 4;
  const auto tokenizer = Load(source);

  EXPECT_THAT(*tokenizer->Encode("<s>", SpecialTokens::kAsText), ElementsAre(kBos));
  EXPECT_FALSE(tokenizer->IsSpecial(kBos));
}

TEST(GgufTokenizerTest, AddsABosOnlyWhenTheFileSaysSo) {
  TokenizerSource source = Source();
  EXPECT_FALSE(Load(source)->add_bos());
  source.gguf->add_bos = true;
  EXPECT_TRUE(Load(source)->add_bos());
}

TEST(GgufTokenizerTest, TokensBeyondTheVocabularyAreKnownToTheModelOnly) {
  TokenizerSource source = Source();
  source.vocab_size = 300;
  const auto tokenizer = Load(source);

  EXPECT_EQ(tokenizer->vocab_size(), 300);
  EXPECT_EQ(tokenizer->Bytes(299), "");
  EXPECT_FALSE(tokenizer->IsSpecial(299));
}

TEST(GgufTokenizerTest, InvalidUtf8IsInvalid) {
  const auto tokenizer = Load(Source());
  for (const char* text : {"\xFF", "a\xE4\xB8", "\xED\xA0\x80"}) {
    EXPECT_EQ(tokenizer->Encode(text, SpecialTokens::kRecognise).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(GgufTokenizerTest, ChatNeedsATemplateThatIsUnderstood) {
  const auto tokenizer = Load(Source());
  EXPECT_EQ(tokenizer->chat_template_name(), "");
  const std::vector<ChatTurn> turns = {{"user", "x"}};
  EXPECT_EQ(tokenizer->EncodeChat(turns).status().code(), absl::StatusCode::kFailedPrecondition);
}

struct Broken {
  std::string what;
  std::function<void(TokenizerSource&)> breaks;
  absl::StatusCode code;
  std::string message;
};

TEST(GgufTokenizerTest, RefusesByNameWhatIsBrokenOrNotSupported) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  const Broken cases[] = {
      {"model", [](auto& s) { s.gguf->model = "llama"; }, kUnimplemented, "\"llama\""},
      {"pre", [](auto& s) { s.gguf->pre = "default"; }, kUnimplemented, "\"default\""},
      {"no pre", [](auto& s) { s.gguf->pre = ""; }, kUnimplemented, "tokenizer.ggml.pre"},
      {"type", [](auto& s) { s.gguf->token_types[7] = 6; }, kUnimplemented,
       "token_type[7] is 6, which is not supported (1 normal, 2 unknown"},
      {"types", [](auto& s) { s.gguf->token_types.pop_back(); }, kInvalid, "token_type has 260"},
      {"too many", [](auto& s) { s.vocab_size = 260; }, kInvalid, "has 261 entries"},
      {"vocabulary 0", [](auto& s) { s.vocab_size = 0; }, kInvalid, "vocabulary size 0"},
      {"vocabulary", [](auto& s) { s.vocab_size = 1 << 30; }, kInvalid, "vocabulary size"},
      {"duplicate", [](auto& s) { s.gguf->tokens[kBos] = "ab"; }, kInvalid, "two ids, 256 and 260"},
      {"empty added", [](auto& s) { s.gguf->tokens[kBos] = ""; }, kInvalid, "260 is empty"},
      {"merge of one", [](auto& s) { s.gguf->merges[1] = "a"; }, kInvalid, "merges[1]"},
      {"merge of three", [](auto& s) { s.gguf->merges[1] = "a b c"; }, kInvalid, "merges[1]"},
      {"unknown left", [](auto& s) { s.gguf->merges[1] = "zz a"; }, kInvalid, "\"zz\""},
      {"unknown result", [](auto& s) { s.gguf->merges[1] = "b a"; }, kInvalid, "\"ba\""},
      {"merge twice", [](auto& s) { s.gguf->merges[1] = "a b"; }, kInvalid, "twice"},
      {"forgeable", [](auto& s) { s.gguf->token_types[kAb] = 3; }, kInvalid,
       "special token \"ab\""},
      {"bos", [](auto& s) { s.gguf->bos_id = 261; }, kInvalid,
       "tokenizer.ggml.bos_token_id: bos token id 261"},
      {"eos", [](auto& s) { s.gguf->eos_id = 4000000000u; }, kInvalid, "eos token id 4000000000"},
      {"no bos to add",
       [](auto& s) {
         s.gguf->add_bos = true;
         s.gguf->bos_id.reset();
       },
       kInvalid, "BOS"},
      {"two sources", [](auto& s) { s.hugging_face.emplace(); }, kInvalid, "GGUF"},
      {"no source", [](auto& s) { s.gguf.reset(); }, kInvalid, "GGUF"},
  };
  for (const Broken& broken : cases) {
    TokenizerSource source = Source();
    broken.breaks(source);
    const absl::Status status = Tokenizer::Load(source).status();
    EXPECT_EQ(status.code(), broken.code) << broken.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.message)) << broken.what;
  }
}

}  // namespace
}  // namespace peerage

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "absl/strings/str_replace.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

json Added(int id, const std::string& content) {
  return {{"id", id},        {"content", content}, {"special", true},    {"single_word", false},
          {"lstrip", false}, {"rstrip", false},    {"normalized", false}};
}

json File() {
  json file = json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                      "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
              "continuing_subword_prefix": null, "end_of_word_suffix": "",
              "byte_fallback": false, "ignore_merges": false, "merges": ["a b", ["Ġ", "a"]]}})");
  const std::vector<std::string> tokens = SmallVocabulary();
  for (int id = 0; id < kSmallVocabSize; ++id) file["model"]["vocab"][tokens[id]] = id;
  file["added_tokens"] = {Added(kTurnStart, "<|im_start|>"), Added(kTurnEnd, "<|im_end|>"),
                          Added(kBos, "<s>")};
  return file;
}

TokenizerSource Source(const json& file) {
  TokenizerSource source;
  source.hugging_face.emplace();
  source.hugging_face->tokenizer_json = file.dump();
  source.vocab_size = kSmallVocabSize;
  return source;
}

json BosTemplate() {
  return json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel", "trim_offsets": true},
      {"type": "TemplateProcessing", "pair": [], "special_tokens": {},
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}]}]})");
}

// What would be wrong with the rest is not even looked at.
TEST(TokenizerLimitTest, ATextIsReadUntilItHasMoreTokensThanTheLimit) {
  const auto tokenizer = Load(Source(File()));
  const std::string special = "<s><s>ab<s>";
  const std::string words = " b b b b b";
  for (size_t limit = 0; limit < 4; ++limit) {
    const auto of_special = tokenizer->EncodeUpTo(limit, special, SpecialTokens::kRecognise);
    ASSERT_TRUE(of_special.ok()) << of_special.status();
    EXPECT_EQ(of_special->size(), limit + 1);
    const auto of_words = tokenizer->EncodeUpTo(2 * limit, words, SpecialTokens::kRecognise);
    ASSERT_TRUE(of_words.ok()) << of_words.status();
    EXPECT_EQ(of_words->size(), 2 * limit + 2) << "a word has two tokens";
  }
  EXPECT_THAT(*tokenizer->EncodeUpTo(4, special, SpecialTokens::kRecognise),
              ElementsAre(kBos, kBos, kAb, kBos));
}

TEST(TokenizerLimitTest, AChatIsReadUntilItHasMoreTokensThanTheLimit) {
  TokenizerSource source = Source(File());
  source.hugging_face->chat_template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
      "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{{ '<|im_start|>assistant\n' }}";
  const auto tokenizer = Load(source);
  // Of nobody: refused when they are read.
  std::vector<ChatTurn> turns(100, {"nobody", ""});
  turns[0] = turns[1] = {"user", "ab"};
  EXPECT_EQ(tokenizer->EncodeChat(turns).status().code(), kInvalid);
  const auto ids = tokenizer->EncodeChatUpTo(10, turns);
  ASSERT_TRUE(ids.ok()) << ids.status();
  // A turn of two special tokens, the 5 bytes of "user\n", "ab" and "\n".
  EXPECT_THAT(*ids, ::testing::SizeIs(::testing::AllOf(::testing::Gt(10u), ::testing::Le(18u))));
}

TEST(TokenizerJsonTest, ReadsMergesOfBothForms) {
  EXPECT_THAT(*Load(Source(File()))->Encode("ab a", SpecialTokens::kRecognise),
              ElementsAre(kAb, kSpaceA));
}

TEST(TokenizerJsonTest, AcceptsNoMergesNoDecoderAndNoModelType) {
  json file = File();
  file["model"]["merges"] = json::array();
  file["model"].erase("type");
  file["decoder"] = nullptr;
  EXPECT_THAT(*Load(Source(file))->Encode("ab", SpecialTokens::kRecognise), ElementsAre('a', 'b'));
}

TEST(TokenizerJsonTest, IdsThatAreLeftOutHaveNoBytes) {
  json file = File();
  file["model"]["vocab"].erase("<s>");
  file["added_tokens"].erase(2);
  EXPECT_EQ(Load(Source(file))->Bytes(kBos), "");
}

struct BosCase {
  std::string what;
  std::string tokenizer_config;
  bool processor;
  bool add_bos;
};

TEST(TokenizerJsonTest, AddsABosAsTheConfigSaysElseAsThePostProcessorDoes) {
  const BosCase cases[] = {
      {"nothing", "", false, false},
      {"post-processor", "", true, true},
      {"config", R"({"add_bos_token": true, "bos_token": "<s>"})", false, true},
      {"config over post-processor", R"({"add_bos_token": false})", true, false},
      {"an object", R"({"add_bos_token": true, "bos_token": {"content": "<s>"}})", false, true},
  };
  for (const BosCase& c : cases) {
    json file = File();
    if (c.processor) file["post_processor"] = BosTemplate();
    TokenizerSource source = Source(file);
    source.hugging_face->tokenizer_config_json = c.tokenizer_config;
    const auto tokenizer = Load(source);
    EXPECT_EQ(tokenizer->add_bos(), c.add_bos) << c.what;
    if (c.add_bos) {
      EXPECT_EQ(tokenizer->bos_id(), kBos) << c.what;
    }
  }
}

TEST(TokenizerJsonTest, EveryEndThatAFileNamesEndsAGeneration) {
  TokenizerSource source = Source(File());
  source.hugging_face->tokenizer_config_json = R"({"eos_token": "<|im_end|>"})";
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(kTurnEnd));
  source.config_eos_ids = {3, 4};
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(3, 4, kTurnEnd));
  source.hugging_face->generation_config_json = R"({"eos_token_id": [5, 3]})";
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(5, 3, 4, kTurnEnd));
  source.hugging_face->generation_config_json = R"({"eos_token_id": 7})";
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(7, 3, 4, kTurnEnd));
}

// A base model's config names the end of a text only; a chat of it ends at the end of a turn.
TEST(TokenizerJsonTest, AChatEndsAtTheEndOfATurnWhateverElseIsNamed) {
  TokenizerSource source = Source(File());
  source.config_eos_ids = {kBos};
  source.hugging_face->chat_template = kChatMl;
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(kBos, kTurnEnd));
  EXPECT_EQ(Load(source)->origins().eos.back().place, "the chat template's end of a turn");
  source.hugging_face->chat_template = "not it";
  EXPECT_THAT(Load(source)->eos_ids(), ElementsAre(kBos));
}

// It is the post-processor that puts the BOS before a text, by the ids of its own table.
TEST(TokenizerJsonTest, TheBosOfThePostProcessorCounts) {
  json file = File();
  file["post_processor"] = BosTemplate();
  TokenizerSource source = Source(file);
  source.config_bos_id = 7;
  source.hugging_face->tokenizer_config_json = R"({"bos_token": "ab"})";
  source.hugging_face->generation_config_json = R"({"bos_token_id": 9})";
  EXPECT_EQ(Load(source)->bos_id(), kBos);
  EXPECT_THAT(Places(Load(source)->origins().bos),
              ElementsAre("260 tokenizer.json's post_processor", "256 tokenizer_config.json",
                          "7 config.json", "9 generation_config.json"));

  json& table = file["post_processor"]["processors"][1]["special_tokens"];
  table = {{"<s>", {{"id", "<s>"}, {"ids", {kAb}}, {"tokens", {"ab"}}}}};
  source.hugging_face->tokenizer_json = file.dump();
  EXPECT_EQ(Load(source)->bos_id(), kAb);
  table["<s>"]["ids"] = {1, 2};
  source.hugging_face->tokenizer_json = file.dump();
  EXPECT_THAT(std::string(Tokenizer::Load(source).status().message()),
              HasSubstr("the ids of \"<s>\" are [1,2], and one id is supported"));

  source.hugging_face->tokenizer_json = File().dump();
  EXPECT_EQ(Load(source)->bos_id(), kAb);
  source.hugging_face->tokenizer_config_json.clear();
  EXPECT_EQ(Load(source)->bos_id(), 7);
  source.config_bos_id.reset();
  EXPECT_EQ(Load(source)->bos_id(), 9);
}

// Hugging Face reads every Sequence of none as nothing, and of one as that one.
TEST(TokenizerJsonTest, EmptyListsAreNoErrors) {
  const std::pair<const char*, json> cases[] = {
      {"normalizer", {{"type", "Sequence"}, {"normalizers", json::array()}}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", {{{"type", "Sequence"}, {"normalizers", json::array()}}}}}},
      {"decoder", {{"type", "Sequence"}, {"decoders", json::array()}}},
      {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}}}}},
      {"post_processor", {{"type", "Sequence"}, {"processors", json::array()}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Sequence"}, {"pretokenizers", json::array()}}, File()["pre_tokenizer"]}}}},
  };
  for (const auto& [key, value] : cases) {
    json file = File();
    file[key] = value;
    EXPECT_THAT(*Load(Source(file))->Encode("ab a", SpecialTokens::kRecognise),
                ElementsAre(kAb, kSpaceA))
        << key << ": " << value;
  }
  json file = File();
  file["added_tokens"] = json::array();
  EXPECT_THAT(*Load(Source(file))->Encode("<s>", SpecialTokens::kRecognise),
              ElementsAre('<', 's', '>'));
  EXPECT_THAT(*Load(Source(file))->Encode("", SpecialTokens::kRecognise), testing::IsEmpty());
}

TEST(TokenizerJsonTest, TakesTheChatTemplateOfTheJinjaFileElseOfTheConfig) {
  const std::string chat_ml(kChatMl);
  TokenizerSource source = Source(File());
  source.hugging_face->tokenizer_config_json = json({{"chat_template", chat_ml}}).dump();
  EXPECT_EQ(Load(source)->chat_template_name(), "chatml");

  const json named = {{{"name", "tool_use"}, {"template", "x"}},
                      {{"name", "default"}, {"template", chat_ml}}};
  source.hugging_face->tokenizer_config_json = json({{"chat_template", named}}).dump();
  EXPECT_EQ(Load(source)->chat_template_name(), "chatml");

  source.hugging_face->chat_template = "not it";
  EXPECT_EQ(Load(source)->chat_template_name(), "");
}

TEST(TokenizerJsonTest, SaysWhyThereIsNoChat) {
  const ChatTurn turn = {"user", "Hello"};
  TokenizerSource source = Source(File());
  const auto error = [&] { return Load(source)->EncodeChat({turn}).status(); };
  EXPECT_EQ(error(), absl::FailedPreconditionError("the model has no chat template"));
  source.hugging_face->chat_template = "not it";
  EXPECT_EQ(error(), absl::FailedPreconditionError(
                         "the model's chat template is not understood, as it is not ChatML: with "
                         "messages of user it gives \"not it\" at byte 0, where ChatML has "
                         "\"<|im_start|>user\\ncontent<|im_end|>\\n<|im_start|>a\""));
  source.hugging_face->chat_template = std::string("{{ bos_token }}") + kChatMl;
  EXPECT_THAT(std::string(error().message()),
              HasSubstr("not ChatML: not supported in a chat template: bos_token"));
  source.hugging_face->chat_template =
      absl::StrReplaceAll(kChatMl, {{"m.role", "(m.role + m.role)"}});
  EXPECT_THAT(std::string(error().message()), HasSubstr("\"<|im_start|>useruser"));
  source.hugging_face->chat_template = std::string("Hi ") + kChatMl;
  EXPECT_THAT(std::string(error().message()),
              HasSubstr("before a user's message it puts \"Hi \", which is not one system"));
  EXPECT_EQ(Load(source)->chat_status(), error());
}

// A message could end its own turn where the turn's tokens are not special.
TEST(TokenizerJsonTest, ChatNeedsTurnTokensThatAreSpecial) {
  json file = File();
  file["added_tokens"][1]["special"] = false;
  TokenizerSource source = Source(file);
  source.hugging_face->chat_template = kChatMl;
  EXPECT_EQ(Load(source)->chat_template_name(), "");
  const ChatTurn turn = {"user", "Hello"};
  EXPECT_THAT(std::string(Load(source)->EncodeChat({turn}).status().message()),
              HasSubstr("not both special tokens"));
}

struct BrokenJson {
  std::string what;
  std::function<void(json&)> breaks;
  absl::StatusCode code;
  std::string message;
};

TEST(TokenizerJsonTest, RefusesByNameWhatIsBrokenOrNotSupported) {
  const BrokenJson cases[] = {
      {"key", [](json& f) { f["extra"] = 1; }, kUnimplemented, "tokenizer.json.extra"},
      {"normalizer",
       [](json& f) {
         f["normalizer"] = {{"type", "NFC"}};
       },
       kUnimplemented, "normalizer \"NFC\" is not supported (an empty one is)"},
      {"normalizer in a Sequence",
       [](json& f) {
         f["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}};
       },
       kUnimplemented, "normalizer \"Lowercase\" is not supported"},
      {"decoder twice",
       [](json& f) {
         f["decoder"] = {{"type", "Sequence"},
                         {"decoders", {{{"type", "ByteLevel"}}, {{"type", "ByteLevel"}}}}};
       },
       kUnimplemented, "2 times ByteLevel"},
      {"decoder without a list",
       [](json& f) {
         f["decoder"] = {{"type", "Sequence"}};
       },
       kInvalid, "decoder Sequence has no list of decoders"},
      {"decoder",
       [](json& f) {
         f["decoder"] = {{"type", "WordPiece"}};
       },
       kUnimplemented, "decoder \"WordPiece\" is not supported (ByteLevel is)"},
      {"post-processor",
       [](json& f) {
         f["post_processor"] = {{"type", "BertProcessing"}};
       },
       kUnimplemented,
       "\"BertProcessing\" is not supported (TemplateProcessing, ByteLevel and Sequence are)"},
      {"pre-tokenizer",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Metaspace"}};
       },
       kUnimplemented,
       "\"Metaspace\" is not supported (ByteLevel, Split, Digits and Sequence are)"},
      {"no pre-tokenizer", [](json& f) { f["pre_tokenizer"] = nullptr; }, kUnimplemented,
       "without a pre_tokenizer"},
      {"no ByteLevel",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Digits"}};
       },
       kUnimplemented, "without ByteLevel"},
      {"ByteLevel first",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}};
       },
       kUnimplemented, "after ByteLevel"},
      {"option", [](json& f) { f["pre_tokenizer"]["mode"] = 1; }, kUnimplemented, "mode"},
      {"option type", [](json& f) { f["pre_tokenizer"]["use_regex"] = "yes"; }, kInvalid,
       "\"use_regex\" has the wrong type"},
      {"behavior",
       [](json& f) {
         f["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Sideways"}};
       },
       kUnimplemented, "\"Sideways\" is not supported (Isolated, Removed"},
      {"pattern",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "["}}}};
       },
       kInvalid, "pattern \"[\""},
      {"model", [](json& f) { f["model"]["type"] = "Unigram"; }, kUnimplemented,
       "\"Unigram\" is not supported (BPE over bytes is)"},
      {"no model", [](json& f) { f.erase("model"); }, kInvalid, "no model"},
      {"dropout", [](json& f) { f["model"]["dropout"] = 0.1; }, kUnimplemented,
       "model.dropout 0.1 is not supported (only 0 is)"},
      {"prefix", [](json& f) { f["model"]["continuing_subword_prefix"] = "##"; }, kUnimplemented,
       "continuing_subword_prefix \"##\" is not supported (only none is)"},
      {"byte fallback", [](json& f) { f["model"]["byte_fallback"] = true; }, kUnimplemented,
       "byte_fallback true is not supported (only false is)"},
      {"unknown token", [](json& f) { f["model"]["unk_token"] = "<unk>"; }, kInvalid, "\"<unk>\""},
      {"model key", [](json& f) { f["model"]["speed"] = 1; }, kUnimplemented, "model.speed"},
      {"id too large", [](json& f) { f["model"]["vocab"]["zz"] = 261; }, kInvalid, "\"zz\""},
      {"id negative", [](json& f) { f["model"]["vocab"]["zz"] = -1; }, kInvalid, "\"zz\""},
      {"id a fraction", [](json& f) { f["model"]["vocab"]["zz"] = 1.5; }, kInvalid, "\"zz\""},
      {"same id", [](json& f) { f["model"]["vocab"]["zz"] = kAb; }, kInvalid, "same id"},
      {"merge", [](json& f) { f["model"]["merges"][0] = 7; }, kInvalid, "model.merges: entry 0"},
      {"merge of three",
       [](json& f) {
         f["model"]["merges"][0] = {"a", "b", "c"};
       },
       kInvalid, "model.merges"},
      {"merge of a number",
       [](json& f) {
         f["model"]["merges"][1] = {"a", 1};
       },
       kInvalid, "model.merges: entry 1"},
      {"merge of lists",
       [](json& f) {
         f["model"]["merges"][1] = {{"a"}, {"b"}};
       },
       kInvalid, "model.merges: entry 1"},
      {"vocabulary of lists", [](json& f) { f["model"]["vocab"]["a"] = {1}; }, kInvalid,
       "model.vocab: the id of \"a\""},
      {"vocabulary a list", [](json& f) { f["model"]["vocab"] = {1}; }, kInvalid, "model.vocab"},
      {"no merges", [](json& f) { f["model"].erase("merges"); }, kInvalid, "model.merges"},
      {"added id", [](json& f) { f["added_tokens"][0]["id"] = 261; }, kInvalid, "id 261"},
      {"added id huge", [](json& f) { f["added_tokens"][0]["id"] = 1e15; }, kInvalid, "\"id\""},
      {"added elsewhere", [](json& f) { f["added_tokens"][0]["content"] = "<x>"; }, kInvalid,
       "added token \"<x>\""},
      {"added twice", [](json& f) { f["added_tokens"][1] = f["added_tokens"][0]; }, kInvalid,
       "two added tokens have id 258"},
      {"added empty", [](json& f) { f["added_tokens"][1]["content"] = ""; }, kInvalid, "empty"},
      {"added key", [](json& f) { f["added_tokens"][1]["fast"] = true; }, kUnimplemented, "fast"},
  };
  for (const BrokenJson& broken : cases) {
    json file = File();
    broken.breaks(file);
    const absl::Status status = Tokenizer::Load(Source(file)).status();
    EXPECT_EQ(status.code(), broken.code) << broken.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(broken.message)) << broken.what;
    EXPECT_THAT(std::string(status.message()), StartsWith("tokenizer.json")) << broken.what;
  }
}

TEST(TokenizerJsonTest, NamesTheOtherFileThatIsBroken) {
  struct {
    const char* tokenizer_config;
    const char* generation_config;
    const char* message;
  } const cases[] = {
      {R"({"bos_token": "<no>"})", "", "tokenizer_config.json: token \"<no>\" does not exist"},
      {R"({"eos_token": {"content": "<no>"}})", "", "tokenizer_config.json: token \"<no>\""},
      {R"({"bos_token": 1})", "", "tokenizer_config.json: \"bos_token\" has the wrong type"},
      {R"({"add_bos_token": 1})", "", "tokenizer_config.json: \"add_bos_token\" has"},
      {"[]", "", "tokenizer_config.json is not a JSON object"},
      {"", R"({"eos_token_id": "2"})", "generation_config.json: \"eos_token_id\" is not a list"},
      {"", "{", "generation_config.json: not valid JSON at byte 2"},
  };
  for (const auto& [tokenizer_config, generation_config, message] : cases) {
    TokenizerSource source = Source(File());
    source.hugging_face->tokenizer_config_json = tokenizer_config;
    source.hugging_face->generation_config_json = generation_config;
    const absl::Status status = Tokenizer::Load(source).status();
    EXPECT_EQ(status.code(), kInvalid) << message;
    EXPECT_THAT(std::string(status.message()), StartsWith(message));
  }
}

// Whoever wrote the file chose the names in it; an error is one line all the same.
TEST(TokenizerJsonTest, ExplainsAnErrorInOneShortLine) {
  json file = File();
  file["model"]["unk_token"] = "two\nlines\x1b[2J" + std::string(10000, 'x');
  const absl::Status status = Tokenizer::Load(Source(file)).status();
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("two\\x0alines\\x1b[2Jxxx"));
  EXPECT_LT(message.size(), 1000u);
  EXPECT_THAT(message, EndsWith("..."));
}

TEST(TokenizerJsonTest, RefusesATokenThatTheVocabularyRepeats) {
  for (const char* twice : {R"("a":97,"a":100,)", R"("a":97,"a":97,)"}) {
    TokenizerSource source = Source(File());
    std::string& text = source.hugging_face->tokenizer_json;
    const std::string once = "\"a\":" + std::to_string(static_cast<int>('a')) + ",";
    ASSERT_NE(text.find(once), std::string::npos);
    text.replace(text.find(once), once.size(), twice);
    EXPECT_EQ(Tokenizer::Load(source).status().code(), kInvalid) << twice;
  }
}

TEST(TokenizerJsonTest, RefusesTextThatIsNotStrictJson) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "not valid JSON at byte"},
      {"[]", "not a JSON object"},
      {"{\"model\": ", "not valid JSON at byte"},
      {"{} x", "not valid JSON at byte"},
      {"{\"model\": {\"vocab\": {\"a\": 1, \"a\": 2}, \"vocab\": {}}}", "duplicate key \"vocab\""},
      {"{\"a\": {\"b\": 1, \"b\": 2}}", "duplicate key \"b\""},
      {"{\"a\": \"\xFF\"}", "not valid JSON at byte"},
      {"\xEF\xBB\xBF{}", "byte-order mark"},
      {std::string("{}\0{}", 5), "NUL"},
      {"{\"a\": " + std::string(100, '[') + std::string(100, ']') + "}", "deeper than 32"},
      {"{\"a\": " + std::string(1 << 20, '['), "deeper than 32"},
  };
  for (const auto& [text, message] : cases) {
    TokenizerSource source = Source(File());
    source.hugging_face->tokenizer_json = text;
    const absl::Status status = Tokenizer::Load(source).status();
    EXPECT_EQ(status.code(), kInvalid) << text.substr(0, 40);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << text.substr(0, 40);
  }
}

// Whatever a file holds, loading ends with a tokenizer or an error.
TEST(TokenizerJsonTest, SurvivesDamagedFiles) {
  constexpr int kSeed = 20240704;
  std::mt19937 random(kSeed);
  const std::string whole = File().dump();
  for (int round = 0; round < 500; ++round) {
    std::string text = whole;
    for (int i = 0; i < 3; ++i) text[random() % text.size()] = static_cast<char>(random() % 128);
    if (round % 2 == 0) text.erase(random() % text.size(), random() % 40);
    TokenizerSource source = Source(File());
    source.hugging_face->tokenizer_json = text;
    const auto tokenizer = Tokenizer::Load(source);
    if (tokenizer.ok()) {
      EXPECT_TRUE((*tokenizer)->Encode("ab <s>", SpecialTokens::kRecognise).ok());
    }
  }
}

// Any valid text comes back from the bytes of its tokens.
TEST(TokenizerJsonTest, GivesBackRandomText) {
  constexpr int kSeed = 20240704;
  std::mt19937 random(kSeed);
  const auto tokenizer = Load(Source(File()));
  const std::string parts[] = {"a", "b", " ", "<s>", "<|im_", "é", "中", "\U0001F600", "\n", "7"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = random() % 20; i > 0; --i) text += parts[random() % std::size(parts)];
    for (const auto special : {SpecialTokens::kRecognise, SpecialTokens::kAsText}) {
      const auto ids = tokenizer->Encode(text, special);
      ASSERT_TRUE(ids.ok()) << ids.status();
      std::string bytes;
      for (const TokenId id : *ids) bytes += std::string(tokenizer->Bytes(id));
      ASSERT_EQ(bytes, text) << "round " << round << " of seed " << kSeed;
    }
  }
}

}  // namespace
}  // namespace peerage

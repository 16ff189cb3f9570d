#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "model/tokenizer/tokenizer_definition.h"

namespace peerage {
namespace {

using nlohmann::ordered_json;

// JSON texts hold UTF-8 only, and objects no key twice.
absl::Status CheckTexts(const TokenizerDefinition& definition) {
  absl::flat_hash_set<std::string> seen;
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    const std::string& token = definition.tokens[id];
    if (!IsValidUtf8(token)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.tokens[", id, "] is not UTF-8, which tokenizer.json needs"));
    }
    if (!token.empty() && !seen.insert(token).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.tokens[", id, "] \"", token, "\" is there twice"));
    }
  }
  for (size_t rank = 0; rank < definition.merges.size(); ++rank) {
    const auto& [left, right] = definition.merges[rank];
    if (IsValidUtf8(left) && IsValidUtf8(right)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.merges[", rank, "] is not UTF-8, which tokenizer.json needs"));
  }
  if (IsValidUtf8(definition.chat_template)) return absl::OkStatus();
  return absl::InvalidArgumentError("tokenizer.chat_template is not UTF-8");
}

ordered_json AddedTokensJson(const TokenizerDefinition& definition) {
  ordered_json tokens = ordered_json::array();
  for (const AddedToken& token : definition.added_tokens) {
    tokens.push_back({{"id", token.id},
                      {"content", token.content},
                      {"single_word", token.single_word},
                      {"lstrip", token.lstrip},
                      {"rstrip", token.rstrip},
                      {"normalized", token.normalized},
                      {"special", token.special}});
  }
  return tokens;
}

ordered_json ModelJson(const TokenizerDefinition& definition) {
  ordered_json::object_t vocab;  // appended to, because an ordered object looks every key up
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (!definition.tokens[id].empty()) vocab.push_back({definition.tokens[id], id});
  }
  ordered_json merges = ordered_json::array();
  for (const auto& [left, right] : definition.merges) {
    merges.push_back(ordered_json::array({left, right}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", definition.ignore_merges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

// Puts the BOS before a text.
ordered_json ProcessorJson(const TokenizerDefinition& definition) {
  const std::optional<TokenId> bos_id = definition.origins.bos_id();
  if (!definition.add_bos || !bos_id.has_value()) return nullptr;
  const std::string& bos = definition.tokens[*bos_id];
  const auto special = [&](int type) {
    return ordered_json{{"SpecialToken", {{"id", bos}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* id, int type) {
    return ordered_json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", {special(0), sequence("A", 0)}},
          {"pair", {special(0), sequence("A", 0), special(1), sequence("B", 1)}},
          {"special_tokens", {{bos, {{"id", bos}, {"ids", {*bos_id}}, {"tokens", {bos}}}}}}};
}

absl::StatusOr<std::string> TokenizerJson(const GgufTokenizer& file,
                                          const TokenizerDefinition& definition) {
  ASSIGN_OR_RETURN(GgufPreTokenizer pre_tokenizer, FindGgufPreTokenizer(file.pre));
  const ordered_json json = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", AddedTokensJson(definition)},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", std::move(pre_tokenizer.json)},
                             {"post_processor", ProcessorJson(definition)},
                             {"decoder",
                              {{"type", "ByteLevel"},
                               {"add_prefix_space", false},
                               {"trim_offsets", true},
                               {"use_regex", true}}},
                             {"model", ModelJson(definition)}};
  return json.dump();
}

std::string TokenizerConfigJson(const GgufTokenizer& file, const TokenizerDefinition& definition) {
  ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"clean_up_tokenization_spaces", false},
                         {"add_bos_token", definition.add_bos},
                         // Without it transformers give models token types, which llamas refuse.
                         {"model_input_names", {"input_ids", "attention_mask"}}};
  const auto name = [&](const char* key, std::optional<TokenId> id) {
    if (id.has_value()) config[key] = definition.tokens[*id];
  };
  name("bos_token", definition.origins.bos_id());
  name("eos_token", file.eos_id);
  name("unk_token", file.unknown_id);
  name("pad_token", file.padding_id);
  return config.dump(2) + "\n";
}

std::string GenerationConfigJson(const TokenizerDefinition& definition) {
  const std::vector<TokenId> eos_ids = definition.origins.eos_ids();
  if (eos_ids.empty()) return "";
  ordered_json config;
  if (const auto bos_id = definition.origins.bos_id()) config["bos_token_id"] = *bos_id;
  config["eos_token_id"] = eos_ids;
  return config.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<HuggingFaceTokenizer> HuggingFaceFilesOf(const TokenizerSource& source) {
  const GgufTokenizer& file = *source.gguf;
  ASSIGN_OR_RETURN(const TokenizerDefinition definition, DefineFromGguf(source));
  RETURN_IF_ERROR(CheckTexts(definition));
  HuggingFaceTokenizer files;
  ASSIGN_OR_RETURN(files.tokenizer_json, TokenizerJson(file, definition));
  files.tokenizer_config_json = TokenizerConfigJson(file, definition);
  files.chat_template = definition.chat_template;
  files.generation_config_json = GenerationConfigJson(definition);
  return files;
}

}  // namespace peerage

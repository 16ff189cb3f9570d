#include "model/tokenizer/special_tokens_json.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/tokenizer/tokenizer_file_names.h"

namespace peerage {
namespace {

using nlohmann::json;

// A special token that a TemplateProcessing puts before a text, and its ids where they are given.
struct TokenBefore {
  std::string content;
  json ids;
};

absl::StatusOr<std::optional<TokenBefore>> TokenBeforeText(const json& processor);

// That of the first processor with one. Without processors there is none.
absl::StatusOr<std::optional<TokenBefore>> TokenBeforeTextOfAny(const json& sequence) {
  const auto parts = sequence.find("processors");
  if (parts == sequence.end() || !parts->is_array()) {
    return absl::InvalidArgumentError("post_processor Sequence has no list of processors");
  }
  std::optional<TokenBefore> before;
  for (const json& part : *parts) {
    if (!part.is_object()) return absl::InvalidArgumentError("a post_processor is no object");
    ASSIGN_OR_RETURN(std::optional<TokenBefore> token, TokenBeforeText(part));
    if (!before.has_value()) before = std::move(token);
  }
  return before;
}

absl::StatusOr<std::optional<TokenBefore>> TokenBeforeText(const json& processor) {
  ASSIGN_OR_RETURN(const std::string type,
                   JsonObject(processor, "post_processor").Optional("type", std::string()));
  if (type == "Sequence") return TokenBeforeTextOfAny(processor);
  if (type == "ByteLevel") return std::nullopt;
  if (type != "TemplateProcessing") {
    return absl::UnimplementedError(
        absl::StrCat("post_processor ", Quoted(type),
                     " is not supported (TemplateProcessing, ByteLevel and Sequence are)"));
  }
  const json first = processor.value(json::json_pointer("/single/0/SpecialToken/id"), json());
  if (!first.is_string()) return std::nullopt;
  TokenBefore token{.content = first.get<std::string>(), .ids = json()};
  const auto table = processor.find("special_tokens");
  if (table != processor.end() && table->is_object() && table->contains(token.content)) {
    const json& entry = table->at(token.content);
    if (entry.is_object()) token.ids = entry.value("ids", json());
  }
  return token;
}

absl::StatusOr<TokenId> IdOf(const TokenizerDefinition& definition, const std::string& content) {
  for (const AddedToken& token : definition.added_tokens) {
    if (token.content == content) return token.id;
  }
  const auto found = std::find(definition.tokens.begin(), definition.tokens.end(), content);
  if (found == definition.tokens.end() || content.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("token \"", content, "\" does not exist"));
  }
  return static_cast<TokenId>(found - definition.tokens.begin());
}

// The post-processor itself goes by the ids of its table, whatever the vocabulary says.
absl::StatusOr<TokenId> IdOf(const TokenizerDefinition& definition, const TokenBefore& token) {
  if (token.ids.is_null()) return IdOf(definition, token.content);
  const json& ids = token.ids;
  if (ids.is_array() && ids.size() == 1 && ids[0].is_number_unsigned() && ids[0] <= UINT32_MAX) {
    return ids[0].get<TokenId>();
  }
  return absl::UnimplementedError(absl::StrCat("post_processor: the ids of ", Quoted(token.content),
                                               " are ", ids.dump(), ", and one id is supported"));
}

// A token of tokenizer_config.json: its text, or an object with it. Empty: none is named.
absl::StatusOr<std::string> NamedToken(const json& config, const char* key) {
  JsonObject fields(config, kTokenizerConfigName);
  const json* found = fields.Find(key);
  if (found != nullptr && found->is_object()) {
    return JsonObject(*found, key).Optional("content", std::string());
  }
  return fields.Optional(key, std::string());
}

absl::Status AddNamed(const TokenizerDefinition& definition, const json& config, const char* key,
                      std::vector<TokenMention>& mentions) {
  ASSIGN_OR_RETURN(const std::string content, NamedToken(config, key));
  if (content.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const TokenId id, IdOf(definition, content));
  mentions.push_back({id, kTokenizerConfigName});
  return absl::OkStatus();
}

// A number or a list of numbers; nothing when absent or null.
absl::Status AddIds(const json& config, const char* key, std::vector<TokenMention>& mentions) {
  const json ids = config.value(key, json());
  if (ids.is_null()) return absl::OkStatus();
  for (const json& id : ids.is_array() ? ids : json::array({ids})) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not a list of token ids"));
    }
    mentions.push_back({id.get<TokenId>(), kGenerationConfigName});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TokenBefore>> ReadProcessor(const json& file) {
  const auto found = file.find("post_processor");
  if (found == file.end() || found->is_null()) return std::nullopt;
  if (!found->is_object()) return absl::InvalidArgumentError("post_processor is not an object");
  return TokenBeforeText(*found);
}

absl::Status ReadBos(const TokenizerSource& source, const std::optional<TokenBefore>& processor,
                     const json& config, TokenizerDefinition& definition) {
  std::vector<TokenMention>& mentions = definition.origins.bos;
  if (processor.has_value()) {
    ASSIGN_OR_RETURN(const TokenId id, At(kTokenizerJsonName, IdOf(definition, *processor)));
    mentions.push_back({id, kPostProcessorName});
  }
  RETURN_IF_ERROR(At(kTokenizerConfigName, AddNamed(definition, config, "bos_token", mentions)));
  if (source.config_bos_id.has_value()) {
    mentions.push_back({*source.config_bos_id, kModelConfigName});
  }
  return absl::OkStatus();
}

absl::Status ReadAddBos(bool processor_adds, const json& config, TokenizerDefinition& definition) {
  JsonObject fields(config, kTokenizerConfigName);
  ASSIGN_OR_RETURN(definition.add_bos,
                   At(kTokenizerConfigName, fields.Optional("add_bos_token", processor_adds)));
  if (fields.Find("add_bos_token") != nullptr) {
    definition.origins.add_bos = kTokenizerConfigName;
  } else if (processor_adds) {
    definition.origins.add_bos = kPostProcessorName;
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ParseGenerationConfig(const std::string& text) {
  if (text.empty()) return json::object();
  return ObjectOfFile(kGenerationConfigName, ParseStrictJson(text));
}

}  // namespace

absl::Status ReadSpecialTokens(const TokenizerSource& source, const json& tokenizer_file,
                               const json& tokenizer_config, TokenizerDefinition& definition) {
  ASSIGN_OR_RETURN(const std::optional<TokenBefore> processor,
                   At(kTokenizerJsonName, ReadProcessor(tokenizer_file)));
  ASSIGN_OR_RETURN(const json generation,
                   ParseGenerationConfig(source.hugging_face->generation_config_json));
  TokenOrigins& origins = definition.origins;
  RETURN_IF_ERROR(ReadBos(source, processor, tokenizer_config, definition));
  RETURN_IF_ERROR(At(kGenerationConfigName, AddIds(generation, "bos_token_id", origins.bos)));
  RETURN_IF_ERROR(ReadAddBos(processor.has_value(), tokenizer_config, definition));
  RETURN_IF_ERROR(At(kGenerationConfigName, AddIds(generation, "eos_token_id", origins.eos)));
  for (const TokenId id : source.config_eos_ids) origins.eos.push_back({id, kModelConfigName});
  return At(kTokenizerConfigName, AddNamed(definition, tokenizer_config, "eos_token", origins.eos));
}

}  // namespace peerage

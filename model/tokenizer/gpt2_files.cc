#include "model/tokenizer/gpt2_files.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "base/utf8.h"
#include "model/token.h"
#include "model/tokenizer/tokenizer_file_names.h"

namespace peerage {
namespace {

using nlohmann::json;
using AddedById = std::map<TokenId, json>;

constexpr char kEndOfText[] = "<|endoftext|>";
constexpr const char* kUses[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                 "sep_token", "cls_token", "mask_token"};

absl::StatusOr<json> ParseFile(const char* name, const std::string& text) {
  if (text.empty()) return json::object();
  return ObjectOfFile(name, ParseStrictJson(text));
}

absl::Status CheckClass(const json& config) {
  ASSIGN_OR_RETURN(
      const std::string type,
      At(kTokenizerConfigName,
         JsonObject(config, kTokenizerConfigName).Optional("tokenizer_class", std::string())));
  for (const char* known : {"", "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"}) {
    if (type == known) return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat(kTokenizerConfigName, ": tokenizer_class ", Quoted(type),
                   " without tokenizer.json is not supported (GPT2Tokenizer is); transformers "
                   "write one: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"));
}

absl::StatusOr<json> MergesOf(const std::string& text) {
  json merges = json::array();
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripSuffix(line, "\r");
    if (line.empty() || (number == 1 && absl::StartsWith(line, "#version"))) continue;
    if (!IsValidUtf8(line)) {
      return absl::InvalidArgumentError(
          absl::StrCat(kMergesName, ": line ", number, " is not UTF-8"));
    }
    const std::vector<std::string> tokens = absl::StrSplit(line, ' ');
    if (tokens.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat(kMergesName, ": line ", number, " is not two tokens: ", Quoted(line)));
    }
    merges.push_back(tokens);
  }
  return merges;
}

json AddedEntry(const std::string& content, bool special) {
  return {{"content", content}, {"special", special}, {"single_word", false},
          {"lstrip", false},    {"rstrip", false},    {"normalized", !special}};
}

absl::Status AddDecoded(const json& config, AddedById& added) {
  const json table = config.value("added_tokens_decoder", json::object());
  if (!table.is_object()) return absl::InvalidArgumentError("added_tokens_decoder is no object");
  for (const auto& [key, entry] : table.items()) {
    TokenId id = 0;
    if (!absl::SimpleAtoi(key, &id) || !entry.is_object() || !entry.contains("content")) {
      return absl::InvalidArgumentError(
          absl::StrCat("added_tokens_decoder: ", Quoted(key), " is not an id with a token"));
    }
    added[id] = entry;
  }
  return absl::OkStatus();
}

absl::Status AddListed(const json& list, AddedById& added) {
  for (const auto& [content, id] : list.items()) {
    if (!id.is_number_unsigned() || id > UINT32_MAX) {
      return absl::InvalidArgumentError(
          absl::StrCat("the id of ", Quoted(content), " is not a natural number"));
    }
    added.try_emplace(id.get<TokenId>(), AddedEntry(content, /*special=*/false));
  }
  return absl::OkStatus();
}

// The token that a file names for each use, as a text or as an object with a text.
void AddNamed(const json& file, const json& vocab, AddedById& added) {
  std::vector<json> named = {kEndOfText};
  for (const char* use : kUses) named.push_back(file.value(use, json()));
  const json more = file.value("additional_special_tokens", json::array());
  if (more.is_array()) named.insert(named.end(), more.begin(), more.end());
  std::multimap<std::string, TokenId> by_content;
  for (const auto& [id, known] : added) {
    if (known["content"].is_string()) by_content.emplace(known["content"], id);
  }
  for (const json& token : named) {
    const json text = token.is_object() ? token.value("content", json()) : token;
    if (!text.is_string()) continue;
    const std::string content = text.get<std::string>();
    const auto [first, last] = by_content.equal_range(content);
    for (auto known = first; known != last; ++known) added[known->second]["special"] = true;
    const auto found = vocab.find(content);
    if (found == vocab.end() || !found->is_number_unsigned()) continue;
    added.try_emplace(found->get<TokenId>(), AddedEntry(content, /*special=*/true));
  }
}

absl::StatusOr<AddedById> ReadAdded(const Gpt2Files& files, const json& config, const json& vocab) {
  ASSIGN_OR_RETURN(const json listed, ParseFile(kAddedTokensName, files.added_tokens_json));
  ASSIGN_OR_RETURN(const json special,
                   ParseFile(kSpecialTokensMapName, files.special_tokens_map_json));
  AddedById added;
  RETURN_IF_ERROR(At(kTokenizerConfigName, AddDecoded(config, added)));
  RETURN_IF_ERROR(At(kAddedTokensName, AddListed(listed, added)));
  AddNamed(special, vocab, added);
  AddNamed(config, vocab, added);
  return added;
}

}  // namespace

absl::StatusOr<std::string> TokenizerJsonOf(const Gpt2Files& files) {
  ASSIGN_OR_RETURN(const json config, ParseFile(kTokenizerConfigName, files.tokenizer_config_json));
  RETURN_IF_ERROR(CheckClass(config));
  ASSIGN_OR_RETURN(json vocab, ParseFile(kVocabName, files.vocab_json));
  ASSIGN_OR_RETURN(json merges, MergesOf(files.merges_txt));
  ASSIGN_OR_RETURN(const AddedById by_id, ReadAdded(files, config, vocab));
  ASSIGN_OR_RETURN(
      const bool prefix_space,
      At(kTokenizerConfigName,
         JsonObject(config, kTokenizerConfigName).Optional("add_prefix_space", false)));
  json added = json::array();
  for (const auto& [id, entry] : by_id) {
    added.push_back(entry);
    added.back()["id"] = id;
  }
  const json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", prefix_space},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", std::move(added)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", byte_level},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", ""},
                       {"end_of_word_suffix", ""},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", std::move(vocab)},
                       {"merges", std::move(merges)}}}};
  return file.dump();
}

}  // namespace peerage

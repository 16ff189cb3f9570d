#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/file_format.h"
#include "model/checkpoint/container/weight_shards.h"
#include "model/checkpoint/layout/tied_head.h"
#include "model/checkpoint/stored_model.h"
#include "model/tokenizer/gpt2_files.h"
#include "model/tokenizer/tokenizer_file_names.h"

namespace peerage {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;

// Large ones are Git LFS pointers where the files themselves were not fetched.
absl::StatusOr<std::string> ReadText(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(std::string text, ReadTextFile(path, max_bytes));
  RETURN_IF_ERROR(At(path, CheckIsText(text)));
  return text;
}

absl::StatusOr<std::string> ReadRequired(const fs::path& directory, const char* name,
                                         uint64_t max_bytes) {
  absl::StatusOr<std::string> text = ReadText(directory / name, max_bytes);
  if (!absl::IsNotFound(text.status())) return text;
  return absl::NotFoundError(absl::StrCat(directory.string(), ": no ", name));
}

// Empty when there is no such file. One that is there and empty was cut off, or never written.
absl::StatusOr<std::string> ReadOptional(const fs::path& directory, const char* name,
                                         uint64_t max_bytes) {
  absl::StatusOr<std::string> text = ReadText(directory / name, max_bytes);
  if (absl::IsNotFound(text.status())) return std::string();
  if (text.ok() && text->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat((directory / name).string(), ": is empty (0 bytes)"));
  }
  return text;
}

// What vocab.json and merges.txt say, where there is no tokenizer.json.
absl::StatusOr<std::string> TokenizerJsonOfParts(const fs::path& directory,
                                                 const std::string& tokenizer_config) {
  Gpt2Files files{.tokenizer_config_json = tokenizer_config};
  ASSIGN_OR_RETURN(files.vocab_json, ReadOptional(directory, kVocabName, kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(files.merges_txt, ReadOptional(directory, kMergesName, kMaxTokenizerBytes));
  if (files.vocab_json.empty() || files.merges_txt.empty()) {
    return absl::NotFoundError(absl::StrCat(
        directory.string(), ": no tokenizer.json (nor vocab.json and merges.txt instead)"));
  }
  ASSIGN_OR_RETURN(files.added_tokens_json,
                   ReadOptional(directory, kAddedTokensName, kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(files.special_tokens_map_json,
                   ReadOptional(directory, kSpecialTokensMapName, kMaxTokenizerBytes));
  return At(directory.string(), TokenizerJsonOf(files));
}

// The end-of-sequence ids of generation_config.json; empty when it names none.
absl::StatusOr<std::vector<TokenId>> ParseGenerationEosIds(const std::string& text,
                                                           int vocab_size) {
  if (text.empty()) return std::vector<TokenId>();
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseStrictJson(text));
  ASSIGN_OR_RETURN(JsonObject config, JsonObject::Of(value, ""));
  ASSIGN_OR_RETURN(const std::vector<int> ids,
                   config.Ints("eos_token_id", IntRange{0, vocab_size - 1}));
  return std::vector<TokenId>(ids.begin(), ids.end());
}

// Each id once: every one of them ends a generation, whichever file names it.
std::vector<TokenId> United(std::vector<TokenId> ids, const std::vector<TokenId>& more) {
  for (const TokenId id : more) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<ModelConfig> ReadConfig(const fs::path& directory,
                                       std::vector<std::string>* ignored_keys) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadRequired(directory, kModelConfigName, kMaxModelConfigBytes));
  return At((directory / kModelConfigName).string(), ParseModelConfig(text, ignored_keys));
}

}  // namespace

absl::StatusOr<HuggingFaceTokenizer> ReadTokenizerFiles(const std::string& path) {
  const fs::path directory(path);
  HuggingFaceTokenizer tokenizer;
  ASSIGN_OR_RETURN(tokenizer.tokenizer_config_json,
                   ReadOptional(directory, kTokenizerConfigName, kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(tokenizer.tokenizer_json,
                   ReadOptional(directory, kTokenizerJsonName, kMaxTokenizerBytes));
  if (tokenizer.tokenizer_json.empty()) {
    ASSIGN_OR_RETURN(tokenizer.tokenizer_json,
                     TokenizerJsonOfParts(directory, tokenizer.tokenizer_config_json));
  }
  ASSIGN_OR_RETURN(tokenizer.chat_template,
                   ReadOptional(directory, kChatTemplateName, kMaxTokenizerBytes));
  ASSIGN_OR_RETURN(tokenizer.generation_config_json,
                   ReadOptional(directory, kGenerationConfigName, kMaxModelConfigBytes));
  return tokenizer;
}

absl::StatusOr<StoredModel> ReadModelDirectory(const std::string& path) {
  const fs::path directory(path);
  StoredModel model;
  ASSIGN_OR_RETURN(model.config, ReadConfig(directory, &model.ignored));
  ASSIGN_OR_RETURN(StoredWeights shards, OpenWeightShards(path));
  if (shards.choice.has_value() && !shards.choice->others.empty()) {
    model.ignored.push_back(absl::StrCat(shards.choice->others.size(),
                                         " other dicts of tensors than ",
                                         Quoted(shards.choice->chosen.key)));
  }
  const TensorNaming naming = NamingOf(model.config, shards.tensors);
  ASSIGN_OR_RETURN(TensorBinding binding,
                   At(path, BindTensors(model.config, naming, std::move(shards.tensors))));
  if (binding.tied_head.has_value()) {
    RETURN_IF_ERROR(At(path, CheckTiedHead(shards.files, *binding.tied_head)));
  }
  model.weight_files = std::move(shards.files);
  model.tensors = std::move(binding.tensors);
  for (std::string& name : binding.ignored) model.ignored.push_back(std::move(name));

  ASSIGN_OR_RETURN(HuggingFaceTokenizer tokenizer, ReadTokenizerFiles(path));
  ASSIGN_OR_RETURN(
      std::vector<TokenId> eos_ids,
      At((directory / kGenerationConfigName).string(),
         ParseGenerationEosIds(tokenizer.generation_config_json, model.config.vocab_size)));
  model.tokenizer.hugging_face = std::move(tokenizer);
  model.tokenizer.config_bos_id = model.config.bos_id;
  model.tokenizer.config_eos_ids = model.config.eos_ids;
  model.config.eos_ids = United(std::move(eos_ids), model.config.eos_ids);
  model.tokenizer.vocab_size = model.config.vocab_size;
  return model;
}

}  // namespace peerage

#include "model/transform/convert/model_parts.h"

#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/new_file.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/tokenizer/tokenizer_file_names.h"
#include "model/transform/config_json.h"

namespace peerage::transform {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizerNames[] = {
    kGenerationConfigName, kTokenizerJsonName, kTokenizerConfigName, kChatTemplateName, kVocabName,
    kMergesName,           kAddedTokensName,   kSpecialTokensMapName};

bool IsThere(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Empty where there is none.
absl::StatusOr<fs::path> ConfigFile(const std::string& from, const std::string& named) {
  std::error_code error;
  fs::path file = named.empty() ? fs::path(from) / kModelConfigName : fs::path(named);
  if (!named.empty() && fs::is_directory(file, error)) file /= kModelConfigName;
  if (IsThere(file)) return file;
  if (named.empty()) return fs::path();
  return absl::NotFoundError(absl::StrCat("--config: ", file.string(), ": no such file"));
}

absl::StatusOr<std::vector<fs::path>> TokenizerFilesOf(const std::string& from,
                                                       const std::string& named) {
  std::vector<fs::path> files;
  for (const char* name : kTokenizerNames) {
    const fs::path file = fs::path(named.empty() ? from : named) / name;
    if (IsThere(file)) files.push_back(file);
  }
  if (named.empty() || !files.empty()) return files;
  return absl::NotFoundError(
      absl::StrCat("--tokenizer: ", named, ": holds no files of a tokenizer (tokenizer.json)"));
}

absl::StatusOr<ModelConfig> ReadConfig(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMaxModelConfigBytes));
  return At(file.string(), ParseModelConfig(text));
}

}  // namespace

absl::StatusOr<ModelParts> FindModelParts(const std::string& from, const std::string& config,
                                          const std::string& tokenizer) {
  ModelParts parts;
  ASSIGN_OR_RETURN(parts.config_file, ConfigFile(from, config));
  ASSIGN_OR_RETURN(parts.tokenizer_files, TokenizerFilesOf(from, tokenizer));
  if (parts.config_file.empty()) return parts;
  absl::StatusOr<ModelConfig> parsed = ReadConfig(parts.config_file);
  if (!config.empty()) RETURN_IF_ERROR(parsed.status());
  if (parsed.ok()) {
    parts.config_decides = !config.empty() || parsed->architecture == "peerage";
    parts.config = *std::move(parsed);
  }
  return parts;
}

absl::StatusOr<std::vector<std::string>> CopyModelParts(const ModelParts& parts, const fs::path& to,
                                                        std::optional<TensorType> dtype) {
  std::vector<std::string> copied;
  if (!parts.config_file.empty()) {
    ASSIGN_OR_RETURN(std::string text, ReadTextFile(parts.config_file, kMaxModelConfigBytes));
    if (dtype.has_value()) {
      ASSIGN_OR_RETURN(text, At(parts.config_file.string(), WithDtype(text, *dtype)));
    }
    RETURN_IF_ERROR(WriteNewFile(to / kModelConfigName, text));
    copied.emplace_back(kModelConfigName);
  }
  for (const fs::path& file : parts.tokenizer_files) {
    std::error_code error;
    if (!fs::copy_file(file, to / file.filename(), error)) {
      return absl::UnknownError(
          absl::StrCat((to / file.filename()).string(), ": ", error.message()));
    }
    copied.push_back(file.filename());
  }
  return copied;
}

}  // namespace peerage::transform

#include "model/transform/model_files.h"

#include <filesystem>
#include <utility>

#include "base/status_macros.h"
#include "model/checkpoint/container/new_file.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "model/tokenizer/tokenizer_file_names.h"

namespace peerage::transform {

absl::StatusOr<std::vector<TextFile>> TokenizerFiles(const TokenizerSource& tokenizer) {
  HuggingFaceTokenizer texts;
  if (tokenizer.gguf.has_value()) {
    ASSIGN_OR_RETURN(texts, HuggingFaceFilesOf(tokenizer));
  } else {
    texts = *tokenizer.hugging_face;
  }
  const std::pair<const char*, std::string&> named[] = {
      {kTokenizerJsonName, texts.tokenizer_json},
      {kTokenizerConfigName, texts.tokenizer_config_json},
      {kChatTemplateName, texts.chat_template},
      {kGenerationConfigName, texts.generation_config_json}};
  std::vector<TextFile> files;
  for (const auto& [name, text] : named) {
    if (!text.empty()) files.push_back({name, std::move(text)});
  }
  return files;
}

TextFile JsonFile(const std::string& name, const nlohmann::ordered_json& json) {
  constexpr auto kReplace =
      nlohmann::ordered_json::error_handler_t::replace;  // paths are any bytes
  return {name, json.dump(2, ' ', /*ensure_ascii=*/false, kReplace) + "\n"};
}

absl::Status WriteTextFiles(const std::string& directory, const std::vector<TextFile>& files) {
  for (const TextFile& file : files) {
    RETURN_IF_ERROR(WriteNewFile(std::filesystem::path(directory) / file.name, file.text));
  }
  return absl::OkStatus();
}

}  // namespace peerage::transform

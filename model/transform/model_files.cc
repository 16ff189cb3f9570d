#include "model/transform/model_files.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/new_file.h"
#include "model/status_macros.h"
#include "model/tokenizer/hugging_face_files.h"

namespace peerage::transform {

namespace fs = std::filesystem;

absl::Status MakeModelDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return absl::UnknownError(absl::StrCat(path, ": ", error.message()));
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& file = entry->path();
    if (file.extension() == ".safetensors" || file.extension() == ".json") {
      return absl::AlreadyExistsError(absl::StrCat(file.string(), ": is there already"));
    }
  }
  if (error) return absl::UnknownError(absl::StrCat(path, ": ", error.message()));
  return absl::OkStatus();
}

absl::Status WriteTokenizerFiles(const std::string& directory, const TokenizerSource& tokenizer) {
  HuggingFaceTokenizer files;
  if (tokenizer.gguf.has_value()) {
    ASSIGN_OR_RETURN(files, HuggingFaceFilesOf(tokenizer));
  } else {
    files = *tokenizer.hugging_face;
  }
  const std::pair<const char*, const std::string&> texts[] = {
      {"tokenizer.json", files.tokenizer_json},
      {"tokenizer_config.json", files.tokenizer_config_json},
      {"chat_template.jinja", files.chat_template},
      {"generation_config.json", files.generation_config_json}};
  for (const auto& [name, text] : texts) {
    if (!text.empty()) RETURN_IF_ERROR(WriteNewFile(fs::path(directory) / name, text));
  }
  return absl::OkStatus();
}

absl::Status WriteJsonFile(const std::string& path, const nlohmann::ordered_json& json) {
  constexpr auto kReplace =
      nlohmann::ordered_json::error_handler_t::replace;  // paths are any bytes
  return WriteNewFile(path, json.dump(2, ' ', /*ensure_ascii=*/false, kReplace) + "\n");
}

}  // namespace peerage::transform

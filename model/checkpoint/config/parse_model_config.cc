#include "model/checkpoint/config/parse_model_config.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/checkpoint/config/llama_config.h"
#include "model/checkpoint/config/peerage_config.h"

namespace peerage {

absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json,
                                             std::vector<std::string>* ignored_keys) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseStrictJson(json));
  ASSIGN_OR_RETURN(JsonObject config, JsonObject::Of(value, ""));
  ASSIGN_OR_RETURN(const std::string model_type, config.String("model_type"));
  if (model_type == "peerage") return ParsePeerageConfig(std::move(config));
  if (model_type != "llama" && model_type != "mixtral") {
    return absl::UnimplementedError(
        absl::StrCat("model_type is ", Quoted(model_type),
                     ", which is not supported (\"peerage\", \"llama\" and \"mixtral\" are)"));
  }
  const auto parse = model_type == "llama" ? ParseLlamaConfig : ParseMixtralConfig;
  ASSIGN_OR_RETURN(LlamaConfig llama, parse(std::move(config)));
  if (ignored_keys != nullptr) *ignored_keys = std::move(llama.ignored_keys);
  return std::move(llama.model);
}

}  // namespace peerage

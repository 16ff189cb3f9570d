#include "client/commands/expert_control.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "client/commands/text_input.h"
#include "client/expert_layers.h"

namespace peerage::client {
namespace {

constexpr char kOption[] = "--expert-control";

// Protobuf knows enumerators by their own names alone.
void SpellKinds(nlohmann::json& control) {
  if (!control.is_object() || !control.contains("layers") || !control["layers"].is_array()) return;
  for (nlohmann::json& layer : control["layers"]) {
    if (!layer.is_object() || !layer.contains("kind") || !layer["kind"].is_string()) continue;
    const v1::ExpertLayerKind kind = ParseExpertKind(layer["kind"].get<std::string>());
    if (kind != v1::EXPERT_LAYER_KIND_UNSPECIFIED) layer["kind"] = v1::ExpertLayerKind_Name(kind);
  }
}

}  // namespace

ExpertControlOption::ExpertControlOption(CLI::App& app) {
  app.add_option(kOption, path_,
                 "A file of JSON that masks, biases or forces experts (docs/experts.md)")
      ->type_name("FILE");
}

absl::StatusOr<std::optional<v1::ExpertControl>> ExpertControlOption::Read() const {
  if (!path_.has_value()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string text, ReadText(kOption, *path_));
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(kOption, ": ", Quoted(*path_), " is no JSON"));
  }
  SpellKinds(json);
  v1::ExpertControl control;
  const auto status = google::protobuf::util::JsonStringToMessage(json.dump(), &control);
  if (status.ok()) return control;
  const google::protobuf::StringPiece message = status.message();
  return absl::InvalidArgumentError(
      absl::StrCat(kOption, ": ", Quoted(*path_),
                   " is no ExpertControl: ", absl::string_view(message.data(), message.size())));
}

}  // namespace peerage::client

#include "client/commands/prompt_json.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "client/commands/text_input.h"

namespace peerage::client {
namespace {

// `Input` has both as the alternatives of a oneof.
template <typename Input>
absl::StatusOr<Input> TextOrIds(const std::string& key, const nlohmann::json& value) {
  Input input;
  if (value.is_string()) {
    input.set_text(value.get<std::string>());
    return input;
  }
  if (!value.is_array()) {
    return absl::InvalidArgumentError(key + " is neither a text nor a list of token ids");
  }
  ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, IdsOfJson(key, value));
  input.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  return input;
}

}  // namespace

absl::StatusOr<v1::Prompt> PromptOfJson(const std::string& key, const nlohmann::json& value) {
  return TextOrIds<v1::Prompt>(key, value);
}

absl::StatusOr<v1::Continuation> ContinuationOfJson(const std::string& key,
                                                    const nlohmann::json& value) {
  return TextOrIds<v1::Continuation>(key, value);
}

absl::StatusOr<v1::Chat> ChatOfJson(const nlohmann::json& messages) {
  if (!messages.is_array()) return absl::InvalidArgumentError("messages is not a list");
  v1::Chat chat;
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSIGN_OR_RETURN(JsonObject message,
                     JsonObject::Of(messages[i], absl::StrCat("messages[", i, "]")));
    ASSIGN_OR_RETURN(const std::string role, message.String("role"));
    ASSIGN_OR_RETURN(const std::string content, message.String("content"));
    RETURN_IF_ERROR(message.RefuseUnreadKeys());
    v1::ChatMessage& added = *chat.add_messages();
    added.set_role(role);
    added.set_content(content);
  }
  return chat;
}

}  // namespace peerage::client

#include "client/token_texts.h"

#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage::client {
namespace {

// Of ids in an answer: their key, and that of the texts beside them.
constexpr struct {
  absl::string_view ids;
  absl::string_view texts;
} kTokenKeys[] = {{"token_id", "token"},
                  {"token_ids", "tokens"},
                  {"alternative_ids", "alternative_tokens"},
                  {"stop_token_id", "stop_token"}};

// The key of the texts, empty when the key is not one of ids.
absl::string_view TextsKey(absl::string_view key) {
  for (const auto& [ids, texts] : kTokenKeys) {
    if (ids == key) return texts;
  }
  return "";
}

void CollectIds(const Json& json, bool are_ids, std::set<uint32_t>& ids) {
  if (are_ids && json.is_number_unsigned()) ids.insert(json.get<uint32_t>());
  if (json.is_array()) {
    for (const Json& element : json) CollectIds(element, are_ids, ids);
  }
  if (!json.is_object()) return;
  for (const auto& [key, value] : json.items()) CollectIds(value, !TextsKey(key).empty(), ids);
}

Json TextsOf(const Json& ids, const TokenTexts& texts) {
  if (!ids.is_array()) return texts.Of(ids.get<uint32_t>());
  Json list = Json::array();
  for (const Json& id : ids) list.push_back(texts.Of(id.get<uint32_t>()));
  return list;
}

}  // namespace

absl::StatusOr<TokenTexts> TokenTexts::Read(Client& client, const std::string& model,
                                            const std::set<uint32_t>& ids) {
  if (ids.empty()) return TokenTexts();
  v1::DetokenizeRequest request;
  request.set_model(model);
  request.mutable_token_ids()->Add(ids.begin(), ids.end());
  ASSIGN_OR_RETURN(const v1::DetokenizeResponse response, client.Detokenize(request));
  if (response.tokens_size() != request.token_ids_size()) {
    return absl::DataLossError("the server does not tell the bytes of each token");
  }
  std::map<uint32_t, std::string> texts;
  for (int i = 0; i < response.tokens_size(); ++i) {
    texts[request.token_ids(i)] = response.tokens(i);
  }
  return TokenTexts(std::move(texts));
}

const std::string& TokenTexts::Of(uint32_t id) const {
  static const std::string* const kNone = new std::string;
  const auto found = texts_.find(id);
  return found == texts_.end() ? *kNone : found->second;
}

std::set<uint32_t> TokenIdsIn(const Json& answer) {
  std::set<uint32_t> ids;
  CollectIds(answer, /*are_ids=*/false, ids);
  return ids;
}

Json WithTokenTexts(const Json& answer, const TokenTexts& texts) {
  Json result = answer;
  if (answer.is_array()) {
    for (Json& element : result) element = WithTokenTexts(element, texts);
  }
  if (!answer.is_object()) return result;
  result = Json::object();
  for (const auto& [key, value] : answer.items()) {
    result[key] = WithTokenTexts(value, texts);
    const std::string texts_key(TextsKey(key));
    if (!texts_key.empty()) result[texts_key] = TextsOf(value, texts);
  }
  return result;
}

absl::StatusOr<Json> AnswerJson(const google::protobuf::Message& answer, Client& client,
                                const std::string& model) {
  const Json json = ToJson(answer);
  ASSIGN_OR_RETURN(const TokenTexts texts, TokenTexts::Read(client, model, TokenIdsIn(json)));
  return WithTokenTexts(json, texts);
}

}  // namespace peerage::client

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "client/message_json.h"
#include "client/peerage_client.h"

namespace peerage::client {

// The bytes of tokens, to be shown beside their ids: parts of characters may be among them, so that
// what is shown of a token is its text only where it is UTF-8.
class TokenTexts {
 public:
  TokenTexts() = default;
  explicit TokenTexts(std::map<uint32_t, std::string> texts) : texts_(std::move(texts)) {}

  // Asks the server once. DATA_LOSS when it does not tell those bytes.
  static absl::StatusOr<TokenTexts> Read(Client& client, const std::string& model,
                                         const std::set<uint32_t>& ids);

  // Empty for ids that were not asked for.
  const std::string& Of(uint32_t id) const;

 private:
  std::map<uint32_t, std::string> texts_;
};

// The ids in an answer: of its keys token_id, token_ids, alternative_ids and stop_token_id.
std::set<uint32_t> TokenIdsIn(const Json& answer);

// Puts the text of each token behind its id: "token" behind "token_id", "tokens" behind
// "token_ids", "alternative_tokens" behind "alternative_ids", "stop_token" behind "stop_token_id".
Json WithTokenTexts(const Json& answer, const TokenTexts& texts);

// The answer as JSON with the text of its tokens, for which the server is asked.
absl::StatusOr<Json> AnswerJson(const google::protobuf::Message& answer, Client& client,
                                const std::string& model);

}  // namespace peerage::client

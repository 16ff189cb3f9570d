#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/message_json.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

class TokenizeCommand : public Command {
 public:
  TokenizeCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "tokenize",
                 .description = "Show the tokens of a text",
                 .examples = {"tokenize \"Hello 42 worlds\"", "tokenize --bos --json < text.txt"}}),
        text_(app(), "text") {}

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(*request_.mutable_prompt(), text_.Read());
    request_.set_model(text_.model());
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response, client.Tokenize(request_));
    if (json()) {
      Json answer = ToJson(response);
      answer["tokens"] = response.tokens();  // as text, not as base64
      std::cout << JsonText(answer);
      return 0;
    }
    Table table({{"id", Table::Align::kRight}, {"token"}});
    const int count = std::min(response.token_ids_size(), response.tokens_size());
    for (int i = 0; i < count; ++i) {
      table.AddRow({absl::StrCat(response.token_ids(i)), QuoteText(response.tokens(i))});
    }
    std::cout << table.ToString();
    return 0;
  }

 private:
  PromptOptions text_;
  v1::TokenizeRequest request_;
};

}  // namespace

std::unique_ptr<Command> AddTokenize(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<TokenizeCommand>(program, shared);
}

}  // namespace peerage::client

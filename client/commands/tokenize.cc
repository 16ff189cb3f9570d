#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

class TokenizeCommand : public Command {
 public:
  explicit TokenizeCommand(CLI::App& program)
      : Command(program, "tokenize", "Show the tokens of a text"), text_(app(), "text") {}

  absl::Status Prepare() override {
    ASSIGN_OR_RETURN(*request_.mutable_prompt(), text_.Read());
    request_.set_model(text_.model());
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::TokenizeResponse response, client.Tokenize(request_));
    if (json()) {
      std::cout << ToJson(response);
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

std::unique_ptr<Command> AddTokenize(CLI::App& program) {
  return std::make_unique<TokenizeCommand>(program);
}

}  // namespace peerage::client

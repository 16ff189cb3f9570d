#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/commands/text_input.h"
#include "client/message_json.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

class DetokenizeCommand : public Command {
 public:
  DetokenizeCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "detokenize",
                 .description = "Show the text of token ids",
                 .examples = {"detokenize 504,3575,282", "detokenize --ids ids.txt --tokens"}}) {
    app()
        .add_option("token_ids", words_,
                    "Token ids, as 1,2,3 or 1 2 3; standard input when there are none")
        ->type_name("IDS");
    app().add_option("--ids", ids_, "The same: 1,2,3, or a file of them, or -")->type_name("IDS");
    AddModelOption(app(), model_);
    AddOptionalFlag(app(), "--special", special_, "Show special tokens, too");
    app().add_flag("--tokens", tokens_, "Print a table of ids and their text");
  }

  absl::Status Prepare() override {
    if (ids_.has_value() && !words_.empty()) {
      return absl::InvalidArgumentError("--ids stands for the token ids: leave out others");
    }
    const std::string option = ids_.has_value() ? "--ids" : "token_ids";
    const std::string given = words_.empty() ? ids_.value_or("-") : absl::StrJoin(words_, " ");
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ReadIds(option, given));
    request_.set_model(model_);
    request_.mutable_token_ids()->Add(ids.begin(), ids.end());
    if (special_.has_value()) request_.set_include_special_tokens(*special_);
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::DetokenizeResponse response, client.Detokenize(request_));
    if (json()) {
      std::cout << JsonText({{"text", response.text()},
                             {"token_ids", request_.token_ids()},
                             {"tokens", response.tokens()}});
    } else if (tokens_) {
      Table table({{"id", Table::Align::kRight}, {"token"}});
      const int count = std::min(request_.token_ids_size(), response.tokens_size());
      for (int i = 0; i < count; ++i) {
        table.AddRow({absl::StrCat(request_.token_ids(i)), QuoteText(response.tokens(i))});
      }
      std::cout << table.ToString();
    } else {
      std::cout << response.text() << "\n";
    }
    return 0;
  }

 private:
  std::vector<std::string> words_;
  std::optional<std::string> ids_;
  std::string model_;
  std::optional<bool> special_;
  bool tokens_ = false;
  v1::DetokenizeRequest request_;
};

}  // namespace

std::unique_ptr<Command> AddDetokenize(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<DetokenizeCommand>(program, shared);
}

}  // namespace peerage::client

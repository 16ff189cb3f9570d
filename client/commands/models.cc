#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/number_text.h"
#include "base/status_macros.h"
#include "client/commands/command.h"
#include "client/message_json.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

std::string ModelTable(const v1::ListModelsResponse& response) {
  using Align = Table::Align;
  Table table({{"name"},
               {"architecture"},
               {"parameters", Align::kRight},
               {"layers", Align::kRight},
               {"hidden", Align::kRight},
               {"vocabulary", Align::kRight},
               {"context", Align::kRight},
               {"dtype"},
               {"weights", Align::kRight},
               {"KV/token", Align::kRight},
               {"chat"},
               {"fingerprint"}});
  for (const v1::Model& model : response.models()) {
    table.AddRow({model.name(), model.architecture(), FormatCount(model.total_parameters()),
                  absl::StrCat(model.num_layers()), absl::StrCat(model.hidden_size()),
                  absl::StrCat(model.vocabulary_size()), absl::StrCat(model.context_length()),
                  model.weights_dtype(), FormatBytes(model.weights_bytes()),
                  FormatBytes(model.kv_bytes_per_token()),
                  model.chat_template().empty() ? "-" : model.chat_template(),
                  model.fingerprint().substr(0, 12)});
  }
  std::string text = table.ToString();
  for (const v1::Model& model : response.models()) {
    if (model.chat_template_error().empty()) continue;
    absl::StrAppend(&text, "\n", EscapeText(model.name()),
                    " takes no chats: ", EscapeText(model.chat_template_error()), "\n");
  }
  return text;
}

class ModelsCommand : public Command {
 public:
  ModelsCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "models",
                 .description = "List the models that the server has",
                 .examples = {"models", "models --json | jq '.models[].expert_layers'"}}) {}

  absl::StatusOr<int> Run(Client& client) override {
    ASSIGN_OR_RETURN(const v1::ListModelsResponse response, client.ListModels());
    std::cout << (json() ? JsonText(ToJson(response)) : ModelTable(response));
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> AddModels(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<ModelsCommand>(program, shared);
}

}  // namespace peerage::client

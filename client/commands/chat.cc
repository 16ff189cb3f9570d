#include <unistd.h>

#include <iostream>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/command_line/parse.h"
#include "base/error_text.h"
#include "base/utf8.h"
#include "client/answer_report.h"
#include "client/call_status.h"
#include "client/commands/command.h"
#include "client/commands/options.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

constexpr char kHelp[] =
    "/reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer.\n";

// One line is one turn. On a terminal what fails is said and the conversation goes on without that
// turn; elsewhere it ends.
class ChatCommand : public Command {
 public:
  ChatCommand(CLI::App& program, const SharedOptions& shared)
      : Command(program, shared,
                {.name = "chat",
                 .description = "Talk with a model that has a chat template, turn by turn",
                 .examples = {"chat --max-tokens 500",
                              "chat --system \"Answer in one sentence.\" --temperature 0.2"}}),
        generation_(app()),
        interactive_(isatty(STDIN_FILENO) != 0) {
    AddModelOption(app(), model_);
    app().add_option("--system", system_, "The system message")->type_name("TEXT");
  }

  absl::Status Prepare() override {
    generation_.Set(*stream_.mutable_request());
    stream_.mutable_request()->set_model(model_);
    Reset();
    return absl::OkStatus();
  }

  bool has_json() const override { return false; }

  absl::StatusOr<int> Run(Client& client) override {
    if (interactive_) std::cerr << kHelp;
    for (size_t number = 1; const auto line = NextLine(); ++number) {
      if (line == "/quit") break;
      if (line == "/reset") {
        Reset();
        continue;
      }
      if (line->empty()) continue;
      if (const std::optional<int> code = TakeTurn(client, *line, number)) return *code;
      if (!status_.ok()) return status_;
    }
    return 0;
  }

  // Stops an answer; there is nothing else to stop while the user types.
  bool OnInterrupt(Client& client) override {
    if (!interactive_) return Command::OnInterrupt(client);
    if (!client.CancelRunning()) std::cerr << "\n" << kHelp << "> ";
    return true;
  }

 private:
  v1::Chat& chat() { return *stream_.mutable_request()->mutable_prompt()->mutable_chat(); }

  void Reset() {
    chat().clear_messages();
    if (system_.has_value()) AddMessage("system", *system_);
  }

  void AddMessage(const std::string& role, const std::string& content) {
    v1::ChatMessage& message = *chat().add_messages();
    message.set_role(role);
    message.set_content(content);
  }

  std::optional<std::string> NextLine() const {
    if (interactive_) std::cerr << "> ";
    std::string line;
    if (std::getline(std::cin, line)) return line;
    if (interactive_) std::cerr << "\n";
    return std::nullopt;
  }

  // Returns an exit code when the program is to end; a failed call is in status_.
  std::optional<int> TakeTurn(Client& client, const std::string& line, size_t number) {
    if (const auto bad = FindInvalidUtf8(line)) {
      std::cerr << "peerage: line " << number << ": byte " << *bad << " is not UTF-8\n";
      return EndOfInput();
    }
    if (absl::StartsWith(line, "/")) {
      std::cerr << "peerage: unknown command " << Quoted(line) << ". " << kHelp;
      return EndOfInput();
    }
    AddMessage("user", line);
    sent_ = true;
    status_ = Answer(client);
    return std::nullopt;
  }

  // Wrong input ends what nobody types; whoever types may go on.
  std::optional<int> EndOfInput() const {
    if (interactive_) return std::nullopt;
    return sent_ ? kFailed : kWrongUsage;
  }

  absl::Status Answer(Client& client) {
    GenerationReport report(/*candidates=*/1);
    std::string text;
    bool cut_off = false;
    const absl::Status status =
        client.GenerateStream(stream_, [&](const v1::GenerateStreamResponse& event) {
          text += event.delta().text();
          cut_off = event.finished().finish().reason() == v1::FINISH_REASON_LENGTH;
          std::cout << report.Add(event) << std::flush;
          return std::cout.good();
        });
    std::cout << report.End() << std::flush;
    if (cut_off && isatty(STDERR_FILENO)) std::cerr << "(cut off at --max-tokens)\n";
    return Remember(text, status);
  }

  // A turn that was answered, if only in part, belongs to the conversation.
  absl::Status Remember(const std::string& text, const absl::Status& status) {
    if (text.empty() && !status.ok()) {
      chat().mutable_messages()->RemoveLast();
    } else {
      AddMessage("assistant", text);
    }
    if (status.ok() || !interactive_) return status;
    std::cerr << (absl::IsCancelled(status) ? "(stopped)"
                                            : "peerage: " + EscapeText(DescribeError(status)))
              << "\n";
    if (absl::IsOutOfRange(status)) std::cerr << kHelp;
    return absl::OkStatus();
  }

  GenerationOptions generation_;
  const bool interactive_;
  std::string model_;
  std::optional<std::string> system_;

  v1::GenerateStreamRequest stream_;  // the conversation so far is in its prompt
  bool sent_ = false;                 // any turn
  absl::Status status_;
};

}  // namespace

std::unique_ptr<Command> AddChat(CLI::App& program, const SharedOptions& shared) {
  return std::make_unique<ChatCommand>(program, shared);
}

}  // namespace peerage::client

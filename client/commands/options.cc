#include "client/commands/options.h"

#include <iostream>
#include <iterator>

namespace peerage::client {
namespace {

void AddMessage(const std::string& role, const std::string& content, v1::Chat* chat) {
  v1::ChatMessage* message = chat->add_messages();
  message->set_role(role);
  message->set_content(content);
}

}  // namespace

PromptOptions::PromptOptions(CLI::App& app, const std::string& what) {
  app.add_option(what, text_, "The " + what + "; standard input when it is missing or -")
      ->type_name("TEXT");
  app.add_option("--model", model_, "The model's name (the server's own)")->type_name("NAME");
  app.add_flag("--chat", chat_, "Render the " + what + " as a user's turn with the chat template");
  app.add_option("--system", system_, "The chat's system message; implies --chat")
      ->type_name("TEXT");
  app.add_flag("--bos,!--no-bos", add_bos_, "Put the begin-of-sequence token in front, or do not");
}

absl::StatusOr<v1::Prompt> PromptOptions::Read() const {
  std::string text = text_.value_or("-");
  if (text == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
    if (std::cin.bad()) return absl::InvalidArgumentError("standard input cannot be read");
    if (!text.empty() && text.back() == '\n') text.pop_back();
  }
  v1::Prompt prompt;
  if (add_bos_) prompt.set_add_bos(*add_bos_);
  if (!chat_ && !system_) {
    prompt.set_text(text);
    return prompt;
  }
  if (system_) AddMessage("system", *system_, prompt.mutable_chat());
  AddMessage("user", text, prompt.mutable_chat());
  return prompt;
}

TraceOption::TraceOption(CLI::App& app) {
  app.add_option("--trace", level_,
                 "Print which experts were used: summary or, with --json, also full")
      ->check(CLI::IsMember({"summary", "full"}));
}

v1::ExpertTraceLevel TraceOption::level() const {
  if (level_.empty()) return v1::EXPERT_TRACE_LEVEL_UNSPECIFIED;
  return level_ == "full" ? v1::EXPERT_TRACE_LEVEL_FULL : v1::EXPERT_TRACE_LEVEL_SUMMARY;
}

}  // namespace peerage::client

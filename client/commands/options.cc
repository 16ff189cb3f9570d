#include "client/commands/options.h"

#include "absl/strings/str_cat.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "client/commands/prompt_json.h"
#include "client/commands/text_input.h"

namespace peerage::client {
namespace {

void AddMessage(const std::string& role, const std::string& content, v1::Chat* chat) {
  v1::ChatMessage* message = chat->add_messages();
  message->set_role(role);
  message->set_content(content);
}

}  // namespace

void AddModelOption(CLI::App& app, std::string& model) {
  app.add_option("--model", model, "The model's name")
      ->default_str("the server's own")
      ->type_name("NAME");
}

CLI::Option* AddTexts(CLI::App& app, const std::string& names, std::vector<std::string>& texts,
                      const std::string& description) {
  return app.add_option(names, texts, description)
      ->allow_extra_args(false)  // the next word is not another one
      ->take_all()
      ->type_name("TEXT");
}

PromptOptions::PromptOptions(CLI::App& app, const std::string& what) : what_(what) {
  app.add_option(what, text_, "The " + what + "; standard input when it is missing or -")
      ->type_name("TEXT");
  app.add_option("--ids", ids_, "Token ids in place of the text: 1,2,3, or a file of them, or -")
      ->type_name("IDS");
  AddModelOption(app, model_);
  app.add_flag("--chat", chat_, "Render the " + what + " as a user's turn with the chat template");
  app.add_option("--system", system_, "The chat's system message; implies --chat")
      ->type_name("TEXT");
  AddOptionalFlag(app, "--bos,!--no-bos", add_bos_,
                  "Put the begin-of-sequence token in front, or do not")
      ->default_str("what the tokenizer says");
}

absl::StatusOr<v1::Prompt> PromptOptions::Read() const {
  if (ids_.has_value()) {
    if (text_.has_value() || chat_ || system_.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ids stands for the ", what_, ": leave out text, --chat and --system"));
    }
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ReadIds("--ids", *ids_));
    return OfIds(ids);
  }
  if (text_.has_value() && text_ != "-") return OfText(*text_);
  ASSIGN_OR_RETURN(std::string text, ReadText(what_, "-"));
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return OfText(text);
}

v1::Prompt PromptOptions::OfText(const std::string& text) const {
  v1::Prompt prompt;
  if (add_bos_.has_value()) prompt.set_add_bos(*add_bos_);
  if (!chat_ && !system_.has_value()) {
    prompt.set_text(text);
    return prompt;
  }
  if (system_.has_value()) AddMessage("system", *system_, prompt.mutable_chat());
  AddMessage("user", text, prompt.mutable_chat());
  return prompt;
}

v1::Prompt PromptOptions::OfIds(const std::vector<uint32_t>& ids) const {
  v1::Prompt prompt;
  if (add_bos_.has_value()) prompt.set_add_bos(*add_bos_);
  prompt.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  return prompt;
}

absl::StatusOr<v1::Prompt> PromptOptions::OfJson(const std::string& key,
                                                 const nlohmann::json& value) const {
  ASSIGN_OR_RETURN(v1::Prompt prompt, PromptOfJson(key, value));
  if (prompt.has_text()) return OfText(prompt.text());
  if (add_bos_.has_value()) prompt.set_add_bos(*add_bos_);
  return prompt;
}

absl::StatusOr<v1::Prompt> PromptOptions::OfMessages(const nlohmann::json& messages) const {
  v1::Prompt prompt;
  if (add_bos_.has_value()) prompt.set_add_bos(*add_bos_);
  ASSIGN_OR_RETURN(*prompt.mutable_chat(), ChatOfJson(messages));
  return prompt;
}

TraceOption::TraceOption(CLI::App& app) {
  AddWord(app, "--trace", level_, "summary|full",
          "Print which experts were used; full needs --json")
      ->default_str("none");
}

v1::ExpertTraceLevel TraceOption::level() const {
  if (level_.empty()) return v1::EXPERT_TRACE_LEVEL_UNSPECIFIED;
  return level_ == "full" ? v1::EXPERT_TRACE_LEVEL_FULL : v1::EXPERT_TRACE_LEVEL_SUMMARY;
}

FileOptions::FileOptions(CLI::App& app, const std::string& each, const std::string& keys) {
  app.add_option("--file", path_,
                 absl::StrCat("A file of ", each, " (blank ones are skipped), or of JSONL with ",
                              keys, "; - is standard input"))
      ->type_name("FILE");
  AddWord(app, "--format", format_, "auto|lines|jsonl",
          "What --file holds; auto goes by its name and first line")
      ->default_str("auto");
}

void DrawOptions::AddTo(CLI::App& app) {
  AddOptionalNumber(app, "--temperature", temperature_, "0 is greedy, else 0.01 to 10")
      ->default_str("1");
  AddOptionalNumber(app, "--top-k", top_k_, "Sample from the N most likely tokens; 0 is all")
      ->default_str("0");
  AddOptionalNumber(app, "--top-p", top_p_, "Sample from this much probability mass")
      ->default_str("1");
}

void DrawOptions::Set(v1::Sampling& sampling) const {
  if (temperature_) sampling.set_temperature(*temperature_);
  if (top_k_) sampling.set_top_k(*top_k_);
  if (top_p_) sampling.set_top_p(*top_p_);
}

GenerationOptions::GenerationOptions(CLI::App& app) {
  AddSampling(app);
  AddStopping(app);
}

void GenerationOptions::AddSampling(CLI::App& app) {
  draw_.AddTo(app);
  AddOptionalNumber(app, "--min-p", min_p_, "Least probability relative to the most likely token")
      ->default_str("0");
  AddOptionalNumber(app, "--seed", seed_, "Of the random stream")
      ->default_str("drawn by the server");
  AddOptionalNumber(app, "--repetition-penalty", repetition_penalty_, "Over all tokens; 1 is off")
      ->default_str("1");
  AddOptionalNumber(app, "--frequency-penalty", frequency_penalty_, "Per earlier occurrence")
      ->default_str("0");
  AddOptionalNumber(app, "--presence-penalty", presence_penalty_, "Once per earlier token")
      ->default_str("0");
}

void GenerationOptions::AddStopping(CLI::App& app) {
  AddOptionalNumber(app, "--max-tokens", max_tokens_, "Longest answer")
      ->default_str("128, or what the context leaves");
  AddOptionalNumber(app, "--min-tokens", min_tokens_, "Shortest answer")->default_str("0");
  AddTexts(app, "--stop", stop_, "End before this text; may be repeated");
  AddOptionalFlag(app, "--ignore-eos", ignore_eos_, "Go on after the end-of-sequence token");
}

void GenerationOptions::Set(v1::GenerateRequest& request) const {
  v1::Sampling& sampling = *request.mutable_sampling();
  draw_.Set(sampling);
  if (min_p_) sampling.set_min_p(*min_p_);
  if (seed_) sampling.set_seed(*seed_);
  if (repetition_penalty_) sampling.set_repetition_penalty(*repetition_penalty_);
  if (frequency_penalty_) sampling.set_frequency_penalty(*frequency_penalty_);
  if (presence_penalty_) sampling.set_presence_penalty(*presence_penalty_);
  v1::Stopping& stopping = *request.mutable_stopping();
  if (max_tokens_) stopping.set_max_tokens(*max_tokens_);
  if (min_tokens_) stopping.set_min_tokens(*min_tokens_);
  for (const std::string& stop : stop_) stopping.add_stop(stop);
  if (ignore_eos_) stopping.set_ignore_eos(*ignore_eos_);
}

}  // namespace peerage::client
